//! The keeper of what the workflows of the process share: one actor that owns pace and poll rounds ([`crate::shared`]).
//!
//! Runners ask it for turns, say how their calls were answered, and have executions looked at. It answers at once or when
//! a turn comes, and makes the lists of the rounds itself, and the pages that several workflows list.

use std::{collections::HashMap, sync::Arc};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WeakRecipient};

use super::{
    Dependencies,
    messages::{
        CallAnswered, CrashForTest, Forget, KeeperExited, Lister, LookAsked, Paced, PageAsked, PageShown, PageWaits,
        PublishGauges, SeenByList, TurnsAsked,
    },
    workflow_runner::WorkflowRunner,
};
use crate::{
    backend::carry_out,
    metrics::{facts::CallMade, labels::Actor as Kind},
    pipelines::{Call, CallEnded, ClientKey, Time},
    rounds::{self, Page, Site},
    shared::{Deed, Shared},
    workflow::{CallId, identity::Marker},
};

/// Names a runner: its generation, which no other has.
pub type RunnerId = u64;

/// Tells the supervisor when the keeper is dropped: nothing can leave without it.
struct ExitGuard(WeakRecipient<KeeperExited>);

impl Drop for ExitGuard {
    #[allow(clippy::disallowed_methods, reason = "a drop cannot await; without a supervisor the process ends anyway")]
    fn drop(&mut self) {
        if let Some(supervisor) = self.0.upgrade() {
            supervisor.do_send(KeeperExited);
        }
    }
}

/// The actor.
pub struct SharedKeeper {
    shared: Shared<RunnerId>,
    runners: HashMap<RunnerId, Addr<WorkflowRunner>>,
    /// Those that list for themselves and others.
    listers: HashMap<RunnerId, Lister>,
    dependencies: Arc<Dependencies>,
    /// When turns come next.
    alarm: Option<(Time, SpawnHandle)>,
    _exit: ExitGuard,
}

/// A turn's time has come.
#[derive(Message)]
#[rtype(result = "()")]
struct TurnDue;

/// A list of a round came back.
#[derive(Message)]
#[rtype(result = "()")]
struct ListCameBack {
    site: Site,
    ended: CallEnded,
    sent: Time,
}

/// A page of a listing came back.
#[derive(Message)]
#[rtype(result = "()")]
struct PageCameBack {
    page: Page,
    ended: CallEnded,
    sent: Time,
}

impl SharedKeeper {
    /// A keeper for whom nobody waits yet. The seed is for the jitter of turns: no two processes have the same.
    pub fn new(dependencies: Arc<Dependencies>, seed: u64, supervisor: WeakRecipient<KeeperExited>) -> Self {
        let settings = &dependencies.settings;
        let rounds = rounds::Settings { poll_min: settings.poll_min, poll_max: settings.poll_max };
        Self {
            shared: Shared::new(dependencies.pace, rounds, seed, Marker::uid_of),
            runners: HashMap::new(),
            listers: HashMap::new(),
            dependencies,
            alarm: None,
            _exit: ExitGuard(supervisor),
        }
    }

    fn now(&self) -> Time {
        (self.dependencies.clock)()
    }

    fn do_all(&mut self, deeds: Vec<Deed<RunnerId>>, ctx: &mut Context<Self>) {
        for deed in deeds {
            // The address is each message's own clone, so it is never full; closed means dead.
            let sent = match deed {
                Deed::Pace(who, lane, answer) => {
                    self.runners.get(&who).map(|runner| runner.clone().try_send(Paced { lane, answer }).is_ok())
                }
                Deed::Seen(who, seen) => {
                    self.runners.get(&who).map(|runner| runner.clone().try_send(SeenByList(seen)).is_ok())
                }
                Deed::Call(site, call, waited) => {
                    self.dependencies.metrics.call_left(waited);
                    self.list(site, call, ctx);
                    continue;
                }
                Deed::List(who, page, waited) => {
                    self.dependencies.metrics.call_left(waited);
                    self.ask_for_page(who, page, ctx);
                    continue;
                }
                Deed::ListingWaits(who, number) => {
                    self.runners.get(&who).map(|runner| runner.clone().try_send(PageWaits(CallId(number))).is_ok())
                }
                Deed::Listed(who, number, ended) => self.runners.get(&who).map(|runner| {
                    let queued = self.dependencies.metrics.message_queued(Kind::Workflow);
                    runner.clone().try_send(PageShown { call: CallId(number), ended, queued }).is_ok()
                }),
            };
            if sent != Some(true) {
                tracing::debug!("something was to be told to a dead runner");
            }
        }
        self.arm(ctx);
    }

    /// What is several workflows' is asked for in nobody's name.
    fn nobody(&self) -> Lister {
        Lister { workflow: "(several)".to_owned(), backend: self.dependencies.backend.clone() }
    }

