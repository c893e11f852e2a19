//! What is printed is applied, command by command, until nothing is printed any more: to a simulated AWS whose STS judges tokens
//! by trust policies, and to a cluster whose webhook makes pods of annotations.

use std::{collections::BTreeMap, fs, time::Duration};

use awf_aws::demo::template::documents;
use serde_json::{Value, json};

use super::{
    Broken, ISSUER, Pod, ROLE,
    cluster::{ACCOUNT, MAP, controller, shipped},
    token, whole_cluster,
};
use crate::support::{
    kubernetes::FakeKubernetes,
    process::{TempDir, binary, client, post},
};

const OTHER_ROLE: &str = "arn:aws:iam::100000000003:role/sagemaker";
const NAME: &str = "awf-aws-workflow";

/// A whole set-up, and the hands of whoever mends it.
struct World {
    pod: Pod,
    kubernetes: FakeKubernetes,
    iam: Value,
    account: Value,
    /// What a command wrote for the next one.
    files: BTreeMap<String, Value>,
}

fn provider(issuer: &str) -> String {
    format!("arn:aws:iam::100000000002:oidc-provider/{}", issuer.trim_start_matches("https://"))
}

/// The trust policy of the role, for these conditions.
fn trust(conditions: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": provider(ISSUER)}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": conditions,
    }]})
}

fn key(word: &str) -> String {
    format!("{}:{word}", ISSUER.trim_start_matches("https://"))
}

