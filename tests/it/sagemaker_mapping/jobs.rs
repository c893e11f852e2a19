//! Jobs, logs and retries member by member: what is sent, and what an answer with or without its members says.

use awf_aws::pipelines::jobs::{JobKind, JobResults, LogLine, LogTail};
use serde_json::Value;

use super::*;
use crate::supervision::series;

fn describe_job(kind: JobKind) -> Call {
    Call::DescribeJob { kind, name: "job".into() }
}

async fn job(kind: JobKind, body: Value) -> JobResults {
    let stub = Stub::always(answer(200, body.to_string())).await;
    let CallReply::Job(job) = reply(&stub, describe_job(kind)).await else { panic!("a job was asked for") };
    job
}

fn tail(prefix: &str) -> Call {
    Call::LogTail { group: "/aws/sagemaker/TrainingJobs".into(), stream_prefix: prefix.into(), lines: 50 }
}

#[actix_rt::test]
async fn a_retry_and_an_update_send_what_they_were_given_and_no_more() {
    let stub = Stub::always(answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string())).await;
    let token = "r".repeat(64);
    let retry = |parallelism| Call::RetryExecution { arn: EXECUTION.into(), token: token.clone(), parallelism };
    assert_eq!(reply(&stub, retry(None)).await, CallReply::Retried { arn: EXECUTION.into() });
    reply(&stub, retry(Some(4))).await;
    let update = Call::UpdateExecution { arn: EXECUTION.into(), description: "d | awf-aws/1".into() };
    assert_eq!(reply(&stub, update).await, CallReply::Updated);
    let sent: Vec<_> = stub.asked().iter().map(|asked| (asked.operation.clone(), asked.json())).collect();
    let arn = json!({ "PipelineExecutionArn": EXECUTION, "ClientRequestToken": token });
    let mut four = arn.clone();
    four["ParallelismConfiguration"] = json!({ "MaxParallelExecutionSteps": 4 });
    let update = json!({ "PipelineExecutionArn": EXECUTION, "PipelineExecutionDescription": "d | awf-aws/1" });
    let retried = "RetryPipelineExecution".to_owned();
    assert_eq!(sent, [(retried.clone(), arn), (retried, four), ("UpdatePipelineExecution".to_owned(), update)]);
}

#[actix_rt::test]
async fn a_retry_that_names_no_execution_is_that_of_the_one_asked_for() {
    let stub = Stub::always(answer(200, "{}")).await;
    let retry = Call::RetryExecution { arn: EXECUTION.into(), token: "r".repeat(64), parallelism: None };
    assert_eq!(reply(&stub, retry).await, CallReply::Retried { arn: EXECUTION.into() });
}

#[actix_rt::test]
async fn an_answer_without_members_is_a_job_without_results() {
    for (kind, operation, member) in [
        (JobKind::Training, "DescribeTrainingJob", "TrainingJobName"),
        (JobKind::Processing, "DescribeProcessingJob", "ProcessingJobName"),
        (JobKind::Transform, "DescribeTransformJob", "TransformJobName"),
        (JobKind::Tuning, "DescribeHyperParameterTuningJob", "HyperParameterTuningJobName"),
        (JobKind::AutoMl, "DescribeAutoMLJobV2", "AutoMLJobName"),
    ] {
        let stub = Stub::always(answer(200, "{}")).await;
        let bare = JobResults { name: "job".into(), ..JobResults::default() };
        assert_eq!(reply(&stub, describe_job(kind)).await, CallReply::Job(bare));
        let asked = stub.asked().remove(0);
        assert_eq!((asked.operation.as_str(), asked.json()), (operation, json!({ member: "job" })));
    }
}

