//! How long after its end in SageMaker the plugin knows that an execution has ended.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    task::spawn_local,
    time::{Instant, sleep},
};

use super::{Subject, Wanted, starts::now_ms};
use crate::{
    aws::Aws,
    plugin::{Plugin, requests},
    stats::median,
    table::{Budget, Row, Unit},
    tasks::{many, nodes},
    wire::Connection,
};

/// Run lengths in seconds; below 50 s the shortest poll interval of 5 s is more than a tenth.
const LENGTHS: [u64; 3] = [60, 90, 150];

/// Executions of each length.
const EXECUTIONS: usize = 20;

/// Of the budget: a round's calls, which at a latency of 50 ms are a describe and the steps, and turns for both.
const ROUND_SECONDS: f64 = 1.0;

/// A row for each length, all measured beside each other.
pub fn subject(wanted: Wanted) -> Subject {
    let lengths = LENGTHS.map(|length| wanted.of(length, length / 10));
    let name = |length: u64| format!("lag/runs_of_{length}s");
    Subject::new(lengths.map(name).to_vec(), async move {
        let steps: serde_json::Map<String, Value> = lengths
            .iter()
            .enumerate()
            .map(|(number, length)| (format!("{}/Train", many(number)), json!({"seconds": length})))
            .collect();
        let aws = Aws::start(lengths.len(), json!({"steps": steps})).await;
        let plugin = Plugin::start(&aws, &[]).await;
        let patience = Duration::from_secs(2 * lengths[2] + 120);
        let asked: Vec<Vec<_>> = lengths
            .iter()
            .enumerate()
            .map(|(number, _)| {
                let tasks = nodes(&format!("lag-{number}"), EXECUTIONS, &many(number));
                let ask = |request: &Vec<u8>| spawn_local(told_end(plugin.api.clone(), request.clone(), patience));
                requests(&tasks).iter().map(ask).collect()
            })
            .collect();
        let mut told: Vec<Vec<(String, i64)>> = Vec::new();
        for length in asked {
            let mut ends = Vec::new();
            for node in length {
                ends.push(node.await.expect("a node is asked for to its end"));
            }
            told.push(ends);
        }
        let book = aws.book().await;
        let ended = |arn: &str| book.executions.iter().find(|e| e.arn == arn).map(|e| e.modified_ms);
        let mut rows = Vec::new();
        for (length, ends) in lengths.into_iter().zip(told) {
            let lags: Vec<f64> = ends
                .iter()
                .map(|(arn, at)| (at - ended(arn).expect("the execution is in the book")) as f64 / 1e3)
                .collect();
            let longest = lags.iter().copied().fold(f64::NAN, f64::max);
            let most = (length as f64 / 10.0).min(30.0) + ROUND_SECONDS;
            let remark = format!("the longest of {}; median {:.2} s", lags.len(), median(lags));
            rows.push(Row::new(name(length), longest, Unit::Seconds, Budget::AtMost(most)).remark(remark));
        }
        rows
    })
}

/// Asks ten times a second until the node has ended: its execution, and when that was told, in milliseconds since the epoch.
async fn told_end(address: String, request: Vec<u8>, patience: Duration) -> (String, i64) {
    let deadline = Instant::now() + patience;
    let mut connection = Connection::open(&address).await.expect("the plugin takes connections");
    loop {
        let (_, body) = connection.exchange(&request).await.expect("the plugin answers");
        let reply: Value = serde_json::from_slice(body).expect("an answer is JSON");
        if reply.get("requeue").is_none() {
            let parameters = reply["node"]["outputs"]["parameters"].as_array().cloned().unwrap_or_default();
            let arn = parameters.iter().find(|p| p["name"] == "execution-arn").and_then(|p| p["value"].as_str());
            return (arn.unwrap_or_else(|| panic!("no ARN in {reply}")).to_owned(), now_ms());
        }
        assert!(Instant::now() < deadline, "not ended in time: {reply}");
        sleep(Duration::from_millis(100)).await;
    }
}
