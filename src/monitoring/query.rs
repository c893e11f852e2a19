//! PromQL over the catalogue's metrics.
//!
//! A sidecar lives as long as its workflow, and what it counts in its first seconds is in its first sample already.
//! `increase()` reports 0 for that (prometheus#1673): totals are therefore the *zero-start increase*, the last value
//! less the value at the window's begin where there was one.

use crate::metrics::family::{Def, Kind, Labels};

/// What every query selects by; the labels come from the scrape, not from the plugin.
const SELECTOR: &str = r#"cluster=~"$cluster", namespace=~"$namespace", job=~"$job", instance=~"$instance""#;

/// The series of a metric, narrowed by further matchers.
pub fn series<L: Labels>(metric: &Def<L>, matchers: &str) -> String {
    named(&metric.full_name(), matchers)
}

/// The series of a name that is not in the catalogue's form: of the process, or of Prometheus itself.
pub fn named(name: &str, matchers: &str) -> String {
    let comma = if matchers.is_empty() { "" } else { ", " };
    format!("{name}{{{SELECTOR}{comma}{matchers}}}")
}

fn by(labels: &str) -> String {
    if labels.is_empty() { "sum".to_owned() } else { format!("sum by ({labels})") }
}

/// The sum of a gauge; 0 when there is nothing.
pub fn total<L: Labels>(metric: &Def<L>, matchers: &str) -> String {
    format!("sum({}) or vector(0)", series(metric, matchers))
}

/// The sum of a gauge by labels.
pub fn total_by<L: Labels>(metric: &Def<L>, labels: &str) -> String {
    format!("{} ({})", by(labels), series(metric, ""))
}

/// How many events there were in a window, those of a sidecar's first seconds included.
pub fn count<L: Labels>(metric: &Def<L>, matchers: &str, labels: &str, window: &str) -> String {
    increase(&series(metric, matchers), labels, window)
}

fn increase(series: &str, labels: &str, window: &str) -> String {
    let last = format!("last_over_time({series}[{window}])");
    format!("{} (({last} - {series} offset {window} >= 0) or {last})", by(labels))
}

/// Events a second, for what happens all the time.
pub fn rate<L: Labels>(metric: &Def<L>, matchers: &str, labels: &str) -> String {
    format!("{} (rate({}[$__rate_interval]))", by(labels), series(metric, matchers))
}

/// A share of a whole; nothing while there is no whole.
pub fn share(part: &str, whole: &str) -> String {
    format!("({part} or vector(0)) / ({whole} > 0)")
}

/// A quantile of what happens all the time.
pub fn quantile<L: Labels>(quantile: f64, metric: &Def<L>, labels: &str) -> String {
    debug_assert!(matches!(metric.kind, Kind::Histogram(_)), "{} has no quantiles", metric.name);
    let buckets = named(&format!("{}_bucket", metric.full_name()), "");
    let labels = if labels.is_empty() { "le".to_owned() } else { format!("le, {labels}") };
    format!("histogram_quantile({quantile}, sum by ({labels}) (rate({buckets}[$__rate_interval])))")
}

/// A quantile of rare events, over the last hour.
pub fn hourly_quantile<L: Labels>(quantile: f64, metric: &Def<L>) -> String {
    let buckets = named(&format!("{}_bucket", metric.full_name()), "");
    format!("histogram_quantile({quantile}, {})", increase(&buckets, "le", "1h"))
}

/// How long ago the earliest moment was.
pub fn age<L: Labels>(moment: &Def<L>) -> String {
    format!("time() - min({})", series(moment, ""))
}
