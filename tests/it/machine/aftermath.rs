//! What a node is told after the end: the log of the failed step, links, results of the steps.

use std::time::Duration;

use awf_aws::{
    input::Task,
    pipelines::{
        Call, CallErrorKind, Status, Step, Time,
        jobs::{JobResults, LogLine, LogTail},
    },
    protocol::{ExecuteTemplateReply, Outputs, Phase},
    results::Wanted,
    workflow::{Event, Held, Note, Settings, WorkflowState},
};

use super::world::{World, message, output, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);
const LOG: &str = "GetLogEvents";
const TRAINING: &str = "DescribeTrainingJob";
const PROCESSING: &str = "DescribeProcessingJob";
const RAISED: &str = "ValueError: Input contains NaN";
const POOR: &str = "AlgorithmError: , exit code: 1";

fn step(name: &str, resource: &str, status: &str) -> Step {
    Step {
        name: name.into(),
        status: status.into(),
        kind: Some("TrainingJob".into()),
        job_arn: Some(format!("arn:aws:sagemaker:us-west-2:100000000002:{resource}/pipelines-x-{name}")),
        started: Some(Time::at(0)),
        ..Step::default()
    }
}

/// Two steps with jobs, and what they came to.
fn steps(w: &mut World, train: &str) {
    let reason = (train == "Failed").then(|| POOR.to_owned());
    let train = Step { failure_reason: reason, ..step("Train", "training-job", train) };
    w.steps = vec![step("Prep", "processing-job", "Succeeded"), train];
    let pair = |name: &str, uri: &str| (name.to_owned(), uri.to_owned());
    let prep = JobResults {
        outputs: vec![pair("train", "s3://data/train")],
        billable_seconds: Some(20),
        ..JobResults::default()
    };
    let train = JobResults {
        model_artifacts: Some("s3://models/m.tar.gz".into()),
        metrics: vec![("auc".into(), 0.91)],
        billable_seconds: Some(100),
        ..JobResults::default()
    };
    w.jobs = [("pipelines-x-Prep".to_owned(), prep), ("pipelines-x-Train".to_owned(), train)].into();
}

fn log(w: &mut World, lines: &[&str]) {
    let lines = lines.iter().map(|text| LogLine { at: Time::at(1), text: (*text).to_owned() }).collect();
    w.log = LogTail { stream: Some("pipelines-x-Train/algo-1-1".into()), lines };
}

/// A node whose template declares these parameters and artifacts.
fn declaring(parameters: &[&str], artifacts: &[&str]) -> Task {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let wanted = Wanted::declared(names(parameters), names(artifacts));
    with(task("a", 0), |execute| execute.results = wanted)
}

/// Its execution ends so, and it is asked for again a little later.
fn ended(w: &mut World, node: &Task, status: Status) -> ExecuteTemplateReply {
    w.ask(node);
    w.end(0, status);
    w.pass(10 * SECOND);
    w.ask(node)
}

fn outputs(reply: &ExecuteTemplateReply) -> Outputs {
    reply.node.as_ref().and_then(|node| node.outputs.clone()).unwrap_or_default()
}

fn names(reply: &ExecuteTemplateReply) -> Vec<String> {
    outputs(reply).parameters.into_iter().map(|parameter| parameter.name).collect()
}

#[test]
fn the_link_to_the_console_is_there_from_the_first_answer_on() {
    let mut w = World::new();
    let first = w.ask(&task("a", 0));
    let url = output(&first, "console-url").unwrap();
    assert!(url.starts_with("https://us-west-2.console.aws.amazon.com/sagemaker/home?region=us-west-2"), "{url}");
    let end = ended(&mut w, &task("a", 0), Status::Succeeded);
    assert_eq!(output(&end, "console-url"), Some(url));
}

#[test]
fn where_nobody_wants_results_and_nothing_failed_nothing_more_is_asked() {
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    let end = ended(&mut w, &declaring(&["execution-arn", "status"], &["report"]), Status::Succeeded);
    assert_eq!(message(&end), "Succeeded: 2 steps");
    assert_eq!(names(&end), ["execution-arn", "status", "execution-id", "console-url"]);
    assert_eq!(w.count(LOG) + w.count(TRAINING) + w.count(PROCESSING), 0);
}

