//! The listing of a pipeline's executions: complete before the first start, renewed before later ones, and again when
//! something may have started unheard.

use std::time::Duration;

use crate::pipelines::{CallError, CallErrorKind, Time};

use crate::workflow::{
    client::RETRY_MOST,
    effects::{Effects, backoff},
    run::{CLOCKS_APART, LONGEST_EXECUTION},
    trouble::{CallSite, Disposition, Trouble, disposition},
};

/// Without knowing when the workflow was created, the listing stops after so many pages.
const PAGES_WITHOUT_START: usize = 20;
/// A new execution may be absent from lists for so long.
pub const LISTS_LAG: Duration = Duration::from_secs(60);
/// After so many failed tries in a row others need not wait for a listing.
const TRIES: u32 = 5;
/// A renewed listing goes back this far before the one that it renews.
const OVERLAP: Duration = Duration::from_secs(300);
/// A listing is trusted for as long as a start is repeated under its token; a denial is tried again after this long.
const FRESH_FOR: Duration = Duration::from_secs(300);
/// A pipeline that was not there is looked for again after this long, for nodes that come later.
const REFUSED_REST: Duration = Duration::from_secs(30);

/// What is known of a pipeline's executions as a whole.
#[derive(Debug)]
pub struct Listing {
    stage: Stage,
    /// When the newest listing began.
    begun_at: Time,
    /// When the newest one began that was completed.
    complete_at: Option<Time>,
    /// Up to when, by AWS's clock, that one shows executions; and the one under way.
    complete_to: Option<Time>,
    shows_to: Option<Time>,
    /// When the newest listing of everything was begun.
    whole_at: Option<Time>,
    /// When it is looked at again because lists lag behind an earlier process.
    looks_at: Option<Time>,
    /// A listing begun after this time is wanted by somebody who waits for one.
    wanted_after: Time,
    /// When listing was denied, unless it has worked since.
    denied_at: Option<Time>,
    /// Why it fails.
    trouble: Option<Box<Trouble>>,
}

#[derive(Debug)]
enum Stage {
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
    number: usize,
    pub created_after: Time,
    /// Not only what was created since the last listing.
    whole: bool,
}

/// Whether another process's start would be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    Fresh,
    /// What was created long ago has to be listed again.
    OnlyOfLate,
    Stale,
    /// It is being listed.
    Pending,
}

/// How far a listing got with an answer.
#[derive(Debug)]
pub enum Listed {
    /// Another page follows.
    More(Page),
    /// Everything that the listing was for is known.
    Complete {
        whole: bool,
        truncated_after: Option<usize>,
    },
    /// Nobody may list; `first`: that is news.
    Denied {
        first: bool,
    },
    Refused {
        no_such_pipeline: bool,
    },
    /// It is tried again at this time.
    Later(Time),
}

impl Listing {
    /// Nothing was listed yet.
    pub fn new(now: Time) -> Self {
        Self {
            stage: Stage::Wanted { at: now, tries: 0, page: None },
            begun_at: now,
            complete_at: None,
            complete_to: None,
            shows_to: None,
            whole_at: None,
            looks_at: None,
            wanted_after: Time::at(i64::MIN),
            denied_at: None,
            trouble: None,
        }
    }

    /// Whether decisions may be taken on what was listed: completely once, or not to be listed at all.
    pub fn is_known(&self) -> bool {
        self.complete_at.is_some() || self.denied_at.is_some()
    }

    /// Whether it fails again and again: the pipeline's nodes wait without holding up those of other pipelines.
    pub fn fails(&self) -> bool {
        matches!(self.stage, Stage::Wanted { tries: TRIES.., .. } | Stage::Running { tries: TRIES.., .. })
    }

    /// Whether listing was denied, and has not worked since.
    pub fn is_denied(&self) -> bool {
        self.denied_at.is_some()
    }

    /// Whether it was denied just now; later it is tried again, the policy may have been mended.
    pub fn is_denied_now(&self, now: Time) -> bool {
        self.denied_at.is_some_and(|at| now < at.plus(FRESH_FOR))
    }

    /// A list that was to stand for polls was denied.
    pub fn deny(&mut self, now: Time) {
        self.denied_at = Some(now);
    }

    /// Whether nobody may list, so that answers to single executions have to do.
    pub fn is_done_without(&self) -> bool {
        matches!(self.stage, Stage::Denied)
    }

