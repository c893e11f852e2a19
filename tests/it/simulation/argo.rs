//! Argo as far as a plugin notices it: the controller that renders nodes, retries and stops, and the agent that asks.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use awf_aws::{
    pipelines::Time,
    protocol::{ExecuteTemplateReply, Phase, parse_go_duration},
    workflow::WorkflowState,
};

use super::{
    plan::{NodePlan, SECOND},
    pod::{Pod, PodId},
    templates::exit_handler,
    world::{Happening, World},
};

/// A node of the workflow, by number: every attempt is a node of its own.
pub type NodeId = usize;

/// Argo's ARGO_AGENT_TASK_WORKERS.
const WORKERS: usize = 16;
/// How often the agent writes its results, and the controller looks.
const PATCH_EVERY: Duration = Duration::from_secs(10);
const RECONCILE_EVERY: Duration = Duration::from_secs(7);
/// The pod of a completed workflow lives on for a moment.
const POD_LINGERS: Duration = Duration::from_secs(5);

pub struct Workflow {
    pub uid: String,
    pub created: Time,
    /// `status.startedAt`: `argo retry` resets it.
    pub started_at: Time,
    pub run: u32,
    pub nodes: Vec<Node>,
    pub pods: Vec<Pod>,
    pub stopped_at: Option<Time>,
    /// All its nodes have ended.
    pub completed_at: Option<Time>,
    /// When the user says `argo retry`.
    retry_at: Option<Time>,
}

impl Workflow {
    /// Ended for good, its pods too.
    pub fn is_gone(&self) -> bool {
        self.completed_at.is_some() && self.retry_at.is_none() && self.pods.iter().all(|pod| pod.ended)
    }
}

/// One attempt of a node.
#[derive(Clone, Debug)]
pub struct Node {
    pub plan: NodePlan,
    pub run: u32,
    pub attempt: u32,
    pub ended: Option<Ended>,
    /// The controller ended it itself (a stopped workflow): nobody waits for its end any more.
    pub unwanted: bool,
    /// When a plugin was first asked for it.
    pub first_asked: Option<Time>,
}

impl Node {
    fn new(plan: NodePlan, run: u32, attempt: u32) -> Self {
        Self { plan, run, attempt, ended: None, unwanted: false, first_asked: None }
    }

    pub fn is_exit_handler(&self) -> bool {
        self.plan.name.contains(".onExit")
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    pub phase: Phase,
    pub message: String,
    pub arn: Option<String>,
}

/// The agent of a pod; what it knows dies with it.
#[derive(Default)]
pub struct Agent {
    pub generation: u32,
    tasks: BTreeMap<NodeId, AgentTask>,
    busy: usize,
    waiting: VecDeque<NodeId>,
    last_exchange: u64,
}

#[derive(Default)]
struct AgentTask {
    exchange: Option<u64>,
    tries: u32,
    ended: Option<Ended>,
    patched: bool,
}

impl Agent {
    /// What is under way.
    pub fn exchanges(&self) -> Vec<(u64, NodeId)> {
        self.tasks.iter().filter_map(|(node, task)| Some((task.exchange?, *node))).collect()
    }
}

impl World {
    pub fn submit(&mut self, number: usize) {
        let plan = self.plan.workflows[number].clone();
        let created = self.now.plus(Duration::from_secs(1));
        self.workflows.push(Workflow {
            uid: format!("uid-{number}"),
            created,
            started_at: created,
            run: 0,
            nodes: Vec::new(),
            pods: Vec::new(),
            stopped_at: None,
            completed_at: None,
            retry_at: None,
        });
        self.new_pod(number);
        self.after(SECOND, Happening::Reconcile(number));
        if let Some(after) = plan.stopped_after {
            self.after(after, Happening::Stop(number));
        }
        if let Some(after) = plan.second_pod_after {
            self.after(after, Happening::SecondPod(number));
        }
    }

    fn new_pod(&mut self, number: usize) -> PodId {
        let id = (number, self.workflows[number].pods.len());
        let born = self.now;
        self.workflows[number].pods.push(Pod::new(born));
        let wait = self.ms(100, 3000);
        self.after(wait, Happening::StartPlugin(id));
        self.after(wait, Happening::RestartAgent(id));
        if let Some(mean) = self.plan.kill_every {
            let wait = self.wait_about(mean);
            self.after(wait, Happening::KillPlugin(id));
        }
        if let Some(mean) = self.plan.stall_every {
            let wait = self.wait_about(mean);
            self.after(wait, Happening::Stall(id));
        }
        id
    }

    /// The pod's node is lost: another pod takes over while the first still runs, unreachable for the cluster.
    pub fn second_pod(&mut self, number: usize) {
        if self.workflows[number].completed_at.is_some() {
            return;
        }
        let first = self.workflows[number].pods.len() - 1;
        self.tell(|_| format!("second pod of workflow {number}"));
        self.new_pod(number);
        let wait = self.ms(10_000, 300_000);
        self.after(wait, Happening::EndPod((number, first)));
    }

