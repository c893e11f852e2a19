//! The keeper of the pace: one actor that owns the governor of the process, whose lanes all workflows share.
//!
//! Runners ask for turns and say how their calls were answered; it answers with turns, at once or when their time comes.

use std::{collections::HashMap, sync::Arc};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WeakRecipient};

use super::{
    messages::{CallAnswered, CrashForTest, Forget, PaceKeeperExited, Paced, PublishGauges, TurnsAsked},
    workflow_runner::WorkflowRunner,
};
use crate::{
    metrics::Metrics,
    pace::{Governor, Told},
    pipelines::{Clock, Time},
};

/// Names a runner: its generation, which no other has.
pub type RunnerId = u64;

/// Tells the supervisor when the keeper is dropped: nothing can leave without it.
struct ExitGuard(WeakRecipient<PaceKeeperExited>);

impl Drop for ExitGuard {
    #[allow(clippy::disallowed_methods, reason = "a drop cannot await; without a supervisor the process ends anyway")]
    fn drop(&mut self) {
        if let Some(supervisor) = self.0.upgrade() {
            supervisor.do_send(PaceKeeperExited);
        }
    }
}

/// The actor.
pub struct PaceKeeper {
    governor: Governor<RunnerId>,
    runners: HashMap<RunnerId, Addr<WorkflowRunner>>,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// When the governor is asked next for turns that have come.
    alarm: Option<(Time, SpawnHandle)>,
    _exit: ExitGuard,
}

/// A turn's time has come.
#[derive(Message)]
#[rtype(result = "()")]
struct TurnDue;

impl PaceKeeper {
    /// A keeper of lanes in which nobody waits yet.
    pub fn new(
        governor: Governor<RunnerId>,
        clock: Clock,
        metrics: Arc<Metrics>,
        supervisor: WeakRecipient<PaceKeeperExited>,
    ) -> Self {
        let _exit = ExitGuard(supervisor);
        Self { governor, runners: HashMap::new(), clock, metrics, alarm: None, _exit }
    }

    fn tell(&mut self, told: Vec<Told<RunnerId>>, ctx: &mut Context<Self>) {
        for Told { who, lane, answer } in told {
            // The address is this message's own clone, so it is never full; closed means dead.
            let sent = self.runners.get(&who).map(|runner| runner.clone().try_send(Paced { lane, answer }));
            if !matches!(sent, Some(Ok(()))) {
                tracing::debug!(runner = who, "a turn came for a dead runner");
            }
        }
        self.arm(ctx);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let wanted = self.governor.next_due();
        if self.alarm.map(|(at, _)| at) == wanted {
            return;
        }
        if let Some((_, timer)) = self.alarm.take() {
            ctx.cancel_future(timer);
        }
        self.alarm = wanted.map(|at| (at, ctx.notify_later(TurnDue, at.since((self.clock)()))));
    }
}

impl Actor for PaceKeeper {
    type Context = Context<Self>;
}

impl Handler<TurnsAsked> for PaceKeeper {
    type Result = ();

    fn handle(&mut self, TurnsAsked { who, runner, lane, request }: TurnsAsked, ctx: &mut Self::Context) {
        self.runners.entry(who).or_insert(runner);
        let told = self.governor.asked(&who, &lane, request, (self.clock)());
        self.tell(told, ctx);
    }
}

impl Handler<CallAnswered> for PaceKeeper {
    type Result = ();

    fn handle(&mut self, CallAnswered { lane, sent, throttled }: CallAnswered, ctx: &mut Self::Context) {
        let told = self.governor.answered(&lane, sent, throttled, (self.clock)());
        self.tell(told, ctx);
    }
}

impl Handler<TurnDue> for PaceKeeper {
    type Result = ();

    fn handle(&mut self, _: TurnDue, ctx: &mut Self::Context) {
        self.alarm = None;
        let told = self.governor.due((self.clock)());
        self.tell(told, ctx);
    }
}

impl Handler<Forget> for PaceKeeper {
    type Result = ();

    fn handle(&mut self, Forget { who }: Forget, _: &mut Self::Context) {
        self.runners.remove(&who);
        self.governor.forget(&who);
    }
}

impl Handler<PublishGauges> for PaceKeeper {
    type Result = ();

    fn handle(&mut self, _: PublishGauges, _: &mut Self::Context) {
        let now = (self.clock)();
        self.metrics.lanes(self.governor.lanes().map(|(key, lane)| (key, lane.rate(now), lane.waiting())));
    }
}

impl Handler<CrashForTest> for PaceKeeper {
    type Result = ();

    #[allow(clippy::panic, reason = "this message exists to prove what a panic does")]
    fn handle(&mut self, _: CrashForTest, _: &mut Self::Context) {
        panic!("the keeper of the pace was told to crash");
    }
}
