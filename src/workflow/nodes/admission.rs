//! A request comes in: its node is taken in, or the request is refused.

use std::{sync::Arc, time::Duration};

use crate::{
    input::{Action, Execute, MockState, Task},
    protocol::{ExecuteTemplateReply, NodeResult, Phase, Reply},
    workflow::{
        RequestId,
        attempt::{Attempt, Rules},
        effects::{Change, NodeRef},
        key::Key,
        pipeline::Pipelines,
        report,
        slab::PipelineId,
        stop_node::{StopNode, StopScope},
        validation::Validation,
        world::World,
    },
};

use super::{KeyRecord, NodeName, Nodes};

/// What a poll gets when nothing may be said or started: draining, too many nodes.
const REST: Duration = Duration::from_secs(15);
/// A pod that is born so much later than its workflow is not the first.
const FIRST_POD: Duration = Duration::from_secs(120);
/// How long a denial lasts at least before it is a node's end, when something may already run.
const MOVED_GRACE: Duration = Duration::from_secs(600);

/// The answer to a request that is not taken in.
type Refusal = Box<ExecuteTemplateReply>;

impl Nodes {
    /// A request comes in: it waits for what its node has to say once all that follows has settled.
    pub fn requested(&mut self, request: RequestId, task: &Arc<Task>, w: &mut World) {
        w.run.serves(&task.workflow.uid);
        let node = match NodeName::of(task) {
            Ok(name) => self.admit(name, task, w),
            Err(state) => Err(Box::new(mock(state))),
        };
        match node {
            Ok(node) => {
                match node {
                    NodeRef::Execute(id) => self.attempts[id].park(request, &w.fx),
                    NodeRef::Validate(id) => self.validations[id].park(request, &w.fx),
                    NodeRef::Stop(id) => self.stops[id].park(request, &w.fx),
                }
                if !self.asked.contains(&node) {
                    self.asked.push(node);
                }
                self.advance(node, w);
            }
            Err(reply) => w.fx.answer(request, Reply::Once(*reply), false),
        }
    }

    /// Whoever was told did not hear it.
    pub fn unheard(&mut self, task: &Task) {
        let node = NodeName::of(task).ok().and_then(|name| self.named(&name));
        match node {
            Some(NodeRef::Execute(id)) => self.attempts[id].unheard(),
            Some(NodeRef::Validate(id)) => self.validations[id].unheard(),
            Some(NodeRef::Stop(id)) => self.stops[id].unheard(),
            None => {}
        }
    }

    /// The node of a request, made known when it is new; or the answer to one that is not taken in.
    fn admit(&mut self, name: NodeName, task: &Arc<Task>, w: &mut World) -> Result<NodeRef, Refusal> {
        if let Some(node) = self.named(&name) {
            return self.admit_known(node, task, w).map(|()| node);
        }
        if w.closing.draining().is_some() || self.has_too_many(w) {
            return Err(Box::new(ExecuteTemplateReply::free_poll(REST)));
        }
        let pipeline = w.pipelines.of_task(task, &w.fx);
        let (now, grace) = (w.fx.now(), denied_grace(task, w));
        let node = match (&task.action, name) {
            (Action::Execute(execute), NodeName::Execute(key, _)) => {
                self.refuse_stranger(&key, pipeline, task, w)?;
                NodeRef::Execute(self.admit_attempt(key, pipeline, task, execute, w))
            }
            (Action::Validate { .. }, NodeName::Validate(key)) => {
                NodeRef::Validate(self.validations.push(|_| Validation::new(key, pipeline, task, grace, now)))
            }
            (Action::Stop { .. }, NodeName::Stop(key)) => {
                let scope = StopScope::of(task).expect("a task with this action names what it stops");
                // What was looked for an earlier stop may have changed.
                w.pipelines.forget_survey(pipeline);
                list_for_stop(&scope.0, pipeline, w);
                NodeRef::Stop(self.stops.push(|id| StopNode::new(id, key, pipeline, scope, grace, now)))
            }
            (action, name) => unreachable!("{name:?} is not the name of a node that does {action:?}"),
        };
        w.tally.node_opened();
        match name {
            NodeName::Execute(key, number) => self.supersede_waiting(&key, number, w),
            NodeName::Validate(_) | NodeName::Stop(_) => {
                self.questions.insert(name, node);
            }
        }
        Ok(node)
    }

    fn admit_attempt(
        &mut self,
        key: Key,
        pipeline: PipelineId,
        task: &Arc<Task>,
        execute: &Execute,
        w: &World,
    ) -> crate::workflow::slab::AttemptId {
        let warning = self.warning(&key, task, execute, w);
        let rules = Rules::of(task, execute, denied_grace(task, w));
        let id =
            self.attempts.push(|id| Attempt::new(id, key, pipeline, rules, task, &execute.args_digest, w.fx.now()));
        self.attempts[id].warn(warning);
        let template_name = self.template(&task.template_name);
        let record = self.keys.entry(key).or_insert_with(|| KeyRecord {
            pipeline,
            template_name,
            attempts: Vec::with_capacity(1),
        });
        record.pipeline = pipeline;
        record.add(task.attempt, id);
        id
    }

