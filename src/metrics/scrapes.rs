//! Which scrape has seen everything: what the linger at the end of the process waits for.
//!
//! A sidecar's pod is deleted when its workflow completes, and what was counted since the last scrape would be lost.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::family::Changes;

/// The scrapes so far.
#[derive(Default)]
pub struct Scrapes {
    /// How many were answered.
    answered: AtomicU64,
    /// How many changes the latest of them could have seen.
    seen: AtomicU64,
    answer: Notify,
}

/// A scrape that is being answered.
pub struct Scrape<'a> {
    scrapes: &'a Scrapes,
    changes: u64,
}

impl Scrapes {
    pub(super) fn began(&self, changes: &Changes) -> Scrape<'_> {
        Scrape { scrapes: self, changes: changes.count() }
    }

    /// Waits for a scrape that began after the last change; at once where there was one, or where nobody ever
    /// scraped.
    pub(super) async fn complete(&self, changes: &Changes) {
        loop {
            let next = self.answer.notified();
            let unseen = self.seen.load(Ordering::SeqCst) != changes.count();
            if self.answered.load(Ordering::SeqCst) == 0 || !unseen {
                return;
            }
            next.await;
        }
    }
}

impl Scrape<'_> {
    /// The answer is on its way.
    pub fn answered(self) {
        self.scrapes.seen.fetch_max(self.changes, Ordering::SeqCst);
        self.scrapes.answered.fetch_add(1, Ordering::SeqCst);
        self.scrapes.answer.notify_waiters();
    }
}