#[actix_rt::test]
async fn instances_are_counted_in_groups_and_as_sagemaker_chose_them() {
    for (cluster, expected) in [
        (json!({ "InstanceCount": 2, "VolumeSizeInGB": 1 }), 20),
        (json!({ "InstanceGroups": [{ "InstanceCount": 1 }, { "InstanceCount": 3 }], "VolumeSizeInGB": 1 }), 40),
        (json!({ "InstanceCount": 1, "SelectedInstanceCount": 5 }), 50),
        (json!({ "VolumeSizeInGB": 1 }), 10),
    ] {
        let found = job(JobKind::Training, json!({ "BillableTimeInSeconds": 10, "ResourceConfig": cluster })).await;
        assert_eq!(found.billable_seconds, Some(expected), "{cluster}");
    }
    let cluster = json!({ "ClusterConfig": { "InstanceCount": 1, "SelectedInstanceCount": 2 } });
    let body = json!({ "ProcessingStartTime": 10.0, "ProcessingEndTime": 12.5, "ProcessingResources": cluster });
    assert_eq!(job(JobKind::Processing, body).await.billable_seconds, Some(6));
}

#[actix_rt::test]
async fn the_best_job_of_a_tuning_is_placed_by_its_own_definition() {
    let definition = |name: &str, path: &str, compression: &str| json!({ "DefinitionName": name, "OutputDataConfig": { "S3OutputPath": path, "CompressionType": compression } });
    let best = |definition: Option<&str>| {
        json!({ "TrainingJobName": "best", "TrainingJobDefinitionName": definition,
                "FinalHyperParameterTuningJobObjectiveMetric": { "MetricName": "auc", "Value": 0.8 } })
    };
    let several = json!([definition("a", "s3://a", "GZIP"), definition("b", "s3://b/", "NONE")]);
    for (body, expected) in [
        (
            json!({ "BestTrainingJob": best(Some("b")), "TrainingJobDefinitions": several }),
            Some("s3://b/best/output/model/"),
        ),
        (
            json!({ "BestTrainingJob": best(None), "TrainingJobDefinition": { "OutputDataConfig": { "S3OutputPath": "s3://a" } } }),
            Some("s3://a/best/output/model.tar.gz"),
        ),
        (json!({ "BestTrainingJob": best(Some("c")), "TrainingJobDefinitions": several }), None),
        (json!({ "TrainingJobDefinitions": several }), None),
    ] {
        assert_eq!(job(JobKind::Tuning, body.clone()).await.model_artifacts.as_deref(), expected, "{body}");
    }
}

#[actix_rt::test]
async fn a_log_is_asked_for_by_prefix_and_read_from_its_end() {
    let streams = json!({ "logStreams": [
        { "logStreamName": "job/algo-1-17", "lastEventTimestamp": 5, "arn": "a" },
        { "logStreamName": "job/algo-2-17", "lastEventTimestamp": 9 },
        { "logStreamName": "job/algo-3-17/data-log", "lastEventTimestamp": 99 },
        { "logStreamName": "job/algo-4-17" },
        { "logStreamName": "job/algo-5-17", "lastEventTimestamp": 9 },
    ] });
    let events =
        json!({ "events": [{ "timestamp": 7, "message": "one\r" }, { "message": "two" }], "nextBackwardToken": "b/1" });
    let stub = Stub::start(move |asked, _| match asked.operation.as_str() {
        "DescribeLogStreams" => answer(200, streams.to_string()),
        _ => answer(200, events.to_string()),
    })
    .await;
    let line = |at, text: &str| LogLine { at: Time::at(at), text: text.into() };
    let expected = LogTail { stream: Some("job/algo-2-17".into()), lines: vec![line(7, "one\r"), line(0, "two")] };
    assert_eq!(reply(&stub, tail("job/")).await, CallReply::LogTail(expected));
    let asked = stub.asked();
    assert_eq!(asked.len(), 2);
    let group = "/aws/sagemaker/TrainingJobs";
    assert_eq!(asked[0].json(), json!({ "logGroupName": group, "logStreamNamePrefix": "job/", "limit": 50 }));
    let read = json!({ "logGroupName": group, "logStreamName": "job/algo-2-17", "limit": 50, "startFromHead": false });
    assert_eq!(asked[1].json(), read);
    assert!(asked[1].head.contains("/eu-west-1/logs/aws4_request"), "signed for its own service: {}", asked[1].head);
}

