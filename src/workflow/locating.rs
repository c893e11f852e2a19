//! Before a start: whose account the credentials are, and what is known of earlier executions.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    input::Task,
    pipelines::{Call, CallError, CallErrorKind, CallReply, ClientKey, Execution, Status, Time},
};

use super::{
    HashMap, HashSet, Machine, Note, Priority, Purpose, Sabotage, Timer, backoff,
    identity::{Key, Known, Marker, WhenOver, arn_key},
    listing::RETRY_MOST,
    node::{EndStage, Family, NodeRef, StopNode, Tracked, Trouble},
    pipeline::{Listing, Pipeline},
    trouble::{Place, Reaction, reaction},
};

/// A pipeline that was not there is looked for again after this long, for nodes that come later.
const REFUSED_REST: Duration = Duration::from_secs(30);

/// How far the facts that must come before a start are.
pub(super) enum Located {
    NotYet,
    Ready,
    /// The pipeline is missing or refused: final.
    Refused(String),
}

impl Machine {
    /// The number of a task's pipeline; made known when it is new.
    pub(super) fn pipeline_of(&mut self, task: &Task) -> usize {
        let (client, account, name) = (&task.client, &task.account_id, &task.pipeline_name);
        let number = self.pipeline_named(client, account, name, task.pipeline_arn(), task.workflow_created);
        if let Some(p) = self.pipelines.get_mut(number) {
            p.named = true;
        }
        number
    }

    /// The number of a pipeline; made known when it is new.
    pub(super) fn pipeline_named(
        &mut self,
        client: &ClientKey,
        account: &str,
        name: &str,
        arn: String,
        created: Option<Time>,
    ) -> usize {
        let is_it = |p: &Pipeline| p.client == *client && p.account == account && p.name.eq_ignore_ascii_case(name);
        if let Some(number) = self.pipelines.iter().position(is_it) {
            if let Some(pipeline) = self.pipelines.get_mut(number).filter(|p| p.workflow_created.is_none()) {
                pipeline.workflow_created = created;
            }
            return number;
        }
        let unlisted = self.sabotaged(Sabotage::NoListing);
        self.pipelines.push(Pipeline {
            client: client.clone(),
            account: account.to_owned(),
            name: name.to_owned(),
            arn,
            listing: if unlisted { Listing::Complete } else { Listing::Wanted { at: self.now, tries: 0, page: None } },
            complete_at: unlisted.then_some(self.now),
            complete_to: None,
            listed_to: None,
            settles_at: None,
            listed_all_at: unlisted.then_some(Time(i64::MAX)),
            list_after: Time(i64::MIN),
            named: false,
            listed_at: if unlisted { Time(i64::MAX) } else { self.now },
            workflow_created: created,
            due: BTreeSet::new(),
            live: HashSet::default(),
            guests: HashSet::default(),
            starting: 0,
            round: None,
            list_denied: None,
            start_denied: None,
            start_again_at: self.now,
            digests: HashMap::default(),
        });
        self.pipelines.len() - 1
    }

    /// How calls name the pipeline: by name in the credentials' own account, by ARN in another. `None`: not known yet.
    pub(super) fn spelling(&mut self, pipeline: usize) -> Option<String> {
        let (client, account, name, arn) = {
            let p = self.pipelines.get(pipeline)?;
            (p.client.clone(), p.account.clone(), p.name.clone(), p.arn.clone())
        };
        match self.clients.get(&client).and_then(|c| c.account.as_ref()) {
            Some(own) if *own == account => Some(name),
            Some(_) => Some(arn),
            None => {
                self.ask_account(&client);
                None
            }
        }
    }

    /// Asks whose credentials these are, unless that is known, asked or waits for its retry.
    pub(super) fn ask_account(&mut self, client: &ClientKey) {
        let now = self.now;
        let state = self.clients.entry(client.clone()).or_default();
        if state.account.is_some() || state.asking || state.retry_at.is_some_and(|at| at > now) {
            return;
        }
        state.asking = true;
        state.retry_at = None;
        self.call(Priority::Ask, client.clone(), Call::GetCallerIdentity, Purpose::Identity(client.clone()));
    }

