//! The simulated world: one agenda of happenings under one clock. No sockets, no threads, no real time; everything
//! random comes from the seed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use awf_aws::{
    input::{Task, WorkflowId},
    pipelines::{Call, CallEnded, CallError, CallErrorKind, CallReply, ClientKey, StartExecution, Time},
    protocol::ExecuteTemplateReply,
    simulator::{
        book::Book,
        door,
        faults::{Faults, Times},
        scenario::{Scenario, ScenarioPipeline},
    },
    workflow::{
        CallId, Sabotage, WorkflowState,
        identity::{Key, Marker, execution_id},
    },
};
use fastrand::Rng;
use serde_json::json;

use super::{
    argo::{NodeId, Workflow},
    checks::{Checks, Process},
    plan::{ELSEWHERE, PIPELINES, Plan},
    pod::PodId,
};
use crate::machine::task;

/// When every simulation begins.
const START: Time = Time(1_795_000_000_000);
/// By then everything must have ended.
const HORIZON: Duration = Duration::from_secs(24 * 3600);
/// More happenings than this and something spins.
const TOO_MANY: usize = 400_000;

/// What happens next.
pub enum Happening {
    /// The controller looks at a workflow.
    Reconcile(usize),
    Stop(usize),
    SecondPod(usize),
    EndPod(PodId),
    /// The agent's timer of a task.
    Ask(PodId, u32, NodeId),
    /// A request arrives at the plugin.
    Request {
        pod: PodId,
        exchange: u64,
        node: NodeId,
        task: Arc<Task>,
    },
    /// Its answer, or the loss of the connection, arrives at the agent.
    Reply {
        pod: PodId,
        agent: u32,
        exchange: u64,
        node: NodeId,
        reply: Option<ExecuteTemplateReply>,
    },
    /// The agent writes its results to the TaskSet.
    Patch(PodId, u32),
    RestartAgent(PodId),
    StartPlugin(PodId),
    KillPlugin(PodId),
    Stall(PodId),
    Alarm(PodId, u32, Time),
    ToAws {
        pod: PodId,
        plugin: u32,
        call: CallId,
        client: ClientKey,
        operation: Call,
        knew_over: bool,
    },
    FromAws {
        pod: PodId,
        plugin: u32,
        call: CallId,
        ended: CallEnded,
    },
    Kubernetes(PodId, u32, WorkflowState),
}

pub struct World {
    pub plan: Plan,
    pub rng: Rng,
    pub now: Time,
    pub book: Book,
    pub workflows: Vec<Workflow>,
    pub checks: Checks,
    /// What somebody else started before everything else.
    pub elsewhere: String,
    pub sabotage: Option<Sabotage>,
    /// What happened, for whoever replays a seed.
    pub story: Option<Vec<String>>,
    agenda: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
}

impl World {
    pub fn new(plan: Plan, sabotage: Option<Sabotage>, tell: bool) -> Self {
        let steps = |kind: &str| {
            json!({"Version": "2020-12-01", "Parameters": [{"Name": "Now", "Type": "String", "DefaultValue": "-"}],
            "Steps": [{"Name": "First", "Type": "Processing"}, work(kind)]})
        };
        let pipelines = PIPELINES.map(|name| ScenarioPipeline {
            name: name.to_owned(),
            region: "us-west-2".to_owned(),
            account: None,
            definition: steps(name),
            description: None,
            role_arn: None,
        });
        let faults = json!({
            "quota": plan.quota, "list_lag_seconds": plan.list_lag, "token_semantics": plan.token_semantics,
            "steps": {
                "Quick/First": {"seconds": 5.0}, "Quick/Work": {"seconds": 20.0},
                "Slow/First": {"seconds": 300.0}, "Slow/Work": {"seconds": 900.0},
                "FailsOnce/First": {"seconds": 10.0}, "FailsOnce/Work": {"seconds": 30.0, "fail": 1},
                "FailsAlways/First": {"seconds": 10.0}, "FailsAlways/Work": {"seconds": 10.0, "fail": "always"},
                "Blocked/First": {"seconds": 10.0}, "Blocked/Work": {"seconds": 3600.0},
            },
            "deny": if plan.list_denied { json!({"ListPipelineExecutions": "always"}) } else { json!({}) },
        });
        let scenario = Scenario {
            seed: plan.seed,
            pipelines: pipelines.to_vec(),
            faults: Faults::default().merged(&faults).unwrap(),
            ..Scenario::default()
        };
        let mut world = Self {
            rng: Rng::with_seed(plan.seed ^ 0x5eed),
            now: START,
            book: Book::new(scenario, START).unwrap(),
            workflows: Vec::new(),
            checks: Checks::default(),
            elsewhere: String::new(),
            sabotage,
            story: tell.then(Vec::new),
            agenda: BTreeMap::new(),
            sequence: 0,
            plan,
        };
        world.elsewhere = world.start_elsewhere();
        for number in 0..world.plan.workflows.len() {
            world.submit(number);
        }
        world
    }

