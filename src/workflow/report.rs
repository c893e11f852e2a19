//! What Argo hears: messages, outputs and requeue times within the limits that one batch of the agent can carry.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    pipelines::{Execution, Status, Step, Time},
    protocol::{Outputs, Parameter, Phase},
};

use crate::text::json_len;
pub use crate::text::{fit, spoken};

use super::key::execution_id;

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
    bytes: usize,
    truncated: bool,
}

impl OutputList {
    /// Room kept for `outputs-truncated` and the JSON around the list.
    const RESERVE: usize = r#"{"parameters":[{"name":"outputs-truncated","value":"true"},],"result":}"#.len();

    /// A list of at most so many bytes.
    pub fn within(room: usize) -> Self {
        Self { room, parameters: Vec::new(), bytes: 0, truncated: false }
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

    fn push_within(&mut self, name: &str, value: &str, room: usize) {
        let clean: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect();
        let clean = if clean.is_empty() { "output".to_owned() } else { clean };
        let mut unique = clean.clone();
        let mut number = 2;
        while self.parameters.iter().any(|known| known.name == unique) {
            unique = format!("{clean}-{number}");
            number += 1;
        }
        let cost = cost(&unique, value) + 1;
        if self.bytes + cost + Self::RESERVE > room {
            self.truncated = true;
            return;
        }
        self.bytes += cost;
        self.parameters.push(Parameter { name: unique, value: value.to_owned() });
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
        Outputs { parameters: self.parameters, result }
    }
}

/// The bytes of a parameter as JSON. Without writing it: this is done for every answer of a running node.
fn cost(name: &str, value: &str) -> usize {
    r#"{"name":,"value":}"#.len() + json_len(name) + json_len(value)
}

/// The outputs of an execution that runs or whose steps are not known.
pub fn running_outputs(arn: &str, status: &Status) -> Outputs {
    let mut list = OutputList::within(OUTPUTS_MAX);
    list.push("execution-arn", arn);
    list.push("status", status.as_str());
    list.push("execution-id", execution_id(arn));
    list.finish(None)
}

/// The step that explains a failure: the first that failed, else the first that was stopped.
pub fn failed_step(steps: &[Step]) -> Option<&Step> {
    let first = |word: &str| {
        steps.iter().filter(|s| s.status == word).min_by_key(|s| s.ended.or(s.started).unwrap_or(Time(i64::MAX)))
    };
    first("Failed").or_else(|| first("Stopped"))
}

/// The CloudWatch console page of a step's logs, where the job type has a well-known log group.
pub fn logs_url(step: &Step) -> Option<String> {
    let arn = step.job_arn.as_deref()?;
    let mut parts = arn.splitn(6, ':');
    let partition = parts.nth(1)?;
    let service = parts.next()?;
    let region = parts.next()?;
    let resource = parts.nth(1)?;
    let (group, stream) = match (service, resource.split_once('/').or_else(|| resource.split_once(':'))?) {
        ("sagemaker", ("training-job", name)) => ("/aws/sagemaker/TrainingJobs".to_owned(), Some(name)),
        ("sagemaker", ("processing-job", name)) => ("/aws/sagemaker/ProcessingJobs".to_owned(), Some(name)),
        ("sagemaker", ("transform-job", name)) => ("/aws/sagemaker/TransformJobs".to_owned(), Some(name)),
        ("lambda", ("function", name)) => (format!("/aws/lambda/{}", name.split(':').next().unwrap_or(name)), None),
        _ => return None,
    };
    let domain = match partition {
        "aws" => "console.aws.amazon.com",
        "aws-cn" => "console.amazonaws.cn",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        _ => return None,
    };
    let group = group.replace('/', "$252F");
    let filter = stream.map(|name| format!("$3FlogStreamNameFilter$3D{name}")).unwrap_or_default();
    Some(format!(
        "https://{region}.{domain}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{filter}"
    ))
}

/// The outputs of an ended execution within so many bytes: what must be known first, then what explains it, then what it
/// made.
pub fn end_outputs(execution: &Execution, steps: &[Step], room: usize) -> Outputs {
    let mut list = OutputList::within(room);
    list.push("execution-arn", &execution.arn);
    list.push("status", execution.status.as_str());
    let failed = (execution.status != Status::Succeeded).then(|| failed_step(steps)).flatten();
    if let Some(step) = failed {
        list.push("failed-step", &step.name);
    }
    if execution.status != Status::Succeeded
        && let Some(reason) = failed.and_then(|s| s.failure_reason.as_deref()).or(execution.failure_reason.as_deref())
    {
        list.push_text("failure-reason", reason);
    }
    list.push("execution-id", execution_id(&execution.arn));
    if let Some(url) = failed.and_then(logs_url) {
        list.push("logs-url", &url);
    }
    let mut ordered: Vec<&Step> = steps.iter().collect();
    ordered.sort_by_key(|s| s.started.unwrap_or(Time(i64::MAX)));
    if let Some(arn) =
        ordered.iter().rev().filter(|s| s.kind.as_deref() == Some("RegisterModel")).find_map(|s| s.job_arn.as_deref())
    {
        list.push("model-package-arn", arn);
    }
    let result = result_digest(execution, &ordered);
    // The digest is kept to 1 KiB; as a JSON string in JSON it can at most double.
    let room = room.saturating_sub(2 * TEXT_MAX);
    for step in &ordered {
        for (name, value) in &step.outputs {
            list.push_within(&format!("{}-{name}", step.name), value, room);
        }
    }
    list.finish(Some(result))
}

/// A JSON digest of the steps within 1 KiB: status, then as many steps as fit.
fn result_digest(execution: &Execution, steps: &[&Step]) -> String {
    let mut digest = Map::new();
    digest.insert("execution_id".to_owned(), json!(execution_id(&execution.arn)));
    digest.insert("status".to_owned(), json!(execution.status.as_str()));
    let mut listed: Vec<Value> = Vec::new();
    let render = |digest: &Map<String, Value>, listed: &[Value], left_out: usize| {
        let mut all = digest.clone();
        all.insert("steps".to_owned(), Value::Array(listed.to_vec()));
        if left_out > 0 {
            all.insert("steps_left_out".to_owned(), json!(left_out));
        }
        Value::Object(all).to_string()
    };
    for step in steps {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), json!(step.name));
        entry.insert("status".to_owned(), json!(step.status));
        if let (Some(start), Some(end)) = (step.started, step.ended) {
            entry.insert("seconds".to_owned(), json!(end.since(start).as_secs()));
        }
        listed.push(Value::Object(entry));
        if render(&digest, &listed, steps.len()).len() > TEXT_MAX {
            listed.pop();
            break;
        }
    }
    render(&digest, &listed, steps.len() - listed.len())
}