    pub fn stop_workflow(&mut self, number: usize) {
        let now = self.now;
        let workflow = &mut self.workflows[number];
        if workflow.completed_at.is_some() || workflow.stopped_at.is_some() {
            return;
        }
        workflow.stopped_at = Some(now);
        for node in workflow.nodes.iter_mut().filter(|n| n.ended.is_none() && !n.is_exit_handler()) {
            node.unwanted = true;
        }
        self.tell(|_| format!("workflow {number} is stopped"));
    }

    /// What Kubernetes knows of the workflow.
    pub fn workflow_state(&self, number: usize) -> WorkflowState {
        let workflow = &self.workflows[number];
        if workflow.completed_at.is_some() {
            return WorkflowState::Gone;
        }
        if workflow.stopped_at.is_some() {
            return WorkflowState::Over;
        }
        let deadline = self.plan.workflows[number].deadline.map(|d| workflow.started_at.plus(d));
        WorkflowState::Alive { started_at: Some(workflow.started_at), deadline, server_time: None }
    }

    /// Whether the workflow's own deadline has passed.
    pub fn is_past_deadline(&self, number: usize, now: Time) -> bool {
        let deadline = self.plan.workflows[number].deadline;
        deadline.is_some_and(|d| now >= self.workflows[number].started_at.plus(d))
    }

    /// Creates the nodes that are due, retries failed ones, ends the workflow, and begins it anew on `argo retry`.
    pub fn reconcile(&mut self, number: usize) {
        let now = self.now;
        if self.workflows[number].is_gone() {
            return;
        }
        self.after(RECONCILE_EVERY, Happening::Reconcile(number));
        if self.workflows[number].retry_at.is_some_and(|at| at <= now) {
            self.argo_retry(number);
        }
        if self.workflows[number].completed_at.is_some() {
            return;
        }
        let over = self.workflows[number].stopped_at.is_some() || self.is_past_deadline(number, now);
        let plan = self.plan.workflows[number].clone();
        let workflow = &mut self.workflows[number];
        let mut new = Vec::new();
        let mut unfinished = false;
        for node_plan in plan.nodes {
            let attempts = workflow.nodes.iter().filter(|n| n.plan.name == node_plan.name);
            let newest = attempts.clone().max_by_key(|n| (n.run, n.attempt));
            let due = now >= workflow.started_at.plus(node_plan.after);
            match newest {
                // Not there yet, or to be run again.
                None => {
                    unfinished |= !over;
                    if due && !over {
                        new.push(Node::new(node_plan, workflow.run, 0));
                    }
                }
                Some(node) if node.run < workflow.run && !succeeded(node) => {
                    unfinished |= !over;
                    if !over {
                        new.push(Node::new(node_plan, workflow.run, 0));
                    }
                }
                Some(node) => match &node.ended {
                    None => unfinished |= !node.unwanted,
                    Some(ended) if ended.phase == Phase::Failed && node.attempt < node_plan.retries && !over => {
                        unfinished = true;
                        new.push(Node::new(node_plan, workflow.run, node.attempt + 1));
                    }
                    Some(_) => {}
                },
            }
        }
        let exit = workflow.nodes.iter().find(|n| n.is_exit_handler() && n.run == workflow.run);
        match exit {
            None => {
                if let Some(work) = plan.exit_handler.filter(|_| !unfinished) {
                    unfinished = true;
                    new.push(Node::new(exit_handler(workflow.run, work), workflow.run, 0));
                }
            }
            Some(node) => unfinished |= node.ended.is_none(),
        }
        let first = workflow.nodes.len();
        workflow.nodes.extend(new);
        for node in first..self.workflows[number].nodes.len() {
            for pod in 0..self.workflows[number].pods.len() {
                self.hand_out((number, pod), node);
            }
        }
        if !unfinished && first == self.workflows[number].nodes.len() {
            self.complete(number);
        }
    }

    fn complete(&mut self, number: usize) {
        let now = self.now;
        let workflow = &mut self.workflows[number];
        workflow.completed_at = Some(now);
        let failed = workflow.nodes.iter().any(|n| n.run == workflow.run && !succeeded(n));
        if workflow.run == 0 && failed {
            workflow.retry_at = self.plan.workflows[number].retried_after.map(|wait| now.plus(wait));
        }
        for pod in 0..workflow.pods.len() {
            self.after(POD_LINGERS, Happening::EndPod((number, pod)));
        }
        self.tell(|_| format!("workflow {number} is complete"));
    }

    fn argo_retry(&mut self, number: usize) {
        let now = self.now;
        let workflow = &mut self.workflows[number];
        workflow.retry_at = None;
        if workflow.pods.iter().any(|pod| !pod.ended) {
            return;
        }
        workflow.run += 1;
        workflow.started_at = now;
        workflow.completed_at = None;
        workflow.stopped_at = None;
        self.tell(|_| format!("argo retry of workflow {number}"));
        self.new_pod(number);
    }

    /// The agent learns of a node from the TaskSet.
    fn hand_out(&mut self, id: PodId, node: NodeId) {
        if self.pod(id).ended || self.pod(id).agent.generation == 0 {
            return;
        }
        let generation = self.pod(id).agent.generation;
        self.pod(id).agent.tasks.entry(node).or_default();
        let wait = self.ms(1, 2000);
        self.after(wait, Happening::Ask(id, generation, node));
    }