    pub(super) fn account_answered(&mut self, client: &ClientKey, result: Result<CallReply, CallError>) {
        let (now, left) = (self.now, self.answers_left);
        let Some(state) = self.clients.get_mut(client) else { return };
        state.asking = false;
        match result {
            Ok(CallReply::CallerIdentity { account }) => {
                state.account = Some(account);
                state.trouble = None;
            }
            Ok(_) => {}
            Err(error) => {
                let denied = reaction(error.kind, Place::Account) == Reaction::Mend;
                Trouble::extend(&mut state.trouble, &error.message, denied, left);
                let at = now.plus(backoff(state.tries, RETRY_MOST));
                state.tries += 1;
                state.retry_at = Some(at);
                self.timers.insert((at, Timer::Client(client.clone())));
                if error.kind == CallErrorKind::Throttled {
                    self.note_throttle(client, false);
                }
            }
        }
        let numbers: Vec<usize> =
            self.pipelines.iter().enumerate().filter(|(_, p)| p.client == *client).map(|(n, _)| n).collect();
        for pipeline in numbers {
            self.pipeline_changed(pipeline);
        }
    }

    /// Every node of the pipeline that has not ended looks again.
    pub(super) fn pipeline_changed(&mut self, pipeline: usize) {
        let mut nodes: Vec<NodeRef> = Vec::new();
        for (key, family) in &self.families {
            let concerned = family.attempts.iter().filter(|(_, a)| a.pipeline == pipeline);
            nodes.extend(concerned.map(|(number, _)| NodeRef::Execute(*key, *number)));
        }
        nodes.extend(
            self.validations.iter().filter(|(_, v)| v.pipeline == pipeline).map(|(k, _)| NodeRef::Validate(*k)),
        );
        // A stop of everything waits for every pipeline.
        let looks = |s: &StopNode| s.pipeline == pipeline || s.targets.is_none();
        nodes.extend(self.stops.iter().filter(|(_, s)| looks(s)).map(|(k, _)| NodeRef::Stop(*k)));
        // In the order in which they asked: the start queue is first in, first out.
        nodes.sort_by_key(|node| {
            (self.desk(*node).map(|desk| (desk.asked_since, desk.parked.first().map(|p| p.0))), *node)
        });
        for node in nodes {
            self.node_woken(node);
        }
    }

    /// What keeps a pipeline's nodes from being located, if something does.
    pub(super) fn locating_trouble(&self, pipeline: usize) -> Option<&Trouble> {
        let client = &self.pipelines.get(pipeline)?.client;
        self.clients.get(client)?.trouble.as_ref()
    }

    /// Sees to it that everything that must be known before a start becomes known.
    pub(super) fn locate(&mut self, pipeline: usize) -> Located {
        if !self.run.is_known() || self.spelling(pipeline).is_none() {
            return Located::NotYet;
        }
        let now = self.now;
        let Some(p) = self.pipelines.get_mut(pipeline) else { return Located::NotYet };
        if let Listing::Refused { at, .. } = &p.listing
            && now >= at.plus(REFUSED_REST)
        {
            p.listing = Listing::Wanted { at: now, tries: 0, page: None };
        }
        // What is listed again meanwhile holds up starts, and nothing else.
        let known = if p.is_known() { Located::Ready } else { Located::NotYet };
        match &p.listing {
            Listing::Complete | Listing::Denied => Located::Ready,
            Listing::Refused { text, .. } => Located::Refused(text.clone()),
            Listing::Running { .. } => known,
            Listing::Wanted { .. } => {
                self.list_next(pipeline);
                known
            }
        }
    }

    /// Takes up an execution that carries this workflow's marker; one that is known is refreshed.
    pub(super) fn adopt(&mut self, pipeline: usize, execution: Execution) {
        let arn = arn_key(&execution.arn);
        let marker = execution.description.as_deref().and_then(Marker::parse).filter(|marker| self.is_ours(marker));
        if let Some(tracked) = self.executions.get(&arn) {
            let strange = tracked.foreign;
            self.observe(&arn, execution, false);
            if let Some(marker) = marker.filter(|_| strange) {
                self.bring_home(&arn, &marker);
                self.family_looks(&arn);
                self.stop_unasked(&arn);
            }
            return;
        }
        let Some(marker) = marker else { return };
        if !execution.status.is_live() && self.sabotaged(Sabotage::AdoptsOnlyTheLiving) {
            return;
        }
        if execution.status.is_live() {
            self.out.push(super::Command::Note(Note::ExecutionAdopted { arn: execution.arn.clone() }));
        }
        let siblings = marker.clone();
        self.track(marker.key, marker.attempt, pipeline, execution, Some(marker.args));
        if let Some(tracked) = self.executions.get_mut(&arn) {
            tracked.when_over = marker.when_over;
            tracked.run = marker.run;
        }
        if let Some(known) = self.executions.get(&arn).map(|t| self.known(t)) {
            self.meet_sibling(&siblings, &known);
        }
        self.stop_unasked(&arn);
        self.stop_straggler(&arn);
    }

