//! The steps of executions: now and then while they run, once for their end, and not kept longer than needed.

use std::{sync::Arc, time::Duration};

use crate::pipelines::{Call, CallError, CallReply};

use super::{
    Machine, Priority, Purpose, Sabotage, Timer, backoff,
    node::EndStage,
    trouble::{Place, Reaction, reaction},
};

/// Steps of a running execution are listed this often, for at most so many executions.
const STEPS_EVERY: Duration = Duration::from_secs(30);
const STEPS_FOR: usize = 20;
/// An end is told without its steps after so many failed listings.
const STEPS_TRIES: u32 = 4;

impl Machine {
    pub(super) fn list_running_steps(&mut self, arn: &Arc<str>) {
        let now = self.now;
        let live: usize = self.pipelines.iter().map(|p| p.live.len()).sum();
        let Some(tracked) = self.executions.get(arn) else { return };
        if live > STEPS_FOR || now.since(tracked.steps_at) < STEPS_EVERY {
            return;
        }
        self.list_steps(arn, None);
    }

    pub(super) fn list_end_steps(&mut self, arn: &Arc<str>) {
        if let Some(tracked) = self.executions.get_mut(arn) {
            tracked.end = EndStage::Listing;
            tracked.steps_tries = 0;
            tracked.steps_page = None;
            // What was listed while it ran is no longer true.
            tracked.steps = None;
        }
        self.list_steps(arn, None);
    }

    pub(super) fn list_steps(&mut self, arn: &Arc<str>, next_token: Option<String>) {
        let now = self.now;
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        if next_token.is_none() {
            if tracked.steps_page.is_some() {
                return;
            }
            tracked.steps_page = Some(Vec::new());
            tracked.steps_listing += 1;
        }
        tracked.steps_at = now;
        let (pipeline, listing) = (tracked.pipeline, tracked.steps_listing);
        let call = Call::ListSteps { arn: self.spelled(arn), next_token };
        self.call_for(Priority::Poll, pipeline, call, Purpose::Steps { arn: arn.clone(), listing });
    }

    pub(super) fn steps_answered(&mut self, arn: &Arc<str>, listing: u32, result: Result<CallReply, CallError>) {
        let now = self.now;
        let late = !self.sabotaged(Sabotage::StepsOfTheRunning);
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        let number = tracked.pipeline;
        // It was begun before the execution ended, or was revived: the listing that counts is under way.
        if late && tracked.steps_listing != listing {
            return;
        }
        match result {
            Ok(CallReply::Steps { page, next_token }) => {
                tracked.steps_page.get_or_insert_default().extend(page);
                if next_token.is_some() {
                    self.list_steps(arn, next_token);
                    return;
                }
                let steps = tracked.steps_page.take();
                tracked.steps = steps;
                if tracked.end == EndStage::Listing {
                    tracked.end = EndStage::Known;
                }
            }
            Ok(_) => tracked.steps_page = None,
            Err(error) => {
                tracked.steps_page = None;
                tracked.steps_tries += 1;
                let hopeless = reaction(error.kind, Place::Steps) == Reaction::Without;
                if tracked.end == EndStage::Listing {
                    if hopeless || tracked.steps_tries >= STEPS_TRIES {
                        tracked.end = EndStage::Known;
                        self.warn(format!("the steps of {} cannot be listed: {}", self.spelled(arn), error.message));
                    } else {
                        let at = now.plus(backoff(tracked.steps_tries - 1, Duration::from_secs(10)));
                        self.timers.insert((at, Timer::Execution(arn.clone())));
                    }
                }
                self.call_trouble(number, &error);
            }
        }
        self.tell_explained(arn);
        self.followers_look(arn);
        self.drop_steps(arn);
    }

    /// Forgets the steps of an ended execution when nobody waits for them any more.
    pub(super) fn drop_steps(&mut self, arn: &Arc<str>) {
        if self.is_followed(arn) || self.sabotaged(Sabotage::KeepsSteps) {
            return;
        }
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        match tracked.end {
            EndStage::Known => (tracked.steps, tracked.end) = (None, EndStage::Told),
            // What was listed while it ran.
            EndStage::Seen => (tracked.steps, tracked.steps_page) = (None, None),
            EndStage::Live | EndStage::Listing | EndStage::Told => {}
        }
    }
}
