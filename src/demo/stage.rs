//! What the demo plays on: the simulator and the plugin as two processes of this same binary, on free loopback ports, and
//! the pipeline that is run.

use std::{
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The paths that the demo needs; only `config` reads the environment.
#[derive(Clone, Debug)]
pub struct Paths {
    /// This binary.
    pub executable: PathBuf,
    /// Where a directory of its own can be made.
    pub temporary_directory: PathBuf,
}

/// The demo's account; neither it nor anything in it exists.
pub const ACCOUNT: &str = "100000000002";
/// The demo's region.
pub const REGION: &str = "us-west-2";
/// The name of the demo's pipeline.
pub const PIPELINE: &str = "ChurnModel";

/// The pipeline's steps, in order, with their SageMaker types.
pub const STEPS: [(&str, &str); 4] = [
    ("PrepareData", "Processing"),
    ("TrainModel", "Training"),
    ("EvaluateModel", "Processing"),
    ("RegisterModel", "RegisterModel"),
];

/// A process may take this long to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the stage cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("cannot make {path}: {source}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("no free loopback port: {0}")]
    Port(io::Error),
    #[error("cannot start {what}: {source}")]
    Start { what: &'static str, source: io::Error },
    #[error("{what} does not answer; its log:\n{log}")]
    Silent { what: &'static str, log: String },
    #[error("the simulator refused {operation}: {answer}")]
    Refused { operation: String, answer: String },
}

/// The two processes; they end with this value.
pub struct Stage {
    /// Such as `http://127.0.0.1:36591`; the simulator's likewise.
    pub plugin_url: String,
    pub simulator_url: String,
    /// The token that the plugin asks its agent for.
    pub token: String,
    /// Dropped first: the plugin before the simulator it speaks to, and the directory after both.
    processes: [Process; 2],
    _directory: Directory,
}

impl Stage {
    /// Starts simulator and plugin and waits until both answer. `scenario` is the simulator's.
    pub async fn set(paths: &Paths, token: &str, scenario: &Value) -> Result<Self, StageError> {
        let directory = Directory::make(&paths.temporary_directory, token)?;
        let token_file = directory.write("token", token)?;
        let scenario_file = directory.write("scenario.json", &scenario.to_string())?;
        let [simulator, api, ops] = free_ports()?.map(|port| format!("127.0.0.1:{port}"));
        let simulator_url = format!("http://{simulator}");

        let mut command = clean_command(&paths.executable, directory.path());
        command.args(["simulator", "--listen", &simulator, "--scenario"]).arg(scenario_file);
        let mut simulating = Process::start("the simulator", &mut command, directory.path())?;
        simulating.answers(&simulator_url).await?;

        let mut command = clean_command(&paths.executable, directory.path());
        command
            .args(["serve", "--listen", &api, "--ops-listen", &ops, "--kubernetes=off", "--token-file"])
            .arg(token_file)
            // The demo's executions last seconds, not hours.
            .args(["--poll-min", "500ms", "--poll-max", "2s"])
            .env("AWS_ENDPOINT_URL", &simulator_url)
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIADEMODEMODEMODEMO")
            .env("AWS_SECRET_ACCESS_KEY", "no-secret-at-all")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        let mut serving = Process::start("the plugin", &mut command, directory.path())?;
        let plugin_url = format!("http://{api}");
        serving.answers(&format!("{plugin_url}/healthz")).await?;

        Ok(Self {
            plugin_url,
            simulator_url,
            token: token.to_owned(),
            processes: [serving, simulating],
            _directory: directory,
        })
    }

    /// One SageMaker call as any AWS client sends it; the simulator does not look at the signature.
    pub async fn sagemaker(&self, operation: &str, input: &Value) -> Result<Value, StageError> {
        let credential = format!("AKIADEMODEMODEMODEMO/20260101/{REGION}/sagemaker/aws4_request");
        let request = awc::Client::new()
            .post(&self.simulator_url)
            .insert_header(("X-Amz-Target", format!("SageMaker.{operation}")))
            .insert_header(("Content-Type", "application/x-amz-json-1.1"))
            .insert_header((
                "Authorization",
                format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=none"),
            ));
        exchange(operation, request, input).await
    }

    /// Makes the demo's pipeline.
    pub async fn create_pipeline(&self) -> Result<(), StageError> {
        let input = json!({
            "PipelineName": PIPELINE,
            "PipelineDefinition": definition().to_string(),
            "ClientRequestToken": format!("demo-{}", self.token),
            "RoleArn": format!("arn:aws:iam::{ACCOUNT}:role/pipelines"),
        });
        self.sagemaker("CreatePipeline", &input).await.map(drop)
    }

    /// The last lines of both processes' logs.
    pub fn logs(&self) -> String {
        self.processes.iter().map(|p| format!("--- {} ---\n{}\n", p.what, last_lines(&p.log))).collect()
    }
}

/// A pipeline definition as the SageMaker Python SDK writes it, shortened to what is read of it.
fn definition() -> Value {
    let mut before: Option<&str> = None;
    let mut steps = Vec::new();
    for (name, kind) in STEPS {
        let after: Vec<&str> = before.into_iter().collect();
        steps.push(json!({"Name": name, "Type": kind, "Arguments": {}, "DependsOn": after}));
        before = Some(name);
    }
    json!({
        "Version": "2020-12-01",
        "Parameters": [{"Name": "InputDataUrl", "Type": "String", "DefaultValue": "s3://demo/churn.csv"}],
        "Steps": steps,
    })
}

/// Sends JSON, takes JSON; anything but 200 is a refusal.
pub async fn exchange(operation: &str, request: awc::ClientRequest, input: &Value) -> Result<Value, StageError> {
    let refused = |answer: String| StageError::Refused { operation: operation.to_owned(), answer };
    let mut response = request.send_body(input.to_string()).await.map_err(|e| refused(e.to_string()))?;
    let body = response.body().await.map_err(|e| refused(e.to_string()))?;
    if !response.status().is_success() {
        return Err(refused(format!("{} {}", response.status(), String::from_utf8_lossy(&body))));
    }
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}

/// Nothing is inherited: no credentials, no profile, no proxy, no endpoint of the user's can get into the demo.
fn clean_command(executable: &Path, home: &Path) -> Command {
    let mut command = Command::new(executable);
    command.env_clear().env("HOME", home).env("NO_PROXY", "127.0.0.1");
    command
}

fn free_ports() -> Result<[u16; 3], StageError> {
    // All are held until all are known, else one could be given twice.
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(StageError::Port);
    let held = [bind()?, bind()?, bind()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr().map_err(StageError::Port)?.port();
    }
    Ok(ports)
}

/// A child process that is killed with this value; its log is a file.
struct Process {
    what: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(what: &'static str, command: &mut Command, directory: &Path) -> Result<Self, StageError> {
        let failed = |source| StageError::Start { what, source };
        let log = directory.join(format!("{}.log", what.replace(' ', "-")));
        let file = fs::File::create(&log).map_err(failed)?;
        let output = file.try_clone().map_err(failed)?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(file).spawn().map_err(failed)?;
        Ok(Self { what, child, log })
    }

    /// Waits until a GET is answered, with whatever status.
    async fn answers(&mut self, url: &str) -> Result<(), StageError> {
        let began = Instant::now();
        let client = awc::Client::builder().timeout(Duration::from_secs(2)).finish();
        while client.get(url).send().await.is_err() {
            if began.elapsed() > PATIENCE || !matches!(self.child.try_wait(), Ok(None)) {
                return Err(StageError::Silent { what: self.what, log: last_lines(&self.log) });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell either way.
        self.child.kill().and_then(|()| self.child.wait()).map(drop).unwrap_or_default();
    }
}

fn last_lines(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// A directory that is removed with this value.
struct Directory(PathBuf);

impl Directory {
    fn make(parent: &Path, token: &str) -> Result<Self, StageError> {
        let path = parent.join(format!("awf-aws-demo-{token}"));
        fs::create_dir_all(&path).map_err(|source| StageError::Directory { path: path.clone(), source })?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, StageError> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|source| StageError::Directory { path: path.clone(), source })?;
        Ok(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory left in the temporary directory harms nobody.
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}
