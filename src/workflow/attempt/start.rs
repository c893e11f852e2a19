//! Starting: into the queue, out of it, and the same bytes again until the outcome is known.

use std::time::Duration;

use crate::{
    input::Action,
    pace::Urgency,
    pipelines::{Call, Selective, StartExecution, Time},
    workflow::{
        effects::Purpose,
        identity::{self, Marker},
        queue::{Waiter, Way},
        slab::{ExecutionId, PipelineId},
        world::World,
    },
};

use super::{Attempt, InFlightStart, Kin, Stage};

/// After this long a repeated start is no longer trusted to be recognised by its token (its life is documented nowhere).
const REPEAT_FOR: Duration = Duration::from_secs(300);
/// A denied start is tried again after this long at the earliest, and at the end of the grace.
pub(super) const DENIED_AGAIN: Duration = Duration::from_secs(10);
/// Where starts are denied, the next one tries after this long at the earliest: the pace of ordinary starts.
const DENIED_SOONEST: Duration = Duration::from_millis(500);
/// How often each waiting node tries within the grace, if there are few.
const TURNS_IN_THE_GRACE: u32 = 4;
/// A start whose client is not known (any more) is tried again after this long.
const SPELLED_AGAIN: Duration = Duration::from_secs(1);

impl Attempt {
    /// It is proven not started: into the queue, unless it is not to start any more. `after`: the end of its node's that it
    /// comes after, and may continue.
    pub(super) fn want_start(
        &mut self,
        predecessor: Option<ExecutionId>,
        after: Option<ExecutionId>,
        kin: Kin,
        w: &mut World,
    ) {
        if self.still_searching(predecessor, kin, w) {
            return;
        }
        // Followed before, and now to be started: what it followed was not its own. The task comes with the next request.
        if self.task.is_none() {
            self.set_stage(Stage::Locating, w);
            return;
        }
        let Some(resumes) = self.chosen_to_resume(after, w) else { return };
        if let Some(since) = self.dropped {
            self.end_unstarted("a stop task stopped it before it could start", since, w);
            return;
        }
        if let Some(closed) = w.closing.for_node(self.rules.exit_handler).cloned() {
            self.end_unstarted(closed.text(), closed.since(), w);
            return;
        }
        if let Some((timeout, since)) = self.timed_out_waiting(w) {
            self.end_unstarted(&format!("timed out after {timeout} before it could start"), since, w);
            return;
        }
        if self.is_queued() && w.queue.contains(self.id) {
            let way = self.way();
            self.set_stage(Stage::Queued { predecessor, resumes }, w);
            if self.way() != way {
                // The others of its row wait for what it no longer needs; it keeps its place.
                let waiter = self.waiter(w);
                w.queue.join(waiter);
            }
            let denied = self.denied.as_deref().or_else(|| w.pipelines.listing_trouble(self.pipeline)).cloned();
            self.give_up_when_denied(denied.as_ref(), w);
            return;
        }
        self.set_stage(Stage::Queued { predecessor, resumes }, w);
        let waiter = self.waiter(w);
        match self.resume_rests(w) {
            Some(until) => w.queue.set_aside(waiter, until),
            None => w.queue.join(waiter),
        }
    }

