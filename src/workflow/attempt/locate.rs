//! Waiting for what is not known yet, and the search for what a start with an unknown outcome may have started.

use std::time::Duration;

use crate::{
    input::OnRetry,
    protocol::Phase,
    workflow::{effects::backoff, execution::EndStage, slab::ExecutionId, world::World},
};

use super::{Attempt, Kin, Search, Stage};

/// How long an execution that may have started is looked for in the list.
const SEARCH_FOR: Duration = Duration::from_secs(300);
/// The search lists again after this long at the most.
const SEARCH_AGAIN_MOST: Duration = Duration::from_secs(60);
/// Who waits for what is not known looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Attempt {
    /// Account, epoch or listing are missing: it waits for them, and goes on following what it follows.
    pub(super) fn wait_located(&mut self, kin: Kin, w: &mut World) {
        if let Some(id) = self.followed() {
            self.follow(id, kin, w);
            return;
        }
        let trouble = w.pipelines.locating_trouble(self.pipeline).cloned();
        if let Some(text) = self.timed_out_locating(trouble.as_ref(), w) {
            self.end(Phase::Failed, &text, None, w);
            return;
        }
        self.give_up_when_denied(trouble.as_ref(), w);
        self.wake_after(LOOK_AGAIN, w);
    }

    /// Looks at an execution of the node before anything is decided, through the client of this attempt: the role of an
    /// earlier one may be gone. Until it can be seen, the node says why not, and one that ended before still counts its time.
    pub(super) fn look_first(&mut self, id: ExecutionId, kin: Kin, w: &mut World) {
        self.take_over(id, kin, w);
        if w.executions[id].end() != EndStage::Listing {
            w.describe(id);
        }
        let trouble = w.executions[id].trouble().cloned();
        if !w.executions[id].is_live()
            && let Some(text) = self.timed_out_locating(trouble.as_ref(), w)
        {
            self.end(Phase::Failed, &text, None, w);
            return;
        }
        self.trouble = trouble.map(Box::new);
        self.wake_after(LOOK_AGAIN, w);
    }

    /// Looks for what may have started. `token_used`: AWS says that the token was used, so something did. `replaces`: what
    /// the start named as its predecessor.
    pub(super) fn search(&mut self, token_used: bool, replaces: Option<ExecutionId>, text: &str, w: &mut World) {
        let (now, text) = (w.fx.now(), text.to_owned());
        let search = Search { since: now, next: now, tries: 0, token_used, replaces, text };
        self.set_stage(Stage::Searching(Box::new(search)), w);
        self.search_again(w);
    }

    /// Whether an execution that may have started is still looked for. None found for so long is the node's end
    /// when AWS says that the token was used; else it is wanted again, under the same token.
    pub(super) fn still_searching(&mut self, predecessor: Option<ExecutionId>, kin: Kin, w: &mut World) -> bool {
        let Stage::Searching(search) = &self.stage else { return false };
        let Search { since, next, token_used, replaces, .. } = **search;
        // A node that resumes has one token for all its attempts: it was used for what has been found meanwhile.
        let one_token = self.rules.on_retry != OnRetry::Restart;
        if token_used && one_token && predecessor.is_some() && predecessor != replaces {
            self.set_stage(Stage::Locating, w);
            return false;
        }
        let over = since.plus(SEARCH_FOR);
        if w.fx.now() < over {
            self.wake_at(next, w);
            self.search_again(w);
            return true;
        }
        // The time alone proves nothing, a process that stood still has not looked: one listing after it decides.
        if w.pipelines[self.pipeline].listing().is_open() || !w.is_listed_after(self.pipeline, over) {
            self.wait_located(kin, w);
            return true;
        }
        // Where nobody may list, the same token is all there is, and it is repeated.
        let refused = w.pipelines[self.pipeline].listing().refusal().is_some();
        if !token_used && !refused {
            self.set_stage(Stage::Locating, w);
            return false;
        }
        let Stage::Searching(search) = &self.stage else { return false };
        let text = format!("it is not known whether the execution started, and none is listed: {}", search.text);
        self.end(Phase::Error, &text, None, w);
        true
    }

    /// Wants another complete listing when the search's time for one has come.
    fn search_again(&mut self, w: &mut World) {
        let now = w.fx.now();
        let Stage::Searching(search) = &mut self.stage else { return };
        if search.next <= now {
            search.next = now.plus(backoff(search.tries + 1, SEARCH_AGAIN_MOST));
            search.tries += 1;
            let at = search.next;
            w.pipelines.list_in_search(self.pipeline, &mut w.fx);
            self.wake_at(at, w);
        }
    }
}
