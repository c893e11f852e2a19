//! Time-outs, stops, and the end of the workflow.

use std::{sync::Arc, time::Duration};

use crate::{
    pipelines::{Call, CallError, CallErrorKind, CallReply, Status, Time},
    protocol::Phase,
};

use super::{
    CallId, Closed, Command, Machine, Note, Priority, Purpose, Sabotage, Timer, backoff,
    identity::{Key, WhenOver, stop_token},
    node::{NodeRef, Stage, StopAnswer, StopStage, Trouble},
    polling::LAG,
    report::{self, spoken},
    trouble::{Place, Reaction, reaction},
};

/// A stop that AWS took but that has not begun is sent again after this long.
const STOP_AGAIN: Duration = Duration::from_secs(15);
/// A stop that is denied is repeated after this long at the most.
const MEND_MOST: Duration = Duration::from_secs(300);
/// While draining, a stop that was not taken is sent again after this long.
const AGAIN_BEFORE_THE_END: Duration = Duration::from_millis(500);

impl Machine {
    /// When an attempt's time is up: it runs from the earlier of its first request and its own execution's creation.
    pub(super) fn deadline(&self, key: Key, number: u32, arn: Option<&Arc<str>>) -> Option<(Time, Duration)> {
        let attempt = self.families.get(&key)?.attempts.get(&number)?;
        let timeout = attempt.rules.timeout?;
        let created = arn
            .and_then(|arn| self.executions.get(arn))
            .filter(|t| t.attempt == number)
            .and_then(|t| t.execution.created)
            .map(|created| self.aws_clock.ours(created));
        let from = created.map_or(attempt.desk.asked_since, |created| created.min(attempt.desk.asked_since));
        Some((from.plus(timeout), timeout))
    }

    /// The time-out of a node whose time was up before it could start, in words, and when it was.
    pub(super) fn timed_out_waiting(&mut self, key: Key, number: u32) -> Option<(String, Time)> {
        let attempt = self.attempt(key, number)?;
        let (asked, group, timeout) = (attempt.desk.asked_since, attempt.rules.group, attempt.rules.timeout?);
        let at = self.waits_since(group, number, asked, timeout).plus(timeout);
        if self.now < at {
            self.wake_node(NodeRef::Execute(key, number), at);
            return None;
        }
        Some((spoken(timeout), at))
    }

    /// The sentence for a node whose time was up before its past was known.
    pub(super) fn timed_out_locating(&mut self, key: Key, number: u32, trouble: Option<&Trouble>) -> Option<String> {
        let timeout = self.time_is_up(key, number)?;
        let why = trouble.map(|t| format!(" ({})", report::fit(&t.text, 120))).unwrap_or_default();
        Some(format!("timed out after {timeout}; whether an execution of it runs could not be found out{why}"))
    }

    fn time_is_up(&mut self, key: Key, number: u32) -> Option<String> {
        let (at, timeout) = self.deadline(key, number, None)?;
        if self.now < at {
            self.wake_node(NodeRef::Execute(key, number), at);
            return None;
        }
        Some(spoken(timeout))
    }

    /// Stops a live execution whose time is up, and gives its stop a limit.
    pub(super) fn check_timeout(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        let Some((at, timeout)) = self.deadline(key, number, Some(arn)) else { return };
        let now = self.now;
        if now < at {
            self.wake_node(NodeRef::Execute(key, number), at);
            return;
        }
        // A time that is up is only believed of an execution that was seen live: it may have ended long ago. One that
        // cannot be seen for so long is taken for live, else it would run for ever.
        let grace = self.settings.denied_grace;
        // While draining nothing is looked at any more, and what this process has just started runs.
        let last = self.draining.is_some();
        let unseen = |since: Time| now < since.plus(grace);
        if self.executions.get(arn).is_some_and(|t| {
            t.seen.is_none() && !(last && t.started_at.is_some()) && t.trouble.as_ref().is_none_or(|t| unseen(t.since))
        }) {
            return;
        }
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        let stops = attempt.rules.stop_when_over || !attempt.rules.attached;
        let since = *attempt.timed_out_at.get_or_insert(now);
        if !stops {
            let text = format!("timed out after {}; the execution it was attached to is left running", spoken(timeout));
            self.end_attempt(key, number, Phase::Failed, &text, Some(arn));
            return;
        }
        self.want_stop(arn);
        let until = self.stop_limit(since);
        if now >= until {
            let trouble = self.executions.get(arn).and_then(|t| t.stop_trouble.as_ref());
            let why = trouble.map_or("a Callback step blocks it".to_owned(), |t| report::fit(&t.text, 150));
            let text = format!(
                "timed out after {}; its stop has not ended within {} ({why})",
                spoken(timeout),
                spoken(self.settings.stop_wait)
            );
            self.end_attempt(key, number, Phase::Failed, &text, Some(arn));
        } else {
            // It may move: one timer is enough.
            self.wake_attempt(key, number, until.since(now));
        }
    }

