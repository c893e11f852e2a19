//! How long it takes until all nodes of a fan-out have started, when AWS takes only so many starts a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Subject, Wanted};
use crate::{
    argo::Nodes,
    aws::Aws,
    load::until,
    plugin::Plugin,
    table::{Budget, Row, Unit},
    tasks::{LONG, nodes},
};

/// Starts that AWS takes in a second, how many nodes there are, and how long they may take in seconds.
const CASES: [(usize, usize, Budget); 3] =
    [(2, 60, Budget::None), (10, 300, Budget::None), (50, 1000, Budget::AtMost(30.0))];

const PATIENCE: Duration = Duration::from_secs(600);

/// A row for each rate.
pub fn subject(wanted: Wanted) -> Subject {
    let cases = CASES.map(|(rate, nodes, budget)| (rate, wanted.of(nodes, nodes / 10), budget));
    let name = |rate: usize, nodes: usize| format!("starts/{nodes}_at_{rate}_per_second");
    let names = cases.iter().map(|(rate, nodes, _)| name(*rate, *nodes)).collect();
    Subject::new(names, async move {
        let mut rows = Vec::new();
        for (rate, count, budget) in cases {
            let aws = Aws::start(0, json!({"rate": {"StartPipelineExecution": rate}})).await;
            let plugin = Plugin::start(&aws, &[]).await;
            let began = now_ms();
            let _nodes = Nodes::ask(&plugin, nodes("fan-out", count, LONG));
            until("all have started", PATIENCE, async || plugin.started().await >= count as f64).await;
            let book = aws.book().await;
            // The simulator's clock is this machine's.
            let took = (book.last_created() - began) as f64 / 1e3;
            let calls = book.calls(&["StartPipelineExecution"]);
            let remark = format!(
                "AWS alone would take {:.1} s; {} of {calls} calls throttled",
                // A full bucket to begin with.
                (count - rate.min(count)) as f64 / rate as f64,
                calls - count as u64
            );
            rows.push(Row::new(name(rate, count), took, Unit::Seconds, budget).remark(remark));
        }
        rows
    })
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_millis()).expect("the clock is before the year 292 million")
}
