//! What Kubernetes' answers mean for a workflow.

use std::time::Duration;

use awf_aws::{
    kubernetes::{Answer, judge},
    pipelines::Time,
    workflow::WorkflowState::{self, Alive, Forbidden, Gone, Over, Unknown},
};
use serde_json::{Value, json};

const UID: &str = "27c01e7c-9d93-450f-a001-c64d649aac99";
const START: Time = Time::at(1_795_435_200_000);

/// The workflow as Argo writes it while it runs, with members replaced.
fn workflow(patch: Value) -> Answer {
    let mut object = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "wf", "namespace": "ml", "uid": UID, "resourceVersion": "77",
                     "labels": {"workflows.argoproj.io/phase": "Running"}},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "plugin": {"awf-aws-plugin": {}}}]},
        "status": {"phase": "Running", "startedAt": "2026-11-23T12:00:00Z", "finishedAt": null, "nodes": {"wf": {}}},
    });
    merge(&mut object, patch);
    Answer::of_json(object.to_string().as_bytes())
}

/// The metadata of its task set.
fn tasks(patch: Value) -> Answer {
    let mut object = json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": "wf", "namespace": "ml", "uid": "another",
                     "ownerReferences": [{"kind": "Workflow", "name": "wf", "uid": UID}]},
    });
    merge(&mut object, patch);
    Answer::of_json(object.to_string().as_bytes())
}

fn merge(object: &mut Value, patch: Value) {
    match (object, patch) {
        (Value::Object(members), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(members.entry(name).or_insert(Value::Null), value);
            }
        }
        (object, patch) => *object = patch,
    }
}

fn labelled(value: &str) -> Value {
    json!({"metadata": {"labels": {"workflows.argoproj.io/completed": value}}})
}

/// An answer with this status, and with the name of the object that was asked for or of none.
fn refusal(code: u16, names_it: bool, message: &str) -> Answer {
    let name = if names_it { "wf" } else { "" };
    let body = json!({"kind": "Status", "code": code, "message": message, "details": {"name": name}});
    Answer::of_refusal(code, "wf", body.to_string().as_bytes())
}

fn denied() -> Answer {
    refusal(403, true, "forbidden")
}

fn failed() -> Answer {
    refusal(500, false, "etcdserver: leader changed")
}

const RUNS: WorkflowState = Alive { started_at: Some(START), deadline: None, server_time: None };
/// Alive, as far as its tasks tell.
const LIVES: WorkflowState = Alive { started_at: None, deadline: None, server_time: None };

#[test]
fn what_both_answers_say_together() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-11-23T12:10:00Z"}});
    let other = json!({"metadata": {"uid": "another-uid"}});
    let others = json!({"metadata": {"ownerReferences": [{"uid": "another-uid"}]}});
    let absent = || refusal(404, true, "not found");
    let deadline =
        Alive { started_at: Some(START), deadline: Some(START.plus(Duration::from_secs(3600))), server_time: None };
    for (name, workflow, tasks, expected) in [
        ("running", workflow(json!({})), tasks(json!({})), RUNS),
        ("not yet started", workflow(json!({"status": {"startedAt": null}})), tasks(json!({})), LIVES),
        ("with a deadline", workflow(json!({"spec": {"activeDeadlineSeconds": 3600}})), tasks(json!({})), deadline),
        ("suspended", workflow(json!({"spec": {"suspend": true}})), tasks(json!({})), RUNS),
        ("argo stop", workflow(json!({"spec": {"shutdown": "Stop"}})), tasks(json!({})), Over),
        ("argo terminate", workflow(json!({"spec": {"shutdown": "Terminate"}})), tasks(json!({})), Gone),
        ("stopped and completed", workflow(labelled("true")), tasks(json!({})), Gone),
        ("labelled not completed", workflow(labelled("false")), tasks(labelled("false")), RUNS),
        ("its tasks are labelled first", workflow(json!({})), tasks(labelled("true")), Gone),
        (
            "its tasks, while it is stopped",
            workflow(json!({"spec": {"shutdown": "Stop"}})),
            tasks(labelled("true")),
            Over,
        ),
        ("being deleted", workflow(deleted.clone()), tasks(json!({})), Gone),
        ("deleted", absent(), absent(), Gone),
        ("deleted, its tasks not yet", absent(), tasks(json!({})), Gone),
        ("another of its name", workflow(other), tasks(others.clone()), Gone),
        ("without tasks yet", workflow(json!({})), absent(), RUNS),
        ("only the workflow may be read", workflow(json!({})), denied(), RUNS),
        ("only the workflow, stopped", workflow(json!({"spec": {"shutdown": "Stop"}})), denied(), Over),
        ("only the tasks may be read", denied(), tasks(json!({})), LIVES),
        ("only the tasks, completed", denied(), tasks(labelled("true")), Gone),
        ("only the tasks, being deleted", denied(), tasks(deleted), Gone),
        ("only the tasks, of another workflow", denied(), tasks(others), Gone),
        ("only the tasks, absent", denied(), absent(), Gone),
        ("neither may be read", denied(), denied(), Forbidden),
        ("the token is not taken", refusal(401, false, "Unauthorized"), denied(), Forbidden),
        ("the server fails", failed(), failed(), Unknown),
        ("the workflow cannot be had, its tasks run", failed(), tasks(json!({})), Unknown),
        ("the workflow cannot be had, its tasks are completed", failed(), tasks(labelled("true")), Gone),
        ("the workflow cannot be had, its tasks are absent", failed(), absent(), Unknown),
        ("the tasks cannot be had", workflow(json!({})), failed(), RUNS),
        ("denied and failing", denied(), failed(), Unknown),
        ("a cluster without Argo", refusal(404, false, "404 page not found"), absent(), Unknown),
        ("throttled", refusal(429, false, "too many requests"), failed(), Unknown),
        ("nonsense", Answer::of_json(b"<html>"), Answer::of_json(b"{}"), Unknown),
    ] {
        assert_eq!(judge(UID, &workflow, &tasks), expected, "{name}");
    }
}

#[test]
fn without_a_uid_the_name_is_all_there_is() {
    // Argo before 3.4.2 sends none.
    assert_eq!(judge("", &workflow(json!({})), &tasks(json!({}))), RUNS);
    assert_eq!(judge("", &workflow(labelled("true")), &tasks(json!({}))), Gone);
}
