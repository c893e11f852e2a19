//! The spine: one event in, and what follows from it, in one order.

use crate::{
    pipelines::{CallEnded, Time},
    rounds::Seen,
};

use super::{
    CallId, Command, Event, LiveExecution, drain,
    effects::{Change, Purpose, Timer},
    gauges::{Gauges, Held},
    key::Key,
    nodes::Nodes,
    rest::NOBODY_IS_LEFT,
    settings::Settings,
    world::World,
};

/// The machine of one workflow.
pub struct Machine {
    nodes: Nodes,
    world: World,
}

impl Machine {
    /// A machine that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { nodes: Nodes::default(), world: World::new(settings) }
    }

    /// Takes one event and says what is to be done about it. `now` never runs backwards.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Command> {
        if self.world.fx.begin(now) {
            self.watch();
        }
        let asks = matches!(event, Event::Requested { .. } | Event::Unheard { .. });
        match event {
            Event::Requested { request, task } => {
                self.world.rest.asked(&mut self.world.fx);
                self.nodes.requested(request, &task, &mut self.world);
            }
            Event::Unheard { task } => self.nodes.unheard(&task),
            Event::CallEnded { call, ended } => self.call_ended(call, ended),
            Event::CallWaits { call } => self.world.fx.waits(call),
            Event::Paced { lane, answer } => self.world.fx.paced(&lane, answer),
            Event::Seen(seen) => self.seen(seen),
            Event::Tick => self.world.fx.ticked(),
            Event::WorkflowObserved(state) => {
                let known = self.world.run.is_known();
                if let Some(beginning) = self.world.watch.observed(state, known, &mut self.world.fx) {
                    self.world.learn_run(beginning);
                }
            }
            Event::Drain => {
                drain::begin(&mut self.nodes, &mut self.world);
                self.watch();
            }
        }
        let mut looks = self.settle() | !asks;
        while let Some(timer) = self.world.fx.due() {
            self.timer_came(timer);
            self.settle();
            looks = true;
        }
        // A poll without news moves nobody up in line.
        if self.world.queue.take_touched() || looks {
            self.nodes.start_next(&mut self.world);
            self.settle();
        }
        let last = self.world.closing.draining().is_some();
        self.world.fx.release(last);
        self.nodes.answer_waiting(&mut self.world);
        self.world.fx.finish(last)
    }

    /// The table of answers: who takes in what a call brought back.
    fn call_ended(&mut self, call: CallId, ended: CallEnded) {
        let World { fx, run, closing, pipelines, executions, .. } = &mut self.world;
        let Some(purpose) = fx.returned(call, &ended) else { return };
        let result = ended.result;
        match purpose {
            Purpose::Identity(client) => pipelines.account_answered(&client, result, fx),
            Purpose::Digest { pipeline, version } => pipelines.digest_answered(pipeline, version, result, fx),
            Purpose::Survey(pipeline) => pipelines.survey_answered(pipeline, result, fx),
            Purpose::Listing(pipeline) => {
                let answer = pipelines.listing_answered(pipeline, result, fx);
                for execution in answer.executions {
                    executions.adopt(pipeline, execution, run, fx, pipelines);
                }
                if let Some(missing) = answer.settles {
                    executions.settle_missing(pipeline, missing, fx);
                }
                if answer.news {
                    fx.changed(Change::Pipeline(pipeline));
                }
            }
            Purpose::Start(node) => self.nodes.start_answered(node, result, &mut self.world),
            Purpose::Mark(node) => self.nodes.mark_answered(node, result, &mut self.world),
            Purpose::Resume(node) => self.nodes.resume_answered(node, result, &mut self.world),
            Purpose::Describe(id) => executions.describe_answered(id, result, fx, pipelines),
            Purpose::Steps { execution, listing } => {
                executions.steps_answered(execution, listing, result, fx, pipelines);
            }
            Purpose::Aftermath { execution, listing, place } => {
                executions.aftermath_answered(execution, (listing, place), result, fx);
            }
            Purpose::Stop(id) => executions.stop_answered(id, result, closing.draining().is_some(), fx),
        }
    }

    /// A poll round shows something of this workflow's executions, or is over.
    fn seen(&mut self, seen: Seen) {
        let World { fx, run, pipelines, executions, .. } = &mut self.world;
        if let Some((asked, dated)) = seen.asked {
            fx.listed(asked, dated);
        }
        if let Some(pipeline) = pipelines.of_site(&seen.site) {
            executions.seen(pipeline, seen, run, fx, pipelines);
        }
    }

    /// The table of timers.
    fn timer_came(&mut self, timer: Timer) {
        let World { fx, pipelines, executions, .. } = &mut self.world;
        match timer {
            Timer::Node(node) => self.nodes.woken(node, &mut self.world),
            Timer::Client(client) => pipelines.ask_account(&client, fx),
            Timer::Listing(pipeline) => pipelines.list_next(pipeline, fx),
            Timer::Refresh(pipeline) => pipelines.list_once_settled(pipeline, fx),
            Timer::Digest(pipeline) => pipelines.ask_digests(pipeline, fx),
            Timer::Poll(pipeline) => executions.poll(pipeline, fx, pipelines),
            Timer::Execution(id) => executions.woken(id, fx, pipelines),
            Timer::Workflow => self.watch(),
            Timer::Rest => self.rest(),
            Timer::Queue | Timer::Outbox => {}
        }
    }

    /// The table of changes: whoever a change concerns looks, until nothing changes any more.
    /// Whether there was one.
    fn settle(&mut self) -> bool {
        let mut changed = false;
        while let Some(change) = self.world.fx.next_change() {
            changed = true;
            let (nodes, w) = (&mut self.nodes, &mut self.world);
            match change {
                Change::Run => w.pipelines.ids().for_each(|id| nodes.pipeline_changed(id, w)),
                Change::Over { text, except_exit_handlers } => self.close(&text, except_exit_handlers),
                Change::Pipeline(id) => nodes.pipeline_changed(id, w),
                Change::Digest(id) => nodes.digest_changed(id, w),
                Change::Stale(id) => nodes.renew_listing(id, w),
                Change::Survey => nodes.survey_changed(w),
                Change::Adopted(id, marker) => {
                    let (known, run) = (w.known(id), w.run());
                    w.siblings.meet(&marker, &known, run);
                    nodes.adopted(id, w);
                }
                Change::Execution { id, ended, whose } => {
                    if ended {
                        // Capacity came free.
                        let client = w.pipelines[w.executions[id].pipeline()].client();
                        w.queue.freed(client, w.fx.now());
                    }
                    nodes.execution_changed(id, whose, w);
                }
                Change::Released(id) => nodes.released(id, w),
            }
        }
        changed
    }

    /// Nothing more starts, what is to be stopped is stopped, and its nodes end.
    fn close(&mut self, text: &str, except_exit_handlers: bool) {
        let w = &mut self.world;
        if w.closing.close(text, except_exit_handlers, w.fx.now()) {
            if !w.run.is_known() {
                w.pod_born_stands_in();
            }
            self.nodes.workflow_is_over(w);
        }
    }

    /// Looks whether Kubernetes is to be asked.
    fn watch(&mut self) {
        let stake = drain::stake(&self.nodes, &self.world);
        if self.world.watch.look(stake, &mut self.world.fx) {
            self.world.pod_born_stands_in();
        }
    }

    /// Looks whether there is still a reason to know the workflow.
    fn rest(&mut self) {
        let Some(silence) = self.world.rest.silence(&mut self.world.fx) else { return };
        let (nodes, w) = (&self.nodes, &mut self.world);
        if !w.is_at_rest() {
            return;
        }
        let found_again = || w.can_be_found_again() && nodes.can_be_found_again();
        // An end that is not told would have to be found again, and might then not be told in time either.
        let told = || silence >= NOBODY_IS_LEFT || nodes.ends_are_told();
        if w.closing.is_gone() || (found_again() && told()) {
            w.fx.retire();
        } else {
            w.watch.ask_at_rest(&mut w.fx);
        }
    }

    /// Executions that run now.
    pub fn live(&self) -> Vec<LiveExecution> {
        let live = self.world.executions.live().map(|id| &self.world.executions[id]);
        live.map(|t| LiveExecution { arn: t.arn().to_owned(), stopping: t.is_stopping() }).collect()
    }

    /// Whether a start is on its way whose outcome is awaited.
    pub fn starts_in_flight(&self) -> bool {
        self.world.tally.all_starting() > 0
    }

    /// Which node an execution belongs to: its key, and the attempt it was started for.
    pub fn node_of(&self, arn: &str) -> Option<(Key, u32)> {
        let tracked = &self.world.executions[self.world.executions.named(arn)?];
        Some((tracked.key(), tracked.attempt()))
    }

    /// Whether the process may end; only after [`Event::Drain`].
    pub fn drained(&self) -> bool {
        drain::is_done(&self.nodes, &self.world)
    }

    /// What runs on when the process ends now.
    pub fn left_behind(&self) -> Vec<LiveExecution> {
        drain::left_behind(&self.world)
    }

    /// How things stand now.
    pub fn gauges(&self) -> Gauges {
        Gauges::of(&self.nodes, &self.world)
    }

    /// What is still held of nodes that have ended.
    #[doc(hidden)]
    pub fn held(&self) -> Held {
        Held::of(&self.nodes, &self.world)
    }
}
