//! Results of steps as outputs: names, values, what has to be asked for them, and where artifacts lie.

use awf_aws::{
    pipelines::{
        Call, Step, Time,
        jobs::{JobKind, JobResults, instance_seconds, model_of_training},
    },
    protocol::{Outputs, Parameter},
    results::{Found, Wanted, artifacts, job_to_describe, parameters},
};
use serde_json::json;

fn step(name: &str, kind: &str, resource: &str, status: &str) -> Step {
    Step {
        name: name.to_owned(),
        status: status.to_owned(),
        kind: Some(kind.to_owned()),
        job_arn: Some(format!("arn:aws:sagemaker:us-west-2:100000000002:{resource}/pipelines-x-{name}")),
        ..Step::default()
    }
}

fn steps() -> Vec<Step> {
    vec![
        step("Prep", "ProcessingJob", "processing-job", "Succeeded"),
        step("Train", "TrainingJob", "training-job", "Succeeded"),
        step("Score", "TransformJob", "transform-job", "Failed"),
        step("Tune", "TuningJob", "hyper-parameter-tuning-job", "Succeeded"),
        Step { reused: true, ..step("Cached", "TrainingJob", "training-job", "Succeeded") },
        step("Deploy", "Endpoint", "endpoint", "Succeeded"),
        step("Running", "TrainingJob", "training-job", "Executing"),
        Step {
            name: "If".into(),
            status: "Succeeded".into(),
            kind: Some("Condition".into()),
            outputs: pairs(&[("outcome", "True")]),
            ..Step::default()
        },
        Step {
            outputs: pairs(&[("violation-report", "s3://b/v.json")]),
            ..step("Check", "QualityCheck", "processing-job", "Failed")
        },
        // A function's own words are told whoever wants them, under their own names.
        Step {
            name: "Tell".into(),
            status: "Succeeded".into(),
            kind: Some("Lambda".into()),
            outputs: pairs(&[("score", "1")]),
            ..Step::default()
        },
    ]
}

fn declared(names: &[&str]) -> Wanted {
    Wanted::declared(names.iter().map(|name| (*name).to_owned()), [])
}

fn asked(wanted: &Wanted) -> Vec<String> {
    let steps = steps();
    let jobs = steps.iter().filter_map(|step| job_to_describe(step, wanted));
    jobs.map(|(kind, name)| format!("{kind:?} {name}")).collect()
}