    /// A new agent knows nothing and asks for everything again.
    pub fn restart_agent(&mut self, id: PodId) {
        if self.pod(id).ended {
            return;
        }
        let generation = self.pod(id).agent.generation + 1;
        self.pod(id).agent = Agent { generation, ..Agent::default() };
        self.tell(|_| format!("{id:?} agent starts"));
        let run = self.workflows[id.0].run;
        let again = self.rng.bool();
        let wanted: Vec<NodeId> = (0..self.workflows[id.0].nodes.len())
            .filter(|n| {
                let node = &self.workflows[id.0].nodes[*n];
                node.run == run && (again || node.ended.is_none())
            })
            .collect();
        for node in wanted {
            self.hand_out(id, node);
        }
        self.after(PATCH_EVERY, Happening::Patch(id, generation));
        if let Some(mean) = self.plan.agent_restart_every.filter(|_| !self.is_calm()) {
            let wait = self.wait_about(mean);
            self.after(wait, Happening::RestartAgent(id));
        }
    }

    pub fn ask(&mut self, id: PodId, generation: u32, node: NodeId) {
        let pod = self.pod(id);
        if pod.ended || pod.agent.generation != generation {
            return;
        }
        let agent = &mut pod.agent;
        let Some(known) = agent.tasks.get_mut(&node).filter(|t| t.exchange.is_none() && t.ended.is_none()) else {
            return;
        };
        if agent.busy >= WORKERS {
            agent.waiting.push_back(node);
            return;
        }
        agent.busy += 1;
        agent.last_exchange += 1;
        let exchange = agent.last_exchange;
        known.exchange = Some(exchange);
        let now = self.now;
        let asked = &mut self.workflows[id.0].nodes[node];
        asked.first_asked.get_or_insert(now);
        let task = self.render(id.0, node);
        let wait = self.ms(1, 50);
        if self.strikes(self.plan.odds.duplicate_request) {
            let late = wait + self.ms(0, 3000);
            self.after(late, Happening::Request { pod: id, exchange: 0, node, task: task.clone() });
        }
        self.after(wait, Happening::Request { pod: id, exchange, node, task });
        // The agent's HTTP client gives up after 30 s.
        self.after(30 * SECOND, Happening::Reply { pod: id, agent: generation, exchange, node, reply: None });
    }

    pub fn reply(
        &mut self,
        id: PodId,
        generation: u32,
        exchange: u64,
        node: NodeId,
        reply: Option<ExecuteTemplateReply>,
    ) {
        let agent = &mut self.pod(id).agent;
        if agent.generation != generation {
            return;
        }
        let Some(known) = agent.tasks.get_mut(&node).filter(|t| t.exchange == Some(exchange)) else { return };
        known.exchange = None;
        agent.busy -= 1;
        let next = agent.waiting.pop_front();
        let wait = match reply {
            None => {
                known.tries += 1;
                Some(SECOND * (1 << known.tries.min(4)))
            }
            Some(reply) => {
                known.tries = 0;
                known.ended = ended(&reply);
                reply.requeue.as_deref().and_then(parse_go_duration)
            }
        };
        if let Some(next) = next {
            self.after(Duration::ZERO, Happening::Ask(id, generation, next));
        }
        if let Some(wait) = wait {
            self.after(wait, Happening::Ask(id, generation, node));
        }
    }

    /// The agent writes what ended; the controller takes it over.
    pub fn patch(&mut self, id: PodId, generation: u32) {
        let pod = self.pod(id);
        if pod.ended || pod.agent.generation != generation {
            return;
        }
        let fresh: Vec<(NodeId, Ended)> = (pod.agent.tasks.iter_mut())
            .filter(|(_, task)| !task.patched && task.ended.is_some())
            .filter_map(|(node, task)| {
                task.patched = true;
                Some((*node, task.ended.clone()?))
            })
            .collect();
        for (node, ended) in fresh {
            let known = &mut self.workflows[id.0].nodes[node];
            // What the controller has ended itself stays ended.
            if known.ended.is_none() && !known.unwanted {
                known.ended = Some(ended.clone());
                self.tell(|w| {
                    let node = &w.workflows[id.0].nodes[node];
                    format!("node {} attempt {} ended {ended:?}", node.plan.name, node.attempt)
                });
            }
        }
        self.after(PATCH_EVERY, Happening::Patch(id, generation));
    }
}

fn succeeded(node: &Node) -> bool {
    node.ended.as_ref().is_some_and(|ended| ended.phase == Phase::Succeeded)
}

/// The end that a reply tells of.
pub fn ended(reply: &ExecuteTemplateReply) -> Option<Ended> {
    let node = reply.node.as_ref()?;
    let phase = node.phase.filter(|phase| phase.is_terminal())?;
    let parameters = node.outputs.iter().flat_map(|outputs| &outputs.parameters);
    let arn = parameters.into_iter().find(|p| p.name == "execution-arn").map(|p| p.value.clone());
    Some(Ended { phase, message: node.message.clone(), arn })
}
