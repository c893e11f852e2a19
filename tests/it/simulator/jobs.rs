//! The jobs of steps as their own Describe operations and logs show them.

use serde_json::{Value, json};

use super::{REGION, World, at, token};

/// One step of each type that is a job, at once, five seconds long; the definition says where results go.
fn jobs() -> Value {
    json!({
        "Parameters": [{"Name": "Stage", "Type": "String", "DefaultValue": "test"}, {"Name": "Machines", "Type": "Integer", "DefaultValue": 2}],
        "Steps": [
            {"Name": "Train", "Type": "Training", "Arguments": {
                "OutputDataConfig": {"S3OutputPath": {"Std:Join": {"On": "/", "Values": ["s3://models", {"Get": "Parameters.Stage"}]}}},
                "ResourceConfig": {"InstanceCount": {"Get": "Parameters.Machines"}, "InstanceType": "ml.m5.xlarge"},
                "HyperParameters": {"id": {"Get": "Execution.PipelineExecutionId"}}, "Tags": [{"Key": "k", "Value": "v"}],
            }},
            {"Name": "Process", "Type": "Processing", "Arguments": {"ProcessingOutputConfig": {"Outputs": [
                {"OutputName": "train", "S3Output": {"S3Uri": {"Std:Join": {"On": "/", "Values": ["s3:/", "b", {"Get": "Execution.PipelineExecutionId"}]}}}},
            ]}}},
            {"Name": "Transform", "Type": "Transform", "Arguments": {"TransformOutput": {"S3OutputPath": "s3://scores"}}},
            {"Name": "Tune", "Type": "Tuning", "Arguments": {
                "HyperParameterTuningJobConfig": {"ResourceLimits": {"MaxNumberOfTrainingJobs": 3}},
                "TrainingJobDefinition": {"OutputDataConfig": {"S3OutputPath": "s3://tuned"}},
            }},
            {"Name": "Auto", "Type": "AutoML", "Arguments": {"OutputDataConfig": {"S3OutputPath": "s3://auto/"}}},
        ],
    })
}

const FIVE: f64 = 5.0;

fn running(steps: Value) -> (World, String) {
    let mut w = World::with_pipeline(json!({"step_seconds": FIVE, "steps": steps}), jobs());
    let arn = w.start(0.0, "a");
    (w, arn)
}

/// The name of a step's job.
fn job(w: &mut World, seconds: f64, arn: &str, step: &str) -> String {
    let steps = w.steps(seconds, arn);
    let metadata = steps.iter().find(|s| s["StepName"] == step).unwrap()["Metadata"].as_object().unwrap().clone();
    let arn = metadata.values().next().unwrap()["Arn"].as_str().unwrap();
    arn.rsplit_once('/').unwrap().1.to_owned()
}

fn described(w: &mut World, seconds: f64, arn: &str, kind: &str, step: &str) -> Value {
    let name = job(w, seconds, arn, step);
    w.ok(seconds, &format!("Describe{kind}"), json!({format!("{kind}Name"): name}))
}

/// Streams of a group whose names begin so.
fn streams(w: &mut World, seconds: f64, group: &str, prefix: &str) -> Vec<String> {
    let input = json!({"logGroupName": format!("/aws/sagemaker/{group}"), "logStreamNamePrefix": prefix});
    let found = w.ok(seconds, "DescribeLogStreams", input);
    let names = found["logStreams"].as_array().unwrap();
    names.iter().map(|s| s["logStreamName"].as_str().unwrap().to_owned()).collect()
}

fn events(w: &mut World, seconds: f64, group: &str, stream: &str, mut more: Value) -> Value {
    more["logGroupName"] = format!("/aws/sagemaker/{group}").into();
    more["logStreamName"] = stream.into();
    w.ok(seconds, "GetLogEvents", more)
}

