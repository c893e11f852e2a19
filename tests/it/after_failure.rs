//! What helps after a failure, by the real SDK against the simulated AWS: the retry, the description, jobs and their logs.

use std::{sync::Arc, time::Duration};

use awf_aws::{
    backend::{Backend as _, sagemaker::SageMaker},
    links::job_log,
    logs,
    metrics::Metrics,
    pipelines::{
        Call, CallError, CallErrorKind as Kind, CallReply, ClientKey, Status, Step, Time,
        jobs::{JobKind, JobResults, LogTail},
    },
    simulator::{book::Book, door},
};
use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    process::{LOOK, PATIENCE},
    simulator::{Simulator, failing, quick},
};

const REASON: &str = "ValueError: Input contains NaN, infinity or a value too large for dtype('float64').";

fn client() -> ClientKey {
    ClientKey { region: "us-west-2".to_owned(), role_arn: None, external_id: None }
}

struct Aws {
    simulator: Simulator,
    sagemaker: SageMaker,
}

impl Aws {
    async fn with(simulator: Simulator) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-west-2"))
            .endpoint_url(&simulator.endpoint)
            .credentials_provider(Credentials::new("testing", "testing", None, None, "test"))
            .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1)))
            .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
            .load()
            .await;
        let metrics = Arc::new(Metrics::new().expect("the catalogue is in order"));
        Self { simulator, sagemaker: SageMaker::with_config(config, metrics) }
    }

    /// One step `Train` that always fails.
    async fn failed() -> (Self, String) {
        let aws = Self::with(Simulator::with_pipeline(failing("Train", "AlgorithmError"), &["Train"]).await).await;
        let arn = aws.simulator.start_described("first").await;
        aws.until(&arn, "Failed").await;
        (aws, arn)
    }

    async fn try_call(&self, call: Call) -> Result<CallReply, CallError> {
        self.sagemaker.call(client(), call).await.result
    }

    async fn call(&self, call: Call) -> CallReply {
        let operation = call.operation();
        self.try_call(call).await.unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    async fn failure(&self, call: Call) -> CallError {
        self.try_call(call).await.expect_err("it is refused")
    }

    async fn until(&self, arn: &str, status: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.simulator.status(arn).await != status {
            assert!(Instant::now() < deadline, "{arn} is never {status}");
            sleep(LOOK).await;
        }
    }

    async fn steps(&self, arn: &str) -> Vec<Step> {
        let call = Call::ListSteps { arn: arn.to_owned(), next_token: None };
        let CallReply::Steps { page, .. } = self.call(call).await else { panic!("steps were asked for") };
        page
    }

    /// The ARN of a step's job.
    async fn job(&self, arn: &str, step: &str) -> String {
        let steps = self.steps(arn).await;
        let found = steps.into_iter().find(|found| found.name == step).expect("there is such a step");
        found.job_arn.expect("it has a job")
    }

    async fn described(&self, job: &str) -> JobResults {
        let (kind, name) = JobKind::of_arn(job).expect("it is a job's ARN");
        let reply = self.call(Call::DescribeJob { kind, name: name.to_owned() }).await;
        let CallReply::Job(results) = reply else { panic!("a job was asked for: {reply:?}") };
        results
    }

    async fn tail(&self, job: &str, lines: u16) -> LogTail {
        let reply = self.call(tail_of(job, lines)).await;
        let CallReply::LogTail(tail) = reply else { panic!("a log was asked for: {reply:?}") };
        tail
    }
}

fn tail_of(job: &str, lines: u16) -> Call {
    let (group, stream_prefix) = job_log(job).expect("it has a log");
    Call::LogTail { group, stream_prefix, lines }
}

fn retry(arn: &str, token: char) -> Call {
    Call::RetryExecution { arn: arn.to_owned(), token: token.to_string().repeat(64), parallelism: Some(2) }
}

fn texts(tail: &LogTail) -> Vec<&str> {
    tail.lines.iter().map(|line| line.text.as_str()).collect()
}

#[actix_rt::test]
async fn a_retried_execution_is_the_same_one_and_its_token_retries_once() {
    let (aws, arn) = Aws::failed().await;
    aws.simulator.faults(json!({"steps": {"Train": {"fail": 0}}, "step_seconds": 3600})).await;
    assert_eq!(aws.call(retry(&arn, 'a')).await, CallReply::Retried { arn: arn.clone() });
    assert_eq!(aws.simulator.status(&arn).await, "Executing");
    assert_eq!(aws.call(retry(&arn, 'a')).await, CallReply::Retried { arn: arn.clone() }, "a repetition is no news");
    // Another token means another retry, and nothing has failed.
    assert_eq!(aws.failure(retry(&arn, 'b')).await.kind, Kind::Invalid);
    let shown = aws.simulator.expect("DescribePipelineExecution", json!({"PipelineExecutionArn": arn})).await;
    assert_eq!(shown["ParallelismConfiguration"], json!({"MaxParallelExecutionSteps": 2}));
}

