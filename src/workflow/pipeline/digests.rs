//! What DescribePipeline told, shared by all that ask within a while.

use std::{collections::BTreeMap, time::Duration};

use crate::pipelines::{CallError, CallErrorKind, CallReply, Time};

use crate::workflow::{
    client::RETRY_MOST,
    definition::PipelineDigest,
    effects::backoff,
    trouble::{CallSite, Disposition, Trouble, disposition},
};

/// A digest, also a refusal, is shared by all that ask within this time.
pub const DIGEST_FOR: Duration = Duration::from_secs(30);

/// The answers by version; `None` is the latest.
#[derive(Debug, Default)]
pub struct Digests(BTreeMap<Option<i64>, Slot>);

#[derive(Debug)]
enum Slot {
    Asking { trouble: Option<Box<Trouble>>, retry_at: Option<Time>, tries: u32 },
    Known { at: Time, digest: PipelineDigest },
    Refused { at: Time, text: String },
}

/// What is known of a version.
#[derive(Clone, Debug)]
pub enum Digested {
    Known(Result<PipelineDigest, String>),
    /// It is being asked for, or waits for its retry.
    Pending,
    /// It has to be asked for.
    Unknown,
}

impl Digests {
    /// What is known of a version now.
    pub fn get(&self, version: Option<i64>, now: Time) -> Digested {
        match self.0.get(&version) {
            Some(Slot::Known { at, digest }) if now < at.plus(DIGEST_FOR) => Digested::Known(Ok(digest.clone())),
            Some(Slot::Refused { at, text }) if now < at.plus(DIGEST_FOR) => Digested::Known(Err(text.clone())),
            Some(Slot::Asking { retry_at, .. }) if retry_at.is_none_or(|at| at > now) => Digested::Pending,
            _ => Digested::Unknown,
        }
    }

    /// Why a version cannot be had.
    pub fn trouble(&self, version: Option<i64>) -> Option<&Trouble> {
        match self.0.get(&version)? {
            Slot::Asking { trouble, .. } => trouble.as_deref(),
            Slot::Known { .. } | Slot::Refused { .. } => None,
        }
    }

    /// Versions that wait for their retry.
    pub fn waiting(&self) -> Vec<Option<i64>> {
        let waits = |slot: &Slot| matches!(slot, Slot::Asking { retry_at: Some(_), .. });
        self.0.iter().filter(|(_, slot)| waits(slot)).map(|(version, _)| *version).collect()
    }

    fn take_asking(&mut self, version: Option<i64>) -> (Option<Box<Trouble>>, u32) {
        match self.0.remove(&version) {
            Some(Slot::Asking { trouble, tries, .. }) => (trouble, tries),
            _ => (None, 0),
        }
    }

    /// A version was asked for.
    pub fn asked(&mut self, version: Option<i64>) {
        let (trouble, tries) = self.take_asking(version);
        self.0.insert(version, Slot::Asking { trouble, retry_at: None, tries });
    }

    /// Takes in the answer, of the pipeline with this ARN, to a call that left at `left`; when it is to be asked again.
    pub fn answered(
        &mut self,
        version: Option<i64>,
        arn: &str,
        result: Result<CallReply, CallError>,
        now: Time,
        left: Time,
    ) -> Option<Time> {
        let (mut trouble, tries) = self.take_asking(version);
        let mut again = None;
        let slot = match result {
            Ok(CallReply::Pipeline(description)) => Slot::Known { at: now, digest: PipelineDigest::of(&description) },
            Ok(_) => Slot::Refused { at: now, text: format!("pipeline {arn} cannot be read") },
            Err(error) => match disposition(error.kind, CallSite::Validate) {
                Disposition::Refuse => {
                    let text = match error.kind {
                        CallErrorKind::NotFound => format!("pipeline {arn} does not exist: {}", error.message),
                        _ => error.message,
                    };
                    Slot::Refused { at: now, text }
                }
                otherwise => {
                    Trouble::extend(&mut trouble, &error.message, otherwise == Disposition::Mend, left);
                    again = Some(now.plus(backoff(tries, RETRY_MOST)));
                    Slot::Asking { trouble, retry_at: again, tries: tries + 1 }
                }
            },
        };
        self.0.insert(version, slot);
        again
    }
}
