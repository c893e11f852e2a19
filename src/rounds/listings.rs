//! Listings that workflows make before they start anything. Workflows that begin together ask for the same pages: a page is
//! asked for once, for all who want it before its call leaves. So nobody is told of an earlier moment than it asked at, and
//! hundreds of workflows of one pipeline cost little more than two.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    pace::{Direction, LaneKey},
    pipelines::{Call, ClientKey, Time},
};

use super::Site;

/// Pages begin at whole minutes, so that workflows that were created one after the other want the same: a few executions
/// more are shown than a workflow needs.
const GRAIN: i64 = 60_000;

/// A page of ListPipelineExecutions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Page {
    pub site: Site,
    created_after: Option<Time>,
    next_token: Option<String>,
}

impl Page {
    /// The page that this call asks for, if it is one for a page.
    pub fn of(client: &ClientKey, call: &Call) -> Option<Self> {
        let Call::ListExecutions { pipeline, created_after, next_token } = call else { return None };
        let site = Site { client: client.clone(), pipeline: pipeline.clone() };
        let created_after = created_after.map(|at| Time::at(at.millis().div_euclid(GRAIN) * GRAIN));
        Some(Self { site, created_after, next_token: next_token.clone() })
    }

    /// The lane of its call.
    pub fn lane(&self) -> LaneKey {
        LaneKey::in_direction(&self.site.client, Direction::Read)
    }

    /// The call for it.
    pub fn call(&self) -> Call {
        Call::ListExecutions {
            pipeline: self.site.pipeline.clone(),
            created_after: self.created_after,
            next_token: self.next_token.clone(),
        }
    }
}

/// A workflow, and its name for the call.
pub type Asker<Id> = (Id, u64);

/// What follows for a page's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It wants a turn.
    Turn,
    /// It waits for the turn that others of its page have asked for.
    Joined,
    /// It wants one once the call under way is back, which left before this was asked.
    Later,
}

/// A page's call under way, and those for whom it has not left.
#[derive(Debug)]
struct Flight<Id> {
    away: Vec<Asker<Id>>,
    waiting: Vec<Asker<Id>>,
}

/// All pages that are asked for.
#[derive(Debug)]
pub struct Listings<Id> {
    flights: BTreeMap<Page, Flight<Id>>,
    /// Pages that wait for a turn of a lane and since when, the first to come first.
    lines: BTreeMap<LaneKey, VecDeque<(Page, Time)>>,
}

impl<Id> Default for Listings<Id> {
    fn default() -> Self {
        Self { flights: BTreeMap::new(), lines: BTreeMap::new() }
    }
}

impl<Id: Copy + PartialEq> Listings<Id> {
    /// A workflow wants a page.
    pub fn ask(&mut self, page: &Page, asker: Asker<Id>, now: Time) -> Wish {
        let flight =
            self.flights.entry(page.clone()).or_insert_with(|| Flight { away: Vec::new(), waiting: Vec::new() });
        flight.waiting.push(asker);
        if !flight.away.is_empty() {
            return Wish::Later;
        }
        if flight.waiting.len() > 1 {
            return Wish::Joined;
        }
        self.wait(page, now);
        Wish::Turn
    }

    fn wait(&mut self, page: &Page, now: Time) {
        self.lines.entry(page.lane()).or_default().push_back((page.clone(), now));
    }

    /// A turn has come: which page is asked for, in whose name, and how long it has waited.
    pub fn turn(&mut self, lane: &LaneKey, now: Time) -> Option<(Id, Page, Duration)> {
        let line = self.lines.get_mut(lane)?;
        while let Some((page, since)) = line.pop_front() {
            // Who wanted it may have died, and who came after that has asked for a turn as well.
            let Some(flight) = self.flights.get_mut(&page).filter(|flight| flight.away.is_empty()) else { continue };
            flight.away = std::mem::take(&mut flight.waiting);
            match flight.away.first() {
                Some((leader, _)) => return Some((*leader, page, now.since(since))),
                None => self.flights.remove(&page),
            };
        }
        None
    }

    /// Those who wait for a turn of a lane.
    pub fn waiting(&self, lane: &LaneKey) -> impl Iterator<Item = Asker<Id>> {
        let pages = self.lines.get(lane).into_iter().flatten();
        pages.filter_map(|(page, _)| self.flights.get(page)).flat_map(|flight| flight.waiting.iter().copied())
    }

    /// The page came, or failed: who is told, and whether it wants a turn for others.
    pub fn answered(&mut self, page: &Page, now: Time) -> (Vec<Asker<Id>>, bool) {
        let Some(flight) = self.flights.get_mut(page) else { return (Vec::new(), false) };
        let told = std::mem::take(&mut flight.away);
        let again = !flight.waiting.is_empty();
        if again {
            self.wait(page, now);
        } else {
            self.flights.remove(page);
        }
        (told, again)
    }

    /// The workflow has ended or died. A page that nobody wants any more is not asked for.
    pub fn forget(&mut self, who: Id) {
        for flight in self.flights.values_mut() {
            flight.waiting.retain(|(asker, _)| *asker != who);
        }
    }
}
