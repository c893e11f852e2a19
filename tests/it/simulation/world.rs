//! The simulated world: one agenda of happenings under one clock. No sockets, no threads, no real time; everything
//! random comes from the seed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use awf_aws::{
    input::Task,
    pipelines::{Call, CallEnded, ClientKey, Time},
    protocol::ExecuteTemplateReply,
    simulator::{
        book::Book,
        faults::Faults,
        scenario::{Scenario, ScenarioPipeline},
    },
    workflow::{CallId, WorkflowState, identity::Key},
};
use fastrand::Rng;
use serde_json::json;

use super::{
    argo::{NodeId, Workflow},
    bites::Bites,
    checks::Checks,
    congestion::Congestion,
    plan::{Kubernetes, PIPELINES, Plan, SECOND},
    pod::PodId,
    saboteur::{Sabotage, Saboteur},
    templates::{OTHER_ACCOUNT, OTHER_REGION},
    troubles::Deed,
};

/// By then everything must have ended.
const HORIZON: Duration = Duration::from_secs(24 * 3600);
/// The book begins earlier: other people have used the account before.
const BOOK_BEGINS: Duration = Duration::from_secs(7200);
/// More happenings than this and something spins.
const TOO_MANY: usize = 400_000;

/// What happens next.
pub enum Happening {
    /// The controller looks at a workflow.
    Reconcile(usize),
    Stop(usize),
    Terminate(usize),
    Delete(usize),
    SecondPod(usize),
    /// The pods are drained; another one comes.
    Drained(usize),
    PodReturns(usize),
    /// SIGSTOP.
    Freeze(usize),
    KubernetesChanges(usize),
    Strangers,
    Deed(Deed),
    Nosy,
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
    /// What the workflows of a process share has something to say to the machine.
    Said(PodId, u32),
    /// A turn comes by then.
    TurnComes(PodId, u32, Time),
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
        sent: Time,
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
    pub saboteur: Saboteur,
    /// The nodes under each key, in the order of their creation.
    pub names: HashMap<Key, Vec<(usize, NodeId)>>,
    /// Refusals of the next call only that have struck.
    pub spent: HashSet<usize>,
    pub bites: Bites,
    /// What happened, for whoever replays a seed.
    pub story: Option<Vec<String>>,
    agenda: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
}

impl World {
    /// When every simulation begins.
    pub const START: Time = Time::at(1_795_000_000_000);

    pub fn new(plan: Plan, sabotage: Option<Sabotage>, tell: bool) -> Self {
        let steps = |kind: &str| {
            json!({"Version": "2020-12-01", "Parameters": [{"Name": "Now", "Type": "String", "DefaultValue": "-"}],
            "Steps": [first(), work(kind)]})
        };
        let places = [("us-west-2", None), (OTHER_REGION, None), ("us-west-2", Some(OTHER_ACCOUNT))];
        let pipelines = places.map(|(region, account)| {
            PIPELINES.map(|name| ScenarioPipeline {
                name: name.to_owned(),
                region: region.to_owned(),
                account: account.map(str::to_owned),
                definition: steps(name),
                description: None,
                role_arn: None,
            })
        });
        let faults = json!({
            "quota": plan.quota, "list_lag_seconds": plan.list_lag, "token_semantics": plan.token_semantics,
            "list_stale_seconds": plan.troubles.stale, "not_found_seconds": plan.troubles.not_found,
            "steps": {
                "Quick/First": {"seconds": 5.0}, "Quick/Work": {"seconds": 20.0, "metrics": {"loss": 0.5}},
                "Slow/First": {"seconds": 300.0}, "Slow/Work": {"seconds": 900.0, "metrics": {"loss": 0.5}},
                "FailsOnce/First": {"seconds": 10.0},
                "FailsOnce/Work": {"seconds": 30.0, "fail": 1, "metrics": {"loss": 0.5}},
                "FailsAlways/First": {"seconds": 10.0}, "FailsAlways/Work": {"seconds": 10.0, "fail": "always"},
                "Blocked/First": {"seconds": 10.0}, "Blocked/Work": {"seconds": 3600.0},
                "Partly/First": {"seconds": 5.0, "fail": "always", "handled": true}, "Partly/Work": {"seconds": 15.0},
            },
            "deny": if plan.list_denied { json!({"ListPipelineExecutions": "always"}) } else { json!({}) },
        });
        let scenario = Scenario {
            seed: plan.seed,
            access_keys: BTreeMap::from([(format!("AKIA{OTHER_ACCOUNT}"), OTHER_ACCOUNT.to_owned())]),
            pipelines: pipelines.concat(),
            faults: Faults::default().merged(&faults).unwrap(),
            ..Scenario::default()
        };
        let mut world = Self {
            rng: Rng::with_seed(plan.seed ^ 0x5eed),
            now: Self::START,
            book: Book::new(scenario, Self::START.minus(BOOK_BEGINS)).unwrap(),
            workflows: Vec::new(),
            checks: Checks::default(),
            elsewhere: String::new(),
            saboteur: Saboteur::new(sabotage),
            names: HashMap::new(),
            spent: HashSet::new(),
            bites: Bites::default(),
            story: tell.then(Vec::new),
            agenda: BTreeMap::new(),
            sequence: 0,
            plan,
        };
        world.start_strangers();
        world.elsewhere = world.start_elsewhere();
        for number in 0..world.plan.workflows.len() {
            world.submit(number);
        }
        for (after, deed) in world.plan.troubles.deeds.clone() {
            world.after(after, Happening::Deed(deed));
        }
        if world.plan.troubles.nosy {
            world.after(20 * SECOND, Happening::Nosy);
        }
        world
    }

