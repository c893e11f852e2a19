//! Argo's agent, played by its real rules: the client that every plugin has to live with.
//!
//! What it takes from Argo Workflows v4.1.2 (workflow/executor/agent.go, workflow/executor/plugins/rpc/plugin.go and
//! workflow/util/plugin/plugin.go; unchanged since v3.4.7): 16 workers, a requeue timer for each node, one HTTP client with a
//! 30 s limit, five tries with doubling waits after 503 and lost connections, a worker held through all of them, 404 as a
//! goodbye for good, everything else as the node's failure, results merged field by field.
//!
//! What it leaves out: the batches of ten seconds in which results reach the controller, and the jitter of the waits.
//! What it adds: it names every rule of Argo's that a reply breaks ([`broken_rules`]), where Argo would just misbehave.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::protocol::{ExecuteTemplateReply, Outputs, Phase, parse_go_duration};

/// How an agent behaves; the defaults are Argo's.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Where the plugin listens, such as `http://127.0.0.1:7492`.
    pub base_url: String,
    /// The token of the file that Argo's init container writes.
    pub token: String,
    /// Calls in flight at once (`ARGO_AGENT_TASK_WORKERS`).
    pub workers: usize,
    /// For one whole exchange.
    pub client_timeout: Duration,
    /// How often a request is made before its node ends `Failed`.
    pub tries: u32,
    /// Before the second try; doubles with each.
    pub first_wait: Duration,
}

impl AgentSettings {
    /// Argo's defaults.
    pub fn new(base_url: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            token: token.into(),
            workers: 16,
            client_timeout: Duration::from_secs(30),
            tries: 5,
            first_wait: Duration::from_secs(1),
        }
    }
}

/// What the controller would know of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    pub phase: Phase,
    pub message: String,
    pub outputs: Outputs,
}

impl Default for NodeStatus {
    fn default() -> Self {
        Self { phase: Phase::Pending, message: String::new(), outputs: Outputs::default() }
    }
}

impl NodeStatus {
    /// The value of an output parameter.
    pub fn output(&self, name: &str) -> Option<&str> {
        self.outputs.parameters.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }

    fn ended(mut self, phase: Phase, message: impl Into<String>) -> Self {
        self.phase = phase;
        self.message = message.into();
        self
    }
}

/// What an agent has seen of its plugin.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Exchanges, repeated ones included.
    pub calls: u64,
    /// Exchanges that were repeated.
    pub repeats: u64,
    /// Replies that only asked for another call; they cost Argo nothing.
    pub free_polls: u64,
    /// Replies that Argo writes down.
    pub reports: u64,
    /// The longest exchange.
    pub slowest: Duration,
    /// `node: rule`, in the order seen.
    pub broken_rules: Vec<String>,
}

/// One agent: lives as long as its workflow's pod. Needs an actix (single-threaded) runtime around it.
pub struct Agent {
    settings: AgentSettings,
    http: awc::Client,
    workers: Semaphore,
    /// A 404 has been seen: this plugin is not asked again.
    gone: Cell<bool>,
    tally: RefCell<Tally>,
}

/// What one exchange came to.
enum Exchange {
    Reply(Value),
    /// Worth another try; the text is what the node shows if there is none left.
    Transient(String),
    Fatal(String),
}

impl Agent {
    /// An agent that has seen nothing yet.
    pub fn new(settings: AgentSettings) -> Self {
        let http = awc::Client::builder().timeout(settings.client_timeout).disable_redirects().finish();
        let workers = Semaphore::new(settings.workers);
        Self { settings, http, workers, gone: Cell::new(false), tally: RefCell::default() }
    }

    /// What it has seen so far.
    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Carries out one task until its node has ended: asks, waits for the requeue, asks again. `report` hears of every
    /// result that Argo would write down. `node` is only for [`Tally::broken_rules`]; the plugin does not learn it.
    pub async fn execute(&self, node: &str, task: &Value, mut report: impl FnMut(&NodeStatus)) -> NodeStatus {
        let body = task.to_string();
        let mut status = NodeStatus::default();
        loop {
            let reply = match self.ask(&body).await {
                Ok(reply) => reply,
                Err(message) => return status.ended(Phase::Failed, message),
            };
            self.tally.borrow_mut().broken_rules.extend(broken_rules(&reply).map(|rule| format!("{node}: {rule}")));
            let reply: ExecuteTemplateReply = match serde_json::from_value(reply) {
                Ok(reply) => reply,
                Err(error) => return status.ended(Phase::Failed, error.to_string()),
            };
            let Some(result) = reply.node else {
                return status.ended(Phase::Failed, "no plugin executed the template");
            };
            // A merge patch: what a reply leaves out stays as it was.
            if let Some(phase) = result.phase {
                status.phase = phase;
                if !result.message.is_empty() {
                    status.message = result.message;
                }
                if let Some(outputs) = result.outputs {
                    status.outputs = outputs;
                }
                self.tally.borrow_mut().reports += 1;
                report(&status);
                if phase.is_terminal() {
                    return status;
                }
            } else {
                self.tally.borrow_mut().free_polls += 1;
            }
            match reply.requeue.as_deref().and_then(parse_go_duration) {
                Some(wait) if !wait.is_zero() => sleep(wait).await,
                _ => return status.ended(Phase::Error, "not ended, and the plugin asked for no further call"),
            }
        }
    }

