//! `awf-aws simulator` as a child process, and a look at its book with plain AWS calls.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::process::{LOOK, PATIENCE, Process, TempDir, binary, client, free_port, post};

/// The simulated AWS.
pub struct Simulator {
    pub endpoint: String,
    started: AtomicUsize,
    _process: Process,
    _directory: TempDir,
}

impl Simulator {
    /// Starts it with this scenario and waits until it answers.
    pub async fn start(scenario: Value) -> Self {
        let directory = TempDir::new();
        let file = directory.path().join("scenario.json");
        fs::write(&file, scenario.to_string()).expect("the scenario can be written");
        for _ in 0..5 {
            let address = format!("127.0.0.1:{}", free_port());
            let mut command = binary("simulator", directory.path());
            command.args(["--listen", &address, "--scenario"]).arg(&file);
            let mut process = Process::start("awf-aws simulator", &mut command);
            let endpoint = format!("http://{address}");
            if process.answers(&endpoint).await {
                return Self { endpoint, started: AtomicUsize::new(0), _process: process, _directory: directory };
            }
            eprintln!("awf-aws simulator ended before it answered:\n{}", process.log());
        }
        panic!("awf-aws simulator does not start");
    }

    /// The same with a pipeline `MyPipeline` in it, of these steps in a row.
    pub async fn with_pipeline(scenario: Value, steps: &[&str]) -> Self {
        let simulator = Self::start(scenario).await;
        simulator.create_pipeline("MyPipeline", steps).await;
        simulator
    }

    /// One SageMaker call in us-west-2, as any client sends it; the signature is never looked at.
    pub async fn call(&self, operation: &str, input: Value) -> (u16, Value) {
        let request = client(Duration::from_secs(30))
            .post(&self.endpoint)
            .insert_header(("X-Amz-Target", format!("SageMaker.{operation}")))
            .insert_header(("Content-Type", "application/x-amz-json-1.1"))
            .insert_header((
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=testing/20260101/us-west-2/sagemaker/aws4_request, \
                 SignedHeaders=host, Signature=00",
            ));
        post(request, input.to_string().as_bytes()).await
    }

    /// A call that must be answered 200.
    pub async fn expect(&self, operation: &str, input: Value) -> Value {
        let (status, reply) = self.call(operation, input).await;
        assert_eq!(status, 200, "{operation}: {reply}");
        reply
    }

    pub async fn create_pipeline(&self, name: &str, steps: &[&str]) {
        let steps: Vec<Value> = steps
            .iter()
            .enumerate()
            .map(|(i, step)| {
                let after: Vec<&str> = i.checked_sub(1).map(|before| steps[before]).into_iter().collect();
                json!({"Name": step, "Type": "Training", "Arguments": {}, "DependsOn": after})
            })
            .collect();
        let definition = json!({"Version": "2020-12-01", "Parameters": [], "Steps": steps});
        self.expect(
            "CreatePipeline",
            json!({
                "PipelineName": name,
                "PipelineDefinition": definition.to_string(),
                "ClientRequestToken": format!("create-{name:-<32}"),
                "RoleArn": "arn:aws:iam::100000000002:role/pipelines",
            }),
        )
        .await;
    }

    /// Starts an execution of `MyPipeline` as an earlier process would have, with this description.
    pub async fn start_described(&self, description: &str) -> String {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let input = json!({
            "PipelineName": "MyPipeline",
            "ClientRequestToken": format!("an-earlier-process-{number:0>32}"),
            "PipelineExecutionDescription": description,
        });
        let reply = self.expect("StartPipelineExecution", input).await;
        reply["PipelineExecutionArn"].as_str().expect("an ARN").to_owned()
    }

    /// The simulator's own book: no fault hides anything in it.
    pub async fn book(&self) -> Value {
        let mut answer = client(PATIENCE)
            .get(format!("{}/admin/book", self.endpoint))
            .send()
            .await
            .unwrap_or_else(|e| panic!("the book cannot be had: {e}"));
        answer.json().limit(16 << 20).await.unwrap_or_else(|e| panic!("the book is not JSON: {e}"))
    }

    /// (ARN, status) of every execution there ever was, oldest first.
    pub async fn executions(&self) -> Vec<(String, String)> {
        let book = self.book().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let executions = book["executions"].as_array().expect("the book lists executions");
        executions.iter().map(|execution| (text(&execution["arn"]), text(&execution["status"]))).collect()
    }

    /// Waits until so many executions are in the book.
    pub async fn until_executions(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.executions().await.len() != count {
            assert!(Instant::now() < deadline, "there are not {count} executions");
            sleep(LOOK).await;
        }
    }

    /// Changes what goes wrong: a JSON merge patch over the faults in force.
    pub async fn faults(&self, patch: Value) {
        let request = client(PATIENCE)
            .post(format!("{}/admin/faults", self.endpoint))
            .insert_header(("Content-Type", "application/json"));
        let (status, reply) = post(request, patch.to_string().as_bytes()).await;
        assert_eq!(status, 200, "{reply}");
    }

    /// Changes providers and roles.
    pub async fn iam(&self, patch: Value) {
        let request = client(PATIENCE)
            .post(format!("{}/admin/iam", self.endpoint))
            .insert_header(("Content-Type", "application/json"));
        let (status, reply) = post(request, patch.to_string().as_bytes()).await;
        assert_eq!(status, 200, "{reply}");
    }

    /// Has an execution vanish from the API; the answer's status.
    pub async fn forget(&self, arn: &str) -> u16 {
        let request = client(PATIENCE)
            .post(format!("{}/admin/forget", self.endpoint))
            .insert_header(("Content-Type", "application/json"));
        post(request, json!({"arn": arn}).to_string().as_bytes()).await.0
    }

    /// SageMaker's word for where an execution is.
    pub async fn status(&self, arn: &str) -> String {
        let executions = self.executions().await;
        executions.into_iter().find(|(found, _)| found == arn).map(|(_, status)| status).unwrap_or_default()
    }
}

/// A scenario in which every step takes a moment.
pub fn quick() -> Value {
    json!({"faults": {"step_seconds": 0.4, "stop_seconds": 0.2}})
}

/// A scenario in which no step ends while a test looks.
pub fn slow() -> Value {
    json!({"faults": {"step_seconds": 3600, "stop_seconds": 0.2}})
}

/// A quick scenario in which one step always fails for a reason.
pub fn failing(step: &str, reason: &str) -> Value {
    json!({"faults": {"step_seconds": 0.2, "steps": {step: {"fail": "always", "reason": reason}}}})
}
