//! What a process holds that has run many workflows to their end: each is forgotten once nobody asks for it any more.

use std::{rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{MIB, Subject, Wanted};
use crate::{
    aws::Aws,
    load::{once, until},
    plugin::{Plugin, requests},
    table::{Budget, Row, Unit},
    tasks::{execute, many},
};

const PATIENCE: Duration = Duration::from_secs(600);

/// As fast as the machine allows, and forgotten as soon as that may be.
const FLAGS: [&str; 5] = [
    "--forget-after=1s",
    "--poll-min=1s",
    "--poll-max=2s",
    "--max-reads-per-second=1000",
    "--max-writes-per-second=1000",
];

/// The largest resident memory in the life of a process that has seen so many nodes to their end.
pub fn subject(wanted: Wanted) -> Subject {
    let (waves, workflows, of_each) = (wanted.of(40, 2), wanted.of(5, 2), wanted.of(500, 20));
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
            let node = |number| execute(&format!("wf-{wave}-{}", number % workflows), number, &many(wave));
            let nodes: Vec<Value> = (0..workflows * of_each).map(node).collect();
            let nodes: Rc<[Vec<u8>]> = requests(&nodes);
            once(&plugin.api, &nodes, |_| ()).await;
            let ended = async || plugin.metric("open_nodes").await == 0.0;
            until("all nodes have ended", PATIENCE, ended).await;
            // Told once, it may be forgotten.
            once(&plugin.api, &nodes, |answer| {
                let answer = String::from_utf8_lossy(answer);
                assert!(answer.contains(r#""phase":"Succeeded""#), "{answer}");
            })
            .await;
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