#[test]
fn the_last_words_of_a_failed_step_say_more_than_its_exit_code() {
    let mut w = World::new();
    steps(&mut w, "Failed");
    log(&mut w, &["epoch 1", "Traceback (most recent call last):", "  password=hunter2", RAISED]);
    let end = ended(&mut w, &task("a", 0), Status::Failed);
    assert_eq!(message(&end), format!("Failed at step Train (Failed): {RAISED}"));
    assert_eq!(output(&end, "failure-reason").as_deref(), Some(POOR), "SageMaker's own words stay");
    let tail = output(&end, "logs-tail").unwrap();
    assert!(tail.ends_with(RAISED) && tail.contains("epoch 1\n") && !tail.contains("hunter2"), "{tail}");
    assert!(output(&end, "logs-url").unwrap().contains("TrainingJobs"));
    let group = "/aws/sagemaker/TrainingJobs".to_owned();
    let asked = Call::LogTail { group, stream_prefix: "pipelines-x-Train/".into(), lines: 100 };
    assert_eq!(w.calls.iter().filter(|call| call.operation() == LOG).collect::<Vec<_>>(), [&asked], "once");
    let shown = w.notes.iter().filter_map(|note| match note {
        Note::JobLog { log, .. } => Some((log.step.as_str(), log.lines.len())),
        _ => None,
    });
    assert_eq!(shown.collect::<Vec<_>>(), [("Train", 4)], "in the plugin's own log");
    assert!(!format!("{:?}", w.notes).contains("hunter2"));
}

#[test]
fn what_sagemaker_says_better_than_a_log_is_told() {
    let mut w = World::new();
    steps(&mut w, "Failed");
    w.steps[1].failure_reason = Some("ClientError: no such bucket".into());
    log(&mut w, &[RAISED]);
    let end = ended(&mut w, &task("a", 0), Status::Failed);
    assert_eq!(message(&end), "Failed at step Train (Failed): ClientError: no such bucket");
    assert_eq!(output(&end, "logs-tail").as_deref(), Some(RAISED));
}

#[test]
fn with_logs_off_and_for_a_step_that_was_only_stopped_no_log_is_read() {
    let mut w = World::with(Settings { pod_born: World::START, logs: false, ..Settings::default() });
    steps(&mut w, "Failed");
    let end = ended(&mut w, &task("a", 0), Status::Failed);
    assert_eq!(message(&end), format!("Failed at step Train (Failed): {POOR}"));
    assert_eq!((w.count(LOG), output(&end, "logs-tail")), (0, None));
    let mut w = World::new();
    steps(&mut w, "Stopped");
    ended(&mut w, &task("a", 0), Status::Stopped);
    assert_eq!(w.count(LOG), 0);
}

#[test]
fn a_log_that_cannot_be_read_says_why_and_changes_nothing_else() {
    for (kind, sentence) in [
        (CallErrorKind::Denied, "its log could not be read: AWS said access_denied"),
        (CallErrorKind::NotFound, "the job has written no log to /aws/sagemaker/TrainingJobs"),
    ] {
        let mut w = World::new();
        steps(&mut w, "Failed");
        w.fail(LOG, &[kind]);
        let end = ended(&mut w, &task("a", 0), Status::Failed);
        assert_eq!(message(&end), format!("Failed at step Train (Failed): {POOR}; {sentence}"));
        assert_eq!(output(&end, "logs-tail").as_deref(), Some(sentence));
        assert_eq!(output(&end, "failure-reason").as_deref(), Some(POOR));
        assert_eq!(w.count(LOG), 1, "{kind:?} is not asked again");
    }
    // Where the reason needs no log, it is not in the message.
    let mut w = World::new();
    steps(&mut w, "Failed");
    w.steps[1].failure_reason = Some("ClientError: no such bucket".into());
    w.fail(LOG, &[CallErrorKind::Denied]);
    let end = ended(&mut w, &task("a", 0), Status::Failed);
    assert_eq!(message(&end), "Failed at step Train (Failed): ClientError: no such bucket");
}

