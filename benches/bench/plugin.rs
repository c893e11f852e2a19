//! `awf-aws serve` as a child process, as the sidecar runs it.

use std::{rc::Rc, time::Duration};

use serde_json::Value;

use super::{
    aws::Aws,
    process::{BINARY, Directory, Process, clean, free_address},
    tasks::REGION,
    wire,
};

/// What the token file holds.
pub const TOKEN: &str = "a-token-that-only-the-agent-knows";

/// The plugin.
pub struct Plugin {
    /// `host:port` where the agent asks.
    pub api: String,
    ops: String,
    pub process: Process,
    _directory: Directory,
}

impl Plugin {
    /// Starts it and waits until it answers.
    pub async fn start(aws: &Aws, flags: &[&str]) -> Self {
        let mut plugin = Self::launch(aws, flags);
        plugin.answers(&wire::get("/healthz"), Duration::from_millis(20)).await;
        plugin
    }

    /// Starts it and does not wait.
    pub fn launch(aws: &Aws, flags: &[&str]) -> Self {
        let directory = Directory::make();
        let token_file = directory.write("token", TOKEN);
        let (api, ops) = (free_address(), free_address());
        let mut command = clean(BINARY, directory.path());
        command
            .args(["serve", "--listen", &api, "--ops-listen", &ops, "--kubernetes=off", "--token-file"])
            .arg(token_file)
            .args(flags)
            .env("AWS_ENDPOINT_URL", format!("http://{}", aws.address))
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIABENCHBENCHBENCH0")
            .env("AWS_SECRET_ACCESS_KEY", "no-secret-at-all")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        let process = Process::start("plugin", &mut command, &directory);
        Self { api, ops, process, _directory: directory }
    }

    /// Waits until a request to the API is answered by 200.
    pub async fn answers(&mut self, request: &[u8], pause: Duration) {
        self.process.answers(&self.api, request, pause).await;
    }

    /// The sum of a metric over all its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = wire::fetch(&self.ops, &wire::get("/metrics")).await.expect("the metrics can be had");
        let text = String::from_utf8_lossy(&text).into_owned();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("awf_aws_")?.strip_prefix(name)?;
            let value = rest.strip_prefix('{').map_or(Some(rest), |labels| Some(labels.split_once('}')?.1))?;
            value.strip_prefix(' ')?.trim().parse::<f64>().ok()
        });
        values.sum()
    }

    /// Executions that it has started.
    pub async fn started(&self) -> f64 {
        self.metric("executions_started_total").await
    }

    /// Executions whose end it knows.
    pub async fn finished(&self) -> f64 {
        self.metric("executions_finished_total").await
    }
}

/// The requests of these tasks as the agent's HTTP client writes them.
pub fn requests(tasks: &[Value]) -> Rc<[Vec<u8>]> {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("User-Agent", "Go-http-client/1.1"),
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
        ("Accept-Encoding", "gzip"),
    ];
    tasks.iter().map(|task| wire::post("/api/v1/template.execute", &headers, &task.to_string())).collect()
}
