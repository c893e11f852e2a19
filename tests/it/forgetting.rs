//! The runner of a workflow that is forgotten, and the one that comes after it.

#![allow(clippy::unwrap_used, reason = "helpers and probes of tests")]

use std::{sync::Arc, time::Duration};

use awf_aws::{input::Task, protocol::Phase, workflow::Settings};
use tokio::time::sleep;

use crate::supervision::{RESTARTS, Script, Scripted, execution, mock, phase, series, supervised};

const RUNNERS: &str = "awf_aws_actors{actor=\"workflow\"}";

#[actix::test]
async fn the_runner_of_a_workflow_that_nobody_asks_for_ends_in_silence_and_the_next_request_gets_another() {
    tokio::time::pause();
    let (handle, metrics, _death) = supervised(Scripted::new(Script::StartsAfter(Duration::ZERO)));
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
    assert_eq!(phase(&handle, execution("b")).await, Some(Phase::Running));
    assert!(series(&metrics, RUNNERS) == 2.0);
    sleep(Settings::default().forget_after + Duration::from_secs(10)).await;
    assert!(series(&metrics, RUNNERS) == 1.0, "what runs is kept");
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
    assert!(series(&metrics, RUNNERS) == 2.0);
    assert!(series(&metrics, RESTARTS) == 0.0);
}

/// An item of a loop.
fn item(number: u32) -> Arc<Task> {
    let mut task = Task::clone(&execution("a"));
    task.execution_key = Some(format!("wf[0].go({number}:x)"));
    Arc::new(task)
}

#[actix::test]
async fn who_follows_a_workflow_after_one_that_was_let_go_knows_since_when_it_is_served() {
    tokio::time::pause();
    let backend = Scripted::new(Script::Succeeds);
    let (handle, metrics, _death) = supervised(backend.clone());
    phase(&handle, item(0)).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(phase(&handle, item(0)).await, Some(Phase::Succeeded));
    sleep(Settings::default().forget_after + Duration::from_secs(10)).await;
    assert!(series(&metrics, RUNNERS) == 0.0);
    phase(&handle, item(1)).await;
    let starts = backend.starts.lock().unwrap();
    let late = &starts.last().unwrap().1.description;
    assert!(late.contains(" asked="), "nobody can have been asked for it before: {late}");
}
