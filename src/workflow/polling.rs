//! Following executions: poll rounds, and confirmed ends.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    pipelines::{Call, CallError, CallErrorKind, CallReply, Execution, Status, Time},
    protocol::Phase,
};

use super::{
    Command, Machine, Note, Priority, Purpose, Sabotage, Timer,
    identity::{Key, Marker, arn_key},
    listing::LISTS_LAG,
    node::{EndStage, Stage, Trouble},
    pipeline::Round,
    poll_plan::{self, Plan},
    report,
    trouble::{Place, Reaction, reaction},
};

/// SageMaker may not find an execution that it has just started.
pub(super) const LAG: Duration = Duration::from_secs(60);
impl Machine {
    /// Looks at a live execution at this time.
    pub(super) fn look_at(&mut self, arn: &Arc<str>, at: Time) {
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let Some(pipeline) = self.pipelines.get_mut(tracked.pipeline) else { return };
        if let Some(old) = tracked.due.replace(at) {
            pipeline.due.remove(&(old, arn.clone()));
        }
        pipeline.due.insert((at, arn.clone()));
        let number = tracked.pipeline;
        self.timers.insert((at, Timer::Poll(number)));
    }

    fn look_later(&mut self, arn: &Arc<str>) {
        let wait = self.until_the_next_look(arn);
        self.look_at(arn, self.now.plus(wait));
    }

    /// A look failed: it is repeated in its time, however many nodes want it sooner.
    pub(super) fn rest(&mut self, arn: &Arc<str>, wait: Duration) {
        let at = self.now.plus(wait);
        if let Some(tracked) = self.executions.get_mut(arn) {
            tracked.rests_until = Some(at);
        }
        self.look_at(arn, at);
    }

    fn until_the_next_look(&self, arn: &Arc<str>) -> Duration {
        let Some(tracked) = self.executions.get(arn) else { return self.settings.poll_max };
        let age = self.server_now().since(tracked.execution.created.unwrap_or(self.now));
        if tracked.stop.is_some() {
            self.settings.poll_min
        } else {
            poll_plan::interval(age, self.settings.poll_min, self.settings.poll_max)
        }
    }

    /// An execution's ARN as AWS spells it.
    pub(super) fn spelled(&self, arn: &Arc<str>) -> String {
        self.executions.get(arn).map_or_else(|| arn.to_string(), |t| t.execution.arn.clone())
    }

    /// An execution is asked after, and stopped, by the client of the newest attempt that follows it: a role that was
    /// changed between two attempts was changed for a reason.
    pub(super) fn hand_over(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        let Some(family) = self.families.get(&key) else { return };
        let Some(attempt) = family.attempts.get(&number) else { return };
        let (to, newest) = (attempt.pipeline, family.attempts.keys().next_back() == Some(&number));
        let Some(tracked) = self.executions.get(arn).filter(|t| t.key == key && newest && t.pipeline != to) else {
            return;
        };
        let (from, due) = (tracked.pipeline, tracked.due);
        self.take_from_due(from, arn);
        let was_live = self.pipelines.get_mut(from).is_some_and(|p| p.leaves(arn));
        let foreign = self.executions.get_mut(arn).is_some_and(|tracked| {
            tracked.pipeline = to;
            tracked.foreign
        });
        if let Some(p) = self.pipelines.get_mut(to).filter(|_| was_live) {
            p.lives(arn, foreign);
        }
        if let Some(at) = due {
            self.look_at(arn, at);
        }
    }

    /// Describes one execution, unless that is under way.
    pub(super) fn describe(&mut self, arn: &Arc<str>) {
        let Some((pipeline, rests)) = self.executions.get(arn).map(|t| (t.pipeline, t.rests_until)) else { return };
        if let Some(at) = rests.filter(|at| *at > self.now) {
            self.look_at(arn, at);
            return;
        }
        // Also when a describe is under way: its answer sets the next time, and a due time that stays would spin the rounds.
        self.take_from_due(pipeline, arn);
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        if std::mem::replace(&mut tracked.describing, true) {
            return;
        }
        let call = Call::DescribeExecution { arn: self.spelled(arn) };
        self.call_for(Priority::Poll, pipeline, call, Purpose::Describe(arn.clone()));
    }

