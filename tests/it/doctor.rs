//! `awf-aws doctor`: each set-up that can be broken is broken for real, and the fix that is printed is looked at.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use awf_aws::{
    config::doctor::{CHECKS, ON_DEMAND},
    demo::template::documents,
};
use serde_json::{Value, json};

use crate::support::{
    kubernetes::FakeKubernetes,
    process::{TempDir, binary, bound_by_modes},
    simulator::{Simulator, quick},
};

mod argo;
mod cluster;
mod features;
mod mending;
mod pod;
mod sts;

const ISSUER: &str = "https://oidc.eks.us-west-2.amazonaws.com/id/EXAMPLE";
const ROLE: &str = "arn:aws:iam::100000000002:role/awf-aws-workflow";
/// In signatures, secrets and tokens; never in what is printed.
const CANARY: &str = "cAnArYcAnArYcAnArY";
/// The year 2100.
const LATER: i64 = 4_102_444_800;

/// Base 64 as tokens have it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

/// A token as the kubelet writes it, with the claims changed.
fn token(changed: Value) -> String {
    let mut claims = json!({
        "aud": ["sts.amazonaws.com"], "exp": LATER, "iat": LATER - 86_400, "iss": ISSUER,
        "kubernetes.io": {"namespace": "ml", "pod": {"name": CANARY}},
        "sub": "system:serviceaccount:ml:awf-aws-workflow",
    });
    for (name, value) in changed.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let part = |value: Value| base64(value.to_string().as_bytes());
    format!("{}.{}.{}", part(json!({"alg": "RS256", "kid": CANARY})), part(claims), base64(CANARY.as_bytes()))
}

/// A pod that lacks nothing, in front of a simulated AWS.
struct Pod {
    simulator: Simulator,
    directory: TempDir,
    variables: Vec<(String, String)>,
    flags: Vec<String>,
    /// A user to run as, where root would see everything.
    bound_by_modes: bool,
}