    /// Wants an execution stopped; once is enough.
    pub(super) fn want_stop(&mut self, arn: &Arc<str>) {
        let now = self.now;
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        if tracked.stop.is_none() && tracked.execution.status.is_live() {
            tracked.stop = Some(StopStage { tries: 0, send_at: Some(now), answer: StopAnswer::None });
            self.send_stop(arn);
        }
    }

    /// Sends a wanted stop when its time has come.
    pub(super) fn send_stop(&mut self, arn: &Arc<str>) {
        let now = self.now;
        let first_event = self.first_event.unwrap_or(now);
        let token_for_ever = self.sabotaged(Sabotage::StopTokenForEver);
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let live = tracked.execution.status.is_live();
        let stopping = tracked.execution.status == Status::Stopping;
        let Some(stop) = tracked.stop.as_mut().filter(|s| s.send_at.is_some_and(|at| at <= now)) else { return };
        stop.send_at = None;
        if !live || stopping {
            return;
        }
        stop.tries += 1;
        let first = stop.tries == 1;
        if stop.answer == StopAnswer::Taken && !token_for_ever {
            // It was taken, and had no effect: perhaps for a repeat of a stop before a revival that an earlier process saw.
            tracked.stop_series += 1;
        }
        let pipeline = tracked.pipeline;
        let (began, series) = if token_for_ever { (Time(0), 0) } else { (first_event, tracked.stop_series) };
        let spelled = tracked.execution.arn.clone();
        let token = stop_token(&spelled, began, series);
        let call = Call::StopExecution { arn: spelled, token };
        self.call_for(Priority::Stop, pipeline, call, Purpose::Stop(arn.clone()));
        if first {
            self.first_stops.insert(CallId(self.last_call));
        }
    }

    pub(super) fn stop_answered(&mut self, arn: &Arc<str>, result: Result<CallReply, CallError>) {
        let (now, left, draining) = (self.now, self.answers_left, self.draining.is_some());
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let Some(stop) = tracked.stop.as_mut() else { return };
        let ok = result.is_ok();
        let (again, look) = match &result {
            Ok(_) => {
                stop.answer = StopAnswer::Taken;
                tracked.stop_trouble = None;
                (STOP_AGAIN, true)
            }
            Err(error) => {
                let started = tracked.started_at.is_some_and(|at| now.since(at) < LAG);
                let reaction = match reaction(error.kind, Place::Stop) {
                    // It was just started and is not found yet.
                    Reaction::Look if error.kind == CallErrorKind::NotFound && started => Reaction::Soon,
                    reaction => reaction,
                };
                if matches!(reaction, Reaction::Again | Reaction::Mend) {
                    let text = format!("it cannot be stopped: {}", error.message);
                    Trouble::extend(&mut tracked.stop_trouble, &text, reaction == Reaction::Mend, left);
                }
                stop.answer = match reaction {
                    Reaction::Look => StopAnswer::NothingToStop,
                    Reaction::Mend if error.kind == CallErrorKind::Denied => StopAnswer::Refused,
                    _ => StopAnswer::None,
                };
                match reaction {
                    // Transient while the pipeline moves between steps (Airflow retries it after 0.3 s).
                    Reaction::Soon => (Duration::from_secs(1), false),
                    // "Only pipelines with 'Executing' status can be stopped": a describe tells which.
                    Reaction::Look => (STOP_AGAIN, true),
                    // It leaves the pace to others: a denial may last.
                    Reaction::Mend => (backoff(stop.tries, MEND_MOST), true),
                    _ => (backoff(stop.tries - 1, Duration::from_secs(15)), false),
                }
            }
        };
        // Nobody is left to do it later.
        let again = if draining { again.min(AGAIN_BEFORE_THE_END) } else { again };
        stop.send_at = (!draining || stop.answer == StopAnswer::None).then(|| now.plus(again));
        let number = tracked.pipeline;
        self.timers.insert((now.plus(again), Timer::Execution(arn.clone())));
        self.out.push(Command::Note(Note::StopRequested { arn: self.spelled(arn), ok }));
        if let Err(error) = result {
            self.warn(format!("stopping {}: {}", self.spelled(arn), error.message));
            if error.kind == CallErrorKind::Throttled
                && let Some(client) = self.pipelines.get(number).map(|p| p.client.clone())
            {
                self.note_throttle(&client, true);
            }
        }
        if look {
            self.look_at(arn, now.plus(Duration::from_secs(1)));
        }
        self.followers_look(arn);
    }

