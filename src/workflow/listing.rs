//! The listing of a pipeline's executions: complete before the first start, renewed before later ones, and again when
//! something may have started unheard.

use std::time::Duration;

use crate::pipelines::{Call, CallError, CallErrorKind, CallReply, ClientKey, Time};

use super::{
    Machine, Priority, Purpose, Sabotage, Timer, backoff,
    identity::Key,
    node::{Stage, StopScope, Trouble},
    pipeline::{Listing, Page, Pipeline},
    run::CLOCKS_APART,
    trouble::{Place, Reaction, reaction},
};

/// SageMaker ends executions after 28 days (672 h), so nothing older can be live.
pub(super) const FURTHEST: Duration = Duration::from_secs(28 * 24 * 3600);
pub(super) const RETRY_MOST: Duration = Duration::from_secs(15);
/// Without knowing when the workflow was created, the listing stops after so many pages.
const PAGES_WITHOUT_START: usize = 20;
/// A new execution may be absent from lists for so long.
pub(super) const LISTS_LAG: Duration = Duration::from_secs(60);
/// After so many failed tries in a row others need not wait for a listing.
const TRIES: u32 = 5;
/// A renewed listing goes back this far before the one that it renews.
const OVERLAP: Duration = Duration::from_secs(300);
/// A listing is trusted for as long as a start is repeated under its token; a denial is tried again after this long.
const FRESH_FOR: Duration = Duration::from_secs(300);

impl Pipeline {
    /// Whether decisions may be taken on what was listed: completely once, or not to be listed at all.
    pub(super) fn is_known(&self) -> bool {
        self.complete_at.is_some() || self.list_denied.is_some()
    }

    /// Whether its listing fails again and again: its nodes wait without holding up those of other pipelines.
    pub(super) fn cannot_be_listed(&self) -> bool {
        matches!(self.listing, Listing::Wanted { tries: TRIES.., .. } | Listing::Running { tries: TRIES.., .. })
    }

    /// Whether a listing was denied just now; later it is tried again, the policy may have been mended.
    pub(super) fn may_not_list(&self, now: Time) -> bool {
        self.list_denied.is_some_and(|at| now < at.plus(FRESH_FOR))
    }
}

impl Machine {
    /// Sends the page of the listing that is wanted, if its time has come.
    pub(super) fn list_next(&mut self, pipeline: usize) {
        let Some(Listing::Wanted { at, tries, page }) = self.pipelines.get(pipeline).map(|p| &p.listing) else {
            return;
        };
        let (at, tries, page) = (*at, *tries, page.clone());
        if at <= self.now {
            let page =
                page.unwrap_or_else(|| Page { token: None, number: 0, created_after: self.since(pipeline), all: true });
            self.list_page(pipeline, page, tries);
        }
    }

    /// How far back the workflow's executions go, in AWS's time.
    fn since(&self, pipeline: usize) -> Time {
        self.created_since(self.pipelines.get(pipeline).and_then(|p| p.workflow_created))
    }

    /// How far back the executions of a workflow go that was created then.
    pub(super) fn created_since(&self, created: Option<Time>) -> Time {
        let furthest = self.server_now().minus(FURTHEST);
        // By Kubernetes' clock, which may be ahead; and no workflow is younger than its plugin's first request.
        let first = self.aws_clock.theirs(self.first_event.unwrap_or(self.now));
        let margin = if self.sabotaged(Sabotage::CreatedToTheSecond) { Duration::from_secs(60) } else { CLOCKS_APART };
        let told = |created| self.aws_clock.theirs(self.kubernetes_clock.ours(created));
        let created = created.map(|at| if self.kubernetes_clock.is_known() { told(at).min(at) } else { at });
        created.map_or(furthest, |created| created.min(first).minus(margin).max(furthest))
    }

    /// Wants another complete listing: something may have started unheard, or be gone.
    pub(super) fn list_anew(&mut self, pipeline: usize) {
        let now = self.now;
        if let Some(p) = self.pipelines.get_mut(pipeline)
            && (matches!(p.listing, Listing::Complete | Listing::Refused { .. })
                || (matches!(p.listing, Listing::Denied) && !p.may_not_list(now)))
        {
            p.listing = Listing::Wanted { at: now, tries: 0, page: None };
        }
        self.list_next(pipeline);
    }

    /// Wants to know what was created since the last complete listing.
    pub(super) fn refresh(&mut self, pipeline: usize) {
        let (now, since) = (self.now, self.since(pipeline));
        // An earlier attempt's execution may have been revived in the console; also while the start of another attempt is tried.
        let starts = |a: &super::node::Attempt| {
            a.pipeline == pipeline && !matches!(a.stage, Stage::Following(_) | Stage::Ended(_))
        };
        let revivable =
            self.families.values().any(|f| !f.executions.is_empty() && f.attempts.values().any(|a| starts(a)));
        if let Some(p) = self.pipelines.get_mut(pipeline)
            && matches!(p.listing, Listing::Complete)
            && !revivable
        {
            let created_after = p.complete_to.map_or(since, |to| to.minus(OVERLAP));
            let page = Page { token: None, number: 0, created_after: created_after.max(since), all: false };
            p.listing = Listing::Wanted { at: now, tries: 0, page: Some(page) };
        }
        self.list_anew(pipeline);
    }

