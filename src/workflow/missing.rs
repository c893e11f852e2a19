//! Executions that are not found: believed gone only when that is proven.

use std::{sync::Arc, time::Duration};

use crate::pipelines::{CallError, Time};

use super::{Machine, node::Missing, pipeline::Listing, polling::LAG, report};

/// "Not found" is believed after so many answers over so long, and absence from the complete list.
const MISSING_ANSWERS: u32 = 3;
const MISSING_FOR: Duration = Duration::from_secs(120);

impl Missing {
    fn is_long(&self, now: Time) -> bool {
        self.answers >= MISSING_ANSWERS && now.since(self.since) >= MISSING_FOR
    }
}

impl Machine {
    pub(super) fn not_found(&mut self, arn: &Arc<str>, error: &CallError) {
        let now = self.now;
        let Some(tracked) = self.executions.get_mut(arn).filter(|t| t.gone.is_none()) else { return };
        let number = tracked.pipeline;
        let lag = tracked.started_at.is_some_and(|at| now.since(at) < LAG);
        if lag {
            tracked.missing = None;
            self.rest(arn, Duration::from_secs(2));
            return;
        }
        let text = format!(
            "the execution or its pipeline was deleted ({}): {}",
            Self::short(arn),
            report::fit(&error.message, 120)
        );
        let missing = tracked.missing.get_or_insert(Missing { since: now, answers: 0, text });
        missing.answers += 1;
        let (first, long) = (missing.answers == 1, missing.is_long(now));
        self.rest(arn, Duration::from_secs(30));
        self.in_trouble(arn, error);
        if long && self.pipelines.get(number).is_some_and(|p| matches!(p.listing, Listing::Denied)) {
            // Nobody may list: the answers alone have to do.
            self.is_gone(arn);
        } else if first || long {
            self.list_anew(number);
        }
    }

    /// A complete listing, or the word that there is no such pipeline, settles which missing executions are gone.
    pub(super) fn settle_missing(&mut self, number: usize, no_such_pipeline: bool) {
        let now = self.now;
        let gone: Vec<Arc<str>> = self
            .executions
            .iter()
            .filter(|(_, t)| t.pipeline == number && t.gone.is_none())
            .filter(|(_, t)| t.missing.as_ref().is_some_and(|missing| no_such_pipeline || missing.is_long(now)))
            .map(|(arn, _)| arn.clone())
            .collect();
        for arn in gone {
            self.is_gone(&arn);
        }
    }

    fn is_gone(&mut self, arn: &Arc<str>) {
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        tracked.doubted = false;
        tracked.gone = tracked.missing.take().map(|missing| missing.text);
        (tracked.steps, tracked.steps_page) = (None, None);
        let number = tracked.pipeline;
        self.tell_gone(arn);
        self.take_from_due(number, arn);
        if let Some(p) = self.pipelines.get_mut(number) {
            p.leaves(arn);
        }
        self.family_looks(arn);
    }
}
