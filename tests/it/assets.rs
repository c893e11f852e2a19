//! The manifests under `assets/`, the Dockerfile, and Argo's rules for them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use awf_aws::{
    config::{
        ServeArgs,
        orphans::{OrphansArgs, OrphansConfig},
    },
    demo::template::{documents, named},
};
use clap::{Args as _, Parser};
use serde_json::{Value, json};

use crate::support::python::judges;

mod argo_rules;
mod cluster;
mod doctor;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Text of a file of the repository.
fn text(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All manifests of a file under `assets/`.
fn all(path: &str) -> Vec<Value> {
    documents(&text(&format!("assets/{path}"))).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The one manifest of a file.
fn one(path: &str) -> Value {
    let mut all = all(path);
    assert_eq!(all.len(), 1, "{path}");
    all.remove(0)
}

/// The manifest of a kind in a file.
fn kind(path: &str, kind: &str) -> Value {
    all(path).into_iter().find(|m| m["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {path}"))
}

/// Paths of all YAML files, below `assets/`.
pub fn files() -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "yaml") {
                found.push(path);
            }
        }
    }
    let assets = Path::new(ROOT).join("assets");
    let mut found = Vec::new();
    walk(&assets, &mut found);
    found.sort();
    found.iter().map(|p| p.strip_prefix(&assets).unwrap().to_str().unwrap().to_owned()).collect()
}

/// Workflows and WorkflowTemplates with their files.
pub fn workflows() -> Vec<(String, Value)> {
    let all = files().into_iter().flat_map(|file| all(&file).into_iter().map(move |m| (file.clone(), m)));
    all.filter(|(_, m)| m["kind"] == "Workflow" || m["kind"] == "WorkflowTemplate").collect()
}

/// Templates that are ours, with what to call them in a message.
fn plugin_templates() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (file, manifest) in workflows() {
        for (name, template) in named(&manifest["spec"]["templates"]) {
            if template.get("plugin").is_some() {
                found.push((format!("{file} {name}"), template.clone()));
            }
        }
    }
    found
}

fn container_of_config_map(map: &Value) -> Value {
    documents(map["data"]["sidecar.container"].as_str().unwrap()).unwrap().remove(0)
}

/// Every `{{…}}` of a text.
fn tags(text: &str) -> Vec<String> {
    text.split("{{").skip(1).filter_map(|t| Some(t.split_once("}}")?.0.trim().to_owned())).collect()
}

#[test]
fn every_yaml_file_parses_and_begins_with_what_it_is_for() {
    let files = files();
    assert!(files.len() >= 13, "{files:?}");
    for file in files {
        assert!(!all(&file).is_empty(), "{file}");
        assert!(text(&format!("assets/{file}")).starts_with("# "), "{file} has no comment at its head");
        for manifest in all(&file) {
            assert!(manifest["apiVersion"].is_string() && manifest["kind"].is_string(), "{file}");
            assert!(manifest["metadata"].get("namespace").is_none(), "{file}: -n decides the namespace");
        }
    }
}

#[test]
fn plugin_yaml_is_a_sidecar_that_argo_accepts_and_everybody_can_install() {
    let plugin = one("plugin/plugin.yaml");
    assert_eq!((&plugin["apiVersion"], &plugin["kind"]), (&json!("argoproj.io/v1alpha1"), &json!("ExecutorPlugin")));
    assert_eq!(plugin["metadata"]["name"], "awf-aws");
    let sidecar = &plugin["spec"]["sidecar"];
    // Without it Argo would need a service account of the plugin's in every namespace.
    assert_eq!(sidecar["automountServiceAccountToken"], false);
    let container = &sidecar["container"];
    assert_eq!(container["name"], "awf-aws");
    assert_eq!(container["ports"][0]["containerPort"], 7492, "Argo calls the first port");
    assert_eq!(container["ports"][1], json!({"name": "sm-metrics", "containerPort": 7493}));
    assert_eq!(
        container["resources"],
        json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}})
    );
    let security = &container["securityContext"];
    assert_eq!(security["runAsUser"], 8737, "the only user that can read Argo's token");
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
    // The builder reads the manifest strictly.
    let known = |value: &Value, fields: &[&str]| {
        for field in value.as_object().unwrap().keys() {
            assert!(fields.contains(&field.as_str()), "the builder knows no {field}");
        }
    };
    known(&plugin, &["apiVersion", "kind", "metadata", "spec"]);
    known(&plugin["spec"], &["sidecar"]);
    known(sidecar, &["automountServiceAccountToken", "container"]);
}

