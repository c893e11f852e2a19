//! How fast calls may leave, found by asking: up until AWS throttles, down at a throttle, and back along a cubic curve.
//!
//! It is the idea of the SDKs' adaptive retry mode (a throttle leaves 0.7 of the rate, which then comes back along a
//! cubic curve), with four changes. Each was needed for a hundred processes that share one limit and cannot talk to each
//! other; `tests/it/fleet.rs` plays them.
//!
//! * The way back takes eight seconds and longer for a slow rate, instead of about one. A process that may call every ten
//!   seconds learns nothing from one second of quiet, and would be at several calls a second before its next one.
//! * Beyond where it had been, every rate grows by the same number of calls, so small ones catch up with large ones.
//! * Throttles within a second are one congestion, so that a wave of calls makes the rate fall once.
//! * When nothing at all is answered it is an outage, not the limit: afterwards the rate goes back to where it was before.

use std::time::Duration;

use crate::pipelines::Time;

/// Calls a second below which no rate falls. A hundred processes at 0.5, the SDKs' floor, would already send five times
/// what an account with a limit of ten calls a second takes; in the simulation 84 % are throttled and stops wait for 19 s.
pub const FLOOR: f64 = 0.05;
/// What a throttle leaves of the rate.
const BETA: f64 = 0.7;
/// Throttles within this time after a fall belong to it.
const CONGESTION: Duration = Duration::from_secs(1);
/// Seconds until a rate of one call a second or more is back at where it had been.
const WINDOW: f64 = 8.0;
/// How much longer it takes slower rates: at 0.1 calls a second four times as long.
const SLOWNESS: f64 = 0.6;
/// Calls a second that a rate has gained one window after it was back, if it was used up all the while.
const GAIN: f64 = 1.0;
/// So many falls without an answer in between are an outage.
const OUTAGE: u32 = 8;
/// What an outage leaves of the rate before it: enough to notice its end.
const ASKING: f64 = 0.05;
/// Seconds between doublings while the limit is searched for.
const DOUBLING: f64 = 1.0;
/// A bucket holds so many seconds of its rate, and never more than of the rate it began with: a first wave goes at once.
const BURST_SECONDS: f64 = 10.0;

/// Tokens, one for each call.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    level: f64,
    filled: Time,
}

impl Bucket {
    /// A bucket with so many tokens.
    pub fn full(level: f64, now: Time) -> Self {
        Self { level, filled: now }
    }

    /// Takes a token of a bucket that is filled at a steady rate and holds `most`, or says when there will be one.
    pub fn take(&mut self, rate: f64, most: f64, now: Time) -> Result<(), Time> {
        self.level = (self.level + rate * seconds(self.filled, now)).min(most);
        self.filled = self.filled.max(now);
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        Err(later(now, (1.0 - self.level) / rate))
    }
}

/// How fast one lane may call: a token bucket whose filling follows AWS's answers.
#[derive(Clone, Debug)]
pub struct Rate {
    begin: f64,
    ceiling: f64,
    phase: Phase,
    level: f64,
    /// All of this is so at this time.
    seen: Time,
    /// When the rate last fell.
    fell: Option<Time>,
    /// Whether a call that left after the rate last changed was answered.
    proven: bool,
    /// Falls since a call was answered.
    unanswered: u32,
    /// The rate at the last fall before which a call was answered.
    worked: f64,
    /// Whether more calls wait than may leave.
    pressed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing was throttled yet.
    Searching { rate: f64, doubled: Time },
    /// `at` seconds on the curve from `low` back to `had` and beyond, but never above `cap`.
    Curve { had: f64, low: f64, at: f64, cap: f64 },
}

fn seconds(from: Time, to: Time) -> f64 {
    to.since(from).as_secs_f64()
}

/// One millisecond more than needed: rounding must not make anybody come too early for ever.
fn later(now: Time, seconds: f64) -> Time {
    now.plus(Duration::from_secs_f64(seconds) + Duration::from_millis(1))
}

/// Seconds until the rate is back at `had`.
fn window(had: f64) -> f64 {
    WINDOW * had.powf(-SLOWNESS).max(1.0)
}

/// Steep first, flat where the rate had been, steep again beyond.
fn curve(had: f64, low: f64, at: f64) -> f64 {
    let distance = at / window(had) - 1.0;
    let height = if distance < 0.0 { had - low } else { GAIN };
    had + height * distance.powi(3)
}

impl Rate {
    /// A rate that begins at `begin` calls a second and never exceeds `ceiling`.
    pub fn new(begin: f64, ceiling: f64, now: Time) -> Self {
        let ceiling = ceiling.max(FLOOR);
        let begin = begin.clamp(FLOOR, ceiling);
        Self {
            begin,
            ceiling,
            phase: Phase::Searching { rate: begin, doubled: now },
            level: begin * BURST_SECONDS,
            seen: now,
            fell: None,
            proven: false,
            unanswered: 0,
            worked: begin,
            pressed: false,
        }
    }

