//! What is sent and what is read: requests member by member, responses with and without theirs.

use super::*;

#[actix_rt::test]
async fn two_tries_carry_the_same_body() {
    let stub = Stub::start(|_, before| match before {
        0 => Reply::CloseSilently,
        _ => answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string()),
    })
    .await;
    assert_eq!(reply(&stub, start()).await, CallReply::Started { arn: EXECUTION.into() });
    let asked = stub.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, asked[1].body);
}

#[actix_rt::test]
async fn a_start_sends_everything_it_was_given() {
    let stub = Stub::always(answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string())).await;
    reply(&stub, start()).await;
    let asked = stub.asked().remove(0);
    assert_eq!(asked.operation, "StartPipelineExecution");
    assert_eq!(
        asked.json(),
        json!({
            "PipelineName": "train",
            "PipelineExecutionDisplayName": "wf-0123456789ab-0",
            "PipelineParameters": [{ "Name": "Zeta", "Value": "1" }, { "Name": "Alpha", "Value": "two words" }],
            "PipelineExecutionDescription": "text | awf-aws/1 ns=a",
            "ClientRequestToken": "t".repeat(64),
            "ParallelismConfiguration": { "MaxParallelExecutionSteps": 3 },
            "SelectiveExecutionConfig": {
                "SourcePipelineExecutionArn": EXECUTION,
                "SelectedSteps": [{ "StepName": "a" }, { "StepName": "b" }],
            },
            "PipelineVersionId": 7,
        })
    );
}

#[actix_rt::test]
async fn a_plain_start_sends_no_empty_members() {
    let stub = Stub::always(answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string())).await;
    let plain_start = StartExecution {
        pipeline: "train".into(),
        token: "t".repeat(64),
        display_name: "n".into(),
        description: "d".into(),
        parameters: vec![],
        version: None,
        max_parallel_steps: None,
        selective: None,
    };
    reply(&stub, Call::StartExecution(Box::new(plain_start))).await;
    assert_eq!(
        stub.asked()[0].json(),
        json!({
            "PipelineName": "train",
            "PipelineExecutionDisplayName": "n",
            "PipelineExecutionDescription": "d",
            "ClientRequestToken": "t".repeat(64),
        })
    );
}

#[actix_rt::test]
async fn a_stop_carries_its_token() {
    let stub = Stub::always(answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string())).await;
    let call = Call::StopExecution { arn: EXECUTION.into(), token: "s".repeat(64) };
    assert_eq!(reply(&stub, call).await, CallReply::Stopping);
    let asked = stub.asked().remove(0);
    assert_eq!(asked.operation, "StopPipelineExecution");
    assert_eq!(asked.json(), json!({ "PipelineExecutionArn": EXECUTION, "ClientRequestToken": "s".repeat(64) }));
}

#[actix_rt::test]
async fn a_pipeline_is_described_with_its_definition() {
    let stub = Stub::always(answer(
        200,
        json!({
            "PipelineArn": "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/train", "PipelineStatus": "Active",
            "LastModifiedTime": 1795295298.428, "PipelineDefinition": "{\"Steps\":[]}",
        })
        .to_string(),
    ))
    .await;
    let call = Call::DescribePipeline { pipeline: "train".into(), version: Some(2) };
    let CallReply::Pipeline(pipeline) = reply(&stub, call).await else { panic!("a pipeline was asked for") };
    assert_eq!(pipeline.arn, "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/train");
    assert_eq!(pipeline.status, "Active");
    assert_eq!(pipeline.last_modified, Some(Time::at(1_795_295_298_428)));
    assert_eq!(pipeline.definition, "{\"Steps\":[]}");
    assert_eq!(stub.asked()[0].json(), json!({ "PipelineName": "train", "PipelineVersionId": 2 }));
}

