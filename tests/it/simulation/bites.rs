//! Whether checks have something to judge and faults strike: a simulation that never gets there proves nothing.

use std::collections::{BTreeMap, BTreeSet};

/// What a seed had to do with.
#[derive(Clone, Debug, Default)]
pub struct Bites(BTreeSet<&'static str>);

impl Bites {
    /// This has struck, or was judged.
    pub fn add(&mut self, what: &'static str) {
        self.0.insert(what);
    }
}

/// In how many seeds each of [`EXPECTED`] bit.
#[derive(Clone, Debug, Default)]
pub struct Table {
    seeds: u64,
    counts: BTreeMap<&'static str, u64>,
}

/// Everything that has to bite.
pub const EXPECTED: [&str; 75] = [
    "forgotten",
    "fault: a call denied",
    "fault: a call without credentials",
    "fault: a start denied once, then taken",
    "fault: starts of one node denied",
    "fault: listing denied",
    "fault: denied for a while",
    "fault: throttled",
    "fault: server error",
    "fault: reply lost",
    "fault: silence",
    "fault: out of reach",
    "fault: conflict at a stop",
    "fault: a job is not described",
    "fault: account full",
    "fault: a resume's outcome unknown",
    "fault: a describe shows the end before a resume",
    "fault: a token came again",
    "fault: token refused",
    "fault: list lags",
    "fault: stale status listed",
    "fault: not found just after its start",
    "fault: answer 10 s late or more",
    "fault: 100 executions listed",
    "fault: killed",
    "fault: killed between two commands",
    "fault: agent restarted",
    "fault: stalled",
    "fault: frozen",
    "fault: pod away",
    "fault: two pods at once",
    "fault: clocks apart",
    "fault: clock jumped",
    "fault: duplicate request",
    "fault: answer lost",
    "fault: Kubernetes changes its answers",
    "fault: retried in the console",
    "fault: stopped in the console",
    "fault: execution deleted",
    "fault: pipeline deleted",
    "fault: workflow stopped",
    "fault: workflow terminated",
    "fault: workflow deleted",
    "fault: deadline passed",
    "fault: argo retry",
    "fault: role, region or account changed",
    "node: validate",
    "node: without execution_key",
    "node: attached",
    "node: stop of a key",
    "node: stop of an ARN",
    "node: stop of everything",
    "node: completed with failures",
    "node: left running",
    "node: timed out",
    "node: resumed",
    "check: one start per attempt and run",
    "check: one resume per attempt and run",
    "check: never two live",
    "check: no start after its time where a sibling tells",
    "check: queue in order",
    "check: at most max_running",
    "check: at most max_running_per_workflow",
    "check: error only after a lasting denial",
    "check: starts soon when there is room",
    "check: ends are told soon",
    "check: ends are known soon after a congestion",
    "check: a stop that was taken stops",
    "check: steps of an end are the end's",
    "check: nothing is held of what ended",
    "check: declared results are told",
    "check: only wanted jobs are described",
    "check: only logs of failures are read",
    "check: a failed node runs again after argo retry",
    "check: a further attempt has its own try",
];

impl Table {
    pub fn add(&mut self, bites: &Bites) {
        self.seeds += 1;
        for what in &bites.0 {
            *self.counts.entry(what).or_default() += 1;
        }
    }

    pub fn join(&mut self, other: &Self) {
        self.seeds += other.seeds;
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// What bites in too few of them. Of few seeds less is asked: chance must not fail a test.
    pub fn toothless(&self) -> Vec<&'static str> {
        let least = if self.seeds >= 1000 { 0.02 } else { 0.005 };
        let count = |what: &&'static str| self.counts.get(what).copied().unwrap_or(0) as f64;
        EXPECTED.into_iter().filter(|what| count(what) < least * self.seeds as f64).collect()
    }

    /// A line for each, in percent of the seeds.
    pub fn lines(&self) -> Vec<String> {
        let names: BTreeSet<&str> = EXPECTED.iter().chain(self.counts.keys()).copied().collect();
        let percent =
            |what: &str| 100.0 * self.counts.get(what).copied().unwrap_or(0) as f64 / self.seeds.max(1) as f64;
        names.into_iter().map(|what| format!("{:>6.2} %  {what}", percent(what))).collect()
    }
}
