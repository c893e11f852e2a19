//! What Argo needs, taken away piece by piece.

use std::fs;

use serde_json::{Value, json};

use super::{
    Pod, ROLE,
    cluster::{ACCOUNT, MAP, controller, shipped},
    whole_cluster,
};
use crate::support::kubernetes::FakeKubernetes;

const ARGO: [&str; 5] = ["kubernetes", "controller-right", "executor-plugins", "plugin-configmap", "service-account"];

/// A pod that lacks nothing, in a cluster that lacks nothing.
async fn both() -> (Pod, FakeKubernetes) {
    let (mut pod, kubernetes) = (Pod::new().await, whole_cluster());
    pod.flag(kubernetes.flag());
    (pod, kubernetes)
}

#[actix_rt::test]
async fn a_cluster_that_lacks_nothing_is_well() {
    let (pod, kubernetes) = both().await;
    let report = pod.report().await;
    assert_eq!((report.code, report.of("skipped")), (Some(0), vec!["role-arn"]), "{:#}", report.object);
    assert!(
        kubernetes.requests().iter().all(|request| !request.starts_with("workflows ")),
        "it asks after nobody's workflow"
    );
}

#[actix_rt::test]
async fn on_a_workstation_the_cluster_is_looked_at_with_an_administrators_keys() {
    let (mut pod, _kubernetes) = both().await;
    for name in ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "KUBERNETES_SERVICE_HOST"] {
        pod.unset(name);
    }
    pod.set("AWS_ACCESS_KEY_ID", "testing");
    pod.set("AWS_SECRET_ACCESS_KEY", super::CANARY);
    pod.flag("--token-file=");
    pod.flags.remove(1);
    let report = pod.report().await;
    assert_eq!(report.code, Some(0), "{:#}", report.object);
    // The account's role is not the administrator's, and that is no fault unless somebody expects it.
    assert_eq!(report.check("caller")["saw"], "arn:aws:iam::100000000002:user/simulated");
    pod.flag(format!("--pod-role={ROLE}"));
    pod.broken("caller").await.says("by --pod-role");
}

#[actix_rt::test]
async fn a_cluster_that_cannot_be_asked_is_said_and_what_hangs_on_it_left_out() {
    let (mut pod, kubernetes) = both().await;
    kubernetes.forbid(&["argoproj.io"]);
    let broken = pod.broken("kubernetes").await;
    broken.says("knows no argoproj.io/v1alpha1").says("Argo Workflows is not installed in this cluster");
    let report = pod.report().await;
    assert!(ARGO[1..].iter().all(|name| report.check(name)["verdict"] == "skipped"), "{:#}", report.object);

    // Credentials that the API server does not take.
    let text = fs::read_to_string(kubernetes.kubeconfig()).unwrap();
    fs::write(pod.file("kubeconfig"), text.replace("a-service-accounts-token", "another")).unwrap();
    *pod.flags.last_mut().unwrap() = format!("--kubeconfig={}", pod.file("kubeconfig").display());
    pod.broken("kubernetes").await.says("Unauthorized").command("kubectl auth whoami");
    fs::write(pod.file("kubeconfig"), text.replace("http://127.0.0.1:", "http://127.0.0.1:1#")).unwrap();
    pod.broken("kubernetes").await;
    fs::remove_file(pod.file("kubeconfig")).unwrap();
    pod.broken("kubernetes").await.says("Mend the kubeconfig that --kubeconfig (KUBECONFIG) names");
}

#[actix_rt::test]
async fn a_controller_without_its_right_gets_the_command_that_gives_it() {
    let (mut pod, kubernetes) = both().await;
    kubernetes.let_write_task_sets(&[]);
    let name = "argo-controller-task-set-status";
    pod.broken("controller-right").await.says("argo:argo may not patch workflowtasksets/status in ml").command(
        &format!(
            "kubectl create clusterrole {name} --verb=patch --resource=workflowtasksets.argoproj.io/status && \
         kubectl create clusterrolebinding {name} --clusterrole={name} --serviceaccount=argo:argo"
        ),
    );
    // As that command gives it.
    kubernetes.let_write_task_sets(&["system:serviceaccount:argo:argo"]);
    assert_eq!(pod.report().await.code, Some(0));
    // Another controller is asked for by its own account.
    pod.flag("--argo-controller-account=argo:another");
    pod.broken("controller-right").await.says("argo:another");
}

