//! What an administrator applies beside the plugin: the right that Argo forgets, and who may reach the plugin's ops port.

use awf_aws::config::{Config, ServeArgs};
use clap::{Args as _, FromArgMatches as _};
use serde_json::json;

use super::{all, kind, one, text};

/// The configuration of a plugin that was given no flags.
fn defaults() -> Config {
    let matches = ServeArgs::augment_args(clap::Command::new("serve")).try_get_matches_from(["serve"]).unwrap();
    Config::from_args(ServeArgs::from_arg_matches(&matches).unwrap()).unwrap()
}

#[test]
fn argos_controller_gets_the_one_right_that_its_manifests_forget() {
    let file = "argo-controller-rights.yaml";
    assert_eq!(all(file).len(), 2, "nothing else is given to anybody");
    let role = kind(file, "ClusterRole");
    assert_eq!(
        role["rules"],
        json!([{"apiGroups": ["argoproj.io"], "resources": ["workflowtasksets/status"], "verbs": ["patch"]}])
    );
    let binding = kind(file, "ClusterRoleBinding");
    let name = &role["metadata"]["name"];
    assert_eq!(
        binding["roleRef"],
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name})
    );
    // The same account whose right the plugin looks at, and the same names as in the command that it logs.
    let account = defaults().argo_controller_account.unwrap();
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}])
    );
    assert_eq!((name, &binding["metadata"]["name"]), (&json!("argo-controller-task-set-status"), name));
    // `workflowtasksets/status` as kubectl's TYPE/NAME would be a task set called "status".
    let (namespace, own) = (account.namespace, account.name);
    let check = format!(
        "kubectl auth can-i patch workflowtasksets.argoproj.io --subresource=status --as=system:serviceaccount:{namespace}:{own} -n ml"
    );
    for path in ["assets/argo-controller-rights.yaml", "README.md"] {
        assert!(text(path).contains(&check), "{path} does not say how to check: {check}");
    }
}

#[test]
fn only_prometheus_reaches_the_agent_pods_and_they_reach_everything() {
    let policy = one("ops-network-policy.yaml");
    let spec = &policy["spec"];
    assert_eq!(spec["podSelector"], json!({"matchLabels": {"workflows.argoproj.io/component": "agent"}}));
    // `Egress`, or an egress list without it, would cut the agent off from Kubernetes and AWS.
    assert_eq!(spec["policyTypes"], json!(["Ingress"]));
    assert!(spec.get("egress").is_none());
    // One peer with both selectors: as two peers they would let in all of the namespace, and such pods of every namespace.
    assert_eq!(
        spec["ingress"],
        json!([{
            "from": [{
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
            }],
            "ports": [{"protocol": "TCP", "port": defaults().ops_listen.port()}],
        }])
    );
    assert!(defaults().listen.ip().is_loopback(), "the agent's own way in is not the network");
}
