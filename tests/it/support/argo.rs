//! The plugin as Argo's agent sees it, and the requests that the agent sends.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use awf_aws::{demo::agent::broken_rules, protocol::parse_go_duration};

use super::process::{LOOK, PATIENCE, Process, TempDir, binary, client, free_port, post};

/// What the token file holds.
pub const TOKEN: &str = "a-token-that-only-the-agent-knows";

/// The seed's request, exactly as the project was given it.
pub const SEED: &str = r#"{
  "workflow": {
    "metadata": {
      "name": "sm-pipelines-r58tg",
      "namespace": "argo",
      "uid": "27c01e7c-9d93-450f-a001-c64d649aac99"
    }
  },
  "template": {
    "name": "validate_pipeline",
    "inputs": {},
    "outputs": {},
    "metadata": {},
    "plugin": {
      "awf-aws-plugin": {
        "account_id": "100000000002",
        "action": "validate",
        "pipeline_name": "MyPipeline",
        "region_name": "us-west-2"
      }
    }
  }
}"#;

/// A request like the seed's with other plugin fields: those given replace the seed's, `null` takes one away.
pub fn request(fields: Value) -> Value {
    let mut body: Value = serde_json::from_str(SEED).expect("the seed is JSON");
    let input = body["template"]["plugin"]["awf-aws-plugin"].as_object_mut().expect("the seed has our key");
    for (name, value) in fields.as_object().expect("fields are a map") {
        if value.is_null() {
            input.remove(name);
        } else {
            input.insert(name.clone(), value.clone());
        }
    }
    body
}

/// An `execute` request of one node, with further fields.
pub fn execute(node: &str, fields: Value) -> Value {
    let mut all = json!({"action": "execute", "execution_key": node});
    for (name, value) in fields.as_object().expect("fields are a map") {
        all[name] = value.clone();
    }
    let mut body = request(all);
    body["template"]["name"] = json!("execute_pipeline");
    body
}

/// Value of an output parameter; empty when there is none.
pub fn output<'a>(reply: &'a Value, name: &str) -> &'a str {
    let parameters = reply["node"]["outputs"]["parameters"].as_array();
    parameters.into_iter().flatten().find(|p| p["name"] == name).and_then(|p| p["value"].as_str()).unwrap_or_default()
}

/// `awf-aws serve` as a child process.
pub struct Plugin {
    pub process: Process,
    api: String,
    ops: String,
    how: How,
}

/// All that is needed to start the same plugin again.
struct How {
    endpoint: String,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    token_file: PathBuf,
    directory: TempDir,
}

impl Plugin {
    /// Starts it against an AWS endpoint and waits until it answers. It polls fast, so that tests need not wait.
    pub async fn start(endpoint: &str, flags: &[&str]) -> Self {
        let keys = [("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing")];
        Self::start_with(endpoint, flags, &keys).await
    }

    /// The same with an environment of the test's own.
    pub async fn start_with(endpoint: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = TempDir::new();
        let token_file = directory.path().join("token");
        fs::write(&token_file, TOKEN).expect("the token file can be written");
        let mut all = vec!["--poll-min=100ms".to_owned(), "--poll-max=500ms".to_owned()];
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let how = How { endpoint: endpoint.to_owned(), flags: all, environment, token_file, directory };
        let (process, api, ops) = how.start().await;
        Self { process, api, ops, how }
    }