#[test]
fn only_jobs_are_described_whose_results_somebody_wants() {
    for (names, expected) in [
        (&[][..], &[][..]),
        (&["status", "execution-arn"], &[]),
        // The ARN tells it.
        (&["Train-job-name", "Prep-job-name"], &[]),
        (&["Train-model-artifacts"], &["Training pipelines-x-Train"]),
        (&["Train-metric-validation-auc"], &["Training pipelines-x-Train"]),
        (&["Prep-output-train", "Prep-output-test"], &["Processing pipelines-x-Prep"]),
        // What such a job does not have.
        (&["Prep-model-artifacts", "Train-output-x", "Prep-metric-x"], &[]),
        (&["Tune-model-artifacts"], &["Tuning pipelines-x-Tune"]),
        // Another execution's job has results all the same.
        (&["Cached-model-artifacts"], &["Training pipelines-x-Cached"]),
        // A failed step has none; one that runs not yet.
        (&["Score-output-transform", "Running-model-artifacts"], &[]),
        // But it is paid for; what another execution paid for is not.
        (
            &["billable-seconds"],
            &[
                "Processing pipelines-x-Prep",
                "Training pipelines-x-Train",
                "Transform pipelines-x-Score",
                "Processing pipelines-x-Check",
            ],
        ),
        (&["If-metric-outcome", "Check-metric-violation-report"], &[]),
        (&["Trai-model-artifacts", "Train", "Train-", "train-model-artifacts"], &[]),
    ] {
        assert_eq!(asked(&declared(names)), expected, "{names:?}");
    }
    assert_eq!(
        asked(&Wanted::default().and_all()),
        [
            "Processing pipelines-x-Prep",
            "Training pipelines-x-Train",
            "Transform pipelines-x-Score",
            "Tuning pipelines-x-Tune",
            "Training pipelines-x-Cached",
            "Processing pipelines-x-Check",
        ]
    );
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn told() -> Vec<Option<JobResults>> {
    vec![
        Some(JobResults {
            outputs: pairs(&[("train", "s3://data/train"), ("test/x", "s3://own/a/test/")]),
            billable_seconds: Some(20),
            ..JobResults::default()
        }),
        Some(JobResults {
            model_artifacts: Some("s3://models/m/model.tar.gz".into()),
            metrics: vec![("validation:auc".into(), 0.91), ("loss".into(), 3.0)],
            billable_seconds: Some(100),
            ..JobResults::default()
        }),
        Some(JobResults {
            outputs: pairs(&[("transform", "s3://scores/")]),
            billable_seconds: Some(3),
            ..JobResults::default()
        }),
        None,
        Some(JobResults { billable_seconds: Some(1000), ..JobResults::default() }),
        None,
        None,
        None,
        None,
        None,
    ]
}

fn outputs(wanted: &Wanted) -> Vec<(String, String)> {
    let (steps, told) = (steps(), told());
    let found: Vec<Found<'_>> = steps.iter().zip(&told).map(|(step, job)| Found { step, job: job.as_ref() }).collect();
    parameters(&found, wanted)
}

#[test]
fn results_become_parameters_with_names_that_argo_takes() {
    assert_eq!(
        outputs(&Wanted::default().and_all()),
        pairs(&[
            ("Prep-job-name", "pipelines-x-Prep"),
            ("Prep-output-train", "s3://data/train"),
            ("Prep-output-test-x", "s3://own/a/test/"),
            ("Train-job-name", "pipelines-x-Train"),
            ("Train-model-artifacts", "s3://models/m/model.tar.gz"),
            ("Train-metric-validation-auc", "0.91"),
            ("Train-metric-loss", "3"),
            ("Score-job-name", "pipelines-x-Score"),
            ("Tune-job-name", "pipelines-x-Tune"),
            ("Cached-job-name", "pipelines-x-Cached"),
            ("Running-job-name", "pipelines-x-Running"),
            ("If-metric-outcome", "True"),
            ("Check-job-name", "pipelines-x-Check"),
            ("Check-metric-violation-report", "s3://b/v.json"),
            // Prep, Train and Score, which failed; Cached was paid for by another execution.
            ("billable-seconds", "123"),
        ])
    );
    let some = declared(&["Train-metric-loss", "Score-output-transform", "nothing"]);
    assert_eq!(outputs(&some), pairs(&[("Train-metric-loss", "3")]));
    assert_eq!(parameters(&[], &Wanted::default().and_all()), []);
}

#[test]
fn models_and_outputs_are_artifacts_that_argo_never_deletes() {
    let (steps, told) = (steps(), told());
    let found: Vec<Found<'_>> = steps.iter().zip(&told).map(|(step, job)| Found { step, job: job.as_ref() }).collect();
    let names = ["Train-model-artifacts", "Prep-output-test-x", "Score-output-transform"].map(str::to_owned);
    let wanted = Wanted::declared([], names);
    let whole = |name: &str, bucket: &str, key: &str| {
        json!({"name": name, "artifactGC": {"strategy": "Never"}, "s3": {
            "key": key, "endpoint": "s3.us-west-2.amazonaws.com", "bucket": bucket, "region": "us-west-2", "useSDKCreds": true,
        }})
    };
    let shown = serde_json::to_value(artifacts(&found, &wanted, "us-west-2")).unwrap();
    let model = whole("Train-model-artifacts", "models", "m/model.tar.gz");
    assert_eq!(shown, json!([whole("Prep-output-test-x", "own", "a/test/"), model]));
    // Nobody declared them as parameters; and who wants parameters wants no artifacts.
    assert_eq!(parameters(&found, &wanted), []);
    assert_eq!(artifacts(&found, &declared(&["Train-model-artifacts"]).and_all(), "us-west-2"), []);
    assert_eq!(artifacts(&found, &wanted, "us-iso-east-1"), []);
}

#[test]
fn what_was_declared_and_is_not_told_is_missing() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let wanted = Wanted::declared(
        names(&[
            "status",
            "a-metric-x",
            "a-metric-y",
            "billable-seconds",
            "a-b-job-name",
            "-job-name",
            "Notify-url",
            "failed-step",
        ]),
        names(&["a-model-artifacts", "a-metric-y", &format!("{}-job-name", "a".repeat(1000))]),
    );
    let parameters = ["a-metric-x", "billable-seconds", "other"];
    let parameters = parameters.map(|name| Parameter { name: name.to_owned(), value: String::new() }).to_vec();
    let told = Outputs { parameters, ..Outputs::default() };
    assert_eq!(wanted.missing(&told), ["-job-name", "Notify-url", "a-b-job-name", "a-metric-y", "a-model-artifacts"]);
    assert_eq!(Wanted::default().and_all().missing(&told), [""; 0]);
    assert!(Wanted::default().is_nothing() && !wanted.is_nothing() && !Wanted::default().and_all().is_nothing());
}

