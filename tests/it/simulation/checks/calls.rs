//! How often AWS is asked, and that everything worth a note is noted once.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use awf_aws::{
    input::OnRetry,
    pipelines::{Call, CallEnded, CallError, CallErrorKind, CallReply, Status, Time},
    workflow::{Held, Note, identity::Marker},
};

use super::{Process, World};

/// Nothing is asked for again and again without a pause. A few decisions in a row have their own looks each: several attempts
/// that a new process is asked for together, a resume before and after.
const BURST: usize = 10;
const BURST_WITHIN: Duration = Duration::from_secs(5);

/// How often one process has made calls of one kind about one thing.
#[derive(Clone, Copy, Debug)]
struct Count {
    first: Time,
    times: u64,
    /// Of those, after a stop was sent.
    stopping_since: Option<Time>,
    failed: u64,
    /// When the last ones were made, the newest first.
    last: [Time; BURST - 1],
}

#[derive(Default)]
pub struct Calls {
    counts: HashMap<(Process, &'static str, String), Count>,
    /// Describes of an execution after one that told its end.
    ends_seen: HashMap<(Process, String), usize>,
    /// Starts by key and attempt, and who sent them.
    senders: HashMap<(String, u32), HashSet<Process>>,
    /// Executions that AWS has named to a process as the answer to a start.
    named: HashSet<(Process, String)>,
    held_since: HashMap<Process, Time>,
    noted: HashMap<(Process, &'static str, String), usize>,
}

impl Calls {
    pub(super) fn heard(&mut self, process: Process, ended: &CallEnded) {
        if let Ok(CallReply::Started { arn }) = &ended.result {
            self.named.insert((process, arn.clone()));
        }
    }

    /// Whether another process has sent a start of this attempt.
    pub(super) fn was_sent_by_others(&self, process: Process, marker: &Marker) -> bool {
        let senders = self.senders.get(&(marker.key.hex(64), marker.attempt));
        senders.is_some_and(|all| all.iter().any(|sender| *sender != process))
    }
}

impl World {
    /// A process sends a call.
    pub fn check_sent(&mut self, process: Process, call: &Call) {
        if matches!(call, Call::ListExecutions { next_token: Some(_), .. }) {
            return; // A further page: how many there are is not the process's choice.
        }
        let subject = match call {
            Call::DescribeExecution { arn }
            | Call::ListSteps { arn, .. }
            | Call::StopExecution { arn, .. }
            | Call::RetryExecution { arn, .. }
            | Call::UpdateExecution { arn, .. } => arn.clone(),
            Call::DescribeJob { name, .. } => name.clone(),
            Call::LogTail { stream_prefix, .. } => stream_prefix.clone(),
            Call::StartExecution(start) => {
                let marker = Marker::parse(&start.description);
                if let Some(marker) = marker {
                    self.checks.calls.senders.entry((marker.key.hex(64), marker.attempt)).or_default().insert(process);
                }
                start.token.clone()
            }
            Call::ListExecutions { pipeline, .. } | Call::DescribePipeline { pipeline, .. } => pipeline.clone(),
            Call::GetCallerIdentity | Call::ListPipelines { .. } => String::new(),
        };
        self.check_wanted(process, call);
        let now = self.now;
        if let Call::StopExecution { arn, .. } = call
            && let Some(looks) = self.checks.calls.counts.get_mut(&(process, "DescribePipelineExecution", arn.clone()))
        {
            looks.stopping_since.get_or_insert(now);
        }
        let new = Count { first: now, times: 0, stopping_since: None, failed: 0, last: [Time::at(0); BURST - 1] };
        let entry = (process, call.operation(), subject);
        let count = self.checks.calls.counts.entry(entry.clone()).or_insert(new);
        count.times += 1;
        let burst_began = count.last[BURST - 2];
        count.last.rotate_right(1);
        count.last[0] = now;
        let age = now.since(count.first).as_secs();
        // A tenth of the age, from 5 to 30 s: 29 looks in the first five minutes; each 5 s while it is being stopped;
        // each 2 s while it is not found in its first minute.
        let stopping = count.stopping_since.map_or(0, |since| now.since(since).as_secs() / 4);
        let most = match call {
            Call::DescribeExecution { .. } => 60 + age / 25 + stopping,
            Call::ListSteps { .. } => 15 + age / 15,
            // Each 15 s once it is taken, else with its back-off.
            Call::StopExecution { .. } => 20 + age / 5,
            Call::StartExecution(_) | Call::RetryExecution { .. } | Call::UpdateExecution { .. } => 20 + age / 2,
            // Once, and once more for another attempt that gets the same end.
            Call::DescribeJob { .. } | Call::LogTail { .. } => 4,
            Call::ListExecutions { .. } => 60 + age,
            Call::DescribePipeline { .. } | Call::ListPipelines { .. } => 20 + age / 5,
            Call::GetCallerIdentity => 10 + age / 5,
        };
        let (times, failed) = (count.times, count.failed);
        let one_by_one =
            matches!(call, Call::DescribeExecution { .. } | Call::ListSteps { .. } | Call::StopExecution { .. });
        if one_by_one && now.since(burst_began) < BURST_WITHIN {
            self.checks.broke(format!("{entry:?} is called {BURST} times within {BURST_WITHIN:?}"));
        }
        if times > most + 2 * failed {
            self.checks.broke(format!("{times} calls of {entry:?} within {age} s, {failed} of them failed"));
        }
    }

    pub(super) fn note_listed(&mut self, process: Process, call: &Call, result: &Result<CallReply, CallError>) {
        let denied = result.as_ref().is_err_and(|error| error.kind == CallErrorKind::Denied);
        if denied && matches!(call, Call::ListExecutions { .. }) {
            self.bites.add("fault: listing denied");
        }
        if let Ok(CallReply::Executions { page, .. }) = result {
            if page.len() >= 100 {
                self.bites.add("fault: 100 executions listed");
            }
            let shown: Vec<(String, bool)> =
                page.iter().map(|e| (e.arn.clone(), e.status.is_live())).filter(|(_, live)| *live).collect();
            let lags = Duration::from_secs_f64(self.plan.list_lag);
            if self.checks.ours().any(|place| self.now.since(self.book.executions()[place].created) < lags) {
                self.bites.add("fault: list lags");
            }
            let stale = self.plan.troubles.stale > 0.0 && self.shows_the_past(&shown);
            if stale {
                self.bites.add("fault: stale status listed");
            }
        }
        if let Call::DescribeExecution { arn: subject }
        | Call::ListSteps { arn: subject, .. }
        | Call::StopExecution { arn: subject, .. }
        | Call::DescribeJob { name: subject, .. }
        | Call::LogTail { stream_prefix: subject, .. } = call
        {
            let entry = (process, call.operation(), subject.clone());
            if let (Err(_), Some(count)) = (result, self.checks.calls.counts.get_mut(&entry)) {
                count.failed += 1;
            }
            if result.as_ref().is_err_and(|e| e.kind == CallErrorKind::NotFound) && self.plan.troubles.not_found > 0.0 {
                self.bites.add("fault: not found just after its start");
            }
        }
        let Call::DescribeExecution { arn } = call else { return };
        let Ok(CallReply::Execution(execution)) = result else { return };
        if execution.status == Status::Stopping
            && let Some(looks) = self.checks.calls.counts.get_mut(&(process, call.operation(), arn.clone()))
        {
            looks.stopping_since.get_or_insert(self.now);
        }
        if !execution.status.is_live() {
            let times = self.checks.calls.ends_seen.entry((process, arn.clone())).or_default();
            *times += 1;
            // Once to know it, once more before each further attempt, and what was under way meanwhile.
            let times = *times;
            let revived = self.checks.revived.contains_key(arn);
            // Once and again before it is resumed.
            let resumes = self.execution_named(arn).and_then(|(place, _)| self.checks.started[place].as_ref());
            let resumes = resumes.is_some_and(|s| self.node(s.node).plan.on_retry != OnRetry::Restart);
            if times > 6 && !revived && !resumes {
                self.checks.broke(format!("{arn} was described {times} times after its end"));
            }
        }
    }

    /// Whether a list shows something as running that has ended.
    fn shows_the_past(&self, shown: &[(String, bool)]) -> bool {
        let ended = |arn: &str| self.book.executions().iter().any(|e| e.arn == arn && !e.status.is_live());
        shown.iter().any(|(arn, _)| ended(arn))
    }

    /// Every start, adoption and end is noted once by a process.
    pub fn check_note(&mut self, process: Process, note: &Note) {
        let (kind, arn) = match note {
            Note::ExecutionStarted { arn } => ("start", arn),
            Note::ExecutionAdopted { arn } => ("adoption", arn),
            Note::ExecutionFinished { arn, .. } => ("end", arn),
            _ => return,
        };
        let times = self.checks.calls.noted.entry((process, kind, arn.clone())).or_default();
        *times += 1;
        let times = *times;
        let other = if kind == "start" { "adoption" } else { "start" };
        let both = kind != "end" && self.checks.calls.noted.contains_key(&(process, other, arn.clone()));
        // What is resumed, or retried in the console, ends again.
        let again = self.times_resumed(arn);
        if (times > 1 + again && !self.checks.revived.contains_key(arn)) || both {
            self.checks.broke(format!(
                "the {kind} of {arn} was noted {times} times{}",
                if both { ", and its start" } else { "" }
            ));
        }
    }

    /// Whether a process has noted one of these of an execution.
    pub fn was_noted(&self, process: Process, kinds: &[&'static str], arn: &str) -> bool {
        kinds.iter().any(|kind| self.checks.calls.noted.contains_key(&(process, *kind, arn.to_owned())))
    }

    /// Of what has ended only the answer is held.
    pub fn check_held(&mut self, process: Process, held: Held) {
        self.bites.add("check: nothing is held of what ended");
        if held == Held::default() {
            self.checks.calls.held_since.remove(&process);
            return;
        }
        // What is about to be asked for or told may be held meanwhile.
        let since = *self.checks.calls.held_since.entry(process).or_insert(self.now);
        if self.now.since(since) > Duration::from_secs(180) {
            self.checks.broke(format!("{process:?} holds {held:?} of what has ended"));
        }
    }

    /// What was started by a process that went on was noted by it.
    pub(super) fn unnoted_start(&self) -> Option<String> {
        let died = self.plan.odds.death > 0.0;
        let noted = |process: &Process, arn: &str| self.was_noted(*process, &["start", "adoption"], arn);
        let mut named = self.checks.calls.named.iter().filter(|_| !died);
        // One that had ended before is no news.
        let missing = named.find(|(process, arn)| !noted(process, arn) && *arn != self.elsewhere)?;
        let ended = self.book.executions().iter().any(|e| e.arn == missing.1 && !e.status.is_live());
        (!ended).then(|| format!("the start of {} was not noted", missing.1))
    }
}
