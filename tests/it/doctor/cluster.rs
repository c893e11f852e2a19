//! A cluster in which nothing is missing, made of what we ship.

use std::{fs, path::Path};

use awf_aws::demo::template::documents;
use serde_json::{Value, json};

use super::ROLE;
use crate::support::kubernetes::FakeKubernetes;

pub const ACCOUNT: &str = "system:serviceaccount:ml:awf-aws-workflow";
pub const MAP: &str = "awf-aws-executor-plugin";

/// A manifest that we ship.
pub fn shipped(file: &str, kind: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(file);
    let all = documents(&fs::read_to_string(&path).unwrap()).unwrap();
    all.into_iter().find(|manifest| manifest["kind"] == kind).unwrap()
}

/// Argo's controller as its own manifests run it.
pub fn controller(environment: Value, arguments: Value) -> Value {
    json!({
        "metadata": {"name": "workflow-controller"},
        "spec": {"template": {"spec": {"containers": [{
            "name": "workflow-controller", "image": "quay.io/argoproj/workflow-controller:v3.7.1",
            "command": ["workflow-controller"], "args": arguments, "env": environment,
        }]}}},
    })
}

/// Argo with the plugin, and the namespace `ml` prepared.
pub fn whole() -> FakeKubernetes {
    let kubernetes = FakeKubernetes::start();
    let account = shipped("workflow-service-account.yaml", "ServiceAccount");
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], ROLE);
    let mut secret = shipped("workflow-service-account.yaml", "Secret");
    // What the API server never sends to whoever asks for the metadata only.
    secret["data"] = json!({"token": super::CANARY});
    kubernetes.put_object("serviceaccounts", "ml", "awf-aws-workflow", Some(account));
    kubernetes.put_object("secrets", "ml", "awf-aws-workflow.service-account-token", Some(secret));
    let map = shipped("plugin/awf-aws-executor-plugin-configmap.yaml", "ConfigMap");
    kubernetes.put_object("configmaps", "argo", MAP, Some(map));
    let switched_on = json!([{"name": "ARGO_EXECUTOR_PLUGINS", "value": "true"}]);
    kubernetes.put_object("deployments", "argo", "workflow-controller", Some(controller(switched_on, json!([]))));
    let server = json!({"metadata": {"name": "argo-server"}, "spec": {"template": {"spec": {"containers": [{"image": "argocli"}]}}}});
    kubernetes.put_object("deployments", "argo", "argo-server", Some(server));
    for (verb, what) in
        [("list", "workflowtasksets"), ("watch", "workflowtasksets"), ("patch", "workflowtasksets/status")]
    {
        kubernetes.allow(ACCOUNT, verb, what, true);
    }
    kubernetes
}
