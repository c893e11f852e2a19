//! What else a seed has in store: denials, clocks that differ, other people, and whatever changes while a workflow runs.
//! Each kind is drawn by itself, so that every one of them strikes often enough and most seeds have few of them.

use std::time::Duration;

use awf_aws::pipelines::CallErrorKind;
use fastrand::Rng;

use super::{
    congestion::Congestion,
    plan::{Kubernetes, MINUTE, NodePlan, SECOND, Work, WorkflowPlan, node},
};

/// Calls that AWS refuses for want of a permission or of credentials.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub kind: CallErrorKind,
    /// `None`: every operation.
    pub operation: Option<&'static str>,
    /// Only starts of this node of the first workflow, as a condition on the pipeline's version would.
    pub node: Option<usize>,
    pub from: Duration,
    /// `None`: the next call only.
    pub until: Option<Duration>,
}

/// How clocks differ from AWS's, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    pub kubernetes: i64,
    /// The pods' node less Kubernetes' clock, besides a few seconds.
    pub node: i64,
    /// After this, Kubernetes' clock and the node's differ by so much more.
    pub jump: Option<(Duration, i64)>,
}

impl Clocks {
    /// Whether they differ by more than the few seconds that they always may.
    pub fn apart(&self) -> bool {
        self.kubernetes != 0 || self.node != 0 || self.jump.is_some()
    }
}

/// Executions that other people start of the same pipelines.
#[derive(Clone, Copy, Debug)]
pub struct Strangers {
    /// So many of each pipeline before the workflows begin.
    pub before: usize,
    /// So many of one pipeline at once, now and again.
    pub burst: usize,
    pub every: Duration,
}

/// What other people do to the workflows' executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    RetryInConsole,
    StopInConsole,
    ForgetExecution,
    DeletePipeline,
}

/// What changes from a node's first attempt to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// Only the first attempt names no role.
    Role,
    Region,
    Account,
}

/// What a workflow meets besides.
#[derive(Clone, Debug, Default)]
pub struct WorkflowTroubles {
    /// From then on Kubernetes answers so.
    pub kubernetes_later: Vec<(Duration, Kubernetes)>,
    /// `argo terminate`, `kubectl delete workflow`.
    pub terminated_after: Option<Duration>,
    pub deleted_after: Option<Duration>,
    /// The pod is drained, and the next one finds no node for so long.
    pub away: Option<(Duration, Duration)>,
    /// SIGSTOP, and SIGCONT so much later.
    pub frozen: Option<(Duration, Duration)>,
    /// `--max-running-per-workflow`.
    pub max_running: Option<usize>,
    pub moves: Option<Moves>,
    /// Its templates set no `workflow_created`.
    pub created_unknown: bool,
}

/// What AWS and everybody meets.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    pub refusals: Vec<Refusal>,
    pub clocks: Clocks,
    pub strangers: Option<Strangers>,
    /// Lists show statuses as they were so many seconds ago.
    pub stale: f64,
    /// A new execution is not found for so many seconds.
    pub not_found: f64,
    /// How often an answer takes up to 30 s.
    pub slow: f64,
    pub deeds: Vec<(Duration, Deed)>,
    /// Somebody retries in the console what has just failed or was stopped, as often as not.
    pub nosy: bool,
    /// A step group that waits for a small quota, and nothing else disturbs it but ends of processes.
    pub squeeze: bool,
    /// AWS throttles for a while, and nothing else of it goes wrong.
    pub congestion: Option<Congestion>,
}