    /// Another pod may have started, since the last listing, what a `stop` node names: it is stopped when it shows.
    pub(super) fn list_for_stop(&mut self, key: Key) {
        let Some(stop) = self.stops.get(&key) else { return };
        let (own, everything) = (stop.pipeline, stop.names == StopScope::Everything);
        if matches!(stop.names, StopScope::Execution(_)) {
            return;
        }
        for number in 0..self.pipelines.len() {
            let aged = |p: &Pipeline| matches!(p.listing, Listing::Complete) && p.listed_at < self.now;
            if (everything || number == own) && self.pipelines.get(number).is_some_and(aged) {
                self.refresh(number);
            }
        }
    }

    /// Whether another process's start of this pipeline would be known or its token still be remembered. A node may
    /// have waited here for hours, and meanwhile or just before another pod may have started it.
    /// `completely`: also what was created long ago, which somebody may have revived in the console.
    pub(super) fn is_freshly_listed(&mut self, pipeline: usize, completely: bool) -> bool {
        let now = self.now;
        let lags_until = self.lags_until();
        let Some(p) = self.pipelines.get(pipeline) else { return false };
        // What the process before this one started last was not in the lists yet when they were first asked.
        let lagging = p.listed_at < lags_until && now >= lags_until;
        match p.listing {
            Listing::Complete if now < p.listed_at.plus(FRESH_FOR) && !lagging => {
                let complete = !completely || p.listed_all_at.is_some_and(|at| now < at.plus(FRESH_FOR));
                if !complete {
                    self.list_anew(pipeline);
                }
                complete
            }
            Listing::Denied if p.may_not_list(now) => true,
            Listing::Complete | Listing::Denied => {
                self.refresh(pipeline);
                false
            }
            Listing::Refused { .. } => true,
            Listing::Wanted { .. } | Listing::Running { .. } => false,
        }
    }

    /// Until then, what an earlier process started last may be absent from lists. And what another pod's process has
    /// started meanwhile must show before the workflow's end is a node's.
    pub(super) fn lags_until(&self) -> Time {
        let since = self.closed.as_ref().map_or(Time(i64::MIN), |closed| closed.since);
        self.first_event.unwrap_or(self.now).plus(LISTS_LAG).max(since)
    }

    /// Whether the pipeline was listed after this time. If not, it is listed again as soon as that can be.
    pub(super) fn is_listed_after(&mut self, pipeline: usize, after: Time) -> bool {
        let Some(p) = self.pipelines.get_mut(pipeline) else { return true };
        let settled = match p.listing {
            Listing::Refused { .. } => true,
            Listing::Complete | Listing::Denied => p.listed_at >= after,
            Listing::Wanted { .. } | Listing::Running { .. } => false,
        };
        if settled {
            return true;
        }
        p.list_after = p.list_after.max(after);
        self.list_once_settled(pipeline);
        false
    }

    /// Lists again once the time has come after which somebody needs a listing.
    pub(super) fn list_once_settled(&mut self, pipeline: usize) {
        let now = self.now;
        let Some(p) = self.pipelines.get_mut(pipeline) else { return };
        let after = p.list_after;
        let at = match &p.listing {
            Listing::Refused { .. } => return,
            Listing::Complete | Listing::Denied if p.listed_at >= after => return,
            _ if now < after => after,
            Listing::Complete => {
                self.refresh(pipeline);
                return;
            }
            // A denial of then may have been a moment's.
            Listing::Denied => {
                p.listing = Listing::Wanted { at: now, tries: 0, page: None };
                self.list_next(pipeline);
                return;
            }
            // What is asked for now was begun too early, or fails.
            Listing::Wanted { .. } | Listing::Running { .. } => now.plus(RETRY_MOST),
        };
        if p.settles_at.is_none_or(|set| set <= now) {
            p.settles_at = Some(at);
            self.timers.insert((at, Timer::Refresh(pipeline)));
        }
    }

    /// Whether somebody still waits to learn what runs of this pipeline.
    pub(super) fn still_looks(&self) -> bool {
        let waits = |number: usize| {
            let locating = |f: &super::Family| {
                f.attempts.values().any(|a| a.pipeline == number && matches!(a.stage, Stage::Locating))
            };
            self.families.values().any(locating)
                || self.stops.values().any(|s| s.pipeline == number && s.targets.is_none() && s.ended.is_none())
        };
        self.pipelines.iter().enumerate().any(|(number, p)| match p.listing {
            Listing::Running { .. } => true,
            Listing::Wanted { .. } => waits(number),
            Listing::Complete | Listing::Denied | Listing::Refused { .. } => false,
        })
    }

