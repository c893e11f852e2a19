//! `validate` and `stop`: nodes that own no execution.

use std::{sync::Arc, time::Duration};

use crate::{
    input::Action,
    pipelines::{Call, CallError, CallErrorKind, CallReply, Time},
    protocol::{ExecuteTemplateReply, Phase},
};

use super::{
    Machine, PipelineDigest, Priority, Purpose, Timer, backoff,
    identity::Key,
    locating::Located,
    node::{Attempt, NodeRef, Stage, StopNode, StopScope, Tracked, Trouble, View},
    pipeline::DigestSlot,
    report::{self, spoken},
    requests::{ended, told},
    trouble::{Place, Reaction, reaction},
};

/// A digest, also a refusal, is shared by all that ask within this time.
const DIGEST_FOR: Duration = Duration::from_secs(30);

/// A stop task waits so long for nodes that are still looking for an earlier execution: by then an execution that cannot be
/// described has had several tries, and whoever still waits for its request is not asked for any more.
const LOCATES_WITHIN: Duration = Duration::from_secs(60);

impl Machine {
    pub(super) fn advance_validation(&mut self, key: Key) {
        let now = self.now;
        let Some(v) = self.validations.get_mut(&key) else { return };
        match &v.ended {
            // A refusal is looked at again later: by then the pipeline may have been mended, and a check changes nothing.
            Some((at, reply)) if node_phase(reply) == Some(Phase::Succeeded) || now < at.plus(DIGEST_FOR) => return,
            Some(_) => {
                v.ended = None;
                v.desk.asked_since = now;
                self.open_nodes += 1;
            }
            None => {}
        }
        let Some(v) = self.validations.get(&key) else { return };
        let (pipeline, grace, since) = (v.pipeline, v.denied_grace, v.desk.asked_since);
        let Some(task) = v.task.clone() else { return };
        let Action::Validate { parameters, version } = &task.action else { return };
        let reply = match self.digest(pipeline, *version) {
            Some(Ok(digest)) => match digest.check(parameters) {
                Ok(()) => {
                    let text = format!("pipeline {} is Active, {} steps", task.pipeline_name, digest.step_count);
                    ExecuteTemplateReply::end(Phase::Succeeded, text, Some(digest.outputs()))
                }
                Err(text) => ExecuteTemplateReply::end(Phase::Error, report::message(&text), None),
            },
            Some(Err(text)) => ExecuteTemplateReply::end(Phase::Error, report::message(&text), None),
            None => {
                let Some(trouble) = self.validation_trouble(pipeline, *version).filter(|t| t.denied).cloned() else {
                    return;
                };
                if !trouble.outlasted(since, grace) {
                    return;
                }
                ExecuteTemplateReply::end(
                    Phase::Error,
                    report::message(&format!("{} (for {})", trouble.text, spoken(grace))),
                    None,
                )
            }
        };
        self.open_nodes = self.open_nodes.saturating_sub(1);
        if let Some(v) = self.validations.get_mut(&key) {
            if node_phase(&reply) == Some(Phase::Succeeded) {
                v.task = None;
            }
            v.ended = Some((now, reply));
        }
    }

    fn validation_trouble(&self, pipeline: usize, version: Option<i64>) -> Option<&Trouble> {
        let own = match self.pipelines.get(pipeline)?.digests.get(&version) {
            Some(DigestSlot::Asking { trouble, .. }) => trouble.as_ref(),
            _ => None,
        };
        own.or_else(|| self.locating_trouble(pipeline))
    }

    pub(super) fn view_validation(&self, key: Key) -> View {
        let Some(v) = self.validations.get(&key) else { return View::default() };
        if let Some((_, reply)) = &v.ended {
            return ended(reply);
        }
        let Some(Action::Validate { version, .. }) = v.task.as_ref().map(|task| &task.action) else {
            return View::default();
        };
        match self.validation_trouble(v.pipeline, *version) {
            Some(trouble) => View::settled(Phase::Pending, told(trouble, 0), None),
            None => View::passing(None, "describing the pipeline"),
        }
    }