#[test]
fn an_empty_log_is_no_news() {
    let mut w = World::new();
    steps(&mut w, "Failed");
    let end = ended(&mut w, &task("a", 0), Status::Failed);
    let sentence = "the job has written no log to /aws/sagemaker/TrainingJobs";
    assert_eq!(output(&end, "logs-tail").as_deref(), Some(sentence));
}

#[test]
fn what_the_template_declares_is_told_and_each_job_is_described_once() {
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    let parameters =
        ["Train-model-artifacts", "Train-metric-auc", "Prep-output-train", "Train-job-name", "billable-seconds"];
    let end = ended(&mut w, &declaring(&parameters, &["Train-model-artifacts"]), Status::Succeeded);
    assert_eq!(message(&end), "Succeeded: 2 steps");
    for (name, value) in
        parameters.into_iter().zip(["s3://models/m.tar.gz", "0.91", "s3://data/train", "pipelines-x-Train", "120"])
    {
        assert_eq!(output(&end, name).as_deref(), Some(value), "{name}");
    }
    let [artifact] = outputs(&end).artifacts.try_into().unwrap();
    assert_eq!((artifact.name.as_str(), artifact.s3.bucket.as_str()), ("Train-model-artifacts", "models"));
    assert_eq!((w.count(TRAINING), w.count(PROCESSING)), (1, 1));
    // Told again, from what was told.
    assert_eq!(w.ask(&declaring(&parameters, &["Train-model-artifacts"])), end);
    assert_eq!((w.count(TRAINING), w.count(PROCESSING), w.machine.held()), (1, 1, Held::default()));
}

#[test]
fn only_the_jobs_of_what_is_declared_are_described_and_all_of_them_for_all() {
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    ended(&mut w, &declaring(&[], &["Prep-output-train"]), Status::Succeeded);
    assert_eq!((w.count(TRAINING), w.count(PROCESSING)), (0, 1));
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    let all = with(task("a", 0), |execute| execute.results = Wanted::default().and_all());
    let end = ended(&mut w, &all, Status::Succeeded);
    assert_eq!((w.count(TRAINING), w.count(PROCESSING)), (1, 1));
    let results = &names(&end)[4..];
    let expected = [
        "Prep-job-name",
        "Prep-output-train",
        "Train-job-name",
        "Train-model-artifacts",
        "Train-metric-auc",
        "billable-seconds",
    ];
    assert_eq!(results, expected);
    assert!(outputs(&end).artifacts.is_empty(), "nobody declared one");
}

#[test]
fn a_denial_holds_no_end_back_and_the_message_says_what_is_missing() {
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    w.fail(TRAINING, &[CallErrorKind::Denied; 9]);
    let end = ended(&mut w, &declaring(&["Train-metric-auc", "Prep-output-train"], &[]), Status::Succeeded);
    assert_eq!(phase(&end), Some(Phase::Succeeded));
    let expected = "Succeeded: 2 steps; without Train-metric-auc: DescribeTrainingJob failed: AWS said access_denied";
    assert_eq!(message(&end), expected);
    assert_eq!(output(&end, "Prep-output-train").as_deref(), Some("s3://data/train"), "the others are told");
    assert_eq!(w.count(TRAINING), 1);
}

#[test]
fn what_no_step_makes_is_said_to_be_missing() {
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    let end = ended(&mut w, &declaring(&["Train-metric-auk"], &["Prep-output-x"]), Status::Succeeded);
    let expected = "Succeeded: 2 steps; without Train-metric-auk and 1 others: no step has made it";
    assert_eq!(message(&end), expected);
}

