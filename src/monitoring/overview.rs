//! The first dashboard to look at: what runs, what failed, what waits, whether polling goes on.

use serde_json::Value;

use super::{
    builder::DashboardBuilder,
    panel::{Panel, PanelType},
    query::{age, count, hourly_quantile, quantile, rate, share, total, total_by},
};
use crate::metrics::catalogue::{
    ACTIVE, ACTORS, ADOPTED, CALL_DURATION, CALLS, DETECTION_LAG, EXECUTION_DURATION, FINISHED, OLDEST_POLL,
    OPEN_NODES, PACE_WAIT, QUEUE, QUEUE_HEAD, REQUEST_DURATION, REQUESTS, RESUMED, START_FAILURES, STARTED, STEPS,
};

/// Ends that were not wanted by anybody.
const FAILED: &str = r#"status=~"Failed|CompletedWithFailures|Unknown""#;

/// The dashboard to begin with.
pub fn dashboard() -> Value {
    let range = "$__range";
    DashboardBuilder::new(
        "awf-aws-overview",
        "awf-aws / Overview",
        "SageMaker pipelines run by Argo workflows: what runs, what failed, what waits.",
    )
    .row(
        "Now",
        vec![
            Panel::new(PanelType::Stat, "Running executions", "short", "SageMaker executions that run now.")
                .query(total(&ACTIVE, ""), "running"),
            Panel::new(PanelType::Stat, "Waiting to start", "short", "Nodes that wait for SageMaker's quota, for max_running or for their turn.")
                .query(total(&QUEUE, ""), "waiting"),
            Panel::new(PanelType::Stat, "Longest wait to start", "s", "How long the node that waits longest has waited to start. It is the first in its workflow's queue.")
                .query(age(&QUEUE_HEAD), "waits")
                .bounds(600.0, 3600.0)
                .or_else("nobody waits"),
            Panel::new(PanelType::Stat, "Oldest poll", "s", "How long ago the running execution that was looked at least recently was looked at. Below 60 s when polling works; it grows when polling stalls.")
                .query(age(&OLDEST_POLL), "age")
                .bounds(120.0, 600.0)
                .or_else("nothing runs"),
            Panel::new(PanelType::Stat, "Workflows", "short", "Workflows that the plugin follows now.")
                .query(total(&ACTORS, r#"actor="workflow""#), "workflows"),
            Panel::new(PanelType::Stat, "Open nodes", "short", "Plugin nodes of these workflows that have not ended.")
                .query(total(&OPEN_NODES, ""), "open"),
        ],
    )
    .row(
        "In the time range",
        vec![
            Panel::new(PanelType::Stat, "Started", "short", "Executions that were started.")
                .query(count(&STARTED, "", "", range), "started"),
            Panel::new(PanelType::Stat, "Ended", "short", "Executions that ended, however.")
                .query(count(&FINISHED, "", "", range), "ended"),
            Panel::new(PanelType::Stat, "Failed", "percentunit", "Share of the ended executions that failed. Stopped ones are not counted as failed.")
                .query(share(&count(&FINISHED, FAILED, "", range), &count(&FINISHED, "", "", range)), "failed")
                .bounds(0.05, 0.2)
                .or_else("nothing ended"),
            Panel::new(PanelType::Stat, "Found again", "short", "Executions that a restarted plugin found running and went on with.")
                .query(count(&ADOPTED, "", "", range), "found again"),
            Panel::new(PanelType::Stat, "Starts refused", "short", "Starts that AWS did not take, each try counted.")
                .query(count(&START_FAILURES, "", "", range), "refused"),
            Panel::new(PanelType::Stat, "AWS calls failed", "percentunit", "Share of the calls to AWS that did not succeed, after retries.")
                .query(share(&count(&CALLS, r#"outcome!="ok""#, "", range), &count(&CALLS, "", "", range)), "failed")
                .bounds(0.05, 0.2)
                .or_else("no calls"),
        ],
    )
    .row(
        "Executions",
        vec![
            Panel::new(PanelType::Stacked, "Running", "short", "Executions that run, by status.")
                .query(total_by(&ACTIVE, "status"), "{{status}}"),
            Panel::new(PanelType::Bars, "Ended", "short", "Executions that ended, by final status, in each interval. Unknown: it was deleted.")
                .query(count(&FINISHED, "", "status", "$__interval"), "{{status}}"),
            Panel::new(PanelType::Bars, "Began", "short", "Executions that were started, those that were resumed, and those that a restarted plugin found again, in each interval.")
                .query(count(&STARTED, "", "", "$__interval"), "started")
                .query(count(&RESUMED, "", "", "$__interval"), "resumed")
                .query(count(&ADOPTED, "", "", "$__interval"), "found again"),
            Panel::new(PanelType::Lines, "Run time", "s", "How long executions ran that ended within the last hour, by SageMaker's clock. Read from buckets, so approximate.")
                .query(hourly_quantile(0.5, &EXECUTION_DURATION), "half of them")
                .query(hourly_quantile(0.95, &EXECUTION_DURATION), "95 %"),
            Panel::new(PanelType::Lines, "End noticed after", "s", "From the end at SageMaker until the plugin noticed it, over the last hour.")
                .query(hourly_quantile(0.5, &DETECTION_LAG), "half of them")
                .query(hourly_quantile(0.95, &DETECTION_LAG), "95 %")
                .bounds(120.0, 600.0),
            Panel::new(PanelType::Bars, "Starts refused", "short", "Starts that AWS did not take, by reason, in each interval. limit_exceeded: the account's quota is full.")
                .query(count(&START_FAILURES, "", "reason", "$__interval"), "{{reason}}"),
        ],
    )
    .row(
        "How long AWS makes us wait",
        vec![
            Panel::new(PanelType::Lines, "Wait to start", "s", "How long the node that waits longest has waited to start: for SageMaker's quota, or for max_running.")
                .query(age(&QUEUE_HEAD), "longest wait"),
            Panel::new(PanelType::Lines, "Wait for the pace", "s", "How long calls waited before they left, over the last hour: the plugin keeps to a pace that AWS takes. How many wait now is on the AWS dashboard.")
                .query(hourly_quantile(0.5, &PACE_WAIT), "half of them")
                .query(hourly_quantile(0.95, &PACE_WAIT), "95 %"),
            Panel::new(PanelType::Lines, "Answer time of AWS", "s", "How long 95 % of the calls to AWS took, retries and back-off included.")
                .query(quantile(0.95, &CALL_DURATION, "access"), "{{access}}"),
        ],
    )
    .row(
        "What Argo asks",
        vec![
            Panel::new(PanelType::Lines, "Answers", "reqps", "template.execute requests of Argo's agents, by answer.")
                .query(rate(&REQUESTS, "", "outcome"), "{{outcome}}"),
            Panel::new(PanelType::Lines, "Refused or broken", "percentunit", "Share of the requests that were answered by an error of the input, of AWS's permissions or of the plugin.")
                .query(share(&rate(&REQUESTS, r#"outcome=~"error|invalid""#, ""), &rate(&REQUESTS, "", "")), "refused or broken"),
            Panel::new(PanelType::Lines, "Time to answer", "s", "How long Argo's agent waits for an answer. Argo gives up after 30 s; the plugin answers within 1 s whatever AWS does.")
                .query(quantile(0.5, &REQUEST_DURATION, ""), "half of them")
                .query(quantile(0.95, &REQUEST_DURATION, ""), "95 %")
                .query(quantile(0.99, &REQUEST_DURATION, ""), "99 %"),
        ],
    )
    .row(
        "Steps",
        vec![
            Panel::new(PanelType::Table, "Steps of ended executions", "short", "How the steps ended in the time range, by type. The reason is in the node's message and in the log.")
                .query(count(&STEPS, "", "step_type, status", range), "{{step_type}} {{status}}")
                .wide(24),
        ],
    )
    .json()
}
