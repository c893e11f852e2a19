//! What the workflows of a process share: the pace of calls to AWS ([`crate::pace`]), the poll rounds and the pages of
//! listings ([`crate::rounds`]), which take turns like everybody else. Pure: time is passed in.

use std::{collections::VecDeque, hash::Hash, sync::Arc, time::Duration};

use crate::{
    pace::{self, Answer, Governor, Lane, LaneKey, Request, Told, Urgency},
    pipelines::{Call, CallEnded, CallErrorKind, CallReply, Time},
    rounds::{self, Act, Listings, Page, Rounds, Seen, Site, Wanted, Wish},
};

/// Who takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Taker<Id> {
    Workflow(Id),
    Rounds,
    Listings,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed<Id> {
    /// Tell a workflow what a lane says.
    Pace(Id, LaneKey, Answer),
    /// Tell a workflow what a list shows.
    Seen(Id, Seen),
    /// Make this call, which has waited so long for its turn, and tell [`Shared::list_answered`].
    Call(Site, Call, Duration),
    /// Ask for this page in a workflow's name, for which it has waited so long, and tell [`Shared::page_answered`].
    List(Id, Page, Duration),
    /// Tell a workflow that its call of this number waits for the pace.
    ListingWaits(Id, u64),
    /// Tell a workflow what came of its call of this number.
    Listed(Id, u64, Arc<CallEnded>),
}

/// Pace, rounds and listings of a process. `Id` names a workflow.
pub struct Shared<Id> {
    governor: Governor<Taker<Id>>,
    rounds: Rounds<Id>,
    listings: Listings<Id>,
}

impl<Id: Copy + Ord + Hash> Shared<Id> {
    /// Nobody waits, nothing is followed. The seed is for jitter; `uid_of` reads a workflow's uid in an execution's
    /// description.
    pub fn new(pace: pace::Settings, rounds: rounds::Settings, seed: u64, uid_of: fn(&str) -> Option<&str>) -> Self {
        Self { governor: Governor::new(pace, seed), rounds: Rounds::new(rounds, uid_of), listings: Listings::default() }
    }

    /// A workflow asks for turns.
    pub fn turns_asked(&mut self, who: Id, lane: &LaneKey, request: Request, now: Time) -> Vec<Deed<Id>> {
        let told = self.governor.asked(&Taker::Workflow(who), lane, request, now);
        self.follow(told, Vec::new(), now)
    }

    /// AWS answered a call for which a workflow had taken a turn at `sent`; `throttled`: it was too fast.
    pub fn call_answered(&mut self, lane: &LaneKey, sent: Time, throttled: bool, now: Time) -> Vec<Deed<Id>> {
        let told = self.governor.answered(lane, sent, throttled, now);
        self.follow(told, Vec::new(), now)
    }

    /// A workflow wants executions looked at; `server_now`: now, by AWS's clock.
    pub fn looked(
        &mut self,
        (who, uid): (Id, &str),
        site: &Site,
        wanted: Vec<Wanted>,
        now: Time,
        server_now: Time,
    ) -> Vec<Deed<Id>> {
        let acts = self.rounds.look(&who, uid, site, wanted, now, server_now);
        self.follow(Vec::new(), acts, now)
    }

    /// A list that left at `sent` was answered.
    pub fn list_answered(&mut self, site: &Site, ended: CallEnded, sent: Time, now: Time) -> Vec<Deed<Id>> {
        let CallEnded { result, server_time } = ended;
        let lane = LaneKey::in_direction(&site.client, pace::Direction::Read);
        let throttled = result.as_ref().is_err_and(|error| error.kind == CallErrorKind::Throttled);
        let told = self.governor.answered(&lane, sent, throttled, now);
        let page = result.map(|reply| match reply {
            CallReply::Executions { page, next_token } => (page, next_token),
            _ => (Vec::new(), None),
        });
        let acts = self.rounds.answered(site, page, server_time, now);
        self.follow(told, acts, now)
    }

    /// A workflow's call of this number is for a page.
    pub fn page_asked(&mut self, who: Id, number: u64, page: &Page, now: Time) -> Vec<Deed<Id>> {
        match self.listings.ask(page, (who, number), now) {
            Wish::Turn => self.want_page(&page.lane(), Vec::new(), now),
            Wish::Joined => vec![Deed::ListingWaits(who, number)],
            Wish::Later => Vec::new(),
        }
    }