    fn list_page(&mut self, pipeline: usize, page: Page, tries: u32) {
        let Some(spelling) = self.spelling(pipeline) else { return };
        let Some(p) = self.pipelines.get_mut(pipeline) else { return };
        if page.number == 0 {
            p.listed_at = self.now;
            p.listed_to = None;
        }
        let (created_after, next_token) = (Some(page.created_after), page.token.clone());
        p.listing = Listing::Running { tries, page };
        let call = Call::ListExecutions { pipeline: spelling, created_after, next_token };
        self.call_for(Priority::Ask, pipeline, call, Purpose::Listing { pipeline });
    }

    pub(super) fn listing_answered(&mut self, pipeline: usize, result: Result<CallReply, CallError>) {
        let Some(Listing::Running { tries, page }) = self.pipelines.get(pipeline).map(|p| &p.listing) else { return };
        let (tries, asked) = (*tries, page.clone());
        match result {
            Ok(CallReply::Executions { page, next_token }) => {
                let server_now = self.server_now();
                if let Some(p) = self.pipelines.get_mut(pipeline) {
                    // By the answer itself: a clock of ours that jumps later does not move it.
                    p.listed_to.get_or_insert(server_now);
                }
                for execution in page {
                    self.adopt(pipeline, execution);
                }
                let number = asked.number + 1;
                let unbounded = self.pipelines.get(pipeline).is_some_and(|p| p.workflow_created.is_none());
                let truncated = unbounded && number >= PAGES_WITHOUT_START && next_token.is_some();
                if truncated {
                    self.warn(format!(
                        "the listing of earlier executions was truncated after {number} pages: set workflow_created in the plugin input"
                    ));
                }
                match next_token.filter(|_| !truncated) {
                    Some(token) => self.list_page(pipeline, Page { token: Some(token), number, ..asked }, tries),
                    None => self.list_is_complete(pipeline, asked.all),
                }
            }
            Ok(_) => self.list_is_complete(pipeline, false),
            Err(error) => self.listing_failed(pipeline, asked, tries, error),
        }
    }

    fn list_is_complete(&mut self, pipeline: usize, all: bool) {
        if all {
            self.settle_missing(pipeline, false);
        }
        if let Some(p) = self.pipelines.get_mut(pipeline) {
            p.listed_all_at = if all { Some(p.listed_at) } else { p.listed_all_at };
            p.complete_at = Some(p.listed_at);
            p.complete_to = p.listed_to;
            p.list_denied = None;
        }
        self.listed(pipeline, Listing::Complete);
    }

    fn listing_failed(&mut self, pipeline: usize, page: Page, tries: u32, error: CallError) {
        let now = self.now;
        let Some(client) = self.pipelines.get(pipeline).map(|p| p.client.clone()) else { return };
        match reaction(error.kind, Place::Listing) {
            // What is invalid on a later page is its token: all pages again.
            Reaction::Refuse if page.number > 0 && error.kind == CallErrorKind::Invalid => {
                self.list_later(pipeline, &client, tries, None, &error, false);
            }
            Reaction::Without => {
                let before = self.pipelines.get_mut(pipeline).and_then(|p| p.list_denied.replace(now));
                if before.is_none() {
                    self.warn(format!(
                        "ListPipelineExecutions is denied, only the client request token protects against a second start: {}",
                        error.message
                    ));
                }
                self.listed(pipeline, Listing::Denied);
            }
            Reaction::Refuse => {
                let arn = self.pipelines.get(pipeline).map(|p| p.arn.clone()).unwrap_or_default();
                let text = match error.kind {
                    CallErrorKind::NotFound => format!("pipeline {arn} does not exist: {}", error.message),
                    _ => format!("SageMaker refuses to list pipeline {arn}: {}", error.message),
                };
                if error.kind == CallErrorKind::NotFound {
                    self.settle_missing(pipeline, true);
                }
                self.listed(pipeline, Listing::Refused { text, at: now });
            }
            otherwise => {
                if error.kind == CallErrorKind::Throttled {
                    self.note_throttle(&client, false);
                }
                self.list_later(pipeline, &client, tries, Some(page), &error, otherwise == Reaction::Mend);
            }
        }
    }

    /// The page that failed, or all pages, again after a while.
    fn list_later(
        &mut self,
        pipeline: usize,
        client: &ClientKey,
        tries: u32,
        page: Option<Page>,
        error: &CallError,
        denied: bool,
    ) {
        let (now, left) = (self.now, self.answers_left);
        if let Some(state) = self.clients.get_mut(client) {
            Trouble::extend(&mut state.trouble, &error.message, denied, left);
        }
        let at = now.plus(backoff(tries, RETRY_MOST));
        if let Some(p) = self.pipelines.get_mut(pipeline) {
            p.listing = Listing::Wanted { at, tries: tries + 1, page };
        }
        self.timers.insert((at, Timer::Listing(pipeline)));
        self.pipeline_changed(pipeline);
    }

    fn listed(&mut self, pipeline: usize, listing: Listing) {
        let client = self.pipelines.get_mut(pipeline).map(|p| {
            p.listing = listing;
            p.client.clone()
        });
        if let Some(state) = client.and_then(|client| self.clients.get_mut(&client)) {
            state.trouble = None;
        }
        self.pipeline_changed(pipeline);
    }
}
