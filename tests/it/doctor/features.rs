//! What `--with` asks for: each operation is looked at, and only what is missing is printed.

use serde_json::json;

use super::Pod;

#[actix_rt::test]
async fn one_missing_operation_of_a_feature_is_named() {
    for (operation, with, check, action) in [
        ("UpdatePipelineExecution", "resume", "resume", "sagemaker:UpdatePipelineExecution"),
        ("GetLogEvents", "logs", "job-logs", "logs:GetLogEvents"),
        ("DescribeLogStreams", "logs", "job-logs", "logs:DescribeLogStreams"),
        ("DescribeAutoMLJobV2", "results", "job-results", "sagemaker:DescribeAutoMLJobV2"),
    ] {
        let mut pod = Pod::new().await;
        pod.flag("--kubernetes=off");
        pod.flag(format!("--with={with}"));
        let well = pod.report().await;
        assert_eq!(well.check(check)["verdict"], "well", "{:#}", well.object);
        pod.simulator.faults(json!({"deny": {operation: "always"}})).await;
        let broken = pod.broken(check).await;
        broken.says(action);
        assert_eq!(broken.0["fix"]["documents"].as_array().unwrap().len(), 1, "only what is missing: {}", broken.0);
        assert!(broken.commands().iter().any(|command| command.contains(&format!(" --with {with} >"))), "{}", broken.0);
    }
}