#[actix_rt::test]
async fn what_may_not_be_looked_at_is_not_known_and_not_well() {
    let (pod, kubernetes) = both().await;
    kubernetes.forbid(&["localsubjectaccessreviews", "deployments", "configmaps", "serviceaccounts"]);
    let report = pod.report().await;
    assert_eq!((report.code, report.of("unknown")), (Some(70), ARGO[1..].to_vec()), "{:#}", report.object);
    assert!(report.of("broken").is_empty());
    let saw = report.check("executor-plugins")["saw"].as_str().unwrap();
    assert!(saw.contains("cannot list resource \"deployments\""), "{saw}");
}

#[actix_rt::test]
async fn executor_plugins_are_switched_on_by_variable_or_flag_or_not_at_all() {
    let (pod, kubernetes) = both().await;
    let put = |environment: Value, arguments: Value| {
        kubernetes.put_object("deployments", "argo", "workflow-controller", Some(controller(environment, arguments)));
    };
    put(json!([{"name": "ARGO_EXECUTOR_PLUGINS", "value": "false"}]), json!([]));
    let broken = pod.broken("executor-plugins").await;
    broken.says("workflow-controller in argo runs without ARGO_EXECUTOR_PLUGINS=true");
    broken.command("kubectl set env -n argo deployment/workflow-controller ARGO_EXECUTOR_PLUGINS=true");
    put(Value::Null, json!(["--executor-plugins"]));
    assert_eq!(pod.report().await.code, Some(0));
    kubernetes.put_object("deployments", "argo", "workflow-controller", None);
    let report = pod.report().await;
    assert_eq!(
        (report.code, report.of("unknown")),
        (Some(70), vec!["executor-plugins"]),
        "argo-server is no controller"
    );
}

#[actix_rt::test]
async fn the_plugin_is_installed_once_and_as_it_was_shipped() {
    let (pod, kubernetes) = both().await;
    let plain = shipped("plugin/awf-aws-executor-plugin-configmap.yaml", "ConfigMap");
    let with = shipped("plugin/with-kubernetes/awf-aws.yaml", "ConfigMap");
    let put = |namespace: &str, map: Option<&Value>| kubernetes.put_object("configmaps", namespace, MAP, map.cloned());
    let apply = "kubectl apply -n argo -f assets/plugin/awf-aws-executor-plugin-configmap.yaml";

    put("argo", None);
    pod.broken("plugin-configmap").await.says("is neither in argo nor in ml").command(apply);
    for (change, problem) in [
        (("/metadata/labels", json!({})), "it lacks the label workflows.argoproj.io/configmap-type: ExecutorPlugin"),
        (("/data/sidecar.container", json!("ports: [{containerPort: 7493}]")), "the first port is not 7492"),
        (("/data/sidecar.container", json!("a: [")), "sidecar.container is no YAML"),
    ] {
        let mut map = plain.clone();
        *map.pointer_mut(change.0).unwrap() = change.1;
        put("argo", Some(&map));
        pod.broken("plugin-configmap").await.says(problem).command(apply);
    }
    let container = plain["data"]["sidecar.container"].as_str().unwrap();
    for (from, to, problem) in [
        ("runAsUser: 8737", "runAsUser: 65534", "runAsUser is not 8737, the owner of Argo's token"),
        ("  limits:", "  limit:", "it lacks resources.requests or resources.limits"),
    ] {
        let mut map = plain.clone();
        map["data"]["sidecar.container"] = json!(container.replace(from, to));
        put("argo", Some(&map));
        pod.broken("plugin-configmap").await.says(problem);
    }
    put("argo", Some(&plain));
    put("ml", Some(&with));
    pod.broken("plugin-configmap")
        .await
        .says("is in argo and in ml")
        .command(&format!("kubectl delete configmap -n ml {MAP}"));

    // In Argo's namespace the one with an account breaks every namespace without it.
    put("argo", Some(&with));
    put("ml", None);
    pod.broken("plugin-configmap").await.says("mounts a service account").says("breaks every agent pod");
    put("argo", None);
    put("ml", Some(&with));
    pod.broken("plugin-configmap")
        .await
        .says("awf-aws-executor-plugin may not get workflows in ml")
        .command("kubectl apply -n ml -f assets/plugin/with-kubernetes/awf-aws.yaml");
    kubernetes.allow("system:serviceaccount:ml:awf-aws-executor-plugin", "get", "workflows", true);
    assert_eq!(pod.report().await.code, Some(0));
}