/// Phase and message of an ended execution; `timed_out` is the time-out it was stopped for.
pub fn end_of(
    execution: &Execution,
    steps: &[Step],
    accept_with_failures: bool,
    timed_out: Option<Duration>,
) -> (Phase, String) {
    let status = &execution.status;
    let phase = match status {
        Status::Succeeded => Phase::Succeeded,
        Status::CompletedWithFailures if accept_with_failures => Phase::Succeeded,
        _ => Phase::Failed,
    };
    if *status == Status::Succeeded {
        let steps = if steps.is_empty() { String::new() } else { format!(": {} steps", steps.len()) };
        return (phase, format!("Succeeded{steps}"));
    }
    let id = execution_id(&execution.arn);
    let head = match timed_out {
        Some(timeout) => format!("ran into its timeout of {} and was stopped", spoken(timeout)),
        None => status.as_str().to_owned(),
    };
    let text = match failed_step(steps) {
        Some(step) => {
            let reason =
                step.failure_reason.as_deref().or(execution.failure_reason.as_deref()).unwrap_or("no reason given");
            format!("{head} at step {} ({}): {reason}", step.name, step.status)
        }
        None => match &execution.failure_reason {
            Some(reason) if !reason.is_empty() => format!("{head}: {reason}"),
            _ => format!("{head} (execution {id})"),
        },
    };
    (phase, message(&text))
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
