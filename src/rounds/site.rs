//! The rounds of one pipeline, as one client lists it: one page at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    pace::{Direction, LaneKey},
    pipelines::{Arn, Call, CallError, Execution, Time},
};

use super::{
    Act, LookEnd, Seen, Settings, Site, Wanted,
    followed::Followed,
    plan::{Plan, plan},
};

/// After a list was given up that showed less than a describe for each page would have, everything is described for so long.
const IN_VAIN_FOR: Duration = Duration::from_secs(300);

/// A workflow that waits for the next round.
#[derive(Debug)]
struct Look<Id> {
    who: Id,
    wanted: Vec<Arn>,
    asked: Time,
}

/// A list that is under way.
#[derive(Debug)]
struct Round<Id> {
    /// What no page has shown yet.
    rest: BTreeSet<Arn>,
    /// Whose look ends with it.
    looking: BTreeSet<Id>,
    pages: usize,
    /// Executions that somebody here follows.
    shown: usize,
    max_pages: usize,
    created_after: Time,
    next_token: Option<String>,
    asked: Time,
}

/// All about one site.
#[derive(Debug)]
pub struct SiteRound<Id> {
    at: Site,
    followed: Followed<Id>,
    waiting: Vec<Look<Id>>,
    round: Option<Round<Id>>,
    /// A turn is asked for, or is to be.
    turn: Wish,
    /// Until then lists are in vain.
    in_vain_until: Time,
    /// AWS's clock less ours, in milliseconds.
    ahead: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    New,
    Told,
}

impl<Id: Clone + Ord> SiteRound<Id> {
    /// Nothing is followed here yet.
    pub fn new(at: Site, settings: Settings) -> Self {
        let followed = Followed::new(settings);
        Self {
            at,
            followed,
            waiting: Vec::new(),
            round: None,
            turn: Wish::None,
            in_vain_until: Time::default(),
            ahead: 0,
        }
    }

    /// A workflow's executions are due, or have just started.
    pub fn look(&mut self, who: &Id, all: Vec<Wanted>, now: Time, server_now: Time, acts: &mut Vec<Act<Id>>) {
        self.ahead = server_now.millis() - now.millis();
        let mut wanted = Vec::new();
        for Wanted { arn, created, due } in all {
            if due {
                self.followed.want(who, &arn, created, now);
                wanted.push(arn);
            } else {
                self.followed.started(who, &arn, created, now);
            }
        }
        if wanted.is_empty() {
            // It hears how many others there are.
            self.tell(BTreeMap::from([(who.clone(), Vec::new())]), None, None, acts);
        } else {
            self.waiting.push(Look { who: who.clone(), wanted, asked: now });
            self.consider(now, acts);
        }
    }

    /// A turn has come, for which it waited so long.
    pub fn turn(&mut self, now: Time, waited: Duration, acts: &mut Vec<Act<Id>>) {
        self.turn = Wish::None;
        if self.round.is_none() {
            // Things may have changed since it was asked for.
            self.begin(now, acts);
        }
        match &mut self.round {
            Some(round) => {
                round.asked = now;
                let (created_after, next_token) = (Some(round.created_after), round.next_token.take());
                let call = Call::ListExecutions { pipeline: self.at.pipeline.clone(), created_after, next_token };
                acts.push(Act::Call(self.at.clone(), call, waited));
            }
            None => acts.push(Act::GiveBackTurn(LaneKey::in_direction(&self.at.client, Direction::Read))),
        }
    }

    /// Whether a turn is to be asked for; once for each.
    pub fn takes_turn_wish(&mut self) -> bool {
        let new = self.turn == Wish::New;
        if new {
            self.turn = Wish::Told;
        }
        new
    }

    /// Takes in the page that was asked for. `marked`: whose marker an execution carries.
    pub fn answered(
        &mut self,
        result: Result<(Vec<Execution>, Option<String>), CallError>,
        server_time: Option<Time>,
        now: Time,
        marked: impl Fn(&Execution) -> Option<Id>,
        acts: &mut Vec<Act<Id>>,
    ) {
        let Some(mut round) = self.round.take() else { return };
        let asked = Some((round.asked, server_time));
        match result {
            Ok((page, next_token)) => {
                let mut told = self.told(page, now, &mut round.rest, marked);
                round.pages += 1;
                round.shown += told.values().map(Vec::len).sum::<usize>();
                let more = !round.rest.is_empty() && round.pages < round.max_pages && next_token.is_some();
                if more {
                    self.tell(told, None, asked, acts);
                    round.next_token = next_token;
                    self.round = Some(round);
                    self.turn = Wish::New;
                    return;
                }
                let given_up = next_token.is_some() && !round.rest.is_empty();
                if given_up && round.shown < round.pages {
                    self.in_vain_until = now.plus(IN_VAIN_FOR);
                }
                // Whoever wanted them describes them now; the others come in their own time.
                for arn in &round.rest {
                    self.followed.seen(arn, now, Time::at(now.millis() + self.ahead));
                }
                let of_lookers = round.looking.into_iter().map(|who| {
                    let shown = told.remove(&who).unwrap_or_default();
                    (who, shown)
                });
                let of_lookers: BTreeMap<Id, Vec<Execution>> = of_lookers.collect();
                self.tell(told, None, asked, acts);
                self.tell(of_lookers, Some(&LookEnd::Describe), asked, acts);
            }
            Err(error) => {
                let of_lookers = round.looking.into_iter().map(|who| (who, Vec::new())).collect();
                self.tell(of_lookers, Some(&LookEnd::Failed(error)), asked, acts);
            }
        }
        self.consider(now, acts);
    }

