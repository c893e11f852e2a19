//! The table of [`super::identity`] carried out: follow, report, or start; and the search for what a lost start may have started.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    input::{Action, Task},
    pipelines::{Call, ClientKey, Selective, StartExecution, Status, Time},
    protocol::Phase,
};

use super::{
    Machine, Priority, Purpose, Sabotage, Timer, backoff,
    identity::{self, Decision, Key, Known, Marker},
    locating::Located,
    node::{EndStage, Flight, Listing, NodeRef, Stage, Trouble},
    queue::Waiter,
    report::spoken,
    start_outcome::DENIED_AGAIN,
};

/// After this long a repeated start is no longer trusted to be recognised by its token (its life is documented nowhere).
const REPEAT_FOR: Duration = Duration::from_secs(300);
/// How often it is looked whether a pipeline with waiting nodes has to be listed again.
const RELIST_EVERY: Duration = Duration::from_secs(5);
/// How long an execution that may have started is looked for in the list.
const SEARCH_FOR: Duration = Duration::from_secs(300);

impl Machine {
    /// Looks at what is known of an attempt and does what follows.
    pub(super) fn advance(&mut self, key: Key, number: u32) {
        let Some((pipeline, attempt)) =
            self.families.get(&key).and_then(|f| Some((f.pipeline, f.attempts.get(&number)?)))
        else {
            return;
        };
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

    fn wait_located(&mut self, key: Key, number: u32, pipeline: usize) {
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
        self.track_foreign(key, number, pipeline, &arn);
        self.report(key, number, &arn.into());
    }

    fn decide(&mut self, key: Key, number: u32) {
        let Some(epoch) = self.epoch.map(|e| if self.sabotaged(Sabotage::NoEpoch) { Time(0) } else { e }) else {
            return;
        };
        let Some(family) = self.families.get(&key) else { return };
        let other_start = family
            .attempts
            .iter()
            .any(|(n, a)| *n != number && matches!(a.stage, Stage::Starting(_) | Stage::Searching { .. }));
        let unseen = family.executions.iter().any(|arn| self.executions.get(arn).is_some_and(|t| t.seen.is_none()));
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
            .map(|t| Known::new(t.attempt, &t.execution, t.stop_began, self.now))
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
        match identity::decide(&known, number, newest_asked, epoch) {
            Decision::Follow(arn) => self.follow(key, number, &arn.into()),
            Decision::AwaitEnd(arn) => self.follow(key, number, &arn.into()),
            Decision::Report(arn) => self.report(key, number, &arn.into()),
            Decision::RecheckThenStart { arn, predecessor } => self.recheck(key, number, &arn.into(), predecessor),
            Decision::Start { predecessor } => self.want_start(key, number, predecessor),
            Decision::Superseded(by) => {
                self.end_attempt(key, number, Phase::Failed, &format!("superseded by attempt {by}"), None);
            }
        }
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
            self.describe(arn);
        }
        if !vague.is_empty() {
            self.wake_attempt(key, number, Duration::from_secs(5));
        }
        !vague.is_empty()
    }

    pub(super) fn follow(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        self.queue.leave(key, number);
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
        match self.executions.get(arn).map(|t| (t.gone.clone(), t.execution.status.is_live())) {
            Some((Some(text), _)) => self.end_attempt(key, number, Phase::Error, &text, None),
            Some((None, true)) => {
                self.stop_if_over(key, number, arn);
                self.check_timeout(key, number, arn);
            }
            Some((None, false)) | None => {}
        }
    }

    /// An earlier attempt's execution may have been revived in the console: look once more before starting another.
    fn recheck(&mut self, key: Key, number: u32, arn: &Arc<str>, predecessor: Option<String>) {
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        if attempt.rechecked.as_ref() == Some(arn) {
            if self.executions.get(arn).is_some_and(|t| matches!(t.end, EndStage::Listing | EndStage::Known)) {
                self.want_start(key, number, predecessor);
            } else {
                // Until a describe comes back nothing is decided; one that failed is repeated.
                self.describe(arn);
                self.wake_attempt(key, number, Duration::from_secs(5));
            }
            return;
        }
        attempt.rechecked = Some(arn.clone());
        if let Some(tracked) = self.executions.get_mut(arn) {
            tracked.end = EndStage::Seen;
        }
        self.describe(arn);
    }

