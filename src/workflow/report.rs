//! What Argo hears: messages, outputs and requeue times within the limits that one batch of the agent can carry.

use std::{borrow::Cow, time::Duration};

use serde_json::json;

use crate::{
    links::execution_url,
    pipelines::{Status, Step},
    protocol::{Artifact, Outputs, Parameter},
};

use crate::text::json_len;
pub use crate::text::{fit, spoken};

use super::key::execution_id;

mod end;

pub use super::shown::Shown;
pub use end::{JobLog, Story, failed_step};

/// Longer messages bloat the Workflow object; Argo shows them in one line.
pub const MESSAGE_MAX: usize = 250;
/// All outputs of a node together.
pub const OUTPUTS_MAX: usize = 8 * 1024;
/// What a workflow's nodes say together before Argo has read it. A batch of the agent carries many nodes, and one that does
/// not fit into the task set, of which etcd stores 1.5 MiB at most, makes all of them `Error`.
pub const UNREAD_MAX: usize = 400 * 1024;
/// Enough for the ARN, the status, the failed step and the beginning of the reason.
pub const OUTPUTS_LEAST: usize = 448;
/// `outputs.result` and `failure-reason`.
const TEXT_MAX: usize = 1024;

/// A message within [`MESSAGE_MAX`]; never empty, since Argo keeps the previous message when one is.
pub fn message(text: &str) -> String {
    let text = fit(text.trim(), MESSAGE_MAX);
    if text.is_empty() { "no message".to_owned() } else { text }
}

/// How long until Argo asks again: grows with the node's age and the workflow's open nodes, ±20 % by `spread` (0 to 1).
pub fn requeue(age: Duration, open: usize, spread: f64) -> Duration {
    let by_age = age.as_secs_f64() / 10.0;
    let by_crowd = open as f64 / 20.0;
    let seconds = by_age.max(by_crowd).clamp(2.0, 60.0) * (0.8 + 0.4 * spread);
    Duration::from_millis((seconds * 1000.0) as u64)
}

/// How many bytes of outputs a node has when it is one of so many that Argo may not have read.
pub fn output_room(unread: usize) -> usize {
    (UNREAD_MAX / unread.max(1)).clamp(OUTPUTS_LEAST, OUTPUTS_MAX)
}

/// Collects output parameters within Argo's rules: names `^[-a-zA-Z0-9_]+$`, unique; all within so many bytes of JSON.
pub struct OutputList {
    room: usize,
    parameters: Vec<Parameter>,
    artifacts: Vec<Artifact>,
    bytes: usize,
    truncated: bool,
}

impl OutputList {
    /// Room kept for `outputs-truncated` and the JSON around the list.
    const RESERVE: usize = r#"{"parameters":[{"name":"outputs-truncated","value":"true"},],"result":}"#.len();

    /// A list of at most so many bytes.
    pub fn within(room: usize) -> Self {
        Self { room, parameters: Vec::new(), artifacts: Vec::new(), bytes: 0, truncated: false }
    }

    /// Adds a parameter; one for which no room is left is dropped and `outputs-truncated` says so.
    pub fn push(&mut self, name: &str, value: &str) {
        self.push_within(name, value, self.room);
    }

    /// Adds as much of a text as there is room for.
    fn push_text(&mut self, name: &str, text: &str) {
        let room = self.room.saturating_sub(self.bytes + Self::RESERVE + cost(name, "") + 1);
        // As JSON a text is longer: shorten it until it fits.
        let mut length = room.min(TEXT_MAX);
        while length > 0 && cost(name, &fit(text, length)) > cost(name, "") + room {
            length = length * 3 / 4;
        }
        let fitted = fit(text, length);
        self.truncated |= fitted.len() < text.len().min(TEXT_MAX);
        if !fitted.is_empty() {
            self.push(name, &fitted);
        }
    }

    /// Adds as many of the last lines as there is room for.
    fn push_lines(&mut self, name: &str, text: &str) {
        let room = self.room.saturating_sub(self.bytes + Self::RESERVE + 1);
        let mut rest = text;
        while cost(name, rest) > room {
            self.truncated = true;
            match rest.split_once('\n') {
                Some((_, later)) => rest = later,
                None => return self.push_text(name, rest),
            }
        }
        self.push(name, rest);
    }

    /// Adds a link, where there is one.
    fn push_link(&mut self, name: &str, url: Option<String>) {
        if let Some(url) = url {
            self.push(name, &url);
        }
    }

    /// Adds an artifact.
    fn push_artifact(&mut self, artifact: Artifact) {
        let first = if self.artifacts.is_empty() { r#""artifacts":[],"#.len() } else { 0 };
        let cost = json!(artifact).to_string().len() + 1 + first;
        if self.bytes + cost + Self::RESERVE > self.room {
            self.truncated = true;
            return;
        }
        self.bytes += cost;
        self.artifacts.push(artifact);
    }

    fn push_within(&mut self, name: &str, value: &str, room: usize) {
        let clean = parameter_name(name);
        let mut unique = clean.clone();
        let mut number = 2;
        while self.parameters.iter().any(|known| known.name == unique) {
            unique = format!("{clean}-{number}").into();
            number += 1;
        }
        let cost = cost(&unique, value) + 1;
        if self.bytes + cost + Self::RESERVE > room {
            self.truncated = true;
            return;
        }
        self.bytes += cost;
        self.parameters.push(Parameter { name: unique.into_owned(), value: value.to_owned() });
    }

    /// The finished outputs, with `result` (valid JSON, ≤ 1 KiB) when there is room for it.
    pub fn finish(mut self, result: Option<String>) -> Outputs {
        let result = result.filter(|text| {
            let fits = self.bytes + json_len(text) + Self::RESERVE <= self.room;
            self.truncated |= !fits;
            fits
        });
        if self.truncated {
            self.parameters.push(Parameter { name: "outputs-truncated".to_owned(), value: "true".to_owned() });
        }
        Outputs { parameters: self.parameters, artifacts: self.artifacts, result }
    }
}

/// A name with `-` for whatever Argo would refuse in it.
fn parameter_name(name: &str) -> Cow<'_, str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match name {
        "" => "output".into(),
        name if name.chars().all(allowed) => name.into(),
        name => name.replace(|c| !allowed(c), "-").into(),
    }
}

/// The bytes of a parameter as JSON. Without writing it: this is done for every answer of a running node.
fn cost(name: &str, value: &str) -> usize {
    r#"{"name":,"value":}"#.len() + json_len(name) + json_len(value)
}

/// The outputs of an execution that runs or whose steps are not known, within so many bytes.
pub fn running_outputs(arn: &str, status: &Status, room: usize) -> Outputs {
    let mut list = OutputList::within(room);
    list.push("execution-arn", arn);
    list.push("status", status.as_str());
    list.push("execution-id", execution_id(arn));
    list.push_link("console-url", execution_url(arn));
    list.finish(None)
}

/// A running execution's message.
pub fn running_message(status: &Status, steps: Option<&[Step]>) -> String {
    let Some(steps) = steps.filter(|s| !s.is_empty()) else { return status.as_str().to_owned() };
    let done = steps.iter().filter(|s| s.status == "Succeeded").count();
    let now: Vec<&str> = steps
        .iter()
        .filter(|s| matches!(s.status.as_str(), "Starting" | "Executing"))
        .map(|s| s.name.as_str())
        .collect();
    let mut text = format!("{}: {done} steps done", status.as_str());
    if !now.is_empty() {
        text.push_str(", running ");
        text.push_str(&now.join(", "));
    }
    text
}