#[test]
fn nothing_beside_plugin_yaml_gets_in_the_way_of_argos_builder() {
    for entry in fs::read_dir(Path::new(ROOT).join("assets/plugin")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("server."), "{name} would replace the container's arguments");
        assert_ne!(name, "README.md", "the builder overwrites it");
    }
}

#[test]
fn the_config_map_is_what_argos_builder_makes_of_plugin_yaml() {
    let plugin = one("plugin/plugin.yaml");
    let mut map = one("plugin/awf-aws-executor-plugin-configmap.yaml");
    assert_eq!(container_of_config_map(&map), plugin["spec"]["sidecar"]["container"]);
    map["data"]["sidecar.container"] = Value::Null;
    assert_eq!(
        map,
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "awf-aws-executor-plugin",
                "annotations": plugin["metadata"]["annotations"],
                "labels": {"workflows.argoproj.io/configmap-type": "ExecutorPlugin"},
            },
            "data": {"sidecar.automountServiceAccountToken": "false", "sidecar.container": null},
        })
    );
}

#[test]
fn the_variant_with_kubernetes_brings_everything_that_automount_needs() {
    let file = "plugin/with-kubernetes/awf-aws.yaml";
    let map = kind(file, "ConfigMap");
    let plain = one("plugin/awf-aws-executor-plugin-configmap.yaml");
    assert_eq!(map["metadata"], plain["metadata"]);
    assert_eq!(map["data"]["sidecar.automountServiceAccountToken"], "true");
    assert_eq!(map["data"]["sidecar.container"], plain["data"]["sidecar.container"]);

    let account = "awf-aws-executor-plugin";
    assert_eq!(kind(file, "ServiceAccount")["metadata"]["name"], account, "Argo derives this name");
    account_secret_and_binding(file, account);
    assert_eq!(
        kind(file, "Role")["rules"],
        json!([
            {"apiGroups": ["argoproj.io"], "resources": ["workflows", "workflowtasksets"], "verbs": ["get"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"], "verbs": ["create"]},
        ])
    );
    let head = text(&format!("assets/{file}"));
    assert!(head.contains("breaks EVERY agent pod"), "the danger is not told");
}

#[test]
fn the_cron_job_stops_orphans_of_its_own_namespace_with_rights_that_suffice() {
    let file = "orphans-cronjob.yaml";
    let account = "awf-aws-orphans";
    assert_eq!(kind(file, "ServiceAccount")["metadata"]["name"], account);
    let binding = kind(file, "RoleBinding");
    assert_eq!(binding["roleRef"]["name"], kind(file, "Role")["metadata"]["name"]);
    assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": account}]));
    // Of the plugin's rights the first: it asks what has become of a workflow, and nothing else.
    let plugins = &kind("plugin/with-kubernetes/awf-aws.yaml", "Role")["rules"];
    assert_eq!(kind(file, "Role")["rules"], json!([plugins[0]]));

    let pod = &kind(file, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], account);
    let container = &pod["containers"][0];
    let plugin = &one("plugin/plugin.yaml")["spec"]["sidecar"]["container"];
    assert_eq!(container["image"], plugin["image"]);
    assert_eq!(container["securityContext"], plugin["securityContext"]);
    // The binary itself judges the arguments.
    let args: Vec<&str> = container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert_eq!(args[0], "orphans");
    let line = OrphansLine::try_parse_from(&args).unwrap();
    let config = OrphansConfig::from_args(line.orphans).unwrap();
    assert_eq!((config.stop, config.namespaces.as_slice()), (true, ["$(NAMESPACE)".to_owned()].as_slice()));
    assert_eq!(container["env"][0]["name"], "NAMESPACE");
    assert_eq!(container["env"][0]["valueFrom"], json!({"fieldRef": {"fieldPath": "metadata.namespace"}}));
}

#[derive(Debug, Parser)]
struct OrphansLine {
    #[command(flatten)]
    orphans: OrphansArgs,
}

#[test]
fn the_workflows_service_account_can_do_what_argos_agent_does() {
    let file = "workflow-service-account.yaml";
    let account = kind(file, "ServiceAccount");
    let name = account["metadata"]["name"].as_str().unwrap();
    assert!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].is_string());
    account_secret_and_binding(file, name);
    let rules = kind(file, "Role")["rules"].as_array().unwrap().clone();
    let may = |resource: &str, verb: &str| {
        rules.iter().any(|rule| {
            rule["apiGroups"] == json!(["argoproj.io"])
                && rule["resources"].as_array().unwrap().contains(&json!(resource))
                && rule["verbs"].as_array().unwrap().contains(&json!(verb))
        })
    };
    assert!(may("workflowtasksets", "list") && may("workflowtasksets", "watch"));
    assert!(may("workflowtasksets/status", "patch"));
    assert!(may("workflowtaskresults", "create") && may("workflowtaskresults", "patch"));
    for (file, manifest) in workflows() {
        assert_eq!(manifest["spec"]["serviceAccountName"], name, "{file}");
    }
}

