//! All nodes of the workflow: which there are, and who looks when something changed.

use std::{collections::BTreeSet, sync::Arc};

use foldhash::HashMap;

use crate::{
    input::{Action, MockState, Task},
    pipelines::{CallError, CallReply, Time},
    protocol::Phase,
};

use super::{
    RequestId,
    attempt::{Attempt, Kin},
    effects::{NodeRef, Timer, Whose},
    execution::EndStage,
    key::Key,
    marker::WhenOver,
    notes::Note,
    slab::{AttemptId, ExecutionId, PipelineId, Slab, StopId, ValidationId},
    stop_node::{Looks, StopNode, StopScope},
    validation::Validation,
    world::World,
};

mod admission;
mod starts;

/// Everything known of one key.
#[derive(Debug)]
struct KeyRecord {
    /// The pipeline that the key is for, as its newest client calls it; a request for another is refused.
    pipeline: PipelineId,
    template_name: Arc<str>,
    /// By their numbers, the first first. Few nodes have a second, and a map would take ten times as much.
    attempts: Vec<(u32, AttemptId)>,
}

impl KeyRecord {
    fn attempt(&self, number: u32) -> Option<AttemptId> {
        let place = self.attempts.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.attempts.get(place).map(|(_, id)| *id)
    }

    fn ids(&self) -> impl Iterator<Item = AttemptId> {
        self.attempts.iter().map(|(_, id)| *id)
    }

    fn add(&mut self, number: u32, id: AttemptId) {
        let place = self.attempts.partition_point(|(known, _)| *known < number);
        self.attempts.insert(place, (number, id));
    }
}

/// A node as a task names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum NodeName {
    Execute(Key, u32),
    Validate(Key),
    Stop(Key),
}

impl NodeName {
    /// The node that a task asks for; a mocked one has none.
    fn of(task: &Task) -> Result<Self, MockState> {
        match &task.action {
            Action::Mock(state) => Err(*state),
            Action::Validate { .. } => Ok(Self::Validate(Key::of_question(task))),
            Action::Stop { .. } => Ok(Self::Stop(Key::of_question(task))),
            Action::Execute(_) => Ok(Self::Execute(Key::of_execution(task), task.attempt)),
        }
    }
}

/// Every node that was asked for.
#[derive(Default)]
pub struct Nodes {
    /// The `execute` nodes.
    keys: HashMap<Key, KeyRecord>,
    /// The names of their templates, few for thousands of nodes.
    templates: BTreeSet<Arc<str>>,
    /// The others.
    questions: HashMap<NodeName, NodeRef>,
    attempts: Slab<AttemptId, Attempt>,
    validations: Slab<ValidationId, Validation>,
    stops: Slab<StopId, StopNode>,
    /// Those with a request that is not answered.
    asked: Vec<NodeRef>,
    /// That there are too many was said.
    too_many_told: bool,
    /// When it was last looked whether the pipelines of waiting nodes have to be listed again.
    waiting_listed_at: Time,
}

