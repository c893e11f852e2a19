//! A day at the plugin in a few seconds: pipelines that succeed and fail, a full quota, throttling, a denial, a stop, a
//! restart without credentials; scraped all the while.

use std::{fs, time::Duration};

use awf_aws::protocol::parse_go_duration;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::alerts::hasty_rules;
use crate::support::{
    argo::{Plugin, execute, output, request},
    process::{PATIENCE, TempDir, client},
    prometheus::Server,
    simulator::Simulator,
};

const ROLE: &str = "arn:aws:iam::100000000002:role/runner";

/// The labels that a scrape of a cluster adds.
const LABELS: [(&str, &str); 3] = [("cluster", "test"), ("namespace", "ml"), ("container", "awf-aws")];

pub struct Scene {
    pub simulator: Simulator,
    pub plugin: Plugin,
    pub prometheus: Server,
    /// What a plugin logged that was killed since.
    pub log: String,
    directory: TempDir,
}

impl Scene {
    /// Everything is up, and nothing has happened yet.
    pub async fn begin(prometheus_flags: &[&str]) -> Self {
        let faults = json!({
            "step_seconds": 0.4, "stop_seconds": 1.5, "quota": 3,
            "steps": {
                "Failing/Evaluate": {"fail": "always", "reason": "AlgorithmError: accuracy is 0.4"},
                "Long/Train": {"seconds": 3600},
            },
        });
        let simulator = Simulator::with_pipeline(json!({"faults": faults}), &["Prepare", "Train", "Register"]).await;
        simulator.create_pipeline("Failing", &["Prepare", "Evaluate"]).await;
        simulator.create_pipeline("Long", &["Train"]).await;
        let directory = TempDir::new();
        let token = directory.path().join("web-identity");
        fs::write(&token, "e30.e30.e30").unwrap();
        let token = token.display().to_string();
        let environment = [("AWS_ROLE_ARN", ROLE), ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str())];
        let flags = ["--log-format=json", "--metrics-linger=0s"];
        let plugin = Plugin::start_with(&simulator.endpoint, &flags, &environment).await;
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [{
                "job_name": "awf-aws",
                "file_sd_configs": [{"files": [directory.path().join("targets.json")], "refresh_interval": "1s"}],
            }],
            "rule_files": [hasty_rules(&directory)],
        });
        write_targets(&directory, &plugin);
        let prometheus = Server::start("prometheus", &configuration, prometheus_flags).await;
        prometheus.until("awf_aws_build_info", 1).await;
        Self { simulator, plugin, prometheus, log: String::new(), directory }
    }

    /// Waits until something newly counted was scraped.
    pub async fn scraped(&self) {
        sleep(Duration::from_millis(2500)).await;
    }

    /// Some executions of a workflow at once, of which a part fails, under throttling.
    pub async fn round(&self, workflow: &str, good: usize, bad: usize) {
        self.simulator
            .faults(json!({"throttle": {"DescribePipelineExecution": 3, "ListPipelineExecutions": 3, "StartPipelineExecution": 1}}))
            .await;
        let node = |name: String, pipeline: &str| of(workflow, execute(&name, json!({"pipeline_name": pipeline})));
        let good = (0..good).map(|n| node(format!("good-{n}"), "MyPipeline"));
        let bad = (0..bad).map(|n| node(format!("bad-{n}"), "Failing"));
        let nodes: Vec<Value> = good.chain(bad).collect();
        join_all(nodes.iter().map(|body| self.until_ended(body))).await;
    }

    /// Asks as patiently as an agent.
    async fn until_ended(&self, body: &Value) {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let (_, reply) = self.plugin.post(body).await;
            let Some(requeue) = reply["requeue"].as_str() else { return };
            assert!(Instant::now() < deadline, "not in time: {reply}");
            sleep(parse_go_duration(requeue).unwrap_or_default().min(Duration::from_secs(1))).await;
        }
    }

    /// An execution that somebody stops.
    pub async fn stop_one(&self, workflow: &str) {
        let long = of(workflow, execute("to-be-stopped", json!({"pipeline_name": "Long"})));
        let arn = self.plugin.until_running(&long).await;
        let stop = json!({"action": "stop", "pipeline_name": "Long", "execution_arn": arn});
        self.until_ended(&of(workflow, request(stop))).await;
        self.until_ended(&long).await;
    }

    /// What should not be: strangers, denials, malformed input.
    pub async fn mistakes(&self, workflow: &str) {
        self.simulator.faults(json!({"deny": {"DescribePipeline": 1}})).await;
        let validate = of(workflow, request(json!({"action": "validate"})));
        self.plugin.ask(&validate).await;
        self.plugin.ask(&of(workflow, request(json!({"action": "dance"})))).await;
        for path in ["/api/v1/template.execute", "/elsewhere"] {
            client(PATIENCE).post(format!("{}{path}", self.plugin.api())).send().await.unwrap();
        }
    }

    /// A long execution runs on through the death of the plugin, whose next life begins without credentials.
    pub async fn restart_without_credentials(&mut self, workflow: &str) {
        let long = of(workflow, execute("long", json!({"pipeline_name": "Long"})));
        let arn = self.plugin.until_running(&long).await;
        self.scraped().await;
        self.log.push_str(&self.plugin.process.log());
        self.simulator.faults(json!({"deny_web_identity": "access_denied"})).await;
        self.plugin.kill_and_restart().await;
        write_targets(&self.directory, &self.plugin);
        for _ in 0..3 {
            self.plugin.ask(&long).await;
            sleep(Duration::from_secs(1)).await;
        }
        self.simulator.faults(json!({"deny_web_identity": null})).await;
        let running = |reply: &Value| output(reply, "execution-arn") == arn;
        self.plugin.until(&long, "it is found again", running).await;
    }

    /// One more than the quota lets run.
    pub async fn one_too_many(&self, workflow: &str) {
        self.simulator.faults(json!({"quota": 1})).await;
        let waits = of(workflow, execute("one-too-many", json!({"pipeline_name": "Long"})));
        let pending = |reply: &Value| reply["node"]["phase"] == "Pending";
        self.plugin.until(&waits, "it waits for the quota", pending).await;
    }
}

/// The same request of another workflow.
fn of(workflow: &str, mut body: Value) -> Value {
    body["workflow"]["metadata"]["name"] = json!(workflow);
    body["workflow"]["metadata"]["uid"] = json!(format!("uid-of-{workflow}"));
    body
}

/// Where Prometheus finds the plugin; after a restart somewhere else.
fn write_targets(directory: &TempDir, plugin: &Plugin) {
    let mut labels = json!({"pod": "train-1340600742-agent"});
    for (name, value) in LABELS {
        labels[name] = json!(value);
    }
    let targets = json!([{"targets": [plugin.ops_address()], "labels": labels}]);
    // Renamed into place: Prometheus must not read half of it.
    let (new, file) = (directory.path().join("targets.new"), directory.path().join("targets.json"));
    fs::write(&new, targets.to_string()).unwrap();
    fs::rename(new, file).unwrap();
}
