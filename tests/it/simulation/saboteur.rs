//! The saboteur stands between a process of the plugin and its machine: it hears what the machine is told and sees what the
//! machine wants done, and falsifies both. The machine itself is the product's, whole and correct; the system of the two
//! lacks a safeguard, and the simulation has to notice.
//!
//! | module | falsifies |
//! |---|---|
//! | `hearing` | requests, what Kubernetes says, AWS's answers |
//! | `doing` | calls and answers on their way out |
//! | `lies` | pure functions: what becomes of a task, a page, an execution, a token |

mod doing;
mod hearing;
mod lies;

use std::collections::{BTreeMap, HashMap, HashSet};

use awf_aws::{
    pipelines::{Call, CallReply, ClientKey, Execution, Status, Time},
    workflow::{CallId, Command, Settings, WorkflowState, identity::Key},
};

use super::{
    argo::NodeId,
    checks::Process,
    plan::{Kubernetes, MINUTE, Plan, Work, WorkflowPlan},
    troubles::Deed,
    world::World,
};

pub use doing::Act;

/// A safeguard that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The start token does not tell attempts apart: it is made of the marker without its attempt.
    TokenWithoutAttempt,
    /// The start token does not name the execution that is replaced: it is made of the marker without its predecessor.
    TokenWithoutPredecessor,
    /// The start token is made of the moment in which a process first sends it.
    TokenOfTheMoment,
    /// A start whose outcome is unknown is repeated under a new token.
    TokenNewAfterLoss,
    /// A stop has the same token also after a revival.
    StopTokenForEver,
    /// The token of a resume tells neither attempts nor ends apart: it is made of the execution alone.
    ResumeTokenForEver,
    /// Markers do not say which end their attempt continues.
    MarkersForgetResumes,
    /// A resume whose outcome is unknown counts as refused: its error reads like an invalid argument's.
    UnknownResumeIsRefused,
    /// A start whose outcome is unknown counts as refused: its error reads like an invalid argument's.
    UnknownIsFailure,
    /// A start that is denied once is not tried again: its error reads like an invalid argument's.
    DenialIsFinal,
    /// One denied start stands for all of its pipeline: those that follow are answered with a denial and never sent.
    DenialHoldsAll,
    /// A failed look is taken for a failed execution: a describe that AWS does not answer shows it as failed.
    TroubleIsTheEnd,
    /// Nothing is known of what was started before: every list is empty.
    NoListing,
    /// A renewed listing knows nothing new: it shows only what the process's first one of the pipeline has shown.
    RenewedListingsFromSnapshot,
    /// Lists lag behind an earlier process for longer than the machine allows for: they show an execution after 20 minutes.
    ListsLagFar,
    /// Executions that have ended are not adopted: lists show only live ones.
    AdoptsOnlyTheLiving,
    /// A live execution of another attempt of the node does not count: lists hide it, and a look shows it as stopped.
    FollowsOnlyItsOwnAttempt,
    /// What was revived in the console counts as ended: for an hour lists and looks show the end before it.
    RevivalsStayHidden,
    /// What a list shows is believed although a look has shown a later status: the next look says the same as the list.
    BelievesStaleLists,
    /// Whether executions belong to this run of the workflow is told by the clock alone: their markers show no run.
    RunsToldApartByClocks,
    /// Ends of an earlier run of the workflow count as this run's: every run is said to have begun long ago.
    NoEpoch,
    /// Retries are not told apart: every attempt's request is for the first one.
    AttemptsAlike,
    /// Nodes are not told apart: every request has the same `execution_key`.
    KeysAlike,
    /// The workflow's creation is believed to the minute when earlier executions are listed: it seems 14 minutes later,
    /// which leaves a minute of the quarter of an hour that clocks may differ by.
    CreatedToTheSecond,
    /// What siblings' markers say of a node that ended while it waited does not count: markers do not say it.
    ForgetsSiblings,
    /// Every attempt is started by the client of the node's first one.
    FamilyKeepsItsClient,
    /// The workflow's limit counts each pipeline by itself: it becomes every node's `max_running`.
    LimitOfThePipeline,
    /// A node that finds the account full loses its place: what it is told reads like a denial, which lets others pass.
    LosesItsPlace,
    /// A workflow that is alive is taken for one that is over.
    StopOnAlive,
    /// Nothing keeps nodes from starting when the workflow is over: it is said to be alive.
    StartsAfterOver,
    /// `on_stop: leave` is not heeded.
    LeavesNothing,
    /// Stops leave 20 minutes after they were wanted.
    StopsHeldBack,
    /// A stop is sent again with whatever else the process does, and neither the pace nor a pause holds it.
    StopsWithoutPause,
    /// An end is told once.
    EndNotRepeated,
    /// An execution is looked at every 10 seconds after its end.
    PollsOn,
    /// The pace does not come back: once AWS has throttled a process, all its answers count as throttled.
    SlowForEver,
    /// Steps that were listed while the execution ran are taken for those of its end: the first answer stands.
    StepsOfTheRunning,
    /// What jobs came to is not taken in: their descriptions show nothing.
    JobsTellNothing,
    /// What one job came to is told of the next: each description shows what the one before did.
    JobsMixedUp,
    /// Jobs are described whether somebody wants their results or not: every template asks for all.
    EverythingIsWanted,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 40] = [
        Self::TokenWithoutAttempt,
        Self::TokenWithoutPredecessor,
        Self::TokenOfTheMoment,
        Self::TokenNewAfterLoss,
        Self::StopTokenForEver,
        Self::ResumeTokenForEver,
        Self::MarkersForgetResumes,
        Self::UnknownResumeIsRefused,
        Self::UnknownIsFailure,
        Self::DenialIsFinal,
        Self::DenialHoldsAll,
        Self::TroubleIsTheEnd,
        Self::NoListing,
        Self::RenewedListingsFromSnapshot,
        Self::ListsLagFar,
        Self::AdoptsOnlyTheLiving,
        Self::FollowsOnlyItsOwnAttempt,
        Self::RevivalsStayHidden,
        Self::BelievesStaleLists,
        Self::RunsToldApartByClocks,
        Self::NoEpoch,
        Self::AttemptsAlike,
        Self::KeysAlike,
        Self::CreatedToTheSecond,
        Self::ForgetsSiblings,
        Self::FamilyKeepsItsClient,
        Self::LimitOfThePipeline,
        Self::LosesItsPlace,
        Self::StopOnAlive,
        Self::StartsAfterOver,
        Self::LeavesNothing,
        Self::StopsHeldBack,
        Self::StopsWithoutPause,
        Self::EndNotRepeated,
        Self::PollsOn,
        Self::SlowForEver,
        Self::StepsOfTheRunning,
        Self::JobsTellNothing,
        Self::JobsMixedUp,
        Self::EverythingIsWanted,
    ];

    /// Whether a plan has what this safeguard is there for: such seeds are played first.
    pub fn is_about(self, plan: &Plan) -> bool {
        let troubles = &plan.troubles;
        let any = |has: fn(&WorkflowPlan) -> bool| plan.workflows.iter().any(has);
        match self {
            Self::StopTokenForEver => troubles.nosy,
            Self::ResumeTokenForEver | Self::MarkersForgetResumes | Self::UnknownResumeIsRefused => plan.resumes(),
            Self::RevivalsStayHidden => troubles.deeds.iter().any(|(_, deed)| *deed == Deed::RetryInConsole),
            Self::FollowsOnlyItsOwnAttempt => any(|w| w.nodes.iter().any(|n| n.pipeline == "Blocked" && n.retries > 0)),
            Self::AttemptsAlike => any(|w| w.nodes.iter().any(|n| n.pipeline == "FailsOnce" && n.retries > 0)),
            Self::SlowForEver => troubles.congestion.is_some() && any(|w| w.nodes.len() > 7),
            Self::BelievesStaleLists => troubles.stale > 0.0,
            Self::RunsToldApartByClocks => plan.quiet() && troubles.clocks.jump.is_none() && any(is_soon_retried),
            Self::CreatedToTheSecond => {
                let blind = |w: &WorkflowPlan| matches!(w.kubernetes, Kubernetes::Off | Kubernetes::Forbids);
                let restarts = plan.kill_every.is_some() && plan.calm_after > 15 * MINUTE;
                troubles.clocks.kubernetes > 60_000 && restarts && plan.workflows.iter().any(blind)
            }
            Self::ForgetsSiblings => troubles.squeeze && any(|w| w.troubles.away.is_some()),
            Self::FamilyKeepsItsClient => any(|w| w.troubles.moves.is_some()),
            Self::LimitOfThePipeline => any(|w| w.troubles.max_running.is_some()),
            Self::LosesItsPlace => troubles.squeeze && plan.quiet(),
            Self::DenialIsFinal | Self::DenialHoldsAll => !troubles.refusals.is_empty(),
            Self::LeavesNothing => any(|w| w.nodes.iter().any(|n| n.leave) && w.stopped_after.is_some()),
            Self::StopsHeldBack | Self::StopsWithoutPause => {
                any(|w| w.stopped_after.is_some() || w.nodes.iter().any(|n| matches!(n.work, Work::StopOne(_))))
            }
            Self::ListsLagFar | Self::NoListing | Self::AdoptsOnlyTheLiving => plan.kill_every.is_some(),
            Self::RenewedListingsFromSnapshot => plan.refuses_tokens() && any(|w| w.second_pod_after.is_some()),
            Self::StartsAfterOver => {
                let asks = |w: &WorkflowPlan| w.stopped_after.is_some() && w.kubernetes == Kubernetes::Works;
                plan.quota < 4 && plan.workflows.iter().any(asks)
            }
            Self::TokenOfTheMoment => plan.kill_every.is_some() || any(|w| w.second_pod_after.is_some()),
            _ => true,
        }
    }

    /// What the machine is told when its process begins.
    fn settings(self, settings: Settings) -> Settings {
        match self {
            Self::LimitOfThePipeline => Settings { max_running_per_workflow: None, ..settings },
            Self::NoEpoch => Settings { pod_born: Time::at(0), ..settings },
            _ => settings,
        }
    }
}