    /// What of a page is whose; `rest` loses what it shows.
    fn told(
        &mut self,
        page: Vec<Execution>,
        now: Time,
        rest: &mut BTreeSet<Arn>,
        marked: impl Fn(&Execution) -> Option<Id>,
    ) -> BTreeMap<Id, Vec<Execution>> {
        let mut told: BTreeMap<Id, Vec<Execution>> = BTreeMap::new();
        for execution in page {
            let arn = Arn::from(execution.arn.as_str());
            rest.remove(&arn);
            let live = execution.status.is_live();
            let owner = marked(&execution);
            // Its workflow will want it sooner or later.
            if let Some(owner) = owner.as_ref().filter(|_| live) {
                self.followed.want(owner, &arn, execution.created.unwrap_or(now), now);
            }
            let followers = self.followed.seen(&arn, now, Time::at(now.millis() + self.ahead));
            for who in followers.iter().chain(&owner.filter(|owner| !followers.contains(owner))) {
                told.entry(who.clone()).or_default().push(execution.clone());
            }
            if !live {
                self.followed.drop(&arn);
            }
        }
        told
    }

    fn tell(
        &self,
        told: BTreeMap<Id, Vec<Execution>>,
        over: Option<&LookEnd>,
        asked: Option<(Time, Option<Time>)>,
        acts: &mut Vec<Act<Id>>,
    ) {
        let seen = |shown| Seen { site: self.at.clone(), shown, over: over.cloned(), asked, of_others: 0 };
        acts.extend(told.into_iter().map(|(who, shown)| Act::Tell(who, seen(shown))));
    }

    /// Has those who wait describe what they want, or asks for a turn to list.
    fn consider(&mut self, now: Time, acts: &mut Vec<Act<Id>>) {
        if self.round.is_some() || self.turn != Wish::None || !self.anybody_waits(acts) {
            return;
        }
        match self.plan(now).0 {
            Plan::DescribeEach => self.describe_each(now, acts),
            Plan::List { .. } => self.turn = Wish::New,
        }
    }

    fn begin(&mut self, now: Time, acts: &mut Vec<Act<Id>>) {
        if !self.anybody_waits(acts) {
            return;
        }
        match self.plan(now) {
            (Plan::DescribeEach, _) => self.describe_each(now, acts),
            (Plan::List { created_after, max_pages }, rest) => {
                let looking = self.waiting.drain(..).map(|look| look.who).collect();
                let (pages, shown, next_token, asked) = (0, 0, None, now);
                self.round = Some(Round { rest, looking, pages, shown, max_pages, created_after, next_token, asked });
            }
        }
    }

    /// A round that has just ended may have shown all that somebody waits for.
    fn anybody_waits(&mut self, acts: &mut Vec<Act<Id>>) -> bool {
        let followed = &self.followed;
        let unseen = |look: &Look<Id>| {
            look.wanted.iter().any(|arn| followed.last_seen(arn).is_some_and(|seen| seen <= look.asked))
        };
        let (waiting, done): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(unseen);
        self.waiting = waiting;
        let done = done.into_iter().map(|look| (look.who, Vec::new())).collect();
        self.tell(done, Some(&LookEnd::Describe), None, acts);
        !self.waiting.is_empty()
    }

    fn plan(&mut self, now: Time) -> (Plan, BTreeSet<Arn>) {
        let live = self.followed.len();
        let (ripe, created) = self.followed.ripe(now);
        let in_vain = now < self.in_vain_until;
        let plan = if in_vain { Plan::DescribeEach } else { plan(ripe.len(), live, created.unwrap_or(now)) };
        (plan, ripe)
    }

    fn describe_each(&mut self, now: Time, acts: &mut Vec<Act<Id>>) {
        let looks = std::mem::take(&mut self.waiting);
        for arn in looks.iter().flat_map(|look| &look.wanted) {
            self.followed.seen(arn, now, Time::at(now.millis() + self.ahead));
        }
        let told = looks.into_iter().map(|look| (look.who, Vec::new())).collect();
        self.tell(told, Some(&LookEnd::Describe), None, acts);
    }

    /// How many executions are followed here that this workflow does not follow.
    pub fn of_others(&mut self, who: &Id, now: Time) -> usize {
        // Those of a pipeline at which nobody looks any more have ended: describes told their workflows.
        self.followed.drop_forgotten(now);
        self.followed.of_others(who)
    }

    /// A workflow is gone.
    pub fn forget(&mut self, who: &Id) {
        self.followed.forget(who);
        self.waiting.retain(|look| look.who != *who);
        if let Some(round) = &mut self.round {
            round.looking.remove(who);
        }
    }

    /// Whether nobody follows anything here, and no answer is awaited.
    pub fn is_idle(&self) -> bool {
        self.followed.len() == 0 && self.waiting.is_empty() && self.round.is_none() && self.turn == Wish::None
    }
}