impl Nodes {
    /// All attempts, in the order in which they were first asked for.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().map(|(_, attempt)| attempt)
    }

    /// One of them.
    pub fn attempt(&self, id: AttemptId) -> &Attempt {
        &self.attempts[id]
    }

    /// Whether another machine would find in AWS how each has ended. Who ended without an execution would be started, and a
    /// stop would stop what runs by then.
    pub fn can_be_found_again(&self) -> bool {
        self.stops.ids().next().is_none() && !self.attempts().any(Attempt::is_untraced)
    }

    /// Whether the end of each was told.
    pub fn ends_are_told(&self) -> bool {
        let (validations, stops) = (&self.validations, &self.stops);
        self.attempts().all(Attempt::end_is_told)
            && validations.iter().all(|(_, validation)| validation.end_is_told())
            && stops.iter().all(|(_, stop)| stop.end_is_told())
    }

    fn named(&self, name: &NodeName) -> Option<NodeRef> {
        match name {
            NodeName::Execute(key, number) => self.keys.get(key)?.attempt(*number).map(NodeRef::Execute),
            NodeName::Validate(_) | NodeName::Stop(_) => self.questions.get(name).copied(),
        }
    }

    fn of_key(&self, key: &Key) -> Vec<AttemptId> {
        self.keys.get(key).map(|record| record.ids().collect()).unwrap_or_default()
    }

    /// Whether a node follows this execution, or waits for its end.
    pub fn is_followed(&self, id: ExecutionId, w: &World) -> bool {
        let follows = |node: AttemptId| self.attempts[node].followed() == Some(id);
        self.interested(id, w).into_iter().any(follows) || self.stops.iter().any(|(_, stop)| stop.awaits(id))
    }

    /// All attempts of the execution's key, and those attached to it.
    fn interested(&self, id: ExecutionId, w: &World) -> BTreeSet<AttemptId> {
        let tracked = &w.executions[id];
        self.of_key(&tracked.key()).into_iter().chain(tracked.attached()).collect()
    }

    /// Whether it is stopped once not even exit handlers go on.
    pub fn stops_when_gone(&self, id: ExecutionId, w: &World) -> bool {
        let of_key = self.of_key(&w.executions[id].key()).into_iter().map(|node| &self.attempts[node]);
        let followers: Vec<&Attempt> = of_key.filter(|attempt| attempt.followed() == Some(id)).collect();
        if followers.is_empty() {
            return w.executions[id].when_over() != WhenOver::Leave;
        }
        followers.into_iter().any(Attempt::stops_when_over)
    }

    /// Whether somebody still waits to learn what runs of a pipeline.
    pub fn still_look(&self, w: &World) -> bool {
        let waits = |pipeline: PipelineId| {
            self.attempts().any(|attempt| attempt.pipeline() == pipeline && attempt.is_locating())
                || self.stops.iter().any(|(_, stop)| stop.pipeline() == pipeline && stop.is_looking())
        };
        w.pipelines.ids().any(|id| {
            let listing = w.pipelines[id].listing();
            listing.is_running() || (listing.is_wanted() && waits(id))
        })
    }

    /// Whether what was there when a pipeline was listed may have been revived since, for somebody who is about to start
    /// another.
    fn may_be_revived(&self, pipeline: PipelineId, w: &World) -> bool {
        let mut starting = self.attempts().filter(|attempt| attempt.pipeline() == pipeline && attempt.may_start());
        starting.any(|attempt| !w.executions.of_key(&attempt.key()).is_empty())
    }

    fn kin(&self, id: AttemptId) -> Kin {
        let attempt = &self.attempts[id];
        let Some(record) = self.keys.get(&attempt.key()) else {
            return Kin { newest_asked: attempt.number(), other_start: false };
        };
        let mut others = record.ids().filter(|other| *other != id);
        Kin {
            newest_asked: record.attempts.last().map_or(attempt.number(), |(newest, _)| *newest),
            other_start: others.any(|other| self.attempts[other].is_starting()),
        }
    }

    fn advance_attempt(&mut self, id: AttemptId, w: &mut World) {
        let kin = self.kin(id);
        self.attempts[id].advance(kin, w);
    }

    fn advance_stop(&mut self, id: StopId, w: &mut World) {
        let scope = self.stops[id].scope().clone();
        if scope == StopScope::Everything && self.stops[id].is_looking() {
            self.stop_everything(w);
        }
        let Looks::ForStarts { locating } = self.stops[id].advance(w) else { return };
        let concerned = |attempt: &Attempt| scope.key().is_none_or(|key| key == attempt.key());
        let starts = |attempt: &Attempt| attempt.is_starting() || (locating && attempt.is_locating());
        if self.attempts().any(|attempt| concerned(attempt) && starts(attempt)) {
            self.stops[id].wait_for_starts(w);
            return;
        }
        if let Some(key) = scope.key() {
            self.drop_unstarted(&key, w);
        }
        self.stops[id].settle(w);
    }

    /// Nothing more starts, whoever waits ends.
    fn stop_everything(&mut self, w: &mut World) {
        let text = "a stop task of the workflow stopped everything";
        w.closing.stop_everything(text, w.fx.now());
        for node in w.queue.nodes() {
            self.attempts[node].end_unstarted(text, w.fx.now(), w);
        }
    }

    /// Nodes of a key that have not started never will: each ends when it is certain that no earlier process has started it.
    fn drop_unstarted(&mut self, key: &Key, w: &mut World) {
        let mut waiting = self.of_key(key);
        waiting.retain(|node| self.attempts[*node].drop_unstarted(w.fx.now()));
        for node in waiting {
            self.advance_attempt(node, w);
        }
    }

    /// A node looks at what is known and does what follows.
    pub fn advance(&mut self, node: NodeRef, w: &mut World) {
        match node {
            NodeRef::Execute(id) => self.advance_attempt(id, w),
            NodeRef::Validate(id) => self.validations[id].advance(w),
            NodeRef::Stop(id) => self.advance_stop(id, w),
        }
    }

    /// Answers every request for which nothing better is on its way. The one place where nodes are told: after all that
    /// an event leads to has settled.
    pub fn answer_waiting(&mut self, w: &mut World) {
        for node in std::mem::take(&mut self.asked) {
            let until = match node {
                NodeRef::Execute(id) => self.attempts[id].answer(w),
                NodeRef::Validate(id) => self.validations[id].answer(w),
                NodeRef::Stop(id) => self.stops[id].answer(w),
            };
            if let Some(until) = until {
                w.fx.wake(until, Timer::Node(node));
                self.asked.push(node);
            }
        }
    }

    /// A node's timer has come.
    pub fn woken(&mut self, node: NodeRef, w: &mut World) {
        if let NodeRef::Execute(id) = node {
            self.attempts[id].woken(w.fx.now());
        }
        self.advance(node, w);
    }

    /// Every node of the pipeline that has not ended looks again.
    pub fn pipeline_changed(&mut self, pipeline: PipelineId, w: &mut World) {
        let attempts =
            self.attempts.iter().filter(|(_, attempt)| attempt.pipeline() == pipeline && !attempt.is_ended());
        let validations = self.validations.iter().filter(|(_, v)| v.pipeline() == pipeline && !v.is_ended());
        // A stop of everything waits for every pipeline.
        let stops = self.stops.iter().filter(|(_, s)| (s.pipeline() == pipeline || s.is_looking()) && !s.is_ended());
        let mut nodes: Vec<((Time, Option<RequestId>), NodeRef)> = attempts
            .map(|(id, attempt)| (attempt.turn(), NodeRef::Execute(id)))
            .chain(validations.map(|(id, validation)| (validation.turn(), NodeRef::Validate(id))))
            .chain(stops.map(|(id, stop)| (stop.turn(), NodeRef::Stop(id))))
            .collect();
        // In the order in which they asked: the start queue is first in, first out.
        nodes.sort();
        for (_, node) in nodes {
            self.woken(node, w);
        }
    }

    /// A pipeline was described.
    pub fn digest_changed(&mut self, pipeline: PipelineId, w: &mut World) {
        let asking = self.validations.iter().filter(|(_, validation)| validation.pipeline() == pipeline);
        let asking: Vec<ValidationId> = asking.map(|(id, _)| id).collect();
        for id in asking {
            self.advance(NodeRef::Validate(id), w);
        }
        let resuming = |attempt: &Attempt| attempt.pipeline() == pipeline && attempt.is_resuming();
        let resuming: Vec<AttemptId> =
            self.attempts.iter().filter(|(_, attempt)| resuming(attempt)).map(|(id, _)| id).collect();
        for id in resuming {
            self.advance_attempt(id, w);
        }
    }

    /// The account's pipelines are known, or not yet: whoever stops everything looks on.
    pub fn survey_changed(&mut self, w: &mut World) {
        let looking: Vec<StopId> = self.stops.iter().filter(|(_, stop)| stop.is_looking()).map(|(id, _)| id).collect();
        for id in looking {
            self.advance(NodeRef::Stop(id), w);
        }
    }

    /// A pipeline is to be listed again.
    pub fn renew_listing(&self, pipeline: PipelineId, w: &mut World) {
        let revivable = self.may_be_revived(pipeline, w);
        w.pipelines.renew(pipeline, revivable, &mut w.fx);
    }

    /// What is known of an execution changed: whoever it concerns looks.
    pub fn execution_changed(&mut self, id: ExecutionId, whose: Whose, w: &mut World) {
        let unconfirmed = w.executions[id].end() == EndStage::Seen && w.executions[id].gone().is_none();
        if whose == Whose::Key && unconfirmed && self.is_followed(id, w) {
            w.describe(id);
        }
        let mut nodes = self.interested(id, w);
        if whose == Whose::Followers {
            nodes.retain(|node| self.attempts[*node].followed() == Some(id));
        }
        for node in nodes {
            self.advance_attempt(node, w);
        }
        // A stop node ends when the last execution that it waits for has.
        if !w.executions[id].is_open() {
            let done: Vec<StopId> = self.stops.ids().filter(|stop| self.stops[*stop].has_ended(id)).collect();
            for stop in done {
                self.advance(NodeRef::Stop(stop), w);
            }
        }
        self.released(id, w);
    }

    /// A node follows this execution no more: its steps go with the last.
    pub fn released(&self, id: ExecutionId, w: &mut World) {
        if !self.is_followed(id, w) {
            w.executions.drop_steps(id);
        }
    }

    /// An execution of this workflow was found. One that a stop task or the workflow's end would have stopped, had it been
    /// known, is stopped. After a restart nobody asks for the nodes that Argo has ended meanwhile; their executions are
    /// found by their markers, which say what becomes of them.
    pub fn adopted(&mut self, id: ExecutionId, w: &mut World) {
        let tracked = &w.executions[id];
        if tracked.is_live() {
            let arn = tracked.arn().to_owned();
            let node = self.keys.get(&tracked.key()).and_then(|record| record.attempt(tracked.attempt()));
            // A list may be quicker than the answer of the start that it already shows.
            if let Some(node) = node.filter(|node| self.attempts[*node].is_being_started()) {
                self.attempts[node].start_shows();
                w.fx.note(Note::ExecutionStarted { arn });
            } else {
                w.fx.note(Note::ExecutionAdopted { arn });
            }
        }
        self.stop_unasked(id, w);
        if self.stops.iter().any(|(_, stop)| stop.catches(id, w)) {
            w.want_stop(id);
        }
    }

    fn stop_unasked(&self, id: ExecutionId, w: &mut World) {
        let Some(closed) = w.closing.over() else { return };
        let wanted = match w.executions[id].when_over() {
            WhenOver::Stop => true,
            WhenOver::ExitHandler => closed.holds_for(true),
            WhenOver::Leave => false,
        };
        if wanted && !self.is_followed(id, w) {
            w.want_stop(id);
        }
    }

    /// The workflow is over: its nodes end, and what nobody follows is stopped.
    pub fn workflow_is_over(&mut self, w: &mut World) {
        for id in self.attempts.ids() {
            self.attempts[id].workflow_is_over(w);
        }
        let live: Vec<ExecutionId> = w.executions.live().collect();
        for id in live {
            self.stop_unasked(id, w);
        }
    }

    /// A start came back.
    pub fn start_answered(&mut self, id: AttemptId, result: Result<CallReply, CallError>, w: &mut World) {
        if self.attempts[id].start_answered(result, w) {
            self.advance(NodeRef::Execute(id), w);
        }
    }

    /// The marker of a resume was written, or not.
    pub fn mark_answered(&mut self, id: AttemptId, result: Result<CallReply, CallError>, w: &mut World) {
        if self.attempts[id].mark_answered(result, w) {
            self.advance(NodeRef::Execute(id), w);
        }
    }

    /// A resume came back.
    pub fn resume_answered(&mut self, id: AttemptId, result: Result<CallReply, CallError>, w: &mut World) {
        if self.attempts[id].resume_answered(result, w) {
            self.advance(NodeRef::Execute(id), w);
        }
    }

    /// These starts never left, and nothing is looked at any more to resume it: the process ends.
    pub fn unsend_starts(&mut self, nodes: Vec<AttemptId>, w: &mut World) {
        for id in nodes {
            self.attempts[id].unsend_start(w);
        }
        for id in self.attempts.ids() {
            self.attempts[id].looks_no_more(w);
        }
    }

    /// Earlier attempts of a key that still wait to start never will: a node has one start at a time.
    fn supersede_waiting(&mut self, key: &Key, number: u32, w: &mut World) {
        let Some(record) = self.keys.get(key) else { return };
        let earlier = record.attempts.iter().take_while(|(other, _)| *other < number).map(|(_, id)| *id);
        for id in earlier.filter(|id| self.attempts[*id].is_queued()).collect::<Vec<_>>() {
            self.attempts[id].end(Phase::Failed, &format!("superseded by attempt {number}"), None, w);
        }
    }
}
