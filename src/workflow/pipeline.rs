//! What the machine remembers of a pipeline and of the client that calls it.

use std::{collections::BTreeSet, sync::Arc};

use crate::pipelines::{ClientKey, Time};

use super::{HashMap, HashSet, definition::PipelineDigest, node::Trouble};

/// A pipeline as one client calls it.
#[derive(Debug)]
pub struct Pipeline {
    pub client: ClientKey,
    pub account: String,
    pub name: String,
    pub arn: String,
    pub listing: Listing,
    /// When that listing began.
    pub listed_at: Time,
    /// When the last one began that was completed.
    pub complete_at: Option<Time>,
    /// Up to when, by AWS's clock, that one shows executions; and the one under way.
    pub complete_to: Option<Time>,
    pub listed_to: Option<Time>,
    /// When it is listed again because lists lag behind an earlier process.
    pub settles_at: Option<Time>,
    /// When the last listing of everything was begun.
    pub listed_all_at: Option<Time>,
    /// A listing begun after this time is wanted by somebody who waits for one.
    pub list_after: Time,
    /// A node names it; others are only looked into for a stop of everything.
    pub named: bool,
    pub workflow_created: Option<Time>,
    /// Live executions by due time, and all live ones.
    pub due: BTreeSet<(Time, Arc<str>)>,
    pub live: HashSet<Arc<str>>,
    pub starting: usize,
    pub round: Option<Round>,
    /// When listing was denied, unless it has worked since.
    pub list_denied: Option<Time>,
    /// The last start that came back was denied: until one is taken, whoever is next tries alone.
    pub start_denied: Option<Trouble>,
    /// When the next one may.
    pub start_again_at: Time,
    /// Those of the live ones that a node is only attached to: somebody else's, and not within this workflow's limits.
    pub guests: HashSet<Arc<str>>,
    pub digests: HashMap<Option<i64>, DigestSlot>,
}

impl Pipeline {
    /// Takes in an execution that runs.
    pub fn lives(&mut self, arn: &Arc<str>, foreign: bool) {
        self.live.insert(arn.clone());
        if foreign {
            self.guests.insert(arn.clone());
        } else {
            self.guests.remove(arn);
        }
    }

    /// It runs no more, or is another's; whether it was here.
    pub fn leaves(&mut self, arn: &Arc<str>) -> bool {
        self.guests.remove(arn);
        self.live.remove(arn)
    }

    /// How many executions of the workflow's own run or are being started.
    pub fn running(&self) -> usize {
        self.live.len() - self.guests.len() + self.starting
    }
}

/// The complete listing that must come before the first start.
#[derive(Debug)]
pub enum Listing {
    /// To be asked for at this time: this page, or all from the first on.
    Wanted {
        at: Time,
        tries: u32,
        page: Option<Page>,
    },
    Running {
        tries: u32,
        page: Page,
    },
    Complete,
    /// Nobody may list: the token alone protects.
    Denied,
    /// The pipeline does not exist, or its listing is refused as invalid.
    Refused {
        text: String,
        at: Time,
    },
}

/// A page of the listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// The first has none.
    pub token: Option<String>,
    pub number: usize,
    pub created_after: Time,
    /// Not only what was created since the last listing.
    pub all: bool,
}

/// A poll round by list that is under way.
#[derive(Debug)]
pub struct Round {
    pub remaining: HashSet<Arc<str>>,
    pub pages: usize,
    pub max_pages: usize,
    pub created_after: Time,
}

/// A shared answer of DescribePipeline.
#[derive(Debug)]
pub enum DigestSlot {
    Asking { trouble: Option<Trouble>, retry_at: Option<Time>, tries: u32 },
    Known { at: Time, digest: PipelineDigest },
    Refused { at: Time, text: String },
}

/// A client's account.
#[derive(Debug, Default)]
pub struct Client {
    pub account: Option<String>,
    pub asking: bool,
    pub retry_at: Option<Time>,
    pub tries: u32,
    pub trouble: Option<Trouble>,
}
