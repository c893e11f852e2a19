//! What nodes look at: this run of the workflow, AWS as it was seen, and the effects that all of it leads to.
//!
//! Every field is changed by its own type's methods alone; here they are only asked together.

use crate::{
    pace::Urgency,
    pipelines::{Call, Time},
};

use super::{
    closing::Closing,
    conversation::Crowd,
    effects::{Change, Effects, Purpose, Subject},
    executions::Executions,
    known::Known,
    pipeline::{LISTS_LAG, Located, Pipelines},
    queue::StartQueue,
    report,
    rest::Rest,
    run::{Beginning, Run, RunKnown},
    settings::Settings,
    siblings::Siblings,
    slab::{ExecutionId, PipelineId},
    tally::Tally,
    watch::Watch,
};

/// Everything but the nodes.
pub struct World {
    pub fx: Effects,
    pub run: RunKnown,
    pub watch: Watch,
    pub closing: Closing,
    pub siblings: Siblings,
    pub pipelines: Pipelines,
    pub executions: Executions,
    pub queue: StartQueue,
    pub tally: Tally,
    pub rest: Rest,
}

impl World {
    /// Nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        let mut run = RunKnown::default();
        if !settings.kubernetes {
            run.learn(Beginning::PodBorn(settings.pod_born));
        }
        Self {
            fx: Effects::new(settings),
            run,
            watch: Watch::default(),
            closing: Closing::default(),
            siblings: Siblings::default(),
            pipelines: Pipelines::default(),
            executions: Executions::default(),
            queue: StartQueue::default(),
            tally: Tally::default(),
            rest: Rest::default(),
        }
    }

    /// This run of the workflow, once it is known when it began.
    pub fn run(&mut self) -> Option<Run> {
        self.run.settle(self.fx.kubernetes(), self.fx.aws(), self.fx.began())
    }

    /// Takes in when this run began.
    pub fn learn_run(&mut self, beginning: Beginning) {
        if self.run.learn(beginning) {
            self.fx.changed(Change::Run);
        }
    }

    /// The pod's birth stands in where Kubernetes cannot say when the run began.
    pub fn pod_born_stands_in(&mut self) {
        self.learn_run(Beginning::PodBorn(self.fx.settings().pod_born));
    }

    /// Sees to it that everything that must be known before a start becomes known.
    pub fn locate(&mut self, pipeline: PipelineId) -> Located {
        if self.run.is_known() { self.pipelines.locate(pipeline, &mut self.fx) } else { Located::NotYet }
    }

    /// Whether everything is known that this workflow has started through the client of this pipeline; sees to it.
    pub fn survey(&mut self, pipeline: PipelineId) -> bool {
        // The account and the epoch come first, as for a node.
        if matches!(self.locate(pipeline), Located::NotYet) || !self.pipelines.survey(pipeline, &mut self.fx) {
            return false;
        }
        // Each is looked at, not only the first: to look is what has it listed.
        let of_client = self.pipelines.of_client(self.pipelines[pipeline].client());
        let open = |id: &PipelineId| matches!(self.locate(*id), Located::NotYet) && !self.pipelines[*id].is_hopeless();
        of_client.into_iter().filter(open).count() == 0
    }

    /// Until then, what an earlier process started last may be absent from lists. And what another pod's process has
    /// started meanwhile must show before the workflow's end is a node's.
    pub fn lags_until(&self) -> Time {
        let lag = self.fx.began().plus(LISTS_LAG);
        self.closing.since().map_or(lag, |since| lag.max(since))
    }

    /// Whether the pipeline was listed after this time. If not, it is listed again as soon as that can be.
    pub fn is_listed_after(&mut self, pipeline: PipelineId, after: Time) -> bool {
        self.pipelines.is_listed_after(pipeline, after, &mut self.fx)
    }

    /// Describes an execution, unless that is under way.
    pub fn describe(&mut self, id: ExecutionId) {
        self.executions.describe(id, &mut self.fx, &self.pipelines);
    }

    /// Wants an execution stopped; once is enough.
    pub fn want_stop(&mut self, id: ExecutionId) {
        self.executions.want_stop(id, &mut self.fx, &self.pipelines);
    }

    /// An execution as the table of decisions looks at it.
    pub fn known(&self, id: ExecutionId) -> Known {
        self.executions[id].known(self.fx.server_now())
    }

    /// Whether an execution was there at this time of ours.
    pub fn was_created_by(&self, id: ExecutionId, time: Time) -> bool {
        self.executions[id].execution().created.is_some_and(|created| self.fx.aws().ours(created) <= time)
    }

    /// How many executions of a pipeline run or are being started, whichever role calls it.
    pub fn running_of(&self, pipeline: PipelineId) -> usize {
        self.pipelines.same(pipeline).map(|id| self.running(id)).sum()
    }

    /// How many the whole workflow runs, of all its pipelines.
    pub fn running_in_all(&self) -> usize {
        self.pipelines.ids().map(|id| self.running(id)).sum()
    }

    fn running(&self, pipeline: PipelineId) -> usize {
        self.executions.own_count(pipeline) + self.tally.starting(pipeline)
    }

    /// The limit that keeps a node of this pipeline from starting, in words.
    pub fn limit_reached(&self, pipeline: PipelineId, max_running: Option<usize>) -> Option<String> {
        if let Some(max) = max_running {
            let running = self.running_of(pipeline);
            if running >= max {
                return Some(format!("{running} executions of this pipeline run, max_running is {max}"));
            }
        }
        let max = self.fx.settings().max_running_per_workflow?;
        let all = self.running_in_all();
        (all >= max).then(|| format!("{all} executions of this workflow run, --max-running-per-workflow is {max}"))
    }

    /// How many bytes of outputs a node has that ends now.
    pub fn output_room(&self) -> usize {
        report::output_room(self.tally.open() + self.tally.ended_lately(self.fx.now()))
    }

    /// How crowded the workflow is.
    pub fn crowd(&self) -> Crowd {
        Crowd { open: self.tally.open(), live: self.executions.live_count() }
    }

    /// Whether nothing is open: no node, and nothing runs that would have to be stopped or whose end is to be known. A call
    /// that is still on its way is for nobody then.
    pub fn is_at_rest(&self) -> bool {
        let runs = || self.executions.iter().any(|(_, tracked)| tracked.is_open());
        self.tally.open() == 0 && self.closing.draining().is_none() && !runs()
    }

    /// Whether another machine would learn all that is known here. What a stop task has stopped is written nowhere, and what
    /// Kubernetes has said counts for who is asked for next.
    pub fn can_be_found_again(&self) -> bool {
        self.closing.since().is_none() && !self.pipelines.are_hidden()
    }

    /// Whether something is on its way that tells of a pipeline what its nodes wait for.
    pub fn is_coming(&self, pipeline: PipelineId) -> bool {
        let client = Subject::Client(self.pipelines[pipeline].client().clone());
        self.fx.is_coming(&Subject::Pipeline(pipeline))
            || self.fx.is_coming(&client)
            || self.watch.awaits_answer(self.fx.now())
    }

    /// Puts a call in line that is made as this pipeline's client.
    pub fn call(&mut self, urgency: Urgency, pipeline: PipelineId, operation: Call, purpose: Purpose) {
        self.pipelines.call(urgency, pipeline, operation, purpose, &mut self.fx);
    }
}
