//! The table of [`super::identity`] carried out: follow, report, or start.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    input::{Action, Task},
    pipelines::{Call, ClientKey, Selective, StartExecution, Status, Time},
    protocol::Phase,
};

use super::{
    Machine, Priority, Purpose, Sabotage, Timer,
    identity::{self, Decision, Key, Known, Marker},
    locating::Located,
    node::{EndStage, Flight, NodeRef, Stage, Tracked, Trouble},
    pipeline::{Listing, Pipeline},
    queue::Waiter,
    report::spoken,
    run::Run,
};

/// After this long a repeated start is no longer trusted to be recognised by its token (its life is documented nowhere).
const REPEAT_FOR: Duration = Duration::from_secs(300);
/// How often it is looked whether a pipeline with waiting nodes has to be listed again.
const RELIST_EVERY: Duration = Duration::from_secs(5);
impl Machine {
    /// Looks at what is known of an attempt and does what follows.
    pub(super) fn advance(&mut self, key: Key, number: u32) {
        let Some(attempt) = self.attempt(key, number) else { return };
        let pipeline = attempt.pipeline;
        match &attempt.stage {
            Stage::Ended(_) => return,
            Stage::Starting(flight) => {
                if flight.retry_at.is_some_and(|at| at <= self.now) {
                    self.repeat_start(key, number);
                }
                return;
            }
            Stage::Locating | Stage::Queued | Stage::Searching { .. } | Stage::Following(_) => {}
        }
        if attempt.rules.attached {
            self.advance_attached(key, number, pipeline);
        } else {
            match self.locate(pipeline) {
                Located::NotYet => self.wait_located(key, number, pipeline),
                Located::Refused(text) => match self.followed(key, number) {
                    Some(arn) => self.report(key, number, &arn),
                    None => self.end_attempt(key, number, Phase::Error, &text, None),
                },
                Located::Ready => self.decide(key, number),
            }
        }
        self.answer_parked(NodeRef::Execute(key, number));
    }

    fn followed(&self, key: Key, number: u32) -> Option<Arc<str>> {
        match &self.families.get(&key)?.attempts.get(&number)?.stage {
            Stage::Following(arn) => Some(arn.clone()),
            _ => None,
        }
    }

    pub(super) fn wait_located(&mut self, key: Key, number: u32, pipeline: usize) {
        if let Some(arn) = self.followed(key, number) {
            self.follow(key, number, &arn);
            return;
        }
        let trouble = self.locating_trouble(pipeline).cloned();
        if let Some(text) = self.timed_out_locating(key, number, trouble.as_ref()) {
            self.end_attempt(key, number, Phase::Failed, &text, None);
            return;
        }
        self.give_up_when_denied(key, number, trouble);
        self.wake_attempt(key, number, Duration::from_secs(5));
    }

    /// A denial that lasts is the node's end: nobody waits days for a trust policy.
    fn give_up_when_denied(&mut self, key: Key, number: u32, trouble: Option<Trouble>) {
        let Some(attempt) = self.families.get(&key).and_then(|f| f.attempts.get(&number)) else { return };
        let (asked, grace) = (attempt.desk.asked_since, attempt.rules.denied_grace);
        if let Some(trouble) = trouble.filter(|t| t.outlasted(asked, grace)) {
            let text = format!("{} (for {})", trouble.text, spoken(grace));
            self.end_attempt(key, number, Phase::Error, &text, None);
        }
    }

    pub(super) fn wake_attempt(&mut self, key: Key, number: u32, after: Duration) {
        let at = self.now.plus(after);
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        if attempt.wake.is_none_or(|wake| wake > at || wake <= self.now) {
            attempt.wake = Some(at);
            self.wake_node(NodeRef::Execute(key, number), at);
        }
    }

    /// An attached attempt follows the execution it names.
    fn advance_attached(&mut self, key: Key, number: u32, pipeline: usize) {
        let arn = match self.families.get(&key).and_then(|f| f.attempts.get(&number)).and_then(|a| a.task.as_deref()) {
            Some(Task { action: Action::Execute(execute), .. }) => execute.attach.clone(),
            _ => self.followed(key, number).map(|arn| arn.to_string()),
        };
        let Some(arn) = arn else { return };
        let arn = self.track_foreign(key, number, pipeline, &arn);
        if let Some(tracked) = self.executions.get_mut(&arn) {
            tracked.attached.insert((key, number));
        }
        self.report(key, number, &arn);
    }

