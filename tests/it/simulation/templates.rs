//! The tasks that the controller renders from the plan.

use std::{sync::Arc, time::Duration};

use awf_aws::{
    input::{Action, OnRetry, OnStop, Task, WorkflowId},
    workflow::identity::Key,
};

use super::{
    argo::NodeId,
    plan::{NodePlan, Work},
    results::Declares,
    troubles::Moves,
    world::World,
};
use crate::machine::{stop, task, with};

/// Where a node goes when its region or account changes.
pub const OTHER_REGION: &str = "eu-west-1";
pub const OTHER_ACCOUNT: &str = "200000000003";

impl World {
    /// The node's template, rendered as it is now.
    pub fn render(&self, number: usize, node: NodeId) -> Arc<Task> {
        let workflow = &self.workflows[number];
        let node = &workflow.nodes[node];
        let mut rendered = match node.plan.work {
            Work::Execute => self.execute(&node.plan, node.attempt),
            Work::Attach => with(task(&node.plan.name, node.attempt), |e| {
                e.attach = Some(self.elsewhere.clone());
                e.results = node.plan.declares.wanted();
                e.timeout = node.plan.timeout;
            }),
            Work::Validate(valid) => {
                let name = if valid { "Now" } else { "Nobody" };
                let mut rendered = task("", node.attempt);
                rendered.action =
                    Action::Validate { parameters: vec![(name.to_owned(), "1".to_owned())], version: None };
                rendered
            }
            Work::StopOne(_) | Work::StopArn(_) | Work::StopAll => {
                stop(self.stopped_by(number, &node.plan), node.target.clone())
            }
        };
        if let Action::Stop { timeout, .. } = &mut rendered.action {
            *timeout = node.plan.timeout;
        }
        if !matches!(rendered.action, Action::Execute(_)) {
            rendered.fallback_key = Some(node.plan.name.clone());
            rendered.attempt = node.attempt;
        }
        rendered = self.named(rendered, &node.plan);
        if node.attempt > 0 && node.plan.work == Work::Execute {
            match self.plan.workflows[number].troubles.moves {
                Some(Moves::Role) => rendered.client.role_arn = Some("arn:aws:iam::100000000002:role/other".to_owned()),
                Some(Moves::Region) => rendered.client.region = OTHER_REGION.to_owned(),
                Some(Moves::Account) => {
                    rendered.client.role_arn = Some(format!("arn:aws:iam::{OTHER_ACCOUNT}:role/other"));
                    rendered.account_id = OTHER_ACCOUNT.to_owned();
                }
                None => {}
            }
        }
        rendered.workflow =
            WorkflowId { uid: workflow.uid.clone(), name: format!("wf-{number}"), namespace: "argo".to_owned() };
        let unknown = self.plan.workflows[number].troubles.created_unknown;
        rendered.workflow_created = (!unknown).then_some(workflow.created_stamp);
        rendered.pipeline_name = node.plan.pipeline.to_owned();
        Arc::new(rendered)
    }

    /// A node's task under the name that the plugin knows it by.
    fn named(&self, mut task: Task, plan: &NodePlan) -> Task {
        if plan.keyless {
            task.execution_key = None;
            task.fallback_key = Some(format!("fallback of {}", plan.name));
        }
        task
    }

    /// The key of a node's executions.
    pub fn key_of(&self, number: usize, plan: &NodePlan) -> Key {
        let mut named = self.named(task(&plan.name, 0), plan);
        named.workflow.uid = self.workflows[number].uid.clone();
        Key::of_execution(&named)
    }

    fn execute(&self, plan: &NodePlan, attempt: u32) -> Task {
        with(task(&plan.name, attempt), |e| {
            e.timeout = plan.timeout;
            e.on_stop = plan.leave.then_some(OnStop::Leave);
            e.max_running = plan.max_running;
            e.on_retry = plan.on_retry;
            e.accept_completed_with_failures = plan.accept;
            e.results = plan.declares.wanted();
            if self.plan.rerendered {
                e.args_digest = format!("{:012x}", self.now.millis() / 60_000);
                e.work_digest = e.args_digest.clone();
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

    /// The execution that a `stop` names by its ARN: the newest of that node, else somebody else's.
    pub fn stopped_arn(&self, number: usize, target: usize) -> String {
        let key = self.key_of(number, &self.plan.workflows[number].nodes[target]);
        self.executions_of(&key).last().map_or(self.elsewhere.clone(), |execution| execution.arn.clone())
    }
}

/// The node of the workflow's exit handler.
pub fn exit_handler(run: u32, work: Work) -> NodePlan {
    NodePlan {
        name: format!("wf.onExit({run})"),
        work,
        pipeline: "Quick",
        retries: 0,
        on_retry: OnRetry::Restart,
        timeout: None,
        leave: false,
        max_running: None,
        keyless: false,
        accept: false,
        declares: Declares::Nothing,
        after: Duration::ZERO,
    }
}
