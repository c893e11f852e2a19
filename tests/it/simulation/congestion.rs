//! AWS throttles for a while, and then all ends are known soon: whatever a process was held up by, it catches up.

use std::time::Duration;

use awf_aws::workflow::Settings;
use fastrand::Rng;

use super::world::World;

/// How soon after the last throttle all ends are known (section "Performance" of the design).
const RECOVERY: Duration = Duration::from_secs(10);
/// How long without any throttle an end may be unknown besides, once it could be seen: a list, a describe and a call for
/// its steps, each with the answer's way.
const LOOKS: Duration = Duration::from_secs(3);
/// A look before the congestion has been answered by its beginning.
const SETTLED: Duration = Duration::from_secs(60);

/// AWS throttles so much of what it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Congestion {
    pub from: Duration,
    pub until: Duration,
    pub odds: f64,
}

impl Congestion {
    /// From then on nothing else goes wrong.
    pub fn calm_after(self) -> Duration {
        self.from.saturating_sub(SETTLED)
    }

    /// Within the time in which things go wrong.
    pub fn draw(r: &mut Rng, calm: Duration) -> Self {
        let from = Duration::from_secs(r.u64(90..calm.as_secs().min(900)));
        let odds = [0.3, 0.5, 1.0][r.usize(0..3)];
        let until = calm.min(from + Duration::from_secs(r.u64(20..240)));
        Self { from, until, odds }
    }
}

impl World {
    /// Whether AWS throttles the call that it is asked now.
    pub fn is_congested(&mut self) -> bool {
        let Some(congestion) = self.plan.troubles.congestion else { return false };
        let since = self.now.since(Self::START);
        congestion.from <= since && since < congestion.until && self.rng.f64() < congestion.odds
    }

    /// What has ended is known soon after a congestion, by each process that followed it before.
    pub fn check_recovery(&mut self, number: usize) {
        let Some(congestion) = self.plan.troubles.congestion else { return };
        let (from, until) = (Self::START.plus(congestion.from), Self::START.plus(congestion.until));
        // Later nothing can be told any more of what the congestion has done; earlier nothing is promised.
        let over = self.now.since(until);
        if self.now < until.plus(RECOVERY) || over > 3 * Settings::default().poll_max {
            return;
        }
        if self.workflows[number].disturbed_at > until {
            return;
        }
        let before = from.minus(SETTLED);
        let pods = self.workflows[number].pods.iter().enumerate();
        let settled = pods.filter(|(_, pod)| {
            let goes_on = !pod.ended && pod.plugin.is_some();
            goes_on && pod.process_born < before && pod.stalled_until < before
        });
        let processes: Vec<_> = settled.map(|(pod, its)| ((number, pod), its.plugins)).collect();
        for process in processes {
            let mut late = None;
            let mut judged = false;
            for (_, execution) in self.started_by(number) {
                let followed =
                    execution.created < before && self.was_noted(process, &["start", "adoption"], &execution.arn);
                let ended = !execution.status.is_live() && !execution.deleted && execution.modified < until;
                if !followed || !ended || self.times_resumed(&execution.arn) > 0 {
                    continue;
                }
                judged = true;
                let due = until.plus(RECOVERY).max(execution.modified.plus(Settings::default().poll_max + LOOKS));
                if self.now > due && !self.was_noted(process, &["end"], &execution.arn) {
                    late = Some(execution.arn.clone());
                }
            }
            if judged {
                self.bites.add("check: ends are known soon after a congestion");
            }
            if let Some(arn) = late {
                self.checks.broke(format!("{process:?} knows no end of {arn} {over:?} after the congestion"));
            }
        }
    }
}
