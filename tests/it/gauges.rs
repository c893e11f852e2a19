//! What runs and what waits, told from the state: it is true at every scrape, however things came to be so.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use awf_aws::{
    actors::{Dependencies, Supervisor, SupervisorHandle},
    app,
    backend::Backend,
    input,
    metrics::Metrics,
    observer::NoObserver,
    pace,
    pipelines::{Call, CallEnded, CallError, CallErrorKind, CallReply, ClientKey, Clock, Execution, Status, Step},
    protocol::{ExecuteTemplateArgs, ExecuteTemplateReply},
    workflow::Settings,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{supervision::series, support::argo::execute};

/// A service whose executions are what the test says they are.
#[derive(Default)]
struct Service {
    clock: Option<Clock>,
    executions: Mutex<BTreeMap<String, Status>>,
    full: Mutex<bool>,
    /// Nothing but starts is answered.
    deaf: Mutex<bool>,
    /// How long ago what has ended did so, after a run of 100 s.
    ended_ago: Mutex<Option<Duration>>,
}

impl Service {
    fn set(&self, execution: &str, status: Status) {
        self.executions.lock().unwrap().insert(arn(execution), status);
    }

    fn delete(&self, execution: &str) {
        self.executions.lock().unwrap().remove(&arn(execution));
    }

    fn shows(&self, arn: &str, status: &Status) -> Execution {
        let ended = self
            .ended_ago
            .lock()
            .unwrap()
            .zip(self.clock.as_ref())
            .map(|(ago, clock)| clock().minus(ago))
            .filter(|_| !status.is_live());
        Execution {
            arn: arn.to_owned(),
            status: status.clone(),
            created: ended.map(|at| at.minus(Duration::from_secs(100))),
            modified: ended,
            description: None,
            failure_reason: None,
            started_by: None,
        }
    }

    fn answer(&self, call: Call) -> Result<CallReply, CallError> {
        let mut executions = self.executions.lock().unwrap();
        let refuse =
            |kind: CallErrorKind| Err(CallError { kind, code: None, message: "refused".to_owned(), request_id: None });
        Ok(match call {
            Call::GetCallerIdentity => CallReply::CallerIdentity { account: "100000000002".to_owned() },
            Call::DescribeExecution { .. } | Call::ListExecutions { .. } if *self.deaf.lock().unwrap() => {
                return refuse(CallErrorKind::OutcomeUnknown);
            }
            Call::ListExecutions { .. } => CallReply::Executions {
                page: executions.iter().map(|(arn, status)| self.shows(arn, status)).collect(),
                next_token: None,
            },
            Call::StartExecution(_) if *self.full.lock().unwrap() => return refuse(CallErrorKind::QuotaExceeded),
            Call::StartExecution(_) => {
                let arn = arn(&format!("started{:05}", executions.len()));
                executions.insert(arn.clone(), Status::Executing);
                CallReply::Started { arn }
            }
            Call::DescribeExecution { arn } => match executions.get(&arn) {
                Some(status) => CallReply::Execution(self.shows(&arn, status)),
                None => return refuse(CallErrorKind::NotFound),
            },
            Call::ListSteps { .. } => CallReply::Steps { page: vec![failed_step()], next_token: None },
            Call::StopExecution { .. } => CallReply::Stopping,
            other => panic!("unexpected {other:?}"),
        })
    }
}

impl Backend for Service {
    fn call(&self, _: ClientKey, call: Call) -> Pin<Box<dyn Future<Output = CallEnded> + Send>> {
        let result = self.answer(call);
        Box::pin(async move { CallEnded { result, server_time: None } })
    }
}

fn failed_step() -> Step {
    Step {
        name: "train".to_owned(),
        status: "Failed".to_owned(),
        kind: Some("TrainingJob".to_owned()),
        ..Step::default()
    }
}

fn arn(execution: &str) -> String {
    format!("arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline/execution/{execution:0>12}")
}