    /// Asks once as far as the plugin is concerned, which can be five exchanges. Holds a worker all the while.
    async fn ask(&self, body: &str) -> Result<Value, String> {
        let Ok(_worker) = self.workers.acquire().await else {
            return Err("the agent has ended".to_owned());
        };
        let mut wait = self.settings.first_wait;
        let mut last = String::new();
        for nth in 1..=self.settings.tries {
            if self.gone.get() {
                return Ok(Value::Object(serde_json::Map::new()));
            }
            if nth > 1 {
                sleep(wait).await;
                wait *= 2;
                self.tally.borrow_mut().repeats += 1;
            }
            let began = Instant::now();
            let exchange = timeout(self.settings.client_timeout, self.exchange(body)).await;
            {
                let mut tally = self.tally.borrow_mut();
                tally.calls += 1;
                tally.slowest = tally.slowest.max(began.elapsed());
            }
            last = match exchange {
                Ok(Exchange::Reply(reply)) => return Ok(reply),
                Ok(Exchange::Fatal(message)) => return Err(message),
                Ok(Exchange::Transient(message)) => message,
                Err(_) => "context deadline exceeded while awaiting headers".to_owned(),
            };
        }
        Err(last)
    }

    async fn exchange(&self, body: &str) -> Exchange {
        let url = format!("{}/api/v1/template.execute", self.settings.base_url);
        let request = self
            .http
            .post(url)
            .insert_header(("User-Agent", "Go-http-client/1.1"))
            .insert_header(("Content-Type", "application/json"))
            .insert_header(("Authorization", format!("Bearer {}", self.settings.token)));
        let mut response = match request.send_body(body.to_owned()).await {
            Ok(response) => response,
            Err(error) => return Exchange::Transient(error.to_string()),
        };
        let status = response.status();
        let bytes = match response.body().await {
            Ok(bytes) => bytes,
            Err(error) => return Exchange::Transient(error.to_string()),
        };
        let text = String::from_utf8_lossy(&bytes);
        match status.as_u16() {
            200 if text.trim().is_empty() => Exchange::Fatal("EOF".to_owned()),
            200 => match serde_json::from_str(&text) {
                Ok(reply) => Exchange::Reply(reply),
                Err(error) if error.is_eof() => Exchange::Transient("unexpected EOF".to_owned()),
                Err(error) => Exchange::Fatal(error.to_string()),
            },
            404 => {
                self.gone.set(true);
                Exchange::Reply(Value::Object(serde_json::Map::new()))
            }
            503 => Exchange::Transient(text.into_owned()),
            _ if looks_transient(&text) => Exchange::Transient(text.into_owned()),
            _ => Exchange::Fatal(format!("{status}: {text}")),
        }
    }
}

/// Argo reads an error's text for signs of a lost connection, also in a body.
fn looks_transient(text: &str) -> bool {
    const SIGNS: [&str; 6] = [
        "connection refused",
        "connection reset by peer",
        "connection timed out",
        "i/o timeout",
        "invalid connection",
        "TLS handshake timeout",
    ];
    SIGNS.iter().any(|sign| text.contains(sign))
}

/// Which of Argo's rules a reply breaks; each of them costs somebody a node. The limits of sizes are this project's own: what
/// one batch of the agent, which carries many nodes, can bear.
pub fn broken_rules(reply: &Value) -> impl Iterator<Item = String> + use<> {
    let mut broken: Vec<String> = Vec::new();
    let requeue = reply.get("requeue").filter(|r| !r.is_null());
    if let Some(requeue) = requeue
        && requeue.as_str().and_then(parse_go_duration).is_none_or(|d| d.is_zero())
    {
        broken.push(format!("requeue {requeue} is not a Go duration above zero"));
    }
    match reply.get("node").filter(|n| !n.is_null()) {
        None if requeue.is_some() => broken.push("a requeue without a node is taken for \"not mine\"".to_owned()),
        None => {}
        Some(node) => node_rules(node, requeue.is_some(), &mut broken),
    }
    broken.into_iter()
}

fn node_rules(node: &Value, requeue: bool, broken: &mut Vec<String>) {
    let phase = node.get("phase").and_then(Value::as_str).unwrap_or_default();
    let message = node.get("message").and_then(Value::as_str).unwrap_or_default();
    match phase {
        "Succeeded" | "Failed" | "Error" if requeue => {
            broken.push(format!("{phase} with a requeue would be asked again and overwritten"));
        }
        "Succeeded" | "Failed" | "Error" => {}
        "" | "Pending" | "Running" if requeue => {}
        "" | "Pending" | "Running" => broken.push(format!("{phase:?} without a requeue hangs for ever")),
        other => broken.push(format!("phase {other} never ends")),
    }
    if !phase.is_empty() && message.is_empty() {
        broken.push("a phase without a message leaves the previous message standing".to_owned());
    }
    if message.len() > 250 {
        broken.push(format!("a message of {} bytes", message.len()));
    }
    let Some(outputs) = node.get("outputs").filter(|o| !o.is_null()) else { return };
    if outputs.to_string().len() > 8 * 1024 {
        broken.push("outputs above 8 KiB".to_owned());
    }
    let mut names = Vec::new();
    for parameter in outputs.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(allowed) {
            broken.push(format!("output name {name:?} makes Kubernetes refuse the whole batch"));
        }
        if names.contains(&name) {
            broken.push(format!("output {name} given twice"));
        }
        names.push(name);
        if !parameter.get("value").is_some_and(Value::is_string) {
            broken.push(format!("the value of output {name} is not a string"));
        }
    }
    match outputs.get("result") {
        None | Some(Value::Null) => {}
        Some(Value::String(result)) => {
            if serde_json::from_str::<Value>(result).is_err() {
                broken.push("outputs.result is not JSON: loops over the node fail".to_owned());
            }
            if result.len() > 1024 {
                broken.push(format!("outputs.result of {} bytes", result.len()));
            }
        }
        Some(_) => broken.push("outputs.result is not a string: the node fails".to_owned()),
    }
}