/// The token secret has the name that Argo looks for, and the role is bound to the account of the same file.
fn account_secret_and_binding(file: &str, account: &str) {
    let secret = kind(file, "Secret");
    assert_eq!(secret["type"], "kubernetes.io/service-account-token");
    assert_eq!(secret["metadata"]["name"], format!("{account}.service-account-token"));
    assert_eq!(secret["metadata"]["annotations"]["kubernetes.io/service-account.name"], account);
    let binding = kind(file, "RoleBinding");
    assert_eq!(binding["roleRef"]["name"], kind(file, "Role")["metadata"]["name"]);
    assert_eq!(binding["subjects"][0], json!({"kind": "ServiceAccount", "name": account}));
}

#[test]
fn the_workflows_namespace_gives_argos_controller_the_right_that_it_lacks() {
    let file = "workflow-service-account.yaml";
    let controller = json!({"kind": "ServiceAccount", "name": "argo", "namespace": "argo"});
    assert_eq!(kind(file, "RoleBinding")["subjects"][1], controller);
    assert_eq!(kind("argo-controller-rights.yaml", "ClusterRoleBinding")["subjects"][0], controller);
    let lacking = &kind("argo-controller-rights.yaml", "ClusterRole")["rules"][0];
    assert!(kind(file, "Role")["rules"].as_array().unwrap().contains(lacking));
}

#[test]
fn the_workflow_level_variant_carries_the_same_sidecar() {
    let workflow = one("workflow-level-plugin-workflow.yaml");
    let plugins = workflow["spec"]["executorPlugins"].as_array().unwrap();
    assert_eq!(plugins.len(), 1);
    assert_eq!(plugins[0]["metadata"]["name"], "awf-aws", "Argo 4.1 refuses a plugin without a name");
    assert_eq!(plugins[0]["spec"], one("plugin/plugin.yaml")["spec"]);
}

