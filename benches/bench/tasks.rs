//! The requests: what Argo's agent sends for a node of the shipped WorkflowTemplate, after substitution.

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Where everything is.
pub const REGION: &str = "us-west-2";
/// A pipeline whose executions end at once.
pub const SHORT: &str = "Short";
/// A pipeline whose executions outlive the benchmark unless a row says otherwise.
pub const LONG: &str = "Long";
/// The pipelines' parameters, which every node gives.
pub const PARAMETERS: [(&str, &str); 2] =
    [("InputData", "s3://ml-data-us-west-2/churn/2026-11-29/train.parquet"), ("LearningRate", "0.1")];

/// The name of one of many pipelines.
pub fn many(number: usize) -> String {
    format!("Many{number}")
}

/// The request of one node of a workflow that was created now, as JSON.
pub fn execute(workflow: &str, node: usize, pipeline: &str) -> Value {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).expect("zero is a number of nanoseconds");
    let created = now.format(&Rfc3339).expect("a time can be written as in RFC 3339");
    let parameters: Map<String, Value> =
        PARAMETERS.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let supplied = |name: &str| json!({"name": name, "valueFrom": {"supplied": {}}});
    json!({
        "workflow": {"metadata": {"name": workflow, "namespace": "ml", "uid": format!("uid-of-{workflow}")}},
        "template": {
            "name": "execute-pipeline",
            "inputs": {},
            "outputs": {"parameters": [supplied("execution-arn"), supplied("status"), supplied("failure-reason")]},
            "metadata": {},
            "plugin": {"awf-aws-plugin": {
                "action": "execute",
                "account_id": "100000000002",
                "region_name": REGION,
                "pipeline_name": pipeline,
                "parameters": parameters,
                "execution_key": format!("{workflow}.fan-out({node}:{node}).execute-pipeline"),
                "attempt": "0",
                "workflow_created": created,
            }},
        },
    })
}

/// So many nodes of one workflow and one pipeline.
pub fn nodes(workflow: &str, count: usize, pipeline: &str) -> Vec<Value> {
    (0..count).map(|node| execute(workflow, node, pipeline)).collect()
}
