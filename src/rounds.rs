//! Poll rounds of the process: executions of one pipeline that several workflows follow are looked at by one list.
//!
//! ```text
//!   workflow ── look(its executions) ──▶  Rounds  ── Turn, Call: ListPipelineExecutions ──▶ AWS
//!   workflow ◀── Seen: what a page shows of it; in the end what it has to describe ──┘
//! ```
//!
//! A workflow says which of its executions are due, and which have just started. It is cheaper to describe few of them and
//! to list many, newest first, a hundred at once; and what a page shows is told to everybody who follows it, due or not. So
//! all come due together the next time, and N executions of a pipeline cost about N/100 calls however many workflows they
//! belong to.
//!
//! | question | subject |
//! |---|---|
//! | Which executions are followed, by whom, and which are worth a look? | `followed` |
//! | A describe each, or a list? | [`plan`] |
//! | Which call is next for a pipeline, and who is told what? | `site` |
//! | Whose turn is it, and for whom did an answer come? | [`Rounds`] |
//! | Who else wants the page that a workflow lists before its first start? | [`Listings`] |
//!
//! Nothing is lost when a list does not show an execution, fails or is denied: its workflow is told, and describes it. Pure:
//! time is passed in.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use crate::{
    pace::{Direction, LaneKey},
    pipelines::{Arn, Call, CallError, ClientKey, Execution, Time},
};

mod followed;
mod listings;
mod plan;
mod site;

pub use listings::{Listings, Page, Wish};
pub use plan::{PAGE, Plan, interval, plan};

use site::SiteRound;

/// A pipeline as one client's calls name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    pub client: ClientKey,
    /// Its name, or its ARN in another account.
    pub pipeline: String,
}

/// An execution that a workflow follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub arn: Arn,
    /// By AWS's clock.
    pub created: Time,
    /// It is to be looked at now; else it has just started, and whoever lists takes it along.
    pub due: bool,
}

/// What a workflow is told of its executions.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub site: Site,
    /// What a page shows of those that it follows, or that carry its marker.
    pub shown: Vec<Execution>,
    /// Its look is over.
    pub over: Option<LookEnd>,
    /// When the page was asked for, by our clock, and the answer's own time; nothing where no page was.
    pub asked: Option<(Time, Option<Time>)>,
    /// How many executions only other workflows of the process follow, wherever; up to a minute after their end.
    pub of_others: usize,
}

/// How a look ends.
#[derive(Clone, Debug, PartialEq)]
pub enum LookEnd {
    /// Whatever of it no page has shown is to be described.
    Describe,
    /// The list failed.
    Failed(CallError),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Act<Id> {
    /// Ask for one turn of this lane.
    WantTurn(LaneKey),
    /// It is not needed.
    GiveBackTurn(LaneKey),
    /// Make this call, which has waited so long for its turn.
    Call(Site, Call, Duration),
    Tell(Id, Seen),
}

/// How often executions are looked at; the flags' values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub poll_min: Duration,
    pub poll_max: Duration,
}

/// The rounds of a process. `Id` names a workflow.
#[derive(Debug)]
pub struct Rounds<Id> {
    settings: Settings,
    sites: BTreeMap<Site, SiteRound<Id>>,
    /// Who waits for a turn of a lane and since when, the first to come first.
    lines: BTreeMap<LaneKey, VecDeque<(Site, Time)>>,
    /// Workflows by their uid, which the markers of their executions carry.
    uids: HashMap<String, Id>,
    /// Reads the uid in an execution's description.
    uid_of: fn(&str) -> Option<&str>,
}

impl<Id: Clone + Ord> Rounds<Id> {
    /// Nothing is followed yet.
    pub fn new(settings: Settings, uid_of: fn(&str) -> Option<&str>) -> Self {
        Self { settings, sites: BTreeMap::new(), lines: BTreeMap::new(), uids: HashMap::new(), uid_of }
    }

    /// A workflow says which of its executions are due, or have just started; `server_now`: now, by AWS's clock. Each look
    /// at some that are due ends with one [`Seen`] that is `over`.
    pub fn look(
        &mut self,
        who: &Id,
        uid: &str,
        at: &Site,
        wanted: Vec<Wanted>,
        now: Time,
        server_now: Time,
    ) -> Vec<Act<Id>> {
        if !self.uids.contains_key(uid) {
            self.uids.insert(uid.to_owned(), who.clone());
        }
        let settings = self.settings;
        let site = self.sites.entry(at.clone()).or_insert_with(|| SiteRound::new(at.clone(), settings));
        let mut acts = Vec::new();
        site.look(who, wanted, now, server_now, &mut acts);
        self.wants_turn(at, now, &mut acts);
        self.counted(acts, now)
    }

    /// A turn has come.
    pub fn turn(&mut self, lane: &LaneKey, now: Time) -> Vec<Act<Id>> {
        let mut acts = Vec::new();
        let next = self.lines.get_mut(lane).and_then(VecDeque::pop_front);
        match next.as_ref().and_then(|(at, since)| Some((self.sites.get_mut(at)?, *since))) {
            Some((site, since)) => site.turn(now, now.since(since), &mut acts),
            None => acts.push(Act::GiveBackTurn(lane.clone())),
        }
        self.counted(acts, now)
    }

    /// A list was answered.
    pub fn answered(
        &mut self,
        at: &Site,
        result: Result<(Vec<Execution>, Option<String>), CallError>,
        server_time: Option<Time>,
        now: Time,
    ) -> Vec<Act<Id>> {
        let mut acts = Vec::new();
        let Some(site) = self.sites.get_mut(at) else { return acts };
        let (uids, uid_of) = (&self.uids, self.uid_of);
        let marked = |execution: &Execution| uids.get(uid_of(execution.description.as_deref()?)?).cloned();
        site.answered(result, server_time, now, marked, &mut acts);
        self.wants_turn(at, now, &mut acts);
        self.counted(acts, now)
    }

    /// The workflow has ended or died: nothing is followed for it any more.
    pub fn forget(&mut self, who: &Id) {
        self.uids.retain(|_, other| other != who);
        self.sites.retain(|_, site| {
            site.forget(who);
            !site.is_idle()
        });
    }

    /// Whoever is told something is told how many others there are.
    fn counted(&mut self, mut acts: Vec<Act<Id>>, now: Time) -> Vec<Act<Id>> {
        for act in &mut acts {
            if let Act::Tell(who, seen) = act {
                seen.of_others = self.sites.values_mut().map(|site| site.of_others(who, now)).sum();
            }
        }
        acts
    }

    fn wants_turn(&mut self, at: &Site, now: Time, acts: &mut Vec<Act<Id>>) {
        if self.sites.get_mut(at).is_some_and(SiteRound::takes_turn_wish) {
            let lane = LaneKey::in_direction(&at.client, Direction::Read);
            self.lines.entry(lane.clone()).or_default().push_back((at.clone(), now));
            acts.push(Act::WantTurn(lane));
        }
    }
}
