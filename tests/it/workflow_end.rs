//! The end of a workflow, seen by the real binary through a Kubernetes API, with the simulated AWS behind it.

use std::{collections::BTreeSet, time::Duration};

use awf_aws::workflow::identity::{Key, Marker, WhenOver};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    argo::{Plugin, execute},
    kubernetes::{FakeKubernetes, NAME, NAMESPACE, UID},
    process::{LOOK, PATIENCE},
    simulator::{Simulator, slow},
};

const STEPS: &[&str] = &["Train"];
const FAST: &str = "--workflow-check-interval=200ms";

/// A simulator whose pipeline never ends by itself, a Kubernetes, and a plugin that asks it often.
async fn running() -> (Simulator, FakeKubernetes, Plugin) {
    let simulator = Simulator::with_pipeline(slow(), STEPS).await;
    let kubernetes = FakeKubernetes::start();
    let plugin = Plugin::start(&simulator.endpoint, &[&kubernetes.flag(), FAST]).await;
    (simulator, kubernetes, plugin)
}

fn message(reply: &Value) -> &str {
    reply["node"]["message"].as_str().unwrap_or_default()
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

async fn statuses(simulator: &Simulator) -> BTreeSet<String> {
    simulator.executions().await.into_iter().map(|(_, status)| status).collect()
}

/// Starts two nodes, lets something happen to the workflow, and looks how both end.
async fn ends_by(what: &str, happens: impl FnOnce(&FakeKubernetes), reason: &str) {
    let (simulator, kubernetes, plugin) = running().await;
    let nodes = [execute("a", json!({})), execute("b", json!({"on_stop": "leave"}))];
    let stopped = plugin.until_running(&nodes[0]).await;
    let left = plugin.until_running(&nodes[1]).await;
    happens(&kubernetes);
    for node in &nodes {
        let end = plugin.until_ended(node).await;
        assert_eq!(end["node"]["phase"], "Failed", "{what}: {end}");
        assert!(message(&end).contains(reason), "{what}: {end}");
    }
    until("the execution is stopped", async || simulator.status(&stopped).await == "Stopped").await;
    assert_eq!(simulator.status(&left).await, "Executing", "{what}: on_stop leave");
    // In the first minute of a process lists may lag behind the one before it: a late node does not end yet.
    let late = plugin.ask(&execute("late", json!({}))).await;
    assert!(late["requeue"].is_string(), "{what}: {late}");
    assert_eq!(simulator.executions().await.len(), 2, "{what}: nothing starts any more");
}

#[actix_rt::test]
async fn a_stopped_workflow_stops_its_executions_and_says_why() {
    ends_by("argo stop", |k| k.shut_down(NAME, "Stop"), "the workflow was stopped").await;
}

#[actix_rt::test]
async fn a_terminated_workflow_stops_its_executions() {
    ends_by("argo terminate", |k| k.shut_down(NAME, "Terminate"), "the workflow is over").await;
}

#[actix_rt::test]
async fn a_deleted_workflow_stops_its_executions() {
    ends_by("deleted", |k| k.delete(NAME), "the workflow is over").await;
}

#[actix_rt::test]
async fn a_new_workflow_under_the_old_name_stops_the_old_ones_executions() {
    ends_by("another uid", |k| k.put(NAME, "11111111-2222-3333-4444-555555555555"), "the workflow is over").await;
}

#[actix_rt::test]
async fn a_workflow_past_its_deadline_stops_its_executions() {
    ends_by("deadline", |k| k.change(NAME, |w| w["spec"]["activeDeadlineSeconds"] = json!(3)), "activeDeadlineSeconds")
        .await;
}

#[actix_rt::test]
async fn an_exit_handler_runs_on_after_a_stop() {
    let (simulator, kubernetes, plugin) = running().await;
    let handler = plugin.until_running(&execute(&format!("{NAME}.onExit"), json!({}))).await;
    let node = execute("a", json!({}));
    plugin.until_running(&node).await;
    kubernetes.shut_down(NAME, "Stop");
    plugin.until_ended(&node).await;
    plugin.until_running(&execute("clean-up.onExit", json!({}))).await;
    assert_eq!(simulator.status(&handler).await, "Executing");
}

#[actix_rt::test]
async fn without_the_right_to_ask_there_is_one_warning_and_all_works() {
    let simulator = Simulator::with_pipeline(slow(), STEPS).await;
    let kubernetes = FakeKubernetes::start();
    kubernetes.forbid(&["workflows", "workflowtasksets"]);
    let mut plugin = Plugin::start(&simulator.endpoint, &[&kubernetes.flag(), FAST]).await;
    let asked = Instant::now();
    let body = execute("a", json!({}));
    let arn = plugin.until_running(&body).await;
    assert!(asked.elapsed() < Duration::from_secs(10), "nothing was waited for: {:?}", asked.elapsed());
    until("it was asked several times", async || kubernetes.requests().len() >= 8).await;
    let warnings = plugin.process.log().matches("not allowed to ask Kubernetes").count();
    assert_eq!(warnings, 1);
    plugin.process.terminate();
    assert_eq!(plugin.process.ended().await.code(), Some(0));
    assert_eq!(simulator.status(&arn).await, "Executing");
}

#[actix_rt::test]
async fn one_of_the_two_rights_is_enough() {
    for forbidden in ["workflows", "workflowtasksets"] {
        let (simulator, kubernetes, plugin) = running().await;
        kubernetes.forbid(&[forbidden]);
        let body = execute("a", json!({}));
        let arn = plugin.until_running(&body).await;
        kubernetes.delete(NAME);
        let end = plugin.until_ended(&body).await;
        assert_eq!(end["node"]["phase"], "Failed", "{end}");
        until("the execution is stopped", async || simulator.status(&arn).await == "Stopped").await;
        assert!(!plugin.process.log().contains("not allowed"), "{forbidden}");
    }
}

#[actix_rt::test]
async fn a_slow_kubernetes_delays_starts_and_no_answers() {
    let (simulator, kubernetes, plugin) = running().await;
    kubernetes.delay(Duration::from_secs(3));
    // Every answer comes within the reply time-out, or `ask` fails the test.
    let arn = plugin.until_running(&execute("a", json!({}))).await;
    assert_eq!(simulator.status(&arn).await, "Executing");
}

#[actix_rt::test]
async fn an_end_that_only_the_cache_shows_is_not_believed() {
    let (simulator, kubernetes, plugin) = running().await;
    let arn = plugin.until_running(&execute("a", json!({}))).await;
    assert!(kubernetes.requests().iter().all(|r| r.contains("resourceVersion=0")), "the cache is enough");
    kubernetes.lag(true);
    until("it was asked for the newest", async || {
        kubernetes.requests().iter().any(|r| !r.contains("resourceVersion=0"))
    })
    .await;
    let so_far = kubernetes.requests().len();
    until("it was asked again and again", async || kubernetes.requests().len() >= so_far + 12).await;
    assert_eq!(simulator.status(&arn).await, "Executing");
}

/// So many nodes of the workflow that run, and the plugin follows them; gives their requests. An earlier process has
/// started them: two starts a second would take long.
async fn fan_out(simulator: &Simulator, plugin: &Plugin, nodes: usize) -> Vec<Value> {
    simulator.faults(json!({"quota": nodes})).await;
    let names: Vec<String> = (0..nodes).map(|n| format!("n({n})")).collect();
    for name in &names {
        simulator.start_described(&marked(UID, name)).await;
    }
    let bodies: Vec<Value> = names.iter().map(|name| execute(name, json!({}))).collect();
    // The agent has 16 workers.
    for bodies in bodies.chunks(16) {
        join_all(bodies.iter().map(|body| plugin.until_running(body))).await;
    }
    assert_eq!(simulator.executions().await.len(), nodes, "all are adopted");
    bodies
}

/// The description that the plugin writes for a node of this workflow.
fn marked(uid: &str, execution_key: &str) -> String {
    let marker = Marker {
        namespace: NAMESPACE.to_owned(),
        workflow: NAME.to_owned(),
        uid: uid.to_owned(),
        key: Key::named(uid, execution_key),
        attempt: 0,
        predecessor: None,
        args: "0".repeat(12),
        work: None,
        run: None,
        asked: None,
        when_over: WhenOver::Stop,
        continues: None,
    };
    marker.describe(None)
}

#[actix_rt::test]
async fn sigterm_with_a_stopped_workflow_stops_all_200_executions_within_the_grace_period() {
    let (simulator, kubernetes, mut plugin) = running().await;
    fan_out(&simulator, &plugin, 200).await;
    kubernetes.delay(Duration::from_millis(50));
    plugin.process.terminate();
    let signal = Instant::now();
    // Argo writes the end a moment after it has told the pod to go.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    kubernetes.shut_down(NAME, "Stop");
    assert_eq!(plugin.process.ended().await.code(), Some(0));
    let took = signal.elapsed();
    println!("drained 200 executions {took:?} after the signal, 1.5 s of it before the end could be seen");
    assert!(took < Duration::from_secs(25), "{took:?}");
    until("all have stopped", async || statuses(&simulator).await == BTreeSet::from(["Stopped".to_owned()])).await;
}

#[actix_rt::test]
async fn sigterm_with_a_moved_pod_stops_none_and_the_next_process_adopts_all_200() {
    let (simulator, _kubernetes, mut plugin) = running().await;
    let bodies = fan_out(&simulator, &plugin, 200).await;
    plugin.process.terminate();
    assert_eq!(plugin.process.ended().await.code(), Some(0));
    let log = plugin.process.log();
    let executions = simulator.executions().await;
    for (arn, status) in &executions {
        assert_eq!(status, "Executing");
        assert!(log.lines().any(|line| line.contains("left running") && line.contains(arn)), "{arn} is not named");
    }
    plugin.restart().await;
    let adopted: BTreeSet<String> =
        join_all(bodies.iter().map(|body| plugin.until_running(body))).await.into_iter().collect();
    assert_eq!(adopted, executions.into_iter().map(|(arn, _)| arn).collect());
    assert_eq!(simulator.executions().await.len(), 200, "no second ones");
}

#[actix_rt::test]
async fn a_second_signal_ends_the_process_at_once() {
    let (_simulator, _kubernetes, mut plugin) = running().await;
    plugin.until_running(&execute("a", json!({}))).await;
    plugin.process.terminate();
    until("it drains", async || plugin.process.log().contains("draining")).await;
    let second = Instant::now();
    plugin.process.terminate();
    assert_eq!(plugin.process.ended().await.code(), Some(0));
    assert!(second.elapsed() < Duration::from_secs(5), "it would ask for 12 s: {:?}", second.elapsed());
}
