//! The start queue with real processes: two workflows, each with a plugin of its own, and one quota.

use futures_util::future::join;
use serde_json::{Value, json};

use crate::support::{
    argo::{Plugin, execute, output},
    simulator::Simulator,
};

const NODES: usize = 20;

fn nodes(uid: &str) -> Vec<Value> {
    let node = |n: usize| {
        let mut body = execute(&format!("node-{n:02}"), json!({}));
        body["workflow"]["metadata"]["uid"] = json!(uid);
        body
    };
    (0..NODES).map(node).collect()
}

/// Runs one workflow's nodes to their ends, asked for one after the other. Gives the ARNs in that order.
async fn run(simulator: &Simulator, uid: &str) -> Vec<String> {
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let nodes = nodes(uid);
    let mut waited = 0;
    for body in &nodes {
        let reply = plugin.ask(body).await;
        let message = reply["node"]["message"].as_str().unwrap_or_default();
        if message.starts_with("waiting for SageMaker capacity (") && message.contains("ahead in this workflow") {
            assert_eq!(reply["node"]["phase"], "Pending", "{reply}");
            waited += 1;
        }
    }
    assert!(waited > 0, "nobody had to wait: the quota was never full");
    let mut arns = Vec::new();
    for body in &nodes {
        let end = plugin.until_ended(body).await;
        assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
        arns.push(output(&end, "execution-arn").to_owned());
    }
    arns
}

#[actix_rt::test]
async fn two_workflows_share_a_quota_of_five_and_each_starts_its_nodes_in_order() {
    let scenario = json!({"faults": {"quota": 5, "step_seconds": 0.5}});
    let simulator = Simulator::with_pipeline(scenario, &["Train"]).await;
    let (one, two) = join(run(&simulator, "uid-one"), run(&simulator, "uid-two")).await;
    let started: Vec<String> = simulator.executions().await.into_iter().map(|(arn, _)| arn).collect();
    assert_eq!(started.len(), 2 * NODES, "one execution a node");
    for arns in [one, two] {
        let in_order: Vec<&String> = started.iter().filter(|arn| arns.contains(arn)).collect();
        assert_eq!(in_order, arns.iter().collect::<Vec<_>>(), "first in, first out");
    }
}
