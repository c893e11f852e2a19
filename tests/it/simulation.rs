//! Deterministic simulation: the machine itself, the simulator's state machine and a model of Argo under one virtual
//! clock, with every fault we can think of, for as many seeds as wanted.
//!
//! ```text
//! cargo test --test it simulation                          300 seeds
//! AWF_AWS_TEST_SEEDS=20000 cargo test --release --test it simulation        (or 5000..20000)
//! AWF_AWS_TEST_SEED=4711 cargo test --test it simulation   tells the story of one seed
//! AWF_AWS_TEST_BREAK=NoEpoch ...                           with this deliberate break, or catches only it
//! AWF_AWS_TEST_ALL=1 ...                                   goes on after a failure and names every seed that fails
//! ```
//!
//! That it would notice what is missing is proved by a [`saboteur`], who takes one safeguard after another away.

mod agent;
mod argo;
mod aws;
mod bites;
mod checks;
mod clocks;
mod congestion;
mod people;
mod plan;
mod pod;
mod results;
mod saboteur;
mod templates;
mod troubles;
mod turns;
mod world;

use std::{
    env,
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZero,
    ops::Range,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bites::Table;
use plan::Plan;
use saboteur::Sabotage;
use world::World;

/// Seeds of an ordinary run.
const SEEDS: u64 = 300;
/// Seeds of which two processes tell their stories.
const STORIES: u64 = 300;
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

/// The deliberate break that was asked for.
fn one_break() -> Option<Sabotage> {
    let name = env::var("AWF_AWS_TEST_BREAK").ok()?;
    let found = Sabotage::ALL.into_iter().find(|sabotage| format!("{sabotage:?}") == name);
    Some(found.unwrap_or_else(|| panic!("AWF_AWS_TEST_BREAK is no deliberate break: {name}")))
}

/// Plays these seeds in their order: the first of which something goes wrong, and what had something to bite.
fn play(seeds: &[u64], sabotage: Option<Sabotage>) -> (Option<(u64, String)>, Table) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let table = Mutex::new(Table::default());
    let work = || {
        let mut own = Table::default();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = seeds.get(place).copied() else { break };
            let mut world = World::new(Plan::of(seed), sabotage, false);
            if let Err(broken) = world.run() {
                if env::var_os("AWF_AWS_TEST_ALL").is_some() {
                    eprintln!("seed {seed}: {broken}");
                } else {
                    // Nobody begins another seed.
                    next.store(seeds.len(), Ordering::Relaxed);
                }
                failures.lock().expect("no seed panics").push((place, seed, broken));
            }
            own.add(&world.bites);
        }
        table.lock().expect("no seed panics").join(&own);
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let first = failures.into_inner().expect("no seed panics").into_iter().min();
    (first.map(|(_, seed, broken)| (seed, broken)), table.into_inner().expect("no seed panics"))
}

#[test]
fn one_execution_per_node_whatever_crashes() {
    if let Ok(seed) = env::var("AWF_AWS_TEST_SEED") {
        let seed = number("AWF_AWS_TEST_SEED", &seed);
        let mut world = World::new(Plan::of(seed), one_break(), true);
        let result = world.run();
        eprintln!("{:#?}", world.plan);
        for line in world.story.iter().flatten() {
            eprintln!("{line}");
        }
        result.unwrap();
        return;
    }
    let (failure, table) = play(&seeds().collect::<Vec<_>>(), None);
    table.lines().iter().for_each(|line| eprintln!("{line}"));
    if let Some((seed, broken)) = failure {
        panic!("{broken}\nto replay: AWF_AWS_TEST_SEED={seed} cargo test --test it simulation::one -- --nocapture");
    }
    let toothless = table.toothless();
    assert!(toothless.is_empty(), "this bites in too few seeds: {toothless:?}");
}

/// In two processes, since some maps are walked in another order in each.
#[test]
fn the_same_seed_tells_the_same_story() {
    let tells = || {
        let mut command = Command::new(env::current_exe().expect("a test has a binary"));
        command.args(["--ignored", "--exact", "--nocapture", "simulation::stories_of_one_process"]);
        command.stdout(Stdio::piped()).spawn().expect("the binary of this test runs")
    };
    let stories: Vec<Vec<String>> = [tells(), tells()]
        .map(|process| process.wait_with_output().expect("it ends"))
        .into_iter()
        .map(|output| String::from_utf8_lossy(&output.stdout).lines().filter_map(story_of).collect())
        .collect();
    assert_eq!(stories[0].len() as u64, STORIES, "a story of every seed");
    assert_eq!(stories[0], stories[1]);
}

/// Before a story's seed and hash.
const STORY: &str = "story of seed ";

fn story_of(line: &str) -> Option<String> {
    line.split_once(STORY).map(|(_, story)| story.to_owned())
}

#[test]
#[ignore = "the_same_seed_tells_the_same_story runs it in processes of its own"]
fn stories_of_one_process() {
    for seed in 0..STORIES {
        let mut world = World::new(Plan::of(seed), None, true);
        let result = world.run();
        let mut hash = DefaultHasher::new();
        (result, &world.story).hash(&mut hash);
        println!("{STORY}{seed}: {} lines, {:016x}", world.story.iter().flatten().count(), hash.finish());
    }
}

#[test]
fn every_deliberate_break_is_caught() {
    let one = one_break();
    for sabotage in Sabotage::ALL.into_iter().filter(|sabotage| one.is_none_or(|one| one == *sabotage)) {
        // Those that are about what the safeguard is there for go first.
        let mut seeds: Vec<u64> = (0..SEEDS_TO_CATCH).collect();
        seeds.sort_by_key(|seed| !sabotage.is_about(&Plan::of(*seed)));
        match play(&seeds, Some(sabotage)).0 {
            Some((seed, broken)) => eprintln!("{sabotage:?}: seed {seed}: {broken}"),
            None => panic!("{sabotage:?} is not noticed within {SEEDS_TO_CATCH} seeds"),
        }
    }
}
