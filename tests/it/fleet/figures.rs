//! What came of a fleet.

/// The figures of a run; waits are in seconds.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Share of the limit that was used in the steady state.
    pub used: f64,
    /// Share of the calls that AWS throttled in the steady state.
    pub throttled: f64,
    /// Jain's index over what the processes were served in the steady state: 1 is equal, 1/n is all to one.
    pub fairness: f64,
    /// Half of the stops, all but one in a hundred, and all of them were taken by AWS within so long.
    pub stops: [f64; 3],
    /// The same of starts.
    pub starts: [f64; 3],
    /// Seconds from the outage's end until five seconds in which 80 % of the limit were used have passed.
    pub recovery: f64,
    /// Share of the limit that was used from the 15th to the 45th second after the outage.
    pub used_after: f64,
    /// Share of calls throttled in the first minute, when nobody knows the limit.
    pub throttled_first: f64,
}

/// Jain's index of fairness.
pub fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    sum * sum / (shares.len() as f64 * squares)
}

/// The median, the 99th percentile and the longest of these.
pub fn quantiles(mut waits: Vec<f64>) -> [f64; 3] {
    waits.sort_by(f64::total_cmp);
    [0.5, 0.99, 1.0].map(|q| {
        waits.get(((waits.len() as f64 * q) as usize).min(waits.len().saturating_sub(1))).copied().unwrap_or(0.0)
    })
}

impl Figures {
    pub const HEAD: &str = "                          used  throttled (1st min)  Jain   stops: half  99%    all   starts: half  99%    all   back after  used then";

    pub fn row(&self, name: &str) -> String {
        let [a, b, c] = self.stops;
        let [d, e, f] = self.starts;
        format!(
            "{name:24} {:5.0}% {:9.0}% {:7.0}%  {:5.3}  {a:10.1} {b:6.1} {c:6.1}  {d:11.1} {e:6.1} {f:6.1}  {:10.1} {:8.0}%",
            self.used * 100.0,
            self.throttled * 100.0,
            self.throttled_first * 100.0,
            self.fairness,
            self.recovery,
            self.used_after * 100.0
        )
    }

    /// The worst of each figure.
    pub fn worst(runs: &[Self]) -> Self {
        let least = |of: fn(&Self) -> f64| runs.iter().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&Self) -> f64| runs.iter().map(of).fold(0.0, f64::max);
        Self {
            used: least(|f| f.used),
            throttled: most(|f| f.throttled),
            fairness: least(|f| f.fairness),
            stops: [most(|f| f.stops[0]), most(|f| f.stops[1]), most(|f| f.stops[2])],
            starts: [most(|f| f.starts[0]), most(|f| f.starts[1]), most(|f| f.starts[2])],
            recovery: most(|f| f.recovery),
            used_after: least(|f| f.used_after),
            throttled_first: most(|f| f.throttled_first),
        }
    }
}
