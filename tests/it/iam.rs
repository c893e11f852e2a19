//! What `awf-aws iam` prints, against files that were read by people, the project's own example and the plugin at work.

use std::{collections::BTreeSet, fs, path::Path};

use awf_aws::{
    demo::template::documents,
    iam::{
        names::{Issuer, RoleArn},
        permissions::{Permissions, Purpose},
    },
    simulator::faults::OPERATIONS,
};
use serde_json::{Map, Value, json};

use crate::support::{
    argo::{Plugin, execute, request},
    process::{TempDir, binary},
    simulator::{Simulator, quick},
};

const SEEDS_ISSUER: &str = "https://oidc.eks.us-west-2.amazonaws.com/id/A8242F25BFBB8F98F5321B2AE63C8B5C";
const ROLE: &str = "arn:aws:iam::100000000002:role/awf-aws-workflow";

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/iam").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Exit code, standard output and standard error.
fn iam(arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = TempDir::new();
    let output = binary("iam", directory.path()).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn printed(arguments: &[&str]) -> String {
    let (code, out, err) = iam(arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
    out
}

#[test]
fn the_seeds_trust_policy_is_what_its_issuer_namespace_and_account_give() {
    let arguments = [
        "trust-policy",
        "--account-id=100000000002",
        &format!("--issuer={SEEDS_ISSUER}"),
        "--namespace=argo",
        "--service-account=awf-aws-executor-plugin",
    ];
    let made: Value = serde_json::from_str(&printed(&arguments)).unwrap();
    let seed: Value = serde_json::from_str(&golden("seed-trust-policy.json")).unwrap();
    assert_eq!(made, seed);
    // With both conditions, and the same without the scheme.
    let conditions = &made["Statement"][0]["Condition"]["StringEquals"];
    assert_eq!(conditions.as_object().unwrap().len(), 2);
    let bare = format!("--issuer={}", SEEDS_ISSUER.trim_start_matches("https://"));
    assert_eq!(printed(&[arguments[0], arguments[1], &bare, arguments[3], arguments[4]]), printed(&arguments));
}

#[test]
fn every_policy_and_manifest_is_the_golden_one() {
    let issuer = format!("--issuer={SEEDS_ISSUER}");
    let account = "--account-id=100000000002";
    let role = format!("--role-arn={ROLE}");
    let trusted = format!("--trusted-role={ROLE}");
    let pipelines = ["permissions", account, "--region=us-west-2", "--pipeline=ChurnModel", "--pipeline=daily-*"];
    let with = |more: &[&'static str]| [pipelines.as_slice(), more].concat();
    for (file, arguments) in [
        ("trust-pattern.json", vec!["trust-policy", account, &issuer, "--namespace=team-*"]),
        (
            "trust-china.json",
            vec![
                "trust-policy",
                account,
                "--issuer=https://oidc.eks.cn-north-1.amazonaws.com.cn/id/EXAMPLE",
                "--namespace=ml",
            ],
        ),
        ("trust-pod-identity.json", vec!["trust-policy", "--pod-identity"]),
        ("trust-pod-identity-of-one-account.json", vec!["trust-policy", "--pod-identity", "--namespace=ml"]),
        ("trust-role.json", vec!["trust-policy", &trusted]),
        ("trust-role-with-external-id.json", vec!["trust-policy", &trusted, "--external-id=churn-1"]),
        ("permissions-validate.json", with(&["--for=validate"])),
        ("permissions-execute.json", with(&["--for=execute"])),
        ("permissions-execute-and-stop.json", with(&["--for=execute+stop"])),
        ("permissions-execute-and-stop.json", with(&[])),
        ("permissions-with-all.json", with(&["--with=resume,logs,results"])),
        ("permissions-with-all.json", with(&["--with=results", "--with", "logs, resume"])),
        ("permissions-with-logs-only.json", with(&["--for=validate", "--with=logs"])),
        (
            "permissions-with-a-role.json",
            vec![
                "permissions",
                "--account-id=100000000003",
                "--region=us-gov-west-1",
                "--pipeline=arn:aws-us-gov:sagemaker:us-gov-west-1:100000000003:pipeline/churn",
                "--for=validate",
                "--assume-role=arn:aws-us-gov:iam::100000000003:role/sagemaker",
            ],
        ),
        ("account-irsa.yaml", vec!["service-account", "--namespace=ml", &role]),
        (
            "account-pod-identity.yaml",
            vec!["service-account", "--namespace=ml", &role, "--pod-identity", "--cluster=prod"],
        ),
    ] {
        assert_eq!(printed(&arguments), golden(file), "{file}");
    }
}

#[test]
fn the_printed_service_account_is_the_shipped_one_in_its_namespace() {
    let shipped =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/workflow-service-account.yaml"));
    let mut shipped = documents(&shipped.unwrap()).unwrap();
    for manifest in &mut shipped {
        manifest["metadata"]["namespace"] = json!("ml");
        if manifest["kind"] == "RoleBinding" {
            manifest["subjects"][0]["namespace"] = json!("ml");
        }
    }
    assert_eq!(documents(&golden("account-irsa.yaml")).unwrap(), shipped);
    // Pod Identity: the same without the annotation.
    shipped[0]["metadata"].as_object_mut().unwrap().remove("annotations");
    assert_eq!(documents(&golden("account-pod-identity.yaml")).unwrap(), shipped);
}

#[test]
fn what_cannot_be_a_name_is_refused_with_its_flag_and_what_is_allowed() {
    let (code, out, err) = iam(&[
        "trust-policy",
        "--account-id=123",
        "--issuer=arn:aws:iam::100000000002:oidc-provider/oidc.eks.us-west-2.amazonaws.com/id/EXAMPLE",
        "--namespace=*",
        "--service-account=A\"b",
        "--audience=*",
        "--partition=azure",
    ]);
    assert_eq!((code, out.as_str()), (Some(64), ""));
    for part in [
        "--account-id: \"123\" is not an AWS account; it has 12 digits",
        "--issuer: \"arn:aws:iam::100000000002:oidc-provider/",
        "give what follows `oidc-provider/` in it",
        "--namespace: \"*\" is not a namespace",
        "--service-account: \"A\\\"b\" is not a service account",
        "--audience: \"*\" is not an audience",
        "--partition: \"azure\" is not one of aws, aws-cn",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    let (code, _, err) = iam(&[
        "permissions",
        "--account-id=1",
        "--region=us-west",
        "--pipeline=a/b",
        "--for=start",
        "--with=logs,metrics",
    ]);
    assert_eq!(code, Some(64));
    for part in [
        "--account-id",
        "--region (AWS_REGION)",
        "--pipeline: \"a/b\"",
        "--for: \"start\" is not one of validate",
        "--with: \"metrics\" is not one of resume, logs, results",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    // A manifest is about one account; a binding for a pattern would be for nobody.
    let (code, _, err) = iam(&["service-account", "--namespace=team-*", "--role-arn=arn:aws:iam::::123"]);
    assert_eq!(code, Some(64));
    assert!(err.contains("\"team-*\" is a pattern") && err.contains("--role-arn: \"arn:aws:iam::::123\""), "{err}");
}

#[test]
fn an_issuer_keeps_its_path_and_knows_its_partition() {
    for (text, partition) in [
        ("https://oidc.eks.us-west-2.amazonaws.com/id/E", "aws"),
        ("oidc.eks.us-gov-east-1.amazonaws.com/id/E/", "aws-us-gov"),
        ("https://oidc-eks.eu-west-1.api.aws/id/E", "aws"),
        ("https://s3.example.com/clusters/one", "aws"),
    ] {
        let issuer = Issuer::parse(text).unwrap();
        assert_eq!(issuer.partition(), partition, "{text}");
        assert!(issuer.url().ends_with(text.trim_start_matches("https://").trim_end_matches('/')), "{text}");
    }
    for text in
        ["", "http://oidc.eks.us-west-2.amazonaws.com/id/E", "https://localhost/id", "https://a.b/?q=1", "a.b\"c"]
    {
        assert!(Issuer::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_role_is_its_arn_and_the_name_without_its_path() {
    let role = RoleArn::parse("arn:aws-cn:iam::100000000002:role/teams/ml/trainer").unwrap();
    assert_eq!(
        (role.partition.as_str(), role.account.as_str(), role.name.as_str()),
        ("aws-cn", "100000000002", "trainer")
    );
    for wrong in
        ["", "trainer", "arn:aws:iam::::123", "arn:aws:iam::100000000002:user/x", "arn:aws:iam::100000000002:role/"]
    {
        assert!(RoleArn::parse(wrong).is_err(), "{wrong}");
    }
}

fn permissions(purpose: Purpose) -> Permissions {
    Permissions {
        partition: "aws",
        region: "us-west-2".to_owned(),
        account: "100000000002".to_owned(),
        pipelines: vec!["MyPipeline".to_owned()],
        purpose,
        with: BTreeSet::new(),
        roles: Vec::new(),
    }
}

/// The SageMaker actions that a policy allows.
fn allowed(policy: &Value) -> BTreeSet<String> {
    let actions = policy["Statement"].as_array().unwrap().iter().flat_map(|statement| match &statement["Action"] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    });
    actions.filter_map(|action| action.as_str()?.strip_prefix("sagemaker:").map(str::to_owned)).collect()
}

/// Denies all that the policy does not allow. GetCallerIdentity needs no permission.
fn denied(policy: &Value) -> Value {
    let allowed = allowed(policy);
    let denied = OPERATIONS.into_iter().filter(|name| !allowed.contains(*name) && *name != "GetCallerIdentity");
    Value::Object(denied.map(|name| (name.to_owned(), json!("always"))).collect::<Map<_, _>>())
}

#[actix_rt::test]
async fn each_purpose_is_served_with_the_permissions_of_its_policy_and_nothing_else() {
    for (purpose, nodes) in [
        (Purpose::Validate, vec![request(json!({"execution_key": "v"}))]),
        (Purpose::Execute, vec![request(json!({"execution_key": "v"})), execute("n", json!({}))]),
        (
            Purpose::ExecuteAndStop,
            vec![request(json!({})), execute("n", json!({})), request(json!({"action": "stop"}))],
        ),
    ] {
        let simulator = Simulator::with_pipeline(quick(), &["Train"]).await;
        let policy = permissions(purpose).policy();
        simulator.faults(json!({"deny": denied(&policy)})).await;
        let plugin = Plugin::start(&simulator.endpoint, &[]).await;
        for node in &nodes {
            let reply = plugin.until_ended(node).await;
            assert_eq!(reply["node"]["phase"], "Succeeded", "{purpose:?}: {reply}");
        }
        assert!(!plugin.process.log().contains("AccessDenied"), "{purpose:?}");
    }
}

#[actix_rt::test]
async fn what_is_to_be_stopped_is_stopped_with_the_permissions_for_it() {
    let simulator =
        Simulator::with_pipeline(json!({"faults": {"step_seconds": 3600, "stop_seconds": 0.1}}), &["Train"]).await;
    simulator.faults(json!({"deny": denied(&permissions(Purpose::ExecuteAndStop).policy())})).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let arn = plugin.until_running(&execute("n", json!({}))).await;
    let reply = plugin.until_ended(&request(json!({"action": "stop"}))).await;
    assert_eq!((&reply["node"]["phase"], simulator.status(&arn).await.as_str()), (&json!("Succeeded"), "Stopped"));
}

#[test]
fn one_missing_permission_is_one_statement_in_both_spellings() {
    let pipeline = "arn:aws:sagemaker:us-west-2:100000000002:pipeline";
    assert_eq!(
        permissions(Purpose::Validate).statement("StopPipelineExecution"),
        Some(json!({
            "Sid": "AllowStopPipelineExecution", "Effect": "Allow", "Action": "sagemaker:StopPipelineExecution",
            "Resource": [format!("{pipeline}/MyPipeline/execution/*"), format!("{pipeline}/mypipeline/execution/*")],
        }))
    );
    assert_eq!(permissions(Purpose::Validate).statement("CreatePipeline"), None);
    let logs = permissions(Purpose::Validate).statement("GetLogEvents").unwrap();
    assert_eq!(logs["Action"], "logs:GetLogEvents");
    assert_eq!(logs["Resource"], "arn:aws:logs:us-west-2:100000000002:log-group:/aws/sagemaker/*");
}
