//! A request comes in, is parked while something is about to become known, and is answered from what is known.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    input::{Action, Execute, MockState, Task},
    pipelines::Status,
    protocol::{ExecuteTemplateReply, NodeResult, Phase},
    text::sentence,
};

use super::{
    Command, HashSet, Machine, Note, Priority, RequestId, Sabotage,
    identity::{Key, execution_id},
    node::{Attempt, Desk, Family, NodeRef, Rules, Stage, StopNode, StopScope, Tracked, Trouble, Validation, View},
    report,
    starting::max_running,
};

/// What a poll gets when nothing may be said or started: draining, too many nodes.
pub const REST: Duration = Duration::from_secs(15);
/// A node whose past is not known says so after this long; before that the answer usually comes.
const PATIENCE: Duration = Duration::from_secs(5);

impl Machine {
    pub(super) fn requested(&mut self, request: RequestId, task: Arc<Task>) {
        self.uid.get_or_insert_with(|| task.workflow.uid.clone());
        let node = match NodeRef::of(&task) {
            Ok(node) => node,
            Err(state) => {
                self.out.push(Command::Answer { request, reply: mock(state), started: false });
                return;
            }
        };
        if let Some(reply) = self.admit(node, &task) {
            self.out.push(Command::Answer { request, reply, started: false });
            return;
        }
        match node {
            NodeRef::Execute(key, attempt) => self.advance(key, attempt),
            NodeRef::Validate(key) => self.advance_validation(key),
            NodeRef::Stop(key) => self.advance_stop(key),
        }
        // Four fifths: the rest is for the mailboxes on the way back.
        let deadline = self.now.plus(self.settings.reply_timeout.mul_f64(0.8));
        if let Some(desk) = self.desk(node) {
            desk.parked.push((request, deadline));
            self.wake_node(node, deadline);
        }
        // Calls that leave now cannot have come back: only what is settled is answered at once.
        self.answer_parked(node);
    }

    /// Whoever was told did not hear it.
    pub(super) fn unheard(&mut self, task: &Task) {
        if let Ok(node) = NodeRef::of(task)
            && let Some(desk) = self.desk(node)
        {
            desk.forget_told();
        }
    }

    /// Makes the node known; an answer means it is not taken in.
    fn admit(&mut self, node: NodeRef, task: &Arc<Task>) -> Option<ExecuteTemplateReply> {
        if self.desk(node).is_some() {
            return self.refuse_known(node, task);
        }
        if self.draining.is_some() || self.has_too_many() {
            return Some(ExecuteTemplateReply::free_poll(REST));
        }
        let pipeline = self.pipeline_of(task);
        let desk = Desk::new(self.now);
        let denied_grace = self.denied_grace(task);
        let keeps_client = self.sabotaged(Sabotage::FamilyKeepsItsClient) && self.has_attempts(node);
        match (&task.action, node) {
            (Action::Execute(execute), NodeRef::Execute(key, attempt)) => {
                if let Some(reply) = self.refuse_stranger(key, pipeline, task) {
                    return Some(reply);
                }
                let rules = Rules::of(task, execute, denied_grace);
                let warning = self.join_family(key, task, execute);
                let family = self.families.entry(key).or_insert_with(|| Family::new(pipeline));
                family.pipeline = if keeps_client { family.pipeline } else { pipeline };
                let pipeline = family.pipeline;
                family.template_name.get_or_insert_with(|| task.template_name.clone());
                if family.args_digest(attempt).is_none() {
                    family.args_digests.push((attempt, execute.args_digest.clone()));
                }
                family.attempts.insert(
                    attempt,
                    Box::new(Attempt {
                        desk,
                        pipeline,
                        rules,
                        task: Some(task.clone()),
                        stage: Stage::Locating,
                        warning,
                        trouble: None,
                        denied: None,
                        denied_turn: None,
                        rechecked: None,
                        timed_out_at: None,
                        dropped: None,
                        wake: None,
                    }),
                );
            }
            (Action::Validate { .. }, NodeRef::Validate(key)) => {
                self.validations
                    .insert(key, Validation { desk, task: Some(task.clone()), pipeline, ended: None, denied_grace });
            }
            (Action::Stop { .. }, NodeRef::Stop(key)) => {
                let (names, timeout) = StopScope::of(task)?;
                let stop = StopNode {
                    desk,
                    names,
                    timeout,
                    pipeline,
                    found: BTreeSet::new(),
                    settles: false,
                    targets: None,
                    gap: None,
                    open: HashSet::default(),
                    stopping_since: None,
                    wake: None,
                    ended: None,
                    denied_grace,
                };
                // What was looked for an earlier stop may have changed.
                self.surveys.retain(|client, survey| *client != task.client || !survey.is_done());
                self.stops.insert(key, stop);
                self.list_for_stop(key);
            }
            _ => return None,
        }
        self.open_nodes += 1;
        if let NodeRef::Execute(key, attempt) = node {
            self.supersede_waiting(key, attempt);
        }
        None
    }