fn lines(events: &Value) -> Vec<String> {
    events["events"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_training_job_shows_its_artifacts_times_and_final_metrics() {
    let (mut w, arn) = running(json!({"Train": {"metrics": {"validation:auc": 0.91}}}));
    let name = job(&mut w, 1.0, &arn, "Train");
    let during = described(&mut w, 1.0, &arn, "TrainingJob", "Train");
    assert_eq!((&during["TrainingJobStatus"], &during["SecondaryStatus"]), (&json!("InProgress"), &json!("Training")));
    assert!(during.get("TrainingEndTime").is_none() && during.get("FinalMetricDataList").is_none(), "{during}");
    let after = described(&mut w, 9.0, &arn, "TrainingJob", "Train");
    assert_eq!(after["TrainingJobStatus"], "Completed");
    let artifacts = format!("s3://models/test/{name}/output/model.tar.gz");
    assert_eq!(after["ModelArtifacts"]["S3ModelArtifacts"], json!(artifacts));
    assert_eq!(after["HyperParameters"]["id"], json!(arn.rsplit_once('/').unwrap().1));
    assert_eq!((&after["BillableTimeInSeconds"], &after["TrainingTimeInSeconds"]), (&json!(5), &json!(5)));
    assert_eq!(after["FinalMetricDataList"][0]["MetricName"], "validation:auc");
    assert_eq!(after["FinalMetricDataList"][0]["Value"], json!(0.91));
    assert!(after.get("Tags").is_none(), "no description has them");
}

#[test]
fn the_other_jobs_show_where_their_results_are() {
    let (mut w, arn) = running(json!({"Tune": {"metrics": {"auc": 0.8}}, "Auto": {"metrics": {"f1": 0.7}}}));
    let id = arn.rsplit_once('/').unwrap().1.to_owned();
    let process = described(&mut w, 9.0, &arn, "ProcessingJob", "Process");
    assert_eq!(process["ProcessingJobStatus"], "Completed");
    assert_eq!(process["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"], json!(format!("s3://b/{id}")));
    let transform = described(&mut w, 9.0, &arn, "TransformJob", "Transform");
    assert_eq!(transform["TransformOutput"]["S3OutputPath"], "s3://scores");
    let tuning = described(&mut w, 9.0, &arn, "HyperParameterTuningJob", "Tune");
    assert_eq!(tuning["TrainingJobStatusCounters"]["Completed"], 3);
    let best = tuning["BestTrainingJob"].clone();
    assert_eq!(best["FinalHyperParameterTuningJobObjectiveMetric"], json!({"MetricName": "auc", "Value": 0.8}));
    let name = best["TrainingJobName"].as_str().unwrap();
    let best = w.ok(9.0, "DescribeTrainingJob", json!({"TrainingJobName": name}));
    assert_eq!(best["TuningJobArn"], tuning["HyperParameterTuningJobArn"]);
    assert_eq!(best["ModelArtifacts"]["S3ModelArtifacts"], json!(format!("s3://tuned/{name}/output/model.tar.gz")));
    let auto = described(&mut w, 9.0, &arn, "AutoMLJob", "Auto");
    let model = auto["BestCandidate"]["InferenceContainers"][0]["ModelDataUrl"].as_str().unwrap();
    assert!(model.starts_with("s3://auto/pipelines-") && model.ends_with("/output/model.tar.gz"), "{model}");
    let name = auto["AutoMLJobName"].as_str().unwrap();
    assert!(name.len() <= 32, "{name}");
    assert_eq!(w.ok(9.0, "DescribeAutoMLJobV2", json!({"AutoMLJobName": name}))["AutoMLJobArn"], auto["AutoMLJobArn"]);
}

#[test]
fn a_check_is_a_processing_job_under_its_own_name() {
    let definition = json!({"Steps": [
        {"Name": "Drift", "Type": "QualityCheck", "CheckType": "DATA_QUALITY", "Arguments": {}},
        {"Name": "Bias", "Type": "ClarifyCheck", "CheckType": "MODEL_BIAS", "Arguments": {}, "DependsOn": ["Drift"]},
    ]});
    let mut w = World::with_pipeline(json!({}), definition);
    let arn = w.start(0.0, "a");
    for (step, (member, kind)) in
        w.steps(9.0, &arn).iter().zip([("QualityCheck", "DATA_QUALITY"), ("ClarifyCheck", "MODEL_BIAS")])
    {
        let check = &step["Metadata"][member];
        assert_eq!(check["CheckType"], kind);
        let name = check["CheckJobArn"].as_str().unwrap().rsplit_once(":processing-job/").unwrap().1;
        let job = w.ok(9.0, "DescribeProcessingJob", json!({"ProcessingJobName": name}));
        assert_eq!(
            (&job["ProcessingJobArn"], &job["ProcessingJobStatus"]),
            (&check["CheckJobArn"], &json!("Completed"))
        );
        assert_eq!(streams(&mut w, 9.0, "ProcessingJobs", name).len(), 1);
    }
}

#[test]
fn a_failed_job_says_why_and_its_log_ends_in_a_traceback() {
    let reason = "AlgorithmError: ExecuteUserScriptError: ExitCode 1";
    let (mut w, arn) = running(json!({"Train": {"fail": "always", "reason": reason}}));
    let shown = described(&mut w, 9.0, &arn, "TrainingJob", "Train");
    assert_eq!((&shown["TrainingJobStatus"], &shown["FailureReason"]), (&json!("Failed"), &json!(reason)));
    let prefix = format!("{}/", shown["TrainingJobName"].as_str().unwrap());
    let found = streams(&mut w, 9.0, "TrainingJobs", &prefix);
    assert_eq!(found, [format!("{prefix}algo-1-1795000000"), format!("{prefix}algo-2-1795000000")]);
    let log = lines(&events(&mut w, 9.0, "TrainingJobs", &found[0], json!({})));
    let at = log.iter().position(|line| line == "Traceback (most recent call last):").unwrap();
    let error = log[at..].iter().find(|line| line.starts_with("ValueError: ")).unwrap();
    assert!(log.iter().any(|line| *line == format!("ErrorMessage \"{error}\"")), "{log:?}");
    assert!(!lines(&events(&mut w, 9.0, "TrainingJobs", &found[1], json!({}))).contains(error), "of another instance");
    let stopped = described(&mut w, 9.0, &arn, "ProcessingJob", "Process");
    assert_eq!(stopped["ProcessingJobStatus"], "Stopped", "what ran beside it");
}

#[test]
fn every_type_of_job_has_its_log_group() {
    let (mut w, arn) = running(json!({}));
    for (step, group, instance) in [
        ("Train", "TrainingJobs", "/algo-1-1795000000"),
        ("Process", "ProcessingJobs", "/algo-1-1795000000"),
        ("Transform", "TransformJobs", "/i-1"),
        ("Tune", "TrainingJobs", "-001-"),
        ("Auto", "AutoMLJobs", ""),
    ] {
        let name = job(&mut w, 9.0, &arn, step);
        let found = streams(&mut w, 9.0, group, &name);
        assert!(found[0].starts_with(&format!("{name}{instance}")), "{found:?}");
        assert!(!lines(&events(&mut w, 9.0, group, &found[0], json!({}))).is_empty());
    }
}

#[test]
fn a_log_grows_as_time_passes_and_is_read_from_either_end() {
    let (mut w, arn) = running(json!({"Train": {"logs": ["one", "two", "three", "four", "five"]}}));
    let name = job(&mut w, 0.0, &arn, "Train");
    let stream = format!("{name}/algo-1-1795000000");
    let mut read = |seconds, more| events(&mut w, seconds, "TrainingJobs", &stream, more);
    assert_eq!(lines(&read(2.5, json!({}))), ["one", "two", "three"]);
    assert_eq!(read(2.5, json!({}))["events"][1]["timestamp"], at(1.0).millis());
    let tail = read(9.0, json!({"limit": 2}));
    assert_eq!(lines(&tail), ["four", "five"]);
    let before = read(9.0, json!({"limit": 2, "nextToken": tail["nextBackwardToken"]}));
    assert_eq!(lines(&before), ["two", "three"]);
    let head = read(9.0, json!({"limit": 2, "startFromHead": true}));
    assert_eq!(lines(&head), ["one", "two"]);
    assert_eq!(lines(&read(9.0, json!({"nextToken": head["nextForwardToken"]}))), ["three", "four", "five"]);
    let end = read(9.0, json!({"nextToken": tail["nextForwardToken"]}));
    assert_eq!(
        (lines(&end), &end["nextForwardToken"]),
        (vec![], &tail["nextForwardToken"]),
        "the token stays the same"
    );
    assert_eq!(
        lines(&read(9.0, json!({"startTime": at(1.0).millis(), "endTime": at(3.0).millis()}))),
        ["two", "three"]
    );
}

#[test]
fn a_failed_jobs_log_is_still_there_after_the_retry() {
    let (mut w, arn) = running(json!({"Train": {"fail": 1}}));
    let failed = job(&mut w, 9.0, &arn, "Train");
    w.ok(10.0, "RetryPipelineExecution", json!({"PipelineExecutionArn": arn, "ClientRequestToken": token("r")}));
    let again = job(&mut w, 20.0, &arn, "Train");
    for (name, status) in [(failed, "Failed"), (again, "Completed")] {
        let shown = w.ok(20.0, "DescribeTrainingJob", json!({"TrainingJobName": name}));
        assert_eq!(shown["TrainingJobStatus"], status);
        assert_eq!(streams(&mut w, 20.0, "TrainingJobs", &name).len(), 2);
    }
}

#[test]
fn what_is_not_there_is_said_in_each_services_own_words() {
    let (mut w, arn) = running(json!({"Process": {"logs": []}}));
    let name = job(&mut w, 9.0, &arn, "Train");
    let none = "pipelines-aaaaaaaaaaaa-none-aaaaaaaaaa";
    for (operation, member, code, text) in [
        ("DescribeTrainingJob", "TrainingJobName", "ValidationException", "Requested resource not found."),
        (
            "DescribeProcessingJob",
            "ProcessingJobName",
            "ValidationException",
            "Could not find requested job with name: ",
        ),
        ("DescribeTransformJob", "TransformJobName", "ValidationException", "Could not find requested job with name: "),
        ("DescribeHyperParameterTuningJob", "HyperParameterTuningJobName", "ResourceNotFound", ""),
        ("DescribeAutoMLJob", "AutoMLJobName", "ResourceNotFound", ""),
    ] {
        let refused = w.refused(9.0, operation, json!({member: none}));
        assert_eq!(refused.0, code);
        assert!(refused.1.starts_with(text), "{refused:?}");
        assert_eq!(w.refused(9.0, operation, json!({})).0, "ValidationException");
    }
    let elsewhere = w.book.caller("AKIAANY", "us-east-1");
    assert!(w.book.call(&elsewhere, "DescribeTrainingJob", &json!({"TrainingJobName": name}), at(9.0)).result.is_err());

    let read = |group: &str, stream: &str| json!({"logGroupName": group, "logStreamName": stream});
    let absent =
        |what: &str| ("ResourceNotFoundException".to_owned(), format!("The specified log {what} does not exist."));
    assert_eq!(w.refused(9.0, "GetLogEvents", read("/aws/sagemaker/TrainingJobs", none)), absent("stream"));
    assert_eq!(w.refused(9.0, "GetLogEvents", read("/aws/sagemaker/Nothing", none)), absent("group"));
    let name = job(&mut w, 9.0, &arn, "Process");
    assert!(streams(&mut w, 9.0, "ProcessingJobs", &name).is_empty(), "it wrote nothing");
    let both = json!({"logGroupName": "g", "logGroupIdentifier": "g", "logStreamName": "s"});
    assert_eq!(w.refused(9.0, "GetLogEvents", both).0, "InvalidParameterException");
    let arn = format!("arn:aws:logs:{REGION}:100000000002:log-group:/aws/sagemaker/TrainingJobs:*");
    w.ok(9.0, "DescribeLogStreams", json!({"logGroupIdentifier": arn}));
}

#[test]
fn each_of_them_can_be_denied_in_iams_words() {
    let (mut w, arn) = running(json!({}));
    let name = job(&mut w, 9.0, &arn, "Train");
    let stream = format!("{name}/algo-1-1795000000");
    let deny = json!({"deny": {"DescribeTrainingJob": 1, "GetLogEvents": 1, "DescribeLogStreams": 1}});
    w.book.faults = w.book.faults.merged(&deny).unwrap();
    let (code, text) = w.refused(9.0, "DescribeTrainingJob", json!({"TrainingJobName": name}));
    assert_eq!(code, "AccessDeniedException");
    let resource =
        format!("arn:aws:sagemaker:eu-west-1:100000000002:training-job/{name} because no identity-based policy");
    assert!(text.contains("sagemaker:DescribeTrainingJob on resource") && text.contains(&resource), "{text}");
    let group = "/aws/sagemaker/TrainingJobs";
    let (code, text) = w.refused(9.0, "GetLogEvents", json!({"logGroupName": group, "logStreamName": stream}));
    assert_eq!(code, "AccessDeniedException");
    let resource = format!("arn:aws:logs:eu-west-1:100000000002:log-group:{group}:log-stream:{stream} because");
    assert!(text.contains("logs:GetLogEvents on resource") && text.contains(&resource), "{text}");
    let (_, text) = w.refused(9.0, "DescribeLogStreams", json!({"logGroupName": group}));
    assert!(text.contains("logs:DescribeLogStreams on resource"), "{text}");
    w.ok(9.0, "GetLogEvents", json!({"logGroupName": group, "logStreamName": stream}));
}