    /// Plays until everything has ended. The error says which promise was broken.
    pub fn run(&mut self) -> Result<(), String> {
        let mut happenings = 0;
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            happenings += 1;
            if happenings > TOO_MANY {
                return Err(format!("something spins: {TOO_MANY} happenings by {}", self.clock()));
            }
            if at > Self::START.plus(HORIZON) {
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
            Happening::Terminate(workflow) => self.end_workflow(workflow, false),
            Happening::Delete(workflow) => self.end_workflow(workflow, true),
            Happening::SecondPod(workflow) => self.second_pod(workflow),
            Happening::Drained(workflow) => self.drained(workflow),
            Happening::PodReturns(workflow) => self.pod_returns(workflow),
            Happening::Freeze(workflow) => self.freeze(workflow),
            Happening::KubernetesChanges(workflow) => {
                if self.kubernetes(workflow) != Kubernetes::Off {
                    self.bites.add("fault: Kubernetes changes its answers");
                }
                self.disturbed(workflow);
            }
            Happening::Strangers => self.strangers(),
            Happening::Deed(deed) => self.deed(deed),
            Happening::Nosy => self.nosy(),
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
            Happening::Said(pod, plugin) => self.said(pod, plugin),
            Happening::TurnComes(pod, plugin, at) => self.turn_comes(pod, plugin, at),
            Happening::ToAws { pod, plugin, call, client, operation, knew_over } => {
                self.call_aws(pod, plugin, call, &client, operation, knew_over);
            }
            Happening::FromAws { pod, plugin, call, ended, sent } => {
                self.call_came_back(pod, plugin, call, ended, sent);
            }
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
        let calm_after = self.plan.troubles.congestion.map(Congestion::calm_after).unwrap_or(self.plan.calm_after);
        self.now >= Self::START.plus(calm_after)
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
        let ms = self.now.millis() - Self::START.millis();
        format!("{:>6}.{:03}", ms / 1000, ms % 1000)
    }
}

fn first() -> serde_json::Value {
    let output = json!({"OutputName": "data", "S3Output": {"S3Uri": "s3://data/first"}});
    json!({"Name": "First", "Type": "Processing", "Arguments": {"ProcessingOutputConfig": {"Outputs": [output]}}})
}

fn work(pipeline: &str) -> serde_json::Value {
    if pipeline == "Blocked" {
        json!({"Name": "Work", "Type": "Callback", "DependsOn": ["First"], "SqsQueueUrl": "https://sqs.us-west-2.amazonaws.com/100000000002/q"})
    } else {
        json!({"Name": "Work", "Type": "Training", "DependsOn": ["First"]})
    }
}