    /// One poll round of a pipeline: what is due is refreshed by the cheaper of two ways.
    pub(super) fn poll(&mut self, number: usize) {
        let now = self.now;
        let Some(p) = self.pipelines.get(number) else { return };
        if p.round.is_some() {
            return;
        }
        let due_by = |by: Time| -> Vec<Arc<str>> {
            p.due.iter().take_while(|(at, _)| *at <= by).map(|(_, arn)| arn.clone()).collect()
        };
        let mut due = due_by(now);
        if due.is_empty() {
            if let Some((at, _)) = p.due.first() {
                self.timers.insert((*at, Timer::Poll(number)));
            }
            return;
        }
        let (live, list_denied) = (p.live.len(), p.may_not_list(now));
        // What is due soon comes along in a list: else executions that started one after the other never share one.
        let soon = due_by(now.plus(self.settings.poll_min));
        if poll_plan::plan(soon.len(), live, now) != Plan::DescribeEach && !list_denied {
            due = soon;
        }
        let oldest = due.iter().filter_map(|arn| self.executions.get(arn)?.execution.created).min().unwrap_or(now);
        let spelling = self.spelling(number);
        match (poll_plan::plan(due.len(), live, oldest), spelling) {
            (Plan::List { created_after, max_pages }, Some(spelling)) if !list_denied => {
                for arn in &due {
                    self.take_from_due(number, arn);
                }
                let round = Round { remaining: due.into_iter().collect(), pages: 0, max_pages, created_after };
                if let Some(p) = self.pipelines.get_mut(number) {
                    p.round = Some(round);
                }
                let call =
                    Call::ListExecutions { pipeline: spelling, created_after: Some(created_after), next_token: None };
                self.call_for(Priority::Poll, number, call, Purpose::Round { pipeline: number });
            }
            _ => {
                for arn in &due {
                    self.describe(arn);
                }
                if let Some((at, _)) = self.pipelines.get(number).and_then(|p| p.due.first()) {
                    self.timers.insert((*at, Timer::Poll(number)));
                }
            }
        }
    }

    pub(super) fn take_from_due(&mut self, number: usize, arn: &Arc<str>) {
        let due = self.executions.get_mut(arn).and_then(|t| t.due.take());
        if let (Some(at), Some(p)) = (due, self.pipelines.get_mut(number)) {
            p.due.remove(&(at, arn.clone()));
        }
    }