    fn template(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.templates.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.templates.insert(name.clone());
        name
    }

    /// Whether no further node is taken in until one ends; said once each time.
    fn has_too_many(&mut self, w: &mut World) -> bool {
        let open = w.tally.open();
        let full = open >= w.fx.settings().max_nodes;
        if full && !self.too_many_told {
            w.fx.warn(format!("{open} nodes of this workflow are open, further ones wait until some have ended"));
        }
        self.too_many_told = full;
        full
    }

    /// A known node asks again: it may have ended, or the request may contradict it.
    fn admit_known(&mut self, node: NodeRef, task: &Arc<Task>, w: &mut World) -> Result<(), Refusal> {
        let ended = match node {
            NodeRef::Execute(id) => {
                if let Action::Execute(execute) = &task.action {
                    let key = self.attempts[id].key();
                    let pipeline = w.pipelines.of_task(task, &w.fx);
                    self.refuse_stranger(&key, pipeline, task, w)?;
                    let warning = self.warning(&key, task, execute, w);
                    self.attempts[id].asked_again(task, warning);
                }
                self.attempts[id].is_ended()
            }
            NodeRef::Validate(id) => self.validations[id].is_ended(),
            NodeRef::Stop(id) => self.stops[id].is_ended(),
        };
        if w.closing.draining().is_some() && !ended {
            return Err(Box::new(ExecuteTemplateReply::free_poll(REST)));
        }
        Ok(())
    }

    /// Another pipeline, account, region or template under a key is somebody's mistake: whatever runs is not touched.
    fn refuse_stranger(&self, key: &Key, pipeline: PipelineId, task: &Task, w: &World) -> Result<(), Refusal> {
        let record = self.keys.get(key);
        let of_key = w.executions.of_key(key).first().map(|id| w.executions[*id].pipeline());
        if let Some(known) = record.map(|record| record.pipeline).or(of_key).filter(|known| *known != pipeline) {
            let pipelines: &Pipelines = &w.pipelines;
            let (known, given) = (pipelines[known].arn(), pipelines[pipeline].arn());
            // The same pipeline under another role is no mistake: whoever listed first may have found it.
            if !known.eq_ignore_ascii_case(given) {
                return Err(stranger(task, "pipeline", known, given));
            }
        }
        match record {
            Some(record) if *record.template_name != *task.template_name => {
                Err(stranger(task, "template", &record.template_name, &task.template_name))
            }
            _ => Ok(()),
        }
    }

    /// The warning that a request deserves under its key.
    fn warning(&self, key: &Key, task: &Task, execute: &Execute, w: &World) -> Option<String> {
        let own = self.keys.get(key).and_then(|record| record.attempt(task.attempt));
        let asked_with = own.map(|id| self.attempts[id].args());
        let known = w.executions.args_of(key, task.attempt).or(asked_with);
        if known.is_some_and(|known| known != execute.args_digest) {
            return Some(
                "other arguments than the execution was started with (templates are re-rendered): following it"
                    .to_owned(),
            );
        }
        (task.execution_key.is_none() && execute.attach.is_none())
            .then(|| "no execution_key: identical nodes share one execution, set it to \"{{node.name}}\"".to_owned())
    }
}

/// Another pod may have started, since the last listing, what a `stop` node names: it is stopped when it shows.
fn list_for_stop(scope: &StopScope, own: PipelineId, w: &mut World) {
    let concerned: Vec<PipelineId> = match scope {
        StopScope::Execution(_) => Vec::new(),
        StopScope::Of(_) => vec![own],
        StopScope::Everything => w.pipelines.ids().collect(),
    };
    for id in concerned {
        if w.pipelines[id].listing().is_aged(w.fx.now()) {
            w.fx.changed(Change::Stale(id));
        }
    }
}

fn denied_grace(task: &Task, w: &World) -> Duration {
    let settings = w.fx.settings();
    // The pod is a later one of the workflow: something may run, and a role may be about to be mended.
    let moved = task.workflow_created.is_some_and(|created| created.plus(FIRST_POD) < settings.pod_born);
    if moved { settings.denied_grace.max(MOVED_GRACE) } else { settings.denied_grace }
}

fn stranger(task: &Task, what: &str, known: &str, given: &str) -> Refusal {
    let name = report::fit(task.execution_key.as_deref().unwrap_or("(none)"), 60);
    let text = format!(
        "malformed plugin input: execution_key `{name}` is already used by this workflow for {what} `{known}`, not `{given}`: give every node its own, \"{{{{node.name}}}}\""
    );
    Box::new(ExecuteTemplateReply::end(Phase::Error, report::message(&text), None))
}

/// The answers of `mock`, as the original plugin gives them.
fn mock(state: MockState) -> ExecuteTemplateReply {
    match state {
        MockState::Success => ExecuteTemplateReply::end(Phase::Succeeded, "success", None),
        MockState::Error => ExecuteTemplateReply::end(Phase::Error, "error", None),
        MockState::Running => ExecuteTemplateReply {
            node: Some(NodeResult { phase: Some(Phase::Running), message: "running".to_owned(), outputs: None }),
            requeue: Some("1m0s".to_owned()),
        },
    }
}
