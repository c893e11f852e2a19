//! Deterministic simulation: the machine itself, the simulator's state machine and a model of Argo under one virtual
//! clock, with every fault we can think of, for as many seeds as wanted.
//!
//! ```text
//! cargo test --test it simulation                          300 seeds
//! AWF_AWS_TEST_SEEDS=20000 cargo test --release --test it simulation
//! AWF_AWS_TEST_SEED=4711 cargo test --test it simulation   tells the story of one seed
//! ```

mod argo;
mod checks;
mod plan;
mod pod;
mod world;

use std::{env, ops::Range};

use awf_aws::workflow::Sabotage;

use plan::Plan;
use world::World;

/// Seeds of an ordinary run.
const SEEDS: u64 = 300;
/// A deliberate break must show within so many.
const SEEDS_TO_CATCH: u64 = 2000;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// What goes wrong first among these seeds.
fn first_failure(seeds: Range<u64>, sabotage: Option<Sabotage>) -> Option<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let failures = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let seeds = seeds.clone();
                scope.spawn(move || {
                    seeds.skip(worker as usize).step_by(threads as usize).find_map(|seed| {
                        World::new(Plan::of(seed), sabotage, false).run().err().map(|broken| (seed, broken))
                    })
                })
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("no seed panics")).collect::<Vec<_>>()
    });
    failures.into_iter().min()
}

#[test]
fn one_execution_per_node_whatever_crashes() {
    if let Some(seed) = number("AWF_AWS_TEST_SEED") {
        let mut world = World::new(Plan::of(seed), None, true);
        let result = world.run();
        eprintln!("{:#?}", world.plan);
        for line in world.story.iter().flatten() {
            eprintln!("{line}");
        }
        result.unwrap();
        return;
    }
    if let Some((seed, broken)) = first_failure(0..number("AWF_AWS_TEST_SEEDS").unwrap_or(SEEDS), None) {
        panic!("{broken}\nto replay: AWF_AWS_TEST_SEED={seed} cargo test --test it simulation::one -- --nocapture");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = || {
        let mut world = World::new(Plan::of(7), None, true);
        world.run().unwrap();
        world.story
    };
    assert_eq!(story(), story());
}

#[test]
fn every_deliberate_break_is_caught() {
    if !cfg!(debug_assertions) {
        return; // Release builds cannot be broken.
    }
    let missed: Vec<_> = Sabotage::ALL
        .into_iter()
        .filter(|sabotage| first_failure(0..SEEDS_TO_CATCH, Some(*sabotage)).is_none())
        .collect();
    assert!(missed.is_empty(), "not caught within {SEEDS_TO_CATCH} seeds: {missed:?}");
}
