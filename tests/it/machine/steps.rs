//! Steps: listed for what they are for, and not kept.

use std::time::Duration;

use awf_aws::{
    pipelines::{Status, Step},
    protocol::Phase,
    results::Wanted,
};

use super::world::{World, message, output, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);
const STEPS: &str = "ListPipelineExecutionSteps";

fn step(status: &str, outputs: Vec<(String, String)>) -> Step {
    Step { name: "Score".into(), status: status.into(), kind: Some("Lambda".into()), outputs, ..Step::default() }
}

#[test]
fn a_listing_that_began_while_the_execution_ran_is_not_taken_for_its_ends() {
    let mut w = World::new();
    w.silent = vec![STEPS];
    w.ask(&task("a", 0));
    w.pass(10 * SECOND);
    assert_eq!(w.unanswered.len(), 1, "it was asked for while the execution runs");
    w.end(0, Status::Succeeded);
    w.pass(10 * SECOND);
    // The slow answer of before, then the end's.
    w.steps = vec![step("Executing", vec![])];
    w.answer_open(0);
    assert_ne!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded), "nothing is known of the end's steps yet");
    w.steps = vec![step("Succeeded", vec![("score".into(), "0.9".into())])];
    w.answer_open(0);
    let end = w.ask(&task("a", 0));
    assert_eq!(phase(&end), Some(Phase::Succeeded), "{end:?}");
    assert_eq!(output(&end, "Score-score").as_deref(), Some("0.9"));
    let result = end.node.and_then(|n| n.outputs).and_then(|o| o.result).unwrap_or_default();
    assert!(result.contains("Succeeded") && !result.contains("Executing"), "{result}");
}

#[test]
fn steps_are_dropped_once_told_and_listed_again_for_whoever_still_asks() {
    let mut w = World::new();
    w.steps = vec![step("Succeeded", vec![("score".into(), "0.9".into())])];
    w.ask(&task("a", 0));
    w.end(0, Status::Succeeded);
    w.pass(20 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded));
    let listed = w.count(STEPS);
    // Told again, from what was told.
    assert_eq!(output(&w.ask(&task("a", 0)), "Score-score").as_deref(), Some("0.9"));
    assert_eq!(w.count(STEPS), listed);
    // A later attempt gets the same execution's result, with everything in it.
    let again = w.ask(&task("a", 1));
    assert_eq!((phase(&again), output(&again, "Score-score").as_deref()), (Some(Phase::Succeeded), Some("0.9")));
    assert_eq!(w.count(STEPS), listed + 1, "{}", message(&again));
}

#[test]
fn a_declared_output_of_a_step_is_told_however_many_nodes_are_open() {
    for open in [1, 30, 60, 200] {
        let mut w = World::new();
        let much = (0..40).map(|number| (format!("x{number}"), "y".repeat(100))).collect();
        w.steps = vec![step("Succeeded", much), step("Succeeded", vec![("url".into(), "https://a.example".into())])];
        let declares =
            with(task("a", 0), |execute| execute.results = Wanted::declared(["Score-url".to_owned()], []).and_all());
        w.ask(&declares);
        (1..open).for_each(|node| drop(w.ask(&task(&format!("b{node}"), 0))));
        w.end(0, Status::Succeeded);
        w.pass(60 * SECOND);
        let end = w.ask(&declares);
        assert_eq!(phase(&end), Some(Phase::Succeeded), "{open}: {end:?}");
        assert_eq!(output(&end, "Score-url").as_deref(), Some("https://a.example"), "{open}: {end:?}");
    }
}

#[test]
fn a_declared_output_that_no_step_has_made_is_named() {
    let mut w = World::new();
    w.steps = vec![step("Succeeded", vec![("score".into(), "0.9".into())])];
    let names = ["execution-arn", "failure-reason", "Score-score", "Score-url"].map(str::to_owned);
    let declares = with(task("a", 0), |execute| execute.results = Wanted::declared(names, []));
    w.ask(&declares);
    w.end(0, Status::Succeeded);
    w.pass(20 * SECOND);
    let end = w.ask(&declares);
    assert_eq!(
        (phase(&end), message(&end)),
        (Some(Phase::Succeeded), "Succeeded: 1 steps; without Score-url: no step has made it".to_owned())
    );
}