    /// Whether an answer is awaited.
    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    /// Whether it is wanted or under way.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Wanted { .. } | Stage::Running { .. })
    }

    /// Whether it is wanted and has not been asked for.
    pub fn is_wanted(&self) -> bool {
        matches!(self.stage, Stage::Wanted { .. })
    }

    /// Whether it was completed before `now`.
    pub fn is_aged(&self, now: Time) -> bool {
        matches!(self.stage, Stage::Complete) && self.begun_at < now
    }

    /// Why it fails.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_deref()
    }

    /// The pipeline does not exist or is refused: the sentence for its nodes.
    pub fn refusal(&self) -> Option<&str> {
        match &self.stage {
            Stage::Refused { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A refusal is not believed for ever.
    pub fn outlive_refusal(&mut self, now: Time) {
        if matches!(&self.stage, Stage::Refused { at, .. } if now >= at.plus(REFUSED_REST)) {
            self.want_everything(now);
        }
    }

    fn want_everything(&mut self, now: Time) {
        self.stage = Stage::Wanted { at: now, tries: 0, page: None };
    }

    /// Wants another complete listing: something may have started unheard, or be gone.
    pub fn anew(&mut self, now: Time) {
        let settled = match self.stage {
            Stage::Complete | Stage::Refused { .. } => true,
            Stage::Denied => !self.is_denied_now(now),
            Stage::Wanted { .. } | Stage::Running { .. } => false,
        };
        if settled {
            self.want_everything(now);
        }
    }

    /// The same for somebody who looks for what must be there: a denial is not believed for long.
    pub fn anew_in_search(&mut self, now: Time) {
        let rested = self.denied_at.is_some_and(|at| now >= at.plus(REFUSED_REST));
        if matches!(self.stage, Stage::Denied) && rested {
            self.want_everything(now);
        } else {
            self.anew(now);
        }
    }

    /// Wants to know what was created since the last complete listing, of all that was `since` then.
    pub fn of_late(&mut self, now: Time, since: Time) {
        if matches!(self.stage, Stage::Complete) {
            let created_after = self.complete_to.map_or(since, |to| to.minus(OVERLAP)).max(since);
            let page = Page { token: None, number: 0, created_after, whole: false };
            self.stage = Stage::Wanted { at: now, tries: 0, page: Some(page) };
        }
    }

    /// The page to ask for now, if its time has come.
    pub fn next_page(&self, now: Time, since: Time) -> Option<Page> {
        let Stage::Wanted { at, page, .. } = &self.stage else { return None };
        let everything = || Page { token: None, number: 0, created_after: since, whole: true };
        (*at <= now).then(|| page.clone().unwrap_or_else(everything))
    }

    /// This page was asked for.
    pub fn asked(&mut self, page: Page, now: Time) {
        if page.number == 0 {
            self.begun_at = now;
            self.shows_to = None;
        }
        let (Stage::Wanted { tries, .. } | Stage::Running { tries, .. }) = self.stage else { return };
        self.stage = Stage::Running { tries, page };
    }

    /// Whether another process's start of this pipeline would be known or its token still be remembered. A node may
    /// have waited here for hours, and meanwhile or just before another pod may have started it. `whole`: also what was
    /// created long ago, which somebody may have revived in the console.
    pub fn freshness(&self, now: Time, whole: bool, lags_until: Time) -> Freshness {
        // What the process before this one started last was not in the lists yet when they were first asked.
        let lagging = self.begun_at < lags_until && now >= lags_until;
        let fresh = |at: Time| now < at.plus(FRESH_FOR);
        match self.stage {
            Stage::Complete if fresh(self.begun_at) && !lagging => {
                if !whole || self.whole_at.is_some_and(fresh) {
                    Freshness::Fresh
                } else {
                    Freshness::OnlyOfLate
                }
            }
            Stage::Denied if self.is_denied_now(now) => Freshness::Fresh,
            Stage::Complete | Stage::Denied => Freshness::Stale,
            Stage::Refused { .. } => Freshness::Fresh,
            Stage::Wanted { .. } | Stage::Running { .. } => Freshness::Pending,
        }
    }

    /// Whether it was begun after this time; if not, one is wanted as soon as that can be.
    pub fn is_after(&mut self, after: Time) -> bool {
        let settled = match self.stage {
            Stage::Refused { .. } => true,
            Stage::Complete | Stage::Denied => self.begun_at >= after,
            Stage::Wanted { .. } | Stage::Running { .. } => false,
        };
        if !settled {
            self.wanted_after = self.wanted_after.max(after);
        }
        settled
    }

    /// What has to be done for whoever waits for a listing begun after some time.
    pub fn once_settled(&mut self, now: Time) -> Settling {
        let at = match self.stage {
            Stage::Refused { .. } => return Settling::Done,
            Stage::Complete | Stage::Denied if self.begun_at >= self.wanted_after => return Settling::Done,
            _ if now < self.wanted_after => self.wanted_after,
            Stage::Complete => return Settling::Renew,
            // A denial of then may have been a moment's.
            Stage::Denied => {
                self.want_everything(now);
                return Settling::Ask;
            }
            // What is asked for now was begun too early, or fails.
            Stage::Wanted { .. } | Stage::Running { .. } => now.plus(RETRY_MOST),
        };
        if self.looks_at.is_some_and(|set| set > now) {
            return Settling::Done;
        }
        self.looks_at = Some(at);
        Settling::LookAt(at)
    }

    /// Takes in an answered page. `to`: the time of the answer by AWS's clock; `bounded`: it is known when the workflow
    /// was created.
    pub fn page_came(&mut self, next_token: Option<String>, to: Time, bounded: bool) -> Option<Listed> {
        let Stage::Running { page, .. } = &self.stage else { return None };
        let asked = page.clone();
        // By the answer itself: a clock of ours that jumps later does not move it.
        self.shows_to.get_or_insert(to);
        let number = asked.number + 1;
        let truncated = !bounded && number >= PAGES_WITHOUT_START && next_token.is_some();
        Some(match next_token.filter(|_| !truncated) {
            Some(token) => Listed::More(Page { token: Some(token), number, ..asked }),
            None => self.complete(asked.whole, truncated.then_some(number)),
        })
    }

    fn complete(&mut self, whole: bool, truncated_after: Option<usize>) -> Listed {
        if whole {
            self.whole_at = Some(self.begun_at);
        }
        self.complete_at = Some(self.begun_at);
        self.complete_to = self.shows_to;
        self.denied_at = None;
        self.trouble = None;
        self.stage = Stage::Complete;
        Listed::Complete { whole, truncated_after }
    }

    /// Takes in that a page failed, of the pipeline with this ARN.
    pub fn page_failed(&mut self, error: &CallError, arn: &str, now: Time, left: Time) -> Option<Listed> {
        let Stage::Running { tries, page } = &self.stage else { return None };
        let (tries, page) = (*tries, page.clone());
        let (page, denial) = match disposition(error.kind, CallSite::Listing) {
            // What is invalid on a later page is its token: all pages again.
            Disposition::Refuse if page.number > 0 && error.kind == CallErrorKind::Invalid => (None, false),
            Disposition::Without => {
                let first = self.denied_at.replace(now).is_none();
                self.trouble = None;
                self.stage = Stage::Denied;
                return Some(Listed::Denied { first });
            }
            Disposition::Refuse => {
                let no_such_pipeline = error.kind == CallErrorKind::NotFound;
                let text = if no_such_pipeline {
                    format!("pipeline {arn} does not exist: {}", error.message)
                } else {
                    format!("SageMaker refuses to list pipeline {arn}: {}", error.message)
                };
                self.trouble = None;
                self.stage = Stage::Refused { text, at: now };
                return Some(Listed::Refused { no_such_pipeline });
            }
            otherwise => (Some(page), otherwise == Disposition::Mend),
        };
        // The page that failed, or all pages, again after a while.
        Trouble::extend(&mut self.trouble, &error.message, denial, left);
        let at = now.plus(backoff(tries, RETRY_MOST));
        self.stage = Stage::Wanted { at, tries: tries + 1, page };
        Some(Listed::Later(at))
    }
}

/// What a wish for a later listing leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    Done,
    /// To be looked at again then.
    LookAt(Time),
    /// What was created of late is listed again.
    Renew,
    /// Everything is listed again.
    Ask,
}

/// How far back the executions of a workflow go that was created then, by AWS's clock.
pub fn executions_since(created: Option<Time>, fx: &Effects) -> Time {
    let furthest = fx.server_now().minus(LONGEST_EXECUTION);
    // By Kubernetes' clock, which may be ahead; and no workflow is younger than its plugin's first request.
    let first = fx.aws().theirs(fx.began());
    let told = |at: Time| fx.aws().theirs(fx.kubernetes().ours(at)).min(at);
    let created = created.map(|at| if fx.kubernetes().is_known() { told(at) } else { at });
    created.map_or(furthest, |created| created.min(first).minus(CLOCKS_APART).max(furthest))
}