    /// Makes an execution known that is named by a task and carries whatever marker: only a list tells.
    pub(super) fn track_foreign(&mut self, key: Key, attempt: u32, pipeline: usize, arn: &str) -> Arc<str> {
        let known = arn_key(arn);
        if self.executions.contains_key(&known) {
            return known;
        }
        let execution = Execution {
            arn: arn.to_owned(),
            status: Status::Executing,
            created: None,
            modified: None,
            description: None,
            failure_reason: None,
            started_by: None,
        };
        self.track(key, attempt, pipeline, execution, None);
        if let Some(tracked) = self.executions.get_mut(&known) {
            tracked.seen = None;
            tracked.witnessed = false;
            tracked.foreign = true;
        }
        if let Some(p) = self.pipelines.get_mut(pipeline) {
            p.lives(&known, true);
        }
        known
    }

    /// A foreign execution turns out to be this workflow's: from now on it counts for the node that started it.
    pub(super) fn bring_home(&mut self, arn: &Arc<str>, marker: &Marker) {
        let key = marker.key;
        let Some(tracked) = self.executions.get_mut(arn) else { return };
        tracked.foreign = false;
        if let Some(p) = self.pipelines.get_mut(tracked.pipeline) {
            p.guests.remove(arn);
        }
        tracked.attempt = marker.attempt;
        tracked.when_over = marker.when_over;
        tracked.run = marker.run;
        let pipeline = tracked.pipeline;
        if tracked.execution.status.is_live() {
            self.out.push(super::Command::Note(Note::ExecutionAdopted { arn: tracked.execution.arn.clone() }));
        }
        let old = std::mem::replace(&mut tracked.key, key);
        if let Some(family) = self.families.get_mut(&old) {
            family.executions.retain(|known| known != arn);
        }
        self.join_executions(key, pipeline, arn);
    }

    fn join_executions(&mut self, key: Key, pipeline: usize, arn: &Arc<str>) -> &mut Family {
        let family = self.families.entry(key).or_insert_with(|| Family::new(pipeline));
        family.executions.push(arn.clone());
        family
    }

    /// Whether a marker is this workflow's: the machine serves one uid, known from its first task.
    fn is_ours(&self, marker: &Marker) -> bool {
        self.uid.as_deref() == Some(marker.uid.as_str())
    }

    /// Makes an execution known under its key.
    pub(super) fn track(
        &mut self,
        key: Key,
        attempt: u32,
        pipeline: usize,
        mut execution: Execution,
        args: Option<String>,
    ) {
        let arn = arn_key(&execution.arn);
        execution.description = None;
        let live = execution.status.is_live();
        let stop_began = execution.modified.filter(|_| execution.status == Status::Stopping);
        execution.created.get_or_insert(self.server_now());
        let tracked = Tracked {
            key,
            attempt,
            pipeline,
            when_over: WhenOver::Leave,
            run: None,
            witnessed: false,
            stranger: None,
            foreign: false,
            attached: BTreeSet::new(),
            execution,
            started_at: None,
            seen: Some(self.now),
            doubted: false,
            progressed_at: self.now,
            due: None,
            describing: false,
            rests_until: None,
            end: if live { EndStage::Live } else { EndStage::Seen },
            steps: None,
            steps_at: Time::default(),
            steps_page: None,
            steps_listing: 0,
            steps_tries: 0,
            trouble: None,
            stop_trouble: None,
            missing: None,
            gone: None,
            stop: None,
            stop_series: 0,
            stop_began,
        };
        self.executions.insert(arn.clone(), tracked);
        let family = self.join_executions(key, pipeline, &arn);
        if let Some(args) = args {
            family.args_digests.retain(|(number, _)| *number != attempt);
            family.args_digests.push((attempt, args));
        }
        if live {
            if let Some(p) = self.pipelines.get_mut(pipeline) {
                p.lives(&arn, false);
            }
            self.look_at(&arn, self.now);
        }
    }

    /// An execution as the table looks at it.
    pub(super) fn known(&self, tracked: &Tracked) -> Known {
        let execution = &tracked.execution;
        let created = execution.created.unwrap_or(self.server_now());
        Known {
            arn: arn_key(&execution.arn),
            attempt: tracked.attempt,
            status: execution.status.clone(),
            created,
            modified: tracked.stop_began.or(execution.modified).unwrap_or(created),
            run: tracked.run,
            witnessed: tracked.witnessed,
        }
    }
}