    /// The digest of a pipeline, if it is known or refused; else it is being asked for.
    fn digest(&mut self, pipeline: usize, version: Option<i64>) -> Option<Result<PipelineDigest, String>> {
        let now = self.now;
        let slot = self.pipelines.get(pipeline)?.digests.get(&version);
        match slot {
            Some(DigestSlot::Known { at, digest }) if now < at.plus(DIGEST_FOR) => return Some(Ok(digest.clone())),
            Some(DigestSlot::Refused { at, text }) if now < at.plus(DIGEST_FOR) => return Some(Err(text.clone())),
            Some(DigestSlot::Asking { retry_at, .. }) if retry_at.is_none_or(|at| at > now) => return None,
            _ => {}
        }
        let spelling = self.spelling(pipeline)?;
        let p = self.pipelines.get_mut(pipeline)?;
        let (trouble, tries) = match p.digests.remove(&version) {
            Some(DigestSlot::Asking { trouble, tries, .. }) => (trouble, tries),
            _ => (None, 0),
        };
        p.digests.insert(version, DigestSlot::Asking { trouble, retry_at: None, tries });
        let call = Call::DescribePipeline { pipeline: spelling, version };
        self.call_for(Priority::Ask, pipeline, call, Purpose::Digest { pipeline, version });
        None
    }

    /// Retries of digests whose time has come.
    pub(super) fn ask_digests(&mut self, pipeline: usize) {
        let versions: Vec<Option<i64>> =
            self.pipelines.get(pipeline).map(|p| p.digests.keys().copied().collect()).unwrap_or_default();
        for version in versions {
            let waits = matches!(
                self.pipelines.get(pipeline).and_then(|p| p.digests.get(&version)),
                Some(DigestSlot::Asking { retry_at: Some(_), .. })
            );
            if waits {
                self.digest(pipeline, version);
            }
        }
    }

    pub(super) fn digest_answered(
        &mut self,
        pipeline: usize,
        version: Option<i64>,
        result: Result<CallReply, CallError>,
    ) {
        let (now, left) = (self.now, self.answers_left);
        let Some(p) = self.pipelines.get_mut(pipeline) else { return };
        let (arn, client) = (p.arn.clone(), p.client.clone());
        let (old, tries) = match p.digests.remove(&version) {
            Some(DigestSlot::Asking { trouble, tries, .. }) => (trouble, tries),
            _ => (None, 0),
        };
        let slot = match result {
            Ok(CallReply::Pipeline(description)) => {
                DigestSlot::Known { at: now, digest: PipelineDigest::of(&description) }
            }
            Ok(_) => DigestSlot::Refused { at: now, text: format!("pipeline {arn} cannot be read") },
            Err(error) => match reaction(error.kind, Place::Validate) {
                Reaction::Refuse => {
                    let text = match error.kind {
                        CallErrorKind::NotFound => format!("pipeline {arn} does not exist: {}", error.message),
                        _ => error.message,
                    };
                    DigestSlot::Refused { at: now, text }
                }
                otherwise => {
                    let denied = otherwise == Reaction::Mend;
                    let mut trouble = old;
                    Trouble::extend(&mut trouble, &error.message, denied, left);
                    let at = now.plus(backoff(tries, Duration::from_secs(15)));
                    self.timers.insert((at, Timer::Digest(pipeline)));
                    if error.kind == CallErrorKind::Throttled {
                        self.note_throttle(&client, false);
                    }
                    DigestSlot::Asking { trouble, retry_at: Some(at), tries: tries + 1 }
                }
            },
        };
        if let Some(p) = self.pipelines.get_mut(pipeline) {
            p.digests.insert(version, slot);
        }
        let keys: Vec<Key> = self.validations.iter().filter(|(_, v)| v.pipeline == pipeline).map(|(k, _)| *k).collect();
        for key in keys {
            self.node_woken(NodeRef::Validate(key));
        }
    }