/// Whether `argo retry` follows so soon on an end that clocks alone could not tell the runs apart.
fn is_soon_retried(workflow: &WorkflowPlan) -> bool {
    workflow.kubernetes == Kubernetes::Works
        && workflow.troubles.kubernetes_later.is_empty()
        && workflow.troubles.frozen.is_none()
        && workflow.stopped_after.is_none()
        && workflow.retried_after.is_some_and(|wait| wait < 10 * MINUTE)
        && workflow.nodes.iter().any(|node| node.pipeline == "FailsAlways")
}

/// What the saboteur does, and what it has seen.
#[derive(Default)]
pub struct Saboteur {
    pub sabotage: Option<Sabotage>,
    /// Calls that have left a machine and did not come back.
    open: HashMap<(Process, CallId), (ClientKey, Call)>,
    /// Starts by the token that the machine gave them.
    starts: HashMap<(Process, String), Sent>,
    /// Executions as a process last saw them.
    seen: HashMap<(Process, String), Execution>,
    /// What the newest list has shown of an execution since the last look at it.
    listed: HashMap<(Process, String), Status>,
    /// What the first listing of a pipeline has shown, and whether it is complete.
    snapshots: HashMap<(Process, String), (HashSet<String>, bool)>,
    steps: HashMap<(Process, String), CallReply>,
    /// What the last description of a job told a process.
    job: HashMap<Process, CallReply>,
    /// Pipelines of which a start was denied.
    denied: HashSet<(Process, String)>,
    /// Keys of which a start found the account full.
    full: HashSet<(Process, Key)>,
    /// The client, and the newest attempt, that a key was asked for with.
    clients: HashMap<(Process, Key), ClientKey>,
    newest: HashMap<(Process, Key), u32>,
    /// What Kubernetes last said while the workflow was alive.
    alive: HashMap<Process, WorkflowState>,
    told: HashSet<(Process, NodeId)>,
    /// Processes that AWS has throttled.
    throttled: HashSet<Process>,
    /// Stops that wait.
    held: Vec<(Process, Time, Command)>,
    /// Stops that are sent again.
    repeated: BTreeMap<(Process, String), (ClientKey, Call)>,
    /// Ended executions, by whom and when they were last looked at.
    ended: BTreeMap<(Process, String), (ClientKey, Time)>,
    /// Calls of its own.
    own_calls: u64,
}

/// A start that has left a process.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// When first.
    first: Time,
    /// How often its outcome was unknown.
    lost: u32,
}

/// Who is to be deceived, when, and how.
#[derive(Clone, Copy)]
struct Scene {
    sabotage: Sabotage,
    process: Process,
    now: Time,
}

impl Saboteur {
    pub fn new(sabotage: Option<Sabotage>) -> Self {
        Self { sabotage, ..Self::default() }
    }

    /// What a machine is told when its process begins.
    pub fn settings(&self, settings: Settings) -> Settings {
        match self.sabotage {
            Some(sabotage) => sabotage.settings(settings),
            None => settings,
        }
    }
}

impl World {
    fn scene(&self, process: Process) -> Option<Scene> {
        self.saboteur.sabotage.map(|sabotage| Scene { sabotage, process, now: self.now })
    }

    /// The limit of a workflow's executions.
    fn limit_of(&self, (workflow, _): super::pod::PodId) -> Option<usize> {
        self.plan.workflows[workflow].troubles.max_running
    }
}
