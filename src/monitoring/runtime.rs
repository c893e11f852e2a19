//! The plugin itself: actors, log, process.

use serde_json::Value;

use super::{
    builder::DashboardBuilder,
    panel::{Panel, PanelType},
    query::{count, named, rate, series, total_by},
};
use crate::metrics::catalogue::{
    ACTOR_MESSAGES, ACTOR_RESTARTS, ACTORS, BUILD, HTTP_REQUESTS, LOG_MESSAGES, MAILBOX, REQUESTS_IN_FLIGHT,
};

/// The dashboard of the processes.
pub fn dashboard() -> Value {
    DashboardBuilder::new("awf-aws-runtime", "awf-aws / Runtime", "The plugin's processes: actors, log, memory, CPU.")
        .row(
            "Processes",
            vec![
                Panel::new(PanelType::Lines, "Scraped pods", "short", "Sidecars that Prometheus reached, and those it did not reach.")
                    .query(format!("count({} == 1) or vector(0)", named("up", "")), "reached")
                    .query(format!("count({} == 0) or vector(0)", named("up", "")), "not reached"),
                Panel::new(PanelType::Table, "Versions", "short", "Sidecars by version, now.")
                    .query(format!("count by (version, mode) ({})", series(&BUILD, "")), "{{version}}"),
                Panel::new(PanelType::Bars, "Log lines", "short", "Lines in the log, by level, in each interval.")
                    .query(count(&LOG_MESSAGES, r#"level!="info""#, "level", "$__interval"), "{{level}}"),
                over_pods("CPU", "short", "Cores in use. A sidecar has 0.2 by default.", &format!("rate({}[$__rate_interval])", named("process_cpu_seconds_total", ""))),
                over_pods("Memory", "bytes", "Resident memory. A sidecar has 64 MiB by default.", &named("process_resident_memory_bytes", "")),
                over_pods("Open files", "short", "Open file descriptors, connections included.", &named("process_open_fds", "")),
            ],
        )
        .row(
            "Actors",
            vec![
                Panel::new(PanelType::Lines, "Actors", "short", "Live actors: one per workflow, and one supervisor per process.")
                    .query(total_by(&ACTORS, "actor"), "{{actor}}"),
                Panel::new(PanelType::Lines, "Messages waiting", "short", "Messages in mailboxes. Next to none when all is well.")
                    .query(total_by(&MAILBOX, "actor"), "{{actor}}"),
                Panel::new(PanelType::Lines, "Messages taken", "ops", "Messages that actors took.")
                    .query(rate(&ACTOR_MESSAGES, "", "actor"), "{{actor}}"),
                Panel::new(PanelType::Bars, "Restarts", "short", "Runners of workflows that were made again after a panic, in each interval. Each is a fault of the plugin.")
                    .query(count(&ACTOR_RESTARTS, "", "", "$__interval"), "restarts"),
                Panel::new(PanelType::Lines, "Requests", "reqps", "HTTP requests by route and status. Never a 404 on execute: Argo would drop the plugin.")
                    .query(rate(&HTTP_REQUESTS, "", "handler, code"), "{{handler}} {{code}}"),
                Panel::new(PanelType::Lines, "Requests in flight", "short", "template.execute requests being answered.")
                    .query(format!("sum({})", series(&REQUESTS_IN_FLIGHT, "")), "in flight"),
            ],
        )
        .json()
}

/// Hundreds of sidecars are three lines: the largest, the one in the middle, all together.
fn over_pods(title: &'static str, unit: &'static str, description: &'static str, expression: &str) -> Panel {
    Panel::new(PanelType::Lines, title, unit, description)
        .query(format!("max({expression})"), "largest")
        .query(format!("quantile(0.5, {expression})"), "in the middle")
        .query(format!("sum({expression})"), "all together")
}