#[actix_rt::test]
async fn the_description_is_replaced_and_nothing_else() {
    let (aws, arn) = Aws::failed().await;
    let call = Call::UpdateExecution { arn: arn.clone(), description: "second | awf-aws/1".to_owned() };
    assert!(call.is_write());
    assert_eq!(aws.call(call).await, CallReply::Updated);
    let reply = aws.call(Call::DescribeExecution { arn: arn.clone() }).await;
    let CallReply::Execution(shown) = reply else { panic!("an execution was asked for") };
    assert_eq!((shown.description.as_deref(), shown.status), (Some("second | awf-aws/1"), Status::Failed));
}

/// One step of each type that is a job, with results; the definition says where they go.
async fn all_jobs() -> (Aws, String) {
    let faults = json!({"step_seconds": 0.2, "steps": {
        "Train": {"metrics": {"validation:auc": 0.91, "loss": 0.5}}, "Tune": {"metrics": {"auc": 0.8}},
        "Auto": {"metrics": {"F1": 0.7}},
    }});
    let steps = json!([
        {"Name": "Train", "Type": "Training", "Arguments": {
            "OutputDataConfig": {"S3OutputPath": "s3://models/a"}, "ResourceConfig": {"InstanceCount": 3},
        }},
        {"Name": "Process", "Type": "Processing", "Arguments": {
            "ProcessingOutputConfig": {"Outputs": [
                {"OutputName": "train", "S3Output": {"S3Uri": "s3://data/train"}},
                {"OutputName": "features", "FeatureStoreOutput": {"FeatureGroupName": "g"}},
                {"OutputName": "test", "S3Output": {"S3Uri": "s3://data/test"}},
            ]},
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": 2}},
        }},
        {"Name": "Transform", "Type": "Transform", "Arguments": {"TransformOutput": {"S3OutputPath": "s3://scores/"}}},
        {"Name": "Tune", "Type": "Tuning", "Arguments": {
            "HyperParameterTuningJobConfig": {"ResourceLimits": {"MaxNumberOfTrainingJobs": 3}},
            "TrainingJobDefinition": {"OutputDataConfig": {"S3OutputPath": "s3://tuned/"}},
        }},
        {"Name": "Auto", "Type": "AutoML", "Arguments": {"OutputDataConfig": {"S3OutputPath": "s3://auto"}}},
    ]);
    let definition = json!({"Version": "2020-12-01", "Parameters": [], "Steps": steps}).to_string();
    let scenario = json!({"faults": faults, "pipelines": [{
        "name": "MyPipeline", "region": "us-west-2", "definition": serde_json::from_str::<Value>(&definition).unwrap(),
    }]});
    let aws = Aws::with(Simulator::start(scenario).await).await;
    let arn = aws.simulator.start_described("all").await;
    aws.until(&arn, "Succeeded").await;
    (aws, arn)
}

#[actix_rt::test]
async fn every_type_of_job_tells_what_it_came_to() {
    let (aws, arn) = all_jobs().await;
    let named = |metrics: &[(&str, f32)]| metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let places = |all: &[(&str, &str)]| {
        all.iter().map(|(name, uri)| ((*name).to_owned(), (*uri).to_owned())).collect::<Vec<_>>()
    };

    let job = aws.job(&arn, "Train").await;
    let name = job.rsplit('/').next().unwrap().to_owned();
    let mut train = aws.described(&job).await;
    train.metrics.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = JobResults {
        model_artifacts: Some(format!("s3://models/a/{name}/output/model.tar.gz")),
        metrics: named(&[("loss", 0.5), ("validation:auc", 0.91)]),
        // A begun second of three instances.
        billable_seconds: Some(3),
        name,
        outputs: Vec::new(),
    };
    assert_eq!(train, expected);
    assert_eq!(train.metrics[1].1.to_string(), "0.91", "as it was written, not as 64 bits of it");

    let process = aws.described(&aws.job(&arn, "Process").await).await;
    assert_eq!(process.outputs, places(&[("train", "s3://data/train"), ("test", "s3://data/test")]));
    assert_eq!((process.billable_seconds, process.model_artifacts), (Some(2), None));

    let transform = aws.described(&aws.job(&arn, "Transform").await).await;
    assert_eq!((transform.outputs, transform.billable_seconds), (places(&[("transform", "s3://scores/")]), Some(1)));

    let job = aws.job(&arn, "Tune").await;
    let tune = aws.described(&job).await;
    let shown = aws
        .simulator
        .expect("DescribeHyperParameterTuningJob", json!({"HyperParameterTuningJobName": tune.name}))
        .await;
    let best = shown["BestTrainingJob"]["TrainingJobName"].as_str().unwrap();
    let trained = aws.simulator.expect("DescribeTrainingJob", json!({"TrainingJobName": best})).await;
    assert_eq!(tune.model_artifacts.as_deref(), trained["ModelArtifacts"]["S3ModelArtifacts"].as_str());
    assert_eq!((tune.metrics, tune.billable_seconds), (named(&[("auc", 0.8)]), None));

    let auto = aws.described(&aws.job(&arn, "Auto").await).await;
    assert!(auto.model_artifacts.as_ref().unwrap().starts_with(&format!("s3://auto/{}/", auto.name)), "{auto:?}");
    assert_eq!(auto.metrics, named(&[("F1", 0.7)]));
}