    pub(super) fn advance_stop(&mut self, key: Key) {
        let Some(stop) = self.stops.get(&key) else { return };
        if stop.ended.is_some() {
            return;
        }
        let (pipeline, names, grace, since) =
            (stop.pipeline, stop.names.clone(), stop.denied_grace, stop.desk.asked_since);
        let (looking, settles) = (stop.targets.is_none(), stop.settles);
        let all = names == StopScope::Everything;
        if let Some(text) = self.stop_took_too_long(key) {
            self.end_stop(key, Phase::Failed, &text);
            return;
        }
        if looking {
            if let StopScope::Execution(arn) = &names {
                let arn = self.track_foreign(key, 0, pipeline, arn);
                self.set_targets(key, vec![arn]);
            } else {
                if all {
                    self.stop_everything();
                }
                let of_key = if let StopScope::Of(key) = &names { Some(*key) } else { None };
                let located = if all { self.survey(pipeline) } else { self.locate(pipeline) };
                // What is known need not wait for what is not.
                let mut targets = self.to_be_stopped(of_key);
                if settles {
                    targets.retain(|arn| self.was_created_by(arn, since));
                }
                for arn in &targets {
                    self.want_stop(arn);
                }
                if let Some(stop) = self.stops.get_mut(&key) {
                    stop.found.extend(targets);
                }
                match located {
                    Located::NotYet => {
                        let denied = self.locating_trouble(pipeline).filter(|t| t.denied).cloned();
                        if let Some(trouble) = denied.filter(|t| t.outlasted(since, grace)) {
                            self.end_stop(key, Phase::Error, &trouble.text);
                            return;
                        }
                        self.wake_stop(key, Duration::from_secs(5));
                        return;
                    }
                    // No pipeline, no executions.
                    Located::Refused(_) | Located::Ready => {}
                }
                // Whether something runs, or is about to, cannot be said of these yet; a stop of everything lets none start.
                let locates = !all && self.now < since.plus(LOCATES_WITHIN);
                let starting = self.families.iter().any(|(k, f)| {
                    of_key.is_none_or(|wanted| wanted == *k)
                        && f.attempts.values().any(|a| match a.stage {
                            Stage::Starting(_) | Stage::Searching { .. } => true,
                            Stage::Locating => locates,
                            _ => false,
                        })
                });
                if starting {
                    self.wake_stop(key, Duration::from_secs(1));
                    return;
                }
                if let Some(wanted) = of_key {
                    self.drop_unstarted(wanted);
                }
                // What an earlier process started last may not be listed yet.
                let looked_into: Vec<usize> = (0..self.pipelines.len()).filter(|n| all || *n == pipeline).collect();
                let lags_until = self.lags_until();
                let unsettled = looked_into.into_iter().filter(|n| !self.is_listed_after(*n, lags_until)).count();
                let nothing = self.stops.get(&key).is_some_and(|stop| stop.found.is_empty());
                if !all && nothing && unsettled > 0 && self.now < since.plus(self.settings.stop_wait) {
                    // Nobody names what is not there; what a stop of everything finds later, it stops all the same.
                    self.stops.get_mut(&key).into_iter().for_each(|stop| stop.settles = true);
                    self.wake_stop(key, Duration::from_secs(5));
                    return;
                }
                let gap = all.then(|| self.survey_gap(pipeline)).flatten();
                let Some(stop) = self.stops.get_mut(&key) else { return };
                stop.gap = gap;
                let found = std::mem::take(&mut stop.found);
                self.set_targets(key, found.into_iter().collect());
            }
        }
        let Some(stop) = self.stops.get(&key).filter(|stop| stop.open.is_empty()) else { return };
        if let Some(targets) = &stop.targets {
            let mut text = match targets.len() {
                0 => "nothing to stop".to_owned(),
                1 => "the execution has ended".to_owned(),
                n => format!("{n} executions have ended"),
            };
            if let Some(gap) = &stop.gap {
                text.push_str(&format!("; {gap}"));
            }
            self.end_stop(key, Phase::Succeeded, &text);
        }
    }

