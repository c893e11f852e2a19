//! Argo's controller as far as a plugin notices it: it renders nodes, retries and stops them, and has pods run.

use std::time::Duration;

use awf_aws::{
    pipelines::Time,
    protocol::Phase,
    workflow::{WorkflowState, identity::Key},
};

use super::{
    plan::{Kubernetes, NodePlan, SECOND, Work},
    pod::{Pod, PodId},
    templates::exit_handler,
    world::{Happening, World},
};

/// A node of the workflow, by number: every attempt is a node of its own.
pub type NodeId = usize;

/// How often the controller looks.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(7);
/// The pod of a completed workflow lives on for a moment.
const POD_LINGERS: Duration = Duration::from_secs(5);

pub struct Workflow {
    pub uid: String,
    /// As Kubernetes' clock stamped it.
    pub created_stamp: Time,
    /// When this run began, by AWS's clock and as Kubernetes stamped `status.startedAt`; `argo retry` resets it.
    pub started_at: Time,
    pub started_stamp: Time,
    pub run: u32,
    pub nodes: Vec<Node>,
    pub pods: Vec<Pod>,
    pub stopped_at: Option<Time>,
    /// Terminated or deleted: not even exit handlers go on.
    pub gone_at: Option<Time>,
    /// The controller knows that its deadline has passed.
    past_deadline: bool,
    /// All its nodes have ended.
    pub completed_at: Option<Time>,
    /// When the user says `argo retry`.
    retry_at: Option<Time>,
    /// When something last went wrong or changed that may keep its nodes waiting for a moment.
    pub disturbed_at: Time,
}

impl Workflow {
    /// Whether the controller knows that it is over, or has its deadline behind it.
    pub fn is_ending(&self) -> bool {
        self.past_deadline || [self.stopped_at, self.gone_at, self.completed_at].iter().any(Option::is_some)
    }

    /// Ended for good, its pods too.
    pub fn is_gone(&self) -> bool {
        self.completed_at.is_some() && self.retry_at.is_none() && self.pods.iter().all(|pod| pod.ended)
    }
}

/// One attempt of a node.
#[derive(Clone, Debug)]
pub struct Node {
    pub plan: NodePlan,
    /// Under which the plugin knows it.
    pub key: Key,
    /// The execution that a `stop` names.
    pub target: Option<String>,
    pub run: u32,
    pub attempt: u32,
    pub ended: Option<Ended>,
    /// The controller ended it itself (a stopped workflow): nobody waits for its end any more.
    pub unwanted: bool,
    /// When a plugin was first asked for it.
    pub first_asked: Option<Time>,
    /// When the controller took its end over.
    pub ended_at: Option<Time>,
}