#[test]
fn trouble_is_waited_out_for_a_while_and_then_the_end_is_told_without() {
    // It passes.
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    w.fail(TRAINING, &[CallErrorKind::Throttled, CallErrorKind::OutcomeUnknown]);
    let node = declaring(&["Train-metric-auc"], &[]);
    w.ask(&node);
    w.end(0, Status::Succeeded);
    w.pass(20 * SECOND);
    assert_eq!(output(&w.ask(&node), "Train-metric-auc").as_deref(), Some("0.91"));
    // It does not.
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    w.fail(TRAINING, &[CallErrorKind::Throttled; 999]);
    w.ask(&node);
    w.end(0, Status::Succeeded);
    w.pass(7 * SECOND);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Running), "it may yet pass");
    w.pass(20 * SECOND);
    let end = w.ask(&node);
    assert_eq!(
        message(&end),
        "Succeeded: 2 steps; without Train-metric-auc: DescribeTrainingJob failed: AWS said throttled"
    );
    assert_eq!(w.count(TRAINING), 4);
}

#[test]
fn an_answer_that_never_comes_holds_an_end_back_for_its_limit() {
    for (operation, status, limit, words) in [
        (TRAINING, "Succeeded", 120 * SECOND, "DescribeTrainingJob failed: no answer within 120s"),
        (LOG, "Failed", 30 * SECOND, "its log could not be read: no answer within 30s"),
    ] {
        let mut w = World::new();
        steps(&mut w, status);
        let node = declaring(&["Train-metric-auc"], &[]);
        w.ask(&node);
        w.silent = vec![operation];
        w.end(0, if status == "Failed" { Status::Failed } else { Status::Succeeded });
        w.pass(limit);
        assert_eq!(phase(&w.ask(&node)), Some(Phase::Running), "{operation}");
        w.pass(10 * SECOND);
        let end = w.ask(&node);
        assert!(phase(&end).is_some_and(Phase::is_terminal) && message(&end).contains(words), "{end:?}");
        // It comes after all: what was told stays.
        w.silent.clear();
        w.answer_open(0);
        assert_eq!(w.ask(&node), end);
        assert_eq!(w.machine.held(), Held::default());
    }
}

#[test]
fn a_new_process_asks_again_and_tells_the_same() {
    let mut w = World::new();
    steps(&mut w, "Failed");
    log(&mut w, &[RAISED]);
    let node = declaring(&["billable-seconds"], &[]);
    let end = ended(&mut w, &node, Status::Failed);
    assert_eq!(output(&end, "billable-seconds").as_deref(), Some("120"), "a failed job is paid for");
    w.restart();
    let again = w.ask(&node);
    assert_eq!((phase(&again), outputs(&again)), (phase(&end), outputs(&end)));
    assert!(message(&again).starts_with(&message(&end)), "{again:?}");
    assert_eq!((w.count(LOG), w.count(TRAINING)), (2, 2));
}

#[test]
fn a_further_attempt_that_gets_the_same_end_gets_what_it_wants_of_it() {
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    ended(&mut w, &task("a", 0), Status::Succeeded);
    let again = Task { attempt: 1, ..declaring(&["Train-metric-auc"], &[]) };
    let end = w.ask(&again);
    assert_eq!((phase(&end), output(&end, "Train-metric-auc").as_deref()), (Some(Phase::Succeeded), Some("0.91")));
    assert_eq!((w.count(TRAINING), w.machine.held()), (1, Held::default()));
}

#[test]
fn once_the_workflow_is_over_nothing_more_is_asked() {
    let mut w = World::with(Settings { kubernetes: true, pod_born: World::START, ..Settings::default() });
    let alive = WorkflowState::Alive { started_at: Some(World::START), deadline: None, server_time: None };
    w.handle(Event::WorkflowObserved(alive));
    steps(&mut w, "Failed");
    let node = declaring(&["billable-seconds"], &[]);
    w.ask(&node);
    w.end(0, Status::Failed);
    w.handle(Event::WorkflowObserved(WorkflowState::Over));
    w.pass(10 * SECOND);
    let end = w.ask(&node);
    assert_eq!(phase(&end), Some(Phase::Failed));
    assert_eq!(w.count(LOG) + w.count(TRAINING) + w.count(PROCESSING), 0, "{end:?}");
}