    fn decide(&mut self, key: Key, number: u32) {
        let Some(mut run) = self.run() else { return };
        if self.sabotaged(Sabotage::NoEpoch) {
            run = Run { stamp: None, began: Time(0) };
        }
        let Some(family) = self.families.get(&key) else { return };
        let other_start = family
            .attempts
            .iter()
            .any(|(n, a)| *n != number && matches!(a.stage, Stage::Starting(_) | Stage::Searching { .. }));
        let in_doubt = |arn| self.executions.get(arn).is_some_and(|t: &Tracked| t.seen.is_none() || t.doubted);
        let unseen = family.executions.iter().any(in_doubt);
        if let Some(arn) = self.followed(key, number).filter(|_| unseen) {
            self.follow(key, number, &arn);
            return;
        }
        if other_start || unseen {
            // One start at a time under a key: what it yields decides for the others.
            self.wake_attempt(key, number, Duration::from_secs(1));
            return;
        }
        if self.asks_when_changed(key, number) {
            return;
        }
        let Some(family) = self.families.get(&key) else { return };
        let known: Vec<Known> = family
            .executions
            .iter()
            .filter_map(|arn| self.executions.get(arn))
            .filter(|t| t.gone.is_none())
            .filter(|t| t.attempt == number || !self.sabotaged(Sabotage::FollowsOnlyItsOwnAttempt))
            .map(|t| self.known(t))
            .collect();
        let gone = family
            .executions
            .iter()
            .filter_map(|arn| self.executions.get(arn))
            .find_map(|t| t.gone.as_ref().filter(|_| t.attempt == number).cloned());
        if let Some(text) = gone {
            self.end_attempt(key, number, Phase::Error, &text, None);
            return;
        }
        let newest_asked = family.attempts.keys().next_back().copied().unwrap_or(number);
        match identity::decide(&known, number, newest_asked, &run) {
            Decision::Follow(arn) => self.follow(key, number, &arn),
            Decision::AwaitEnd(arn) => self.await_end(key, number, &arn),
            Decision::Report(arn) => self.report(key, number, &arn),
            Decision::RecheckThenStart { arn, predecessor } => self.recheck(key, number, &arn, predecessor),
            Decision::Start { predecessor } => self.want_start(key, number, predecessor),
            Decision::Superseded(by) => {
                self.end_attempt(key, number, Phase::Failed, &format!("superseded by attempt {by}"), None);
            }
        }
    }

    /// Whether a list contradicts what is known of an execution of this key: it may have been revived.
    fn is_doubted(&self, key: &Key) -> bool {
        let executions = self.families.get(key).into_iter().flat_map(|f| &f.executions);
        executions.filter_map(|arn| self.executions.get(arn)).any(|t| t.doubted)
    }

    /// Lists do not say when an execution ended or its stop began, and the table asks in which run of the workflow that
    /// was: whether a describe is under way to learn it.
    fn asks_when_changed(&mut self, key: Key, number: u32) -> bool {
        let Some(family) = self.families.get(&key) else { return false };
        let vague = |arn: &&Arc<str>| {
            self.executions.get(*arn).is_some_and(|t| {
                let matters = !matches!(t.execution.status, Status::Executing | Status::Succeeded);
                matters && t.execution.modified.is_none() && t.gone.is_none()
            })
        };
        let vague: Vec<Arc<str>> = family.executions.iter().filter(vague).cloned().collect();
        for arn in &vague {
            self.look_first(key, number, arn);
        }
        !vague.is_empty()
    }

    /// An execution of an earlier run is being stopped: its time is not this attempt's.
    fn await_end(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        self.attach_to(key, number, arn);
        match self.timed_out_waiting(key, number) {
            Some((timeout, _)) => {
                let id = identity::execution_id(arn);
                let text =
                    format!("timed out after {timeout} while execution {id} of an earlier run was still being stopped");
                self.end_attempt(key, number, Phase::Failed, &text, None);
            }
            None => self.stop_if_over(key, number, arn),
        }
    }