    pub(super) fn round_answered(&mut self, number: usize, result: Result<CallReply, CallError>) {
        let Some(mut round) = self.pipelines.get_mut(number).and_then(|p| p.round.take()) else { return };
        match result {
            Ok(CallReply::Executions { page, next_token }) => {
                round.pages += 1;
                for execution in page {
                    round.remaining.remove(&arn_key(&execution.arn));
                    self.adopt(number, execution);
                }
                let more = !round.remaining.is_empty() && round.pages < round.max_pages;
                if let (Some(token), true, Some(spelling)) = (next_token, more, self.spelling(number)) {
                    let call = Call::ListExecutions {
                        pipeline: spelling,
                        created_after: Some(round.created_after),
                        next_token: Some(token),
                    };
                    if let Some(p) = self.pipelines.get_mut(number) {
                        p.round = Some(round);
                    }
                    self.call_for(Priority::Poll, number, call, Purpose::Round { pipeline: number });
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => {
                if reaction(error.kind, Place::Round) == Reaction::Without {
                    let denied = error.kind == CallErrorKind::Denied;
                    if let Some(p) = self.pipelines.get_mut(number).filter(|_| denied) {
                        p.list_denied = Some(self.now);
                    }
                } else {
                    self.call_trouble(number, &error);
                    for arn in std::mem::take(&mut round.remaining) {
                        self.in_trouble(&arn, &error);
                        self.look_later(&arn);
                    }
                }
            }
        }
        for arn in round.remaining {
            self.describe(&arn);
        }
        self.poll(number);
    }

    pub(super) fn call_trouble(&mut self, number: usize, error: &CallError) {
        if error.kind == CallErrorKind::Throttled
            && let Some(client) = self.pipelines.get(number).map(|p| p.client.clone())
        {
            self.note_throttle(&client, false);
        }
    }

    /// A poll failed: the execution goes on, its node says so.
    pub(super) fn in_trouble(&mut self, arn: &Arc<str>, error: &CallError) {
        let left = self.answers_left;
        let denied = reaction(error.kind, Place::Poll) == Reaction::Mend;
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let text =
            format!("AWS cannot be asked: {}", report::fit(&crate::text::sentence::shorten(&error.message, 120), 120));
        Trouble::extend(&mut tracked.trouble, &text, denied, left);
        self.followers_look(arn);
    }

    pub(super) fn describe_answered(&mut self, arn: &Arc<str>, sent: Time, result: Result<CallReply, CallError>) {
        let believes = self.sabotaged(Sabotage::BelievesStaleLists);
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        tracked.describing = false;
        let number = tracked.pipeline;
        match result {
            // Long on its way, and meanwhile another look has shown more: how it is now, only a new one tells.
            Ok(CallReply::Execution(execution))
                if sent < tracked.progressed_at
                    && rank(&execution.status) < rank(&tracked.execution.status)
                    && !believes =>
            {
                self.describe(arn);
            }
            Ok(CallReply::Execution(execution)) => self.observe(arn, execution, true),
            Ok(_) => self.look_later(arn),
            Err(error) if reaction(error.kind, Place::Poll) == Reaction::Missing => self.not_found(arn, &error),
            Err(error) => {
                self.call_trouble(number, &error);
                let wait = self.until_the_next_look(arn);
                self.rest(arn, wait);
                self.in_trouble(arn, &error);
            }
        }
    }

    /// Takes in what a describe or a list says of a known execution.
    pub(super) fn observe(&mut self, arn: &Arc<str>, execution: Execution, described: bool) {
        let now = self.now;
        let believes = self.sabotaged(Sabotage::BelievesStaleLists);
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let was_live = tracked.execution.status.is_live();
        let was_stopping = tracked.execution.status == Status::Stopping;
        let goes_back = rank(&execution.status) < rank(&tracked.execution.status);
        let was_seen = tracked.seen.replace(now).is_some();
        // A list may show for long what a describe no longer finds.
        tracked.rests_until = tracked.rests_until.filter(|_| !described);
        tracked.trouble = None;
        tracked.missing = None;
        tracked.gone = None;
        let live = execution.status.is_live();
        if !described && goes_back && !believes {
            self.distrust(arn);
            return;
        }
        tracked.doubted = false;
        let same = tracked.execution.status == execution.status;
        tracked.execution.arn = execution.arn;
        let turned = !same && live;
        if rank(&execution.status) > rank(&tracked.execution.status) {
            tracked.progressed_at = now;
        }
        tracked.execution.status = execution.status;
        tracked.witnessed |= described && live && tracked.execution.status != Status::Stopping;
        if let Some(marker) = execution.description.as_deref().and_then(Marker::parse).filter(|m| m.key == tracked.key)
        {
            // Start may have answered with an execution of an earlier run.
            tracked.run = marker.run;
        }
        tracked.execution.created = execution.created.or(tracked.execution.created);
        let stranger = execution.started_by.filter(|_| !tracked.foreign && tracked.stranger.is_none());
        tracked.stranger = tracked.stranger.take().or(stranger.clone());
        // Lists do not say when a status changed: what was known belongs to the status before.
        let unchanged = described || same;
        tracked.execution.modified = execution.modified.or(tracked.execution.modified.filter(|_| unchanged));
        let resumed = described && was_stopping && tracked.execution.status == Status::Executing;
        if live && (!was_live || resumed) {
            // Revived in the console: what was said to its earlier stop no longer holds, nor does that stop's token.
            tracked.stop = None;
            tracked.stop_trouble = None;
            tracked.stop_series += 1;
        }
        match &tracked.execution.status {
            Status::Stopping => tracked.stop_began = tracked.stop_began.or(tracked.execution.modified),
            // Revived in the console: that stop is history.
            Status::Executing => tracked.stop_began = None,
            _ => {}
        }
        if execution.failure_reason.is_some() {
            tracked.execution.failure_reason = execution.failure_reason;
        }
        let number = tracked.pipeline;
        if let Some(who) = stranger {
            let arn = self.spelled(arn);
            self.warn(format!("{arn} carries this workflow's marker, but {who} started it, not this plugin"));
        }
        if turned {
            self.tell_changed(arn);
        }
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let foreign = tracked.foreign;
        if live {
            tracked.end = EndStage::Live;
            if let Some(p) = self.pipelines.get_mut(number) {
                p.lives(arn, foreign);
            }
            self.look_later(arn);
            self.list_running_steps(arn);
        } else {
            let end = tracked.end;
            if end == EndStage::Live {
                tracked.end = EndStage::Seen;
            }
            if was_live {
                self.ended_in_aws(arn, number, now);
            }
            match (described, self.executions.get(arn).map(|t| t.end)) {
                (true, Some(EndStage::Seen)) => self.list_end_steps(arn),
                (false, Some(EndStage::Seen)) if self.is_followed(arn) => self.describe(arn),
                _ => {}
            }
            if self.sabotaged(Sabotage::PollsOn) {
                self.look_later(arn);
            }
        }
        if !was_seen || was_live != live || !live {
            self.family_looks(arn);
        } else {
            self.followers_look(arn);
        }
        if !live {
            self.drop_steps(arn);
        }
    }

    /// Lists lag: what one shows of an earlier moment undoes nothing. Only a describe tells of a revival, and for that it
    /// is asked once lists have had the time to show the end.
    fn distrust(&mut self, arn: &Arc<str>) {
        let (now, server_now) = (self.now, self.server_now());
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let ended = tracked.execution.modified.is_some_and(|end| server_now.since(end) < LISTS_LAG);
        if tracked.execution.status.is_live() {
            // Stopped and retried between two looks, perhaps.
            if now.since(tracked.progressed_at) < LISTS_LAG {
                self.look_later(arn);
            } else {
                self.describe(arn);
            }
        } else if !ended && tracked.end != EndStage::Seen {
            tracked.end = EndStage::Seen;
            tracked.doubted = true;
            self.describe(arn);
        }
    }

    fn ended_in_aws(&mut self, arn: &Arc<str>, number: usize, now: Time) {
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let status = tracked.execution.status.clone();
        let ran = tracked.execution.modified.zip(tracked.execution.created).map(|(end, start)| end.since(start));
        if let Some(due) = tracked.due.take()
            && let Some(p) = self.pipelines.get_mut(number)
        {
            p.due.remove(&(due, arn.clone()));
        }
        if let Some(p) = self.pipelines.get_mut(number) {
            p.leaves(arn);
            let client = p.client.clone();
            self.queue.freed(&client, now);
        }
        self.out.push(Command::Note(Note::ExecutionFinished { arn: self.spelled(arn), status, ran }));
    }

    pub(super) fn is_followed(&self, arn: &Arc<str>) -> bool {
        !self.followers(arn).is_empty() || self.stops.values().any(|s| s.open.contains(arn))
    }

    /// The attempts that follow this execution: of its key, and those attached to it.
    fn followers(&self, arn: &Arc<str>) -> Vec<(Key, u32)> {
        let follows = |(key, number): &(Key, u32)| {
            let stage = self.attempt(*key, *number).map(|a| &a.stage);
            matches!(stage, Some(Stage::Following(followed)) if followed == arn)
        };
        self.interested(arn).into_iter().filter(follows).collect()
    }

    /// All attempts of the execution's key, and those attached to it.
    fn interested(&self, arn: &Arc<str>) -> BTreeSet<(Key, u32)> {
        let Some(tracked) = self.executions.get(arn) else { return BTreeSet::new() };
        let of_key = self.families.get(&tracked.key).into_iter().flat_map(|f| f.attempts.keys());
        of_key.map(|number| (tracked.key, *number)).chain(tracked.attached.iter().copied()).collect()
    }

    /// Nodes that follow this execution look at it again.
    pub(super) fn followers_look(&mut self, arn: &Arc<str>) {
        for (key, number) in self.followers(arn) {
            self.advance(key, number);
        }
        self.stops_look(arn);
    }

    /// All nodes of the execution's key look again: what it is decides for them.
    pub(super) fn family_looks(&mut self, arn: &Arc<str>) {
        for (key, number) in self.interested(arn) {
            self.advance(key, number);
        }
        self.stops_look(arn);
    }

    /// An execution's own timer: steps that must be listed again, a stop that must be sent again.
    pub(super) fn execution_woken(&mut self, arn: &Arc<str>) {
        let Some(tracked) = self.executions.get(arn) else { return };
        if tracked.end == EndStage::Listing && tracked.steps_page.is_none() {
            self.list_steps(arn, None);
        }
        self.send_stop(arn);
    }

    /// Ends an attempt with this execution, as soon as the end is confirmed and explained.
    pub(super) fn report(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        self.follow(key, number, arn);
        match self.executions.get(arn).map(|t| t.end) {
            Some(EndStage::Known) => self.conclude(key, number, arn),
            Some(EndStage::Seen) => self.describe(arn),
            Some(EndStage::Told) => self.list_end_steps(arn),
            Some(EndStage::Live | EndStage::Listing) | None => {}
        }
    }

    fn conclude(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        let Some(attempt) = self.families.get(&key).and_then(|f| f.attempts.get(&number)) else { return };
        let Some(tracked) = self.executions.get(arn) else { return };
        let timeout = attempt.rules.timeout;
        let timed_out = attempt.timed_out_at.is_some() || self.outlived(timeout, &tracked.execution);
        let (doubtful, attached) = (self.known(tracked), attempt.rules.attached);
        let steps = tracked.steps.as_deref().unwrap_or_default();
        let (phase, text) = report::end_of(
            &tracked.execution,
            steps,
            attempt.rules.accept_completed_with_failures,
            timeout.filter(|_| timed_out),
        );
        if phase != Phase::Succeeded
            && !attached
            && let Some(run) = self.run().filter(|run| run.may_come_after(&doubtful))
            && let Some(attempt) = self.attempt_mut(key, number)
        {
            attempt.warning = Some(run.doubt().to_owned());
        }
        self.end_attempt(key, number, phase, &text, Some(arn));
        self.drop_steps(arn);
    }

    /// A stopped execution that ran as long as its node's time-out was stopped for it, also by an earlier process.
    fn outlived(&self, timeout: Option<Duration>, execution: &Execution) -> bool {
        let ran = execution.modified.zip(execution.created).map(|(end, start)| end.since(start));
        execution.status == Status::Stopped && timeout.zip(ran).is_some_and(|(timeout, ran)| ran >= timeout)
    }
}

/// How far on its way an execution is.
fn rank(status: &Status) -> u8 {
    match status {
        Status::Executing | Status::Unknown(_) => 0,
        Status::Stopping => 1,
        Status::Stopped | Status::Failed | Status::Succeeded | Status::CompletedWithFailures => 2,
    }
}
