//! Executions that were left behind: which they are, and that only they are stopped.

use std::{collections::BTreeSet, time::Duration};

use awf_aws::{
    config::orphans::{OrphansArgs, OrphansConfig},
    orphans::{Candidate, Verdict, candidate, judge},
    pipelines::{Execution, Status, Time},
    workflow::{
        WorkflowState,
        identity::{Key, Marker, WhenOver},
    },
};
use clap::Parser;
use serde_json::{Value, json};

use crate::support::{
    kubernetes::{FakeKubernetes, NAME, NAMESPACE, UID},
    process::{TempDir, binary},
    simulator::{Simulator, slow},
};

const NOW: Time = Time::at(1_795_435_200_000);
const MINUTE: Duration = Duration::from_secs(60);

fn marker(workflow: &str, uid: &str, when_over: WhenOver) -> Marker {
    Marker {
        namespace: NAMESPACE.to_owned(),
        workflow: workflow.to_owned(),
        uid: uid.to_owned(),
        key: Key::named(uid, "main"),
        attempt: 0,
        predecessor: None,
        args: "0".repeat(12),
        work: None,
        run: None,
        asked: None,
        when_over,
        continues: None,
    }
}

fn execution(status: Status, age: Duration, description: Option<String>) -> Execution {
    Execution {
        arn: "arn".to_owned(),
        status,
        created: Some(NOW.minus(age)),
        modified: None,
        description,
        failure_reason: None,
        started_by: None,
    }
}

#[test]
fn only_old_live_executions_with_our_marker_and_namespace_are_judged() {
    let ours = || Some(marker(NAME, UID, WhenOver::Stop).describe(Some("nightly | training")));
    let namespaces = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (name, execution, namespaces, expected) in [
        ("live", execution(Status::Executing, 11 * MINUTE, ours()), namespaces(&[]), true),
        ("a newer status", execution(Status::Unknown("Resting".into()), 11 * MINUTE, ours()), namespaces(&[]), true),
        ("ended", execution(Status::Succeeded, 11 * MINUTE, ours()), namespaces(&[]), false),
        ("young", execution(Status::Executing, 9 * MINUTE, ours()), namespaces(&[]), false),
        ("not ours", execution(Status::Executing, 11 * MINUTE, Some("by hand".into())), namespaces(&[]), false),
        ("without words", execution(Status::Executing, 11 * MINUTE, None), namespaces(&[]), false),
        ("of the namespace", execution(Status::Executing, 11 * MINUTE, ours()), namespaces(&["ml", NAMESPACE]), true),
        ("of another one", execution(Status::Executing, 11 * MINUTE, ours()), namespaces(&["ml"]), false),
    ] {
        assert_eq!(candidate(execution, &namespaces, 10 * MINUTE, NOW).is_some(), expected, "{name}");
    }
}

#[test]
fn only_what_nobody_wants_is_an_orphan() {
    let alive = WorkflowState::Alive { started_at: None, deadline: None, server_time: None };
    for (state, stop, exit_handler) in [
        (alive, "wanted", "wanted"),
        (WorkflowState::Over, "orphan", "wanted"),
        (WorkflowState::Gone, "orphan", "orphan"),
        (WorkflowState::Forbidden, "unjudged", "unjudged"),
        (WorkflowState::Unknown, "unjudged", "unjudged"),
    ] {
        for (when_over, expected) in
            [(WhenOver::Stop, stop), (WhenOver::ExitHandler, exit_handler), (WhenOver::Leave, "wanted")]
        {
            let found = Candidate {
                arn: String::new(),
                status: Status::Executing,
                created: None,
                marker: marker(NAME, UID, when_over),
            };
            let verdict = match judge(&found, state) {
                Verdict::Wanted => "wanted",
                Verdict::Orphan(_) => "orphan",
                Verdict::Unjudged(_) => "unjudged",
            };
            assert_eq!(verdict, expected, "{state:?} {when_over:?}");
        }
    }
}

#[test]
fn the_marker_tells_what_becomes_of_an_execution() {
    for when_over in [WhenOver::Stop, WhenOver::ExitHandler, WhenOver::Leave] {
        let marker = marker(NAME, UID, when_over);
        assert_eq!(Marker::parse(&marker.describe(None)), Some(marker));
    }
    let newer = format!("{} over=perhaps", marker(NAME, UID, WhenOver::Stop).describe(None));
    assert_eq!(Marker::parse(&newer).map(|marker| marker.when_over), Some(WhenOver::Leave));
}

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    orphans: OrphansArgs,
}

#[test]
fn bad_flags_are_all_named_and_a_stop_needs_a_namespace() {
    let line = ["awf-aws", "--region=", "--older-than=soon", "--output=xml", "--stop"];
    let problems = OrphansConfig::from_args(Line::try_parse_from(line).unwrap().orphans).unwrap_err().0;
    for flag in ["--region", "--older-than", "--output", "--stop: needs --namespace"] {
        assert_eq!(problems.iter().filter(|p| p.starts_with(flag)).count(), 1, "{flag} in {problems:#?}");
    }
    assert_eq!(problems.len(), 4, "{problems:#?}");
}

