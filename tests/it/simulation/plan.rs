//! What a seed decides before anything happens: who runs what, and which troubles there will be.

use std::time::Duration;

use awf_aws::{input::OnRetry, simulator::faults::TokenSemantics};
use fastrand::Rng;

use super::{
    results::Declares,
    troubles::{Troubles, WorkflowTroubles},
};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

/// What Kubernetes answers to the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kubernetes {
    /// The plugin is told not to ask.
    Off,
    Works,
    /// Answers come late, and some never.
    Slow,
    /// Every question fails.
    Fails,
    /// The plugin has no right to ask.
    Forbids,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Execute,
    /// `execute` with the `execution_arn` of what another workflow started.
    Attach,
    /// `validate`, with parameters that the pipeline declares or not.
    Validate(bool),
    /// `stop` with the `execution_key` of the workflow's n-th node.
    StopOne(usize),
    /// `stop` with the `execution_arn` of the workflow's n-th node, or of what another workflow started.
    StopArn(usize),
    /// `stop` of everything.
    StopAll,
}

/// One plugin node of a workflow.
#[derive(Clone, Debug)]
pub struct NodePlan {
    pub name: String,
    pub work: Work,
    pub pipeline: &'static str,
    /// `limit` of its retryStrategy.
    pub retries: u32,
    /// `on_retry`.
    pub on_retry: OnRetry,
    pub timeout: Option<Duration>,
    pub leave: bool,
    pub max_running: Option<usize>,
    /// Its template sets no `execution_key`.
    pub keyless: bool,
    /// `accept_completed_with_failures`.
    pub accept: bool,
    /// Which results of its steps its template declares.
    pub declares: Declares,
    /// When the controller creates it, after the workflow's start.
    pub after: Duration,
}

/// One workflow.
#[derive(Clone, Debug)]
pub struct WorkflowPlan {
    pub nodes: Vec<NodePlan>,
    pub kubernetes: Kubernetes,
    /// The user stops it.
    pub stopped_after: Option<Duration>,
    /// It has an exit handler: one that runs a pipeline, or stops everything.
    pub exit_handler: Option<Work>,
    /// So long after a failed end the user says `argo retry`.
    pub retried_after: Option<Duration>,
    /// `activeDeadlineSeconds`, which Argo does not enforce on running plugin nodes.
    pub deadline: Option<Duration>,
    /// The node dies silently: another pod runs beside the first for a while.
    pub second_pod_after: Option<Duration>,
    pub clock_skew_ms: i64,
    pub troubles: WorkflowTroubles,
}

/// How often what goes wrong, until it is calm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    pub throttle: f64,
    pub server_error: f64,
    pub lost_reply: f64,
    pub hang: f64,
    pub unreachable: f64,
    pub conflict: f64,
    pub duplicate_request: f64,
    pub lost_answer: f64,
    /// The plugin dies between two commands.
    pub death: f64,
}

/// The plan of one seed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub workflows: Vec<WorkflowPlan>,
    pub odds: Odds,
    /// Nothing goes wrong after this.
    pub calm_after: Duration,
    pub token_semantics: TokenSemantics,
    pub list_lag: f64,
    /// So long after a resume describes may show the end before it.
    pub describe_lag: Duration,
    /// ListPipelineExecutions is denied for good.
    pub list_denied: bool,
    pub quota: usize,
    /// The templates render to other arguments at each reconcile (`{{=sprig.now()}}`).
    pub rerendered: bool,
    /// Mean time between kills of a plugin, agent restarts and stalls.
    pub kill_every: Option<Duration>,
    pub agent_restart_every: Option<Duration>,
    pub stall_every: Option<Duration>,
    pub credentials_gap: Option<(Duration, Duration)>,
    pub troubles: Troubles,
}

/// Pipelines of the simulated account: name, and how it runs.
pub const PIPELINES: [&str; 6] = ["Quick", "Slow", "FailsOnce", "FailsAlways", "Blocked", "Partly"];

/// The node that attaches to it.
pub const ATTACHED: &str = "main.attached";

