//! What Argo needs: a cluster that knows it, a controller with the right it lacks, executor plugins switched on, one ConfigMap.

use serde_json::Value;

use super::{
    Check, Fix,
    facts::{Argo, Cluster, Facts},
    known::Known,
};
use crate::{
    backend::redact::redacted,
    kubernetes::{
        controller_rights,
        looking::Look,
        rights::{Deed, Right},
    },
};

/// The name that Argo derives for the plugin's ConfigMap and for its service account.
pub const MAP: &str = "awf-aws-executor-plugin";
/// The plugin's own account, where it has one.
pub const PLUGIN_ACCOUNT: &str = MAP;
/// What the plugin asks Kubernetes for.
pub const READ_WORKFLOWS: Deed = Deed { verb: "get", resource: "workflows", subresource: "" };

const SWITCH: &str = "ARGO_EXECUTOR_PLUGINS";

/// Whether the cluster can be asked, and has Argo.
pub fn access(name: &'static str, facts: &Facts, _: &Known) -> Check {
    let argo = match &facts.cluster {
        Cluster::NotAsked(why) => {
            return Check::skipped(name, format!("{}; a run with --kubeconfig looks at Argo as well", redacted(why)));
        }
        Cluster::Failed(why) => {
            let fix = Fix::say("Mend the kubeconfig that --kubeconfig (KUBECONFIG) names, or leave the cluster out by --kubernetes=off.")
                .command("kubectl cluster-info");
            return Check::broken(name, redacted(why), fix);
        }
        Cluster::Asked(argo) => argo,
    };
    match &argo.kinds {
        Look::Here(_) => {
            Check::well(name, format!("the API server answers, and knows Argo's kinds; namespace {}", argo.namespace))
        }
        Look::NotThere => {
            let fix = Fix::say(
                "Argo Workflows is not installed in this cluster. Install it, or name another cluster by --kubeconfig:",
            )
            .command("kubectl get crd workflows.argoproj.io workflowtasksets.argoproj.io");
            Check::broken(name, "the API server knows no argoproj.io/v1alpha1", fix)
        }
        Look::Forbidden(why) => {
            let fix =
                Fix::say("The API server does not take the token, or the credentials of the kubeconfig. Get new ones:")
                    .command("kubectl auth whoami");
            Check::broken(name, redacted(why), fix)
        }
        Look::Failed(why) => {
            let fix = Fix::say("The API server cannot be reached. See that a network policy lets the pod out to it:")
                .command("kubectl cluster-info");
            Check::broken(name, redacted(why), fix)
        }
    }
}

/// The facts of a cluster that answers.
pub(super) fn asked<'a>(name: &'static str, facts: &'a Facts) -> Result<&'a Argo, Check> {
    match facts.argo() {
        Some(argo) if matches!(argo.kinds, Look::Here(_)) => Ok(argo),
        _ => Err(Check::skipped(name, "Kubernetes was not asked")),
    }
}

/// Whether Argo's controller has the right that its own manifests forget.
pub fn controller_right(name: &'static str, facts: &Facts, _: &Known) -> Check {
    let argo = match asked(name, facts) {
        Ok(argo) => argo,
        Err(skipped) => return skipped,
    };
    let controller = &facts.config.controller;
    let (own, namespace) = (format!("{}:{}", controller.namespace, controller.name), &argo.namespace);
    match &argo.controller_right {
        Right::Given => Check::well(name, format!("{own} may patch workflowtasksets/status in {namespace}")),
        Right::Lacking => {
            let fix = Fix::say(
                "Argo's own manifests forget this right (argoproj/argo-workflows#13341): a retryStrategy with backoff hangs without it, \
                 `argo retry` fails, and task sets grow. Give it (if the controller has another account, name that by \
                 --argo-controller-account):",
            )
            .command(controller_rights::command(&controller.namespace, &controller.name));
            Check::broken(name, format!("{own} may not patch workflowtasksets/status in {namespace}"), fix)
        }
        Right::Unknown(why) => Check::unknown(name, redacted(why)),
    }
}

/// Whether the controller starts plugins at all.
pub fn executor_plugins(name: &'static str, facts: &Facts, _: &Known) -> Check {
    let argo = match asked(name, facts) {
        Ok(argo) => argo,
        Err(skipped) => return skipped,
    };
    let namespace = &facts.config.controller.namespace;
    let list = match &argo.deployments {
        Look::Here(list) => list,
        Look::NotThere => return Check::unknown(name, format!("no deployments can be seen in {namespace}")),
        Look::Forbidden(why) | Look::Failed(why) => return Check::unknown(name, redacted(why)),
    };
    let items = list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some((deployment, container)) = items.iter().find_map(controller) else {
        return Check::unknown(
            name,
            format!(
                "no deployment in {namespace} runs the image workflow-controller; --argo-controller-account names Argo's namespace"
            ),
        );
    };
    if switched_on(container) {
        return Check::well(name, format!("{deployment} in {namespace} runs executor plugins"));
    }
    let fix = Fix::say("Switch executor plugins on; the controller starts anew, and running workflows go on:")
        .command(format!("kubectl set env -n {namespace} deployment/{deployment} {SWITCH}=true"))
        .command(format!("kubectl rollout status -n {namespace} deployment/{deployment}"));
    Check::broken(name, format!("{deployment} in {namespace} runs without {SWITCH}=true"), fix)
}

