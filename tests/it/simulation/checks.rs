//! What must hold after every step, and in the end. Each promise is judged where it shows:
//!
//! | module | judges |
//! |---|---|
//! | `starts` | what was started: how often, beside what, when allowed, in which order |
//! | `resumes` | what was resumed: once for an attempt, and nothing started instead |
//! | `stops` | what was stopped, and that a stop that was taken stops |
//! | `replies` | what nodes are told |
//! | `denials` | errors before a start: only after a lasting denial |
//! | `progress` | that nodes start when there is room, and are told their ends soon |
//! | `calls` | how often AWS is asked, and what is noted |
//! | `results` | that declared results are told, and nobody's are asked for |
//! | `finals` | what everything has come to |

mod calls;
mod denials;
mod finals;
mod progress;
mod replies;
mod results;
mod resumes;
mod starts;
mod stops;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use awf_aws::{
    pipelines::{Call, CallEnded, CallError, CallErrorKind, CallReply, ClientKey, Time},
    protocol::ExecuteTemplateReply,
    simulator::execution::Execution,
    workflow::identity::{Key, Marker},
};

use super::{
    argo::{Ended, Node, NodeId},
    plan::{Kubernetes, Work},
    pod::PodId,
    world::World,
};

/// A pod's clock may be ahead by so much.
pub const CLOCKS: Duration = Duration::from_secs(10);

/// A process of the plugin.
pub type Process = (PodId, u32);

/// An execution that one of our processes has started.
#[derive(Clone, Debug)]
pub struct Started {
    pub marker: Marker,
    /// The node's attempt that it was started for.
    pub node: (usize, NodeId),
    /// Which `argo retry` of the workflow it was started in.
    pub run: u32,
    /// Whose process started it.
    pub pod: PodId,
}

#[derive(Default)]
pub struct Checks {
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// The book's executions in its order; those of other people are `None`.
    started: Vec<Option<Started>>,
    of_key: HashMap<Key, Vec<usize>>,
    /// Retried in the console, and when last.
    pub revived: HashMap<String, Time>,
    pub stopped_by_others: HashMap<String, Time>,
    pub deleted_pipelines: HashSet<String>,
    deleted_keys: HashSet<Key>,
    /// Keys of which a process took an end of this run for an earlier one's.
    lost_runs: HashSet<Key>,
    /// Processes that were denied a listing.
    lists_denied: HashSet<Process>,
    denials: denials::Denials,
    progress: progress::Progress,
    calls: calls::Calls,
    results: results::Results,
    stops: stops::Stops,
    resumes: resumes::Resumed,
    /// What a process told of a node's end.
    told: HashMap<(Process, NodeId), ExecuteTemplateReply>,
    /// Nodes of which a process told an end that leaves no trace in AWS.
    traceless: HashMap<(usize, NodeId), Process>,
    /// Nodes that were asked for again, in another process, after such an end.
    asked_again: HashSet<(usize, NodeId)>,
    /// What any process told of a node's end.
    ends: HashMap<(usize, NodeId), Ended>,
    /// Nodes in the order in which a process first sent their starts.
    sent: HashMap<Process, Vec<NodeId>>,
    /// Tokens of the starts that a process has sent and AWS has not met, with pipeline and client.
    under_way: HashMap<Process, HashMap<String, (String, ClientKey)>>,
    /// Nodes whose start a process was refused for want of capacity, and by when it knew.
    refused: HashMap<(Process, NodeId), Time>,
}

impl Checks {
    /// The next execution in the book is other people's.
    pub fn knows_nothing_of_the_next(&mut self) {
        self.started.push(None);
    }