impl World {
    async fn whole() -> Self {
        let (mut pod, kubernetes) = (Pod::new().await, whole_cluster());
        pod.flag(kubernetes.flag());
        let right = trust(json!({"StringEquals": {
            key("aud"): "sts.amazonaws.com", key("sub"): "system:serviceaccount:ml:awf-aws-workflow",
        }}));
        let iam = json!({
            "oidc_providers": {provider(ISSUER): {"client_ids": ["sts.amazonaws.com"]}},
            "roles": {ROLE: {"trust": right, "policies": [{"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"},
            ]}]}},
        });
        let account = shipped("workflow-service-account.yaml", "ServiceAccount");
        let world = Self { pod, kubernetes, iam, account, files: BTreeMap::new() };
        world.tell_aws().await;
        world
    }

    /// IAM is as written here. What is gone has to be said.
    async fn tell_aws(&self) {
        let request = client(Duration::from_secs(30)).post(format!("{}/admin/iam", self.pod.simulator.endpoint));
        let nothing = json!({"roles": {ROLE: null, OTHER_ROLE: null}, "oidc_providers": {provider(ISSUER): null}});
        for patch in [&nothing, &self.iam] {
            let request = client(Duration::from_secs(30)).post(request.get_uri());
            let (status, reply) =
                post(request.insert_header(("Content-Type", "application/json")), patch.to_string().as_bytes()).await;
            assert_eq!(status, 200, "{reply}");
        }
    }

    fn tell_kubernetes(&self) {
        self.kubernetes.put_object("serviceaccounts", "ml", NAME, Some(self.account.clone()));
    }

    /// What EKS's webhook and the kubelet make of the annotations.
    fn start_pod(&mut self) {
        let annotation = |name: &str| self.account["metadata"]["annotations"][name].as_str().map(str::to_owned);
        let audience = annotation("eks.amazonaws.com/audience").unwrap_or_else(|| "sts.amazonaws.com".to_owned());
        let role = annotation("eks.amazonaws.com/role-arn");
        let file = self.pod.file("web-identity");
        for name in ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
            self.pod.unset(name);
        }
        if let Some(role) = role {
            fs::write(&file, token(json!({"aud": [audience]}))).unwrap();
            self.pod.set("AWS_ROLE_ARN", &role);
            self.pod.set("AWS_WEB_IDENTITY_TOKEN_FILE", &file.display().to_string());
        }
    }

    /// Does what is printed, in its order.
    async fn mend(&mut self, broken: &Broken) {
        let documents_of = broken.0["fix"]["documents"].as_array().unwrap().clone();
        for document in &documents_of {
            let title = document["title"].as_str().unwrap();
            let arn = title.split_whitespace().find(|word| word.starts_with("arn:")).unwrap_or_default().to_owned();
            if title.starts_with("the trust policy of ") {
                self.files.insert("trust.json".to_owned(), document["policy"].clone());
            } else if title.contains("statement") {
                let role = &mut self.iam["roles"][&arn];
                let policies = role["policies"].as_array_mut().unwrap();
                policies.push(json!({"Version": "2012-10-17", "Statement": [document["policy"].clone()]}));
            } else {
                self.files.insert("account.yaml".to_owned(), document["manifest"].clone());
            }
        }
        for command in broken.commands() {
            self.run(command, broken);
        }
        self.tell_aws().await;
        self.tell_kubernetes();
    }

    fn run(&mut self, command: &str, broken: &Broken) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let after = |flag: &str| {
            let at = words.iter().position(|word| *word == flag).unwrap_or_else(|| panic!("no {flag} in {command}"));
            words[at + 1]
        };
        match words[..3] {
            ["aws", "iam", "update-assume-role-policy"] => {
                let name = after("--role-name");
                let roles = self.iam["roles"].as_object_mut().unwrap();
                let policy = self.files["trust.json"].clone();
                match roles.iter_mut().find(|(arn, _)| arn.ends_with(&format!("role/{name}"))) {
                    Some((_, role)) => role["trust"] = policy,
                    // As get-role has shown; the text says what to do then.
                    None => {
                        let create = format!(
                            "`aws iam create-role --role-name {name} --assume-role-policy-document file://trust.json`"
                        );
                        broken.says(&create);
                        roles.insert(ROLE.to_owned(), json!({"trust": policy, "policies": []}));
                    }
                }
            }
            ["aws", "iam", "create-open-id-connect-provider"] => {
                self.iam["oidc_providers"][provider(after("--url"))] =
                    json!({"client_ids": [after("--client-id-list")]});
            }
            ["aws", "iam", "add-client-id-to-open-id-connect-provider"] => {
                let known = &mut self.iam["oidc_providers"][after("--open-id-connect-provider-arn")]["client_ids"];
                known.as_array_mut().expect("there is such a provider").push(json!(after("--client-id")));
            }
            ["awf-aws", "iam", "permissions"] => {
                let directory = TempDir::new();
                let end = words.iter().position(|word| *word == ">").unwrap();
                let output = binary("iam", directory.path()).args(&words[2..end]).output().unwrap();
                self.files.insert(words[end + 1].to_owned(), serde_json::from_slice(&output.stdout).unwrap());
            }
            ["aws", "iam", "put-role-policy"] => {
                let policy = self.files["permissions.json"].clone();
                assert_eq!(after("--role-name"), NAME);
                self.iam["roles"][ROLE]["policies"] = json!([policy]);
            }
            ["kubectl", "annotate", "serviceaccount"] => {
                assert_eq!((after("-n"), words[5]), ("ml", NAME), "{command}");
                let annotations = self.account["metadata"]["annotations"].as_object_mut().unwrap();
                let (name, value) =
                    words[words.len() - 1].split_once('=').unwrap_or((words[6].trim_end_matches('-'), ""));
                match value {
                    "" => annotations.remove(name),
                    value => annotations.insert(name.to_owned(), json!(value)),
                };
            }
            ["kubectl", "delete", "pod"] => self.start_pod(),
            ["kubectl", "set", "env"] => {
                let (name, value) = words[words.len() - 1].split_once('=').unwrap();
                let on = controller(json!([{"name": name, "value": value}]), json!([]));
                let deployment = words[5].trim_start_matches("deployment/");
                self.kubernetes.put_object("deployments", after("-n"), deployment, Some(on));
            }
            ["kubectl", "create", "clusterrole"] => {
                assert!(command.contains("--verb=patch --resource=workflowtasksets.argoproj.io/status"), "{command}");
                assert!(command.ends_with("--serviceaccount=argo:argo"), "{command}");
                self.kubernetes.let_write_task_sets(&["system:serviceaccount:argo:argo"]);
            }
            ["kubectl", "delete", "configmap"] => self.kubernetes.put_object("configmaps", after("-n"), words[5], None),
            ["kubectl", "apply", "-n"] => {
                let file = after("-f").trim_start_matches("assets/");
                self.kubernetes.put_object("configmaps", words[3], MAP, Some(shipped(file, "ConfigMap")));
            }
            ["kubectl", "apply", "-f"] => self.apply_account(),
            // These only look.
            ["aws", "iam", "get-role" | "get-open-id-connect-provider"] | ["kubectl", "rollout" | "get", _] => {}
            _ => panic!("nobody knows how to run {command}"),
        }
    }

    fn apply_account(&mut self) {
        for manifest in documents(self.files["account.yaml"].as_str().unwrap()).unwrap() {
            let (kind, name) = (manifest["kind"].as_str().unwrap(), manifest["metadata"]["name"].as_str().unwrap());
            assert_eq!(manifest["metadata"]["namespace"], "ml");
            match kind {
                "ServiceAccount" => self.account = manifest,
                "Secret" => self.kubernetes.put_object("secrets", "ml", name, Some(manifest.clone())),
                "Role" => {
                    for rule in manifest["rules"].as_array().unwrap() {
                        for verb in rule["verbs"].as_array().unwrap() {
                            self.kubernetes.allow(
                                ACCOUNT,
                                verb.as_str().unwrap(),
                                rule["resources"][0].as_str().unwrap(),
                                true,
                            );
                        }
                    }
                }
                _ => assert_eq!(kind, "RoleBinding"),
            }
        }
    }

    /// Mends what is broken first, again and again; gives what was mended, in order.
    async fn until_well(&mut self) -> Vec<String> {
        let mut mended = Vec::new();
        loop {
            let report = self.pod.report().await;
            let Some(first) = report.of("broken").first().copied().map(str::to_owned) else {
                assert_eq!(report.code, Some(0), "{:#}", report.object);
                return mended;
            };
            assert!(mended.len() < 12, "it is never well, after {mended:?}: {:#}", report.object);
            self.mend(&Broken(report.check(&first).clone())).await;
            mended.push(first);
        }
    }
}

