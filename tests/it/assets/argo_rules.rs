//! What Argo refuses, and what it takes but never ends, in any manifest that we ship.

use serde_json::{Value, json};

use super::{all, documents, files, named};

/// Every manifest that Argo's controller reads as a workflow, whatever its kind, with its file.
fn of_argo() -> Vec<(String, Value)> {
    let all = files().into_iter().flat_map(|file| all(&file).into_iter().map(move |m| (file.clone(), m)));
    all.filter(|(_, m)| spec(m).is_some()).collect()
}

/// The part with the templates.
fn spec(manifest: &Value) -> Option<&Value> {
    match manifest["kind"].as_str()? {
        "Workflow" | "WorkflowTemplate" | "ClusterWorkflowTemplate" => Some(&manifest["spec"]),
        "CronWorkflow" => Some(&manifest["spec"]["workflowSpec"]),
        _ => None,
    }
}

/// Names of templates, steps and tasks that Argo refuses, also where they are only referred to: the CRDs of 4.1 have the
/// pattern `^[a-zA-Z0-9][-a-zA-Z0-9]*$` for templates, and `validate.go` of 3.4 to 3.7 has it with at most 128 characters for
/// all of them. Names of parameters may have underscores.
fn refused_names(spec: &Value) -> Vec<String> {
    let fits = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.len() <= 128
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let mut found = Vec::new();
    fn text(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
    found.extend([&spec["entrypoint"], &spec["onExit"]].into_iter().filter_map(text));
    let hooks = |value: &Value| -> Vec<String> {
        value["hooks"].as_object().into_iter().flatten().filter_map(|(_, hook)| text(&hook["template"])).collect()
    };
    found.extend(hooks(spec));
    for (name, template) in named(&spec["templates"]) {
        found.push(name.to_owned());
        let steps = template["steps"].as_array().into_iter().flatten().flat_map(named);
        for (name, call) in steps.chain(named(&template["dag"]["tasks"])) {
            found.push(name.to_owned());
            found.extend(
                [&call["template"], &call["templateRef"]["template"], &call["onExit"]].into_iter().filter_map(text),
            );
            found.extend(hooks(call));
        }
    }
    found.retain(|name| !fits(name));
    found
}

/// Whether a `retryStrategy` has a `backoff`, wherever it stands.
fn has_backoff(value: &Value) -> bool {
    match value {
        Value::Object(members) => members
            .iter()
            .any(|(name, inner)| (name == "retryStrategy" && !inner["backoff"].is_null()) || has_backoff(inner)),
        Value::Array(items) => items.iter().any(has_backoff),
        _ => false,
    }
}

#[test]
fn argo_takes_every_name_in_what_we_ship() {
    let manifests = of_argo();
    assert!(manifests.len() >= 7, "{}", manifests.len());
    for (file, manifest) in manifests {
        assert_eq!(refused_names(spec(&manifest).unwrap()), [""; 0], "{file}: Argo refuses these names");
    }
}

#[test]
fn a_name_that_argo_refuses_is_found_wherever_it_stands() {
    let template = json!([
        {"name": "validate_pipeline", "plugin": {}},
        {"name": "main", "inputs": {"parameters": [{"name": "an_input"}]},
         "steps": [[{"name": "a_step", "template": "validate_pipeline"}, {"name": "b", "templateRef": {"template": "c_d"}}]]},
        {"name": "-dag", "dag": {"tasks": [{"name": "a_task", "template": "main", "onExit": "stop_it"}]}},
        {"name": "x".repeat(129), "container": {}},
    ]);
    let inner = json!({"entrypoint": "the_main", "onExit": "the_exit", "templates": template,
                       "hooks": {"running": {"template": "a_hook"}}});
    let wanted = [
        "the_main",
        "the_exit",
        "a_hook",
        "validate_pipeline",
        "a_step",
        "validate_pipeline",
        "c_d",
        "-dag",
        "a_task",
        "stop_it",
        &"x".repeat(129),
    ];
    for kind in ["Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate"] {
        assert_eq!(refused_names(spec(&json!({"kind": kind, "spec": inner})).unwrap()), wanted, "{kind}");
    }
    let cron = json!({"kind": "CronWorkflow", "spec": {"schedule": "@daily", "workflowSpec": inner}});
    assert_eq!(refused_names(spec(&cron).unwrap()), wanted);
    assert!(spec(&json!({"kind": "CronJob", "spec": inner})).is_none());
}

#[test]
fn no_retry_waits_for_a_back_off() {
    // With the rights of Argo's own manifests its controller cannot take ended tasks off the task set (argo-workflows#13341). At
    // every reconcile it then takes their results up anew and moves the failed attempt's finishedAt, from which the back-off
    // counts: it never passes, and the workflow hangs for ever. What we ship has to work with those rights too.
    for (file, manifest) in of_argo() {
        assert!(!has_backoff(&manifest), "{file}: a retryStrategy with backoff hangs under Argo's own rights");
    }
    let defaults =
        documents("spec: {templateDefaults: {retryStrategy: {limit: 2, backoff: {duration: 30s}}}}").unwrap();
    assert!(has_backoff(&defaults[0]));
}
