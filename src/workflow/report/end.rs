//! What an ended execution comes to: phase, message, outputs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    links::{execution_url, logs_url, region_of},
    logs::says_little,
    pipelines::{Status, Step, Time},
    protocol::{Outputs, Phase},
    results::{Found, Wanted, artifacts, parameters, tells_outputs},
    text::{sentence::shorten, spoken},
    workflow::{key::execution_id, shown::Shown},
};

use super::{MESSAGE_MAX, OutputList, TEXT_MAX, fit, message};

/// What the log of a failed step's job told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobLog {
    Told {
        /// The line that says why, where one does.
        reason: Option<String>,
        tail: String,
    },
    /// A sentence that says why it told nothing.
    Untold(String),
}

/// All that is known of an ended execution.
#[derive(Clone, Debug)]
pub struct Story<'a> {
    pub execution: &'a Shown,
    /// Its steps, with what their jobs came to where that was asked.
    pub steps: Vec<Found<'a>>,
    /// The failed step's log, where it was asked for.
    pub log: Option<&'a JobLog>,
    /// Why a job that was asked for told nothing.
    pub untold: Option<&'a str>,
}

impl<'a> Story<'a> {
    /// An execution and its steps, of which nothing more was asked.
    pub fn of(execution: &'a Shown, steps: &'a [Step]) -> Self {
        let steps = steps.iter().map(|step| Found { step, job: None }).collect();
        Self { execution, steps, log: None, untold: None }
    }

