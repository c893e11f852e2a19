//! The tasks that the controller renders from the plan.

use std::{sync::Arc, time::Duration};

use awf_aws::input::{Action, OnStop, Task, WorkflowId};

use super::{
    argo::NodeId,
    plan::{NodePlan, Work},
    world::World,
};
use crate::machine::{stop, task, with};

impl World {
    /// The node's template, rendered as it is now.
    pub fn render(&self, number: usize, node: NodeId) -> Arc<Task> {
        let workflow = &self.workflows[number];
        let node = &workflow.nodes[node];
        let mut rendered = match node.plan.work {
            Work::Execute => self.execute(&node.plan, node.attempt),
            Work::Attach => with(task(&node.plan.name, node.attempt), |e| {
                e.attach = Some(self.elsewhere.clone());
                e.timeout = node.plan.timeout;
            }),
            Work::StopOne(_) | Work::StopAll => stop(self.stopped_by(number, &node.plan), None),
        };
        if let Action::Stop { timeout, .. } = &mut rendered.action {
            *timeout = node.plan.timeout;
            rendered.fallback_key = node.plan.name.clone();
            rendered.attempt = node.attempt;
        }
        rendered.workflow =
            WorkflowId { uid: workflow.uid.clone(), name: format!("wf-{number}"), namespace: "argo".to_owned() };
        rendered.workflow_created = Some(workflow.created);
        rendered.pipeline_name = node.plan.pipeline.to_owned();
        Arc::new(rendered)
    }

    fn execute(&self, plan: &NodePlan, attempt: u32) -> Task {
        with(task(&plan.name, attempt), |e| {
            e.timeout = plan.timeout;
            e.on_stop = plan.leave.then_some(OnStop::Leave);
            e.max_running = plan.max_running;
            if self.plan.rerendered {
                e.args_digest = format!("{:012x}", self.now.0 / 60_000);
                e.parameters = vec![("Now".to_owned(), e.args_digest.clone())];
            }
        })
    }

    /// The name of the node that a `stop` names; it may as well stop everything.
    pub fn stopped_by(&self, number: usize, plan: &NodePlan) -> Option<&str> {
        match plan.work {
            Work::StopOne(target) => Some(&self.plan.workflows[number].nodes[target].name),
            _ => None,
        }
    }
}

/// The node of the workflow's exit handler.
pub fn exit_handler(run: u32, work: Work) -> NodePlan {
    NodePlan {
        name: format!("wf.onExit({run})"),
        work,
        pipeline: "Quick",
        retries: 0,
        timeout: None,
        leave: false,
        max_running: None,
        after: Duration::ZERO,
    }
}
