//! What nodes are told: Argo's rules, ends that repeat, and ends that say what the book says.

use awf_aws::{
    pipelines::{Status, Time},
    protocol::{ExecuteTemplateReply, Phase},
    simulator::execution::Execution,
    workflow::identity::Marker,
};

use super::World;
use crate::simulation::{
    agent::ended,
    argo::{Ended, NodeId},
    plan::{SECOND, Work},
    pod::PodId,
};

/// Whether a node ended before its execution, which runs on.
fn is_outlived(end: &Ended) -> bool {
    ["left running", "its execution goes on"].iter().any(|text| end.message.contains(text))
}

impl World {
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
        if result.message.len() > 250 {
            self.checks.broke(format!("a message of {} bytes: {reply:?}", result.message.len()));
        }
        let work = self.workflows[id.0].nodes[node].plan.work;
        // A check that was refused is made again: the pipeline may have been mended.
        // What is refused as malformed is no node of ours.
        let may_change = matches!(work, Work::Validate(_)) || result.message.starts_with("malformed");
        match self.checks.told.get(&(process, node)) {
            Some(told) if told != reply && !may_change => {
                self.checks.broken.get_or_insert(format!("an end was not repeated: {told:?}, then {reply:?}"));
            }
            Some(_) => {}
            None if end.is_some() && !may_change => {
                self.checks.told.insert((process, node), reply.clone());
            }
            None => {}
        }
        if result.phase == Some(Phase::Pending) && work == Work::Execute {
            self.check_pending(id, node, result.message.clone());
        }
        let Some(end) = end else {
            // In the same process the end would have been repeated.
            if self.checks.traceless.get(&(id.0, node)).is_some_and(|teller| *teller != process) {
                self.checks.asked_again.insert((id.0, node));
            }
            return;
        };
        self.check_blame(id.0, node, &end);
        match work {
            Work::Execute => {
                if end.arn.is_none() {
                    self.checks.traceless.entry((id.0, node)).or_insert(process);
                }
                self.check_denial(process, node, &end);
                self.check_end(id.0, node, &end);
                self.check_own_try(id.0, node, &end);
                self.check_traceless(id.0, node, &end);
                self.check_steps(&end, reply);
                self.check_results(process, node, &end, reply);
            }
            Work::Attach => {
                self.check_attached_end(&end);
                self.check_results(process, node, &end, reply);
            }
            Work::Validate(valid) => self.check_validation(process, node, valid, &end),
            Work::StopOne(_) | Work::StopArn(_) | Work::StopAll => self.check_stop_end(id, node, &end),
        }
    }

    /// Pending is only said of a node that is proven not started.
    fn check_pending(&mut self, id: PodId, node: NodeId, message: String) {
        let (name, key) = (&self.workflows[id.0].nodes[node].plan.name, self.workflows[id.0].nodes[node].key);
        // What a process does not know of shows in the second listing after its start, and what another pod starts
        // meanwhile in the listings that precede later starts.
        let pods = self.workflows[id.0].pods.len() > 1;
        // A process that stood still goes on with what it knew.
        let stood_still = self.now.since(self.workflows[id.0].pods[id.1].stalled_until) < 60 * SECOND;
        let behind = if pods { 400 * SECOND } else { 120 * SECOND };
        let process_began = if stood_still { Time::at(0) } else { self.now.minus(behind) };
        let before = process_began.minus(SECOND.mul_f64(self.plan.troubles.stale));
        let blind = |e: &&Execution| {
            e.deleted || self.checks.revived.contains_key(&e.arn) || self.began(e) >= before || !e.status.is_live()
        };
        let live = !self.executions_of(&key).iter().all(blind);
        let text = format!("Pending ({message}) is said of {name}, which runs");
        if live && !self.lists_were_denied(id.0) && !self.moved(id.0, node) {
            self.checks.broke(text);
        }
    }

    /// Whether the region or the account of a node has changed: under a key that is a mistake, and what runs elsewhere is
    /// not seen.
    pub(super) fn moved(&self, workflow: usize, node: NodeId) -> bool {
        use crate::simulation::troubles::Moves;
        let moves = self.plan.workflows[workflow].troubles.moves;
        let (nodes, key) = (&self.workflows[workflow].nodes, self.workflows[workflow].nodes[node].key);
        let again = || nodes.iter().any(|n| n.key == key && n.attempt > 0);
        matches!(moves, Some(Moves::Region | Moves::Account)) && again()
    }

    /// A node that ends with its workflow does so for a reason.
    fn check_blame(&mut self, workflow: usize, node: NodeId, end: &Ended) {
        let name = &self.workflows[workflow].nodes[node].plan.name;
        let known = &self.workflows[workflow];
        let ends = known.stopped_at.is_some() || known.gone_at.is_some() || known.completed_at.is_some();
        let blames = ["workflow is over", "workflow was stopped"].iter().any(|text| end.message.contains(text));
        if (blames && !ends) || (end.message.contains("activeDeadlineSeconds") && !self.is_past_deadline(workflow)) {
            self.checks.broke(format!("{name} ended with its workflow, which goes on: {end:?}"));
        }
    }

    /// An end is what SageMaker's book says.
    fn check_end(&mut self, workflow: usize, node: NodeId, end: &Ended) {
        let plan = self.workflows[workflow].nodes[node].plan.clone();
        let name = &plan.name;
        if let Some(arn) = &end.arn {
            let executions = self.executions_of(&self.workflows[workflow].nodes[node].key);
            let Some(execution) = executions.iter().find(|e| e.arn == *arn) else {
                self.checks.broke(format!("{name} was told of another node's execution: {end:?}"));
                return;
            };
            let status = execution.status.clone();
            let accepted = status == Status::Succeeded || (status == Status::CompletedWithFailures && plan.accept);
            // Somebody may have changed it after the look that its node was told of.
            let went_on = self.went_on(arn, (workflow, node));
            let changed = execution.deleted || self.checks.revived.contains_key(arn) || went_on;
            let broken = match end.phase {
                Phase::Succeeded => !accepted,
                // One that is to be left may end after the look that precedes its node's end.
                Phase::Failed => accepted && !is_outlived(end),
                _ => !end.message.contains("deleted"),
            };
            if status == Status::CompletedWithFailures {
                self.bites.add("node: completed with failures");
            }
            if broken && !changed {
                self.checks.broke(format!("{name} ended {end:?}, the book says {status:?}"));
            }
        } else if end.phase == Phase::Succeeded {
            self.checks.broke(format!("{name} succeeded without an execution"));
        }
        let denied = self.lists_were_denied(workflow);
        let went_on = |arn: &String| self.checks.revived.contains_key(arn) || self.went_on(arn, (workflow, node));
        let changed = end.arn.as_ref().is_some_and(went_on);
        let deleted = self.checks.deleted_keys.contains(&self.workflows[workflow].nodes[node].key);
        let before = self.checks.ends.entry((workflow, node)).or_insert_with(|| end.clone());
        // What was told of one that still ran stands nowhere in AWS.
        let lost = denied || is_outlived(before) || is_outlived(end) || changed || deleted;
        if before.phase != end.phase && before.arn == end.arn && end.arn.is_some() && !lost {
            let text = format!("{name} ended as {before:?} and as {end:?}");
            self.checks.broken.get_or_insert(text);
        }
    }

    /// A further attempt is not told the failure of an earlier one that had ended before it was asked for: it has its own.
    fn check_own_try(&mut self, workflow: usize, node: NodeId, end: &Ended) {
        let this = &self.workflows[workflow].nodes[node];
        let Some(arn) = end.arn.as_ref().filter(|_| end.phase == Phase::Failed && this.attempt > 0) else { return };
        // An answer may be long on its way.
        let Some(asked) = this.first_asked.map(|asked| asked.minus(60 * SECOND)) else { return };
        let changed = self.checks.revived.contains_key(arn) || self.is_over(workflow);
        // Its own process has written that it continues that end, whenever that was, and nobody has resumed it. Where steps may
        // not be listed, nothing tells whether it has run on; and what another pod has followed that one tells.
        let sure = self.plan.troubles.refusals.is_empty() && self.workflows[workflow].pods.len() == 1;
        let waits = |e: &Execution| {
            let marker = e.description.as_deref().and_then(Marker::parse);
            sure && marker.is_some_and(|marker| marker.attempt == this.attempt && marker.continues.is_some())
        };
        let earlier = self.started_by(workflow).find(|(s, e)| {
            let before = s.run == this.run && s.marker.key == this.key && s.marker.attempt < this.attempt;
            e.arn == *arn && before && !e.status.is_live() && (e.modified < asked || waits(e)) && !e.deleted
        });
        let text =
            earlier.map(|(s, _)| format!("{} {} was told {end:?} of {:?}", this.plan.name, this.attempt, s.marker));
        self.bites.add("check: a further attempt has its own try");
        if let Some(text) = text.filter(|_| !changed) {
            self.checks.broke(text);
        }
    }

    /// A node that ends before it could start has no execution.
    fn check_traceless(&mut self, workflow: usize, node: NodeId, end: &Ended) {
        let says_so = end.phase == Phase::Failed && end.message.contains("before it could start");
        if !says_so || end.arn.is_some() || !self.knows_its_run(workflow) {
            return;
        }
        let run = self.workflows[workflow].nodes[node].run;
        // What another pod has just started may be absent from lists.
        let listed = self.now.minus(60 * SECOND);
        let own = self
            .started_by(workflow)
            .find(|(s, e)| s.node == (workflow, node) && s.run == run && !e.deleted && self.began(e) < listed);
        let text = own.map(|(_, e)| format!("{end:?} is said of what runs as {}, {:?}", e.arn, e.status));
        self.bites.add("check: who ends before its start has no execution");
        if let Some(text) = text.filter(|_| !self.moved(workflow, node) && !self.lists_were_denied(workflow)) {
            self.checks.broke(text);
        }
    }

    /// The steps that an end shows are those of the end: none of them still runs.
    fn check_steps(&mut self, end: &Ended, reply: &ExecuteTemplateReply) {
        let Some(arn) = &end.arn else { return };
        let result = reply.node.as_ref().and_then(|node| node.outputs.as_ref()?.result.as_deref());
        let Some(result) = result.filter(|_| end.phase != Phase::Error) else { return };
        let running = ["Executing", "Starting", "Stopping"].iter().any(|word| {
            let steps = result.split_once("\"steps\"").map_or("", |(_, steps)| steps);
            steps.contains(word)
        });
        self.bites.add("check: steps of an end are the end's");
        let found = self.book.executions().iter().find(|e| e.arn == *arn);
        let steps = found.map_or(0, |e| e.steps.len());
        let told = format!("Succeeded: {steps} steps");
        let wrong = end.message.starts_with("Succeeded: ") && !end.message.starts_with(&told);
        if (running || wrong) && !self.checks.revived.contains_key(arn) && found.is_some_and(|e| !e.status.is_live()) {
            let text = format!("an end shows steps from before it: {} {result}", end.message);
            self.checks.broke(text);
        }
    }

    /// What a node is attached to lives on or not, whatever becomes of the node.
    fn check_attached_end(&mut self, end: &Ended) {
        let Some(theirs) = self.book.executions().iter().find(|e| e.arn == self.elsewhere) else { return };
        let right = match end.phase {
            Phase::Succeeded => theirs.status == Status::Succeeded,
            Phase::Failed => theirs.status == Status::Stopped || end.message.contains("left running"),
            _ => theirs.deleted,
        };
        if !right {
            let text = format!("attached to what is {:?}, a node ended {end:?}", theirs.status);
            self.checks.broke(text);
        }
    }

    /// A check fails for what is wrong with the pipeline or the parameters, or for a denial that lasts.
    fn check_validation(&mut self, process: super::Process, node: NodeId, valid: bool, end: &Ended) {
        let plan = &self.workflows[process.0.0].nodes[node].plan;
        let deleted = self.checks.deleted_pipelines.contains(plan.pipeline);
        let denied = self.check_lasting(process, None);
        let right = match end.phase {
            Phase::Succeeded => valid,
            Phase::Error => !valid || deleted || denied,
            _ => false,
        };
        if !right {
            self.checks.broke(format!("a check of {} parameters ended {end:?}", if valid { "good" } else { "bad" }));
        }
    }

    /// A stop succeeds when nothing that it names runs any more.
    fn check_stop_end(&mut self, id: PodId, node: NodeId, end: &Ended) {
        let workflow = id.0;
        let stop = &self.workflows[workflow].nodes[node];
        let late = ["not ended within", "not found within"].iter().any(|text| end.message.contains(text));
        if end.phase != Phase::Succeeded {
            let denied = end.phase == Phase::Error && self.check_lasting_of_any(workflow);
            if !(denied || end.phase == Phase::Failed && late) {
                self.checks.broke(format!("a stop ended {end:?}"));
            }
            return;
        }
        // What was started just before may not be listed yet; what another pod starts meanwhile is not known.
        let lists_lag = 60 * SECOND;
        let Some(asked) = stop.first_asked.map(|asked| asked.minus(lists_lag)) else { return };
        let name = self.stopped_by(workflow, &stop.plan);
        let target = stop.target.as_deref();
        let alive = self.started_by(workflow).find(|(s, e)| {
            let named = match (target, name) {
                (Some(arn), _) => e.arn == arn,
                // Of what is named, only what is known under the given key.
                (None, Some(name)) => {
                    let node = self.node(s.node);
                    node.plan.name == name && !node.plan.keyless && !self.moved(workflow, s.node.1)
                }
                (None, None) => true,
            };
            // What another pod starts beside this one shows in the next listing only.
            let beside = s.pod != id && !self.workflows[workflow].pods[s.pod.1].ended;
            let here = !beside && e.scope.account == "100000000002" && e.scope.region == "us-west-2";
            let revived = self.checks.revived.contains_key(&e.arn);
            named && here && e.status.is_live() && self.began(e) < asked && !e.deleted && !revived
        });
        let gaps = ["only pipelines that nodes have named", "could not be listed"];
        let gap = gaps.iter().any(|text| end.message.contains(text));
        if let Some((started, _)) = alive.filter(|_| !self.lists_were_denied(workflow) && !gap) {
            let text = format!("a stop ended {end:?}, and this runs: {:?}", started.marker);
            self.checks.broke(text);
        }
    }
}