impl Troubles {
    /// Draws them and adds to the workflows what belongs there; the quota may have to give way.
    pub fn draw(seed: u64, workflows: &mut [WorkflowPlan], calm: Duration, quota: usize) -> (Self, usize) {
        let mut rng = Rng::with_seed(seed ^ 0x0007_0b1e_5000);
        let r = &mut rng;
        let mut troubles = Self { clocks: clocks(r, calm), ..Self::default() };
        let mut quota = quota;
        if r.f64() < 0.15 {
            crowd(r, &mut workflows[0]);
            quota = if r.bool() { 100 } else { quota.max(3) };
        }
        troubles.squeeze = r.f64() < 0.12;
        if troubles.squeeze {
            squeeze(r, &mut workflows[0]);
            quota = r.usize(1..3);
        }
        let crowded = workflows[0].nodes.len() > 7;
        for workflow in workflows.iter_mut() {
            if !troubles.squeeze {
                add_nodes(r, workflow);
            }
            if troubles.squeeze {
                workflow.troubles.away = (r.f64() < 0.3).then(|| (seconds(r, 20, 600), seconds(r, 60, 900)));
                continue;
            }
            workflow.troubles = of_workflow(r, calm);
            if crowded && r.f64() < 0.3 {
                workflow.troubles.max_running = Some(r.usize(1..5));
            }
            if workflow.troubles.moves.is_some() {
                workflow.nodes.iter_mut().for_each(|node| node.retries = node.retries.max(1));
            }
        }
        if r.f64() < 0.3 && !troubles.squeeze {
            troubles.refusals = refusals(r, calm, workflows[0].nodes.len());
        }
        if r.f64() < 0.06 {
            let unknown = r.bool();
            let before = if unknown { r.usize(100..260) } else { r.usize(0..20) };
            let every = Duration::from_secs(r.u64(60..300));
            troubles.strangers = Some(Strangers { before, burst: r.usize(60..150), every });
            workflows.iter_mut().for_each(|w| w.troubles.created_unknown |= unknown);
            // Theirs count, too.
            quota = 1000;
        }
        troubles.stale = if r.f64() < 0.12 { 1.0 + 40.0 * r.f64() } else { 0.0 };
        troubles.not_found = if r.f64() < 0.15 { 1.0 + 20.0 * r.f64() } else { 0.0 };
        troubles.slow = if r.f64() < 0.15 { 0.02 + 0.2 * r.f64() } else { 0.0 };
        troubles.nosy = r.f64() < 0.08;
        for (deed, odds) in [
            (Deed::RetryInConsole, 0.05),
            (Deed::StopInConsole, 0.08),
            (Deed::ForgetExecution, 0.05),
            (Deed::DeletePipeline, 0.08),
        ] {
            while r.f64() < odds {
                troubles.deeds.push((seconds(r, 10, calm.as_secs()), deed));
            }
        }
        if r.f64() < 0.1 {
            troubles.congestion = Some(Congestion::draw(r, calm));
            troubles = Self { refusals: Vec::new(), stale: 0.0, slow: 0.0, deeds: Vec::new(), nosy: false, ..troubles };
        }
        (troubles, quota)
    }
}

/// Whether clocks differ by minutes.
const CLOCKS_APART: bool = true;

fn seconds(r: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_secs(r.u64(from..to.max(from + 1)))
}

fn clocks(r: &mut Rng, calm: Duration) -> Clocks {
    let apart = |r: &mut Rng, odds: f64| if r.f64() < odds { r.i64(-600_000..600_000) } else { 0 };
    if r.f64() >= 0.25 || !CLOCKS_APART {
        return Clocks::default();
    }
    let kubernetes = apart(r, 0.9);
    let jump = (r.f64() < 0.3).then(|| (seconds(r, 10, calm.as_secs()), r.i64(-600_000..600_000) - kubernetes));
    Clocks { kubernetes, node: apart(r, 0.3), jump }
}

/// Many nodes at once that all run the same.
fn crowd(r: &mut Rng, workflow: &mut WorkflowPlan) {
    for number in workflow.nodes.len()..workflow.nodes.len() + r.usize(8..24) {
        let quiet =
            NodePlan { timeout: None, max_running: None, leave: false, after: Duration::ZERO, ..node(r, number) };
        let name = format!("main[0].train({number}:a b)");
        workflow.nodes.push(NodePlan { name, pipeline: if r.bool() { "Quick" } else { "FailsOnce" }, ..quiet });
    }
}

/// Many nodes of one step group, most with a time-out that may pass while they wait.
fn squeeze(r: &mut Rng, workflow: &mut WorkflowPlan) {
    workflow.nodes.retain(|node| node.work == Work::Execute);
    let pipeline = if r.bool() { "Quick" } else { "Slow" };
    for number in workflow.nodes.len()..workflow.nodes.len() + r.usize(2..7) {
        workflow.nodes.push(node(r, number));
    }
    for (number, node) in workflow.nodes.iter_mut().enumerate() {
        let timeout = (r.f64() < 0.7).then(|| seconds(r, 60, 900));
        let name = format!("main[0].train({number}:a b)");
        *node = NodePlan { name, pipeline, timeout, max_running: None, after: Duration::ZERO, ..node.clone() };
    }
    workflow.kubernetes = Kubernetes::Works;
    workflow.stopped_after = None;
    workflow.deadline = None;
}