struct Plugin {
    service: Arc<Service>,
    supervisor: SupervisorHandle,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Plugin {
    fn start() -> Self {
        let clock = app::wall_clock();
        let service = Arc::new(Service { clock: Some(clock.clone()), ..Service::default() });
        let metrics = Arc::new(Metrics::new().unwrap());
        let dependencies = Dependencies {
            backend: service.clone(),
            observer: Arc::new(NoObserver),
            clock: clock.clone(),
            metrics: metrics.clone(),
            settings: Settings { reply_timeout: Duration::from_millis(800), ..Settings::default() },
            pace: pace::Settings::default(),
        };
        let (supervisor, _death) = Supervisor::launch(dependencies, Duration::from_secs(1));
        Self { service, supervisor, metrics, clock }
    }

    async fn ask(&self, body: &Value) -> ExecuteTemplateReply {
        let body = body.to_string();
        let args: ExecuteTemplateArgs<'_> = serde_json::from_str(&body).unwrap();
        let task = input::read_task(&args).unwrap().unwrap();
        self.supervisor.execute(Arc::new(task)).await.unwrap().reply.read()
    }

    /// The next look at what runs is at most half a minute away.
    async fn after_a_poll(&self) {
        sleep(Duration::from_secs(40)).await;
    }

    async fn text(&self) -> String {
        self.supervisor.publish_gauges().await;
        self.metrics.encode().unwrap()
    }

    /// Seconds since the epoch by the plugin's clock.
    fn now(&self) -> f64 {
        (self.clock)().millis() as f64 / 1000.0
    }

    async fn series(&self, name: &str) -> f64 {
        self.supervisor.publish_gauges().await;
        series(&self.metrics, name)
    }

    /// (Executing, Stopping)
    async fn active(&self) -> (f64, f64) {
        let executing = self.series("awf_aws_active_executions{status=\"Executing\"}").await;
        (executing, self.series("awf_aws_active_executions{status=\"Stopping\"}").await)
    }
}

/// A node that is attached to an execution of somebody else's.
fn attached(execution: &str) -> Value {
    execute(execution, json!({"execution_arn": arn(execution)}))
}

#[actix::test]
async fn attached_executions_are_active() {
    tokio::time::pause();
    let plugin = Plugin::start();
    for execution in ["one", "two", "three"] {
        plugin.service.set(execution, Status::Executing);
        plugin.ask(&attached(execution)).await;
    }
    assert_eq!(plugin.active().await, (3.0, 0.0));
}

#[actix::test]
async fn an_execution_that_somebody_stops_counts_as_stopping_and_one_that_is_revived_as_executing() {
    tokio::time::pause();
    let plugin = Plugin::start();
    plugin.ask(&execute("node", json!({}))).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(plugin.active().await, (1.0, 0.0));
    plugin.service.set("started00000", Status::Stopping);
    plugin.after_a_poll().await;
    assert_eq!(plugin.active().await, (0.0, 1.0));
    plugin.service.set("started00000", Status::Executing);
    plugin.after_a_poll().await;
    assert_eq!(plugin.active().await, (1.0, 0.0));
}

#[actix::test]
async fn an_execution_that_is_gone_is_not_active() {
    tokio::time::pause();
    let plugin = Plugin::start();
    plugin.ask(&execute("node", json!({}))).await;
    sleep(Duration::from_secs(90)).await;
    assert_eq!(plugin.active().await, (1.0, 0.0));
    plugin.service.delete("started00000");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(plugin.active().await, (0.0, 0.0));
    assert!(plugin.series("awf_aws_executions_finished_total{status=\"Unknown\"}").await == 1.0);
}

#[actix::test]
async fn who_waits_for_capacity_has_a_place_in_the_queue_and_a_time_since_when() {
    tokio::time::pause();
    let plugin = Plugin::start();
    let head = "awf_aws_start_queue_head_timestamp_seconds";
    *plugin.service.full.lock().unwrap() = true;
    assert!(!plugin.text().await.contains(head), "nobody waits");
    for node in ["first", "second", "third"] {
        plugin.ask(&execute(node, json!({}))).await;
    }
    sleep(Duration::from_secs(30)).await;
    assert!(plugin.series("awf_aws_open_nodes").await == 3.0);
    assert!((2.0..=3.0).contains(&plugin.series("awf_aws_start_queue_places").await), "one may be on its way");
    let waits = plugin.now() - plugin.series(head).await;
    assert!((30.0..=32.0).contains(&waits), "{waits}");

    *plugin.service.full.lock().unwrap() = false;
    sleep(Duration::from_secs(60)).await;
    assert!(plugin.series("awf_aws_start_queue_places").await == 0.0);
    assert!(!plugin.text().await.contains(head));
    assert_eq!(plugin.active().await, (3.0, 0.0));
}

#[actix::test]
async fn the_oldest_look_at_an_execution_grows_old_when_aws_does_not_answer_and_goes_with_the_last_execution() {
    tokio::time::pause();
    let plugin = Plugin::start();
    let oldest = "awf_aws_oldest_execution_poll_timestamp_seconds";
    plugin.ask(&execute("node", json!({}))).await;
    sleep(Duration::from_secs(200)).await;
    let age = plugin.now() - plugin.series(oldest).await;
    assert!(age <= 31.0, "{age}");
    *plugin.service.deaf.lock().unwrap() = true;
    sleep(Duration::from_secs(600)).await;
    let age = plugin.now() - plugin.series(oldest).await;
    assert!((600.0..=632.0).contains(&age), "{age}");
    *plugin.service.deaf.lock().unwrap() = false;
    plugin.service.set("started00000", Status::Succeeded);
    sleep(Duration::from_secs(120)).await;
    assert!(!plugin.text().await.contains(oldest));
}

#[actix::test]
async fn calls_that_wait_for_the_pace_are_shown_and_their_wait_is_measured() {
    tokio::time::pause();
    let plugin = Plugin::start();
    for node in 0..60 {
        plugin.ask(&attached(&format!("number{node}"))).await;
    }
    let reads = |metric: &str| format!("awf_aws_aws_{metric}{{access=\"read\",aws_region=\"us-west-2\"}}");
    assert!(plugin.series(&reads("calls_waiting")).await > 0.0);
    assert!(plugin.series(&reads("rate_limiter_calls_per_second")).await == 5.0);
    sleep(Duration::from_secs(100)).await;
    assert!(plugin.series(&reads("calls_waiting")).await == 0.0);
    assert!(plugin.series(&reads("rate_limiter_calls_per_second")).await > 5.0, "AWS took all of them");
    let waited = plugin.series("awf_aws_aws_rate_limiter_wait_seconds_sum").await;
    assert!(waited > 1.0, "{waited}");
}

#[actix::test]
async fn an_end_is_counted_once_with_its_run_time_its_lag_and_its_steps() {
    tokio::time::pause();
    let plugin = Plugin::start();
    plugin.ask(&execute("node", json!({}))).await;
    sleep(Duration::from_secs(5)).await;
    *plugin.service.ended_ago.lock().unwrap() = Some(Duration::from_secs(20));
    plugin.service.set("started00000", Status::Failed);
    plugin.after_a_poll().await;
    assert!(plugin.series("awf_aws_executions_finished_total{status=\"Failed\"}").await == 1.0);
    assert!(plugin.series("awf_aws_execution_duration_seconds_sum{status=\"Failed\"}").await == 100.0);
    assert!(plugin.series("awf_aws_execution_detection_lag_seconds_sum").await == 20.0);
    let steps = "awf_aws_steps_finished_total{status=\"Failed\",step_type=\"TrainingJob\"}";
    assert!(plugin.series(steps).await == 1.0);
}
