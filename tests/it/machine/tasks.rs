//! Tasks as the machine gets them, and what its replies say.

use std::time::Duration;

use awf_aws::{
    input::{Action, Execute, OnRetry, Task, WorkflowId},
    pipelines::ClientKey,
    protocol::{ExecuteTemplateReply, Phase},
    results::Wanted,
    workflow::identity::Key,
};

use super::world::World;

pub const ACCOUNT: &str = "100000000002";

/// An `execute` task of node `key`, attempt `attempt`, created an hour before the test's clock begins.
pub fn task(key: &str, attempt: u32) -> Task {
    Task {
        workflow: WorkflowId { uid: "uid-1".into(), name: "wf".into(), namespace: "argo".into() },
        template_name: "execute_pipeline".into(),
        client: ClientKey { region: "us-west-2".into(), role_arn: None, external_id: None },
        account_id: ACCOUNT.into(),
        partition: "aws",
        pipeline_name: "MyPipeline".into(),
        execution_key: Some(key.into()),
        fallback_key: Some("f".repeat(64)),
        attempt,
        workflow_created: Some(World::START.minus(Duration::from_secs(60))),
        action: Action::Execute(Box::new(Execute {
            parameters: vec![],
            display_name: None,
            description: None,
            version: None,
            max_parallel_steps: None,
            selected_steps: vec![],
            source_execution_arn: None,
            max_running: None,
            timeout: None,
            on_stop: None,
            accept_completed_with_failures: false,
            results: Wanted::default(),
            attach: None,
            on_retry: OnRetry::Restart,
            args_digest: "0123456789ab".into(),
            work_digest: "ba9876543210".into(),
        })),
    }
}

pub fn key_of(task: &Task) -> Key {
    Key::of_execution(task)
}

/// Changes the arguments of an `execute` task.
pub fn with(mut task: Task, change: impl FnOnce(&mut Execute)) -> Task {
    if let Action::Execute(execute) = &mut task.action {
        change(execute);
    }
    task
}

pub fn phase(reply: &ExecuteTemplateReply) -> Option<Phase> {
    reply.node.as_ref().and_then(|n| n.phase)
}

pub fn message(reply: &ExecuteTemplateReply) -> String {
    reply.node.as_ref().map(|n| n.message.clone()).unwrap_or_default()
}

pub fn output(reply: &ExecuteTemplateReply, name: &str) -> Option<String> {
    let outputs = reply.node.as_ref()?.outputs.as_ref()?;
    outputs.parameters.iter().find(|p| p.name == name).map(|p| p.value.clone())
}
