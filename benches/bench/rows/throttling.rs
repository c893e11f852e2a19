//! How soon all ends are known after AWS has throttled every call for a while.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{Subject, Wanted};
use crate::{
    argo::Nodes,
    aws::Aws,
    load::until,
    plugin::Plugin,
    table::{Budget, Row},
    tasks::{LONG, nodes},
};

const NAME: &str = "throttling/all_ends_known";

const PATIENCE: Duration = Duration::from_secs(300);

/// The time from the end of the fault.
pub fn subject(wanted: Wanted) -> Subject {
    Subject::new(vec![NAME.to_owned()], async move {
        let (count, runs) = (wanted.of(100, 10), wanted.of(60, 15));
        let aws = Aws::start(0, json!({"steps": {format!("{LONG}/Train"): {"seconds": runs}}})).await;
        let plugin = Plugin::start(&aws, &[]).await;
        let _nodes = Nodes::ask(&plugin, nodes("throttled", count, LONG));
        until("all have started", PATIENCE, async || plugin.started().await >= count as f64).await;
        assert_eq!(plugin.finished().await, 0.0, "they outlive their start");
        aws.faults(json!({"throttle": {"*": "always"}})).await;
        until("all have ended in SageMaker", PATIENCE, async || {
            aws.book().await.executions.iter().all(|execution| execution.status == "Succeeded")
        })
        .await;
        // Long enough for every back-off to have grown.
        sleep(wanted.of(Duration::from_secs(30), Duration::from_secs(5))).await;
        let unknown = count as f64 - plugin.finished().await;
        aws.faults(json!({"throttle": null})).await;
        let took = until("all ends are known", PATIENCE, async || plugin.finished().await >= count as f64).await;
        let remark = format!("{unknown} ends of {count} unknown when the fault ended");
        vec![Row::seconds(NAME, took, Budget::AtMost(10.0)).remark(remark)]
    })
}