    /// A page that was asked for at `sent` came, or failed.
    pub fn page_answered(&mut self, page: &Page, ended: CallEnded, sent: Time, now: Time) -> Vec<Deed<Id>> {
        let lane = page.lane();
        let throttled = ended.result.as_ref().is_err_and(|error| error.kind == CallErrorKind::Throttled);
        let told = self.governor.answered(&lane, sent, throttled, now);
        let (askers, again) = self.listings.answered(page, now);
        let ended = Arc::new(ended);
        let mut deeds: Vec<_> =
            askers.into_iter().map(|(who, number)| Deed::Listed(who, number, ended.clone())).collect();
        deeds.extend(if again { self.want_page(&lane, told, now) } else { self.follow(told, Vec::new(), now) });
        deeds
    }

    /// Many wait for a page, and none of them starts anything before: it goes before other questions.
    fn want_page(&mut self, lane: &LaneKey, mut told: Vec<Told<Taker<Id>>>, now: Time) -> Vec<Deed<Id>> {
        let want = Request::Want(Urgency::Start, 1);
        told.extend(self.governor.asked(&Taker::Listings, lane, want, now));
        self.follow(told, Vec::new(), now)
    }

    /// The turns whose time has come.
    pub fn due(&mut self, now: Time) -> Vec<Deed<Id>> {
        let told = self.governor.due(now);
        self.follow(told, Vec::new(), now)
    }

    /// When [`Self::due`] has something to say if nothing else happens.
    pub fn next_due(&self) -> Option<Time> {
        self.governor.next_due()
    }

    /// The workflow has ended or died.
    pub fn forget(&mut self, who: Id) {
        self.governor.forget(&Taker::Workflow(who));
        self.rounds.forget(&who);
        self.listings.forget(who);
    }

    /// All lanes, for gauges.
    pub fn lanes(&self) -> impl Iterator<Item = (&LaneKey, &Lane<Taker<Id>>)> {
        self.governor.lanes()
    }

    /// What either says leads to what the other does, until nothing follows any more.
    fn follow(&mut self, told: Vec<Told<Taker<Id>>>, acts: Vec<Act<Id>>, now: Time) -> Vec<Deed<Id>> {
        let (mut told, mut acts) = (VecDeque::from(told), VecDeque::from(acts));
        let mut deeds = Vec::new();
        loop {
            if let Some(Told { who, lane, answer }) = told.pop_front() {
                match (who, answer) {
                    (Taker::Workflow(who), answer) => deeds.push(Deed::Pace(who, lane, answer)),
                    (Taker::Rounds, Answer::Granted { turns, .. }) => {
                        acts.extend((0..turns).flat_map(|_| self.rounds.turn(&lane, now)));
                    }
                    (Taker::Rounds, Answer::Waits) => {}
                    (Taker::Listings, Answer::Granted { turns, .. }) => {
                        for _ in 0..turns {
                            match self.listings.turn(&lane, now) {
                                Some((who, page, waited)) => deeds.push(Deed::List(who, page, waited)),
                                None => acts.push_back(Act::GiveBackTurn(lane.clone())),
                            }
                        }
                    }
                    (Taker::Listings, Answer::Waits) => {
                        let waiting = self.listings.waiting(&lane);
                        deeds.extend(waiting.map(|(who, number)| Deed::ListingWaits(who, number)));
                    }
                }
            } else if let Some(act) = acts.pop_front() {
                match act {
                    Act::Call(site, call, waited) => deeds.push(Deed::Call(site, call, waited)),
                    Act::Tell(who, seen) => deeds.push(Deed::Seen(who, seen)),
                    Act::WantTurn(lane) => {
                        // A page stands for up to a hundred polls: it goes before single ones.
                        let want = Request::Want(Urgency::Ask, 1);
                        told.extend(self.governor.asked(&Taker::Rounds, &lane, want, now));
                    }
                    Act::GiveBackTurn(lane) => {
                        told.extend(self.governor.asked(&Taker::Rounds, &lane, Request::GiveBack(1), now));
                    }
                }
            } else {
                return deeds;
            }
        }
    }
}
