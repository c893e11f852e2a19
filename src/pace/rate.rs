//! How fast calls may leave, found by asking: up until AWS throttles, down at a throttle, and back along a cubic curve.

use std::time::Duration;

use crate::pipelines::Time;

/// Calls a second below which no rate falls.
pub const FLOOR: f64 = 0.05;
/// What a throttle leaves of the rate.
const BETA: f64 = 0.7;
/// Falls without an answer in between are an outage's, not a limit's: they leave at least so much of where the rate had been.
const DEEPEST: f64 = 0.05;
/// Seconds until the rate is back at where it had been. AWS's SDKs come back within one or two seconds and go on
/// steeply, which is too fast for many processes that share a limit.
const WINDOW: f64 = 8.0;
/// Seconds between doublings while the limit is searched for.
const DOUBLING: f64 = 1.0;
/// A bucket holds so many seconds of its rate.
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

    /// Takes a token of a bucket that is filled at a steady rate, or says when there will be one.
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

/// How fast one lane may call.
#[derive(Clone, Debug)]
pub struct Rate {
    begin: f64,
    ceiling: f64,
    phase: Phase,
    level: f64,
    /// What is told here holds at this time.
    seen: Time,
    /// When the rate last fell.
    fell: Option<Time>,
    /// Whether a call that left after the last change of the rate was answered.
    proven: bool,
    unproven: u32,
    before: f64,
    /// Whether more calls wait than may leave.
    pressed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing was throttled yet.
    Searching { rate: f64, since: Time },
    /// So many seconds on the curve from `low` back to `had`, and beyond.
    Curve { had: f64, low: f64, at: f64, cap: f64 },
}

pub fn p(name: &str, default: f64) -> f64 {
    use std::{cell::RefCell, collections::HashMap};
    thread_local!(static M: RefCell<HashMap<String, f64>> = RefCell::new(HashMap::new()));
    M.with_borrow_mut(|m| match m.get(name) { Some(v) => *v, None => { let v = std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default); m.insert(name.to_owned(), v); v } })
}

fn seconds(from: Time, to: Time) -> f64 {
    to.since(from).as_secs_f64()
}

/// One millisecond more than needed: rounding must not make anybody come too early for ever.
fn later(now: Time, seconds: f64) -> Time {
    now.plus(Duration::from_secs_f64(seconds) + Duration::from_millis(1))
}

/// Seconds of quiet until the rate is back at `had`.
fn window(had: f64) -> f64 {
    p("W", WINDOW) * had.powf(-p("S", 0.5)).max(1.0)
}

/// The curve: steep first, flat where the rate had been, steep again beyond.
fn curve(had: f64, low: f64, at: f64) -> f64 {
    let distance = at / window(had) - 1.0;
    let height = if distance < 0.0 { had - low } else { p("G", 0.3) * had.powf(p("H", 1.0)) };
    had + height * distance.powi(3)
}

impl Rate {
    /// A rate that begins at `begin` calls a second and never exceeds `ceiling`.
    pub fn new(begin: f64, ceiling: f64, now: Time) -> Self {
        let begin = begin.clamp(FLOOR, ceiling.max(FLOOR));
        Self {
            begin,
            ceiling: ceiling.max(FLOOR),
            phase: Phase::Searching { rate: begin, since: now },
            level: begin * BURST_SECONDS,
            seen: now,
            fell: None,
            proven: false,
            unproven: 0,
            before: begin,
            pressed: false,
        }
    }

    /// Calls a second at `now`, when nothing more is told until then.
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

    /// Nobody waits for a turn any more.
    pub fn sated(&mut self, now: Time) {
        self.advance(now);
        self.pressed = false;
    }

    /// A turn was taken and not used.
    pub fn give_back(&mut self, now: Time) {
        self.advance(now);
        self.level = (self.level + 1.0).min(self.burst());
    }

    /// A call that left at `sent` was answered.
    pub fn answered(&mut self, sent: Time, now: Time) {
        self.advance(now);
        if self.fell.is_none_or(|fell| sent > fell) {
            self.proven = true;
            let rate = self.after(0.0);
            if let Phase::Curve { cap, .. } = &mut self.phase {
                *cap = cap.max(rate * p("D", 2.0));
            }
        }
    }

    /// A call that left at `sent` was throttled. Calls that left before the last fall tell nothing new.
    pub fn throttled(&mut self, sent: Time, now: Time) {
        self.advance(now);
        if self.fell.is_some_and(|fell| sent <= fell.plus(Duration::from_secs_f64(p("CONG", 1.0)))) {
            return;
        }
        let rate = self.after(0.0);
        if self.proven || matches!(self.phase, Phase::Searching { .. }) {
            self.unproven = 0;
            self.before = rate;
        } else {
            self.unproven += 1;
        }
        let had = if f64::from(self.unproven) >= p("U", 5.0) { self.before } else { rate };
        let had = if had < 1.0 { had * p("KAPPA", 1.0) } else { had };
        let floor = p("F", FLOOR);
        let low = (rate * BETA).max(self.before * p("DEEP", DEEPEST)).max(floor).min(rate);
        let had = had.max(low);
        let cap = if f64::from(self.unproven) >= p("GATE", 5.0) { low } else { had * 100.0 };
        self.phase = Phase::Curve { had, low, at: 0.0, cap };
        self.level = self.level.min(0.0);
        self.fell = Some(now);
        self.proven = false;
    }

    /// Tokens that the bucket can hold.
    fn burst(&self) -> f64 {
        match self.phase { Phase::Searching { .. } => self.begin * BURST_SECONDS, _ =>
        (self.after(0.0) * p("B", BURST_SECONDS)).min(self.begin * BURST_SECONDS).max(p("BM", 1.0)) }
    }

    /// The rate so many seconds after `seen`.
    fn after(&self, passed: f64) -> f64 {
        match self.phase {
            Phase::Searching { rate, .. } => rate,
            Phase::Curve { had, low, at, cap } => {
                curve(had, low, self.moved(had, at, passed)).min(cap).clamp(p("F", FLOOR), self.ceiling)
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
        // The rate only rises by itself, so it takes no longer than at the present one.
        let (mut early, mut late) = (0.0, tokens / self.after(0.0));
        for _ in 0..12 {
            let middle = f64::midpoint(early, late);
            if self.tokens(middle) < tokens { early = middle } else { late = middle }
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
        if let Phase::Searching { rate, since } = &mut self.phase
            && self.pressed
            && self.proven
            && seconds(*since, now) >= DOUBLING
        {
            *rate = (*rate * 2.0).min(self.ceiling);
            *since = now;
            self.proven = false;
        }
    }
}
