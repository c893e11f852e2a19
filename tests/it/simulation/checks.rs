//! What must hold after every step, and in the end.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use awf_aws::{
    pipelines::{Call, CallError, CallErrorKind, CallReply, Status, Time},
    protocol::{ExecuteTemplateReply, Phase},
    simulator::execution::Execution,
    workflow::{
        WorkflowState,
        identity::{Key, Marker, execution_id},
    },
};

use super::{
    argo::{Ended, Node, NodeId, ended},
    plan::{ATTACHED, Kubernetes, SECOND, Work},
    pod::PodId,
    world::World,
};

/// A pod's clock may be ahead by so much.
const CLOCKS: Duration = Duration::from_secs(10);

/// Whether a start has been carried out, now or before: another pod's process may have been faster.
fn started_or_was(result: &Result<CallReply, CallError>) -> bool {
    use CallErrorKind::{Conflict, TokenMismatch};
    result.as_ref().map_or_else(|error| matches!(error.kind, Conflict | TokenMismatch), |_| true)
}

/// A process of the plugin.
pub type Process = (PodId, u32);

#[derive(Default)]
pub struct Checks {
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// Markers of the book's executions, in its order.
    markers: Vec<Marker>,
    /// How often a process was told that an execution has ended.
    ends_seen: HashMap<(Process, String), usize>,
    /// What a process told of a node's end.
    told: HashMap<(Process, NodeId), ExecuteTemplateReply>,
    /// What any process told of a node's end.
    ends: HashMap<(usize, NodeId), Ended>,
    /// Nodes in the order in which a process first sent their starts.
    sent: HashMap<Process, Vec<NodeId>>,
    /// Nodes whose start a process was refused for want of capacity, and by when it knew.
    refused: HashMap<(Process, NodeId), Time>,
}

impl Checks {
    /// The next execution in the book has this marker.
    pub fn knows(&mut self, marker: Marker) {
        self.markers.push(marker);
    }

    pub fn broke(&mut self, promise: impl Into<String>) {
        self.broken.get_or_insert(promise.into());
    }
}

impl World {
    fn process(&mut self, id: PodId) -> Process {
        (id, self.pod(id).plugins)
    }

    /// The attempt of this run that a marker names.
    fn node_of(&self, marker: &Marker) -> Option<(usize, NodeId)> {
        let number = self.workflows.iter().position(|w| w.uid == marker.uid)?;
        let workflow = &self.workflows[number];
        let is_it = |n: &Node| n.attempt == marker.attempt && Key::named(&workflow.uid, &n.plan.name) == marker.key;
        Some((number, workflow.nodes.iter().rposition(is_it)?))
    }

    fn executions_of(&self, workflow: usize, name: &str) -> Vec<&Execution> {
        let key = Key::named(&self.workflows[workflow].uid, name);
        let of_key = self.checks.markers.iter().zip(self.book.executions()).filter(|(marker, _)| marker.key == key);
        of_key.map(|(_, execution)| execution).collect()
    }

    /// After a call had its effect.
    pub fn check_call(
        &mut self,
        process: Process,
        call: &Call,
        result: &Result<CallReply, CallError>,
        known: usize,
        knew_over: bool,
    ) {
        if self.book.executions().len() > known {
            self.check_started(knew_over);
        }
        match (call, result) {
            (Call::StartExecution(_), Err(error)) if error.kind == CallErrorKind::QuotaExceeded => {
                let node = self.node_of_start(call);
                // The process hears of it within a quarter of a second.
                let heard = self.now.plus(SECOND);
                self.checks.refused.extend(node.map(|node| ((process, node), heard)));
            }
            (Call::StartExecution(_), result) if started_or_was(result) => {
                if let Some(node) = self.node_of_start(call) {
                    self.checks.refused.remove(&(process, node));
                }
            }
            (Call::StopExecution { arn, .. }, Ok(_)) => self.check_stop(&arn.clone()),
            (Call::DescribeExecution { arn }, Ok(CallReply::Execution(execution))) if !execution.status.is_live() => {
                let times = self.checks.ends_seen.entry((process, arn.clone())).or_default();
                *times += 1;
                // Once to know it, once more before each further attempt, and what was under way meanwhile.
                let times = *times;
                if times > 6 {
                    self.checks.broke(format!("{} was described {times} times after its end", execution_id(arn)));
                }
            }
            _ => {}
        }
    }