#[actix_rt::test]
async fn a_failed_jobs_log_ends_with_the_reason() {
    let (aws, arn) = Aws::failed().await;
    let job = aws.job(&arn, "Train").await;
    let tail = aws.tail(&job, 50).await;
    let name = job.rsplit('/').next().unwrap();
    assert!(tail.stream.as_ref().unwrap().starts_with(&format!("{name}/algo-1-")), "{tail:?}");
    assert!(tail.lines.windows(2).all(|two| two[0].at <= two[1].at) && tail.lines[0].at > Time::at(1_700_000_000_000));
    assert_eq!(texts(&tail)[tail.lines.len() - 1], "Command \"/usr/bin/python3 train.py\"");
    assert_eq!(logs::reason(&tail.lines, 250).as_deref(), Some(REASON));
    // The end, not the beginning.
    let short = aws.tail(&job, 2).await;
    assert_eq!(texts(&short), texts(&tail)[tail.lines.len() - 2..]);
}

#[actix_rt::test]
async fn a_job_that_nobody_knows_is_not_found_and_its_log_is_empty() {
    let (aws, _) = all_jobs().await;
    for kind in [JobKind::Training, JobKind::Processing, JobKind::Transform, JobKind::Tuning, JobKind::AutoMl] {
        let failed = aws.failure(Call::DescribeJob { kind, name: "pipelines-nobody".to_owned() }).await;
        assert_eq!(failed.kind, Kind::NotFound, "{kind:?}: {failed:?}");
    }
    let nowhere = "arn:aws:sagemaker:us-west-2:100000000002:training-job/pipelines-nobody";
    assert_eq!(aws.tail(nowhere, 50).await, LogTail::default());
    // A group that no job of this account has written to yet is none.
    let call = Call::LogTail { group: "/aws/sagemaker/Nothing".into(), stream_prefix: "a/".into(), lines: 50 };
    assert_eq!(aws.failure(call).await.kind, Kind::NotFound);
    let gone = format!("{}x", "arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline/execution/nobody");
    for call in [retry(&gone, 'a'), Call::UpdateExecution { arn: gone.clone(), description: "d".into() }] {
        assert_eq!(aws.failure(call).await.kind, Kind::NotFound);
    }
}

#[actix_rt::test]
async fn each_missing_permission_is_a_denial_of_its_own_name() {
    let (aws, arn) = all_jobs().await;
    let train = aws.job(&arn, "Train").await;
    let update = || Call::UpdateExecution { arn: arn.clone(), description: "d".to_owned() };
    let describe = |kind| Call::DescribeJob { kind, name: "pipelines-any".to_owned() };
    for (operation, service, call) in [
        ("RetryPipelineExecution", "sagemaker", retry(&arn, 'a')),
        ("UpdatePipelineExecution", "sagemaker", update()),
        ("DescribeTrainingJob", "sagemaker", describe(JobKind::Training)),
        ("DescribeProcessingJob", "sagemaker", describe(JobKind::Processing)),
        ("DescribeTransformJob", "sagemaker", describe(JobKind::Transform)),
        ("DescribeHyperParameterTuningJob", "sagemaker", describe(JobKind::Tuning)),
        ("DescribeAutoMLJobV2", "sagemaker", describe(JobKind::AutoMl)),
        ("DescribeLogStreams", "logs", tail_of(&train, 10)),
        ("GetLogEvents", "logs", tail_of(&train, 10)),
    ] {
        aws.simulator.faults(json!({"deny": {operation: "always"}})).await;
        let failed = aws.failure(call.clone()).await;
        assert_eq!(failed.kind, Kind::Denied, "{operation}: {failed:?}");
        assert!(failed.message.contains(&format!("{service}:{operation}")), "{failed:?}");
        aws.simulator.faults(json!({"deny": {operation: null}, "throttle": {operation: 9}})).await;
        assert_eq!(aws.failure(call).await.kind, Kind::Throttled, "{operation}");
        aws.simulator.faults(json!({"throttle": {operation: null}})).await;
    }
}

