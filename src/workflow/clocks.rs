//! Other machines' clocks: AWS's and the API server's, as far as their answers tell.

use crate::pipelines::Time;

/// A header `Date` has whole seconds: what it says began up to so many milliseconds earlier.
const DATE_GRAIN: i64 = 1000;

/// Another machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// It less ours, in milliseconds.
    ahead: i64,
    known: bool,
}

impl Clock {
    /// Takes in an answer that was asked for at `asked` and read at `read`, by our clock, and dated `dated` by theirs.
    ///
    /// The answer was written in between, which bounds the difference from both sides. What is known gives way only as
    /// far as it has to: an answer that was hours on its way, or was read late because the process stood still, changes
    /// nothing.
    pub fn compare(&mut self, asked: Time, read: Time, dated: Time) {
        let least = dated.millis().saturating_sub(read.millis());
        let most = dated.millis().saturating_add(DATE_GRAIN).saturating_sub(asked.millis());
        // A clock of ours that was set back makes an empty range: the newest reading counts.
        self.ahead = if least <= most { self.ahead.clamp(least, most) } else { least };
        self.known = true;
    }

    /// Whether anybody has told the time yet.
    pub fn is_known(self) -> bool {
        self.known
    }

    /// Our time as theirs.
    pub fn theirs(self, ours: Time) -> Time {
        Time::at(ours.millis().saturating_add(self.ahead))
    }

    /// Their time as ours.
    pub fn ours(self, theirs: Time) -> Time {
        Time::at(theirs.millis().saturating_sub(self.ahead))
    }
}