type Breaking = fn(&mut World);

/// Breaks one thing, and sees that it alone was mended.
async fn each(rows: &[(&str, Breaking, &[&str])]) {
    for (what, breaking, expected) in rows {
        let mut world = World::whole().await;
        assert_eq!(world.until_well().await, [""; 0], "before {what}");
        breaking(&mut world);
        world.tell_aws().await;
        world.tell_kubernetes();
        assert_eq!(world.until_well().await, *expected, "{what}");
    }
}

#[actix_rt::test]
async fn every_broken_trust_is_mended_by_what_is_printed() {
    each(&[
        (
            "the policy trusts another namespace",
            |w| {
                w.iam["roles"][ROLE]["trust"] =
                    trust(json!({"StringEquals": {key("sub"): "system:serviceaccount:argo:awf-aws-workflow"}}))
            },
            &["sts"],
        ),
        (
            "a star where only equality counts",
            |w| {
                w.iam["roles"][ROLE]["trust"] =
                    trust(json!({"StringEquals": {key("sub"): "system:serviceaccount:ml:*"}}))
            },
            &["sts"],
        ),
        (
            "another audience",
            |w| w.iam["roles"][ROLE]["trust"] = trust(json!({"StringEquals": {key("aud"): "sts.amazonaws.com.cn"}})),
            &["sts"],
        ),
        (
            "the cluster of before",
            |w| {
                w.iam["roles"][ROLE]["trust"]["Statement"][0]["Principal"] =
                    json!({"Federated": provider("https://oidc.eks.us-west-2.amazonaws.com/id/OLD")})
            },
            &["sts"],
        ),
        ("no such role", |w| drop(w.iam["roles"].as_object_mut().unwrap().remove(ROLE)), &["sts", "describe-pipeline"]),
        ("no provider", |w| drop(w.iam["oidc_providers"].as_object_mut().unwrap().remove(&provider(ISSUER))), &["sts"]),
        (
            "the provider takes another audience",
            |w| w.iam["oidc_providers"][provider(ISSUER)]["client_ids"] = json!(["vault"]),
            &["sts"],
        ),
    ])
    .await;
}