    /// Makes a round's call beside the actor.
    fn list(&self, site: Site, call: Call, ctx: &Context<Self>) {
        let (sent, client) = (self.now(), site.client.clone());
        self.make(self.nobody(), (client, call), move |ended| ListCameBack { site, ended, sent }, ctx);
    }

    /// Makes a page's call, in the name of one of those who want it.
    fn ask_for_page(&self, who: RunnerId, page: Page, ctx: &Context<Self>) {
        let (sent, lister) = (self.now(), self.listers.get(&who).cloned().unwrap_or_else(|| self.nobody()));
        let call = (page.site.client.clone(), page.call());
        self.make(lister, call, move |ended| PageCameBack { page, ended, sent }, ctx);
    }

    /// Makes a call beside the actor, which hears of it as the message that `back` makes of its end.
    fn make<M>(
        &self,
        lister: Lister,
        (client, call): (ClientKey, Call),
        back: impl FnOnce(CallEnded) -> M + 'static,
        ctx: &Context<Self>,
    ) where
        M: Message<Result = ()> + Send + 'static,
        Self: Handler<M>,
    {
        let (dependencies, keeper, sent) = (self.dependencies.clone(), ctx.address(), self.now());
        actix::spawn(async move {
            let (operation, region) = (call.operation(), client.region.clone());
            let ended = carry_out(lister.backend, client, call).await;
            let took = (dependencies.clock)().since(sent);
            let made = CallMade { operation, write: false, region, took };
            dependencies.metrics.call_ended(&lister.workflow, &made, &ended);
            if keeper.send(back(ended)).await.is_err() {
                tracing::debug!(operation, "a list came back to a dead keeper");
            }
        });
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let wanted = self.shared.next_due();
        if self.alarm.map(|(at, _)| at) == wanted {
            return;
        }
        if let Some((_, timer)) = self.alarm.take() {
            ctx.cancel_future(timer);
        }
        self.alarm = wanted.map(|at| (at, ctx.notify_later(TurnDue, at.since(self.now()))));
    }
}

impl Actor for SharedKeeper {
    type Context = Context<Self>;
}

impl Handler<TurnsAsked> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, TurnsAsked { who, runner, lane, request }: TurnsAsked, ctx: &mut Self::Context) {
        self.runners.entry(who).or_insert(runner);
        let deeds = self.shared.turns_asked(who, &lane, request, self.now());
        self.do_all(deeds, ctx);
    }
}

impl Handler<CallAnswered> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, CallAnswered { lane, sent, throttled }: CallAnswered, ctx: &mut Self::Context) {
        let deeds = self.shared.call_answered(&lane, sent, throttled, self.now());
        self.do_all(deeds, ctx);
    }
}

impl Handler<LookAsked> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, look: LookAsked, ctx: &mut Self::Context) {
        let LookAsked { who, uid, runner, site, wanted, server_now } = look;
        self.runners.entry(who).or_insert(runner);
        let deeds = self.shared.looked((who, &uid), &site, wanted, self.now(), server_now);
        self.do_all(deeds, ctx);
    }
}

impl Handler<ListCameBack> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, ListCameBack { site, ended, sent }: ListCameBack, ctx: &mut Self::Context) {
        let deeds = self.shared.list_answered(&site, ended, sent, self.now());
        self.do_all(deeds, ctx);
    }
}

impl Handler<PageAsked> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, asked: PageAsked, ctx: &mut Self::Context) {
        let PageAsked { who, runner, lister, call, page } = asked;
        self.runners.entry(who).or_insert(runner);
        self.listers.entry(who).or_insert(lister);
        let deeds = self.shared.page_asked(who, call.0, &page, self.now());
        self.do_all(deeds, ctx);
    }
}

impl Handler<PageCameBack> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, PageCameBack { page, ended, sent }: PageCameBack, ctx: &mut Self::Context) {
        let deeds = self.shared.page_answered(&page, ended, sent, self.now());
        self.do_all(deeds, ctx);
    }
}

impl Handler<TurnDue> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, _: TurnDue, ctx: &mut Self::Context) {
        self.alarm = None;
        let deeds = self.shared.due(self.now());
        self.do_all(deeds, ctx);
    }
}

impl Handler<Forget> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, Forget { who }: Forget, _: &mut Self::Context) {
        self.runners.remove(&who);
        self.listers.remove(&who);
        self.shared.forget(who);
    }
}

impl Handler<PublishGauges> for SharedKeeper {
    type Result = ();

    fn handle(&mut self, _: PublishGauges, _: &mut Self::Context) {
        let now = self.now();
        self.dependencies.metrics.lanes(self.shared.lanes().map(|(key, lane)| (key, lane.rate(now), lane.waiting())));
    }
}

impl Handler<CrashForTest> for SharedKeeper {
    type Result = ();

    #[allow(clippy::panic, reason = "this message exists to prove what a panic does")]
    fn handle(&mut self, _: CrashForTest, _: &mut Self::Context) {
        panic!("the keeper of what is shared was told to crash");
    }
}