    /// Calls a second at `now`, if nothing more is told until then.
    pub fn at(&self, now: Time) -> f64 {
        self.after(seconds(self.seen, now))
    }

    /// Takes a turn, or says when there will be one.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        self.advance(now);
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        self.pressed = true;
        Err(later(now, self.until(1.0 - self.level)))
    }

    /// Nobody waits for a turn any more: the rate is not used up.
    pub fn sated(&mut self, now: Time) {
        self.advance(now);
        self.pressed = false;
    }

    /// A turn was taken and not used.
    pub fn give_back(&mut self, now: Time) {
        self.advance(now);
        self.level = (self.level + 1.0).min(self.burst());
    }

    /// A call that left at `sent` was answered, whatever AWS said but "too fast".
    pub fn answered(&mut self, sent: Time, now: Time) {
        self.advance(now);
        if self.fell.is_some_and(|fell| sent <= fell) {
            return;
        }
        self.proven = true;
        let rate = self.after(0.0);
        if let Phase::Curve { cap, .. } = &mut self.phase {
            *cap = cap.max(rate * 2.0);
        }
    }

    /// A call that left at `sent` was throttled. One that left before the last fall, or within a second of it, tells
    /// nothing new.
    pub fn throttled(&mut self, sent: Time, now: Time) {
        self.advance(now);
        if self.fell.is_some_and(|fell| sent <= fell.plus(CONGESTION)) {
            return;
        }
        let rate = self.after(0.0);
        if self.proven || matches!(self.phase, Phase::Searching { .. }) {
            self.unanswered = 0;
            self.worked = rate;
        } else {
            self.unanswered = self.unanswered.saturating_add(1);
        }
        let low = (rate * BETA).max(self.worked * ASKING).max(FLOOR).min(rate);
        // After an outage every answer lets the rate double at most, until it is back.
        let (had, cap) = if self.unanswered < OUTAGE { (rate, f64::INFINITY) } else { (self.worked.max(low), low) };
        self.phase = Phase::Curve { had, low, at: 0.0, cap };
        self.level = self.level.min(0.0);
        self.fell = Some(now);
        self.proven = false;
    }

    /// Tokens that the bucket can hold.
    fn burst(&self) -> f64 {
        (self.after(0.0).min(self.begin) * BURST_SECONDS).max(1.0)
    }

    /// The rate so many seconds after `seen`.
    fn after(&self, passed: f64) -> f64 {
        match self.phase {
            Phase::Searching { rate, .. } => rate,
            Phase::Curve { had, low, at, cap } => {
                curve(had, low, self.moved(had, at, passed)).min(cap).clamp(FLOOR, self.ceiling)
            }
        }
    }

    /// Where on the curve it will be: beyond where it had been it goes only while it is used up.
    fn moved(&self, had: f64, at: f64, passed: f64) -> f64 {
        if self.pressed { at + passed } else { (at + passed).min(window(had).max(at)) }
    }

    /// Tokens that come within so many seconds.
    fn tokens(&self, passed: f64) -> f64 {
        // Simpson's rule is exact for cubic curves, so each of the two is taken by itself.
        let piece = |from: f64, to: f64| {
            (self.after(from) + 4.0 * self.after(f64::midpoint(from, to)) + self.after(to)) * (to - from) / 6.0
        };
        let meet = match self.phase {
            Phase::Searching { .. } => 0.0,
            Phase::Curve { had, at, .. } => (window(had) - at).clamp(0.0, passed),
        };
        piece(0.0, meet) + piece(meet, passed)
    }

    /// Seconds until so many tokens have come.
    fn until(&self, tokens: f64) -> f64 {
        // By itself the rate only rises, so it takes no longer than at the present one.
        let (mut early, mut late) = (0.0, tokens / self.after(0.0));
        for _ in 0..12 {
            let middle = f64::midpoint(early, late);
            if self.tokens(middle) < tokens {
                early = middle;
            } else {
                late = middle;
            }
        }
        late
    }

    fn advance(&mut self, now: Time) {
        let passed = seconds(self.seen, now);
        let tokens = self.tokens(passed);
        if let Phase::Curve { had, low, at, cap } = self.phase {
            self.phase = Phase::Curve { had, low, at: self.moved(had, at, passed), cap };
        }
        self.seen = self.seen.max(now);
        self.level = (self.level + tokens).min(self.burst());
        if let Phase::Searching { rate, doubled } = &mut self.phase
            && self.pressed
            && self.proven
            && seconds(*doubled, now) >= DOUBLING
        {
            *rate = (*rate * 2.0).min(self.ceiling);
            *doubled = now;
            self.proven = false;
        }
    }
}
