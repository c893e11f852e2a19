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
///
/// Rounds up: a requeue of zero would be none, and the node would hang.
pub fn go_duration(d: Duration) -> String {
    let ms = d.as_nanos().div_ceil(1_000_000);
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

/// Reads a Go duration (`300ms`, `1.5h`, `2h45m`); no days, as in Go. `None` when it is not one, is negative, or is
/// longer than Go's 64 bits of nanoseconds (292 years).
pub fn parse_go_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, tail) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(scaled(number, scale)?)?;
        rest = tail;
    }
    i64::try_from(nanos).ok().map(|_| Duration::from_nanos(nanos))
}

/// A decimal number times `scale`, cut to a whole one as Go does; `1.` and `.5` are numbers, `.` is not.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.checked_mul(scale)? };
    // Digits behind the 18th are less than a nanosecond even of an hour.
    let mut below_one = 0_u128;
    let mut divisor = 1_u128;
    for digit in fraction.chars().take(18).filter_map(|c| c.to_digit(10)) {
        below_one = below_one * 10 + u128::from(digit);
        divisor *= 10;
    }
    whole.checked_add(u64::try_from(below_one * u128::from(scale) / divisor).ok()?)
}