#[test]
fn the_template_has_the_seeds_steps_and_its_templates_with_hyphens() {
    let template = one("sagemaker-pipelines-workflow-template.yaml");
    assert_eq!(template["kind"], "WorkflowTemplate");
    let spec = &template["spec"];
    let entrypoint = spec["entrypoint"].as_str().unwrap();
    let (_, main) = named(&spec["templates"]).find(|(name, _)| *name == entrypoint).unwrap();
    let steps: Vec<_> = main["steps"].as_array().unwrap().iter().map(|g| (&g[0]["name"], &g[0]["template"])).collect();
    let expected = [
        (json!("validate-pipeline"), json!("validate-pipeline")),
        (json!("execute-pipeline"), json!("execute-pipeline")),
    ];
    assert_eq!(steps, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    for (name, action) in [("validate-pipeline", "validate"), ("execute-pipeline", "execute")] {
        let (_, template) = named(&spec["templates"]).find(|(own, _)| *own == name).unwrap();
        assert_eq!(template["plugin"]["awf-aws-plugin"]["action"], action);
        assert!(template.get("inputs").is_none(), "the seed's request has empty inputs");
    }
}

#[test]
fn every_plugin_template_says_which_node_asks() {
    let templates = plugin_templates();
    assert!(templates.len() >= 6);
    for (name, template) in templates {
        let plugin = template["plugin"].as_object().unwrap();
        assert_eq!(plugin.keys().collect::<Vec<_>>(), ["awf-aws-plugin"], "{name}");
        let input = &plugin["awf-aws-plugin"];
        assert_eq!(input["workflow_created"], "{{workflow.creationTimestamp.RFC3339}}", "{name}");
        if input["action"] == "stop" {
            // With a key it would stop one node's execution, not the workflow's.
            assert!(input.get("execution_key").is_none(), "{name}");
            continue;
        }
        assert_eq!(input["execution_key"], "{{node.name}}", "{name}");
        assert_eq!(input["attempt"], "{{retries}}", "{name}");
    }
}

#[test]
fn every_execute_template_has_an_end_and_a_second_chance() {
    for (name, template) in plugin_templates() {
        let input = &template["plugin"]["awf-aws-plugin"];
        if input["action"] == "execute" {
            assert!(input["timeout"].is_string(), "{name}: Argo does not time out a running plugin node");
            assert_eq!(template["retryStrategy"]["retryPolicy"], "OnFailure", "{name}");
            assert!(template["retryStrategy"]["limit"].is_string(), "{name}: would retry for ever");
        }
    }
}

#[test]
fn declared_outputs_are_supplied_by_the_plugin_and_have_names_that_kubernetes_takes() {
    for (name, template) in plugin_templates() {
        for (output, declared) in named(&template["outputs"]["parameters"]) {
            assert_eq!(declared["valueFrom"], json!({"supplied": {}}), "{name} {output}");
            assert!(output.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{name} {output}");
        }
    }
}

#[test]
fn every_reference_in_a_workflow_leads_somewhere() {
    let base = one("sagemaker-pipelines-workflow-template.yaml");
    for (file, manifest) in workflows() {
        let spec = &manifest["spec"];
        let referred = spec.get("workflowTemplateRef").map(|r| {
            assert_eq!(r["name"], base["metadata"]["name"], "{file}");
            &base["spec"]
        });
        let declared: Vec<&str> = [Some(spec), referred]
            .into_iter()
            .flatten()
            .flat_map(|s| named(&s["arguments"]["parameters"]).map(|(name, _)| name))
            .collect();
        let templates: Vec<(&str, &Value)> = named(&spec["templates"]).collect();
        let template = |name: &Value| {
            let found = templates.iter().find(|(own, _)| name == own);
            found.unwrap_or_else(|| panic!("{file}: no template {name}")).1
        };
        for entry in ["entrypoint", "onExit"] {
            if let Some(name) = spec.get(entry) {
                template(name);
            }
        }
        for (_, own) in &templates {
            let steps: Vec<(&str, &Value)> = own["steps"].as_array().into_iter().flatten().flat_map(named).collect();
            for (step, body) in &steps {
                let called = template(&body["template"]);
                for kind in ["parameters", "artifacts"] {
                    for (input, declared) in named(&called["inputs"][kind]) {
                        let given = named(&body["arguments"][kind]).any(|(name, _)| name == input);
                        assert!(given || declared.get("value").is_some(), "{file}: {step} gives no {input}");
                    }
                }
            }
            // A plugin template is a leaf (IsLeaf, workflow_types.go), and Argo refuses a leaf's artifact without a path
            // (validateOutputs, workflow/validate/validate.go).
            for (artifact, place) in named(&own["outputs"]["artifacts"]) {
                assert!(place["path"].is_string(), "{file}: {artifact} has no path");
            }
            for tag in tags(&own.to_string()) {
                let known = match tag.split('.').collect::<Vec<_>>()[..] {
                    ["item"] | ["retries"] | ["node", "name"] | ["workflow", "creationTimestamp", "RFC3339"] => true,
                    ["workflow", "parameters", name] => declared.contains(&name),
                    ["inputs", "parameters", name] => named(&own["inputs"]["parameters"]).any(|(own, _)| own == name),
                    ["steps", step, "outputs", "result"] => steps.iter().any(|(own, _)| *own == step),
                    ["steps", step, "outputs", kind @ ("parameters" | "artifacts"), name] => {
                        let (_, body) = steps.iter().find(|(own, _)| *own == step).unwrap();
                        named(&template(&body["template"])["outputs"][kind]).any(|(own, _)| own == name)
                    }
                    _ => false,
                };
                assert!(known, "{file}: {{{{{tag}}}}} leads nowhere");
            }
        }
    }
}

#[test]
fn the_longer_grace_period_is_longer_than_what_the_plugin_takes() {
    let workflow = one("grace-period-workflow.yaml");
    let patch = documents(workflow["spec"]["podSpecPatch"].as_str().unwrap()).unwrap().remove(0);
    let grace = patch["terminationGracePeriodSeconds"].as_u64().unwrap();
    let container = &patch["containers"][0];
    assert_eq!(container["name"], one("plugin/plugin.yaml")["spec"]["sidecar"]["container"]["name"]);
    let variable = &container["env"][0];
    assert_eq!(variable["name"], "AWF_AWS_SHUTDOWN_GRACE");
    let serve = ServeArgs::augment_args(clap::Command::new("serve"));
    assert!(
        serve.get_arguments().any(|flag| flag.get_env().is_some_and(|env| variable["name"] == env.to_str().unwrap()))
    );
    let own = awf_aws::protocol::parse_go_duration(variable["value"].as_str().unwrap()).unwrap();
    assert!(own.as_secs() < grace && grace > 30);
}

#[test]
fn the_image_is_built_for_a_user_without_name_on_a_base_without_shell() {
    let dockerfile = text("Dockerfile");
    let lines: Vec<&str> = dockerfile.lines().filter(|l| !l.starts_with('#')).collect();
    let final_stage = lines.iter().rposition(|l| l.starts_with("FROM ")).unwrap();
    assert!(lines[final_stage].starts_with("FROM gcr.io/distroless/cc"), "{}", lines[final_stage]);
    assert!(lines[final_stage..].contains(&"USER 8737"), "Argo's token belongs to 8737");
    assert!(lines[final_stage..].contains(&r#"ENTRYPOINT ["/awf-aws"]"#));
    assert!(!lines[final_stage..].iter().any(|l| l.starts_with("RUN ")), "there is no shell to run it");
    assert!(lines[0].starts_with("FROM rust:"));
    // What the build copies from here must pass the .dockerignore, which lets nothing else through.
    let ignore = text(".dockerignore");
    assert!(ignore.lines().any(|l| l == "*"));
    for line in lines.iter().filter(|l| l.starts_with("COPY ") && !l.contains("--from")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            assert!(ignore.lines().any(|l| l == format!("!{source}")), "{source} is kept out of the build");
        }
    }
}

#[test]
fn judges_of_others_accept_every_manifest() {
    let Some(python) = judges() else { return };
    let output =
        Command::new(python).args(["tests/python/check_manifests.py", "assets"]).current_dir(ROOT).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
}
