//! What was started: once per attempt and run, never beside a live one, not too many, in order.

use std::time::Duration;

use awf_aws::{
    pipelines::{Call, CallError, CallErrorKind, CallReply, ClientKey, Status, Time},
    simulator::execution::Execution,
    workflow::{Group, identity::Marker},
};

use super::{Process, Started};
use crate::simulation::{
    argo::NodeId,
    plan::{Kubernetes, MINUTE, SECOND, Work},
    pod::PodId,
    troubles::Moves,
    world::World,
};

/// Without Kubernetes the plugin takes the pod's birth less this for the beginning of the run.
const EPOCH_MARGIN: Duration = Duration::from_secs(15 * 60);
/// What was retried in the console shows in the listing that precedes a start, which may be five minutes old.
const LISTED_AGAIN: Duration = Duration::from_secs(400);
/// An earlier process's nodes are asked for again within this time of the next one's beginning.
const ASKED_AGAIN: Duration = Duration::from_secs(150);

/// Whether a start has been carried out, now or before: another pod's process may have been faster.
fn started_or_was(result: &Result<CallReply, CallError>) -> bool {
    use CallErrorKind::{Conflict, TokenMismatch};
    result.as_ref().map_or_else(|error| matches!(error.kind, Conflict | TokenMismatch), |_| true)
}

impl World {
    /// One execution per (uid, key, attempt, run of the workflow); never two live ones of a key.
    pub(super) fn check_started(&mut self, process: Process, knew_over: bool) {
        let Some(execution) = self.book.executions().last() else { return };
        let scope = execution.scope.clone();
        let Some(marker) = execution.description.as_deref().and_then(Marker::parse) else {
            self.checks.broke("an execution without a marker");
            return;
        };
        let Some(node) = self.node_of(&marker) else {
            self.checks.broke(format!("a start for a node that does not exist: {marker:?}"));
            return;
        };
        let run = self.workflows[node.0].run;
        if self.node(node).attempt > 0 && self.plan.workflows[node.0].troubles.moves.is_some() {
            self.bites.add("fault: role, region or account changed");
        }
        self.check_once(process, &marker, node, run);
        self.check_time_was_up(process, &marker, node);
        self.check_not_instead(process, &marker, node);
        self.check_two_live(process, &marker, node, &scope.region, &scope.account, None);
        let place = self.checks.started.len();
        self.checks.of_key.entry(marker.key).or_default().push(place);
        self.checks.started.push(Some(Started { marker: marker.clone(), node, run, pod: process.0 }));
        if knew_over && !self.node(node).is_exit_handler() {
            self.checks.broke(format!("started although the workflow was known to be over: {marker:?}"));
        }
    }

    /// A node whose time was up while it waited is not started by a later process where a sibling's marker says when both
    /// were asked for: nothing else in AWS does.
    fn check_time_was_up(&mut self, process: Process, marker: &Marker, node: (usize, NodeId)) {
        let (number, this) = (node.0, self.node(node).clone());
        let group = Group::of(&this.plan.name);
        let (Some(timeout), Some(asked), Some(group)) = (this.plan.timeout, this.first_asked, group) else { return };
        if marker.attempt > 0 || this.plan.keyless || !self.knows_its_run(number) || self.lists_were_denied(number) {
            return;
        }
        // What this process has started itself, or what is not listed yet, tells it nothing; and of what it is asked for
        // so late it cannot know that an earlier one was asked as well.
        let began = self.pod(process.0).process_born;
        if self.is_asked_at(process, node.1).is_some_and(|at| at.since(began) > ASKED_AGAIN) {
            return;
        }
        let lags = Duration::from_secs_f64(self.plan.list_lag);
        // What is listed by now may tell; what was there long enough before this process began does.
        let may_tell = |(s, e): &(&Started, &Execution)| {
            let origin = s.marker.continues.map_or(s.marker.attempt, |continues| continues.origin);
            s.marker.asked.is_some_and(|(its, _)| its == group) && origin == 0 && s.run == this.run && !e.deleted
        };
        // Those of other pipelines may be listed as well, and may say that they did not begin together.
        let surely = |e: &Execution| e.pipeline == this.plan.pipeline && e.created.plus(lags) < began;
        let telling: Vec<(Time, bool)> = self
            .started_by(number)
            .filter(may_tell)
            .filter_map(|(s, e)| Some((s.marker.asked?.1, surely(e))))
            .collect();
        let when = telling.iter().map(|(at, _)| *at);
        let (Some(first), Some(last)) = (when.clone().min(), when.max()) else { return };
        if !telling.iter().any(|(_, surely)| *surely) {
            return;
        }
        if last.since(first) > MINUTE || last.since(asked) > MINUTE || asked.since(first) > MINUTE {
            return;
        }
        self.bites.add("check: no start after its time where a sibling tells");
        if self.now > asked.plus(timeout).plus(3 * MINUTE) {
            let text =
                format!("{} started although its time was long up, and a sibling tells: {marker:?}", this.plan.name);
            self.checks.broke(text);
        }
    }

