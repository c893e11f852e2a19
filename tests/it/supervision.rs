//! What dies is noticed, made again, and costs nobody an answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers and probes of tests")]

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use actix::Arbiter;
use awf_aws::{
    actors::{Dependencies, Supervisor, SupervisorError, SupervisorHandle},
    app,
    backend::Backend,
    config::{Config, KubernetesConfig, LogConfig, LogFormat},
    input::{self, Action, MockState, Task, WorkflowId},
    metrics::Metrics,
    observer::NoObserver,
    pace,
    pipelines::{Call, CallEnded, CallReply, ClientKey, Execution, StartExecution, Status},
    protocol::{ExecuteTemplateReply, NodeResult, Phase},
    results::Wanted,
    workflow::{LiveExecution, Settings},
};
use futures_util::future::join_all;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// A backend that misbehaves.
pub struct Scripted {
    script: Script,
    calls: AtomicUsize,
    /// Each start, and where it was made.
    pub starts: Mutex<Vec<(ThreadId, Box<StartExecution>)>>,
}

#[derive(Clone, Copy)]
pub enum Script {
    /// Every call panics, in its future.
    Panics,
    /// No call ever ends.
    Hangs,
    /// A start takes so long, everything else nothing; what was started runs.
    StartsAfter(Duration),
    /// The same of a list.
    ListsAfter(Duration),
    /// What was started has succeeded at once.
    Succeeds,
}

impl Scripted {
    pub fn new(script: Script) -> Arc<Self> {
        Arc::new(Self { script, calls: AtomicUsize::new(0), starts: Mutex::default() })
    }
}

impl Backend for Scripted {
    fn call(&self, _: ClientKey, call: Call) -> Pin<Box<dyn Future<Output = CallEnded> + Send>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Call::StartExecution(start) = &call {
            self.starts.lock().unwrap().push((thread::current().id(), start.clone()));
        }
        let script = self.script;
        match script {
            Script::Panics => Box::pin(async { panic!("on purpose") }),
            Script::Hangs => Box::pin(std::future::pending()),
            Script::Succeeds => Box::pin(async move {
                let mut reply = running(call);
                if let CallReply::Execution(execution) = &mut reply {
                    execution.status = Status::Succeeded;
                }
                CallEnded { result: Ok(reply), server_time: None }
            }),
            Script::StartsAfter(wait) | Script::ListsAfter(wait) => Box::pin(async move {
                match (script, &call) {
                    (Script::StartsAfter(_), Call::StartExecution(_))
                    | (Script::ListsAfter(_), Call::ListExecutions { .. }) => sleep(wait).await,
                    _ => {}
                }
                CallEnded { result: Ok(running(call)), server_time: None }
            }),
        }
    }
}

const ARN: &str = "arn:aws:sagemaker:us-west-2:100000000002:pipeline/mypipeline/execution/abcdefabcdef";

/// What a service answers whose only execution is the one that is being started.
fn running(call: Call) -> CallReply {
    match call {
        Call::GetCallerIdentity => CallReply::CallerIdentity { account: "100000000002".to_owned() },
        Call::ListExecutions { .. } => CallReply::Executions { page: Vec::new(), next_token: None },
        Call::StartExecution(_) => CallReply::Started { arn: ARN.to_owned() },
        Call::DescribeExecution { arn } => CallReply::Execution(Execution {
            arn,
            status: Status::Executing,
            created: None,
            modified: None,
            description: None,
            failure_reason: None,
            started_by: None,
        }),
        Call::ListSteps { .. } => CallReply::Steps { page: Vec::new(), next_token: None },
        other => panic!("unexpected {other:?}"),
    }
}

/// A supervisor around a backend, with its metrics and the sign of its death.
pub fn supervised(backend: Arc<Scripted>) -> (SupervisorHandle, Arc<Metrics>, oneshot::Receiver<()>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let dependencies = Dependencies {
        backend,
        observer: Arc::new(NoObserver),
        clock: app::wall_clock(),
        metrics: metrics.clone(),
        settings: Settings { reply_timeout: Duration::from_millis(800), ..Settings::default() },
        pace: pace::Settings::default(),
    };
    let (handle, death) = Supervisor::launch(dependencies, REPLY_TIMEOUT);
    (handle, metrics, death)
}