    /// The step that explains the end of an execution that did not succeed.
    fn failed(&self) -> Option<&'a Step> {
        if self.execution.status == Status::Succeeded { None } else { failed_step(self.steps.iter().map(|f| f.step)) }
    }

    /// SageMaker's own reason, the step's before the execution's.
    fn reason(&self) -> Option<&'a str> {
        let of_step = self.failed().and_then(|step| step.failure_reason.as_deref());
        [of_step, self.execution.failure_reason.as_deref()].into_iter().flatten().find(|reason| !reason.is_empty())
    }

    /// The outputs within so many bytes: what must be known first, then what explains it, then what it made.
    pub fn outputs(&self, wanted: &Wanted, room: usize) -> Outputs {
        let execution = self.execution;
        let mut list = OutputList::within(room);
        list.push("execution-arn", execution.arn.as_str());
        list.push("status", execution.status.as_str());
        let failed = self.failed();
        if let Some(step) = failed {
            list.push("failed-step", &step.name);
        }
        if let Some(reason) = self.reason().filter(|_| execution.status != Status::Succeeded) {
            list.push_text("failure-reason", reason);
        }
        list.push("execution-id", execution_id(execution.arn.as_str()));
        list.push_link("console-url", execution_url(execution.arn.as_str()));
        list.push_link("logs-url", failed.and_then(|step| logs_url(step.job_arn.as_deref()?)));
        match self.log {
            Some(JobLog::Told { tail, .. }) => list.push_lines("logs-tail", tail),
            Some(JobLog::Untold(why)) => list.push_lines("logs-tail", why),
            None => {}
        }
        let mut steps = self.steps.clone();
        steps.sort_by_key(|found| found.step.started.unwrap_or(Time::at(i64::MAX)));
        let registered = steps.iter().rev().filter(|found| found.step.kind.as_deref() == Some("RegisterModel"));
        if let Some(arn) = registered.filter_map(|found| found.step.job_arn.as_deref()).next() {
            list.push("model-package-arn", arn);
        }
        let digest = digest(execution, &steps);
        // The digest is kept to 1 KiB; as a JSON string in JSON it can at most double.
        let less = room.saturating_sub(2 * TEXT_MAX);
        // What somebody waits for comes before it.
        let room_for = |name: &str| if wanted.declares(name) { room } else { less };
        for (name, value) in parameters(&steps, wanted) {
            list.push_within(&name, &value, room_for(&name));
        }
        let region = region_of(execution.arn.as_str()).unwrap_or_default();
        for artifact in artifacts(&steps, wanted, region) {
            list.push_artifact(artifact);
        }
        for step in steps.iter().map(|found| found.step).filter(|step| tells_outputs(step)) {
            for (name, value) in &step.outputs {
                let name = format!("{}-{name}", step.name);
                list.push_within(&name, value, room_for(&name));
            }
        }
        list.finish(Some(digest))
    }

    /// Phase and message; `timed_out` is the time-out it was stopped for.
    pub fn end(&self, accept_with_failures: bool, timed_out: Option<Duration>) -> (Phase, String) {
        let status = &self.execution.status;
        let phase = match status {
            Status::Succeeded => Phase::Succeeded,
            Status::CompletedWithFailures if accept_with_failures => Phase::Succeeded,
            _ => Phase::Failed,
        };
        if *status == Status::Succeeded {
            let steps = if self.steps.is_empty() { String::new() } else { format!(": {} steps", self.steps.len()) };
            return (phase, format!("Succeeded{steps}"));
        }
        let head = match timed_out {
            Some(timeout) => format!("ran into its timeout of {} and was stopped", spoken(timeout)),
            None => status.as_str().to_owned(),
        };
        let text = match self.failed() {
            Some(step) => {
                let head = format!("{head} at step {} ({}): ", step.name, step.status);
                let room = MESSAGE_MAX.saturating_sub(head.len());
                match self.best_reason() {
                    (reason, None) => format!("{head}{}", fit(reason, room)),
                    // What to mend is not what gives way.
                    (reason, Some(why)) => {
                        let reason = fit(reason, room / 3);
                        format!("{head}{reason}; {}", shorten(why, room.saturating_sub(reason.len() + "; ".len())))
                    }
                }
            }
            None => match self.reason() {
                Some(reason) => format!("{head}: {reason}"),
                None => format!("{head} (execution {})", execution_id(self.execution.arn.as_str())),
            },
        };
        (phase, message(&text))
    }

    /// The reason that tells more, and why there may be a better one that is not known.
    fn best_reason(&self) -> (&'a str, Option<&'a str>) {
        let own = self.reason();
        match self.log.filter(|_| own.is_none_or(says_little)) {
            Some(JobLog::Told { reason: Some(reason), .. }) => (reason, None),
            Some(JobLog::Untold(why)) => (own.unwrap_or(NO_REASON), Some(why)),
            Some(JobLog::Told { reason: None, .. }) | None => (own.unwrap_or(NO_REASON), None),
        }
    }

    /// What a node that succeeded lacks of what was wanted, as a sentence.
    pub fn lacks(&self, wanted: &Wanted, told: &Outputs) -> Option<String> {
        let missing = wanted.missing(told);
        let truncated = told.parameters.iter().any(|parameter| parameter.name == "outputs-truncated");
        let why = match self.untold {
            Some(why) => why,
            None if truncated => "there is no room for more outputs",
            None => "no step has made it",
        };
        match missing.as_slice() {
            [] => self.untold.map(|why| format!("results of jobs are missing: {why}")),
            [one] => Some(format!("without {one}: {why}")),
            [first, others @ ..] => Some(format!("without {first} and {} others: {why}", others.len())),
        }
    }
}

const NO_REASON: &str = "no reason given";

/// The step that explains a failure: the first that failed, else the first that was stopped.
pub fn failed_step<'a>(steps: impl Iterator<Item = &'a Step> + Clone) -> Option<&'a Step> {
    let first = |word: &str| {
        let of_status = steps.clone().filter(|step| step.status == word);
        of_status.min_by_key(|step| step.ended.or(step.started).unwrap_or(Time::at(i64::MAX)))
    };
    first("Failed").or_else(|| first("Stopped"))
}

/// A JSON digest of the steps within 1 KiB: status, then as many steps as fit.
fn digest(execution: &Shown, steps: &[Found<'_>]) -> String {
    let mut digest = Map::new();
    digest.insert("execution_id".to_owned(), json!(execution_id(execution.arn.as_str())));
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
    for Found { step, .. } in steps {
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