#[test]
fn without_a_cluster_nothing_can_be_judged() {
    let directory = TempDir::new();
    let mut command = binary("orphans", directory.path());
    let output = command.args(["--region=us-west-2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--kubeconfig"));
}

/// What the command printed, and its exit code.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn orphans(simulator: &Simulator, kubernetes: &FakeKubernetes, flags: &[&str]) -> Ran {
    let directory = TempDir::new();
    let mut command = binary("orphans", directory.path());
    command
        .args(["--region=us-west-2", "--older-than=0s"])
        .arg(kubernetes.flag())
        .args(flags)
        .env("AWS_ENDPOINT_URL", &simulator.endpoint)
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let output = actix_rt::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A book with executions of every kind; gives the orphans' ARNs.
async fn all_kinds() -> (Simulator, FakeKubernetes, BTreeSet<String>) {
    let simulator = Simulator::with_pipeline(slow(), &["Train"]).await;
    let kubernetes = FakeKubernetes::start();
    kubernetes.put("stopped", "uid-of-stopped");
    kubernetes.shut_down("stopped", "Stop");
    let mut orphans = BTreeSet::new();
    for (workflow, uid, when_over, orphan) in [
        (NAME, UID, WhenOver::Stop, false),
        (NAME, "uid-of-an-earlier-one", WhenOver::Stop, true),
        ("deleted", "uid-of-deleted", WhenOver::Stop, true),
        ("deleted", "uid-of-deleted", WhenOver::ExitHandler, true),
        ("deleted", "uid-of-deleted", WhenOver::Leave, false),
        ("stopped", "uid-of-stopped", WhenOver::Stop, true),
        ("stopped", "uid-of-stopped", WhenOver::ExitHandler, false),
    ] {
        let arn = simulator.start_described(&marker(workflow, uid, when_over).describe(None)).await;
        if orphan {
            orphans.insert(arn);
        }
    }
    simulator.start_described("by hand").await;
    (simulator, kubernetes, orphans)
}

async fn running(simulator: &Simulator) -> BTreeSet<String> {
    let executions = simulator.executions().await;
    executions.into_iter().filter(|(_, status)| status == "Executing").map(|(arn, _)| arn).collect()
}

#[actix_rt::test]
async fn orphans_are_listed_and_left_alone() {
    let (simulator, kubernetes, orphans_arns) = all_kinds().await;
    let ran = orphans(&simulator, &kubernetes, &[]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let listed: BTreeSet<String> = ran.out.lines().map(|l| l.split('\t').next().unwrap().to_owned()).collect();
    assert_eq!(listed, orphans_arns, "{}", ran.out);
    assert!(ran.out.lines().all(|line| line.ends_with("left running")), "{}", ran.out);
    assert_eq!(running(&simulator).await.len(), 8);

    let ran = orphans(&simulator, &kubernetes, &["--output=json", "--pipeline=MyPipeline"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let objects: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 4);
    assert!(
        objects.iter().all(|o| o["outcome"] == json!("left_running") && o["namespace"] == NAMESPACE),
        "{objects:#?}"
    );
    let none = orphans(&simulator, &kubernetes, &["--namespace=elsewhere"]).await;
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""));
}

#[actix_rt::test]
async fn orphans_are_stopped_and_nothing_else() {
    let (simulator, kubernetes, orphans_arns) = all_kinds().await;
    let before = running(&simulator).await;
    simulator.faults(json!({"throttle": {"StopPipelineExecution": 2, "ListPipelineExecutions": 1}})).await;
    let ran = orphans(&simulator, &kubernetes, &["--stop", "--namespace=argo"]).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(ran.out.lines().count(), 4);
    let after = running(&simulator).await;
    assert_eq!(before.difference(&after).cloned().collect::<BTreeSet<_>>(), orphans_arns);
    let again = orphans(&simulator, &kubernetes, &["--stop", "--namespace=argo"]).await;
    assert_eq!(again.code, Some(0), "{}{}", again.out, again.err);
}

#[actix_rt::test]
async fn what_cannot_be_judged_is_left_alone_and_said() {
    let (simulator, kubernetes, _) = all_kinds().await;
    kubernetes.forbid(&["workflows", "workflowtasksets"]);
    let ran = orphans(&simulator, &kubernetes, &["--stop", "--namespace=argo"]).await;
    assert_eq!(ran.code, Some(70));
    assert!(ran.err.contains("not allowed to read its workflow"), "{}", ran.err);
    assert_eq!(running(&simulator).await.len(), 8);
}

#[actix_rt::test]
async fn a_denied_listing_is_said_by_the_exit_code() {
    let (simulator, kubernetes, _) = all_kinds().await;
    simulator.faults(json!({"deny": {"ListPipelineExecutions": "always"}})).await;
    let ran = orphans(&simulator, &kubernetes, &[]).await;
    assert_eq!(ran.code, Some(70));
    assert!(ran.err.contains("cannot be listed"), "{}", ran.err);
}