/// A role that may look at pipelines only, and what else is wanted of it.
fn without(world: &mut World, with: &str) {
    let looks = json!({"Effect": "Allow", "Action": ["sagemaker:DescribePipeline", "sagemaker:ListPipelineExecutions"], "Resource": "*"});
    world.iam["roles"][ROLE]["policies"] = json!([{"Version": "2012-10-17", "Statement": [looks]}]);
    world.pod.flag(format!("--with={with}"));
}

#[actix_rt::test]
async fn what_more_is_wanted_is_allowed_by_what_is_printed() {
    each(&[
        ("no resume", |w| without(w, "resume"), &["resume"]),
        ("no logs", |w| without(w, "logs"), &["job-logs"]),
        ("no results", |w| without(w, "results"), &["job-results"]),
        // The printed command allows all that is wanted at once.
        ("nothing of it", |w| without(w, "results,logs,resume"), &["resume"]),
    ])
    .await;
}

#[actix_rt::test]
async fn every_broken_pod_is_mended_by_what_is_printed() {
    each(&[
        (
            "no annotation, and the role only known by a flag",
            |w| {
                w.account["metadata"]["annotations"] = json!({});
                w.start_pod();
                w.pod.flag(format!("--pod-role={ROLE}"));
                w.pod.flag("--namespace=ml");
            },
            &["variables"],
        ),
        (
            "a malformed annotation",
            |w| {
                w.account["metadata"]["annotations"] = json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::::123"});
                w.start_pod();
                w.pod.flag(format!("--pod-role={ROLE}"));
            },
            &["variables"],
        ),
        (
            "a pod that is older than the annotation",
            |w| {
                w.pod.unset("AWS_ROLE_ARN");
                w.pod.unset("AWS_WEB_IDENTITY_TOKEN_FILE");
            },
            &["variables"],
        ),
        ("the token file is gone", |w| fs::remove_file(w.pod.file("web-identity")).unwrap(), &["token-file"]),
        (
            "an old copy of a token",
            |w| fs::write(w.pod.file("web-identity"), token(json!({"exp": 1_700_000_000}))).unwrap(),
            &["token-claims"],
        ),
        (
            "a token for somebody else",
            |w| {
                w.account["metadata"]["annotations"]["eks.amazonaws.com/audience"] = json!("vault");
                w.start_pod();
            },
            &["token-claims"],
        ),
    ])
    .await;
}

#[actix_rt::test]
async fn every_broken_permission_is_mended_by_what_is_printed() {
    each(&[
        (
            "only one action",
            |w| {
                w.iam["roles"][ROLE]["policies"][0]["Statement"][0]["Action"] = json!("sagemaker:DescribePipeline");
            },
            &["list-executions"],
        ),
        ("no policy at all", |w| w.iam["roles"][ROLE]["policies"] = json!([]), &["describe-pipeline"]),
        (
            "the other spelling",
            |w| {
                w.iam["roles"][ROLE]["policies"][0]["Statement"][0]["Resource"] =
                    json!("arn:aws:sagemaker:us-west-2:100000000002:pipeline/mypipeline*");
            },
            &["describe-pipeline"],
        ),
        (
            "a role of another account that trusts nobody, and that nobody may assume",
            |w| {
                w.iam["roles"][OTHER_ROLE] = json!({"trust": {"Version": "2012-10-17", "Statement": []}});
                w.pod.flag(format!("--role-arn={OTHER_ROLE}"));
                w.pod.flag("--external-id=churn-1");
                w.pod.flag("--skip=describe-pipeline,list-executions");
            },
            &["role-arn"],
        ),
    ])
    .await;
}