    fn want_start(&mut self, key: Key, number: u32, predecessor: Option<String>) {
        if self.still_searching(key, number) {
            return;
        }
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        // Followed before, and now to be started: what it followed was not its own. The task comes with the next request.
        let Some(task) = attempt.task.clone() else {
            attempt.stage = Stage::Locating;
            return;
        };
        let exit_handler = attempt.rules.exit_handler;
        let closed = self.closed.clone().filter(|closed| !(closed.except_exit_handlers && exit_handler));
        if let Some(closed) = closed.filter(|_| !self.sabotaged(Sabotage::StartsAfterOver)) {
            self.end_unstarted(key, number, &closed.text);
            return;
        }
        if let Some(text) = self.timed_out_waiting(key, number) {
            self.end_attempt(key, number, Phase::Failed, &text, None);
            return;
        }
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        let queued = matches!(attempt.stage, Stage::Queued) && self.queue.contains(key, number);
        attempt.stage = Stage::Queued;
        let pipeline = self.families.get(&key).map_or(0, |f| f.pipeline);
        if queued {
            let trouble = self.starting_trouble(pipeline).cloned();
            self.give_up_when_denied(key, number, trouble);
            return;
        }
        let max_running = self.max_running(&task);
        self.predecessors.insert((key, number), predecessor);
        self.queue.join(Waiter {
            key,
            attempt: number,
            client: task.client.clone(),
            pipeline,
            max_running,
            not_before: self.now,
        });
    }

    /// What keeps the nodes of a pipeline from starting: a denial, or a listing that has to come before and fails.
    pub(super) fn starting_trouble(&self, pipeline: usize) -> Option<&Trouble> {
        let p = self.pipelines.get(pipeline)?;
        let lists = matches!(p.listing, Listing::Wanted { .. } | Listing::Running { .. });
        p.start_denied.as_ref().or_else(|| self.locating_trouble(pipeline).filter(|_| lists))
    }