    /// One execution per (uid, key, attempt, predecessor); never two live ones of a key.
    fn check_started(&mut self, knew_over: bool) {
        let Some(execution) = self.book.executions().last() else { return };
        let Some(marker) = execution.description.as_deref().and_then(Marker::parse) else {
            self.checks.broke("an execution without a marker");
            return;
        };
        self.checks.markers.push(marker.clone());
        if self.plan.may_start_twice() {
            return;
        }
        let what = (&marker.uid, &marker.key, marker.attempt, &marker.predecessor);
        let same = self.checks.markers.iter().filter(|m| (&m.uid, &m.key, m.attempt, &m.predecessor) == what).count();
        if same > 1 {
            self.checks.broke(format!("{same} executions of one attempt: {marker:?}"));
        }
        let live = self.checks.markers.iter().zip(self.book.executions());
        let live = live.filter(|(m, e)| m.key == marker.key && e.status.is_live()).count();
        if live > 1 && !self.plan.list_denied && !self.has_traceless_end(&marker) {
            self.checks.broke(format!("{live} live executions of one node: {marker:?}"));
        }
        let exit_handler = self.node_of(&marker).is_some_and(|(w, n)| self.workflows[w].nodes[n].is_exit_handler());
        if knew_over && !exit_handler {
            self.checks.broke(format!("started although the workflow was known to be over: {marker:?}"));
        }
    }

    /// Whether an attempt of this node ended while it still waited. Nothing in AWS says so, and the README does: an agent
    /// that asks for all attempts again finds a process that starts one, and after a crash, in lists that lag, another.
    fn has_traceless_end(&self, marker: &Marker) -> bool {
        let Some((number, node)) = self.node_of(marker) else { return false };
        let nodes = &self.workflows[number].nodes;
        let mut attempts = nodes.iter().filter(|n| n.plan.name == nodes[node].plan.name);
        attempts.any(|n| n.ended.as_ref().is_some_and(|end| end.arn.is_none()))
    }

    /// Nothing is stopped that should live.
    fn check_stop(&mut self, arn: &str) {
        if arn == self.elsewhere {
            // Somebody else's is stopped when a stop names the node that is attached to it, and never else.
            let asked = |number: usize| self.is_stopped_by_task(number, ATTACHED, false);
            if !(0..self.workflows.len()).any(asked) {
                self.checks.broke("somebody else's execution was stopped, and nobody wanted that");
            }
            return;
        }
        let found = self.book.executions().iter().position(|e| e.arn == arn);
        let Some(marker) = found.and_then(|i| self.checks.markers.get(i).cloned()) else { return };
        let Some((number, node)) = self.node_of(&marker) else { return };
        let (workflow, now) = (&self.workflows[number], self.now);
        let over = workflow.stopped_at.is_some()
            || workflow.completed_at.is_some()
            || self.is_past_deadline(number, now.plus(CLOCKS));
        let created = found.and_then(|i| self.book.executions().get(i)).map_or(now, |e| e.created);
        let stopped_by_task = self.is_stopped_by_task(number, &workflow.nodes[node].plan.name, true);
        // Any attempt of the node that follows the execution may have run into its time-out.
        let timed_out = workflow.nodes.iter().filter(|n| n.plan.name == workflow.nodes[node].plan.name).any(|n| {
            let since = n.first_asked.map_or(created, |asked| asked.min(created));
            n.plan.timeout.is_some_and(|timeout| now >= since.plus(timeout).minus(CLOCKS))
        });
        let wanted = timed_out || stopped_by_task || (over && !workflow.nodes[node].plan.leave);
        if !wanted {
            let name = workflow.nodes[node].plan.name.clone();
            self.checks.broke(format!("{} of {name} was stopped, and nobody wanted that", execution_id(arn)));
        }
    }

    /// Whether a stop task was asked for that names this node, or everything.
    fn is_stopped_by_task(&self, number: usize, name: &str, or_everything: bool) -> bool {
        self.workflows[number].nodes.iter().any(|stop| {
            let everything = or_everything && stop.plan.work == Work::StopAll;
            let named = self.stopped_by(number, &stop.plan) == Some(name);
            (everything || named) && stop.first_asked.is_some()
        })
    }

