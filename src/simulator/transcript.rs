//! What the containers of a job write: the scenario's lines, or some that fit the job's type and end.

use sha2::{Digest, Sha256};

use super::{
    execution::Execution,
    jobs::{best_name, identity, instances},
    steps::{StepRun, StepStatus},
};
use crate::pipelines::Time;

/// A line in a log.
pub(super) struct Line {
    pub at: Time,
    pub text: String,
}

/// One instance's log.
pub(super) struct Stream {
    pub name: String,
    pub lines: Vec<Line>,
}

/// The log group that a step's job writes to.
pub(super) fn group(run: &StepRun) -> Option<&'static str> {
    Some(match identity(run)?.0 {
        // A tuning job has no log; its training jobs have.
        "training-job" | "hyper-parameter-tuning-job" => "/aws/sagemaker/TrainingJobs",
        "processing-job" => "/aws/sagemaker/ProcessingJobs",
        "transform-job" => "/aws/sagemaker/TransformJobs",
        "automl-job" => "/aws/sagemaker/AutoMLJobs",
        _ => return None,
    })
}

/// A job's streams with the lines written by `now`; one without a line is not there yet.
pub(super) fn streams(execution: &Execution, run: &StepRun, now: Time) -> Vec<Stream> {
    let Some((resource, name)) = identity(run) else { return Vec::new() };
    let second = run.started.millis() / 1000;
    let instance = |n: usize| match resource {
        "transform-job" => {
            let hex: String = Sha256::digest(name).iter().take(8).map(|b| format!("{b:02x}")).collect();
            format!("{name}/i-{n:x}{hex}-{second}")
        }
        "hyper-parameter-tuning-job" => format!("{}/algo-{n}-{second}", best_name(name)),
        "automl-job" => name.to_owned(),
        _ => format!("{name}/algo-{n}-{second}"),
    };
    let count = if resource == "automl-job" { 1 } else { instances(execution, run) };
    let numbered = (1..=count).map(|n| Stream { name: instance(n), lines: lines(resource, run, n == 1, now) });
    numbered.filter(|stream| !stream.lines.is_empty()).collect()
}

/// The lines of an instance. Only the first one's tell how it ended.
fn lines(resource: &str, run: &StepRun, is_first: bool, now: Time) -> Vec<Line> {
    let scripted = run.found.as_ref().and_then(|found| found.logs.as_ref());
    let progress: Vec<String> = match scripted {
        Some(lines) => lines.clone(),
        None => progress(resource).into_iter().map(str::to_owned).collect(),
    };
    let last = match (scripted, is_first, run.status) {
        (None, true, StepStatus::Failed) => failure(resource),
        (None, true, StepStatus::Succeeded) => success(resource, run),
        _ => Vec::new(),
    };
    let until = run.ended.unwrap_or(now).min(now);
    let length = run.planned.map_or(0, |end| end.millis().saturating_sub(run.started.millis()));
    let count = i64::try_from(progress.len()).unwrap_or(1).max(1);
    let spread =
        (0..).zip(progress).map(|(n, text)| Line { at: Time::at(run.started.millis() + length * n / count), text });
    let ended = last.into_iter().map(|text| Line { at: until, text });
    spread.filter(|line| line.at <= until).chain(ended).collect()
}

fn progress(resource: &str) -> Vec<&'static str> {
    match resource {
        "training-job" | "hyper-parameter-tuning-job" => vec![
            "sagemaker-training-toolkit INFO     Invoking user script",
            "Reading /opt/ml/input/data/train",
            "epoch 1/3",
            "epoch 2/3",
            "epoch 3/3",
        ],
        "processing-job" => {
            vec!["Reading /opt/ml/processing/input", "Processing 3 files", "file 1/3", "file 2/3", "file 3/3"]
        }
        "transform-job" => {
            vec!["Starting the inference server", "GET /ping HTTP/1.1 200", "POST /invocations HTTP/1.1 200"]
        }
        _ => vec!["Analyzing the data", "Tuning the candidates"],
    }
}

fn success(resource: &str, run: &StepRun) -> Vec<String> {
    let metrics = run.found.iter().flat_map(|found| &found.metrics).map(|(name, value)| format!("{name}={value};"));
    let end = match resource {
        "training-job" | "hyper-parameter-tuning-job" => {
            "sagemaker-training-toolkit INFO     Reporting training SUCCESS"
        }
        _ => "Done",
    };
    metrics.chain([end.to_owned()]).collect()
}

/// A Python traceback; for training jobs with what SageMaker's training toolkit writes after it.
fn failure(resource: &str) -> Vec<String> {
    const ERROR: &str = "ValueError: Input contains NaN, infinity or a value too large for dtype('float64').";
    let (script, call) = match resource {
        "processing-job" => ("/opt/ml/processing/input/code/process.py", "frame = scale(frame)"),
        "transform-job" => ("/opt/ml/model/code/inference.py", "return model.predict(rows)"),
        "automl-job" => return vec!["The data has no column of that name".to_owned()],
        _ => ("/opt/ml/code/train.py", "model.fit(features, labels)"),
    };
    let mut lines = vec![
        "Traceback (most recent call last):".to_owned(),
        format!("  File \"{script}\", line 96, in <module>"),
        "    main()".to_owned(),
        format!("  File \"{script}\", line 61, in main"),
        format!("    {call}"),
        ERROR.to_owned(),
    ];
    if matches!(resource, "training-job" | "hyper-parameter-tuning-job") {
        lines.extend([
            "sagemaker-training-toolkit ERROR    Reporting training FAILURE".to_owned(),
            "sagemaker-training-toolkit ERROR    ExecuteUserScriptError:".to_owned(),
            "ExitCode 1".to_owned(),
            format!("ErrorMessage \"{ERROR}\""),
            "Command \"/usr/bin/python3 train.py\"".to_owned(),
        ]);
    }
    lines
}