    /// What runs under a key, or everything that is ours to stop.
    fn to_be_stopped(&self, of_key: Option<Key>) -> Vec<Arc<str>> {
        let wanted = |t: &Tracked| of_key.map_or_else(|| self.is_ours_to_stop(t), |key| key == t.key);
        let live = |t: &Tracked| t.gone.is_none() && t.execution.status.is_live();
        self.executions.iter().filter(|(_, t)| live(t) && wanted(t)).map(|(arn, _)| arn.clone()).collect()
    }

    /// Whether an execution was there at this time of ours.
    fn was_created_by(&self, arn: &Arc<str>, time: Time) -> bool {
        let created = self.executions.get(arn).and_then(|t| t.execution.created);
        created.is_some_and(|created| self.aws_clock.ours(created) <= time)
    }

    /// Stops an execution that is listed only now, although a stop task came after its creation.
    pub(super) fn stop_straggler(&mut self, arn: &Arc<str>) {
        let Some(tracked) = self.executions.get(arn) else { return };
        let names = |stop: &StopNode| match &stop.names {
            StopScope::Of(key) => *key == tracked.key,
            StopScope::Everything => self.is_ours_to_stop(tracked),
            StopScope::Execution(_) => false,
        };
        if self.stops.values().any(|stop| self.was_created_by(arn, stop.desk.asked_since) && names(stop)) {
            self.want_stop(arn);
        }
    }

    /// Whether "everything" takes it in: not what a node was only attached to, unless its `on_stop` says so.
    fn is_ours_to_stop(&self, tracked: &Tracked) -> bool {
        let mut attempts = self.families.get(&tracked.key).into_iter().flat_map(|f| f.attempts.values());
        !tracked.foreign || attempts.any(|a| a.rules.stop_when_over)
    }

    /// Looks at a stop node again after a while; once is enough, however often it is looked at meanwhile.
    fn wake_stop(&mut self, key: Key, after: Duration) {
        let (now, at) = (self.now, self.now.plus(after));
        let Some(stop) = self.stops.get_mut(&key) else { return };
        if stop.wake.is_none_or(|wake| wake > at || wake <= now) {
            stop.wake = Some(at);
            self.wake_node(NodeRef::Stop(key), at);
        }
    }

    /// Nodes of a key that have not started never will: each ends when it is certain that no earlier process has started it.
    fn drop_unstarted(&mut self, key: Key) {
        let now = self.now;
        let Some(family) = self.families.get_mut(&key) else { return };
        let unstarted = |a: &Attempt| matches!(a.stage, Stage::Locating | Stage::Queued) && !a.rules.attached;
        let mut waiting: Vec<u32> = Vec::new();
        for (number, attempt) in family.attempts.iter_mut().filter(|(_, a)| unstarted(a)) {
            attempt.dropped.get_or_insert(now);
            waiting.push(*number);
        }
        for number in waiting {
            self.advance(key, number);
        }
    }

    fn set_targets(&mut self, key: Key, targets: Vec<Arc<str>>) {
        for arn in &targets {
            self.want_stop(arn);
        }
        let open = targets.iter().filter(|arn| self.is_open(arn)).cloned().collect();
        if let Some(stop) = self.stops.get_mut(&key) {
            stop.open = open;
            stop.targets = Some(targets);
            stop.stopping_since = Some(self.now);
        }
        // The limit's timer.
        self.stop_took_too_long(key);
    }

    /// Whether an execution runs, or may.
    fn is_open(&self, arn: &Arc<str>) -> bool {
        let open = |t: &Tracked| t.gone.is_none() && (t.execution.status.is_live() || t.seen.is_none());
        self.executions.get(arn).is_some_and(open)
    }

