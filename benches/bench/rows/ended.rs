//! What a process holds that has run many workflows to their end: each is forgotten once nobody asks for it any more.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Subject, Wanted};
use crate::{
    argo::Nodes,
    aws::Aws,
    load::until,
    plugin::Plugin,
    table::{Budget, Row, Unit},
    tasks::{many, nodes},
};

const MIB: f64 = 1024.0 * 1024.0;

const PATIENCE: Duration = Duration::from_secs(600);

/// As fast as the machine allows, and forgotten as soon as that may be.
const FLAGS: [&str; 3] = ["--forget-after=1s", "--max-reads-per-second=1000", "--max-writes-per-second=1000"];

/// The largest resident memory in the life of a process that has seen so many nodes to their end.
pub fn subject(wanted: Wanted) -> Subject {
    let (waves, workflows, of_each) = (wanted.of(10, 2), wanted.of(10, 2), wanted.of(1000, 20));
    let all = waves * workflows * of_each;
    let name = format!("memory/{all}_ended");
    Subject::new(vec![name.clone()], async move {
        // A pipeline for each wave: what has ended in the last quarter of an hour is listed by whoever begins.
        let short = |wave| (format!("{}/Train", many(wave)), json!({"seconds": 0.2}));
        let steps: Value = (0..waves).map(short).collect();
        let aws = Aws::start(waves, json!({"steps": steps})).await;
        let plugin = Plugin::start(&aws, &FLAGS).await;
        let began = Instant::now();
        for wave in 0..waves {
            let names = (0..workflows).map(|number| format!("wf-{wave}-{number}"));
            let asked: Vec<Nodes> = names.map(|name| Nodes::ask(&plugin, nodes(&name, of_each, &many(wave)))).collect();
            for nodes in &asked {
                nodes.ended(PATIENCE).await;
            }
            let forgotten = async || plugin.metric("actors{actor=\"workflow\"}").await == 0.0;
            until("all workflows are forgotten", PATIENCE, forgotten).await;
        }
        let started = plugin.started().await;
        assert!(started == all as f64, "{started} executions for {all} nodes");
        let (peak, now) = (plugin.process.memory("VmHWM"), plugin.process.memory("VmRSS"));
        let remark = format!(
            "highest RSS; {waves} times {workflows} workflows of {of_each} nodes in {:.0} s; {:.1} MiB at the end",
            began.elapsed().as_secs_f64(),
            now / MIB
        );
        vec![Row::new(name, peak, Unit::Bytes, Budget::AtMost(64.0 * MIB)).remark(remark)]
    })
}
