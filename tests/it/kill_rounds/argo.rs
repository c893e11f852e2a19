//! Argo's side of a round: agents one after the other, and a controller that keeps the results they bring.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use awf_aws::{
    demo::agent::{Agent, AgentSettings, NodeStatus},
    protocol::Phase,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::plan::{Dice, HOME, Kind, Names, Node, Plan, STRANGERS, Stranger};
use crate::support::{argo::TOKEN, process::LOOK, simulator::Simulator};

/// The uid of the workflow, as its executions carry it in their markers.
const OURS: &str = "uid=27c01e7c-9d93-450f-a001-c64d649aac99";
/// An agent brings its results in batches, of 10 s in Argo: those of the last batch die with it.
const BATCH_MS: u64 = 600;

/// What the controller knows, and what a test may know besides.
pub struct Argo<'a> {
    plan: &'a Plan,
    simulator: &'a Simulator,
    /// ARNs of [`STRANGERS`].
    pub strangers: Vec<String>,
    /// By node and attempt.
    pub ended: RefCell<BTreeMap<(usize, u32), NodeStatus>>,
    /// The execution of each node, as soon as it was shown.
    arns: RefCell<BTreeMap<usize, String>>,
    /// ARNs that may be stopped from now on.
    pub named: RefCell<BTreeSet<String>>,
    /// What a round must not show.
    pub wrong: RefCell<Vec<String>>,
    luck: RefCell<Dice>,
    at_the_end: Cell<bool>,
    goes_on: Cell<bool>,
    calm: Cell<bool>,
}

impl<'a> Argo<'a> {
    /// A workflow of which nothing has begun, beside executions of others that have.
    pub async fn new(plan: &'a Plan, simulator: &'a Simulator) -> Self {
        let mut strangers = Vec::new();
        for stranger in STRANGERS {
            let reply = simulator.expect("StartPipelineExecution", stranger.start()).await;
            strangers.push(reply["PipelineExecutionArn"].as_str().expect("an ARN").to_owned());
        }
        Self {
            plan,
            simulator,
            strangers,
            ended: RefCell::default(),
            arns: RefCell::default(),
            named: RefCell::default(),
            wrong: RefCell::default(),
            luck: RefCell::new(Dice(plan.luck)),
            at_the_end: Cell::default(),
            goes_on: Cell::default(),
            calm: Cell::default(),
        }
    }

    /// Whether nothing is left but to stop everything.
    pub fn is_at_the_end(&self) -> bool {
        self.at_the_end.get()
    }

    /// Lets the workflow stop everything.
    pub fn go_on(&self) {
        self.goes_on.set(true);
    }

    /// Nothing more goes wrong.
    pub fn all_is_calm(&self) {
        self.calm.set(true);
    }

    /// Names of the nodes that have not ended.
    pub fn open(&self) -> Vec<&str> {
        let ended = self.ended.borrow();
        let nodes = self.plan.nodes.iter().enumerate();
        nodes.filter(|(number, _)| !ended.contains_key(&(*number, 0))).map(|(_, node)| node.name.as_str()).collect()
    }

    /// Agents one after the other, until every node has ended.
    pub async fn drive(&self, url: &str) {
        let mut settings = AgentSettings::new(url, TOKEN);
        // As patient as Argo's own, with shorter waits.
        (settings.tries, settings.first_wait) = (12, Duration::from_millis(20));
        let lives = self.plan.agents.iter().copied().map(Duration::from_millis).chain([Duration::MAX]);
        for life in lives {
            let agent = Agent::new(settings.clone());
            let all = join_all((0..self.plan.nodes.len()).map(|number| self.node(&agent, number)));
            let ended = timeout(life, all).await.is_ok();
            self.wrong.borrow_mut().extend(agent.tally().broken_rules);
            if ended {
                return;
            }
        }
    }

    async fn node(&self, agent: &Agent, number: usize) {
        let node = &self.plan.nodes[number];
        match node.kind {
            Kind::Execute { retries, .. } => {
                let first = self.attempt(agent, number, 0, None).await;
                if retries && first.phase == Phase::Failed {
                    self.attempt(agent, number, 1, None).await;
                }
            }
            Kind::Endless => {
                self.attempt(agent, number, 0, None).await;
            }
            Kind::Attached { stranger } => {
                self.attempt(agent, number, 0, Some(self.stranger(stranger))).await;
            }
            Kind::Stop(names) => {
                let arn = self.may_be_stopped(names).await;
                let known = self.ended.borrow().contains_key(&(number, 0));
                self.attempt(agent, number, 0, Some(&arn)).await;
                if matches!(names, Names::Everything) && node.region == HOME {
                    self.owner_stops(known).await;
                }
            }
        }
    }