    fn check_once(&mut self, process: Process, marker: &Marker, node: (usize, NodeId), run: u32) {
        let same = |(s, e): &(&Started, &Execution)| s.marker.attempt == marker.attempt && s.run == run && !e.deleted;
        let earlier = self.started_under(&marker.key).filter(same).last().map(|(_, before)| before.clone());
        let Some(before) = earlier else {
            if self.checks.of_key.contains_key(&marker.key) || self.checks.calls.was_sent_by_others(process, marker) {
                self.bites.add("check: one start per attempt and run");
            }
            return;
        };
        // What was stopped belongs to the run that stopped it, however long that took.
        let ended = self.stop_taken(&before.arn).map_or(before.modified, |taken| taken.min(before.modified));
        let lost_epoch = !before.status.is_live() && self.takes_for_earlier(process, node.0, ended);
        if lost_epoch {
            self.checks.lost_runs.insert(marker.key);
        }
        if !self.may_start_twice(node.0) && !lost_epoch && !self.checks.deleted_keys.contains(&marker.key) {
            let text = format!("started twice in run {run}, after {} ({:?}): {marker:?}", before.arn, before.status);
            self.checks.broke(text);
        }
    }

    /// Without Kubernetes' word an end long before the pod's birth is taken for one of an earlier run. Where that comes late,
    /// by a clock that has jumped, the run seems to have begun with the process at the latest.
    pub(super) fn takes_for_earlier(&mut self, process: Process, number: usize, ended: Time) -> bool {
        let jumps = self.plan.troubles.clocks.jump.is_some();
        let pod = self.pod(process.0);
        let born = if jumps { pod.process_born } else { pod.born };
        !self.knows_its_run(number) && ended < born.minus(EPOCH_MARGIN).plus(MINUTE)
    }

    /// `itself`: what is resumed is not beside itself.
    pub(super) fn check_two_live(
        &mut self,
        process: Process,
        marker: &Marker,
        node: (usize, NodeId),
        region: &str,
        account: &str,
        itself: Option<&str>,
    ) {
        let now = self.now;
        let moved = matches!(self.plan.workflows[node.0].troubles.moves, Some(Moves::Region | Moves::Account));
        // Of the attempts of a node that all seem to be an earlier run's, Argo may hand out any first: what the process before
        // has just started for another one is not listed yet, and has another token.
        let lost = self.checks.lost_runs.contains(&marker.key);
        let lags = Duration::from_secs_f64(self.plan.list_lag) + SECOND;
        let excused = |s: &Started, e: &Execution| {
            let revived = self.checks.revived.get(&e.arn).is_some_and(|at| now.since(*at) < LISTED_AGAIN);
            let elsewhere = moved && (e.scope.region != region || e.scope.account != account);
            let unlisted = lost && s.marker.attempt != marker.attempt && now < self.began(e).plus(lags);
            revived || elsewhere || unlisted
        };
        let mut others = self
            .started_under(&marker.key)
            .filter(|(_, e)| e.status.is_live() && !e.deleted && itself != Some(e.arn.as_str()));
        let beside = others.find(|(s, e)| !excused(s, e)).map(|(_, e)| e.arn.clone());
        drop(others);
        if self.checks.of_key.contains_key(&marker.key) {
            self.bites.add("check: never two live");
        }
        let denied = self.plan.list_denied || self.checks.lists_denied.contains(&process);
        if let Some(beside) = beside.filter(|_| !denied && !self.was_asked_again(marker)) {
            self.checks.broke(format!("started beside {beside}, which runs: {marker:?}"));
        }
    }