#[actix_rt::test]
async fn an_empty_last_page_is_followed_once() {
    let stub = Stub::start(|asked, before| match (asked.operation.as_str(), before) {
        ("DescribeLogStreams", _) => answer(200, r#"{"logStreams":[{"logStreamName":"job/algo-1-17"}]}"#),
        (_, 1) => answer(200, r#"{"events":[],"nextBackwardToken":"b/9"}"#),
        (_, 2) => answer(200, r#"{"events":[{"timestamp":1,"message":"why"}],"nextBackwardToken":"b/1"}"#),
        _ => answer(200, r#"{"events":[],"nextBackwardToken":"b/0"}"#),
    })
    .await;
    let lines = |lines| CallReply::LogTail(LogTail { stream: Some("job/algo-1-17".into()), lines });
    assert_eq!(reply(&stub, tail("job/")).await, lines(vec![LogLine { at: Time::at(1), text: "why".into() }]));
    assert_eq!(stub.asked()[2].json()["nextToken"], "b/9");
    // A stream without a line is no reason to go on for ever.
    assert_eq!(reply(&stub, tail("job/")).await, lines(Vec::new()));
    assert_eq!(stub.asked().len(), 6);
}

#[actix_rt::test]
async fn no_stream_is_an_empty_log_and_no_group_is_not_found() {
    for body in ["{}", r#"{"logStreams":[]}"#, r#"{"logStreams":[{"creationTime":1}]}"#] {
        let stub = Stub::always(answer(200, body)).await;
        assert_eq!(reply(&stub, tail("job/")).await, CallReply::LogTail(LogTail::default()));
        assert_eq!(stub.operations(), ["DescribeLogStreams"]);
    }
    let stub = Stub::always(refusal("ResourceNotFoundException", "The specified log group does not exist.")).await;
    assert_eq!(failure(&stub, tail("job/")).await.kind, Kind::NotFound);
}

#[actix_rt::test]
async fn a_failed_log_names_its_service_and_the_operation_that_failed() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let sagemaker = SageMaker::with_config(sdk(&refused, keys()).await, no_metrics());
    let failed = sagemaker.call(plain(), tail("job/")).await.result.expect_err("nobody is there");
    assert_eq!(failed.kind, Kind::Unreachable);
    assert!(failed.message.contains("cannot reach CloudWatch Logs in eu-west-1"), "{failed:?}");
    let stub = Stub::start(|asked, _| match asked.operation.as_str() {
        "DescribeLogStreams" => answer(200, r#"{"logStreams":[{"logStreamName":"job/algo-1-17"}]}"#),
        _ => answer(200, "<html>log in</html>"),
    })
    .await;
    let failed = failure(&stub, tail("job/")).await;
    assert_eq!(failed.kind, Kind::OutcomeUnknown);
    assert!(failed.message.contains("GetLogEvents: CloudWatch Logs in eu-west-1"), "{failed:?}");
}

#[actix_rt::test]
async fn attempts_of_both_operations_of_a_log_are_counted_under_their_own_names() {
    let stub = Stub::start(|asked, before| match (asked.operation.as_str(), before) {
        (_, 0 | 2) => refusal("ThrottlingException", "Rate exceeded"),
        ("DescribeLogStreams", _) => answer(200, r#"{"logStreams":[{"logStreamName":"job/algo-1-17"}]}"#),
        _ => answer(200, r#"{"events":[]}"#),
    })
    .await;
    let metrics = no_metrics();
    let sagemaker = SageMaker::with_config(sdk(&stub.url, keys()).await, metrics.clone());
    sagemaker.call(plain(), tail("job/")).await.result.expect("the second tries");
    for operation in ["DescribeLogStreams", "GetLogEvents"] {
        for what in ["retries", "throttles"] {
            let name = format!("awf_aws_aws_api_{what}_total{{operation=\"{operation}\"}}");
            assert!(series(&metrics, &name) == 1.0, "{name}");
        }
    }
}