impl Node {
    fn new(plan: NodePlan, key: Key, (run, attempt): (u32, u32)) -> Self {
        Self { plan, key, target: None, run, attempt, ended: None, unwanted: false, first_asked: None, ended_at: None }
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

impl World {
    pub fn submit(&mut self, number: usize) {
        let plan = self.plan.workflows[number].clone();
        let created = self.now;
        let stamp = Time::at(self.kubernetes_now().millis() / 1000 * 1000);
        self.workflows.push(Workflow {
            uid: format!("uid-{number}"),
            created_stamp: stamp,
            started_at: created,
            started_stamp: stamp,
            run: 0,
            nodes: Vec::new(),
            pods: Vec::new(),
            stopped_at: None,
            gone_at: None,
            past_deadline: false,
            completed_at: None,
            retry_at: None,
            disturbed_at: created,
        });
        self.new_pod(number);
        self.after(SECOND, Happening::Reconcile(number));
        if let Some(after) = plan.stopped_after {
            self.after(after, Happening::Stop(number));
        }
        if let Some(after) = plan.second_pod_after {
            self.after(after, Happening::SecondPod(number));
        }
        if let Some(after) = plan.troubles.terminated_after {
            self.after(after, Happening::Terminate(number));
        }
        if let Some(after) = plan.troubles.deleted_after {
            self.after(after, Happening::Delete(number));
        }
        if let Some((after, _)) = plan.troubles.away {
            self.after(after, Happening::Drained(number));
        }
        if let Some((after, _)) = plan.troubles.frozen {
            self.after(after, Happening::Freeze(number));
        }
        for (after, _) in plan.troubles.kubernetes_later {
            self.after(after, Happening::KubernetesChanges(number));
        }
    }

    fn new_pod(&mut self, number: usize) -> PodId {
        let id = (number, self.workflows[number].pods.len());
        let stamp = Time::at(self.now.millis() + self.node_offset(number));
        let (born, offset) = (self.now, self.node_offset(number));
        self.workflows[number].pods.push(Pod::new(born, stamp, offset));
        if self.workflows[number].pods.iter().filter(|pod| !pod.ended).count() > 1 {
            self.bites.add("fault: two pods at once");
        }
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
        if self.workflows[number].pods[first].ended {
            return;
        }
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
        workflow.disturbed_at = now;
        self.bites.add("fault: workflow stopped");
        for node in workflow.nodes.iter_mut().filter(|n| n.ended.is_none() && !n.is_exit_handler()) {
            node.unwanted = true;
        }
        self.tell(|_| format!("workflow {number} is stopped"));
    }

    /// `argo terminate`, or `kubectl delete`: then the pods go too.
    pub fn end_workflow(&mut self, number: usize, deleted: bool) {
        let now = self.now;
        let workflow = &mut self.workflows[number];
        if workflow.completed_at.is_some() || workflow.gone_at.is_some() {
            return;
        }
        workflow.gone_at = Some(now);
        workflow.nodes.iter_mut().filter(|n| n.ended.is_none()).for_each(|node| node.unwanted = true);
        self.bites.add(if deleted { "fault: workflow deleted" } else { "fault: workflow terminated" });
        self.tell(|_| format!("workflow {number} is {}", if deleted { "deleted" } else { "terminated" }));
        if deleted {
            let workflow = &mut self.workflows[number];
            workflow.completed_at = Some(now);
            for pod in 0..workflow.pods.len() {
                let wait = self.ms(100, 20_000);
                self.after(wait, Happening::EndPod((number, pod)));
            }
        }
    }

    /// The pod's node is drained, and no other has room for it.
    pub fn drained(&mut self, number: usize) {
        let Some((_, away)) = self.plan.workflows[number].troubles.away else { return };
        let open = |pod: &Pod| !pod.ended;
        if self.workflows[number].completed_at.is_some() || !self.workflows[number].pods.iter().any(open) {
            return;
        }
        self.bites.add("fault: pod away");
        self.tell(|_| format!("the pods of workflow {number} are drained"));
        for pod in 0..self.workflows[number].pods.len() {
            self.after(Duration::ZERO, Happening::EndPod((number, pod)));
        }
        self.after(away, Happening::PodReturns(number));
    }

    pub fn pod_returns(&mut self, number: usize) {
        let workflow = &self.workflows[number];
        if workflow.completed_at.is_some() {
            return;
        }
        if workflow.pods.iter().all(|pod| pod.ended) {
            self.new_pod(number);
        } else {
            // Its processes take their time to end.
            self.after(5 * SECOND, Happening::PodReturns(number));
        }
    }

    /// What Kubernetes knows of the workflow.
    pub fn workflow_state(&self, number: usize) -> WorkflowState {
        let workflow = &self.workflows[number];
        if workflow.completed_at.is_some() || workflow.gone_at.is_some() {
            return WorkflowState::Gone;
        }
        if workflow.stopped_at.is_some() {
            return WorkflowState::Over;
        }
        let deadline = self.plan.workflows[number].deadline.map(|d| workflow.started_stamp.plus(d));
        let server_time = Some(Time::at(self.kubernetes_now().millis() / 1000 * 1000));
        WorkflowState::Alive { started_at: Some(workflow.started_stamp), deadline, server_time }
    }

    /// How Kubernetes answers to this workflow's plugin now.
    pub fn kubernetes(&self, number: usize) -> Kubernetes {
        let plan = &self.plan.workflows[number];
        if plan.kubernetes == Kubernetes::Off {
            return Kubernetes::Off;
        }
        let passed = |(at, _): &&(Duration, Kubernetes)| self.now >= Self::START.plus(*at);
        plan.troubles.kubernetes_later.iter().rfind(passed).map_or(plan.kubernetes, |(_, kind)| *kind)
    }

    /// Whether the controller takes the deadline for passed.
    fn deadline_passed(&self, number: usize) -> bool {
        let deadline = self.plan.workflows[number].deadline;
        deadline.is_some_and(|d| self.kubernetes_now() >= self.workflows[number].started_stamp.plus(d))
    }

    /// Something may keep a workflow's nodes waiting for a moment.
    pub fn disturbed(&mut self, number: usize) {
        self.workflows[number].disturbed_at = self.now;
    }

    pub fn disturb_all(&mut self) {
        (0..self.workflows.len()).for_each(|number| self.disturbed(number));
    }

    /// Creates the nodes that are due, retries failed ones, ends the workflow, and begins it anew on `argo retry`.
    pub fn reconcile(&mut self, number: usize) {
        let now = self.now;
        if self.workflows[number].is_gone() {
            return;
        }
        self.after(RECONCILE_EVERY, Happening::Reconcile(number));
        self.check_progress(number);
        self.check_recovery(number);
        if self.workflows[number].retry_at.is_some_and(|at| at <= now) {
            self.argo_retry(number);
        }
        if self.workflows[number].completed_at.is_some() {
            return;
        }
        if self.deadline_passed(number) && !self.workflows[number].past_deadline {
            self.bites.add("fault: deadline passed");
            self.workflows[number].past_deadline = true;
            self.disturbed(number);
        }
        let gone = self.workflows[number].gone_at.is_some();
        let over = gone || self.workflows[number].stopped_at.is_some() || self.deadline_passed(number);
        let plan = self.plan.workflows[number].clone();
        let workflow = &mut self.workflows[number];
        let mut new: Vec<(NodePlan, u32)> = Vec::new();
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
                        new.push((node_plan, 0));
                    }
                }
                Some(node) if node.run < workflow.run && !succeeded(node) => {
                    unfinished |= !over;
                    if !over {
                        new.push((node_plan, 0));
                    }
                }
                Some(node) => match &node.ended {
                    None => unfinished |= !node.unwanted,
                    Some(ended) if ended.phase == Phase::Failed && node.attempt < node_plan.retries && !over => {
                        unfinished = true;
                        new.push((node_plan, node.attempt + 1));
                    }
                    Some(_) => {}
                },
            }
        }
        let exit = workflow.nodes.iter().find(|n| n.is_exit_handler() && n.run == workflow.run);
        match exit {
            None => {
                if let Some(work) = plan.exit_handler.filter(|_| !unfinished && !gone) {
                    unfinished = true;
                    new.push((exit_handler(workflow.run, work), 0));
                }
            }
            Some(node) => unfinished |= node.ended.is_none() && !node.unwanted,
        }
        let (first, run) = (workflow.nodes.len(), workflow.run);
        for (plan, attempt) in new {
            let key = self.key_of(number, &plan);
            let mut node = Node::new(plan, key, (run, attempt));
            if let Work::StopArn(target) = node.plan.work {
                node.target = Some(self.stopped_arn(number, target));
            }
            self.names.entry(key).or_default().push((number, self.workflows[number].nodes.len()));
            self.meets_node(&node);
            self.workflows[number].nodes.push(node);
        }
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
        if workflow.run == 0 && failed && workflow.gone_at.is_none() {
            workflow.retry_at = self.plan.workflows[number].retried_after.map(|wait| now.plus(wait));
        }
        for pod in 0..workflow.pods.len() {
            self.after(POD_LINGERS, Happening::EndPod((number, pod)));
        }
        self.tell(|_| format!("workflow {number} is complete"));
    }

    fn argo_retry(&mut self, number: usize) {
        let now = self.now;
        let stamp = Time::at(self.kubernetes_now().millis() / 1000 * 1000);
        let workflow = &mut self.workflows[number];
        workflow.retry_at = None;
        if workflow.pods.iter().any(|pod| !pod.ended) {
            return;
        }
        if workflow.gone_at.is_some() {
            return;
        }
        workflow.run += 1;
        workflow.started_at = now;
        workflow.started_stamp = stamp;
        workflow.disturbed_at = now;
        workflow.completed_at = None;
        workflow.stopped_at = None;
        workflow.past_deadline = false;
        self.bites.add("fault: argo retry");
        self.tell(|_| format!("argo retry of workflow {number}"));
        self.new_pod(number);
    }
}

fn succeeded(node: &Node) -> bool {
    node.ended.as_ref().is_some_and(|ended| ended.phase == Phase::Succeeded)
}