    /// Places in the book of what our processes have started.
    pub fn ours(&self) -> impl Iterator<Item = usize> + '_ {
        self.started.iter().enumerate().filter_map(|(place, started)| started.as_ref().map(|_| place))
    }

    /// Somebody has deleted this execution.
    pub fn was_deleted(&mut self, place: usize) {
        if let Some(started) = &self.started[place] {
            self.deleted_keys.insert(started.marker.key);
        }
    }

    pub fn broke(&mut self, promise: impl Into<String>) {
        self.broken.get_or_insert(promise.into());
    }
}

impl World {
    fn process(&mut self, id: PodId) -> Process {
        (id, self.pod(id).plugins)
    }

    /// The newest node of the attempt that a marker names.
    fn node_of(&self, marker: &Marker) -> Option<(usize, NodeId)> {
        let nodes = self.names.get(&marker.key)?;
        nodes.iter().rfind(|(number, node)| self.workflows[*number].nodes[*node].attempt == marker.attempt).copied()
    }

    /// The node that a start or a resume is for.
    pub fn node_of_start(&self, call: &Call) -> Option<(usize, NodeId)> {
        let description = match call {
            Call::StartExecution(start) => Some(&start.description),
            Call::UpdateExecution { description, .. } => Some(description),
            // It is written before.
            Call::RetryExecution { arn, .. } => self.execution_named(arn)?.1.description.as_ref(),
            _ => None,
        };
        self.node_of(&Marker::parse(description?)?)
    }

    /// An execution of the book, with its place.
    fn execution_named(&self, arn: &str) -> Option<(usize, &Execution)> {
        self.book.executions().iter().enumerate().find(|(_, e)| e.arn == arn)
    }

