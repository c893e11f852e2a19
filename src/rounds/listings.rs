//! Listings that workflows make before they start anything. Workflows that begin together ask for the same pages: a page is
//! asked for once, for all who want it before its call leaves. So nobody is told of an earlier moment than it asked at, and
//! hundreds of workflows of one pipeline cost little more than two.

use std::collections::BTreeMap;

use crate::pipelines::{Call, ClientKey, Time};

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

/// What becomes of a wish for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Its call leaves now.
    Leaves,
    /// It leaves once the one under way is back, which left before this was asked.
    Next,
    /// Another's wish, which is about to leave, is for the same: the turn is not needed.
    Joins,
}

/// Who hears an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered<Id> {
    pub told: Vec<Asker<Id>>,
    /// The call had taken a turn.
    pub paced: bool,
    /// The page is asked for once more, in this one's name.
    pub next: Option<Id>,
}

/// Those who wait for one call, and whether it has a turn.
#[derive(Debug)]
struct Party<Id> {
    askers: Vec<Asker<Id>>,
    paced: bool,
}

/// A page's call under way, and those who came after it had left.
#[derive(Debug)]
struct Flight<Id> {
    away: Party<Id>,
    next: Option<Party<Id>>,
}

/// All pages that are asked for.
#[derive(Debug)]
pub struct Listings<Id>(BTreeMap<Page, Flight<Id>>);

impl<Id> Default for Listings<Id> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Id: Copy + PartialEq> Listings<Id> {
    /// A workflow wants a page. `paced`: it has taken a turn for it.
    pub fn ask(&mut self, page: &Page, asker: Asker<Id>, paced: bool) -> Wish {
        let party = Party { askers: vec![asker], paced };
        let Some(flight) = self.0.get_mut(page) else {
            self.0.insert(page.clone(), Flight { away: party, next: None });
            return Wish::Leaves;
        };
        match &mut flight.next {
            None => {
                flight.next = Some(party);
                Wish::Next
            }
            Some(next) => {
                next.askers.push(asker);
                Wish::Joins
            }
        }
    }

    /// The page came, or failed.
    pub fn answered(&mut self, page: &Page) -> Option<Answered<Id>> {
        let Flight { away, next } = self.0.remove(page)?;
        let leader = next.as_ref().and_then(|party| party.askers.first()).map(|(who, _)| *who);
        if let Some(away) = next.filter(|_| leader.is_some()) {
            self.0.insert(page.clone(), Flight { away, next: None });
        }
        Some(Answered { told: away.askers, paced: away.paced, next: leader })
    }

    /// The workflow has ended or died.
    pub fn forget(&mut self, who: Id) {
        for flight in self.0.values_mut() {
            for party in [Some(&mut flight.away), flight.next.as_mut()].into_iter().flatten() {
                party.askers.retain(|(asker, _)| *asker != who);
            }
        }
    }
}
