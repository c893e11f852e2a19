//! Deterministic simulation: the machine itself, the simulator's state machine and a model of Argo under one virtual
//! clock, with every fault we can think of, for as many seeds as wanted.
//!
//! ```text
//! cargo test --test it simulation                          300 seeds
//! AWF_AWS_TEST_SEEDS=20000 cargo test --release --test it simulation        (or 5000..20000)
//! AWF_AWS_TEST_SEED=4711 cargo test --test it simulation   tells the story of one seed
//! AWF_AWS_TEST_ALL=1 ...                                   goes on after a failure and names every seed that fails
//! ```

mod agent;
mod argo;
mod aws;
mod bites;
mod checks;
mod clocks;
mod people;
mod plan;
mod pod;
mod templates;
mod troubles;
mod world;

use std::{
    env,
    num::NonZero,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use awf_aws::workflow::Sabotage;

use bites::Table;
use plan::Plan;
use world::World;

/// Seeds of an ordinary run.
const SEEDS: u64 = 300;
/// A deliberate break must show within so many.
const SEEDS_TO_CATCH: u64 = 2000;

fn number(variable: &str, text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
}

/// The seeds that were asked for: so many, or from the first to the last.
fn seeds() -> Range<u64> {
    let variable = "AWF_AWS_TEST_SEEDS";
    let text = env::var(variable).unwrap_or_else(|_| SEEDS.to_string());
    let (first, end) = text.split_once("..").unwrap_or(("0", &text));
    number(variable, first)..number(variable, end)
}

/// Plays these seeds: what goes wrong first, and what had something to bite.
fn play(seeds: Range<u64>, sabotage: Option<Sabotage>) -> (Option<(u64, String)>, Table) {
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    let table = Mutex::new(Table::default());
    let work = || {
        let mut own = Table::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let mut world = World::new(Plan::of(seed), sabotage, false);
            if let Err(broken) = world.run() {
                if env::var_os("AWF_AWS_TEST_ALL").is_some() {
                    eprintln!("seed {seed}: {broken}");
                } else {
                    // Nobody begins another seed.
                    next.store(seeds.end, Ordering::Relaxed);
                }
                failures.lock().expect("no seed panics").push((seed, broken));
            }
            own.add(&world.bites);
        }
        table.lock().expect("no seed panics").join(&own);
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let first = failures.into_inner().expect("no seed panics").into_iter().min();
    (first, table.into_inner().expect("no seed panics"))
}

#[test]
fn one_execution_per_node_whatever_crashes() {
    if let Ok(seed) = env::var("AWF_AWS_TEST_SEED") {
        let seed = number("AWF_AWS_TEST_SEED", &seed);
        let mut world = World::new(Plan::of(seed), None, true);
        let result = world.run();
        eprintln!("{:#?}", world.plan);
        for line in world.story.iter().flatten() {
            eprintln!("{line}");
        }
        result.unwrap();
        return;
    }
    let (failure, table) = play(seeds(), None);
    table.lines().iter().for_each(|line| eprintln!("{line}"));
    if let Some((seed, broken)) = failure {
        panic!("{broken}\nto replay: AWF_AWS_TEST_SEED={seed} cargo test --test it simulation::one -- --nocapture");
    }
    let toothless = table.toothless();
    assert!(toothless.is_empty(), "this bites in too few seeds: {toothless:?}");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let mut world = World::new(Plan::of(seed), None, true);
        let result = world.run();
        (result, world.story)
    };
    for seed in 0..20 {
        assert!(story(seed) == story(seed), "seed {seed} tells two stories");
    }
}

#[test]
fn every_deliberate_break_is_caught() {
    if !cfg!(debug_assertions) {
        return; // Release builds cannot be broken.
    }
    for sabotage in Sabotage::ALL {
        match play(0..SEEDS_TO_CATCH, Some(sabotage)).0 {
            Some((seed, broken)) => eprintln!("{sabotage:?}: seed {seed}: {broken}"),
            None => panic!("{sabotage:?} is not noticed within {SEEDS_TO_CATCH} seeds"),
        }
    }
}