    /// What was started under a key, with what is in the book of it.
    fn started_under(&self, key: &Key) -> impl Iterator<Item = (&Started, &Execution)> {
        let places = self.checks.of_key.get(key).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| Some((self.checks.started[*place].as_ref()?, &self.book.executions()[*place])))
    }

    pub fn executions_of(&self, key: &Key) -> Vec<&Execution> {
        self.started_under(key).map(|(_, execution)| execution).collect()
    }

    /// What a workflow has started.
    pub fn started_by(&self, number: usize) -> impl Iterator<Item = (&Started, &Execution)> {
        let all = self.checks.started.iter().zip(self.book.executions());
        all.filter_map(move |(started, e)| Some((started.as_ref().filter(|s| s.node.0 == number)?, e)))
    }

    fn node(&self, (number, node): (usize, NodeId)) -> &Node {
        &self.workflows[number].nodes[node]
    }

    /// After a call had its effect, or was refused.
    pub fn check_call(
        &mut self,
        process: Process,
        call: &Call,
        result: &Result<CallReply, CallError>,
        known: usize,
        knew_over: bool,
    ) {
        let new = self.book.executions().len() > known;
        if new {
            self.check_started(process, knew_over);
        }
        self.note_denials(process, call, result);
        self.note_listed(process, call, result);
        self.note_untold(process, call, result);
        match (call, result) {
            (Call::StartExecution(_), result) => self.start_was_answered(process, call, result, new),
            (Call::RetryExecution { .. }, result) => self.resume_was_answered(process, call, result),
            (Call::StopExecution { arn, token }, Ok(_)) => self.check_stop(arn, token),
            (Call::StopExecution { token, .. }, Err(error)) if error.kind == CallErrorKind::OutcomeUnknown => {
                self.stop_is_unsure(token);
            }
            _ => {}
        }
        let harmless = |kind| {
            let starts =
                matches!(call, Call::StartExecution(_) | Call::UpdateExecution { .. } | Call::RetryExecution { .. });
            let denied_start = starts && kind == CallErrorKind::Denied;
            kind == CallErrorKind::QuotaExceeded || denied_start
        };
        if result.as_ref().is_err_and(|error| !harmless(error.kind)) {
            self.disturbed(process.0.0);
        }
    }

    /// An answer of AWS reaches a process.
    pub fn check_heard(&mut self, process: Process, ended: &CallEnded) {
        self.checks.calls.heard(process, ended);
    }

    /// The role may not list: only tokens protect then, as the README says.
    pub fn listing_was_denied(&mut self, process: Process) {
        self.checks.lists_denied.insert(process);
        self.bites.add("fault: listing denied");
    }

    /// Whether a process of this workflow was ever denied a listing.
    fn lists_were_denied(&self, number: usize) -> bool {
        self.plan.list_denied || self.checks.lists_denied.iter().any(|((workflow, _), _)| *workflow == number)
    }

    /// Where no promise can be kept, as the README says: a token that AWS no longer recognises, and no list to look into.
    fn may_start_twice(&self, number: usize) -> bool {
        self.lists_were_denied(number) && self.plan.forgets_tokens()
    }

    /// Where an execution that runs may not be found again: AWS refuses the token instead of naming the execution, and
    /// there is no list to look into.
    fn may_lose_sight(&self, number: usize) -> bool {
        // Without knowing how far back to look, and among many strangers, a listing is truncated.
        let truncated = self.plan.workflows[number].troubles.created_unknown && self.plan.troubles.strangers.is_some();
        (self.lists_were_denied(number) || truncated) && self.plan.refuses_tokens()
    }

    /// Whether Kubernetes has always said when the workflow's run began.
    fn knows_its_run(&self, number: usize) -> bool {
        let plan = &self.plan.workflows[number];
        plan.kubernetes == Kubernetes::Works && plan.troubles.kubernetes_later.is_empty()
    }

    /// Whether a stop task was asked for that names this node, or everything.
    fn is_stopped_by_task(&self, number: usize, name: &str, or_everything: bool) -> bool {
        self.workflows[number].nodes.iter().any(|stop| {
            let everything = or_everything && stop.plan.work == Work::StopAll;
            let named = self.stopped_by(number, &stop.plan) == Some(name);
            (everything || named) && stop.first_asked.is_some()
        })
    }

    /// Whether a stop task was asked for that names this execution.
    fn is_stopped_by_arn(&self, arn: &str) -> bool {
        let mut nodes = self.workflows.iter().flat_map(|w| &w.nodes);
        nodes.any(|n| n.first_asked.is_some() && n.target.as_deref() == Some(arn))
    }

    /// Whether the workflow is over by anybody's word.
    fn is_over(&self, number: usize) -> bool {
        let workflow = &self.workflows[number];
        let said = [workflow.stopped_at, workflow.gone_at, workflow.completed_at];
        said.iter().any(Option::is_some) || self.is_past_deadline(number)
    }

    fn is_undisturbed(&self, workflow: usize) -> bool {
        let odds = self.plan.odds;
        let plan = &self.plan.workflows[workflow];
        let troubles = &self.plan.troubles;
        odds.throttle + odds.server_error + odds.lost_reply + odds.hang + odds.unreachable == 0.0
            && self.plan.credentials_gap.is_none()
            && self.plan.troubles.congestion.is_none()
            && !self.plan.list_denied
            && self.plan.stall_every.is_none()
            && plan.troubles.frozen.is_none()
            && plan.troubles.kubernetes_later.is_empty()
            && matches!(plan.kubernetes, Kubernetes::Off | Kubernetes::Works)
            && troubles.refusals.is_empty()
            && troubles.deeds.is_empty()
            && !troubles.nosy
            && troubles.slow == 0.0
    }

    /// A node came into being.
    pub fn meets_node(&mut self, node: &Node) {
        self.bites.add(match node.plan.work {
            Work::Execute if node.plan.keyless => "node: without execution_key",
            Work::Execute if node.plan.leave => "node: left running",
            Work::Execute => "node: execute",
            Work::Attach => "node: attached",
            Work::Validate(_) => "node: validate",
            Work::StopOne(_) => "node: stop of a key",
            Work::StopArn(_) => "node: stop of an ARN",
            Work::StopAll => "node: stop of everything",
        });
    }
}