    pub(super) fn follow(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        self.attach_to(key, number, arn);
        match self.executions.get(arn).map(|t| (t.gone.clone(), t.execution.status.is_live())) {
            Some((Some(text), _)) => self.end_attempt(key, number, Phase::Error, &text, None),
            Some((None, true)) => {
                self.stop_if_over(key, number, arn);
                self.check_timeout(key, number, arn);
            }
            Some((None, false)) | None => {}
        }
    }

    fn attach_to(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        self.queue.leave(key, number);
        self.hand_over(key, number, arn);
        let own = self.executions.get(arn).is_some_and(|t| t.attempt == number && t.seen.is_some());
        if let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) {
            if !matches!(&attempt.stage, Stage::Following(known) if known == arn) {
                attempt.stage = Stage::Following(arn.clone());
                attempt.trouble = None;
            }
            if own {
                // Nothing of the task but its rules is needed any more: ten thousand of them count.
                attempt.task = None;
            }
        }
    }

    /// An earlier attempt's execution may have been revived in the console: look once more before starting another.
    fn recheck(&mut self, key: Key, number: u32, arn: &Arc<str>, predecessor: Option<Arc<str>>) {
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        if attempt.rechecked.as_ref() == Some(arn) {
            if self.executions.get(arn).is_some_and(|t| t.end.is_certain()) {
                self.want_start(key, number, predecessor);
            } else {
                // Until a describe comes back nothing is decided; one that failed is repeated.
                self.look_first(key, number, arn);
            }
            return;
        }
        attempt.rechecked = Some(arn.clone());
        if let Some(tracked) = self.executions.get_mut(arn) {
            tracked.end = EndStage::Seen;
        }
        self.look_first(key, number, arn);
    }

    fn want_start(&mut self, key: Key, number: u32, predecessor: Option<Arc<str>>) {
        if self.still_searching(key, number) {
            return;
        }
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        // Followed before, and now to be started: what it followed was not its own. The task comes with the next request.
        let Some(task) = attempt.task.clone() else {
            attempt.stage = Stage::Locating;
            return;
        };
        let (exit_handler, dropped) = (attempt.rules.exit_handler, attempt.dropped);
        if let Some(since) = dropped {
            self.end_unstarted(key, number, "a stop task stopped it before it could start", since);
            return;
        }
        let closed = self.closed.clone().filter(|closed| !(closed.except_exit_handlers && exit_handler));
        if let Some(closed) = closed.filter(|_| !self.sabotaged(Sabotage::StartsAfterOver)) {
            self.end_unstarted(key, number, &closed.text, closed.since);
            return;
        }
        if let Some((timeout, since)) = self.timed_out_waiting(key, number) {
            let text = format!("timed out after {timeout} before it could start");
            self.end_unstarted(key, number, &text, since);
            return;
        }
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        let queued = matches!(attempt.stage, Stage::Queued) && self.queue.contains(key, number);
        attempt.stage = Stage::Queued;
        let (pipeline, denied) = (attempt.pipeline, attempt.denied.clone());
        if queued {
            let trouble = denied.or_else(|| self.listing_trouble(pipeline).cloned());
            self.give_up_when_denied(key, number, trouble);
            return;
        }
        let spelled = |arn: Arc<str>| self.executions.get(&arn).map(|t| t.execution.arn.clone());
        let predecessor = predecessor.and_then(spelled);
        self.predecessors.insert((key, number), predecessor);
        self.join_queue(key, number, &task, pipeline);
    }

    fn join_queue(&mut self, key: Key, number: u32, task: &Task, pipeline: usize) {
        let Some(client) = self.pipelines.get(pipeline).map(|p| p.client.clone()) else { return };
        let max_running = max_running(task);
        let now = self.now;
        self.queue.join(Waiter {
            key,
            attempt: number,
            client,
            pipeline,
            max_running,
            not_before: now,
            aside_until: now,
        });
    }

    /// What keeps the nodes of a pipeline from starting: a denial, or a listing that has to come before and fails.
    pub(super) fn starting_trouble(&self, pipeline: usize) -> Option<&Trouble> {
        let denied = self.pipelines.get(pipeline)?.start_denied.as_ref();
        denied.or_else(|| self.listing_trouble(pipeline))
    }

    /// A listing has to come before the next start, and fails.
    fn listing_trouble(&self, pipeline: usize) -> Option<&Trouble> {
        let p = self.pipelines.get(pipeline)?;
        let lists = matches!(p.listing, Listing::Wanted { .. } | Listing::Running { .. });
        self.locating_trouble(pipeline).filter(|_| lists)
    }

    /// How many executions the whole workflow runs, of all its pipelines.
    fn running_in_all(&self) -> usize {
        self.pipelines.iter().map(Pipeline::running).sum()
    }

    /// The limit that keeps a node of this pipeline from starting, in words.
    pub(super) fn limit_reached(&self, pipeline: usize, max_running: Option<usize>) -> Option<String> {
        let running = running_of(&self.pipelines, pipeline);
        if let Some(max) = max_running.filter(|max| running >= *max) {
            return Some(format!("{running} executions of this pipeline run, max_running is {max}"));
        }
        let all = self.running_in_all();
        let max = self.settings.max_running_per_workflow.filter(|max| all >= *max)?;
        Some(format!("{all} executions of this workflow run, --max-running-per-workflow is {max}"))
    }

    /// Starts whoever may start now.
    pub(super) fn start_next(&mut self) {
        if self.draining.is_some() {
            return;
        }
        // What waits to leave goes first, stops above all.
        self.release_calls();
        loop {
            let (now, pipelines, outbox) = (self.now, &self.pipelines, &self.outbox);
            let of_pipeline = self.sabotaged(Sabotage::LimitOfThePipeline);
            let limit = self.settings.max_running_per_workflow;
            if !of_pipeline && limit.is_some_and(|max| self.running_in_all() >= max) {
                break;
            }
            let held = |waiter: &Waiter| {
                pipelines.get(waiter.pipeline).is_some_and(|p| {
                    let denied = p.start_denied.is_some() && p.start_again_at > now;
                    let limits = waiter.max_running.into_iter().chain(limit.filter(|_| of_pipeline));
                    denied
                        || p.cannot_be_listed()
                        || self.is_doubted(&waiter.key)
                        || limits.min().is_some_and(|max| running_of(pipelines, waiter.pipeline) >= max)
                })
            };
            let has_room = |client: &ClientKey| outbox.write_time(client, now) <= now;
            let Some(head) = self.queue.head(now, held, has_room).cloned() else { break };
            let has_past = self.families.get(&head.key).is_some_and(|f| !f.executions.is_empty());
            if !self.is_freshly_listed(head.pipeline, has_past) || !self.may_start(&head) {
                break;
            }
            let Some(waiter) = self.queue.take(&head) else { break };
            self.start(waiter);
            self.release_calls();
        }
        let clients: BTreeSet<&ClientKey> = self.queue.waiters().map(|w| &w.client).collect();
        let times = clients.into_iter().map(|client| self.outbox.write_time(client, self.now));
        let next = times.filter(|at| *at > self.now).min();
        self.timers.extend(next.map(|at| (at, Timer::Queue)));
        // Who waits behind others is not told Pending for long while another pod has started it.
        if self.queue_listed_at.plus(RELIST_EVERY) > self.now {
            return;
        }
        self.queue_listed_at = self.now;
        let pipelines: BTreeSet<usize> = self.queue.waiters().map(|w| w.pipeline).collect();
        for pipeline in pipelines {
            self.is_freshly_listed(pipeline, false);
        }
    }

    fn start(&mut self, waiter: Waiter) {
        let (key, number) = (waiter.key, waiter.attempt);
        let predecessor = self.predecessors.get(&(key, number)).cloned().flatten();
        let Some(spelling) = self.spelling(waiter.pipeline) else {
            let not_before = self.now.plus(Duration::from_secs(1));
            self.queue.join(Waiter { not_before, ..waiter });
            return;
        };
        let Some(attempt) = self.attempt(key, number) else { return };
        let (asked, group) = (attempt.desk.asked_since, attempt.rules.group);
        let Some(task) = attempt.task.clone() else { return };
        let Action::Execute(execute) = &task.action else { return };
        let token = self.start_token(&task, &key, predecessor.as_deref());
        let mut marker = Marker::of(&task, &key, predecessor.as_deref(), &execute.args_digest, self.run.stamp());
        marker.asked = self.first_asked(&task, group, asked);
        let args = StartExecution {
            pipeline: spelling,
            token,
            display_name: execute.display_name.clone().unwrap_or_else(|| identity::display_name(&task, &key)),
            description: marker.describe(execute.description.as_deref()),
            parameters: execute.parameters.clone(),
            version: execute.version,
            max_parallel_steps: execute.max_parallel_steps,
            selective: (!execute.selected_steps.is_empty() || execute.source_execution_arn.is_some()).then(|| {
                Selective {
                    source_execution_arn: execute.source_execution_arn.clone(),
                    steps: execute.selected_steps.clone(),
                }
            }),
        };
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        attempt.stage = Stage::Starting(Box::new(Flight {
            args,
            predecessor,
            first_sent: self.now,
            tries: 0,
            uncertain: false,
            retry_at: None,
        }));
        self.starts_in_flight += 1;
        if let Some(p) = self.pipelines.get_mut(waiter.pipeline) {
            p.starting += 1;
        }
        if self.pipelines.get(waiter.pipeline).is_some_and(|p| p.start_denied.is_some()) {
            // Where starts are denied, one tries at a time.
            let again_at = self.now.plus(self.denied_pause(waiter.pipeline));
            self.pipelines.get_mut(waiter.pipeline).into_iter().for_each(|p| p.start_again_at = again_at);
            self.timers.insert((again_at, Timer::Queue));
        }
        self.send_start(key, number);
    }

    fn send_start(&mut self, key: Key, number: u32) {
        let broken = self.sabotaged(Sabotage::TokenNewAfterLoss);
        let Some(pipeline) = self.attempt(key, number).map(|a| a.pipeline) else { return };
        let Some(Stage::Starting(flight)) =
            self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)).map(|a| &mut a.stage)
        else {
            return;
        };
        flight.retry_at = None;
        flight.tries += 1;
        if broken && flight.uncertain {
            flight.args.token = format!("{:064}", flight.tries);
        }
        let call = Call::StartExecution(Box::new(flight.args.clone()));
        self.call_for(Priority::Start, pipeline, call, Purpose::Start { key, attempt: number });
    }

    /// Sends an uncertain start again, or gives the token up and looks for what it may have started.
    fn repeat_start(&mut self, key: Key, number: u32) {
        let Some(attempt) = self.attempt(key, number) else { return };
        let Stage::Starting(flight) = &attempt.stage else { return };
        let (first_sent, exit_handler) = (flight.first_sent, attempt.rules.exit_handler);
        let over = self.closed.as_ref().is_some_and(|closed| !(closed.except_exit_handlers && exit_handler));
        let over = over || self.timed_out_waiting(key, number).is_some();
        if !over && self.now < first_sent.plus(REPEAT_FOR) {
            self.send_start(key, number);
        } else {
            // A repeat would start what a lost request did not.
            self.landed(key, number);
            self.search(key, number, false, "the start's outcome stayed unknown");
        }
    }

    /// The start is no longer on its way.
    pub(super) fn landed(&mut self, key: Key, number: u32) -> Option<Box<Flight>> {
        let attempt = self.attempt_mut(key, number)?;
        let pipeline = attempt.pipeline;
        let Stage::Starting(flight) = std::mem::replace(&mut attempt.stage, Stage::Locating) else { return None };
        self.starts_in_flight = self.starts_in_flight.saturating_sub(1);
        if let Some(p) = self.pipelines.get_mut(pipeline) {
            p.starting = p.starting.saturating_sub(1);
        }
        Some(flight)
    }

    /// Takes back a start that never left; one that was sent before stays uncertain and is found by its marker.
    pub(super) fn unsend_start(&mut self, key: Key, number: u32) {
        self.landed(key, number);
    }
}

/// How many executions of a pipeline run, whichever role calls it.
fn running_of(pipelines: &[Pipeline], pipeline: usize) -> usize {
    let Some(arn) = pipelines.get(pipeline).map(|p| &p.arn) else { return 0 };
    pipelines.iter().filter(|p| p.arn.eq_ignore_ascii_case(arn)).map(Pipeline::running).sum()
}

/// `max_running` of a task.
pub(super) fn max_running(task: &Task) -> Option<usize> {
    match &task.action {
        Action::Execute(execute) => execute.max_running,
        _ => None,
    }
}
