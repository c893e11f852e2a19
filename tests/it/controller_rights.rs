//! What the plugin says about the rights of Argo's controller: the real binary before a Kubernetes API.

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::{
    argo::Plugin,
    kubernetes::{FakeKubernetes, OWN_NAMESPACE},
    process::{LOOK, PATIENCE},
};

const GIVEN: &str = "Argo's controller may write task sets";
const LACKING: &str = "Argo's controller may not patch workflowtasksets/status";
const UNKNOWN: &str = "whether Argo's controller may write task sets is not known";

/// Nobody listens there, and nobody is asked for anything.
const NO_AWS: &str = "http://127.0.0.1:9";

/// A plugin that has said what it has to say about the controller.
async fn said(kubernetes: &FakeKubernetes, flags: &[&str], text: &str) -> Plugin {
    let flag = kubernetes.flag();
    let mut all = vec![flag.as_str()];
    all.extend(flags);
    let plugin = Plugin::start(NO_AWS, &all).await;
    let deadline = Instant::now() + PATIENCE;
    while !plugin.process.log().contains(text) {
        assert!(Instant::now() < deadline, "it never says {text:?}");
        sleep(LOOK).await;
    }
    plugin
}

fn warnings(plugin: &Plugin) -> Vec<String> {
    plugin
        .process
        .log()
        .lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .map(Into::into)
        .collect()
}

#[actix_rt::test]
async fn a_controller_without_the_right_is_one_warning_with_the_command_that_gives_it() {
    let kubernetes = FakeKubernetes::start();
    kubernetes.let_write_task_sets(&["system:serviceaccount:argo:argo-server"]);
    let plugin = said(&kubernetes, &[], LACKING).await;
    let warnings = warnings(&plugin);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    let name = "argo-controller-task-set-status";
    for part in [
        "WARN",
        "system:serviceaccount:argo:argo",
        "assets/argo-controller-rights.yaml",
        &format!("kubectl create clusterrole {name} --verb=patch --resource=workflowtasksets.argoproj.io/status && "),
        &format!("kubectl create clusterrolebinding {name} --clusterrole={name} --serviceaccount=argo:argo"),
    ] {
        assert!(warnings[0].contains(part), "{part} in {}", warnings[0]);
    }
    // The groups of a service account count as well; Kubernetes does not add them.
    let asked = json!({
        "user": "system:serviceaccount:argo:argo",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:argo", "system:authenticated"],
        "resourceAttributes": {
            "namespace": OWN_NAMESPACE, "verb": "patch", "group": "argoproj.io", "version": "v1alpha1",
            "resource": "workflowtasksets", "subresource": "status",
        },
    });
    let reviews = kubernetes.reviews();
    assert_eq!((reviews.len(), &reviews[0]["spec"]), (1, &asked));
}

#[actix_rt::test]
async fn a_controller_with_the_right_is_not_spoken_of() {
    for who in ["system:serviceaccount:argo:argo", "system:serviceaccounts:argo"] {
        let kubernetes = FakeKubernetes::start();
        kubernetes.let_write_task_sets(&[who]);
        let plugin = said(&kubernetes, &[], GIVEN).await;
        assert_eq!(warnings(&plugin), [""; 0], "{who}");
    }
}

#[actix_rt::test]
async fn the_account_of_the_controller_is_the_flags() {
    let kubernetes = FakeKubernetes::start();
    let plugin = said(&kubernetes, &["--argo-controller-account=workflows:controller"], LACKING).await;
    let warnings = warnings(&plugin);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("--serviceaccount=workflows:controller"), "{}", warnings[0]);
    assert_eq!(kubernetes.reviews()[0]["spec"]["user"], "system:serviceaccount:workflows:controller");
}

#[actix_rt::test]
async fn what_cannot_be_found_out_alarms_nobody() {
    let kubernetes = FakeKubernetes::start();
    kubernetes.let_write_task_sets(&[]);
    kubernetes.forbid(&["localsubjectaccessreviews"]);
    let plugin = said(&kubernetes, &[], UNKNOWN).await;
    assert!(plugin.process.log().contains("localsubjectaccessreviews.authorization.k8s.io is forbidden"));
    assert_eq!(warnings(&plugin), [""; 0]);

    kubernetes.forbid(&[]);
    kubernetes.break_authorizer("webhook: connection refused");
    let plugin = said(&kubernetes, &[], UNKNOWN).await;
    assert_eq!(warnings(&plugin), [""; 0]);
    assert_eq!(kubernetes.reviews().len(), 2, "asked once by each process");
}

#[actix_rt::test]
async fn without_an_account_nothing_is_asked() {
    let kubernetes = FakeKubernetes::start();
    kubernetes.let_write_task_sets(&[]);
    let plugin = said(&kubernetes, &["--argo-controller-account="], "listening").await;
    // The question would be on its way before the doors are open; the answer takes longer than the tests' own.
    plugin.ops("/metrics").await;
    assert_eq!((kubernetes.reviews().len(), warnings(&plugin)), (0, vec![]));
}
