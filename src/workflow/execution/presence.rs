//! Whether an execution is there: one that is not found is believed gone only when that is proven.

use std::time::Duration;

use crate::{
    pipelines::{CallError, Time},
    workflow::{key::execution_id, report},
};

use super::TrackedExecution;

/// SageMaker may not find an execution that it has just started.
pub const LAG: Duration = Duration::from_secs(60);
/// "Not found" is believed after so many answers over so long, and absence from the complete list.
const MISSING_ANSWERS: u32 = 3;
const MISSING_FOR: Duration = Duration::from_secs(120);

/// What is known of an execution's being there.
#[derive(Debug, Default)]
pub enum Presence {
    /// Nobody has seen it since Start returned it, or a task named it.
    #[default]
    Unseen,
    /// When a describe or a list last showed it.
    Seen { at: Time, missing: Option<Missing> },
    /// It was not found, and has never been seen.
    Missing(Missing),
    /// It is gone for good; the sentence says so.
    Gone(String),
}

/// Answers of "not found" in a row.
#[derive(Clone, Debug)]
pub struct Missing {
    since: Time,
    answers: u32,
    /// The node's end, should it be gone.
    text: String,
}

impl Missing {
    fn is_long(&self, now: Time) -> bool {
        self.answers >= MISSING_ANSWERS && now.since(self.since) >= MISSING_FOR
    }
}

/// What an answer of "not found" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It has just started: SageMaker may not know it yet.
    TooEarly,
    /// Nothing new.
    Again,
    /// A complete listing has to tell.
    Listing {
        /// It has lasted so long that the answers alone may do where nobody may list.
        long: bool,
    },
}

impl Presence {
    /// It was just seen.
    pub fn seen(now: Time) -> Self {
        Self::Seen { at: now, missing: None }
    }

    /// It is seen now; whether it was seen before.
    pub fn see(&mut self, now: Time) -> bool {
        let before = matches!(self, Self::Seen { .. });
        *self = Self::seen(now);
        before
    }

    /// The sentence, if it is gone for good.
    pub fn gone(&self) -> Option<&str> {
        match self {
            Self::Gone(text) => Some(text),
            _ => None,
        }
    }

    fn missing(&self) -> Option<&Missing> {
        match self {
            Self::Seen { missing, .. } => missing.as_ref(),
            Self::Missing(missing) => Some(missing),
            Self::Unseen | Self::Gone(_) => None,
        }
    }

    fn set_missing(&mut self, missing: Option<Missing>) {
        *self = match (std::mem::take(self), missing) {
            (Self::Seen { at, .. }, missing) => Self::Seen { at, missing },
            (Self::Unseen | Self::Missing(_), Some(missing)) => Self::Missing(missing),
            (Self::Unseen | Self::Missing(_), None) => Self::Unseen,
            (Self::Gone(text), _) => Self::Gone(text),
        };
    }
}

impl TrackedExecution {
    /// When a describe or a list last showed it, since Start returned it.
    pub fn seen(&self) -> Option<Time> {
        match self.presence {
            Presence::Seen { at, .. } => Some(at),
            Presence::Unseen | Presence::Missing(_) | Presence::Gone(_) => None,
        }
    }

    /// The sentence, if it is gone for good.
    pub fn gone(&self) -> Option<&str> {
        self.presence.gone()
    }

    /// Whether it is not certain that it is there, or what it is.
    pub fn is_uncertain(&self) -> bool {
        self.gone().is_none() && (self.seen().is_none() || self.doubted)
    }

    /// Takes in that it was not found.
    pub fn not_found(&mut self, error: &CallError, now: Time) -> Absence {
        if self.started_at.is_some_and(|at| now.since(at) < LAG) {
            self.presence.set_missing(None);
            return Absence::TooEarly;
        }
        let text = || {
            let (id, why) = (execution_id(self.arn()), report::fit(&error.message, 120));
            format!("the execution or its pipeline was deleted ({id}): {why}")
        };
        let before = self.presence.missing().cloned();
        let mut missing = before.unwrap_or_else(|| Missing { since: now, answers: 0, text: text() });
        missing.answers += 1;
        let (first, long) = (missing.answers == 1, missing.is_long(now));
        self.presence.set_missing(Some(missing));
        if first || long { Absence::Listing { long } } else { Absence::Again }
    }

    /// Whether a complete listing, or the word that there is no such pipeline, proves it gone.
    pub fn is_proven_gone(&self, no_such_pipeline: bool, now: Time) -> bool {
        self.presence.missing().is_some_and(|missing| no_such_pipeline || missing.is_long(now))
    }

    /// It is gone for good.
    pub fn is_gone(&mut self) {
        let text = self.presence.missing().map(|missing| missing.text.clone()).unwrap_or_default();
        self.presence = Presence::Gone(text);
        self.doubted = false;
        self.steps.forget();
    }
}