    /// Every reply keeps Argo's rules, ends repeat, and say what the book says.
    pub fn check_reply(&mut self, id: PodId, node: NodeId, reply: &ExecuteTemplateReply) {
        let process = self.process(id);
        let Some(result) = &reply.node else {
            self.checks.broke("our task was answered as not ours");
            return;
        };
        let end = ended(reply);
        if reply.requeue.is_some() == end.is_some() {
            self.checks.broke(format!("requeue and phase contradict each other: {reply:?}"));
        }
        if result.phase.is_some() && result.message.is_empty() {
            self.checks.broke(format!("a phase without a message: {reply:?}"));
        }
        match self.checks.told.get(&(process, node)) {
            Some(told) if told != reply => {
                self.checks.broken.get_or_insert(format!("an end was not repeated: {told:?}, then {reply:?}"));
            }
            Some(_) => {}
            None if end.is_some() => {
                self.checks.told.insert((process, node), reply.clone());
            }
            None => {}
        }
        if result.phase == Some(Phase::Pending) {
            self.check_pending(id, node, result.message.clone());
        }
        if let Some(end) = end {
            self.check_blame(id.0, node, &end);
            match self.workflows[id.0].nodes[node].plan.work {
                Work::Execute => self.check_end(id.0, node, &end),
                Work::Attach => self.check_attached_end(&end),
                Work::StopOne(_) | Work::StopAll => self.check_stop_end(id.0, node, &end),
            }
        }
    }

    /// Pending is only said of a node that is proven not started.
    fn check_pending(&mut self, id: PodId, node: NodeId, message: String) {
        let name = self.workflows[id.0].nodes[node].plan.name.clone();
        // What a process does not know of shows in the second listing after its start, and what another pod starts
        // meanwhile in the listings that precede later starts.
        let pods = self.plan.workflows[id.0].second_pod_after.is_some();
        let before = self.now.minus(if pods { 400 * SECOND } else { 120 * SECOND });
        let live = self.executions_of(id.0, &name).iter().any(|e| e.status.is_live() && e.created < before);
        if live && !self.plan.list_denied {
            self.checks.broke(format!("Pending ({message}) is said of {name}, which runs"));
        }
    }

    /// A node that ends with its workflow does so for a reason.
    fn check_blame(&mut self, workflow: usize, node: NodeId, end: &Ended) {
        let name = &self.workflows[workflow].nodes[node].plan.name;
        let goes_on = matches!(self.workflow_state(workflow), WorkflowState::Alive { .. });
        let blames = ["workflow is over", "workflow was stopped"].iter().any(|text| end.message.contains(text));
        if (blames && goes_on)
            || (end.message.contains("activeDeadlineSeconds")
                && !self.is_past_deadline(workflow, self.now.plus(CLOCKS)))
        {
            self.checks.broke(format!("{name} ended with its workflow, which goes on: {end:?}"));
        }
    }

    /// An end is what SageMaker's book says.
    fn check_end(&mut self, workflow: usize, node: NodeId, end: &Ended) {
        let name = self.workflows[workflow].nodes[node].plan.name.clone();
        if let Some(arn) = &end.arn {
            let executions = self.executions_of(workflow, &name);
            let Some(execution) = executions.iter().find(|e| e.arn == *arn) else {
                self.checks.broke(format!("{name} was told of another node's execution: {end:?}"));
                return;
            };
            let status = execution.status.clone();
            let broken = match end.phase {
                Phase::Succeeded => status != Status::Succeeded,
                // One that is to be left may end after the look that precedes its node's end.
                Phase::Failed => status == Status::Succeeded && !end.message.contains("left running"),
                _ => true,
            };
            if broken {
                self.checks.broke(format!("{name} ended {end:?}, the book says {status:?}"));
            }
        } else if end.phase == Phase::Succeeded {
            self.checks.broke(format!("{name} succeeded without an execution"));
        }
        let before = self.checks.ends.entry((workflow, node)).or_insert_with(|| end.clone());
        let leaves = [&*before, end].iter().any(|end| end.message.contains("left running"));
        if before.phase != end.phase && before.arn == end.arn && !self.plan.list_denied && !leaves {
            let text = format!("{name} ended as {before:?} and as {end:?}");
            self.checks.broken.get_or_insert(text);
        }
    }