    pub(super) fn max_running(&self, task: &Task) -> Option<usize> {
        let own = match &task.action {
            Action::Execute(execute) => execute.max_running,
            _ => None,
        };
        match (own, self.settings.max_running_per_workflow) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn running(&self, pipeline: usize) -> usize {
        self.pipelines.get(pipeline).map_or(0, |p| p.live.len() + p.starting)
    }

    /// Starts whoever may start now.
    pub(super) fn start_next(&mut self) {
        if self.draining {
            return;
        }
        // What waits to leave goes first, stops above all.
        self.release_calls();
        loop {
            let (now, pipelines, outbox) = (self.now, &self.pipelines, &self.outbox);
            let held = |waiter: &Waiter| {
                pipelines.get(waiter.pipeline).is_some_and(|p| {
                    let denied = p.start_denied.is_some() && p.start_again_at > now;
                    denied
                        || p.cannot_be_listed()
                        || waiter.max_running.is_some_and(|max| p.live.len() + p.starting >= max)
                })
            };
            let has_room = |client: &ClientKey| outbox.write_time(client, now) <= now;
            let Some(head) = self.queue.head(now, held, has_room).cloned() else { break };
            if !self.is_freshly_listed(head.pipeline) || !self.may_start(&head) {
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
            self.is_freshly_listed(pipeline);
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
        let attempt = self.families.get(&key).and_then(|f| f.attempts.get(&number));
        let Some(task) = attempt.and_then(|a| a.task.clone()) else { return };
        let Action::Execute(execute) = &task.action else { return };
        let token = self.start_token(&task, &key, predecessor.as_deref());
        let marker = Marker::of(&task, &key, predecessor.as_deref(), &execute.args_digest);
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
            // Where starts are denied, one tries for all.
            p.start_again_at = self.now.plus(DENIED_AGAIN);
        }
        self.send_start(key, number);
    }

    fn send_start(&mut self, key: Key, number: u32) {
        let broken = self.sabotaged(Sabotage::TokenNewAfterLoss);
        let Some(pipeline) = self.families.get(&key).map(|f| f.pipeline) else { return };
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
        let Some(Stage::Starting(flight)) =
            self.families.get(&key).and_then(|f| f.attempts.get(&number)).map(|a| &a.stage)
        else {
            return;
        };
        let exit_handler = self.is_exit_handler(key, number);
        let over = self.closed.as_ref().is_some_and(|closed| !(closed.except_exit_handlers && exit_handler));
        if !over && self.now < flight.first_sent.plus(REPEAT_FOR) {
            self.send_start(key, number);
        } else {
            // A repeat would start what a lost request did not.
            self.landed(key, number);
            self.search(key, number, false, "the start's outcome stayed unknown");
        }
    }

    /// The start is no longer on its way.
    pub(super) fn landed(&mut self, key: Key, number: u32) -> Option<Box<Flight>> {
        let family = self.families.get_mut(&key)?;
        let pipeline = family.pipeline;
        let attempt = family.attempts.get_mut(&number)?;
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

    fn is_exit_handler(&self, key: Key, number: u32) -> bool {
        let attempt = self.families.get(&key).and_then(|f| f.attempts.get(&number));
        attempt.is_some_and(|a| a.rules.exit_handler)
    }

    /// Looks for what may have started. `token_used`: AWS says that the token was used, so something did.
    pub(super) fn search(&mut self, key: Key, number: u32, token_used: bool, text: &str) {
        let now = self.now;
        if let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) {
            attempt.stage = Stage::Searching { since: now, next: now, tries: 0, token_used, text: text.to_owned() };
        }
        self.search_again(key, number);
    }

    /// Whether an execution that may have started is still looked for. None found for so long is the node's end
    /// when AWS says that the token was used; else it is wanted again, under the same token.
    fn still_searching(&mut self, key: Key, number: u32) -> bool {
        let Some(family) = self.families.get_mut(&key) else { return false };
        let pipeline = family.pipeline;
        let listing = self.pipelines.get(pipeline).map(|p| &p.listing);
        let Some(attempt) = family.attempts.get_mut(&number) else { return false };
        let Stage::Searching { since, next, token_used, text, .. } = &attempt.stage else { return false };
        let next = *next;
        if self.now < since.plus(SEARCH_FOR) {
            self.wake_node(NodeRef::Execute(key, number), next);
            self.search_again(key, number);
            return true;
        }
        if matches!(listing, Some(Listing::Wanted { .. } | Listing::Running { .. })) {
            self.wait_located(key, number, pipeline);
            return true;
        }
        // Where nobody may list, the same token is all there is, and it is repeated.
        if !token_used && matches!(listing, Some(Listing::Complete | Listing::Denied)) {
            attempt.stage = Stage::Locating;
            return false;
        }
        let text = format!("it is not known whether the execution started, and none is listed: {text}");
        self.end_attempt(key, number, Phase::Error, &text, None);
        true
    }

    /// Wants another complete listing when the search's time for one has come.
    fn search_again(&mut self, key: Key, number: u32) {
        let now = self.now;
        let Some(family) = self.families.get_mut(&key) else { return };
        let pipeline = family.pipeline;
        let Some(Stage::Searching { next, tries, .. }) = family.attempts.get_mut(&number).map(|a| &mut a.stage) else {
            return;
        };
        if *next <= now {
            *next = now.plus(backoff(*tries + 1, Duration::from_secs(60)));
            *tries += 1;
            let at = *next;
            self.list_anew(pipeline);
            self.wake_node(NodeRef::Execute(key, number), at);
        }
    }
}
