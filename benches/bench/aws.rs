//! `awf-aws simulator` as a child process: AWS as slow and as strict as a row needs it.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    process::{BINARY, Directory, Process, clean, free_address},
    tasks::{LONG, PARAMETERS, REGION, SHORT, many},
    wire,
};

/// How long AWS takes to answer.
const LATENCY: Duration = Duration::from_millis(50);

/// The simulated AWS.
pub struct Aws {
    pub address: String,
    /// Dropped before the directory.
    _process: Process,
    _directory: Directory,
}

/// What `GET /admin/book` says, as far as it is needed.
#[derive(Deserialize)]
pub struct Book {
    pub executions: Vec<Execution>,
    /// Calls taken so far, by operation.
    calls: BTreeMap<String, u64>,
}

/// An execution in the book.
#[derive(Deserialize)]
pub struct Execution {
    pub arn: String,
    pub status: String,
    /// Milliseconds since the epoch, by the simulator's clock, which is this machine's.
    pub created_ms: i64,
    pub modified_ms: i64,
}

impl Book {
    /// How often these operations were called.
    pub fn calls(&self, operations: &[&str]) -> u64 {
        operations.iter().filter_map(|operation| self.calls.get(*operation)).sum()
    }

    /// When the last execution was created, in milliseconds since the epoch.
    pub fn last_created(&self) -> i64 {
        self.executions.iter().map(|e| e.created_ms).max().unwrap_or(0)
    }
}

impl Aws {
    /// Starts it with pipelines [`SHORT`], [`LONG`] and so many [`many`], and these faults.
    pub async fn start(pipelines: usize, faults: Value) -> Self {
        let directory = Directory::make();
        let names = [SHORT.to_owned(), LONG.to_owned()].into_iter().chain((0..pipelines).map(many));
        let pipelines: Vec<Value> = names.map(|name| pipeline(&name)).collect();
        let mut all = json!({
            "latency_ms": LATENCY.as_millis() as u64,
            "quota": 100_000,
            // Longer than any run of this program.
            "step_seconds": 86_400,
            "steps": {format!("{SHORT}/Train"): {"seconds": 0.2}},
        });
        for (name, fault) in faults.as_object().expect("faults are a map") {
            all[name] = fault.clone();
        }
        let scenario = directory.write("scenario.json", &json!({"pipelines": pipelines, "faults": all}).to_string());
        let address = free_address();
        let mut command = clean(BINARY, directory.path());
        command.args(["simulator", "--listen", &address, "--scenario"]).arg(scenario);
        let mut process = Process::start("simulator", &mut command, &directory);
        process.answers(&address, &wire::get("/admin/faults"), Duration::from_millis(20)).await;
        Self { address, _process: process, _directory: directory }
    }

    /// All that happened so far.
    pub async fn book(&self) -> Book {
        let text = wire::fetch(&self.address, &wire::get("/admin/book")).await.expect("the book can be had");
        serde_json::from_slice(&text).expect("the book is JSON")
    }

    /// Changes the faults: a JSON merge patch.
    pub async fn faults(&self, patch: Value) {
        wire::post_json(&self.address, "/admin/faults", &patch).await.expect("the faults can be set");
    }
}

fn pipeline(name: &str) -> Value {
    let parameters: Vec<Value> =
        PARAMETERS.iter().map(|(name, value)| json!({"Name": name, "Type": "String", "DefaultValue": value})).collect();
    let steps = [json!({"Name": "Train", "Type": "Training", "Arguments": {}})];
    let definition = json!({"Version": "2020-12-01", "Parameters": parameters, "Steps": steps});
    json!({"name": name, "region": REGION, "definition": definition})
}
