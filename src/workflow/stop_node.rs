//! A `stop` node: it owns no execution, finds those it names, and waits until they have ended.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    input::{Action, Task},
    pipelines::Time,
    protocol::{Phase, ReplyText},
    results::Wanted,
};

use super::{
    RequestId,
    conversation::{Conversation, Telling, View},
    effects::{Effects, NodeRef, Subject, Timer},
    execution::TrackedExecution,
    executions::Starter,
    key::{Key, execution_id},
    pipeline::Located,
    report::{self, Story, spoken},
    slab::{ExecutionId, PipelineId, StopId},
    trouble::Trouble,
    world::World,
};

/// Who looks for what is to be stopped looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Who waits for a start to land.
const LANDS_SOON: Duration = Duration::from_secs(1);
/// A stop task waits so long for nodes that are still looking for an earlier execution: by then an execution that cannot be
/// described has had several tries, and whoever still waits for its request is not asked for any more.
const LOCATES_WITHIN: Duration = Duration::from_secs(60);

/// What a `stop` node stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopScope {
    Everything,
    /// What was started under this key.
    Of(Key),
    /// The execution with this ARN.
    Execution(String),
}

impl StopScope {
    /// Reads it from a task, with its time-out; nothing for one that is no `stop`.
    pub fn of(task: &Task) -> Option<(Self, Option<Duration>)> {
        let Action::Stop { execution_arn, timeout } = &task.action else { return None };
        let scope = match (execution_arn, &task.execution_key) {
            (Some(arn), _) => Self::Execution(arn.clone()),
            (None, Some(name)) => Self::Of(Key::named(&task.workflow.uid, name)),
            (None, None) => Self::Everything,
        };
        Some((scope, *timeout))
    }

    /// The key that it names.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Of(key) => Some(*key),
            Self::Everything | Self::Execution(_) => None,
        }
    }

    /// Whether it takes in an execution that was found by its marker.
    fn takes_in(&self, tracked: &TrackedExecution) -> bool {
        match self {
            Self::Of(key) => *key == tracked.key(),
            Self::Everything => tracked.is_ours_to_stop(),
            Self::Execution(_) => false,
        }
    }
}

/// One node that stops executions.
#[derive(Debug)]
pub struct StopNode {
    id: StopId,
    key: Key,
    conversation: Conversation,
    scope: StopScope,
    timeout: Option<Duration>,
    pipeline: PipelineId,
    denied_grace: Duration,
    stage: Stage,
    /// The timer that is set.
    wake: Option<Time>,
}

#[derive(Debug)]
enum Stage {
    /// What is to be stopped is not all known.
    Looking {
        /// What has been found, while there may be more.
        found: BTreeSet<ExecutionId>,
        /// Nothing was found, and it waits for what an earlier process may have started: what is created later is
        /// another's.
        settles: bool,
    },
    Stopping {
        targets: Vec<ExecutionId>,
        /// Which of them have not ended.
        open: BTreeSet<ExecutionId>,
        since: Time,
        /// Why there may be more.
        gap: Option<String>,
    },
    Ended(ReplyText),
}

/// What a stop node has to do with the others before it can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Nothing: it waits or has ended.
    No,
    /// It is known what runs; nodes that are about to start something come first.
    ForStarts {
        /// Those that look for an earlier execution count, too.
        locating: bool,
    },
}

impl StopNode {
    /// A node that asks for the first time.
    pub fn new(
        id: StopId,
        key: Key,
        pipeline: PipelineId,
        (scope, timeout): (StopScope, Option<Duration>),
        denied_grace: Duration,
        now: Time,
    ) -> Self {
        Self {
            id,
            key,
            conversation: Conversation::new(now),
            scope,
            timeout,
            pipeline,
            denied_grace,
            stage: Stage::Looking { found: BTreeSet::new(), settles: false },
            wake: None,
        }
    }

    /// What it stops.
    pub fn scope(&self) -> &StopScope {
        &self.scope
    }

    /// The pipeline that it names.
    pub fn pipeline(&self) -> PipelineId {
        self.pipeline
    }

    /// Its place among nodes that look at the same time.
    pub fn turn(&self) -> (Time, Option<RequestId>) {
        self.conversation.turn()
    }

    /// Whether it has come to its end.
    pub fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// Whether its end was told.
    pub fn end_is_told(&self) -> bool {
        self.conversation.end_is_told()
    }

    /// Whether it does not know yet all that is to be stopped.
    pub fn is_looking(&self) -> bool {
        matches!(self.stage, Stage::Looking { .. })
    }

    /// Whether it waits for this execution's end.
    pub fn awaits(&self, id: ExecutionId) -> bool {
        matches!(&self.stage, Stage::Stopping { open, .. } if open.contains(&id))
    }

    /// Whether it stops an execution that was found only now, although it was there when the node asked.
    pub fn catches(&self, id: ExecutionId, w: &World) -> bool {
        w.was_created_by(id, self.conversation.asked_since()) && self.scope.takes_in(&w.executions[id])
    }