    /// Starts what some nodes attach to: another workflow's execution.
    fn start_elsewhere(&mut self) -> String {
        let theirs = Task { workflow: WorkflowId { uid: "elsewhere".into(), ..task("", 0).workflow }, ..task("", 0) };
        let marker = Marker::of(&theirs, &Key::of_execution(&theirs), None, "-", None);
        let start = StartExecution {
            pipeline: ELSEWHERE.to_owned(),
            token: "e".repeat(64),
            display_name: "elsewhere".to_owned(),
            description: marker.describe(None),
            parameters: Vec::new(),
            version: None,
            max_parallel_steps: None,
            selective: None,
        };
        let faults = std::mem::take(&mut self.book.faults);
        let started =
            door::ask(&mut self.book, "AKIASOMEBODY", &theirs.client, &Call::StartExecution(Box::new(start)), self.now);
        self.book.faults = faults;
        self.checks.knows(marker);
        match started.result {
            Ok(CallReply::Started { arn }) => arn,
            other => panic!("the simulator starts nothing: {other:?}"),
        }
    }

    /// Plays until everything has ended. The error says which promise was broken.
    pub fn run(&mut self) -> Result<(), String> {
        let mut happenings = 0;
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            happenings += 1;
            if happenings > TOO_MANY {
                return Err(format!("something spins: {TOO_MANY} happenings by {}", self.clock()));
            }
            if at > START.plus(HORIZON) {
                break;
            }
            self.now = self.now.max(at);
            self.happen(happening);
            if let Some(broken) = self.checks.broken.take() {
                return Err(format!("{}: {broken}", self.clock()));
            }
            if self.workflows.iter().all(Workflow::is_gone) {
                break;
            }
        }
        self.book.settle(self.now);
        self.final_checks()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Reconcile(workflow) => self.reconcile(workflow),
            Happening::Stop(workflow) => self.stop_workflow(workflow),
            Happening::SecondPod(workflow) => self.second_pod(workflow),
            Happening::EndPod(pod) => self.end_pod(pod),
            Happening::Ask(pod, agent, node) => self.ask(pod, agent, node),
            Happening::Request { pod, exchange, node, task } => self.request(pod, exchange, node, task),
            Happening::Reply { pod, agent, exchange, node, reply } => self.reply(pod, agent, exchange, node, reply),
            Happening::Patch(pod, agent) => self.patch(pod, agent),
            Happening::RestartAgent(pod) => self.restart_agent(pod),
            Happening::StartPlugin(pod) => self.start_plugin(pod),
            Happening::KillPlugin(pod) => self.kill_plugin_now_and_again(pod),
            Happening::Stall(pod) => self.stall(pod),
            Happening::Alarm(pod, plugin, at) => self.alarm(pod, plugin, at),
            Happening::ToAws { pod, plugin, call, client, operation, knew_over } => {
                self.call_aws(pod, plugin, call, &client, operation, knew_over);
            }
            Happening::FromAws { pod, plugin, call, ended } => self.call_came_back(pod, plugin, call, ended),
            Happening::Kubernetes(pod, plugin, state) => self.kubernetes_answers(pod, plugin, state),
        }
    }

    pub fn at(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at.max(self.now), self.sequence), happening);
    }

    pub fn after(&mut self, wait: Duration, happening: Happening) {
        self.at(self.now.plus(wait), happening);
    }

    /// A random duration in milliseconds.
    pub fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.u64(from..to))
    }

    /// Whether something that may go wrong does so now.
    pub fn strikes(&mut self, odds: f64) -> bool {
        odds > 0.0 && !self.is_calm() && self.rng.f64() < odds
    }

    pub fn is_calm(&self) -> bool {
        self.now >= START.plus(self.plan.calm_after)
    }

    /// An exponentially distributed wait.
    pub fn wait_about(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.rng.f64()).ln()) + Duration::from_millis(1)
    }

    pub fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = format!("{} {}", self.clock(), line(self));
            self.story.iter_mut().for_each(|story| story.push(line.clone()));
        }
    }

    fn clock(&self) -> String {
        let ms = self.now.0 - START.0;
        format!("{:>6}.{:03}", ms / 1000, ms % 1000)
    }

    /// A call arrives at AWS and has its effect; its answer leaves.
    fn call_aws(
        &mut self,
        pod: PodId,
        plugin: u32,
        call: CallId,
        client: &ClientKey,
        operation: Call,
        knew_over: bool,
    ) {
        let ended = self.aws_answers((pod, plugin), client, &operation, knew_over);
        self.tell(|_| format!("{pod:?} {} -> {}", spell(&operation), spell_result(&ended.0)));
        let wait = ended.1 + self.ms(5, 200);
        self.after(wait, Happening::FromAws { pod, plugin, call, ended: ended.0 });
    }

    fn aws_answers(
        &mut self,
        process: Process,
        client: &ClientKey,
        operation: &Call,
        knew_over: bool,
    ) -> (CallEnded, Duration) {
        let refused = |kind, message: &str| {
            let error = CallError { kind, code: None, message: message.to_owned(), request_id: None };
            (CallEnded { result: Err(error), server_time: None }, Duration::ZERO)
        };
        let odds = self.plan.odds;
        if self.strikes(odds.unreachable) {
            return refused(CallErrorKind::Unreachable, "no route to host");
        }
        let gap = self.plan.credentials_gap.map(|(from, to)| (START.plus(from), START.plus(to)));
        if gap.is_some_and(|(from, to)| from <= self.now && self.now < to) {
            return refused(CallErrorKind::Credentials, "the web identity token expired");
        }
        let name = operation.operation();
        let strikes =
            [odds.throttle, odds.server_error, odds.lost_reply, odds.hang, odds.conflict].map(|o| self.strikes(o));
        let Faults { throttle, server_error, lose_reply, hang, conflict, .. } = &mut self.book.faults;
        for (fault, strikes) in [throttle, server_error, lose_reply, hang, conflict].into_iter().zip(strikes) {
            fault.clear();
            if strikes {
                fault.insert(name.to_owned(), Times::Next(1));
            }
        }
        // On a start a conflict would say that the execution exists.
        if name != "StopPipelineExecution" {
            self.book.faults.conflict.clear();
        }
        let known = self.book.executions().len();
        let outcome = door::ask(&mut self.book, "AKIAPLUGIN", client, operation, self.now);
        self.check_call(process, operation, &outcome.result, known, knew_over);
        (CallEnded { result: outcome.result, server_time: outcome.answered.then_some(self.now) }, outcome.after)
    }
}

fn work(pipeline: &str) -> serde_json::Value {
    if pipeline == "Blocked" {
        json!({"Name": "Work", "Type": "Callback", "DependsOn": ["First"], "SqsQueueUrl": "https://sqs.us-west-2.amazonaws.com/100000000002/q"})
    } else {
        json!({"Name": "Work", "Type": "Training", "DependsOn": ["First"]})
    }
}

fn spell(call: &Call) -> String {
    match call {
        Call::StartExecution(start) => format!("Start {} token {}", start.pipeline, &start.token[..8]),
        Call::DescribeExecution { arn } | Call::ListSteps { arn, .. } | Call::StopExecution { arn, .. } => {
            format!("{} {}", call.operation(), execution_id(arn))
        }
        _ => call.operation().to_owned(),
    }
}

fn spell_result(ended: &CallEnded) -> String {
    match &ended.result {
        Ok(CallReply::Started { arn }) => execution_id(arn).to_owned(),
        Ok(CallReply::Execution(execution)) => execution.status.as_str().to_owned(),
        Ok(CallReply::Executions { page, .. }) => format!("{} executions", page.len()),
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{}: {}", error.kind.as_str(), error.message),
    }
}