fn task(workflow: &str, action: Action) -> Arc<Task> {
    Arc::new(Task {
        workflow: WorkflowId {
            uid: format!("uid-of-{workflow}"),
            name: workflow.to_owned(),
            namespace: "argo".to_owned(),
        },
        template_name: "run".to_owned(),
        client: ClientKey { region: "us-west-2".to_owned(), role_arn: None, external_id: None },
        account_id: "100000000002".to_owned(),
        partition: "aws",
        pipeline_name: "MyPipeline".to_owned(),
        execution_key: Some("node".to_owned()),
        fallback_key: Some("0".repeat(64)),
        attempt: 0,
        workflow_created: None,
        action,
    })
}

pub fn mock(workflow: &str) -> Arc<Task> {
    task(workflow, Action::Mock(MockState::Success))
}

pub fn execution(workflow: &str) -> Arc<Task> {
    task(
        workflow,
        Action::Execute(Box::new(input::Execute {
            parameters: Vec::new(),
            display_name: None,
            description: None,
            version: None,
            max_parallel_steps: None,
            selected_steps: Vec::new(),
            source_execution_arn: None,
            max_running: None,
            timeout: None,
            on_stop: None,
            accept_completed_with_failures: false,
            results: Wanted::default(),
            attach: None,
            on_retry: input::OnRetry::Restart,
            args_digest: "0".repeat(12),
            work_digest: "0".repeat(12),
        })),
    )
}

async fn ask(handle: &SupervisorHandle, task: Arc<Task>) -> ExecuteTemplateReply {
    handle.execute(task).await.unwrap().reply.read()
}

pub async fn phase(handle: &SupervisorHandle, task: Arc<Task>) -> Option<Phase> {
    ask(handle, task).await.node.unwrap().phase
}

fn is_free_poll(reply: &ExecuteTemplateReply) -> bool {
    reply.node == Some(NodeResult::default()) && reply.requeue.is_some()
}

