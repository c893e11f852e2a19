//! What CPU time executions cost from their first request to their end, the agent's polls included.

use std::time::Duration;

use serde_json::json;

use super::{Subject, Wanted};
use crate::{
    argo::Nodes,
    aws::Aws,
    plugin::Plugin,
    table::{Budget, Row, Unit},
    tasks::{LONG, nodes},
};

const NAME: &str = "cpu_seconds/1000_executions";

const PATIENCE: Duration = Duration::from_secs(600);

/// CPU seconds of the plugin for a thousand executions.
pub fn subject(wanted: Wanted) -> Subject {
    Subject::new(vec![NAME.to_owned()], async move {
        let (count, runs) = (wanted.of(1000, 50), wanted.of(60, 5));
        let aws = Aws::start(0, json!({"steps": {format!("{LONG}/Train"): {"seconds": runs}}})).await;
        let plugin = Plugin::start(&aws, &[]).await;
        let before = plugin.process.cpu_seconds();
        let nodes = Nodes::ask(&plugin, nodes("cpu", count, LONG));
        nodes.ended(PATIENCE).await;
        let used = plugin.process.cpu_seconds() - before;
        let book = aws.book().await;
        let succeeded = book.executions.iter().filter(|execution| execution.status == "Succeeded").count();
        assert_eq!(succeeded, count, "every execution is run once and to its end");
        let calls = book.calls(&[
            "StartPipelineExecution",
            "DescribePipelineExecution",
            "ListPipelineExecutions",
            "ListPipelineExecutionSteps",
        ]);
        let remark =
            format!("{count} runs of {runs} s, {calls} AWS calls, {} answers to the agent", nodes.tally().calls);
        vec![Row::new(NAME, used * 1000.0 / count as f64, Unit::Seconds, Budget::None).remark(remark)]
    })
}
