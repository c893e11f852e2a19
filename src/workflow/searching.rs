//! The search for what a start with an unknown outcome may have started.

use std::{sync::Arc, time::Duration};

use crate::protocol::Phase;

use super::{
    Machine, backoff,
    identity::Key,
    node::{NodeRef, Stage},
    pipeline::Listing,
};

/// How long an execution that may have started is looked for in the list.
const SEARCH_FOR: Duration = Duration::from_secs(300);

impl Machine {
    /// Looks for what may have started. `token_used`: AWS says that the token was used, so something did.
    pub(super) fn search(&mut self, key: Key, number: u32, token_used: bool, text: &str) {
        let now = self.now;
        if let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) {
            attempt.stage = Stage::Searching { since: now, next: now, tries: 0, token_used, text: text.to_owned() };
        }
        self.search_again(key, number);
    }

    /// Whether an execution that may have started is still looked for. None found for so long is the node's end
    /// when AWS says that the token was used; else it is wanted again, under the same token.
    pub(super) fn still_searching(&mut self, key: Key, number: u32) -> bool {
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return false };
        let pipeline = attempt.pipeline;
        let listing = self.pipelines.get(pipeline).map(|p| &p.listing);
        let Stage::Searching { since, next, .. } = &attempt.stage else { return false };
        let next = *next;
        if self.now < since.plus(SEARCH_FOR) {
            self.wake_node(NodeRef::Execute(key, number), next);
            self.search_again(key, number);
            return true;
        }
        // The time alone proves nothing, a process that stood still has not looked: one listing after it decides.
        let over = since.plus(SEARCH_FOR);
        let lists = matches!(listing, Some(Listing::Wanted { .. } | Listing::Running { .. }));
        if lists || !self.is_listed_after(pipeline, over) {
            self.wait_located(key, number, pipeline);
            return true;
        }
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return false };
        let listing = self.pipelines.get(pipeline).map(|p| &p.listing);
        let Stage::Searching { token_used, text, .. } = &attempt.stage else { return false };
        // Where nobody may list, the same token is all there is, and it is repeated.
        if !token_used && matches!(listing, Some(Listing::Complete | Listing::Denied)) {
            attempt.stage = Stage::Locating;
            return false;
        }
        let text = format!("it is not known whether the execution started, and none is listed: {text}");
        self.end_attempt(key, number, Phase::Error, &text, None);
        true
    }

    /// Wants another complete listing when the search's time for one has come.
    pub(super) fn search_again(&mut self, key: Key, number: u32) {
        let now = self.now;
        let Some(attempt) = self.attempt_mut(key, number) else { return };
        let pipeline = attempt.pipeline;
        let Stage::Searching { next, tries, .. } = &mut attempt.stage else { return };
        if *next <= now {
            *next = now.plus(backoff(*tries + 1, Duration::from_secs(60)));
            *tries += 1;
            let at = *next;
            self.list_anew(pipeline);
            self.wake_node(NodeRef::Execute(key, number), at);
        }
    }

    /// Looks at an execution of the node before anything is decided, through the client of this attempt: the role of an
    /// earlier one may be gone. Until it can be seen, the node says why not, and one that ended before still counts its time.
    pub(super) fn look_first(&mut self, key: Key, number: u32, arn: &Arc<str>) {
        self.hand_over(key, number, arn);
        self.describe(arn);
        let trouble = self.executions.get(arn).and_then(|t| t.trouble.clone());
        let ended = self.executions.get(arn).is_some_and(|t| !t.execution.status.is_live());
        let timed_out = if ended { self.timed_out_locating(key, number, trouble.as_ref()) } else { None };
        if let Some(text) = timed_out {
            self.end_attempt(key, number, Phase::Failed, &text, None);
            return;
        }
        if let Some(attempt) = self.attempt_mut(key, number) {
            attempt.trouble = trouble;
        }
        self.wake_attempt(key, number, Duration::from_secs(5));
    }
}