    /// What a node is attached to lives on or not, whatever becomes of the node.
    fn check_attached_end(&mut self, end: &Ended) {
        let Some(theirs) = self.book.executions().iter().find(|e| e.arn == self.elsewhere) else { return };
        let right = match end.phase {
            Phase::Succeeded => theirs.status == Status::Succeeded,
            Phase::Failed => theirs.status == Status::Stopped || end.message.contains("left running"),
            _ => false,
        };
        if !right {
            let text = format!("attached to what is {:?}, a node ended {end:?}", theirs.status);
            self.checks.broke(text);
        }
    }

    /// A stop succeeds when nothing that it names runs any more.
    fn check_stop_end(&mut self, workflow: usize, node: NodeId, end: &Ended) {
        let stop = &self.workflows[workflow].nodes[node];
        let late = ["not ended within", "not found within"].iter().any(|text| end.message.contains(text));
        if end.phase != Phase::Succeeded {
            if end.phase != Phase::Failed || !late {
                self.checks.broke(format!("a stop ended {end:?}"));
            }
            return;
        }
        // What was started just before may not be listed yet; what another pod starts meanwhile is not known.
        let lists_lag = Duration::from_secs(60);
        let Some(asked) = stop.first_asked.map(|asked| asked.minus(lists_lag)) else { return };
        let uid = &self.workflows[workflow].uid;
        let key = self.stopped_by(workflow, &stop.plan).map(|name| Key::named(uid, name));
        let named = |m: &Marker| m.uid == *uid && key.is_none_or(|key| key == m.key);
        let mut all = self.checks.markers.iter().zip(self.book.executions());
        let alive = all.find(|(m, e)| named(m) && e.status.is_live() && e.created < asked);
        if let Some((marker, _)) = alive.filter(|_| !self.plan.list_denied) {
            let text = format!("a stop ended {end:?}, and this runs: {marker:?}");
            self.checks.broke(text);
        }
    }

    /// First in, first out: whoever found the account full starts before those whose start was sent later. Only told
    /// apart where nothing but the quota holds a start up.
    pub fn check_start_sent(&mut self, id: PodId, call: &Call) {
        let Some(node) = self.node_of_start(call) else { return };
        let process = self.process(id);
        let sent = self.checks.sent.entry(process).or_default();
        if !sent.contains(&node) {
            sent.push(node);
        }
        // Once the workflow is over only exit handlers start.
        let over = self.is_past_deadline(id.0, self.now.plus(CLOCKS))
            || !matches!(self.workflow_state(id.0), WorkflowState::Alive { .. });
        let nodes = &self.workflows[id.0].nodes;
        // Whom its own max_running held back may have stood before all others.
        if over || nodes[node].plan.max_running.is_some() || !self.is_undisturbed(id.0) {
            return;
        }
        let waits = |other: &&NodeId| {
            self.checks.refused.get(&(process, **other)).is_some_and(|heard| *heard <= self.now)
                && !self.checks.told.contains_key(&(process, **other))
                && nodes[**other].plan.max_running.is_none()
                && nodes[**other].plan.timeout.is_none()
                && nodes[**other].ended.is_none()
                && !self.is_stopped_by_task(id.0, &nodes[**other].plan.name, true)
                && self.executions_of(id.0, &nodes[**other].plan.name).iter().all(|e| !e.status.is_live())
        };
        let before = self.checks.sent[&process].iter().take_while(|other| **other != node);
        if let Some(other) = before.into_iter().find(waits) {
            let text = format!("{} started before {}", nodes[node].plan.name, nodes[*other].plan.name);
            self.checks.broke(text);
        }
    }

    fn node_of_start(&self, call: &Call) -> Option<NodeId> {
        let Call::StartExecution(start) = call else { return None };
        Some(self.node_of(&Marker::parse(&start.description)?)?.1)
    }

    fn is_undisturbed(&self, workflow: usize) -> bool {
        let odds = self.plan.odds;
        let plan = &self.plan.workflows[workflow];
        odds.throttle + odds.server_error + odds.lost_reply + odds.hang + odds.unreachable == 0.0
            && self.plan.credentials_gap.is_none()
            && !self.plan.list_denied
            && self.plan.stall_every.is_none()
            && matches!(plan.kubernetes, Kubernetes::Off | Kubernetes::Works)
    }

