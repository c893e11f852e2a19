//! The benchmark: one command, one table, exit code 1 when a budget is missed.
//!
//! ```text
//! cargo bench --bench bench                       all rows, about half an hour
//! cargo bench --bench bench -- starts lag         rows whose names contain one of these
//! cargo bench --bench bench -- --quick            seconds instead of minutes: does everything work?
//! ```
//!
//! The release binary runs as the plugin and as the simulator (50 ms latency), each a process of its own; this program is the
//! agent (its model of `awf_aws::demo`) and the load generator, and once more, as a child, the bare actix-web handler. Modules:
//!
//! | module | |
//! |---|---|
//! | `table`, `stats` | rows, budgets, verdicts; medians |
//! | `wire`, `load`, `bare` | a client of pre-made bytes, the load it makes, and what it is compared with |
//! | `process`, `plugin`, `aws`, `limit` | the processes under test, and a fifth of a core for them |
//! | `tasks`, `argo` | the requests, and the agent that asks |
//! | `rows` | what is measured, subject by subject |

// A measurement fails by panicking, which makes its rows FAILED.
#![allow(clippy::unwrap_used, clippy::panic, clippy::unwrap_in_result)]

mod argo;
mod aws;
mod bare;
mod limit;
mod load;
mod plugin;
mod process;
mod rows;
mod stats;
mod table;
mod tasks;
mod wire;

// By their files and not from the library: with that, all of the AWS SDK would be linked and optimised once more.
#[allow(dead_code)]
#[path = "../../src/demo/agent.rs"]
mod agent;
#[allow(dead_code)]
#[path = "../../src/protocol.rs"]
mod protocol;

use std::{env, process::ExitCode};

use tokio::task::spawn_local;

use rows::{Subject, Wanted};
use table::{Figure, Row, Verdict};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let [bare::ARGUMENT, answer] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let served = actix_web::rt::System::new().block_on(bare::serve(answer.to_string().leak()));
        return served.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    // `cargo test --benches` gives no argument, `cargo bench` gives --bench.
    if !given("--bench") && !given("--quick") {
        println!("nothing is measured without --bench; cargo bench gives it");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = arguments.iter().filter(|argument| !argument.starts_with('-')).cloned().collect();
    // Known from the beginning of the process to its end.
    let wanted = Wanted { quick: given("--quick"), filters: filters.leak() };
    let rows = actix_web::rt::System::new().block_on(measure(wanted));
    println!("\n{}\n{}", table::render(&rows), table::summary(&rows));
    let judged = !wanted.quick && !cfg!(debug_assertions);
    if !judged {
        println!("A smoke test, or not an optimised build: a missed budget means nothing, a failed row does.");
    }
    let is_bad = |verdict: Verdict| verdict == Verdict::Failed || judged && verdict == Verdict::Missed;
    if rows.iter().any(|row| is_bad(row.verdict())) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All wanted rows. A subject that breaks off leaves the others alone.
async fn measure(wanted: Wanted) -> Vec<Row> {
    let mut rows = Vec::new();
    for Subject { names, measure } in rows::all(wanted) {
        let names: Vec<String> = names.into_iter().filter(|name| wanted.has(name)).collect();
        let Some(first) = names.first() else { continue };
        eprintln!(
            "measuring {first}{}",
            if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() }
        );
        match spawn_local(measure).await {
            Ok(measured) => rows.extend(measured.into_iter().filter(|row| wanted.has(&row.name)).inspect(tell)),
            Err(error) => {
                let why = format!("the measurement broke off: {error}");
                rows.extend(names.iter().map(|name| Row::without(name, Figure::Failed(why.clone()))));
            }
        }
    }
    rows
}

/// A missed budget shows before the table does.
fn tell(row: &Row) {
    if row.verdict() == Verdict::Missed {
        eprintln!("missed: {row:?}");
    }
}