fn add_nodes(r: &mut Rng, workflow: &mut WorkflowPlan) {
    for node in workflow.nodes.iter_mut().filter(|n| n.work == Work::Execute) {
        node.keyless = r.f64() < 0.08;
        if r.f64() < 0.08 {
            node.pipeline = "Partly";
            node.accept = r.bool();
        }
    }
    if r.f64() < 0.15 {
        let (after, valid) = (seconds(r, 0, 300), r.f64() < 0.7);
        let name = "main.validate".to_owned();
        workflow.nodes.push(NodePlan { name, work: Work::Validate(valid), after, timeout: None, ..node(r, 0) });
    }
    if r.f64() < 0.1 {
        let target = r.usize(0..workflow.nodes.len());
        let pipeline = workflow.nodes[target].pipeline;
        let name = "main.stop-arn".to_owned();
        let after = seconds(r, 30, 900);
        workflow.nodes.push(NodePlan { name, work: Work::StopArn(target), pipeline, after, ..node(r, 0) });
    }
}

fn of_workflow(r: &mut Rng, calm: Duration) -> WorkflowTroubles {
    let some = |r: &mut Rng, odds: f64, from: u64, to: u64| (r.f64() < odds).then(|| seconds(r, from, to));
    let mut kubernetes_later = Vec::new();
    if r.f64() < 0.15 {
        for _ in 0..r.usize(1..4) {
            let state = [Kubernetes::Forbids, Kubernetes::Fails, Kubernetes::Slow, Kubernetes::Works][r.usize(0..4)];
            kubernetes_later.push((seconds(r, 1, calm.as_secs()), state));
        }
        kubernetes_later.sort_by_key(|(at, _)| *at);
        kubernetes_later.push((calm, Kubernetes::Works));
    }
    WorkflowTroubles {
        kubernetes_later,
        terminated_after: some(r, 0.06, 5, 900),
        deleted_after: some(r, 0.06, 5, 900),
        away: some(r, 0.06, 20, 1200).map(|at| (at, seconds(r, 1200, 5400))),
        frozen: some(r, 0.08, 5, calm.as_secs()).map(|at| (at, seconds(r, 60, 1500))),
        max_running: (r.f64() < 0.1).then(|| r.usize(1..4)),
        moves: (r.f64() < 0.09).then(|| [Moves::Role, Moves::Role, Moves::Region, Moves::Account][r.usize(0..4)]),
        created_unknown: r.f64() < 0.05,
    }
}

fn refusals(r: &mut Rng, calm: Duration, nodes: usize) -> Vec<Refusal> {
    const OPERATIONS: [&str; 11] = [
        "StartPipelineExecution",
        "StartPipelineExecution",
        "StartPipelineExecution",
        "GetCallerIdentity",
        "ListPipelineExecutions",
        "DescribePipelineExecution",
        "ListPipelineExecutionSteps",
        "StopPipelineExecution",
        "DescribePipeline",
        "UpdatePipelineExecution",
        "RetryPipelineExecution",
    ];
    let mut all = Vec::new();
    for _ in 0..r.usize(1..3) {
        let kind = if r.bool() { CallErrorKind::Denied } else { CallErrorKind::Credentials };
        let operation = (r.f64() < 0.9).then(|| OPERATIONS[r.usize(0..OPERATIONS.len())]);
        let from = seconds(r, 0, calm.as_secs().min(900));
        let one = Refusal { kind, operation, node: None, from, until: None };
        match r.u8(0..8) {
            // Once, or twice some time apart.
            0..=1 => all.push(one),
            2..=3 => {
                let later = from + Duration::from_secs(r.u64(20..400));
                all.extend([one.clone(), Refusal { from: later, ..one }]);
            }
            4..=5 => all.push(Refusal { until: Some(from + Duration::from_secs(r.u64(10..600))), ..one }),
            // One node's starts only, for a while or until somebody mends it.
            _ => {
                let lasts = if r.bool() { 60 * MINUTE } else { Duration::from_secs(r.u64(30..300)) };
                let from = from.min(30 * SECOND);
                all.push(Refusal {
                    kind: CallErrorKind::Denied,
                    operation: Some("StartPipelineExecution"),
                    node: Some(r.usize(0..nodes)),
                    from,
                    until: Some(from + lasts),
                });
            }
        }
    }
    all
}
