//! Micro-benchmarks of what every request and every round pass through: parse, machine step, plan, report.
//!
//! ```text
//! cargo bench --bench micro                  all
//! cargo bench --bench micro -- machine       those whose names contain it
//! ```

// What a benchmark is measured on is made here, and must be as it is made.
#![allow(clippy::unwrap_used, clippy::panic, clippy::unwrap_in_result)]

mod world;

#[allow(dead_code)]
#[path = "../bench/tasks.rs"]
mod tasks;

use std::{hint::black_box, time::Duration};

use awf_aws::{
    input,
    pipelines::{Execution, Status, Step, Time},
    protocol::ExecuteTemplateArgs,
    results::Wanted,
    rounds,
    workflow::report,
};
use criterion::{
    BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::{Measurement as _, WallTime},
};

use tasks::{LONG, execute};
use world::World;

/// A request's bytes become a task.
fn parse(c: &mut Criterion) {
    let body = execute("wf", 7, LONG).to_string();
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("request", |b| {
        b.iter(|| {
            let args: ExecuteTemplateArgs<'_> = serde_json::from_slice(black_box(body.as_bytes())).expect("a request");
            input::read_task(&args).expect("a valid task")
        });
    });
    group.finish();
}

/// The machine answers a poll that brings no news, among so many other nodes.
fn machine_step(c: &mut Criterion) {
    let mut group = c.benchmark_group("machine_poll_without_news");
    // Between the measured steps time passes, which is not measured but takes its time.
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500)).sample_size(20);
    for (kind, quota) in [("running", 100_000), ("waiting", 0)] {
        for nodes in [1, 100, 1_000, 10_000] {
            let mut world = None;
            group.bench_function(BenchmarkId::new(kind, nodes), |b| {
                let world = world.get_or_insert_with(|| World::with_nodes(nodes, quota));
                b.iter_custom(|iterations| measured(world, iterations));
            });
        }
    }
    group.finish();
}

/// How long so many polls without news take, less all that happens between them.
fn measured(world: &mut World, iterations: u64) -> Duration {
    let clock = WallTime;
    let (mut took, mut news) = (Duration::ZERO, 0);
    for _ in 0..iterations {
        world.pass();
        let event = world.request();
        let began = clock.start();
        let commands = world.handle(black_box(event));
        took += clock.end(began);
        let answer = world.carry_out(commands).expect("a node whose state is known is answered at once");
        news += u64::from(answer.node.is_none_or(|node| node.phase.is_some()));
    }
    // Places in the queue and messages change a few times in an hour.
    assert!(news <= 5 + iterations / 10, "{news} of {iterations} polls brought news");
    took
}

/// What a poll round asks for.
fn plan(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan");
    for due in [1, 100, 10_000] {
        group.bench_with_input(BenchmarkId::from_parameter(due), &due, |b, &due| {
            b.iter(|| rounds::plan(black_box(due), black_box(due), black_box(Time::at(1_795_000_000_000))));
        });
    }
    group.finish();
}

/// What Argo is told of a running execution, and of one that has failed.
fn tell(c: &mut Criterion) {
    const ARN: &str = "arn:aws:sagemaker:us-west-2:100000000002:pipeline/Long/execution/xkc3nc18de05";
    let step = |name: &str, status: &str, minute: i64| Step {
        name: name.to_owned(),
        status: status.to_owned(),
        kind: Some("TrainingJob".to_owned()),
        job_arn: Some(format!("arn:aws:sagemaker:us-west-2:100000000002:training-job/pipelines-xkc3nc18de05-{name}")),
        failure_reason: (status == "Failed").then(|| "AlgorithmError: ExecuteUserScriptError: exit code 1".to_owned()),
        started: Some(Time::at(1_795_000_000_000 + minute * 60_000)),
        ended: (status != "Executing").then_some(Time::at(1_795_000_060_000 + minute * 60_000)),
        outputs: vec![("auc".to_owned(), "0.91".to_owned())],
        reused: false,
    };
    let running = [step("PrepareData", "Succeeded", 0), step("TrainModel", "Executing", 1)];
    let ended =
        [step("PrepareData", "Succeeded", 0), step("TrainModel", "Succeeded", 1), step("EvaluateModel", "Failed", 2)];
    let execution = Execution {
        arn: ARN.to_owned(),
        status: Status::Failed,
        created: Some(Time::at(1_795_000_000_000)),
        modified: Some(Time::at(1_795_000_180_000)),
        description: None,
        failure_reason: Some("Step failure: One or multiple steps failed.".to_owned()),
        started_by: None,
    };
    let execution = report::Shown::from(execution);
    let mut group = c.benchmark_group("report");
    group.bench_function("running", |b| {
        b.iter(|| {
            let status = black_box(&Status::Executing);
            (report::running_message(status, Some(&running)), report::running_outputs(ARN, status, report::OUTPUTS_MAX))
        });
    });
    group.bench_function("failed", |b| {
        b.iter(|| {
            let execution = black_box(&execution);
            let story = report::Story::of(execution, &ended);
            (story.end(false, None), story.outputs(&Wanted::default(), report::OUTPUTS_MAX))
        });
    });
    group.finish();
}

criterion_group!(all, parse, machine_step, plan, tell);
criterion_main!(all);