#[actix_rt::test]
async fn a_lost_reply_of_a_retry_leaves_open_whether_it_was_retried() {
    let (aws, arn) = Aws::failed().await;
    aws.simulator.faults(json!({"lose_reply": {"RetryPipelineExecution": "always"}, "step_seconds": 3600})).await;
    assert_eq!(aws.failure(retry(&arn, 'a')).await.kind, Kind::OutcomeUnknown);
    assert_eq!(aws.simulator.status(&arn).await, "Executing", "it was");
}

#[actix_rt::test]
async fn both_doors_of_the_simulator_tell_the_same_of_a_job() {
    // The same scenario twice: what is random in ARNs follows from the seed.
    let scenario = || {
        let mut scenario = failing("Train", "AlgorithmError");
        scenario["seed"] = 7.into();
        let step = json!({"Name": "Train", "Type": "Training", "Arguments": {}});
        let definition = json!({"Version": "2020-12-01", "Parameters": [], "Steps": [step]});
        scenario["pipelines"] = json!([{"name": "MyPipeline", "region": "us-west-2", "definition": definition}]);
        scenario
    };
    let aws = Aws::with(Simulator::start(scenario()).await).await;
    let arn = aws.simulator.start_described("d").await;
    aws.until(&arn, "Failed").await;
    let job = aws.job(&arn, "Train").await;
    let (results, tail) = (aws.described(&job).await, aws.tail(&job, 5).await);

    let start = Time::at(1_800_000_000_000);
    let mut book = Book::new(serde_json::from_value(scenario()).unwrap(), start).unwrap();
    let mut ask = |call: &Call, seconds: u64| {
        let now = start.plus(Duration::from_secs(seconds));
        door::ask(&mut book, "testing", &client(), call, now).result
    };
    let begin = Call::StartExecution(Box::new(awf_aws::pipelines::StartExecution {
        pipeline: "MyPipeline".into(),
        token: "t".repeat(64),
        display_name: "n".into(),
        description: "d".into(),
        parameters: Vec::new(),
        version: None,
        max_parallel_steps: None,
        selective: None,
    }));
    let Ok(CallReply::Started { arn }) = ask(&begin, 0) else { panic!("it starts") };
    let Ok(CallReply::Steps { page, .. }) = ask(&Call::ListSteps { arn: arn.clone(), next_token: None }, 60) else {
        panic!("it has steps")
    };
    let job = page[0].job_arn.clone().unwrap();
    let (kind, name) = JobKind::of_arn(&job).unwrap();
    let describe = Call::DescribeJob { kind, name: name.to_owned() };
    let Ok(CallReply::Job(own)) = ask(&describe, 60) else { panic!("it has a job") };
    let other = |text: Option<String>| text.map(|text| text.replace(&own.name, &results.name));
    assert_eq!(other(own.model_artifacts.clone()), results.model_artifacts);
    assert_eq!((&own.outputs, &own.metrics), (&results.outputs, &results.metrics));
    assert_eq!(own.billable_seconds, results.billable_seconds);
    let Ok(CallReply::LogTail(own)) = ask(&tail_of(&job, 5), 60) else { panic!("it has a log") };
    assert_eq!(texts(&own), texts(&tail));
    let nobody = Call::DescribeJob { kind, name: "pipelines-nobody".into() };
    assert_eq!(ask(&nobody, 60).unwrap_err().kind, Kind::NotFound);
    assert_eq!(ask(&retry(&arn, 'r'), 60), Ok(CallReply::Retried { arn: arn.clone() }));
    assert_eq!(ask(&Call::UpdateExecution { arn, description: "e".into() }, 60), Ok(CallReply::Updated));
}

#[actix_rt::test]
async fn the_stream_that_was_written_to_last_is_read() {
    // Two instances, of which only the first tells how it ended.
    let aws = Aws::with(Simulator::start(quick()).await).await;
    let step = json!({"Name": "Train", "Type": "Training", "Arguments": {"ResourceConfig": {"InstanceCount": 3}}});
    let definition = json!({"Version": "2020-12-01", "Parameters": [], "Steps": [step]}).to_string();
    let input = json!({
        "PipelineName": "MyPipeline", "PipelineDefinition": definition, "ClientRequestToken": "c".repeat(32),
        "RoleArn": "arn:aws:iam::100000000002:role/pipelines",
    });
    aws.simulator.expect("CreatePipeline", input).await;
    aws.simulator.faults(json!({"steps": {"Train": {"fail": "always"}}})).await;
    let arn = aws.simulator.start_described("d").await;
    aws.until(&arn, "Failed").await;
    let tail = aws.tail(&aws.job(&arn, "Train").await, 50).await;
    assert!(tail.stream.as_ref().unwrap().contains("/algo-1-"), "{tail:?}");
    assert_eq!(logs::reason(&tail.lines, 250).as_deref(), Some(REASON));
}