/// The pipeline that somebody else runs when everything begins.
pub const ELSEWHERE: &str = "Slow";

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let r = &mut rng;
        let mut workflows: Vec<_> = (0..if r.f64() < 0.2 { 2 } else { 1 }).map(|_| workflow(r)).collect();
        let rough = [0.0, 0.02, 0.1][r.usize(0..3)];
        let mut odds = Odds {
            throttle: rough * r.f64(),
            server_error: rough * r.f64(),
            lost_reply: rough * 2.0 * r.f64(),
            hang: rough * 0.5 * r.f64(),
            unreachable: rough * r.f64(),
            conflict: rough * 4.0 * r.f64(),
            duplicate_request: 0.1 * r.f64(),
            lost_answer: 0.1 * r.f64(),
            death: if r.bool() { 0.0 } else { 0.02 * r.f64() },
        };
        let token_semantics = match r.u8(0..4) {
            0 => TokenSemantics::SameArn,
            1 => TokenSemantics::Conflict,
            2 => TokenSemantics::MismatchError,
            // Longer than a start is repeated with its token.
            _ => TokenSemantics::ForgottenAfterSeconds(360.0 + r.f64() * 600.0),
        };
        let some = |r: &mut Rng, chance: f64, from: u64, to: u64| {
            (r.f64() < chance).then(|| Duration::from_secs(r.u64(from..to)))
        };
        let gap_at = some(r, 0.15, 0, 900);
        let calm_after = Duration::from_secs(r.u64(300..2400));
        let quota = if r.f64() < 0.35 { r.usize(1..4) } else { 20 };
        if r.f64() < 0.4 {
            workflows.iter_mut().for_each(|workflow| persevere(r, workflow));
            // Whether a resume came to anything is then looked up.
            odds.lost_reply = (2.0 * odds.lost_reply).min(0.25);
        }
        let (troubles, quota) = Troubles::draw(seed, &mut workflows, calm_after, quota);
        Declares::draw(seed, &mut workflows);
        if troubles.squeeze {
            odds = Odds { death: odds.death / 4.0, lost_answer: odds.lost_answer, ..Odds::default() };
        }
        Self {
            seed,
            workflows,
            odds,
            calm_after,
            token_semantics,
            list_lag: if r.bool() { 0.0 } else { r.f64() * 40.0 },
            // Not drawn: the plans of all seeds stay as they are.
            describe_lag: Duration::from_millis(seed % 3 * 750),
            list_denied: r.f64() < 0.08 && troubles.congestion.is_none(),
            quota,
            rerendered: r.f64() < 0.2,
            kill_every: some(r, 0.5, 20, 600),
            agent_restart_every: some(r, 0.4, 30, 900),
            stall_every: some(r, 0.2, 60, 900),
            credentials_gap: gap_at
                .filter(|_| troubles.congestion.is_none())
                .map(|at| (at, at + Duration::from_secs(r.u64(10..90)))),
            troubles,
        }
    }

    /// Whether Kubernetes is always asked in time: nothing stands still.
    pub fn quiet(&self) -> bool {
        self.stall_every.is_none()
    }

    /// Whether something may be resumed.
    pub fn resumes(&self) -> bool {
        let fails = |node: &NodePlan| matches!(node.pipeline, "FailsOnce" | "FailsAlways");
        let again = |node: &NodePlan| node.on_retry != OnRetry::Restart && node.retries > 0;
        self.workflows.iter().any(|workflow| workflow.nodes.iter().any(|node| fails(node) && again(node)))
    }

    /// AWS does not recognise a token for ever.
    pub fn forgets_tokens(&self) -> bool {
        matches!(self.token_semantics, TokenSemantics::ForgottenAfterSeconds(_))
    }

    /// AWS refuses a token that was used instead of naming its execution.
    pub fn refuses_tokens(&self) -> bool {
        matches!(self.token_semantics, TokenSemantics::Conflict | TokenSemantics::MismatchError)
    }
}

fn workflow(r: &mut Rng) -> WorkflowPlan {
    let mut nodes: Vec<NodePlan> = (0..r.usize(1..7)).map(|number| node(r, number)).collect();
    if r.f64() < 0.2 {
        nodes.push(NodePlan { name: ATTACHED.to_owned(), work: Work::Attach, pipeline: ELSEWHERE, ..node(r, 0) });
    }
    if r.f64() < 0.2 {
        let target = r.usize(0..nodes.len());
        let after = Duration::from_secs(r.u64(0..900));
        let (work, pipeline) = (Work::StopOne(target), nodes[target].pipeline);
        nodes.push(NodePlan { name: "main.stop".to_owned(), work, pipeline, after, ..node(r, 0) });
    }
    let some =
        |r: &mut Rng, chance: f64, from: u64, to: u64| (r.f64() < chance).then(|| Duration::from_secs(r.u64(from..to)));
    WorkflowPlan {
        nodes,
        kubernetes: match r.u8(0..8) {
            0 => Kubernetes::Off,
            1 => Kubernetes::Forbids,
            2..=5 => Kubernetes::Works,
            6 => Kubernetes::Slow,
            _ => Kubernetes::Fails,
        },
        stopped_after: some(r, 0.2, 1, 900),
        exit_handler: (r.f64() < 0.4).then(|| if r.bool() { Work::Execute } else { Work::StopAll }),
        retried_after: some(r, 0.5, 90, 4000),
        deadline: some(r, 0.1, 60, 1200),
        second_pod_after: some(r, 0.25, 1, 900),
        clock_skew_ms: r.i64(-8000..8000),
        troubles: WorkflowTroubles::default(),
    }
}

/// Most of its nodes continue what failed, and more of them fail.
fn persevere(r: &mut Rng, workflow: &mut WorkflowPlan) {
    for node in workflow.nodes.iter_mut().filter(|node| node.work == Work::Execute) {
        node.on_retry = [OnRetry::Restart, OnRetry::Resume, OnRetry::Resume, OnRetry::ResumeOnly][r.usize(0..4)];
        node.retries = r.u32(1..4);
        if r.bool() {
            node.pipeline = if r.f64() < 0.7 { "FailsOnce" } else { "FailsAlways" };
        }
    }
}

pub fn node(r: &mut Rng, number: usize) -> NodePlan {
    let pipeline = match r.u8(0..10) {
        0..=3 => "Quick",
        4..=5 => "Slow",
        6..=7 => "FailsOnce",
        8 => "FailsAlways",
        _ => "Blocked",
    };
    let timeout = Duration::from_secs(r.u64(60..1800));
    let after = if r.bool() { Duration::ZERO } else { Duration::from_secs(r.u64(1..600)) };
    NodePlan {
        // What is created at once is one step group, as in a loop.
        name: format!("main[{}].train({number}:a b)", if after.is_zero() { 0 } else { number }),
        work: Work::Execute,
        pipeline,
        retries: r.u32(0..3),
        on_retry: OnRetry::Restart,
        // Nothing but its time-out ever ends a Callback step.
        timeout: (pipeline == "Blocked" || r.f64() < 0.2).then_some(timeout),
        leave: r.f64() < 0.1,
        max_running: (r.f64() < 0.15).then(|| r.usize(1..3)),
        keyless: false,
        accept: false,
        declares: Declares::Nothing,
        after,
    }
}