    /// Whether an attempt of this node had ended while it still waited and was asked for again in another process. Nothing
    /// in AWS says that it ended, as the README tells: that process may start it.
    pub(super) fn was_asked_again(&self, marker: &Marker) -> bool {
        let nodes = self.names.get(&marker.key).map(Vec::as_slice).unwrap_or_default();
        nodes.iter().any(|node| self.checks.asked_again.contains(node))
    }

    /// A start leaves: judged in the workflow's first process, which has seen every start.
    fn check_max_running(
        &mut self,
        process: Process,
        node: (usize, NodeId),
        (token, pipeline): (&str, &str),
        client: &ClientKey,
    ) {
        let number = node.0;
        let arn_of_resume = pipeline.split_once("/execution/");
        let pipeline = arn_of_resume.map_or(pipeline, |(pipeline, _)| pipeline);
        let pipeline = pipeline.rsplit('/').next().unwrap_or(pipeline).to_owned();
        let under_way = self.checks.under_way.entry(process).or_default();
        under_way.insert(token.to_owned(), (pipeline.clone(), client.clone()));
        let under_way = under_way.clone();
        let first = process == ((number, 0), 1) && self.workflows[number].pods.len() == 1;
        // Each role counts for itself.
        let roles = self.plan.workflows[number].troubles.moves.is_some();
        if !first || roles || self.is_any_uncertain(number) || !self.checks.revived.is_empty() {
            return;
        }
        let own = self.node(node).plan.max_running;
        let all = self.plan.workflows[number].troubles.max_running;
        // Between its turn and this a resume looks and writes, and what has no limit may start meanwhile.
        let resumes = arn_of_resume.is_some();
        let by = if resumes { self.now.minus(3 * SECOND) } else { self.now };
        let live = |(_, e): &(&Started, &Execution)| e.status.is_live() && !e.deleted && self.began(e) <= by;
        let here = |(_, e): &(&Started, &Execution)| e.pipeline == pipeline && e.scope.region == client.region;
        let running_here = self.started_by(number).filter(live).filter(here).count();
        let running = self.started_by(number).filter(live).count();
        if let Some(max) = own {
            let sent = under_way.values().filter(|(p, c)| *p == pipeline && c.region == client.region).count();
            let running = running_here + if resumes { 1 } else { sent };
            self.bites.add("check: at most max_running");
            if running > max {
                self.checks.broke(format!("{running} executions of {pipeline} run or start, max_running is {max}"));
            }
        }
        if let Some(max) = all {
            let running = running + if resumes { 1 } else { under_way.len() };
            self.bites.add("check: at most max_running_per_workflow");
            if running > max {
                self.checks.broke(format!("{running} executions of the workflow run, its max_running is {max}"));
            }
        }
    }

    pub(super) fn start_was_answered(
        &mut self,
        process: Process,
        call: &Call,
        result: &Result<CallReply, CallError>,
        new: bool,
    ) {
        let Some((number, node)) = self.node_of_start(call) else { return };
        if let (Call::StartExecution(start), Some(sent)) = (call, self.checks.under_way.get_mut(&process)) {
            sent.remove(&start.token);
        }
        match result {
            Err(error) if error.kind == CallErrorKind::OutcomeUnknown => self.is_uncertain(number, node),
            Err(error) if error.kind == CallErrorKind::QuotaExceeded => {
                // The process hears of it within a quarter of a second.
                let heard = self.now.plus(SECOND);
                self.checks.refused.insert((process, node), heard);
                self.account_was_full();
            }
            result if started_or_was(result) => {
                self.checks.refused.remove(&(process, node));
                if result.is_err() {
                    self.bites.add("fault: token refused");
                } else if !new {
                    self.bites.add("fault: a token came again");
                } else if self.was_denied_before(number, node) {
                    self.bites.add("fault: a start denied once, then taken");
                }
            }
            _ => {}
        }
    }

