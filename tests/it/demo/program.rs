//! `awf-aws demo` as a new user runs it: the real binary, its output, its exit codes.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpStream,
    process::{Output, Stdio},
};

use crate::support::process::{Process, TempDir, binary};

/// Runs a demo that ends by itself before anything is played.
fn refused(arguments: &[&str]) -> String {
    let home = TempDir::new();
    let Output { status, stderr, .. } = binary("demo", home.path()).args(arguments).output().unwrap();
    assert_eq!(status.code(), Some(64), "{arguments:?}");
    String::from_utf8(stderr).unwrap()
}

#[test]
fn wrong_flags_are_told_what_is_allowed() {
    for wrong in ["0", "1001", "many", "-1"] {
        let told = refused(&[&format!("--fan-out={wrong}")]);
        assert!(told.contains("--fan-out <N>") && told.contains("a whole number from 1 to 1000"), "{told}");
    }
    let told = refused(&["--fail", "Trainmodel"]);
    assert!(told.contains("PrepareData, TrainModel, EvaluateModel, RegisterModel"), "{told}");
    let told = refused(&["--fail", "TrainModel", "--fan-out", "2"]);
    assert!(told.contains("cannot be used with"), "{told}");
}

#[test]
fn a_template_that_cannot_be_played_is_named_with_the_reason() {
    let home = TempDir::new();
    let told = refused(&["--template", "/no/such/file.yaml"]);
    assert!(told.contains("cannot read /no/such/file.yaml"), "{told}");
    let file = home.path().join("other.yaml");
    std::fs::write(&file, "kind: Workflow\nspec: {workflowTemplateRef: {name: other}}\n").unwrap();
    let told = refused(&["--template", file.to_str().unwrap()]);
    assert!(told.contains("refers to WorkflowTemplate \"other\"") && told.contains("other.yaml"), "{told}");
}

/// The failed pipeline, from a workflow that only refers to the template.
#[test]
fn a_failed_step_is_shown_with_its_reason_and_the_retry() {
    let home = TempDir::new();
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sagemaker-pipelines-workflow.yaml");
    let output = binary("demo", home.path()).args(["--fail", "PrepareData", "--template", template]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for text in [
        "attempt 0 ended Failed: Failed at step PrepareData (Failed): ValueError: ",
        "logs-tail ",
        "retry 1 at once",
        "failed-step          PrepareData",
        "logs-url ",
        "2 of 2 nodes Succeeded",
        "book holds 2 executions",
    ] {
        assert!(shown.contains(text), "no {text:?} in {shown}");
    }
    assert!(!shown.contains("Running  Succeeded"), "an end is shown once: {shown}");
}

#[test]
fn a_resume_shows_what_was_not_run_again_and_what_that_spared() {
    let told = refused(&["--resume"]);
    assert!(told.contains("--fail"), "{told}");
    let home = TempDir::new();
    let output = binary("demo", home.path()).args(["--fail", "TrainModel", "--resume"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for text in [
        "attempt 0 ended Failed: Failed at step TrainModel (Failed): ValueError: ",
        "resumed after attempt 0",
        "resumed at TrainModel (attempt 2 of the step), under the same ARN",
        "not run again: PrepareData; 1.5 s saved",
        "2 of 2 nodes Succeeded",
        "book holds 1 execution\n",
    ] {
        assert!(shown.contains(text), "no {text:?} in {shown}");
    }
}

#[test]
fn a_reader_that_goes_away_does_not_break_the_demo() {
    let home = TempDir::new();
    let mut demo =
        binary("demo", home.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut first = String::new();
    BufReader::new(demo.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("SageMaker (simulated)  http://127.0.0.1:"), "{first}");
    let mut complaints = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((demo.wait().unwrap().code(), complaints.as_str()), (Some(0), ""));
}

#[actix_rt::test]
async fn an_interrupted_demo_leaves_no_process_behind() {
    let home = TempDir::new();
    let mut demo = Process::start("the demo", &mut binary("demo", home.path()));
    let address = |log: &str, what: &str| {
        let line = log.lines().find(|line| line.starts_with(what))?;
        Some(line.split_once("http://")?.1.trim().to_owned())
    };
    while !demo.log().contains("Running") {
        assert!(!demo.log().contains("nodes Succeeded"), "it ended before it could be interrupted");
        tokio::time::sleep(crate::support::process::LOOK).await;
    }
    let both = ["SageMaker (simulated)", "plugin"].map(|what| address(&demo.log(), what).unwrap());
    assert!(both.iter().all(|address| TcpStream::connect(address).is_ok()), "{both:?}");
    demo.terminate();
    assert_eq!(demo.ended().await.code(), Some(143));
    assert!(both.iter().all(|address| TcpStream::connect(address).is_err()), "{both:?}");
}

/// Numbers differ from run to run; everything else is as the README shows it.
#[test]
fn the_demo_prints_what_the_readme_shows() {
    let home = TempDir::new();
    let output = binary("demo", home.path()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let shown = readme.split("-- demo\n```\n").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap();
    let shown = shown.trim_start_matches("text\n");
    assert!(shown.lines().count() > 20, "{shown}");
    let has_digit = |line: &str| line.bytes().any(|b| b.is_ascii_digit());
    let named = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    for line in shown.lines() {
        let found = match named(line) {
            // Seconds since the start: which steps are seen depends on the moment.
            time if time.ends_with('s') && has_digit(&time) => continue,
            _ if !has_digit(line) => printed.lines().any(|own| own == line),
            name => printed.lines().any(|own| has_digit(own) && (named(own) == name || has_digit(&name))),
        };
        assert!(found, "{line:?} of the README is not in {printed}");
    }
}