impl Pod {
    async fn new() -> Self {
        let simulator = Simulator::with_pipeline(quick(), &["Train"]).await;
        let directory = TempDir::new();
        let file = |name: &str| directory.path().join(name).display().to_string();
        fs::write(file("web-identity"), token(json!({}))).unwrap();
        fs::write(file("argo-token"), CANARY).unwrap();
        let variables = [
            ("AWS_ROLE_ARN", ROLE.to_owned()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file("web-identity")),
            ("AWS_REGION", "us-west-2".to_owned()),
            ("AWS_ENDPOINT_URL", simulator.endpoint.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1".to_owned()),
            ("RUST_LOG", "trace".to_owned()),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let flags = vec!["--pipeline=MyPipeline".to_owned(), format!("--token-file={}", file("argo-token"))];
        Self { simulator, directory, variables, flags, bound_by_modes: false }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn unset(&mut self, name: &str) {
        self.variables.retain(|(own, _)| own != name);
    }

    fn flag(&mut self, flag: impl Into<String>) {
        self.flags.push(flag.into());
    }

    async fn run(&self, output: &str) -> (Option<i32>, String) {
        let mut command: Command = binary("doctor", self.directory.path());
        command.args(&self.flags).arg(format!("--output={output}"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if self.bound_by_modes {
            command = bound_by_modes(&command);
        }
        let output = actix_rt::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, log) = (text(output.stdout), text(output.stderr));
        // Whatever happened, at whatever level: neither a token nor a part of one, nor a secret.
        let encoded = base64(CANARY.as_bytes());
        for secret in [CANARY, encoded.as_str(), "eyJ"] {
            for (what, text) in [("output", &out), ("log", &log)] {
                assert!(!text.contains(secret), "{secret} is in the {what}: {text}");
            }
        }
        (output.status.code(), out)
    }

    async fn report(&self) -> Report {
        let (code, out) = self.run("json").await;
        let object: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
        let names: Vec<&str> =
            object["checks"].as_array().unwrap().iter().map(|c| c["check"].as_str().unwrap()).collect();
        let with = self.flags.iter().find_map(|flag| flag.strip_prefix("--with=")).unwrap_or_default();
        let wanted = |name: &&str| match ON_DEMAND.iter().find(|(check, _)| check == name) {
            Some((_, feature)) => with.split(',').any(|word| word == feature.word()),
            None => true,
        };
        assert_eq!(names, CHECKS.into_iter().filter(wanted).collect::<Vec<_>>(), "in their order");
        assert_eq!(object["well"], json!(code == Some(0)), "{object}");
        Report { code, object }
    }

    /// The one check that is broken must be this one, and nothing before it.
    async fn broken(&self, name: &str) -> Broken {
        let report = self.report().await;
        let first = report.of("broken").first().copied().map(str::to_owned);
        assert_eq!((report.code, first.as_deref()), (Some(1), Some(name)), "{:#}", report.object);
        Broken(report.check(name).clone())
    }
}

struct Report {
    code: Option<i32>,
    object: Value,
}

impl Report {
    fn check(&self, name: &str) -> &Value {
        self.object["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).unwrap()
    }

    /// The checks that came out so.
    fn of(&self, verdict: &str) -> Vec<&str> {
        let all = self.object["checks"].as_array().unwrap().iter();
        all.filter(|check| check["verdict"] == verdict).map(|check| check["check"].as_str().unwrap()).collect()
    }
}

/// A cross with its fix.
struct Broken(Value);

impl Broken {
    fn says(&self, part: &str) -> &Self {
        let text = format!("{} {}", self.0["saw"].as_str().unwrap(), self.0["fix"]["say"].as_str().unwrap());
        assert!(text.contains(part), "{part} is not in {text}");
        self
    }

    fn commands(&self) -> Vec<&str> {
        self.0["fix"]["commands"].as_array().unwrap().iter().map(|command| command.as_str().unwrap()).collect()
    }

    fn command(&self, command: &str) -> &Self {
        assert!(self.commands().contains(&command), "{command} is not in {:#?}", self.commands());
        self
    }

    fn policy(&self, index: usize) -> &Value {
        &self.0["fix"]["documents"][index]["policy"]
    }

    fn manifest(&self) -> Vec<Value> {
        documents(self.0["fix"]["documents"][0]["manifest"].as_str().unwrap()).unwrap()
    }
}

#[actix_rt::test]
async fn a_pod_that_lacks_nothing_is_well() {
    let pod = Pod::new().await;
    let report = pod.report().await;
    assert_eq!(
        (report.code, report.of("broken").len(), report.of("unknown").len()),
        (Some(0), 0, 0),
        "{:#}",
        report.object
    );
    // Nobody mounted a service account, as the shipped ConfigMap has it: Argo is not looked at, and that is no fault.
    let left_out =
        ["role-arn", "kubernetes", "controller-right", "executor-plugins", "plugin-configmap", "service-account"];
    assert_eq!(report.of("skipped"), left_out);
    let claims = report.check("token-claims")["saw"].as_str().unwrap();
    assert_eq!(
        claims,
        format!(
            "iss={ISSUER} sub=system:serviceaccount:ml:awf-aws-workflow aud=sts.amazonaws.com exp=2100-01-01T00:00:00Z"
        )
    );

    let (code, text) = pod.run("text").await;
    assert_eq!(code, Some(0));
    let usual: Vec<_> = CHECKS.into_iter().filter(|name| !ON_DEMAND.iter().any(|(check, _)| check == name)).collect();
    let marks: Vec<(&str, &str)> = text.lines().take(usual.len()).map(|line| line.split_once(' ').unwrap()).collect();
    for (name, (mark, line)) in usual.into_iter().zip(&marks) {
        assert!(line.starts_with(name), "{text}");
        assert_eq!(*mark, if left_out.contains(&name) { "-" } else { "✓" }, "{text}");
    }
    assert!(text.ends_with("\nall is well (9 checks well, 6 left out)\n"), "{text}");
}

#[actix_rt::test]
async fn a_cross_in_the_text_is_followed_by_what_to_change() {
    let pod = Pod::new().await;
    pod.simulator.faults(json!({"deny": {"DescribePipeline": "always"}})).await;
    let (code, text) = pod.run("text").await;
    assert_eq!(code, Some(1));
    for line in [
        "✗ describe-pipeline  ",
        "    # the statement that arn:aws:iam::100000000002:role/awf-aws-workflow lacks",
        "      \"Action\": \"sagemaker:DescribePipeline\",",
        "    $ aws iam put-role-policy --role-name awf-aws-workflow --policy-name sagemaker-pipelines --policy-document file://permissions.json",
        "1 broken, 0 not known (8 checks well, 6 left out)",
    ] {
        assert!(text.lines().any(|own| own.starts_with(line)), "{line}\nis not in\n{text}");
    }
}

#[actix_rt::test]
async fn what_is_left_out_is_not_judged_and_what_is_no_check_is_refused() {
    let mut pod = Pod::new().await;
    pod.simulator.faults(json!({"deny": {"ListPipelineExecutions": "always"}})).await;
    pod.flag("--skip=list-executions,argo-token");
    let report = pod.report().await;
    assert_eq!(report.code, Some(0), "{:#}", report.object);
    pod.flag("--skip=everything");
    pod.flag("--namespace=team-*");
    pod.flag("--output=yaml");
    let mut command = binary("doctor", pod.directory.path());
    let output = command.args(["--skip=everything", "--namespace=team-*", "--output=yaml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    for part in [
        "--skip: \"everything\" is not one of variables, token-file",
        "--namespace: \"team-*\" is a pattern",
        "--output: \"yaml\"",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// A kubeconfig that leads to a cluster that lacks nothing.
fn whole_cluster() -> FakeKubernetes {
    cluster::whole()
}

/// Takes the right to read a file away from everybody.
fn lock(file: &std::path::Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o000)).unwrap();
}