#[actix_rt::test]
async fn a_workflows_account_needs_itself_its_role_its_secret_and_its_rights() {
    let (pod, kubernetes) = both().await;
    let account = shipped("workflow-service-account.yaml", "ServiceAccount");
    let secret = shipped("workflow-service-account.yaml", "Secret");
    let secret_name = "awf-aws-workflow.service-account-token";
    let put = |account: Option<Value>| kubernetes.put_object("serviceaccounts", "ml", "awf-aws-workflow", account);

    put(None);
    let broken = pod.broken("service-account").await;
    broken.says("there is no service account awf-aws-workflow in ml").command("kubectl apply -f account.yaml");
    // What is printed is what was missing: applied, it is well.
    let printed = broken.manifest();
    let of = |kind: &str| printed.iter().find(|manifest| manifest["kind"] == kind).cloned();
    put(of("ServiceAccount"));
    kubernetes.put_object("secrets", "ml", secret_name, None);
    pod.broken("service-account").await.says(&format!("there is no secret {secret_name} in ml"));
    assert_eq!(of("Secret").unwrap()["metadata"]["name"], secret_name);
    kubernetes.put_object("secrets", "ml", secret_name, of("Secret"));
    assert_eq!(pod.report().await.code, Some(0));

    let mut changed = account.clone();
    changed["metadata"]["annotations"] = json!({});
    put(Some(changed.clone()));
    let annotate =
        format!("kubectl annotate serviceaccount -n ml awf-aws-workflow --overwrite eks.amazonaws.com/role-arn={ROLE}");
    pod.broken("service-account").await.says("lacks the annotation eks.amazonaws.com/role-arn").command(&annotate);
    changed["metadata"]["annotations"] =
        json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::100000000002:role/changed"});
    put(Some(changed.clone()));
    let broken = pod.broken("service-account").await;
    broken.says("leads to arn:aws:iam::100000000002:role/changed, not to").says("changed after this pod began");
    changed["metadata"]["annotations"] = json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::::123"});
    put(Some(changed));
    pod.broken("service-account").await.says("\"arn:aws:iam::::123\" is not a role's ARN").command(&annotate);

    // Another secret may be named.
    let mut named = account.clone();
    named["metadata"]["annotations"]["workflows.argoproj.io/service-account-token.name"] = json!("another");
    put(Some(named));
    pod.broken("service-account").await.says("there is no secret another in ml");
    kubernetes.put_object("secrets", "ml", "another", Some(secret));
    assert_eq!(pod.report().await.code, Some(0));
    put(Some(account));

    for (verb, what) in [("list", "workflowtasksets"), ("patch", "workflowtasksets/status")] {
        kubernetes.allow(ACCOUNT, verb, what, false);
        let broken = pod.broken("service-account").await;
        broken.says(&format!("awf-aws-workflow in ml may not {verb} {what}"));
        let role = broken.manifest().into_iter().find(|manifest| manifest["kind"] == "Role").unwrap();
        let (resource, verbs) = (json!([what]), role["rules"].as_array().unwrap().clone());
        let rule = verbs.iter().find(|rule| rule["resources"] == resource).unwrap();
        assert!(rule["verbs"].as_array().unwrap().contains(&json!(verb)), "the printed role gives it");
        kubernetes.allow(ACCOUNT, verb, what, true);
    }
}

#[actix_rt::test]
async fn a_pod_older_than_its_accounts_annotation_is_told_so() {
    let (mut pod, _kubernetes) = both().await;
    pod.unset("AWS_ROLE_ARN");
    pod.unset("AWS_WEB_IDENTITY_TOKEN_FILE");
    let broken = pod.broken("variables").await;
    broken.says("has its annotation, but this pod does not know it: it is older");
    broken.command("kubectl delete pod -n ml -l workflows.argoproj.io/component=agent");
}