#[test]
fn a_job_is_known_by_its_arn() {
    for (resource, expected) in [
        ("training-job/a", Some((JobKind::Training, "a"))),
        ("processing-job/a-b", Some((JobKind::Processing, "a-b"))),
        ("transform-job/a", Some((JobKind::Transform, "a"))),
        ("hyper-parameter-tuning-job/a", Some((JobKind::Tuning, "a"))),
        ("automl-job/a", Some((JobKind::AutoMl, "a"))),
        ("endpoint/a", None),
        ("training-job/", None),
        ("training-job", None),
    ] {
        let arn = format!("arn:aws-cn:sagemaker:cn-north-1:100000000002:{resource}");
        assert_eq!(JobKind::of_arn(&arn), expected, "{resource}");
    }
    for other in
        ["", "training-job/a", "arn:aws:lambda:us-west-2:1:training-job/a", "urn:aws:sagemaker:r:1:training-job/a"]
    {
        assert_eq!(JobKind::of_arn(other), None, "{other}");
    }
}

#[test]
fn seconds_are_begun_ones_times_instances() {
    let at = |ms| Some(Time::at(ms));
    for (start, end, instances, expected) in [
        (at(1_000), at(4_001), Some(2), Some(8)),
        (at(1_000), at(1_000), None, Some(0)),
        (at(1_000), at(2_000), None, Some(1)),
        (at(1_000), None, Some(2), None),
        (None, at(1_000), Some(2), None),
        (at(1_000), at(2_000), Some(-1), None),
    ] {
        assert_eq!(instance_seconds(start, end, instances), expected);
    }
    assert_eq!(model_of_training("s3://b/p/", "j", true), "s3://b/p/j/output/model.tar.gz");
    assert_eq!(model_of_training("s3://b/p", "j", false), "s3://b/p/j/output/model/");
}

#[test]
fn what_may_have_changed_something_is_a_write() {
    let arn = || "arn".to_owned();
    for (call, operation, write) in [
        (Call::RetryExecution { arn: arn(), token: arn(), parallelism: None }, "RetryPipelineExecution", true),
        (Call::UpdateExecution { arn: arn(), description: arn() }, "UpdatePipelineExecution", true),
        (Call::DescribeJob { kind: JobKind::Tuning, name: arn() }, "DescribeHyperParameterTuningJob", false),
        (Call::DescribeJob { kind: JobKind::AutoMl, name: arn() }, "DescribeAutoMLJobV2", false),
        (Call::LogTail { group: arn(), stream_prefix: arn(), lines: 1 }, "GetLogEvents", false),
    ] {
        assert_eq!((call.operation(), call.is_write()), (operation, write));
    }
}
