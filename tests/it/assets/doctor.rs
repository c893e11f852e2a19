//! The Job that checks a namespace from inside.

use awf_aws::config::doctor::{DoctorArgs, DoctorConfig, Variables};
use clap::Parser;
use serde_json::json;

use super::{kind, one};

#[derive(Debug, Parser)]
struct DoctorLine {
    #[command(flatten)]
    doctor: DoctorArgs,
}

#[test]
fn the_doctors_job_runs_as_the_workflows_account_with_rights_to_look_at_it_and_no_more() {
    let file = "doctor-job.yaml";
    let account = kind("workflow-service-account.yaml", "ServiceAccount")["metadata"]["name"].clone();
    let secret = kind("workflow-service-account.yaml", "Secret")["metadata"]["name"].clone();
    let binding = kind(file, "RoleBinding");
    assert_eq!(binding["roleRef"]["name"], kind(file, "Role")["metadata"]["name"]);
    assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": account}]));
    assert_eq!(
        kind(file, "Role")["rules"],
        json!([
            {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [account], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": ["get"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"], "verbs": ["create"]},
        ])
    );

    let job = kind(file, "Job");
    assert_eq!(job["spec"]["backoffLimit"], 0, "what is broken stays so");
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!((&pod["serviceAccountName"], &pod["restartPolicy"]), (&account, &json!("Never")));
    let container = &pod["containers"][0];
    let plugin = &one("plugin/plugin.yaml")["spec"]["sidecar"]["container"];
    assert_eq!(container["image"], plugin["image"]);
    assert_eq!(container["securityContext"], plugin["securityContext"]);
    // The binary itself judges the arguments, with the variable replaced as Kubernetes does.
    let args = container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().replace("$(NAMESPACE)", "ml"));
    let line = DoctorLine::try_parse_from(args).unwrap();
    let config = DoctorConfig::from_args(line.doctor, Variables::default()).unwrap();
    assert_eq!((config.namespace.as_deref(), config.token_file), (Some("ml"), None), "the agent's token is elsewhere");
    assert!(config.pipeline.is_some() && config.region.is_some());
    assert_eq!(
        config.skip,
        ["executor-plugins", "plugin-configmap"].map(str::to_owned).into(),
        "what is in Argo's namespace"
    );
    assert_eq!(container["env"][0]["name"], "NAMESPACE");
    assert_eq!(container["env"][0]["valueFrom"], json!({"fieldRef": {"fieldPath": "metadata.namespace"}}));
}