#[actix_rt::test]
async fn the_printed_statement_alone_is_enough_for_the_call_that_was_denied() {
    let mut world = World::whole().await;
    world.iam["roles"][ROLE]["policies"] = json!([]);
    world.tell_aws().await;
    let statement = world.pod.broken("describe-pipeline").await.policy(0).clone();
    world.iam["roles"][ROLE]["policies"] = json!([{"Version": "2012-10-17", "Statement": [statement]}]);
    world.tell_aws().await;
    let statement = world.pod.broken("list-executions").await.policy(0).clone();
    world.iam["roles"][ROLE]["policies"]
        .as_array_mut()
        .unwrap()
        .push(json!({"Version": "2012-10-17", "Statement": statement}));
    world.tell_aws().await;
    assert_eq!(world.pod.report().await.code, Some(0));
}

#[actix_rt::test]
async fn everything_broken_in_argo_is_mended_by_what_is_printed() {
    each(&[
        ("the controller lacks its right", |w| w.kubernetes.let_write_task_sets(&[]), &["controller-right"]),
        (
            "plugins are off",
            |w| {
                w.kubernetes.put_object(
                    "deployments",
                    "argo",
                    "workflow-controller",
                    Some(controller(json!([]), json!([]))),
                )
            },
            &["executor-plugins"],
        ),
        ("no ConfigMap", |w| w.kubernetes.put_object("configmaps", "argo", MAP, None), &["plugin-configmap"]),
        (
            "two of them",
            |w| {
                w.kubernetes.put_object(
                    "configmaps",
                    "ml",
                    MAP,
                    Some(shipped("plugin/awf-aws-executor-plugin-configmap.yaml", "ConfigMap")),
                )
            },
            &["plugin-configmap"],
        ),
        (
            "no secret",
            |w| w.kubernetes.put_object("secrets", "ml", "awf-aws-workflow.service-account-token", None),
            &["service-account"],
        ),
        (
            "the agent may do nothing",
            |w| {
                for (verb, what) in
                    [("list", "workflowtasksets"), ("watch", "workflowtasksets"), ("patch", "workflowtasksets/status")]
                {
                    w.kubernetes.allow(ACCOUNT, verb, what, false);
                }
            },
            &["service-account"],
        ),
    ])
    .await;
}

#[actix_rt::test]
async fn all_at_once_is_mended_step_by_step_in_the_order_of_the_checks() {
    let mut world = World::whole().await;
    world.account["metadata"]["annotations"] = json!({});
    world.start_pod();
    world.pod.flag(format!("--pod-role={ROLE}"));
    world.pod.flag("--namespace=ml");
    world.iam = json!({"roles": {}, "oidc_providers": {}});
    world.kubernetes.let_write_task_sets(&[]);
    world.kubernetes.put_object("deployments", "argo", "workflow-controller", Some(controller(json!([]), json!([]))));
    world.kubernetes.put_object("configmaps", "argo", MAP, None);
    world.kubernetes.put_object("secrets", "ml", "awf-aws-workflow.service-account-token", None);
    world.tell_aws().await;
    world.tell_kubernetes();
    let mended = world.until_well().await;
    let expected = [
        "variables",
        "sts",
        "sts",
        "describe-pipeline",
        "controller-right",
        "executor-plugins",
        "plugin-configmap",
        "service-account",
    ];
    assert_eq!(mended, expected);
}