/// The value of a series in the text format.
pub fn series(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.encode().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

const STARTS: &str = "awf_aws_aws_api_calls_total{operation=\"StartPipelineExecution\",outcome=\"ok\"}";

const LISTS: &str = "awf_aws_aws_api_calls_total{operation=\"ListPipelineExecutions\",outcome=\"ok\"}";

pub const RESTARTS: &str = "awf_aws_actor_restarts_total{actor=\"workflow\"}";

#[actix::test]
async fn a_panicked_runner_is_respawned_and_meanwhile_its_requests_get_free_polls() {
    tokio::time::pause();
    let (handle, metrics, _death) = supervised(Scripted::new(Script::Hangs));
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
    assert_eq!(phase(&handle, mock("b")).await, Some(Phase::Succeeded));

    assert!(handle.crash_runner_for_test(&mock("a").workflow));
    for _ in 0..5 {
        assert!(is_free_poll(&ask(&handle, mock("a")).await));
        assert_eq!(phase(&handle, mock("b")).await, Some(Phase::Succeeded), "others are not affected");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(series(&metrics, RESTARTS) == 0.0);

    sleep(Duration::from_secs(1)).await;
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
    assert!(series(&metrics, RESTARTS) == 1.0);
}

#[actix::test]
async fn a_request_that_waits_for_a_dying_runner_gets_a_free_poll_at_once() {
    tokio::time::pause();
    let (handle, ..) = supervised(Scripted::new(Script::Hangs));
    let began = Instant::now();
    let crash = async {
        sleep(Duration::from_millis(100)).await;
        assert!(handle.crash_runner_for_test(&execution("a").workflow));
    };
    let (reply, ()) = tokio::join!(ask(&handle, execution("a")), crash);
    assert!(is_free_poll(&reply));
    assert!(began.elapsed() < Duration::from_millis(200));
}

#[actix::test]
async fn past_the_budget_a_runner_is_respawned_every_minute_and_never_given_up() {
    tokio::time::pause();
    let (handle, metrics, _death) = supervised(Scripted::new(Script::Hangs));
    for (deaths, backoff) in [1, 2, 4, 60, 60, 60].into_iter().enumerate() {
        assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded), "after {deaths} deaths");
        assert!(handle.crash_runner_for_test(&mock("a").workflow));
        sleep(Duration::from_secs(backoff) - Duration::from_millis(50)).await;
        assert!(is_free_poll(&ask(&handle, mock("a")).await), "after {deaths} deaths");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(series(&metrics, RESTARTS) == 6.0);

    // Ten quiet minutes later a death is bad luck again.
    sleep(Duration::from_secs(601)).await;
    assert!(handle.crash_runner_for_test(&mock("a").workflow));
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
}

#[actix::test]
async fn workflows_that_begin_while_one_lists_a_pipeline_share_the_next_list() {
    tokio::time::pause();
    let (handle, metrics, _death) = supervised(Scripted::new(Script::ListsAfter(Duration::from_millis(100))));
    let asked = ["one", "two", "three"].map(|workflow| phase(&handle, execution(workflow)));
    assert_eq!(join_all(asked).await, [Some(Phase::Running); 3]);
    assert_eq!(series(&metrics, LISTS), 2.0);
    assert_eq!(series(&metrics, STARTS), 3.0);
}

/// Asks for a task on a thread of its own, which is an HTTP worker's: where that was, and the phase.
async fn asked_on(worker: &Arbiter, handle: &SupervisorHandle, task: Arc<Task>) -> (ThreadId, Phase) {
    let (told, answer) = oneshot::channel();
    let handle = handle.clone();
    let asked = worker.spawn(async move {
        loop {
            // As the agent does, who comes back after a free poll.
            if let Some(phase) = phase(&handle, task.clone()).await {
                told.send((thread::current().id(), phase)).unwrap();
                return;
            }
        }
    });
    assert!(asked, "the thread lives");
    answer.await.unwrap()
}

#[actix::test]
async fn a_runner_lives_on_the_thread_that_was_the_first_to_be_asked_for_its_workflow() {
    let backend = Scripted::new(Script::StartsAfter(Duration::ZERO));
    let (handle, ..) = supervised(backend.clone());
    let (one, other) = (Arbiter::new(), Arbiter::new());
    let (home, told) = asked_on(&one, &handle, execution("a")).await;
    assert_eq!(told, Phase::Running);
    let (elsewhere, told) = asked_on(&other, &handle, execution("a")).await;
    assert_eq!(told, Phase::Running, "the same runner answers everywhere");
    let (second, _) = asked_on(&other, &handle, execution("b")).await;
    let starts: Vec<ThreadId> = backend.starts.lock().unwrap().iter().map(|(place, _)| *place).collect();
    assert_eq!(starts, [home, elsewhere]);
    assert_eq!(second, elsewhere);
}

#[actix::test]
async fn a_runner_whose_thread_ends_is_respawned_on_the_supervisors() {
    let backend = Scripted::new(Script::StartsAfter(Duration::ZERO));
    let (handle, metrics, _death) = supervised(backend.clone());
    let worker = Arbiter::new();
    let (home, told) = asked_on(&worker, &handle, execution("a")).await;
    assert_eq!(told, Phase::Running);
    assert!(worker.stop());
    worker.join().unwrap();

    tokio::time::pause();
    assert!(is_free_poll(&ask(&handle, execution("a")).await));
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(phase(&handle, execution("a")).await, Some(Phase::Running));
    assert!(series(&metrics, RESTARTS) == 1.0);
    let starts = backend.starts.lock().unwrap();
    let [(first, start), (second, again)] = &starts[..] else { panic!("two starts: {starts:?}") };
    assert_eq!((*first, *second), (home, thread::current().id()));
    assert_eq!(start.token, again.token, "AWS takes it for one");
}

#[actix::test]
async fn after_a_drain_a_runner_ends_with_its_thread_and_for_good() {
    let (handle, metrics, _death) = supervised(Scripted::new(Script::StartsAfter(Duration::ZERO)));
    let worker = Arbiter::new();
    assert_eq!(asked_on(&worker, &handle, execution("a")).await.1, Phase::Running);
    assert_eq!(handle.drain(Duration::from_secs(25)).await.unwrap().len(), 1);
    assert!(worker.stop());
    worker.join().unwrap();

    tokio::time::pause();
    sleep(Duration::from_secs(120)).await;
    assert!(is_free_poll(&ask(&handle, execution("a")).await), "and not 503: the agent fails a node for that");
    assert!(series(&metrics, RESTARTS) == 0.0);
}

#[actix::test]
async fn a_panicking_call_is_an_unknown_outcome_and_not_the_runners_death() {
    tokio::time::pause();
    let backend = Scripted::new(Script::Panics);
    let (handle, metrics, _death) = supervised(backend.clone());
    let reply = ask(&handle, execution("a")).await;
    assert!(!reply.node.unwrap().phase.is_some_and(Phase::is_terminal));
    assert!(backend.calls.load(Ordering::SeqCst) >= 1);
    assert!(metrics.encode().unwrap().contains("outcome=\"outcome_unknown\""));

    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
    assert!(series(&metrics, RESTARTS) == 0.0);
}

#[actix::test]
async fn a_hanging_aws_still_gets_an_answer_within_the_reply_timeout() {
    tokio::time::pause();
    let (handle, ..) = supervised(Scripted::new(Script::Hangs));
    let began = Instant::now();
    let reply = ask(&handle, execution("a")).await;
    assert!(began.elapsed() <= REPLY_TIMEOUT + Duration::from_millis(5), "{:?}", began.elapsed());
    assert!(reply.requeue.is_some());
    assert!(!reply.node.unwrap().phase.is_some_and(Phase::is_terminal));
}

#[actix::test]
async fn the_supervisors_death_is_seen_by_the_app_and_by_every_handle() {
    tokio::time::pause();
    let (handle, _metrics, death) = supervised(Scripted::new(Script::Hangs));
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
    assert!(handle.crash_supervisor_for_test());
    assert!(death.await.is_err(), "its sender was dropped");
    assert_eq!(handle.execute(mock("a")).await, Err(SupervisorError::Gone));
    assert_eq!(handle.execute(mock("b")).await, Err(SupervisorError::Gone));
    assert!(!handle.is_alive());
}

#[actix::test]
async fn the_keepers_death_is_the_supervisors() {
    tokio::time::pause();
    let (handle, _metrics, death) = supervised(Scripted::new(Script::Hangs));
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
    assert!(handle.crash_keeper_for_test());
    assert!(death.await.is_err(), "its sender was dropped");
    assert_eq!(handle.execute(mock("a")).await, Err(SupervisorError::Gone));
}

#[actix::test]
async fn a_supervisor_that_is_silent_for_30_seconds_counts_as_dead() {
    tokio::time::pause();
    let (handle, ..) = supervised(Scripted::new(Script::Hangs));
    sleep(Duration::from_secs(29)).await;
    assert!(handle.is_alive());
    sleep(Duration::from_secs(2)).await;
    assert!(!handle.is_alive());
    actix::spawn(handle.clone().keep_pinging());
    sleep(Duration::from_secs(100)).await;
    assert!(handle.is_alive());
}

#[actix::test]
async fn while_draining_known_workflows_are_answered_and_new_ones_get_free_polls() {
    tokio::time::pause();
    let (handle, ..) = supervised(Scripted::new(Script::Hangs));
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
    let began = Instant::now();
    assert_eq!(handle.drain(Duration::from_secs(25)).await.unwrap(), Vec::new());
    assert!(began.elapsed() < Duration::from_secs(1), "nothing was in flight");
    assert!(handle.is_draining());
    assert!(is_free_poll(&ask(&handle, mock("b")).await));
    assert_eq!(phase(&handle, mock("a")).await, Some(Phase::Succeeded));
}

#[actix::test]
async fn a_drain_awaits_the_start_in_flight_and_names_what_is_left_running() {
    tokio::time::pause();
    let (handle, metrics, _death) = supervised(Scripted::new(Script::StartsAfter(Duration::from_secs(5))));
    let began = Instant::now();
    assert!(!phase(&handle, execution("a")).await.is_some_and(Phase::is_terminal));
    let live = handle.drain(Duration::from_secs(25)).await.unwrap();
    assert_eq!(live, [LiveExecution { arn: ARN.to_owned(), stopping: false }]);
    assert!((5..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

    sleep(Duration::from_secs(1)).await;
    handle.publish_gauges().await;
    assert!(series(&metrics, "awf_aws_executions_started_total") == 1.0);
    assert!(series(&metrics, "awf_aws_active_executions{status=\"Executing\"}") == 1.0);
    assert!(series(&metrics, STARTS) == 1.0);
    assert!(is_free_poll(&ask(&handle, execution("a")).await), "only ends are still told");
}

#[actix::test]
async fn a_start_that_does_not_end_holds_the_drain_for_its_grace_and_no_longer() {
    tokio::time::pause();
    let (handle, metrics, _death) = supervised(Scripted::new(Script::StartsAfter(Duration::from_secs(3600))));
    assert!(!phase(&handle, execution("a")).await.is_some_and(Phase::is_terminal));
    let began = Instant::now();
    assert_eq!(handle.drain(Duration::from_secs(23)).await.unwrap(), []);
    assert_eq!(began.elapsed().as_secs(), 23);
    assert!(series(&metrics, STARTS) == 0.0);
}

#[actix::test]
async fn a_dying_runner_takes_its_share_of_the_active_executions_along() {
    tokio::time::pause();
    let (handle, metrics, _death) = supervised(Scripted::new(Script::StartsAfter(Duration::ZERO)));
    assert_eq!(phase(&handle, execution("a")).await, Some(Phase::Running));
    assert_eq!(phase(&handle, execution("b")).await, Some(Phase::Running));
    handle.publish_gauges().await;
    assert!(series(&metrics, "awf_aws_active_executions{status=\"Executing\"}") == 2.0);
    assert!(series(&metrics, "awf_aws_actors{actor=\"workflow\"}") == 2.0);
    assert!(handle.crash_runner_for_test(&execution("a").workflow));
    sleep(Duration::from_millis(10)).await;
    assert!(series(&metrics, "awf_aws_active_executions{status=\"Executing\"}") == 1.0);
    assert!(series(&metrics, "awf_aws_actors{actor=\"workflow\"}") == 1.0);
    assert!(series(&metrics, "awf_aws_actors{actor=\"supervisor\"}") == 1.0);
    assert!(series(&metrics, "awf_aws_actor_mailbox_messages{actor=\"workflow\"}") == 0.0, "none is lost or forgotten");
}

#[actix::test]
async fn a_dead_supervisor_ends_the_app_by_a_fault() {
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        ops_listen: "127.0.0.1:0".parse().unwrap(),
        token_file: None,
        reply_timeout: REPLY_TIMEOUT,
        poll_min: Duration::from_secs(5),
        poll_max: Duration::from_secs(30),
        shutdown_grace: Duration::from_secs(25),
        metrics_linger: Duration::from_secs(20),
        stop_wait: Duration::from_secs(600),
        logs: true,
        denied_grace: Duration::from_secs(120),
        kubernetes: KubernetesConfig::Off,
        argo_controller_account: None,
        workflow_check_interval: Duration::from_secs(60),
        forget_after: Duration::from_secs(900),
        max_running_per_workflow: None,
        max_reads_per_second: 50,
        max_writes_per_second: 50,
        allowed_roles: Vec::new(),
        log: LogConfig { filter: "info".to_owned(), format: LogFormat::Text },
    };
    let service = app::Service::start(&config, Scripted::new(Script::Hangs), None, app::wall_clock()).unwrap();
    assert!(service.supervisor.crash_supervisor_for_test());
    let ended = service.until_signal(app::Shutdown::of(&config)).await;
    assert!(matches!(ended, Err(app::AppError::SupervisorDied)), "{ended:?}");
}
