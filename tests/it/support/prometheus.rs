//! Debian's Prometheus, Alertmanager and their tools, as child processes.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::process::{LOOK, PATIENCE, Process, TempDir, client, free_port, post};

/// Whether the programs are there. Without them a test says what to install, and fails when `CI=true`.
pub fn installed() -> bool {
    let missing: Vec<&str> = ["prometheus", "promtool", "prometheus-alertmanager", "amtool"]
        .into_iter()
        .filter(|program| Command::new(program).arg("--version").output().is_err())
        .collect();
    if missing.is_empty() {
        return true;
    }
    let what = format!("{missing:?} not found: apt-get install prometheus prometheus-alertmanager");
    assert!(!env::var("CI").is_ok_and(|ci| ci == "true"), "{what}");
    eprintln!("\n!!! SKIPPED, nothing was tested here: {what}\n");
    false
}

/// Runs a tool of Prometheus' to its end in a directory.
pub fn run(program: &str, arguments: &[&str], directory: &Path) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|e| panic!("{program} does not start: {e}"))
}

/// What a tool printed.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A server of the Prometheus family on a free port.
pub struct Server {
    pub url: String,
    _process: Process,
    _directory: TempDir,
}

impl Server {
    /// Starts it with a configuration, and waits until it is ready.
    pub async fn start(program: &'static str, configuration: &Value, flags: &[&str]) -> Self {
        for _ in 0..5 {
            let directory = TempDir::new();
            let file = directory.path().join("configuration.json");
            // JSON is YAML.
            fs::write(&file, configuration.to_string()).expect("the configuration can be written");
            let address = format!("127.0.0.1:{}", free_port());
            let mut command = Command::new(program);
            command
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--web.listen-address={address}"))
                .arg(format!(
                    "--storage.{}={}",
                    if program == "prometheus" { "tsdb.path" } else { "path" },
                    directory.path().join("data").display()
                ))
                .args(flags)
                .env_remove("http_proxy")
                .env_remove("HTTP_PROXY");
            let mut process = Process::start(program, &mut command);
            let url = format!("http://{address}");
            if process.answers(&format!("{url}/-/ready")).await {
                let server = Self { url, _process: process, _directory: directory };
                server.until_ready().await;
                return server;
            }
            eprintln!("{program} ended before it answered:\n{}", process.log());
        }
        panic!("{program} does not start");
    }

    async fn until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.status("/-/ready").await != 200 {
            assert!(Instant::now() < deadline, "{} is not ready", self.url);
            sleep(LOOK).await;
        }
    }

    async fn status(&self, path: &str) -> u16 {
        let answer = client(PATIENCE).get(format!("{}{path}", self.url)).send().await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// `GET` of its API; the JSON body.
    pub async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.url);
        let mut answer = client(PATIENCE).get(&url).send().await.unwrap_or_else(|e| panic!("GET {url}: {e}"));
        answer.json().limit(16 << 20).await.unwrap_or_else(|e| panic!("GET {url}: {e}"))
    }

    /// A call of Prometheus' query API; the data, or the error's text.
    pub async fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let form: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let request = client(Duration::from_secs(30))
            .post(format!("{}/api/v1/{endpoint}", self.url))
            .insert_header(("Content-Type", "application/x-www-form-urlencoded"));
        let (_, mut body) = post(request, form.join("&").as_bytes()).await;
        match body["status"].as_str() {
            Some("success") => Ok(body["data"].take()),
            _ => Err(body["error"].to_string()),
        }
    }

    /// The samples of an instant query: labels and value.
    pub async fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let data = self.ask("query", &[("query", expression)]).await.unwrap_or_else(|e| panic!("{expression}: {e}"));
        let samples = data["result"].as_array().cloned().unwrap_or_default();
        samples
            .into_iter()
            .map(|sample| (sample["metric"].clone(), sample["value"][1].as_str().unwrap_or("NaN").parse().unwrap()))
            .collect()
    }

    /// Waits until a query has as many samples as wanted.
    pub async fn until(&self, expression: &str, samples: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.query(expression).await;
            if found.len() == samples {
                return;
            }
            assert!(Instant::now() < deadline, "{expression} has {found:?}, not {samples} samples");
            sleep(4 * LOOK).await;
        }
    }
}

/// A text as a part of a form.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
