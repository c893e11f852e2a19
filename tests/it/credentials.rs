//! Credentials as a pod has them, from the real SDK in a process of its own to the simulator's STS: one test for each thing
//! that may be wrong with them, and what the message then tells somebody who has never seen IAM.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use awf_aws::{
    backend::{Backend, credentials::SENTENCE_LIMIT, sagemaker::SageMaker},
    metrics::Metrics,
    pipelines::{Call, CallReply, ClientKey, Clock, StartExecution, Time},
    simulator::{SharedBook, book::Book, locked, scenario::Scenario, serve, shared},
};
use serde_json::{Value, json};
use tracing_subscriber::{filter::Targets, fmt, prelude::*};

use crate::support::{
    process::TempDir,
    tokens::{AUDIENCE, claims, provider, token_of, trust_policy},
};

mod causes;
mod nodes;
mod roles;
mod rotation;
mod secrets;
mod sentences;

const ACCOUNT: &str = "100000000002";
const ROLE: &str = "arn:aws:iam::100000000002:role/sm-pipelines-k8s-awf-aws-executor-plugin";
const OTHER_ROLE: &str = "arn:aws:iam::111122223333:role/deployer";

fn now() -> Time {
    Time::at(0).plus(SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970"))
}

fn in_an_hour() -> Time {
    now().plus(Duration::from_secs(3600))
}

/// The simulated cloud of the seed, in which everything is right.
struct Cloud {
    url: String,
    book: SharedBook,
}

impl Cloud {
    fn new() -> Self {
        Self::with_clock(Arc::new(now))
    }

    fn with_clock(clock: Clock) -> Self {
        let scenario = json!({
            "pipelines": [
                {"name": "MyPipeline", "region": "us-west-2", "definition": {"Version": "2020-12-01", "Steps": []}},
                {"name": "Theirs", "region": "us-west-2", "account": "111122223333",
                 "definition": {"Version": "2020-12-01", "Steps": []}},
            ],
            "iam": {
                "oidc_providers": {provider(ACCOUNT): {"client_ids": [AUDIENCE]}},
                "roles": {ROLE: {"trust": trust_policy(ACCOUNT)}},
            },
        });
        let scenario = Scenario::parse(&scenario.to_string()).expect("a scenario");
        let book = shared(Book::new(scenario, clock()).expect("a book"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        actix_rt::spawn(serve(listener, book.clone(), clock).expect("it listens"));
        Self { url, book }
    }

    fn iam(&self, patch: Value) {
        let mut book = locked(&self.book);
        book.iam = Some(book.iam.clone().unwrap_or_default().patched(&patch).expect("a patch"));
    }

    /// The trust policy of the pod's role with other members in its statement.
    fn trust(&self, members: Value) {
        let mut trust = trust_policy(ACCOUNT);
        for (name, value) in members.as_object().expect("members") {
            trust["Statement"][0][name] = value.clone();
        }
        self.iam(json!({"roles": {ROLE: {"trust": trust}}}));
    }

    fn faults(&self, patch: Value) {
        let mut book = locked(&self.book);
        book.faults = book.faults.merged(&patch).expect("a patch");
    }

    fn calls(&self, operation: &str) -> u64 {
        locked(&self.book).calls(operation)
    }
}

/// A pod with a service account that is annotated, and its token.
struct Pod {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

/// What the pod's process printed.
struct Told {
    /// What is known, then the sentence; or the answer.
    result: String,
    log: String,
}

impl Pod {
    fn new() -> Self {
        Self::with_token(&token_of(&claims(in_an_hour())))
    }

    fn with_token(token: &str) -> Self {
        let directory = TempDir::new();
        let file = directory.path().join("token");
        fs::write(&file, token).expect("the token can be written");
        let file = file.display().to_string();
        let environment = [
            ("AWS_REGION", "us-west-2"),
            ("AWS_ROLE_ARN", ROLE),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", &file),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/nonexistent"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"),
            ("RUST_LOG", "warn"),
            ("TEST_CALL", "DescribePipeline"),
        ];
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { directory, environment }
    }

    fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// With other variables; an empty value takes one away.
    fn with(mut self, variables: &[(&str, &str)]) -> Self {
        for (name, value) in variables {
            self.environment.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.environment.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        self
    }

    fn command(&self, cloud: &Cloud) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("a test has a binary"));
        command
            .args(["--exact", "--ignored", "--nocapture", "credentials::as_the_pod_does"])
            .env_clear()
            .env("AWS_ENDPOINT_URL", &cloud.url)
            .envs(self.environment.iter().cloned());
        command
    }

    /// Makes the call in a process that has this environment.
    async fn calls(&self, cloud: &Cloud) -> Told {
        run(self.command(cloud)).await
    }

    /// Makes the call, which must fail, and gives the sentence.
    async fn is_told(&self, cloud: &Cloud) -> String {
        let told = self.calls(cloud).await;
        assert!(!told.result.starts_with("Pipeline"), "{}", told.result);
        check(&told.result);
        told.result
    }
}

async fn run(mut command: Command) -> Told {
    let out = actix_rt::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
    let log = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let result = log.lines().find_map(|line| line.split_once("RESULT "));
    let result = result.unwrap_or_else(|| panic!("no result in {log}")).1.to_owned();
    Told { result, log }
}

/// What holds for every sentence.
fn check(result: &str) {
    let (_, sentence) = result.split_once(' ').unwrap_or_default();
    assert!(sentence.len() <= SENTENCE_LIMIT, "{} bytes: {sentence}", sentence.len());
    assert!(!sentence.contains("eyJ"), "{sentence}");
}

/// Contains the code and the request's id as STS gave them, and all of these parts.
fn assert_told(result: &str, kind: &str, code: &str, parts: &[&str]) {
    assert!(result.starts_with(&format!("{kind} ")), "{result}");
    let id = result.split_once("request id: ").map(|(_, rest)| rest.split([';', ' ']).next().unwrap_or_default());
    assert_eq!(id.map(str::len), Some(36), "the request's id is whole in {result}");
    assert!(result.contains(code), "{code} is not in {result}");
    for part in parts {
        assert!(result.contains(part), "{part:?} is not in {result}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[actix_rt::test]
#[ignore = "run by the tests below, in a process with a pod's environment"]
async fn as_the_pod_does() {
    if let Some(filter) = variable("RUST_LOG") {
        let filter: Targets = filter.parse().expect("a filter");
        tracing_subscriber::registry().with(fmt::layer().with_ansi(false)).with(filter).init();
    }
    let client = ClientKey {
        region: "us-west-2".into(),
        role_arn: variable("TEST_ROLE"),
        external_id: variable("TEST_EXTERNAL_ID"),
    };
    let pipeline = variable("TEST_PIPELINE").unwrap_or_else(|| "MyPipeline".into());
    let call = match variable("TEST_CALL").as_deref() {
        Some("GetCallerIdentity") => Call::GetCallerIdentity,
        Some("StartPipelineExecution") => Call::StartExecution(Box::new(StartExecution {
            pipeline,
            token: "t".repeat(64),
            display_name: "wf-0123456789ab-0".into(),
            description: "text".into(),
            parameters: Vec::new(),
            version: None,
            max_parallel_steps: None,
            selective: None,
        })),
        _ => Call::DescribePipeline { pipeline, version: None },
    };
    let sagemaker = SageMaker::connect(Arc::new(Metrics::new().expect("the catalogue is in order"))).await;
    let backend = sagemaker.of_workflow("sm-pipelines-r58tg").expect("it can name its sessions");
    match backend.call(client, call).await.result {
        Ok(CallReply::Pipeline(pipeline)) => println!("RESULT Pipeline {}", pipeline.arn),
        Ok(reply) => println!("RESULT Pipeline {reply:?}"),
        Err(failed) => println!("RESULT {} {}", failed.kind.as_str(), failed.message),
    }
}