    /// Nothing more starts, what is to be stopped is stopped, and its nodes end.
    pub(super) fn close(&mut self, text: &str, except_exit_handlers: bool) {
        let except_exit_handlers =
            except_exit_handlers && self.closed.as_ref().is_none_or(|closed| closed.except_exit_handlers);
        let known = |closed: &Closed| closed.stops && closed.except_exit_handlers == except_exit_handlers;
        if self.closed.as_ref().is_some_and(known) {
            return;
        }
        self.closed = Some(Closed { text: text.to_owned(), except_exit_handlers, stops: true, since: self.now });
        if !self.run.is_known() {
            self.pod_born_stands_in();
        }
        if self.sabotaged(Sabotage::StartsAfterOver) {
            return;
        }
        let nodes: Vec<(Key, u32)> =
            self.families.iter().flat_map(|(key, f)| f.attempts.keys().map(|n| (*key, *n))).collect();
        for (key, number) in nodes {
            let Some(attempt) = self.families.get(&key).and_then(|f| f.attempts.get(&number)) else { continue };
            match &attempt.stage {
                Stage::Following(arn) => {
                    let arn = arn.clone();
                    if !attempt.rules.stop_when_over {
                        self.describe(&arn);
                    }
                    self.stop_if_over(key, number, &arn);
                }
                Stage::Queued if !(except_exit_handlers && attempt.rules.exit_handler) => {
                    self.end_unstarted(key, number, text, self.now);
                }
                _ => {}
            }
        }
        let live: Vec<Arc<str>> = self.pipelines.iter().flat_map(|p| p.live.iter().cloned()).collect();
        for arn in live {
            self.stop_unasked(&arn);
        }
    }

