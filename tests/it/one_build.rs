//! `cargo run` and `cargo test` share one build of the dependencies: whoever tried the demo does not compile the AWS SDK
//! again for the tests.

use std::{collections::BTreeSet, process::Command};

/// Every package with its version and features, as these kinds of dependencies make Cargo build it.
fn packages(kinds: &str) -> BTreeSet<String> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--edges", kinds, "--prefix", "none", "--format", "{p}|{f}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs, since it has built this");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("names are text");
    // A package that was shown before is shown again with a star.
    lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect()
}

fn name(package: &str) -> &str {
    package.split('|').next().unwrap_or(package)
}

#[test]
fn the_demo_and_the_tests_share_one_build_of_the_dependencies() {
    let (run, test) = (packages("normal,build"), packages("normal,build,dev"));
    let of_both: BTreeSet<&str> = run.iter().map(|package| name(package)).collect();
    let differ: Vec<&String> =
        test.iter().filter(|package| of_both.contains(name(package))).filter(|p| !run.contains(*p)).collect();
    assert!(run.len() > 100 && run.len() <= test.len(), "{} and {}", run.len(), test.len());
    assert!(differ.is_empty(), "the tests want other features, so add them to `as-tested` in Cargo.toml: {differ:?}");
}