    /// `http://127.0.0.1:<port>` of the API; another one after a restart.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// The port of the operators' door.
    pub fn ops_port(&self) -> u16 {
        self.ops.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Host and port of its metrics and probes.
    pub fn ops_address(&self) -> &str {
        self.ops.trim_start_matches("http://")
    }

    /// Kills it with SIGKILL and starts it anew: all that it knew is lost.
    pub async fn kill_and_restart(&mut self) {
        self.process.kill();
        self.restart().await;
    }

    /// Starts it anew after its end.
    pub async fn restart(&mut self) {
        (self.process, self.api, self.ops) = self.how.start().await;
    }

    /// Starts another one in its place, which is asked from now on. Gives the old one, whatever it does.
    pub async fn move_to_another_pod(&mut self) -> Process {
        let (process, api, ops) = self.how.start().await;
        (self.api, self.ops) = (api, ops);
        std::mem::replace(&mut self.process, process)
    }

    /// One request as the agent sends it; status and body.
    pub async fn post(&self, body: &Value) -> (u16, Value) {
        self.post_bytes(body.to_string().as_bytes()).await
    }

    /// The same with a body that is sent as it is.
    pub async fn post_bytes(&self, body: &[u8]) -> (u16, Value) {
        let request = client(Duration::from_secs(30))
            .post(format!("{}/api/v1/template.execute", self.api))
            .insert_header(("Authorization", format!("Bearer {TOKEN}")))
            .insert_header(("Content-Type", "application/json"));
        post(request, body).await
    }

    /// One request that must be answered 200, within the reply time-out and what a busy machine adds to it.
    pub async fn ask(&self, body: &Value) -> Value {
        let asked = Instant::now();
        let (status, reply) = self.post(body).await;
        let took = asked.elapsed();
        assert_eq!(status, 200, "{reply}");
        assert!(took < Duration::from_secs(3), "answered after {took:?}: {reply}");
        check_form(&reply);
        reply
    }

    /// Asks again and again until the node has ended, waiting as the plugin says but no longer than 200 ms.
    pub async fn until_ended(&self, body: &Value) -> Value {
        self.until(body, "the node has ended", |reply| reply.get("requeue").is_none()).await
    }

    /// Asks again and again until the answer is as wanted.
    pub async fn until(&self, body: &Value, wanted: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.ask(body).await;
            if is(&reply) {
                return reply;
            }
            assert!(Instant::now() < deadline, "not in time: {wanted}; last answer {reply}");
            let requeue = reply["requeue"].as_str().and_then(parse_go_duration).unwrap_or_default();
            sleep(requeue.clamp(LOOK, Duration::from_millis(200))).await;
        }
    }

    /// Asks until the execution's ARN is known and the node runs; gives the ARN.
    pub async fn until_running(&self, body: &Value) -> String {
        let is = |reply: &Value| !output(reply, "execution-arn").is_empty();
        let reply = self.until(body, "the node shows its execution", is).await;
        assert_eq!(reply["node"]["phase"], "Running", "{reply}");
        output(&reply, "execution-arn").to_owned()
    }

    /// `GET` on the ops listener; status and text.
    pub async fn ops(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.ops);
        let mut response = client(PATIENCE).get(&url).send().await.unwrap_or_else(|e| panic!("GET {url}: {e}"));
        let body = response.body().limit(4 << 20).await.unwrap_or_else(|e| panic!("GET {url}: {e}"));
        (response.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
    }
}

impl How {
    /// Another process may take a free port before the child does: then on to the next ones.
    async fn start(&self) -> (Process, String, String) {
        for _ in 0..5 {
            let (api, ops) = (free_port(), free_port());
            let mut command = binary("serve", self.directory.path());
            command
                .args(["--listen", &format!("127.0.0.1:{api}"), "--ops-listen", &format!("127.0.0.1:{ops}")])
                .arg("--token-file")
                .arg(&self.token_file)
                .args(&self.flags)
                .env("AWS_ENDPOINT_URL", &self.endpoint)
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .env("AWS_REGION", "us-west-2")
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .env("RUST_LOG", "info,awf_aws=debug");
            let mut process = Process::start("awf-aws serve", &mut command);
            let (api, ops) = (format!("http://127.0.0.1:{api}"), format!("http://127.0.0.1:{ops}"));
            if process.answers(&format!("{api}/healthz")).await && process.answers(&format!("{ops}/healthz")).await {
                return (process, api, ops);
            }
            eprintln!("awf-aws serve ended before it answered:\n{}", process.log());
        }
        panic!("awf-aws serve does not start");
    }
}

/// What holds for every answer to a task of ours: Argo's rules, and that a free poll says nothing else.
fn check_form(reply: &Value) {
    assert_eq!(broken_rules(reply).collect::<Vec<_>>(), Vec::<String>::new(), "{reply}");
    assert!(reply["node"].is_object(), "taken for \"not mine\": {reply}");
    assert_eq!(
        reply["node"]["phase"].is_null(),
        reply["node"]["message"].is_null(),
        "a phase and its message: {reply}"
    );
}