    /// When all is over: whatever Argo still wanted has ended as the book says.
    pub fn final_checks(&mut self) -> Result<(), String> {
        let mut broken = Vec::new();
        for number in 0..self.workflows.len() {
            let workflow = &self.workflows[number];
            if !workflow.is_gone() {
                let open: Vec<_> = workflow.nodes.iter().filter(|n| n.ended.is_none() && !n.unwanted).collect();
                broken.push(format!("workflow {number} never ends; open: {open:?}"));
            }
            let mut newest: BTreeMap<&str, &Node> = BTreeMap::new();
            for node in workflow.nodes.iter().filter(|n| !n.unwanted) {
                let known = newest.entry(&node.plan.name).or_insert(node);
                if (node.run, node.attempt) > (known.run, known.attempt) {
                    *known = node;
                }
            }
            broken.extend(self.left_running(number));
            for (name, node) in newest {
                broken.extend(self.retried_wrongly(number, name, node));
                broken.extend(self.ended_wrongly(number, name, node));
            }
        }
        if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
    }

    /// When a workflow is over, whatever was started is stopped, where Kubernetes can be asked and nothing disturbs.
    fn left_running(&self, number: usize) -> Option<String> {
        let undisturbed = self.is_undisturbed(number)
            && self.plan.workflows[number].kubernetes == Kubernetes::Works
            && self.plan.kill_every.is_none()
            && self.plan.odds.death + self.plan.odds.conflict == 0.0;
        let leaves = |marker: &Marker| self.node_of(marker).is_some_and(|(w, n)| self.workflows[w].nodes[n].plan.leave);
        let runs = self.checks.markers.iter().zip(self.book.executions());
        let mut runs =
            runs.filter(|(m, e)| e.status == Status::Executing && m.uid == self.workflows[number].uid && !leaves(m));
        runs.next().filter(|_| undisturbed).map(|(marker, _)| format!("left running: {marker:?}"))
    }

    /// After `argo retry` a node that had failed is tried again, where Kubernetes says when the new run began.
    fn retried_wrongly(&self, number: usize, name: &str, node: &Node) -> Option<String> {
        if node.plan.work != Work::Execute {
            return None;
        }
        let workflow = &self.workflows[number];
        let knows = self.plan.workflows[number].kubernetes == Kubernetes::Works && self.plan.quiet();
        let end = node.ended.as_ref().filter(|end| end.phase == Phase::Failed && !end.message.contains("workflow"))?;
        let arn = end.arn.as_ref()?;
        let execution = self.book.executions().iter().find(|e| e.arn == *arn)?;
        let old = !execution.status.is_live() && execution.modified < workflow.started_at.minus(40 * SECOND);
        (knows && node.run > 0 && old).then(|| format!("{name} was told the end of the workflow's earlier run"))
    }

    fn ended_wrongly(&self, number: usize, name: &str, node: &Node) -> Option<String> {
        let end = node.ended.as_ref()?;
        if self.plan.may_start_twice() || node.plan.work != Work::Execute {
            return None;
        }
        let executions = self.executions_of(number, name);
        let newest = match &end.arn {
            Some(arn) => executions.iter().find(|e| e.arn == *arn),
            None => executions.iter().max_by_key(|e| e.created),
        };
        let wrong = match (end.phase, newest) {
            (Phase::Succeeded, _) => !executions.iter().any(|e| e.status == Status::Succeeded),
            (Phase::Failed, Some(execution)) => {
                let unsure = ["left running", "its execution goes on", "timed out"];
                // An agent that asks again for a node that a stop task ended finds a process that knows nothing of it.
                let asked_again = end.message.contains("a stop task");
                let lost = end.arn.is_none() && (self.plan.may_lose_sight() || asked_again);
                execution.status == Status::Succeeded && !lost && !unsure.iter().any(|text| end.message.contains(text))
            }
            (Phase::Failed, None) => {
                !["timed out", "workflow", "a stop task"].iter().any(|text| end.message.contains(text))
            }
            (Phase::Error, _) => !self.plan.may_lose_sight(),
            _ => true,
        };
        wrong.then(|| {
            format!("{name} attempt {} ended {end:?}, the book says {:?}", node.attempt, newest.map(|e| &e.status))
        })
    }
}