    /// A request comes in; it is answered when there is something to say.
    pub fn park(&mut self, request: RequestId, fx: &Effects) {
        self.conversation.park(request, fx);
    }

    /// The last answer was not heard.
    pub fn unheard(&mut self) {
        self.conversation.forget_told();
    }

    /// An execution runs no more; whether it was the last that this node waits for.
    pub fn has_ended(&mut self, id: ExecutionId) -> bool {
        match &mut self.stage {
            Stage::Stopping { open, .. } => open.remove(&id) && open.is_empty(),
            Stage::Looking { .. } | Stage::Ended(_) => false,
        }
    }

    /// Looks at what is known and does what follows, up to where the other nodes matter.
    pub fn advance(&mut self, w: &mut World) -> Looks {
        if self.is_ended() {
            return Looks::No;
        }
        if let Some(text) = self.takes_too_long(w) {
            self.end(Phase::Failed, &text, w);
            return Looks::No;
        }
        if !self.is_looking() {
            self.end_when_all_have_ended(w);
            return Looks::No;
        }
        if let StopScope::Execution(arn) = &self.scope {
            let namer = Starter { key: self.key, attempt: 0, pipeline: self.pipeline };
            let id = w.executions.track_foreign(namer, arn, &mut w.fx);
            self.set_targets(vec![id], None, w);
            return Looks::No;
        }
        self.look(w)
    }

    fn look(&mut self, w: &mut World) -> Looks {
        let (all, since) = (self.scope == StopScope::Everything, self.conversation.asked_since());
        // No pipeline, no executions: a refusal is as good as a listing.
        let located = if all { w.survey(self.pipeline) } else { !matches!(w.locate(self.pipeline), Located::NotYet) };
        // What is known need not wait for what is not.
        self.stop_what_is_known(w);
        if !located {
            let denied = self.trouble(w).filter(|t| t.outlasted(since, self.denied_grace)).cloned();
            match denied {
                Some(trouble) => self.end(Phase::Error, trouble.text(), w),
                None => self.wake_after(LOOK_AGAIN, w),
            }
            return Looks::No;
        }
        // Whether something runs, or is about to, cannot be said of these yet; a stop of everything lets none start.
        Looks::ForStarts { locating: !all && w.fx.now() < since.plus(LOCATES_WITHIN) }
    }

    fn stop_what_is_known(&mut self, w: &mut World) {
        let Stage::Looking { found, settles } = &mut self.stage else { return };
        let asked = self.conversation.asked_since();
        let live = |t: &TrackedExecution| t.gone().is_none() && t.is_live();
        let to_stop = w.executions.iter().filter(|(_, t)| live(t) && self.scope.takes_in(t)).map(|(id, _)| id);
        let to_stop: Vec<ExecutionId> = to_stop.filter(|id| !*settles || w.was_created_by(*id, asked)).collect();
        for id in &to_stop {
            w.want_stop(*id);
        }
        found.extend(to_stop);
    }

    /// Something is about to start that it has to stop: it waits until that has landed.
    pub fn wait_for_starts(&mut self, w: &mut World) {
        self.wake_after(LANDS_SOON, w);
    }

    /// Nothing starts any more: waits for what an earlier process may have started last, then for the ends.
    pub fn settle(&mut self, w: &mut World) {
        let all = self.scope == StopScope::Everything;
        let Stage::Looking { found, settles } = &mut self.stage else { return };
        // What an earlier process started last may not be listed yet.
        let looked_into: Vec<PipelineId> = if all { w.pipelines.ids().collect() } else { vec![self.pipeline] };
        let lags_until = w.lags_until();
        let unsettled = looked_into.into_iter().filter(|id| !w.is_listed_after(*id, lags_until)).count();
        let limit = self.conversation.asked_since().plus(w.fx.settings().stop_wait);
        if !all && found.is_empty() && unsettled > 0 && w.fx.now() < limit {
            // Nobody names what is not there; what a stop of everything finds later, it stops all the same.
            *settles = true;
            self.wake_after(LOOK_AGAIN, w);
            return;
        }
        let targets = std::mem::take(found).into_iter().collect();
        let gap = all.then(|| w.pipelines.survey_gap(self.pipeline)).flatten();
        self.set_targets(targets, gap, w);
    }

    fn set_targets(&mut self, targets: Vec<ExecutionId>, gap: Option<String>, w: &mut World) {
        for id in &targets {
            w.want_stop(*id);
        }
        let open = targets.iter().copied().filter(|id| w.executions[*id].is_open()).collect();
        self.stage = Stage::Stopping { targets, open, since: w.fx.now(), gap };
        // Nothing takes too long yet: this sets the limit's timer.
        if self.takes_too_long(w).is_none() {
            self.end_when_all_have_ended(w);
        }
    }