    /// Ends a node that is not to start since then, as soon as it is certain that no other process has started it: what an
    /// earlier one did just before it died is not in the lists yet. Meanwhile it does not start.
    pub(super) fn end_unstarted(&mut self, key: Key, number: u32, text: &str, since: Time) {
        let Some((pipeline, asked)) = self.attempt(key, number).map(|a| (a.pipeline, a.desk.asked_since)) else {
            return;
        };
        let after = if self.is_new(asked) { since } else { since.max(self.lags_until()) };
        let limit = after.max(asked).plus(self.settings.stop_wait);
        if self.is_listed_after(pipeline, after) || self.now >= limit {
            let blind = self.pipelines.get(pipeline).is_some_and(|p| p.list_denied.is_some()) && !self.is_new(asked);
            let but = if blind {
                "; an execution that an earlier process started is not known, lists are denied"
            } else {
                ""
            };
            self.end_attempt(key, number, Phase::Failed, &format!("{text}{but}"), None);
            return;
        }
        self.wake_attempt(key, number, limit.since(self.now));
        self.queue.leave(key, number);
        if let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) {
            attempt.stage = Stage::Locating;
        }
    }

    /// After the workflow's end: stops an execution that no node follows. After a restart nobody asks for the nodes
    /// that Argo has ended meanwhile; their executions are found by their markers, which say what becomes of them.
    pub(super) fn stop_unasked(&mut self, arn: &Arc<str>) {
        let Some(closed) = self.closed.as_ref().filter(|closed| closed.stops) else { return };
        let exempt = closed.except_exit_handlers;
        let Some(tracked) = self.executions.get(arn) else { return };
        let wanted = match tracked.when_over {
            WhenOver::Stop => true,
            WhenOver::ExitHandler => !exempt,
            WhenOver::Leave => false,
        };
        if wanted && !self.is_followed(arn) {
            self.want_stop(arn);
        }
    }

    /// Whether an execution is stopped once not even exit handlers go on.
    pub(super) fn stops_when_gone(&self, arn: &Arc<str>) -> bool {
        let Some(tracked) = self.executions.get(arn) else { return false };
        let mut rules = self
            .families
            .get(&tracked.key)
            .into_iter()
            .flat_map(|f| f.attempts.values())
            .filter(|a| matches!(&a.stage, Stage::Following(followed) if followed == arn))
            .map(|a| a.rules.stop_when_over)
            .peekable();
        if rules.peek().is_some() { rules.any(|stops| stops) } else { tracked.when_over != WhenOver::Leave }
    }

    /// After the workflow's end: a live execution is stopped, and its node ends as soon as it is certain what becomes
    /// of the execution. One that has ended is told as it ended, once that is explained.
    pub(super) fn stop_if_over(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        let Some(closed) = self.closed.clone().filter(|closed| closed.stops) else { return };
        let Some(attempt) = self.families.get(&key).and_then(|f| f.attempts.get(&number)) else { return };
        let (rules, asked) = (attempt.rules, attempt.desk.asked_since);
        let live = self.executions.get(arn).is_some_and(|t| t.execution.status.is_live());
        if !live || (rules.exit_handler && closed.except_exit_handlers) {
            return;
        }
        if rules.stop_when_over {
            self.want_stop(arn);
        }
        let patience = self.stop_limit(closed.since.max(asked));
        match self.fate(arn, rules.stop_when_over, closed.since, patience) {
            Some(fate) => self.end_attempt(key, number, Phase::Failed, &format!("{}; {fate}", closed.text), Some(arn)),
            None => self.wake_attempt(key, number, patience.since(self.now)),
        }
    }

    /// How long the end of a stop is awaited that was wanted at `since`. Thousands of stops wait for the pace for many
    /// minutes: the wait begins when the last has left.
    pub(super) fn stop_limit(&self, since: Time) -> Time {
        since.max(self.stops_held_at).plus(self.settings.stop_wait)
    }

    /// What becomes of an execution that was live when its workflow's end became known. It may have ended since its
    /// last look, and then its node is told that end: nothing is said before AWS has answered, or until `patience`.
    fn fate(&self, arn: &Arc<str>, stops: bool, closed: Time, patience: Time) -> Option<String> {
        let tracked = self.executions.get(arn)?;
        let goes_on = |trouble: &Option<Trouble>| {
            let why = trouble.as_ref().map_or("no stop of it was taken".to_owned(), |t| report::fit(&t.text, 150));
            format!("its execution goes on, {why}")
        };
        let out_of_patience = self.now >= patience;
        if !stops {
            return (out_of_patience || tracked.seen >= Some(closed))
                .then(|| "its execution is left running".to_owned());
        }
        if tracked.execution.status == Status::Stopping {
            return Some("its execution is being stopped".to_owned());
        }
        match tracked.stop.map_or(StopAnswer::None, |stop| stop.answer) {
            StopAnswer::Taken => Some("its execution is being stopped".to_owned()),
            // Its next look tells how it ended.
            StopAnswer::NothingToStop if !out_of_patience => None,
            StopAnswer::Refused => Some(goes_on(&tracked.stop_trouble)),
            StopAnswer::None | StopAnswer::NothingToStop => {
                out_of_patience.then(|| goes_on(&tracked.stop_trouble.clone().or(tracked.trouble.clone())))
            }
        }
    }

    /// A start that landed after the workflow's end, or after a stop task: its execution is stopped before anything
    /// else is known of it.
    pub(super) fn stop_latecomer(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        let Some(closed) = &self.closed else { return };
        let Some(rules) = self.families.get(&key).and_then(|f| f.attempts.get(&number)).map(|a| a.rules) else {
            return;
        };
        if rules.stop_when_over && !(rules.exit_handler && closed.except_exit_handlers) {
            self.want_stop(arn);
        }
    }

    /// Whether the workflow is over and what runs is stopped.
    pub(super) fn stops_what_runs(&self) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.stops)
    }

    /// A stop task for the whole workflow: nothing more starts, whoever waits ends.
    pub(super) fn stop_everything(&mut self) {
        let text = "a stop task of the workflow stopped everything";
        // A workflow that is over, too, stays so.
        let (stops, since) = self.closed.as_ref().map_or((false, self.now), |closed| (closed.stops, closed.since));
        self.closed = Some(Closed { text: text.to_owned(), except_exit_handlers: false, stops, since });
        let waiting: Vec<(Key, u32)> = self.queue.waiters().map(|w| (w.key, w.attempt)).collect();
        for (key, number) in waiting {
            self.end_unstarted(key, number, text, self.now);
        }
    }
}