    /// One attempt of a node, unless the controller knows its end.
    async fn attempt(&self, agent: &Agent, number: usize, attempt: u32, arn: Option<&str>) -> NodeStatus {
        if let Some(known) = self.ended.borrow().get(&(number, attempt)) {
            return known.clone();
        }
        let node = &self.plan.nodes[number];
        let shows = |status: &NodeStatus| {
            if let Some(arn) = status.output("execution-arn") {
                self.arns.borrow_mut().insert(number, arn.to_owned());
            }
        };
        let end = agent.execute(&node.name, &self.plan.task(node, attempt, arn), shows).await;
        if let Kind::Stop(names) = node.kind
            && end.phase == Phase::Succeeded
        {
            self.check_stopped(node, names, arn, &end).await;
        }
        let wait = self.luck.borrow_mut().below(BATCH_MS);
        sleep(Duration::from_millis(wait)).await;
        self.ended.borrow_mut().insert((number, attempt), end.clone());
        end
    }

    /// Waits until there is something to stop. Gives its ARN, if it is one execution.
    async fn may_be_stopped(&self, names: Names) -> String {
        let arn = match names {
            Names::Key(target) | Names::Execution(target) => {
                self.until(|| self.arns.borrow().contains_key(&target)).await;
                self.arns.borrow()[&target].clone()
            }
            Names::Stranger(stranger) => {
                // Not before it is followed: some other nodes have ended by then.
                self.until(|| self.ended.borrow().len() >= 3).await;
                self.stranger(stranger).to_owned()
            }
            Names::Everything => {
                self.until(|| self.only_the_endless_are_left()).await;
                self.at_the_end.set(true);
                self.until(|| self.goes_on.get()).await;
                let arns = self.arns.borrow();
                let left: Vec<String> = self.left().map(|number| arns[&number].clone()).collect();
                self.named.borrow_mut().extend(left);
                return String::new();
            }
        };
        self.named.borrow_mut().insert(arn.clone());
        arn
    }

    /// What a stop node named has ended when it says so.
    async fn check_stopped(&self, node: &Node, names: Names, arn: Option<&str>, end: &NodeStatus) {
        let book = self.simulator.book().await;
        let is_named = |execution: &Value| match names {
            Names::Everything => is_ours(execution) && execution["region"] == node.region,
            _ => execution["arn"].as_str() == arn,
        };
        let executions = book["executions"].as_array().expect("the book lists executions");
        for execution in executions.iter().filter(|e| is_named(e) && is_live(e)) {
            let (name, message) = (&node.name, &end.message);
            let problem = format!("{name} says {message:?}, and {} is {}", execution["arn"], execution["status"]);
            self.wrong.borrow_mut().push(problem);
        }
    }

    /// An execution that a node is only attached to outlives the stop of everything; then its owner ends it.
    async fn owner_stops(&self, done: bool) {
        self.until(|| self.calm.get()).await;
        let arn = self.stranger(Stranger::StoppedByItsOwner);
        let status = self.simulator.status(arn).await;
        if !done && status != "Executing" && !self.named.borrow().contains(arn) {
            self.wrong.borrow_mut().push(format!("the stop of everything stopped somebody else's {arn}: {status}"));
        }
        self.named.borrow_mut().insert(arn.to_owned());
        let input = json!({"PipelineExecutionArn": arn, "ClientRequestToken": format!("owner-{:0>32}", 1)});
        // Another agent may have died after this.
        let (code, reply) = self.simulator.call("StopPipelineExecution", input).await;
        assert!(code == 200 || status != "Executing", "{reply}");
    }

    fn stranger(&self, stranger: Stranger) -> &str {
        &self.strangers[stranger as usize]
    }

    /// Nodes that only the stop of everything ends, and whom nobody has stopped yet.
    fn left(&self) -> impl Iterator<Item = usize> {
        let nodes = &self.plan.nodes;
        let stopped = |number: usize| {
            nodes.iter().any(|n| matches!(n.kind, Kind::Stop(Names::Key(t) | Names::Execution(t)) if t == number))
        };
        (0..nodes.len()).filter(move |number| matches!(nodes[*number].kind, Kind::Endless) && !stopped(*number))
    }

    fn only_the_endless_are_left(&self) -> bool {
        let (ended, arns) = (self.ended.borrow(), self.arns.borrow());
        let left: BTreeSet<usize> = self.left().collect();
        self.plan.nodes.iter().enumerate().all(|(number, node)| match node.kind {
            _ if left.contains(&number) => arns.contains_key(&number),
            Kind::Stop(Names::Everything) => true,
            Kind::Attached { stranger: Stranger::StoppedByItsOwner } => arns.contains_key(&number),
            Kind::Execute { retries: true, .. } => match ended.get(&(number, 0)) {
                Some(first) if first.phase == Phase::Failed => ended.contains_key(&(number, 1)),
                first => first.is_some(),
            },
            _ => ended.contains_key(&(number, 0)),
        })
    }

    async fn until(&self, is: impl Fn() -> bool) {
        while !is() {
            sleep(LOOK).await;
        }
    }
}

/// Whether the workflow's marker is on it.
pub fn is_ours(execution: &Value) -> bool {
    execution["description"].as_str().is_some_and(|text| text.contains(OURS))
}

pub fn is_live(execution: &Value) -> bool {
    matches!(execution["status"].as_str(), Some("Executing" | "Stopping"))
}
