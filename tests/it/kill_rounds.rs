//! Rounds of a workflow of 50 nodes in which the real plugin is killed, paused and denied again and again, at random
//! instants, against the simulator. Its nodes run pipelines, are attached to executions of others, and stop some of both.
//!
//! `AWF_AWS_TEST_KILL_ROUNDS` says how many rounds, `AWF_AWS_TEST_SEED` with which seed the first one begins. A seed fixes what
//! is done and when, not how fast two processes are: a failing round usually fails again within a few tries.

mod argo;
mod judge;
mod plan;
mod world;

use std::{env, time::Duration};

use futures_util::{StreamExt, future::join, stream};
use tokio::time::{Instant, sleep, timeout};

use self::{
    argo::Argo,
    judge::{Figures, judge},
    plan::Plan,
    world::{Done, World},
};
use crate::support::{argo::Plugin, gate::Gate, simulator::Simulator};

/// Rounds that run at the same time.
const ABREAST: usize = 5;
/// A stop of what has ended waits a minute after the last process began, until lists show all that an earlier one started;
/// the longest pause and everything else take their time before and after it.
const ROUND_LIMIT: Duration = Duration::from_secs(160);

#[actix_rt::test]
async fn every_attempt_gets_one_execution_and_its_true_end_however_often_the_plugin_is_killed_paused_and_denied() {
    let (rounds, first) = (variable("AWF_AWS_TEST_KILL_ROUNDS", 5), variable("AWF_AWS_TEST_SEED", 1));
    let began = Instant::now();
    let outcomes: Vec<(u64, Result<Round, String>)> = stream::iter(first..first + rounds)
        .map(|seed| async move { (seed, round(seed).await) })
        .buffer_unordered(ABREAST)
        .collect()
        .await;
    let (mut good, mut failures) = (Vec::new(), Vec::new());
    for (seed, outcome) in outcomes {
        match outcome {
            Ok(round) => good.push(round),
            Err(problem) => failures.push(format!(
                "{problem}\nreplay: AWF_AWS_TEST_SEED={seed} AWF_AWS_TEST_KILL_ROUNDS=1 cargo test --test it kill_rounds"
            )),
        }
    }
    let sum = |figure: fn(&Round) -> u64| good.iter().map(figure).sum::<u64>();
    let figures = [
        ("kills", sum(|r| r.done.kills)),
        ("pauses", sum(|r| r.done.pauses)),
        ("of them with a second pod", sum(|r| r.done.takeovers)),
        ("denied starts", sum(|r| r.done.denied("StartPipelineExecution"))),
        ("denied describes", sum(|r| r.done.denied("DescribePipelineExecution"))),
        ("denied lists", sum(|r| r.done.denied("ListPipelineExecutions"))),
        ("denied stops", sum(|r| r.done.denied("StopPipelineExecution"))),
        ("executions", sum(|r| r.figures.executions)),
        ("second attempts", sum(|r| r.figures.retried)),
        ("resumed", sum(|r| r.figures.resumed)),
        ("stopped", sum(|r| r.figures.stopped)),
    ];
    eprintln!("{rounds} rounds in {:?}, {} failed: {figures:?}", began.elapsed(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    for (what, count) in figures {
        assert!(count > 0 || rounds < 5, "the rounds prove nothing about {what}");
    }
}

fn variable(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// A round that went well.
struct Round {
    done: Done,
    figures: Figures,
}

/// One round; the error says what was wrong.
async fn round(seed: u64) -> Result<Round, String> {
    let plan = Plan::of(seed);
    let simulator = Simulator::start(plan.scenario.clone()).await;
    let mut plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let mut gate = Gate::open_to(plugin.api());
    let argo = Argo::new(&plan, &simulator).await;
    let url = gate.url.clone();
    let world = World { plugin: &mut plugin, gate: &mut gate, simulator: &simulator, done: Done::default() };
    let lived = timeout(ROUND_LIMIT, join(world.suffer(&plan, &argo), argo.drive(&url))).await;
    // What a killed plugin had sent may still arrive.
    sleep(Duration::from_millis(300)).await;
    let judged = judge(&plan, &argo, &simulator.book().await);
    let mut wrong = argo.wrong.take();
    let done = match lived {
        Ok((mut done, ())) => {
            wrong.append(&mut done.wrong);
            done
        }
        Err(_) => {
            wrong.push(format!("not ended within {ROUND_LIMIT:?}: {}", argo.open().join(", ")));
            Done::default()
        }
    };
    let outcome = match judged {
        Ok(figures) if wrong.is_empty() => Ok(Round { done, figures }),
        judged => {
            let all: Vec<String> = judged.err().into_iter().chain(wrong).collect();
            Err(format!("{} (after {done:?})", all.join("\n")))
        }
    };
    outcome.map_err(|problem| {
        eprintln!("--- log of the last plugin of seed {seed} ---\n{}", plugin.process.log());
        format!("seed {seed}: {problem}")
    })
}