#[actix_rt::test]
async fn listing_passes_paging_tokens_through_and_asks_newest_first() {
    let line = |id: &str, status: &str| {
        json!({ "PipelineExecutionArn": id, "PipelineExecutionStatus": status, "StartTime": 1795295298.5,
                "PipelineExecutionDescription": "d", "PipelineExecutionFailureReason": "" })
    };
    let body = json!({
        "PipelineExecutionSummaries": [line("arn:1", "Succeeded"), { "StartTime": 1 }, line("arn:2", "Hibernating")],
        "NextToken": "page-3",
    });
    let stub = Stub::start(move |_, before| match before {
        0 => answer(200, body.to_string()),
        _ => answer(200, r#"{"PipelineExecutionSummaries":[],"NextToken":""}"#),
    })
    .await;
    let sagemaker = backend(&stub).await;
    let list = |next_token: Option<&str>| Call::ListExecutions {
        pipeline: "train".into(),
        created_after: Some(Time::at(1_795_000_000_250)),
        next_token: next_token.map(str::to_owned),
    };
    let second = sagemaker.call(plain(), list(Some("page-2"))).await.result.unwrap();
    let CallReply::Executions { page, next_token } = second else { panic!("a page was asked for") };
    assert_eq!(
        page.iter().map(|e| e.arn.as_str()).collect::<Vec<_>>(),
        ["arn:1", "arn:2"],
        "a line without ARN is no use"
    );
    assert_eq!(page[0].created, Some(Time::at(1_795_295_298_500)));
    assert_eq!((page[0].modified, page[0].failure_reason.as_deref()), (None, None));
    assert_eq!(page[1].status, Status::Unknown("Hibernating".into()));
    assert!(page[1].status.is_live());
    assert_eq!(next_token.as_deref(), Some("page-3"));
    assert_eq!(
        stub.asked()[0].json(),
        json!({ "PipelineName": "train", "CreatedAfter": 1795000000.25, "SortBy": "CreationTime", "SortOrder": "Descending",
                "NextToken": "page-2", "MaxResults": 100 })
    );
    let last = sagemaker.call(plain(), list(None)).await.result.unwrap();
    assert_eq!(last, CallReply::Executions { page: vec![], next_token: None });
}

#[actix_rt::test]
async fn pipelines_are_listed_with_the_time_of_their_last_execution() {
    let body = json!({
        "PipelineSummaries": [
            { "PipelineName": "train", "LastExecutionTime": 1795295298.5 }, { "PipelineName": "new" }, { "RoleArn": "r" },
        ],
        "NextToken": "page-2",
    });
    let stub = Stub::start(move |_, _| answer(200, body.to_string())).await;
    let sagemaker = backend(&stub).await;
    let result = sagemaker.call(plain(), Call::ListPipelines { next_token: None }).await.result.unwrap();
    let line = |name: &str, last_started| PipelineSummary { name: name.into(), last_started };
    let page = vec![line("train", Some(Time::at(1_795_295_298_500))), line("new", None)];
    assert_eq!(result, CallReply::Pipelines { page, next_token: Some("page-2".into()) });
    assert_eq!(stub.asked()[0].json(), json!({ "MaxResults": 100 }));
}

#[actix_rt::test]
async fn an_execution_with_missing_members_counts_as_running() {
    let stub = Stub::always(answer(200, "{}")).await;
    let call = Call::DescribeExecution { arn: EXECUTION.into() };
    let CallReply::Execution(execution) = reply(&stub, call).await else { panic!("an execution was asked for") };
    assert_eq!(execution.arn, EXECUTION);
    assert!(execution.status.is_live());
}

#[actix_rt::test]
async fn every_status_word_is_kept() {
    for word in ["Executing", "Stopping", "Stopped", "Failed", "Succeeded", "CompletedWithFailures", "Hibernating"] {
        let body = json!({ "PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": word, "FailureReason": "why",
                           "CreationTime": 1.5, "LastModifiedTime": 2, "PipelineExecutionDescription": "d",
                           "CreatedBy": { "UserProfileArn": "arn:profile/d-1/me" } });
        let stub = Stub::always(answer(200, body.to_string())).await;
        let call = Call::DescribeExecution { arn: EXECUTION.into() };
        let CallReply::Execution(execution) = reply(&stub, call).await else { panic!("an execution was asked for") };
        assert_eq!(execution.status, Status::parse(word));
        assert_eq!(execution.status.as_str(), word);
        assert_eq!((execution.created, execution.modified), (Some(Time::at(1500)), Some(Time::at(2000))));
        assert_eq!(execution.failure_reason.as_deref(), Some("why"));
        assert_eq!(execution.started_by.as_deref(), Some("arn:profile/d-1/me"));
    }
}

#[actix_rt::test]
async fn steps_tell_their_kind_job_and_outputs() {
    let rows = [
        (json!({ "TrainingJob": { "Arn": "a:training" } }), Some("TrainingJob"), Some("a:training")),
        (json!({ "ProcessingJob": { "Arn": "a:processing" } }), Some("ProcessingJob"), Some("a:processing")),
        (json!({ "RegisterModel": { "Arn": "a:package/1" } }), Some("RegisterModel"), Some("a:package/1")),
        (json!({ "AutoMLJob": { "Arn": "a:automl" } }), Some("AutoMLJob"), Some("a:automl")),
        (json!({ "QualityCheck": { "CheckJobArn": "a:check" } }), Some("QualityCheck"), Some("a:check")),
        (json!({ "ClarifyCheck": {} }), Some("ClarifyCheck"), None),
        (json!({ "EMR": { "ClusterId": "j-1", "StepId": "s-1" } }), Some("EMR"), None),
        (json!({ "EMRServerless": {} }), Some("EMRServerless"), None),
        (json!({ "Condition": { "Outcome": "True" } }), Some("Condition"), None),
        (json!({ "ForEach": {} }), Some("ForEach"), None),
        (json!({ "HubContent": { "HubArn": "newer than the SDK" } }), None, None),
        (json!({}), None, None),
    ];
    let steps: Vec<_> = rows
        .iter()
        .map(|(metadata, ..)| json!({ "StepName": "s", "StepStatus": "Executing", "Metadata": metadata }))
        .chain([
            json!({ "StepName": "l", "StepStatus": "Succeeded", "StartTime": 1, "EndTime": 2.25, "Metadata": { "Lambda": {
                "Arn": "a:lambda", "OutputParameters": [{ "Name": "n", "Value": "v" }] } } }),
            json!({ "StepName": "c", "Metadata": { "Callback": {
                "CallbackToken": "tok", "OutputParameters": [{ "Name": "x", "Value": "y" }] } } }),
            json!({ "StepName": "i", "Metadata": { "Condition": { "Outcome": "False" } } }),
            json!({ "StepName": "q", "Metadata": { "QualityCheck": { "CheckJobArn": "a:check", "ViolationReport": "s3://v",
                "CalculatedBaselineStatistics": "s3://s", "CalculatedBaselineConstraints": "s3://c" } } }),
            json!({ "StepName": "k", "Metadata": { "ClarifyCheck": { "CalculatedBaselineConstraints": "s3://c",
                "ViolationReport": "" } } }),
            json!({ "StepName": "f", "StepStatus": "Failed", "Metadata": { "Fail": { "ErrorMessage": "too bad a model" } } }),
            json!({ "StepName": "g", "StepStatus": "Failed", "FailureReason": "ClientError" }),
            json!({}),
        ])
        .collect();
    let body = json!({ "PipelineExecutionSteps": steps, "NextToken": "more" });
    let stub = Stub::always(answer(200, body.to_string())).await;
    let call = Call::ListSteps { arn: EXECUTION.into(), next_token: Some("page-2".into()) };
    let CallReply::Steps { page, next_token } = reply(&stub, call).await else { panic!("steps were asked for") };
    assert_eq!(next_token.as_deref(), Some("more"));
    assert_eq!(
        stub.asked()[0].json(),
        json!({ "PipelineExecutionArn": EXECUTION, "NextToken": "page-2", "MaxResults": 100 })
    );
    for ((metadata, kind, arn), step) in rows.iter().zip(&page) {
        assert_eq!((step.kind.as_deref(), step.job_arn.as_deref()), (*kind, *arn), "{metadata}");
    }
    let [lambda, callback, condition, check, clarify, fail, failed, bare] = &page[rows.len()..] else {
        panic!("eight more steps")
    };
    let told = |step: &awf_aws::pipelines::Step| {
        step.outputs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(told(condition), ["outcome=False"]);
    assert_eq!(
        told(check),
        ["violation-report=s3://v", "calculated-statistics=s3://s", "calculated-constraints=s3://c"]
    );
    assert_eq!(told(clarify), ["calculated-constraints=s3://c"], "an empty text is none");
    assert_eq!(lambda.outputs, [("n".to_owned(), "v".to_owned())]);
    assert_eq!((lambda.kind.as_deref(), lambda.job_arn.as_deref()), (Some("Lambda"), Some("a:lambda")));
    assert_eq!((lambda.started, lambda.ended), (Some(Time::at(1000)), Some(Time::at(2250))));
    assert_eq!(callback.outputs, [("x".to_owned(), "y".to_owned())]);
    assert_eq!(fail.failure_reason.as_deref(), Some("too bad a model"));
    assert_eq!(failed.failure_reason.as_deref(), Some("ClientError"));
    assert_eq!((bare.name.as_str(), bare.kind.as_deref()), ("", None));
}
