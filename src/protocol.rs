//! Argo's wire types: the only place that knows the JSON of `template.execute`.
//!
//! Source: argo-workflows v4.1.2, pkg/plugins/executor/template_executor_plugin.go; unchanged since v3.4.7.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key of `template.plugin` that is ours.
pub const PLUGIN_KEY: &str = "awf-aws-plugin";

/// The body of a `template.execute` request. Unknown fields are ignored: Argo adds some with every version.
#[derive(Clone, Debug, Deserialize)]
pub struct ExecuteTemplateArgs {
    pub workflow: Workflow,
    /// The template after substitution, kept as JSON because two nodes are told apart by it.
    pub template: Map<String, Value>,
}

/// The only part of the Workflow that the agent sends.
#[derive(Clone, Debug, Deserialize)]
pub struct Workflow {
    pub metadata: Metadata,
}

/// Metadata of the Workflow; `uid` is absent before Argo v3.4.2.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub uid: String,
}

/// The answer. `node: None` is "not mine"; a poll without news is `Some(NodeResult::default())`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecuteTemplateReply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeResult>,
    /// A Go duration; present exactly with non-terminal answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeue: Option<String>,
}

impl ExecuteTemplateReply {
    /// `{}`: another plugin's template. Anything else would break that plugin's task.
    pub fn not_mine() -> Self {
        Self::default()
    }

    /// The free poll: Argo asks again and writes nothing down.
    pub fn free_poll(requeue: Duration) -> Self {
        Self { node: Some(NodeResult::default()), requeue: Some(go_duration(requeue)) }
    }

    /// A final answer.
    pub fn end(phase: Phase, message: impl Into<String>, outputs: Option<Outputs>) -> Self {
        Self { node: Some(NodeResult { phase: Some(phase), message: message.into(), outputs }), requeue: None }
    }
}

/// Argo's NodeResult, less `progress`, which the controller drops.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
}

/// The node phases we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Error,
}

impl Phase {
    /// Whether Argo takes the node as ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Error)
    }
}

/// Outputs of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outputs {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// A string that holds valid JSON: Argo parses it for loops (argo-workflows#14439).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// An output parameter; the value is always a string, anything else Argo turns into `""`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    pub name: String,
    pub value: String,
}

/// Writes a duration as Go reads it (`time.ParseDuration`): whole milliseconds, seconds where it is even.
pub fn go_duration(d: Duration) -> String {
    let ms = d.as_millis();
    if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

/// Reads a Go duration (`300ms`, `1.5h`, `2h45m`); no days, as in Go. `None` when it is not one or is negative.
pub fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim().strip_prefix('+').unwrap_or(text.trim());
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64((seconds * 1e9).round() / 1e9).ok()
}