/// The name of a deployment and its container, when that is Argo's controller.
fn controller(deployment: &Value) -> Option<(&str, &Value)> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    let is_controller = |container: &&Value| {
        let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
        image.rsplit('/').next().is_some_and(|name| name.split([':', '@']).next() == Some("workflow-controller"))
    };
    Some((deployment.pointer("/metadata/name")?.as_str()?, containers.iter().find(is_controller)?))
}

fn switched_on(container: &Value) -> bool {
    let on = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "t");
    let all = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let by_flag = all("args")
        .chain(all("command"))
        .filter_map(Value::as_str)
        .any(|word| word == "--executor-plugins" || word.strip_prefix("--executor-plugins=").is_some_and(on));
    by_flag || all("env").any(|own| text(own, "name") == SWITCH && on(&text(own, "value")))
}

/// Whether the plugin is installed, once, and as it was shipped.
pub fn config_map(name: &'static str, facts: &Facts, _: &Known) -> Check {
    let argo = match asked(name, facts) {
        Ok(argo) => argo,
        Err(skipped) => return skipped,
    };
    let (controllers, own) = (&facts.config.controller.namespace, &argo.namespace);
    let same = controllers == own;
    let map = match (&argo.map_of_controller, &argo.map_of_namespace) {
        (Look::Here(_), Look::Here(_)) if !same => {
            let fix = Fix::say(
                "Argo puts both into every agent pod, and a pod with two containers of one name is refused. Take one away: the one in \
                 the workflows' namespace, unless that is plugin/with-kubernetes and you want it.",
            )
            .command(format!("kubectl delete configmap -n {own} {MAP}"));
            return Check::broken(name, format!("{MAP} is in {controllers} and in {own}"), fix);
        }
        (Look::Here(map), _) => (controllers, map),
        (_, Look::Here(map)) => (own, map),
        (Look::Forbidden(why) | Look::Failed(why), _) | (_, Look::Forbidden(why) | Look::Failed(why)) => {
            return Check::unknown(name, redacted(why));
        }
        (Look::NotThere, Look::NotThere) => {
            let fix = Fix::say(
                "Argo does not know the plugin. Put your image into the ConfigMap and apply it (a plugin inside the workflow needs none: \
                 --skip plugin-configmap):",
            )
            .command(format!("kubectl apply -n {controllers} -f assets/plugin/{MAP}-configmap.yaml"));
            return Check::broken(name, format!("{MAP} is neither in {controllers} nor in {own}"), fix);
        }
    };
    let (namespace, map) = map;
    let automount = map.pointer("/data/sidecar.automountServiceAccountToken").and_then(Value::as_str) == Some("true");
    let file = if automount { "with-kubernetes/awf-aws.yaml".to_owned() } else { format!("{MAP}-configmap.yaml") };
    if let Some(problem) = problem_of(map) {
        let fix = Fix::say("The ConfigMap was edited into something that Argo or the agent cannot use. Apply the shipped one, with your image in it:")
            .command(format!("kubectl apply -n {namespace} -f assets/plugin/{file}"));
        return Check::broken(name, format!("{MAP} in {namespace}: {problem}"), fix);
    }
    if automount && namespace == controllers && !same {
        let fix = Fix::say(
            "A plugin in Argo's own namespace that mounts a service account breaks every agent pod in each namespace that lacks the \
             account. Take it away there, and apply it in the namespace of the workflows:",
        )
        .command(format!("kubectl delete -n {namespace} -f assets/plugin/{file}"))
        .command(format!("kubectl apply -n {own} -f assets/plugin/{file}"));
        return Check::broken(name, format!("{MAP} in {namespace} mounts a service account"), fix);
    }
    if automount && argo.plugin_right == Right::Lacking {
        let fix = Fix::say("The plugin asks Kubernetes whether its workflow is over, and may not. The file has the account, its secret and its right:")
            .command(format!("kubectl apply -n {own} -f assets/plugin/{file}"));
        return Check::broken(name, format!("{PLUGIN_ACCOUNT} may not get workflows in {own}"), fix);
    }
    Check::well(name, format!("{MAP} in {namespace}"))
}

/// What keeps a ConfigMap from working.
fn problem_of(map: &Value) -> Option<&'static str> {
    if map.pointer("/metadata/labels/workflows.argoproj.io~1configmap-type").and_then(Value::as_str)
        != Some("ExecutorPlugin")
    {
        return Some("it lacks the label workflows.argoproj.io/configmap-type: ExecutorPlugin");
    }
    let text = map.pointer("/data/sidecar.container").and_then(Value::as_str).unwrap_or_default();
    let Ok(container) = yaml_serde::from_str::<Value>(text) else { return Some("sidecar.container is no YAML") };
    if container.pointer("/ports/0/containerPort").and_then(Value::as_u64) != Some(7492) {
        return Some("the first port is not 7492");
    }
    if container.pointer("/securityContext/runAsUser").and_then(Value::as_u64).is_some_and(|user| user != 8737) {
        return Some("runAsUser is not 8737, the owner of Argo's token");
    }
    for field in ["requests", "limits"] {
        if !container.pointer(&format!("/resources/{field}")).is_some_and(Value::is_object) {
            return Some("it lacks resources.requests or resources.limits, without which Argo refuses it");
        }
    }
    None
}