    /// First in, first out: whoever found the account full starts before those whose start was sent later. Only told
    /// apart where nothing but the quota holds a start up.
    pub fn check_start_sent(&mut self, id: PodId, client: &ClientKey, call: &Call) {
        let Some((number, node)) = self.node_of_start(call) else { return };
        let process = self.process(id);
        let wanted = self.render(number, node).client.clone();
        if wanted != *client {
            self.checks.broke(format!("a start leaves through {client:?}, its node asks for {wanted:?}"));
        }
        match call {
            Call::StartExecution(start) => {
                self.check_max_running(process, (number, node), (&start.token, &start.pipeline), client);
            }
            Call::RetryExecution { arn, token, .. } => {
                self.check_max_running(process, (number, node), (token, arn), client);
                // Between its turn and this it has looked: who leaves first says nothing of the places.
                return;
            }
            _ => return,
        }
        let sent = self.checks.sent.entry(process).or_default();
        if !sent.contains(&node) {
            sent.push(node);
        }
        let nodes = &self.workflows[id.0].nodes;
        // Once the workflow is over only exit handlers start. Whom max_running held back may have stood before all others.
        let held = nodes[node].plan.max_running.is_some() || self.plan.workflows[id.0].troubles.max_running.is_some();
        // Each role has a queue of its own.
        let roles = self.plan.workflows[id.0].troubles.moves.is_some();
        if self.is_over(id.0) || held || roles || !self.is_undisturbed(id.0) {
            return;
        }
        let refused = |other: &NodeId| self.checks.refused.get(&(process, *other)).copied();
        let waits = |other: &&NodeId| {
            let Some(heard) = refused(other).filter(|heard| *heard <= self.now) else { return false };
            // What another pod has started meanwhile no longer waits here, also when it has ended since.
            let elsewhere = |e: &&Execution| e.status.is_live() || self.began(e).plus(SECOND) >= heard;
            !self.checks.told.contains_key(&(process, **other))
                && nodes[**other].plan.max_running.is_none()
                && nodes[**other].plan.timeout.is_none()
                && nodes[**other].ended.is_none()
                && !self.is_stopped_by_task(id.0, &nodes[**other].plan.name, true)
                && !self.executions_of(&nodes[**other].key).iter().any(elsewhere)
        };
        let before = self.checks.sent[&process].iter().take_while(|other| **other != node);
        let overtaken = before.clone().find(waits).map(|other| nodes[*other].plan.name.clone());
        if before.into_iter().any(|other| refused(other).is_some()) || refused(&node).is_some() {
            self.bites.add("check: queue in order");
        }
        if let Some(overtaken) = overtaken {
            let name = self.workflows[id.0].nodes[node].plan.name.clone();
            self.checks.broke(format!("{name} started before {overtaken}"));
        }
    }

    /// When a workflow is over, whatever was started is stopped, where Kubernetes can be asked and nothing disturbs.
    pub(super) fn left_running(&self, number: usize) -> Option<String> {
        let undisturbed = self.is_undisturbed(number)
            && self.plan.workflows[number].kubernetes == Kubernetes::Works
            && self.plan.kill_every.is_none()
            // Nobody is there to stop anything when the workflow ends while its pods are away.
            && self.plan.workflows[number].troubles.away.is_none()
            && self.plan.odds.death + self.plan.odds.conflict == 0.0;
        let leaves = |s: &Started| self.node(s.node).plan.leave && self.node(s.node).plan.work == Work::Execute;
        let mut runs =
            self.started_by(number).filter(|(s, e)| e.status == Status::Executing && !e.deleted && !leaves(s));
        runs.next().filter(|_| undisturbed).map(|(started, _)| format!("left running: {:?}", started.marker))
    }
}
