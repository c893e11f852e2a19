//! The stop of an execution: wanted once, sent until AWS's answer settles it.

use std::time::Duration;

use crate::{
    pipelines::{Call, CallError, CallErrorKind, CallReply, Time},
    workflow::{
        effects::backoff,
        identity::stop_token,
        trouble::{CallSite, Disposition, Trouble, disposition},
    },
};

/// A stop that AWS took but that has not begun is sent again after this long.
const STOP_AGAIN: Duration = Duration::from_secs(15);
/// A stop that is denied is repeated after this long at the most.
const MEND_MOST: Duration = Duration::from_secs(300);
/// While draining, a stop that was not taken is sent again after this long.
const AGAIN_BEFORE_THE_END: Duration = Duration::from_millis(500);
/// What an answered stop changed shows so soon.
pub const STOP_LOOK: Duration = Duration::from_secs(1);

/// Whether and how far it is stopped.
#[derive(Debug)]
pub struct Stop {
    wanted: Option<Wanted>,
    /// Which stop it is: a new one when an earlier was taken and the execution runs all the same.
    series: u32,
    /// When it was first seen to be stopping.
    began: Option<Time>,
    /// Why it is not taken.
    trouble: Option<Box<Trouble>>,
}

/// A stop that is wanted.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    tries: u32,
    /// When to send it (again); `None` while a call is out or after it was taken.
    send_at: Option<Time>,
    answer: StopAnswer,
}

/// What AWS last said to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAnswer {
    /// Nothing that settles it.
    None,
    Taken,
    /// It had ended already, or is not there.
    NothingToStop,
    /// It will be refused again.
    Refused,
}

/// What follows an answered stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopFollows {
    /// When the execution's own timer is due.
    pub again_at: Time,
    /// Whether it is worth a look what became of it.
    pub look: bool,
}

impl Stop {
    /// Nobody wants it stopped; somebody else may have begun to.
    pub fn new(began: Option<Time>) -> Self {
        Self { wanted: None, series: 0, began, trouble: None }
    }

    /// Why it is not taken.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_deref()
    }

    /// When it was first seen to be stopping.
    pub fn began(&self) -> Option<Time> {
        self.began
    }

    /// The execution was revived in the console: what was said to its earlier stop no longer holds, nor does that stop's
    /// token.
    pub fn revived(&mut self) {
        self.wanted = None;
        self.trouble = None;
        self.series += 1;
    }

    /// The execution is being stopped, since then at the latest.
    pub fn has_begun(&mut self, at: Option<Time>) {
        self.began = self.began.or(at);
    }

    /// The execution runs, whatever was stopped before.
    pub fn is_history(&mut self) {
        self.began = None;
    }

    /// Whether somebody wants it.
    pub fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// What AWS last said.
    pub fn answer(&self) -> StopAnswer {
        self.wanted.map_or(StopAnswer::None, |wanted| wanted.answer)
    }

    /// Whether the first try is on its way.
    pub fn is_fresh(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted.tries == 1 && wanted.send_at.is_none())
    }

    /// Wants it.
    pub fn want(&mut self, now: Time) {
        self.wanted = Some(Wanted { tries: 0, send_at: Some(now), answer: StopAnswer::None });
    }

    /// Waits for its next try no longer; whether it did.
    pub fn hurry(&mut self, now: Time) -> bool {
        let Some(wanted) = self.wanted.as_mut() else { return false };
        let waits = wanted.answer == StopAnswer::None && wanted.send_at.is_some();
        if waits {
            wanted.send_at = Some(now);
        }
        waits
    }

    /// The stop of the execution with this ARN to send now, if its time has come, and whether it is the first. One that
    /// does not run needs none. `began`: when this process did.
    pub fn next(&mut self, arn: &str, runs: bool, began: Time, now: Time) -> Option<(Call, bool)> {
        let wanted = self.wanted.as_mut().filter(|wanted| wanted.send_at.is_some_and(|at| at <= now))?;
        wanted.send_at = None;
        if !runs {
            return None;
        }
        wanted.tries += 1;
        let first = wanted.tries == 1;
        if wanted.answer == StopAnswer::Taken {
            // It was taken, and had no effect: perhaps for a repeat of a stop before a revival that an earlier process saw.
            self.series += 1;
        }
        let token = stop_token(arn, began, self.series);
        Some((Call::StopExecution { arn: arn.to_owned(), token }, first))
    }

    /// Takes in what AWS said to a stop that left at `left`; `just_started`: SageMaker may not know the
    /// execution yet; `draining`: nobody is left to do anything later.
    pub fn answered(
        &mut self,
        result: &Result<CallReply, CallError>,
        just_started: bool,
        draining: bool,
        now: Time,
        left: Time,
    ) -> Option<StopFollows> {
        let Self { wanted, trouble, .. } = self;
        let wanted = wanted.as_mut()?;
        let (again, look) = match result {
            Ok(_) => {
                wanted.answer = StopAnswer::Taken;
                *trouble = None;
                (STOP_AGAIN, true)
            }
            Err(error) => {
                let disposition = match disposition(error.kind, CallSite::Stop) {
                    // It was just started and is not found yet.
                    Disposition::Look if error.kind == CallErrorKind::NotFound && just_started => Disposition::Soon,
                    disposition => disposition,
                };
                if matches!(disposition, Disposition::Again | Disposition::Mend) {
                    let text = format!("it cannot be stopped: {}", error.message);
                    Trouble::extend(trouble, &text, disposition == Disposition::Mend, left);
                }
                wanted.answer = match disposition {
                    Disposition::Look => StopAnswer::NothingToStop,
                    Disposition::Mend if error.kind == CallErrorKind::Denied => StopAnswer::Refused,
                    _ => StopAnswer::None,
                };
                match disposition {
                    // Transient while the pipeline moves between steps (Airflow retries it after 0.3 s).
                    Disposition::Soon => (Duration::from_secs(1), false),
                    // "Only pipelines with 'Executing' status can be stopped": a describe tells which.
                    Disposition::Look => (STOP_AGAIN, true),
                    // It leaves the pace to others: a denial may last.
                    Disposition::Mend => (backoff(wanted.tries, MEND_MOST), true),
                    _ => (backoff(wanted.tries - 1, Duration::from_secs(15)), false),
                }
            }
        };
        let again = if draining { again.min(AGAIN_BEFORE_THE_END) } else { again };
        let again_at = now.plus(again);
        wanted.send_at = (!draining || wanted.answer == StopAnswer::None).then_some(again_at);
        Some(StopFollows { again_at, look })
    }
}