    /// The sentence for a stop node whose time is up: its own time-out, or so long after the stops were sent.
    fn stop_took_too_long(&mut self, key: Key) -> Option<String> {
        let stop = self.stops.get(&key)?;
        let own = stop.timeout.map(|timeout| (stop.desk.asked_since.plus(timeout), timeout));
        let wait = self.settings.stop_wait;
        let awaited = stop.stopping_since.map(|since| (self.stop_limit(since), wait));
        let (at, limit) = own.into_iter().chain(awaited).min()?;
        if self.now < at {
            self.wake_node(NodeRef::Stop(key), at);
            return None;
        }
        let Some(first) = stop.open.iter().min().and_then(|arn| self.executions.get(arn)) else {
            return stop.targets.is_none().then(|| {
                let why = self.locating_trouble(stop.pipeline).map(|t| format!(": {}", report::fit(&t.text, 120)));
                format!("what is to be stopped was not found within {}{}", spoken(limit), why.unwrap_or_default())
            });
        };
        let id = Self::short(&first.execution.arn);
        let trouble = first.stop_trouble.as_ref().or(first.trouble.as_ref());
        let why = trouble.map_or("a Callback step can block a stop".to_owned(), |t| report::fit(&t.text, 120));
        let more = stop.open.len() - 1;
        let who =
            if more == 0 { format!("execution {id} has") } else { format!("execution {id} and {more} others have") };
        Some(format!("{who} not ended within {} ({why})", spoken(limit)))
    }

    fn end_stop(&mut self, key: Key, phase: Phase, text: &str) {
        let outputs = match self.stops.get(&key).and_then(|s| s.targets.as_deref()) {
            Some([arn]) => self
                .executions
                .get(arn)
                .map(|t| report::end_outputs(&t.execution, t.steps.as_deref().unwrap_or_default())),
            _ => None,
        };
        if let Some(stop) = self.stops.get_mut(&key) {
            stop.ended = Some(ExecuteTemplateReply::end(phase, report::message(text), outputs));
            self.open_nodes = self.open_nodes.saturating_sub(1);
        }
    }

    /// A stop node ends when the last execution that it waits for has.
    pub(super) fn stops_look(&mut self, arn: &Arc<str>) {
        if self.stops.is_empty() || self.is_open(arn) {
            return;
        }
        let last = |s: &mut StopNode| s.open.remove(arn) && s.open.is_empty();
        let keys: Vec<Key> = self.stops.iter_mut().filter_map(|(key, s)| last(s).then_some(*key)).collect();
        for key in keys {
            self.node_woken(NodeRef::Stop(key));
        }
    }

    pub(super) fn view_stop(&self, key: Key) -> View {
        let Some(stop) = self.stops.get(&key) else { return View::default() };
        if let Some(reply) = &stop.ended {
            return ended(reply);
        }
        let Some(targets) = &stop.targets else {
            return match self.locating_trouble(stop.pipeline) {
                Some(trouble) => View::settled(Phase::Running, told(trouble, 0), None),
                None => View::passing(Some(Phase::Running), "looking for what is to be stopped"),
            };
        };
        let tracked = || targets.iter().filter_map(|arn| self.executions.get(arn));
        let live = tracked().filter(|t| t.gone.is_none() && t.execution.status.is_live()).count();
        let mut text = format!("stopping {live} of {} executions", targets.len());
        if let Some(trouble) = tracked().find_map(|t| t.stop_trouble.as_ref().or(t.trouble.as_ref())) {
            text = format!("{text}; {}", told(trouble, text.len() + 2));
        }
        View { phase: Some(Phase::Running), message: text, outputs: None, settled: tracked().all(|t| t.seen.is_some()) }
    }
}

fn node_phase(reply: &ExecuteTemplateReply) -> Option<Phase> {
    reply.node.as_ref().and_then(|node| node.phase)
}