    /// Its turn has come: it is started.
    pub fn start(&mut self, waiter: Waiter, w: &mut World) {
        let Some(pipeline) = w.pipelines.spelling(self.pipeline, &mut w.fx) else {
            w.queue.rest(&waiter.client, w.fx.now().plus(SPELLED_AGAIN));
            w.queue.join(waiter);
            return;
        };
        let Some(task) = self.task.clone() else { return };
        let Action::Execute(execute) = &task.action else { return };
        let Stage::Queued { predecessor, resumes } = self.stage else { return };
        let way = self.way();
        if w.pipelines[self.pipeline].denied(way).is_some() {
            // Where they are denied, one tries at a time.
            let again_at = w.fx.now().plus(denied_pause(self.pipeline, way, w));
            w.pipelines.try_again(self.pipeline, way, again_at, &mut w.fx);
        }
        if let Some(id) = resumes {
            self.begin_resume(id, predecessor, w);
            return;
        }
        let replaces = predecessor.map(|id| w.executions[id].arn().to_owned());
        let mut marker = Marker::of(&task, &self.key, replaces.as_deref(), &execute.args_digest, w.run.stamp());
        let node = (self.rules.group, self.number);
        marker.asked = w.siblings.first_asked(node, self.asked_since(), task.workflow_created, &w.fx);
        let args = StartExecution {
            pipeline,
            token: identity::start_token(&task, &self.key, replaces.as_deref()),
            display_name: execute.display_name.clone().unwrap_or_else(|| identity::display_name(&task, &self.key)),
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
        let first_sent = w.fx.now();
        let start = InFlightStart { args, predecessor, first_sent, tries: 0, uncertain: false, retry_at: None };
        self.set_stage(Stage::Starting(Box::new(start)), w);
        self.send_start(w);
    }

    fn send_start(&mut self, w: &mut World) {
        let Stage::Starting(start) = &mut self.stage else { return };
        start.retry_at = None;
        start.tries += 1;
        let call = Call::StartExecution(Box::new(start.args.clone()));
        w.call(Urgency::Start, self.pipeline, call, Purpose::Start(self.id));
    }

    /// Sends an uncertain start again when its time has come, or gives the token up and looks for what it may have started.
    pub(super) fn repeat_start(&mut self, w: &mut World) {
        let now = w.fx.now();
        let Stage::Starting(start) = &self.stage else { return };
        if start.retry_at.is_none_or(|at| at > now) {
            return;
        }
        let trusted = now < start.first_sent.plus(REPEAT_FOR);
        let over = w.closing.for_node(self.rules.exit_handler).is_some() || self.timed_out_waiting(w).is_some();
        if !over && trusted {
            self.send_start(w);
        } else {
            // A repeat would start what a lost request did not.
            self.landed(w);
            self.search(false, None, "the start's outcome stayed unknown", w);
        }
    }

    /// The start is no longer on its way.
    pub(super) fn landed(&mut self, w: &mut World) -> Option<Box<InFlightStart>> {
        if !matches!(self.stage, Stage::Starting(_)) {
            return None;
        }
        match self.set_stage(Stage::Locating, w) {
            Stage::Starting(start) => Some(start),
            _ => None,
        }
    }

    /// Takes back a start that never left; one that was sent before stays uncertain and is found by its marker.
    pub fn unsend_start(&mut self, w: &mut World) {
        self.landed(w);
        self.land_resume(w);
    }

    /// May have been done: the same bytes again at this time.
    pub(super) fn repeat_at(&mut self, tries_to_time: impl FnOnce(u32) -> Time, w: &mut World) {
        let Stage::Starting(start) = &mut self.stage else { return };
        start.uncertain = true;
        let at = tries_to_time(start.tries);
        start.retry_at = Some(at);
        self.wake_at(at, w);
    }
}

/// How long after a denied start or resume the next of the same pipeline is sent: in the grace each of the waiting nodes gets
/// its turn several times, as far as half a second between two allows.
pub(super) fn denied_pause(pipeline: PipelineId, way: Way, w: &World) -> Duration {
    let turns = waiting_for(pipeline, way, w).max(1).saturating_mul(TURNS_IN_THE_GRACE);
    (w.fx.settings().denied_grace / turns).clamp(DENIED_SOONEST, DENIED_AGAIN)
}

/// How many nodes of a pipeline wait in the queue to begin in this way.
pub(super) fn waiting_for(pipeline: PipelineId, way: Way, w: &World) -> u32 {
    u32::try_from(w.queue.waiting_for(pipeline, way)).unwrap_or(u32::MAX)
}
