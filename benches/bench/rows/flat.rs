//! What an answer costs among ten other nodes that wait, and among ten thousand: the same.

use std::time::Duration;

use serde_json::json;

use super::{Subject, Wanted};
use crate::{
    argo::Nodes,
    aws::Aws,
    load,
    plugin::{Plugin, requests},
    table::{Budget, Row, Unit},
    tasks::{LONG, nodes},
};

const CONNECTIONS: usize = 16;

/// How many nodes are asked for while it is measured, whatever the crowd: caches hold the same in each.
const ASKED: usize = 10;

const PATIENCE: Duration = Duration::from_secs(600);

/// CPU time of the plugin for each answer, for crowds of growing size; the last beside the first.
pub fn subject(wanted: Wanted) -> Subject {
    let crowds = [10, wanted.of(1_000, 50), wanted.of(10_000, 200)];
    let name = |crowd: usize| format!("answer_cpu/{crowd}_waiting");
    let ratio = format!("answer_cpu/{}_to_{}", crowds[2], crowds[0]);
    let names = crowds.iter().map(|crowd| name(*crowd)).chain([ratio.clone()]).collect();
    Subject::new(names, async move {
        let mut rows = Vec::new();
        let mut costs = Vec::new();
        for crowd in crowds {
            let (cost, answers) = cost(crowd, wanted).await;
            costs.push(cost);
            rows.push(Row::new(name(crowd), cost, Unit::Seconds, Budget::None).remark(format!("{answers:.0} answers")));
        }
        let figure = costs[2] / costs[0];
        // A cache that holds ten nodes and not ten thousand is no walk.
        rows.push(Row::new(ratio, figure, Unit::Ratio, Budget::AtMost(1.5)).remark("of CPU time for each answer"));
        rows
    })
}

/// CPU seconds for each answer among so many nodes that wait for a full account, and how many answers that was.
async fn cost(crowd: usize, wanted: Wanted) -> (f64, f64) {
    let aws = Aws::start(0, json!({"quota": 0})).await;
    let plugin = Plugin::start(&aws, &[]).await;
    let tasks = nodes("waiting", crowd, LONG);
    let waiting = Nodes::ask(&plugin, tasks.clone());
    waiting.waiting(PATIENCE).await;
    // They wait, whoever asks. The load is all that is asked now.
    drop(waiting);
    let requests = requests(&tasks[..ASKED]);
    let lasts = wanted.of(Duration::from_secs(5), Duration::from_millis(300));
    load::run(&plugin.api, &requests, CONNECTIONS, lasts / 5).await;
    let answered = async || plugin.metric("execute_requests_total").await;
    let (before, used) = (answered().await, plugin.process.cpu_seconds());
    load::run(&plugin.api, &requests, CONNECTIONS, lasts).await;
    let (used, answers) = (plugin.process.cpu_seconds() - used, answered().await - before);
    (used / answers, answers)
}