    /// Whether no further node is taken in until one ends; said once each time.
    fn has_too_many(&mut self) -> bool {
        let full = self.open_nodes >= self.settings.max_nodes;
        if full && !self.too_many_told {
            self.warn(format!(
                "{} nodes of this workflow are open, further ones wait until some have ended",
                self.open_nodes
            ));
        }
        self.too_many_told = full;
        full
    }

    /// Earlier attempts that still wait to start never will: a node has one start at a time.
    fn supersede_waiting(&mut self, key: Key, attempt: u32) {
        let Some(family) = self.families.get(&key) else { return };
        let waiting: Vec<u32> = family
            .attempts
            .range(..attempt)
            .filter(|(_, a)| matches!(a.stage, Stage::Queued))
            .map(|(n, _)| *n)
            .collect();
        for number in waiting {
            self.end_attempt(key, number, Phase::Failed, &format!("superseded by attempt {attempt}"), None);
        }
    }

    /// A known node asks again: it may have ended, or the request may contradict it.
    fn refuse_known(&mut self, node: NodeRef, task: &Arc<Task>) -> Option<ExecuteTemplateReply> {
        if let (NodeRef::Execute(key, attempt), Action::Execute(execute)) = (node, &task.action) {
            let pipeline = self.pipeline_of(task);
            if let Some(reply) = self.refuse_stranger(key, pipeline, task) {
                return Some(reply);
            }
            let warning = self.join_family(key, task, execute);
            if let Some(a) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&attempt)) {
                a.warning = warning.or(a.warning.take());
                if matches!(a.stage, Stage::Locating) && a.task.is_none() {
                    a.task = Some(task.clone());
                }
            }
        }
        let ended = self.view(node).phase.is_some_and(Phase::is_terminal);
        if ended && self.sabotaged(Sabotage::EndNotRepeated) {
            return Some(ExecuteTemplateReply::free_poll(REST));
        }
        (self.draining.is_some() && !ended).then(|| ExecuteTemplateReply::free_poll(REST))
    }

    /// Another pipeline, account, region or template under a key is somebody's mistake: whatever runs is not touched.
    fn refuse_stranger(&self, key: Key, pipeline: usize, task: &Task) -> Option<ExecuteTemplateReply> {
        let family = self.families.get(&key)?;
        let name = task.execution_key.as_deref().unwrap_or("(none)");
        let says = |what: &str, known: &str, given: &str| {
            let text = format!(
                "malformed plugin input: execution_key `{}` is already used by this workflow for {what} `{known}`, not `{given}`: give every node its own, \"{{{{node.name}}}}\"",
                report::fit(name, 60)
            );
            Some(ExecuteTemplateReply::end(Phase::Error, report::message(&text), None))
        };
        if family.pipeline != pipeline {
            let (known, given) = (self.pipelines.get(family.pipeline)?, self.pipelines.get(pipeline)?);
            // The same pipeline under another role is no mistake: whoever listed first may have found it.
            if !known.arn.eq_ignore_ascii_case(&given.arn) {
                return says("pipeline", &known.arn, &given.arn);
            }
        }
        match &family.template_name {
            Some(known) if *known != task.template_name => says("template", known, &task.template_name),
            _ => None,
        }
    }

    /// The warning that a request deserves under its key.
    fn join_family(&self, key: Key, task: &Task, execute: &Execute) -> Option<String> {
        let known = self.families.get(&key).and_then(|f| f.args_digest(task.attempt));
        if known.is_some_and(|known| known != execute.args_digest) {
            return Some(
                "other arguments than the execution was started with (templates are re-rendered): following it"
                    .to_owned(),
            );
        }
        (task.execution_key.is_none() && execute.attach.is_none())
            .then(|| "no execution_key: identical nodes share one execution, set it to \"{{node.name}}\"".to_owned())
    }

    fn denied_grace(&self, task: &Task) -> Duration {
        let created = task.workflow_created;
        // The pod is a later one of the workflow: something may run, and a role may be about to be mended.
        let moved = created.is_some_and(|created| created.plus(Duration::from_secs(120)) < self.settings.pod_born);
        if moved { self.settings.denied_grace.max(Duration::from_secs(600)) } else { self.settings.denied_grace }
    }

    pub(super) fn attempt(&self, key: Key, number: u32) -> Option<&Attempt> {
        self.families.get(&key)?.attempts.get(&number).map(|attempt| &**attempt)
    }

    pub(super) fn attempt_mut(&mut self, key: Key, number: u32) -> Option<&mut Attempt> {
        self.families.get_mut(&key)?.attempts.get_mut(&number).map(|attempt| &mut **attempt)
    }

    fn has_attempts(&self, node: NodeRef) -> bool {
        self.families.get(&node.key()).is_some_and(|family| !family.attempts.is_empty())
    }

    pub(super) fn desk(&mut self, node: NodeRef) -> Option<&mut Desk> {
        match node {
            NodeRef::Execute(key, attempt) => {
                self.families.get_mut(&key)?.attempts.get_mut(&attempt).map(|attempt| &mut attempt.desk)
            }
            NodeRef::Validate(key) => self.validations.get_mut(&key).map(|v| &mut v.desk),
            NodeRef::Stop(key) => self.stops.get_mut(&key).map(|s| &mut s.desk),
        }
    }

    /// Answers who waits at a node: all when its view is settled, else those whose time is up.
    pub(super) fn answer_parked(&mut self, node: NodeRef) {
        if self.desk(node).is_none_or(|desk| desk.parked.is_empty()) {
            return;
        }
        let view = self.view(node);
        let (now, open) = (self.now, self.open_nodes);
        let live = self.pipelines.iter().map(|p| p.live.len()).sum();
        let Some(desk) = self.desk(node) else { return };
        let (answered, waiting): (Vec<_>, Vec<_>) =
            desk.parked.drain(..).partition(|(_, deadline)| view.settled || *deadline <= now);
        desk.parked = waiting;
        let replies: Vec<_> = answered
            .into_iter()
            .map(|(request, _)| Command::Answer {
                request,
                reply: desk.reply(view.clone(), node.key(), open, live, now),
                started: std::mem::take(&mut desk.started),
            })
            .collect();
        self.out.extend(replies);
    }

    /// What the node would be told now.
    pub(super) fn view(&self, node: NodeRef) -> View {
        match node {
            NodeRef::Execute(key, attempt) => self.view_attempt(key, attempt),
            NodeRef::Validate(key) => self.view_validation(key),
            NodeRef::Stop(key) => self.view_stop(key),
        }
    }

    fn view_attempt(&self, key: Key, number: u32) -> View {
        let Some(attempt) = self.attempt(key, number) else { return View::default() };
        let mut view = match &attempt.stage {
            Stage::Ended(reply) => return ended(reply),
            Stage::Following(arn) => self.view_followed(arn),
            Stage::Locating => self.view_locating(attempt.pipeline, attempt),
            Stage::Queued => self.view_queued(key, number, attempt),
            Stage::Starting(flight) if flight.uncertain => self.view_uncertain(attempt),
            Stage::Starting(_) => View::passing(Some(Phase::Pending), "starting"),
            Stage::Searching { text, .. } => {
                self.view_unknown(attempt, &format!("looking for an execution that may have started: {text}"))
            }
        };
        let stranger = match &attempt.stage {
            Stage::Following(arn) => self.executions.get(arn).and_then(Tracked::warning),
            _ => None,
        };
        if let Some(warning) = stranger.as_deref().or(attempt.warning.as_deref()).filter(|_| view.phase.is_some()) {
            view.message = format!("{}; warning: {warning}", view.message);
        }
        view
    }

    fn view_followed(&self, arn: &str) -> View {
        let Some(tracked) = self.executions.get(arn) else { return View::default() };
        let status = &tracked.execution.status;
        if tracked.seen.is_none() && tracked.trouble.is_none() {
            let mut view = View::passing(Some(Phase::Running), "started");
            view.outputs = Some(report::running_outputs(&tracked.execution.arn, &Status::Executing));
            return view;
        }
        let mut text = report::running_message(status, tracked.steps.as_deref());
        if let Some(trouble) = tracked.stop_trouble.as_ref().or(tracked.trouble.as_ref()) {
            text = format!("{}; the execution goes on, but ", report::fit(&text, 80));
            text.push_str(&told(trouble, text.len()));
        }
        View {
            phase: Some(Phase::Running),
            message: text,
            outputs: Some(report::running_outputs(&tracked.execution.arn, status)),
            // An end that is known but not yet explained takes a describe and the steps; a stop that was just sent
            // ends the node as soon as it is taken.
            settled: status.is_live()
                && !(self.stops_what_runs()
                    && tracked.stop.is_some_and(|stop| stop.tries == 1 && stop.send_at.is_none())),
        }
    }

    /// Before the past is known: nothing for a moment, then `Running` with the reason, since it may run for hours.
    fn view_unknown(&self, attempt: &Attempt, text: &str) -> View {
        let long = self.now >= attempt.desk.asked_since.plus(PATIENCE);
        if long || attempt.desk.told() {
            View { phase: Some(Phase::Running), message: text.to_owned(), outputs: None, settled: true }
        } else {
            View::passing(None, text)
        }
    }

    fn view_uncertain(&self, attempt: &Attempt) -> View {
        let mut text = "it is not known whether it started; repeating the start with the same token".to_owned();
        if let Some(trouble) = &attempt.trouble {
            text = format!("{text}: {}", told(trouble, text.len() + 2));
        }
        self.view_unknown(attempt, &text)
    }

    fn view_locating(&self, pipeline: usize, attempt: &Attempt) -> View {
        match self.locating_trouble(pipeline).or(attempt.trouble.as_ref()) {
            // A denial is for the user to mend: it is shown at once.
            Some(trouble) if trouble.denied => View::settled(Phase::Running, told(trouble, 0), None),
            Some(trouble) => {
                let text = "looking for an earlier execution: ";
                self.view_unknown(attempt, &format!("{text}{}", told(trouble, text.len())))
            }
            None => self.view_unknown(attempt, "looking for an earlier execution of this node"),
        }
    }

    fn view_queued(&self, key: Key, number: u32, attempt: &Attempt) -> View {
        // A denial that was not met again when its turn had come is not what the node waits for.
        let denied = attempt.denied.as_ref().filter(|_| attempt.denied_turn >= Some(self.now));
        let own = denied.or(attempt.trouble.as_ref());
        if let Some(trouble) = own.or_else(|| self.starting_trouble(attempt.pipeline)) {
            return View::settled(Phase::Pending, told(trouble, 0), None);
        }
        let Some(task) = &attempt.task else { return View::default() };
        let ahead = self.queue.ahead(key, number);
        if let Some(text) = self.queue.full(&task.client) {
            let text = format!("waiting for SageMaker capacity ({ahead} ahead in this workflow): {text}");
            return View::settled(Phase::Pending, text, None);
        }
        match self.limit_reached(attempt.pipeline, max_running(task)) {
            Some(limit) => {
                let text = format!("waiting: {limit} ({ahead} ahead in this workflow)");
                View::settled(Phase::Pending, text, None)
            }
            None => View::passing(Some(Phase::Pending), format!("waiting to start ({ahead} ahead in this workflow)")),
        }
    }

    /// Ends an attempt for good.
    pub(super) fn end_attempt(&mut self, key: Key, number: u32, phase: Phase, text: &str, arn: Option<&Arc<str>>) {
        let outputs = arn.and_then(|arn| self.executions.get(arn)).map(|tracked| {
            let steps = tracked.steps.as_deref().unwrap_or_default();
            if tracked.execution.status.is_live() {
                report::running_outputs(&tracked.execution.arn, &tracked.execution.status)
            } else {
                report::end_outputs(&tracked.execution, steps)
            }
        });
        self.queue.leave(key, number);
        let spelled = arn.map(|arn| self.spelled(arn));
        let stranger = arn.and_then(|arn| self.executions.get(arn)).and_then(Tracked::warning);
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        if matches!(attempt.stage, Stage::Ended(_)) {
            return;
        }
        let text = match stranger.or(attempt.warning.take()) {
            Some(warning) => {
                let room = report::MESSAGE_MAX.saturating_sub(warning.len() + "; warning: ".len());
                format!("{}; warning: {warning}", report::fit(text, room))
            }
            None => text.to_owned(),
        };
        attempt.task = None;
        let note = Note::NodeEnded { key, attempt: number, phase, message: text.clone(), arn: spelled };
        self.out.push(Command::Note(note));
        attempt.stage = Stage::Ended(Box::new(ExecuteTemplateReply::end(phase, report::message(&text), outputs)));
        self.open_nodes = self.open_nodes.saturating_sub(1);
        self.answer_parked(NodeRef::Execute(key, number));
    }

    /// Keeps the first answer of a pipeline's known number, or makes it known.
    pub(super) fn short(arn: &str) -> &str {
        execution_id(arn)
    }

    pub(super) fn call_for(
        &mut self,
        priority: Priority,
        pipeline: usize,
        operation: crate::pipelines::Call,
        purpose: super::Purpose,
    ) {
        if let Some(client) = self.pipelines.get(pipeline).map(|p| p.client.clone()) {
            self.call(priority, client, operation, purpose);
        }
    }
}

/// A trouble's sentence: what, and since when. `before` bytes of the message are taken already; the text gives way.
pub(super) fn told(trouble: &Trouble, before: usize) -> String {
    let since = crate::text::rfc3339(trouble.since).unwrap_or_default();
    let since = format!(" (since {since})");
    let room = report::MESSAGE_MAX.saturating_sub(before + since.len());
    format!("{}{since}", report::fit(&sentence::shorten(&trouble.text, room), room))
}

pub(super) fn ended(reply: &ExecuteTemplateReply) -> View {
    let node = reply.node.clone().unwrap_or_default();
    View { phase: node.phase, message: node.message, outputs: node.outputs, settled: true }
}

/// The answers of `mock`, as the original plugin gives them.
fn mock(state: MockState) -> ExecuteTemplateReply {
    match state {
        MockState::Success => ExecuteTemplateReply::end(Phase::Succeeded, "success", None),
        MockState::Error => ExecuteTemplateReply::end(Phase::Error, "error", None),
        MockState::Running => ExecuteTemplateReply {
            node: Some(NodeResult { phase: Some(Phase::Running), message: "running".to_owned(), outputs: None }),
            requeue: Some("1m0s".to_owned()),
        },
    }
}
