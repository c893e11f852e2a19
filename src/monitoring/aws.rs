//! What AWS is asked and how it answers.

use serde_json::Value;

use super::{
    builder::DashboardBuilder,
    panel::{Panel, PanelType},
    query::{age, count, hourly_quantile, quantile, rate, series, share, total, total_by},
};
use crate::metrics::catalogue::{
    CALL_DURATION, CALL_RETRIES, CALL_THROTTLES, CALLS, CALLS_WAITING, CREDENTIALS_EXPIRY, CREDENTIALS_FAILURES,
    CREDENTIALS_REFRESHES, PACE, PACE_WAIT, QUEUE, QUEUE_HEAD, START_FAILURES,
};

/// The dashboard of the calls to AWS.
pub fn dashboard() -> Value {
    let range = "$__range";
    let attempts = format!("({} + {})", rate(&CALLS, "", "operation"), rate(&CALL_RETRIES, "", "operation"));
    DashboardBuilder::new("awf-aws-api", "awf-aws / AWS", "Calls to SageMaker and STS: how many, how they end, how long they take.")
        .row(
            "In the time range",
            vec![
                Panel::new(PanelType::Stat, "Calls", "short", "Calls to AWS; retries of the SDK are not counted.")
                    .query(count(&CALLS, "", "", range), "calls"),
                Panel::new(PanelType::Stat, "Failed", "percentunit", "Share of the calls that did not succeed, after retries.")
                    .query(share(&count(&CALLS, r#"outcome!="ok""#, "", range), &count(&CALLS, "", "", range)), "failed")
                    .bounds(0.05, 0.2)
                    .or_else("no calls"),
                Panel::new(PanelType::Stat, "Throttled attempts", "short", "Attempts that AWS refused for their rate; most calls succeed at the next attempt.")
                    .query(count(&CALL_THROTTLES, "", "", range), "throttled"),
                Panel::new(PanelType::Stat, "Denied calls", "short", "Calls that the role may not make.")
                    .query(count(&CALLS, r#"outcome="access_denied""#, "", range), "denied")
                    .bounds(1.0, 10.0),
                Panel::new(PanelType::Stat, "Credentials refused", "short", "Times that credentials were asked for and not given.")
                    .query(count(&CREDENTIALS_FAILURES, "", "", range), "refused")
                    .bounds(1.0, 3.0),
                Panel::new(PanelType::Stat, "Credentials expire in", "s", "Until the first of the credentials in use expires. They are renewed when a call needs them, so an idle plugin may show less than nothing.")
                    .query(format!("min({}) - time()", series(&CREDENTIALS_EXPIRY, "")), "expire")
                    .or_else("never"),
            ],
        )
        .row(
            "Calls",
            vec![
                Panel::new(PanelType::Lines, "Calls", "reqps", "Calls to AWS by operation.")
                    .query(rate(&CALLS, "", "operation"), "{{operation}}"),
                Panel::new(PanelType::Bars, "Calls that failed", "short", "By what AWS said, in each interval. limit_exceeded: the quota of executions; outcome_unknown: a time-out, a lost connection or a server error.")
                    .query(count(&CALLS, r#"outcome!="ok""#, "outcome", "$__interval"), "{{outcome}}"),
                Panel::new(PanelType::Bars, "Denied calls", "short", "Calls that the role may not make, by operation, in each interval. The README's policy allows all of them.")
                    .query(count(&CALLS, r#"outcome="access_denied""#, "operation", "$__interval"), "{{operation}}"),
                Panel::new(PanelType::Lines, "Failed", "percentunit", "Share of the calls that did not succeed, by operation. Calls refused for the full quota are part of normal life and left out.")
                    .query(share_by_operation(), "{{operation}}"),
                Panel::new(PanelType::Lines, "Answer time", "s", "Whole calls with retries and back-off.")
                    .query(quantile(0.5, &CALL_DURATION, "access"), "half of the {{access}} calls")
                    .query(quantile(0.95, &CALL_DURATION, "access"), "95 % of the {{access}} calls"),
                Panel::new(PanelType::Bars, "Starts refused", "short", "Starts that AWS did not take, by reason, in each interval.")
                    .query(count(&START_FAILURES, "", "reason", "$__interval"), "{{reason}}"),
            ],
        )
        .row(
            "Throttling and pace",
            vec![
                Panel::new(PanelType::Lines, "Throttled attempts", "percentunit", "Share of the attempts that AWS refused for their rate, by operation.")
                    .query(format!("{} / ({attempts} > 0)", rate(&CALL_THROTTLES, "", "operation")), "{{operation}}"),
                Panel::new(PanelType::Lines, "Retries per call", "short", "Attempts beyond the first, by operation.")
                    .query(format!("{} / ({} > 0)", rate(&CALL_RETRIES, "", "operation"), rate(&CALLS, "", "operation")), "{{operation}}"),
                Panel::new(PanelType::Lines, "Calls waiting", "short", "Calls that wait for the plugin's own pace, which follows what AWS takes.")
                    .query(total_by(&CALLS_WAITING, "aws_region, access"), "{{aws_region}}, {{access}}"),
                Panel::new(PanelType::Lines, "Pace", "reqps", "How many calls the plugin lets leave in a second: it rises while AWS takes all of them and more wait, and falls when AWS throttles.")
                    .query(total_by(&PACE, "aws_region, access"), "{{aws_region}}, {{access}}"),
                Panel::new(PanelType::Lines, "Wait for the pace", "s", "How long calls waited before they left, over the last hour.")
                    .query(hourly_quantile(0.5, &PACE_WAIT), "half of them")
                    .query(hourly_quantile(0.95, &PACE_WAIT), "95 %"),
                Panel::new(PanelType::Lines, "Nodes waiting to start", "short", "Places in the start queues.")
                    .query(total(&QUEUE, ""), "waiting"),
                Panel::new(PanelType::Lines, "Wait to start", "s", "How long the node that waits longest has waited to start.")
                    .query(age(&QUEUE_HEAD), "longest wait"),
            ],
        )
        .row(
            "Credentials",
            vec![
                Panel::new(PanelType::Bars, "Credentials asked for", "short", "Whether they were given, in each interval.")
                    .query(format!("{} - {}", count(&CREDENTIALS_REFRESHES, "", "", "$__interval"), count(&CREDENTIALS_FAILURES, "", "", "$__interval")), "given")
                    .query(count(&CREDENTIALS_FAILURES, "", "", "$__interval"), "not given")
                    .wide(12),
                Panel::new(PanelType::Lines, "Expire in", "s", "Until the first of the credentials in use expires, by namespace.")
                    .query(format!("min by (namespace) ({}) - time()", series(&CREDENTIALS_EXPIRY, "")), "{{namespace}}")
                    .wide(12),
            ],
        )
        .json()
}

/// A full quota is asked again and again on purpose; it would hide what is wrong.
fn share_by_operation() -> String {
    let failed = rate(&CALLS, r#"outcome!~"ok|limit_exceeded""#, "operation");
    let all = rate(&CALLS, "", "operation");
    format!("({failed} or 0 * {all}) / ({all} > 0)")
}