    fn end_when_all_have_ended(&mut self, w: &mut World) {
        let Stage::Stopping { targets, open, gap, .. } = &self.stage else { return };
        if !open.is_empty() {
            return;
        }
        let mut text = match targets.len() {
            0 => "nothing to stop".to_owned(),
            1 => "the execution has ended".to_owned(),
            n => format!("{n} executions have ended"),
        };
        if let Some(gap) = gap {
            text.push_str(&format!("; {gap}"));
        }
        self.end(Phase::Succeeded, &text, w);
    }

    fn end(&mut self, phase: Phase, text: &str, w: &mut World) {
        let outputs = match &self.stage {
            Stage::Stopping { targets, .. } if targets.len() == 1 => targets.first().map(|id| {
                let tracked = &w.executions[*id];
                let story = Story::of(tracked.execution(), tracked.steps().unwrap_or_default());
                story.outputs(&Wanted::default(), w.output_room())
            }),
            _ => None,
        };
        self.stage = Stage::Ended(ReplyText::end(phase, report::message(text), outputs));
        w.tally.node_ended(w.fx.now());
    }

    /// The sentence for a stop node whose time is up: its own time-out, or so long after the stops were sent.
    fn takes_too_long(&self, w: &mut World) -> Option<String> {
        let own = self.timeout.map(|timeout| (self.conversation.asked_since().plus(timeout), timeout));
        let awaited = match &self.stage {
            Stage::Stopping { since, .. } => Some((w.fx.stop_limit(*since), w.fx.settings().stop_wait)),
            Stage::Looking { .. } | Stage::Ended(_) => None,
        };
        let (at, limit) = own.into_iter().chain(awaited).min()?;
        if w.fx.now() < at {
            w.fx.wake(at, Timer::Node(NodeRef::Stop(self.id)));
            return None;
        }
        let limit = spoken(limit);
        let Stage::Stopping { open, .. } = &self.stage else {
            let why = self.trouble(w).map(|t| format!(": {}", report::fit(t.text(), 120))).unwrap_or_default();
            return Some(format!("what is to be stopped was not found within {limit}{why}"));
        };
        let first = &w.executions[*open.first()?];
        let id = execution_id(first.arn());
        let why =
            first.any_trouble().map_or("a Callback step can block a stop".to_owned(), |t| report::fit(t.text(), 120));
        let who = match open.len() - 1 {
            0 => format!("execution {id} has"),
            more => format!("execution {id} and {more} others have"),
        };
        Some(format!("{who} not ended within {limit} ({why})"))
    }

    /// What keeps it from finding what is to be stopped.
    fn trouble<'w>(&self, w: &'w World) -> Option<&'w Trouble> {
        let locating = w.pipelines.locating_trouble(self.pipeline);
        let all = self.scope == StopScope::Everything;
        locating.or_else(|| w.pipelines.survey_trouble(self.pipeline).filter(|_| all))
    }

    /// Looks at it again after a while; once is enough, however often it is looked at meanwhile.
    fn wake_after(&mut self, after: Duration, w: &mut World) {
        let (now, at) = (w.fx.now(), w.fx.now().plus(after));
        if self.wake.is_none_or(|wake| wake > at || wake <= now) {
            self.wake = Some(at);
            w.fx.wake(at, Timer::Node(NodeRef::Stop(self.id)));
        }
    }

    /// Answers who waits for it, as far as there is something to say; when to look at the others.
    pub fn answer(&mut self, w: &mut World) -> Option<Time> {
        let telling = self.telling(w);
        let awaited = !telling.is_settled() && self.expects_news(w);
        self.conversation.answer(telling, awaited, self.key, w.crowd(), &mut w.fx)
    }

    /// Whether something is on its way that may change what it would be told.
    fn expects_news(&self, w: &World) -> bool {
        match &self.stage {
            Stage::Ended(_) => false,
            Stage::Looking { .. } if self.scope == StopScope::Everything => w.pipelines.ids().any(|id| w.is_coming(id)),
            Stage::Looking { .. } => w.is_coming(self.pipeline),
            Stage::Stopping { open, .. } => open.iter().any(|id| w.fx.is_coming(&Subject::Execution(*id))),
        }
    }

    fn telling(&self, w: &World) -> Telling {
        let targets = match &self.stage {
            Stage::Ended(reply) => return Telling::End(reply.clone()),
            Stage::Looking { .. } => {
                return Telling::Now(match self.trouble(w) {
                    Some(trouble) => View::settled(Phase::Running, trouble.told(0), None),
                    None => View::passing(Some(Phase::Running), "looking for what is to be stopped"),
                });
            }
            Stage::Stopping { targets, .. } => targets,
        };
        let tracked = || targets.iter().map(|id| &w.executions[*id]);
        let live = tracked().filter(|t| t.gone().is_none() && t.is_live()).count();
        let mut text = format!("stopping {live} of {} executions", targets.len());
        if let Some(trouble) = tracked().find_map(TrackedExecution::any_trouble) {
            text = format!("{text}; {}", trouble.told(text.len() + 2));
        }
        let settled = tracked().all(|t| t.seen().is_some());
        Telling::Now(View { phase: Some(Phase::Running), message: text, outputs: None, settled })
    }
}