#[test]
fn what_was_asked_of_an_end_that_was_none_is_not_told_of_the_next() {
    let mut w = World::new();
    steps(&mut w, "Failed");
    let node = declaring(&["billable-seconds"], &[]);
    w.ask(&node);
    w.silent = vec![TRAINING];
    w.end(0, Status::Failed);
    w.pass(10 * SECOND);
    assert_eq!(w.unanswered.len(), 1);
    let stale = w.answer_of(0);
    // Somebody retries it in the console, and the next attempt finds it running.
    w.end(0, Status::Executing);
    let next = Task { attempt: 1, ..node.clone() };
    assert_eq!(phase(&w.ask(&next)), Some(Phase::Running));
    w.jobs.values_mut().for_each(|job| job.billable_seconds = Some(1));
    w.steps.iter_mut().for_each(|step| step.status = "Succeeded".into());
    w.end(0, Status::Succeeded);
    w.pass(10 * SECOND);
    w.handle(stale);
    assert_eq!(phase(&w.ask(&next)), Some(Phase::Running), "the job is asked for again");
    w.answer_open(0);
    let end = w.ask(&next);
    assert_eq!((phase(&end), output(&end, "billable-seconds").as_deref()), (Some(Phase::Succeeded), Some("2")));
}

#[test]
fn in_a_crowd_what_explains_a_failure_comes_before_what_was_made() {
    let mut w = World::new();
    steps(&mut w, "Failed");
    log(&mut w, &[RAISED]);
    // A thousand open nodes leave each the least.
    for n in 0..1000 {
        w.send(&with(task(&format!("n{n}"), 0), |execute| execute.max_running = Some(1)));
    }
    let names_of = |declared: &[&str]| declared.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let node = with(task("a", 0), |execute| execute.results = Wanted::declared(names_of(&["Train-job-name"]), []));
    w.ask(&node);
    w.end(1, Status::Failed);
    w.pass(10 * SECOND);
    let end = w.ask(&node);
    let told = names(&end);
    assert_eq!(told[..4], ["execution-arn", "status", "failed-step", "failure-reason"], "{end:?}");
    assert_eq!(told.last().map(String::as_str), Some("outputs-truncated"), "{told:?}");
    assert!(!told.contains(&"Train-job-name".to_owned()), "{told:?}");
    assert_eq!(message(&end), format!("Failed at step Train (Failed): {RAISED}"), "the message has it all the same");
}

#[test]
fn in_a_lesser_crowd_what_somebody_waits_for_comes_before_the_digest() {
    let mut w = World::new();
    steps(&mut w, "Succeeded");
    w.steps.extend((0..40).map(|n| step(&format!("More{n}"), "training-job", "Succeeded")));
    for n in 0..400 {
        w.send(&with(task(&format!("n{n}"), 0), |execute| execute.max_running = Some(1)));
    }
    let node = declaring(&["Train-model-artifacts"], &["Train-model-artifacts"]);
    w.ask(&node);
    w.end(1, Status::Succeeded);
    w.pass(10 * SECOND);
    let end = w.ask(&node);
    assert_eq!(output(&end, "Train-model-artifacts").as_deref(), Some("s3://models/m.tar.gz"), "{end:?}");
    assert_eq!((outputs(&end).artifacts.len(), outputs(&end).result), (1, None));
}

#[test]
fn a_throttle_of_the_logs_says_nothing_of_the_pace_of_sagemaker() {
    let mut w = World::new();
    steps(&mut w, "Failed");
    w.silent = vec![LOG];
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(10 * SECOND);
    w.send(&task("a", 0));
    let paced: Vec<bool> = w.paced.iter().filter(|(operation, _)| *operation == LOG).map(|(_, paced)| *paced).collect();
    assert_eq!(paced, [false]);
    assert!(w.paced.iter().any(|(operation, paced)| *operation == "DescribePipelineExecution" && *paced));
}
