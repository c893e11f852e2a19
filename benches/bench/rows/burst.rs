//! A burst of tasks at a fifth of a core, which is what the sidecar has.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Subject, Wanted};
use crate::{
    argo::Nodes,
    aws::Aws,
    limit::Limit,
    plugin::Plugin,
    table::{Budget, Figure, Row, Unit},
    tasks::{LONG, nodes},
};

const NAMES: [&str; 3] =
    ["burst_at_0.2_cpu/refused", "burst_at_0.2_cpu/slowest_answer", "burst_at_0.2_cpu/all_started"];

const PATIENCE: Duration = Duration::from_secs(600);

/// No 503, no answer over 5 s; and how long all starts take.
pub fn subject(wanted: Wanted) -> Subject {
    Subject::new(NAMES.map(str::to_owned).to_vec(), async move {
        let count = wanted.of(500, 50);
        let aws = Aws::start(0, json!({})).await;
        let plugin = Plugin::start(&aws, &[]).await;
        let limit = match Limit::set(plugin.process.id()) {
            Ok(limit) => limit,
            Err(why) => return NAMES.map(|name| Row::without(name, Figure::NotMeasured(why.clone()))).to_vec(),
        };
        let began = Instant::now();
        let nodes = Nodes::ask(&plugin, nodes("burst", count, LONG));
        nodes.started(PATIENCE).await;
        let (took, tally) = (began.elapsed(), nodes.tally());
        // The process goes before its group can.
        drop((nodes, plugin));
        let remark = format!("{count} tasks, 16 workers of the agent, limited by {}", limit.kind());
        vec![
            Row::new(NAMES[0], tally.repeats as f64, Unit::Count, Budget::AtMost(0.0))
                .remark(format!("503s and lost connections of {} exchanges; {remark}", tally.calls)),
            Row::seconds(NAMES[1], tally.slowest, Budget::AtMost(5.0)).remark(remark.clone()),
            Row::seconds(NAMES[2], took, Budget::None).remark(format!("every node was told its execution; {remark}")),
        ]
    })
}
