//! From the agent's request to a [`Task`]: every rule between fields.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{
    Action, Execute, InputError, MockState, OnRetry, OnStop, Task, WorkflowId,
    arn::{self, Place},
    digest,
    fields::{Fields, kind_of, unresolved},
    json::shallow,
    outputs, start,
};
use crate::{
    pipelines::{ClientKey, Time},
    protocol::{ExecuteTemplateArgs, PLUGIN_KEY, parse_go_duration},
    results::Wanted,
    text::parse_rfc3339,
};

/// The values of `on_retry`.
const ON_RETRY: [(&str, OnRetry); 3] =
    [("restart", OnRetry::Restart), ("resume", OnRetry::Resume), ("resume-only", OnRetry::ResumeOnly)];

/// The values of `action`.
#[derive(Clone, Copy)]
enum Verb {
    Validate,
    Execute,
    Stop,
}

/// Reads the task of a request. `Ok(None)`: the template is another plugin's.
pub fn read_task(args: &ExecuteTemplateArgs<'_>) -> Result<Option<Task>, InputError> {
    let Some(input) = args.template.input else { return Ok(None) };
    match shallow(input) {
        Ok(kind) if kind.is_object() => read_input(args, input).map(Some),
        Ok(kind) => Err(InputError::new(format!(
            "`{PLUGIN_KEY}` is {}; it must be a map with `action` and so on",
            kind_of(&kind)
        ))),
        Err(error) => Err(InputError::new(format!("`{PLUGIN_KEY}` cannot be read: {error}"))),
    }
}

fn read_input(args: &ExecuteTemplateArgs<'_>, input: &RawValue) -> Result<Task, InputError> {
    const VERBS: [(&str, Verb); 3] = [("validate", Verb::Validate), ("execute", Verb::Execute), ("stop", Verb::Stop)];
    let fields = Fields::of_input(input)?;
    let template = Fields::of_template(&args.template)?;
    let metadata = &args.workflow.metadata;
    if metadata.uid.is_empty() {
        let problem = "the request has no `workflow.metadata.uid`, without which executions cannot be told apart; \
                       Argo sends it from version 3.4.2 on";
        return Err(InputError::new(problem));
    }
    let verb = fields.required_choice("action", &VERBS)?;
    fields.choice("service", &[("amazon_sagemaker_pipelines", ())])?;
    let (region, partition) = arn::read_region(&fields)?;
    let place = Place { partition, region, account: arn::read_account(&fields)? };
    let pipeline_name = arn::read_pipeline(&fields, &place)?;
    let execution_key = read_execution_key(&fields)?;
    let attempt = read_attempt(&fields, &template)?;
    let mock = read_mock(&fields)?;
    let workflow_created = read_workflow_created(&fields)?;
    // Read whatever the action is: a mistake is told by the validate node, not hours later by the execute node.
    let results = outputs::read_results(&fields, &args.template)?;
    let execute = Execute { results, ..read_execute(&fields, &template, &place, &pipeline_name)? };
    let role_arn = arn::read_role(&fields, &place)?;
    let external_id = read_external_id(&fields, role_arn.is_some())?;
    if matches!(verb, Verb::Validate) && execute.attach.is_some() {
        return Err(
            fields.error("execution_arn", "does not go with `action` `validate`, only with `execute` and `stop`")
        );
    }
    let resumes = matches!(verb, Verb::Execute) && execute.on_retry != OnRetry::Restart;
    if resumes && execute.attach.is_some() {
        let problem = "does not go with `execution_arn`: what a node is attached to is not its own to resume";
        return Err(fields.error("on_retry", problem));
    }
    let named_otherwise = matches!(verb, Verb::Execute) && execution_key.is_some();
    let fallback_key =
        if named_otherwise { None } else { Some(digest::fallback_key(&args.template, &fields, &execute)?) };
    let action = match (mock, verb) {
        (Some(state), _) => Action::Mock(state),
        (None, Verb::Validate) => Action::Validate { parameters: execute.parameters, version: execute.version },
        (None, Verb::Execute) => Action::Execute(Box::new(execute)),
        (None, Verb::Stop) => Action::Stop { execution_arn: execute.attach, timeout: execute.timeout },
    };
    Ok(Task {
        workflow: WorkflowId {
            uid: metadata.uid.clone(),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
        },
        template_name: template.text("name")?.unwrap_or_default(),
        client: ClientKey { region: place.region, role_arn, external_id },
        account_id: place.account,
        partition,
        pipeline_name,
        execution_key,
        fallback_key,
        attempt,
        workflow_created,
        action,
    })
}

/// The key exactly as given: it is hashed, and two nodes may differ in a space.
fn read_execution_key(fields: &Fields<'_>) -> Result<Option<String>, InputError> {
    let key = fields.text("execution_key")?;
    if let Some(variable) = key.as_deref().and_then(unresolved) {
        let advice = if variable.contains("node.name") { "; `{{node.name}}` needs Argo 3.4.3 or later" } else { "" };
        return Err(fields.left_literal("execution_key", variable, advice));
    }
    Ok(key)
}

/// A literal `{{retries}}` counts as 0 even beside a retryStrategy: Argo before 3.5.3 puts the literal back after the
/// attempt was created, and a re-sent node must find its execution then, not an error.
fn read_attempt(fields: &Fields<'_>, template: &Fields<'_>) -> Result<u32, InputError> {
    const FIELD: &str = "attempt";
    match fields.text(FIELD)? {
        None if template.given("retryStrategy").is_some() => {
            let problem = "is missing, but the template has a `retryStrategy`: add attempt: \"{{retries}}\", \
                           else a retry is taken for the first attempt";
            Err(fields.error(FIELD, problem))
        }
        Some(text) if is_retries_literal(&text) => Ok(0),
        _ => Ok(fields.whole(FIELD, 0)?.unwrap_or(0)),
    }
}

fn is_retries_literal(text: &str) -> bool {
    text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).is_some_and(|name| name.trim() == "retries")
}

fn read_mock(fields: &Fields<'_>) -> Result<Option<MockState>, InputError> {
    const STATES: [(&str, MockState); 3] =
        [("success", MockState::Success), ("running", MockState::Running), ("error", MockState::Error)];
    let state = fields.choice("mock_state", &STATES)?.unwrap_or(MockState::Success);
    Ok(fields.flag("mock")?.then_some(state))
}

fn read_execute(
    fields: &Fields<'_>,
    template: &Fields<'_>,
    place: &Place,
    pipeline: &str,
) -> Result<Execute, InputError> {
    let mut execute = Execute {
        parameters: start::read_parameters(fields)?,
        display_name: start::read_display_name(fields)?,
        description: start::read_description(fields)?,
        version: fields.whole("pipeline_version_id", 1)?,
        max_parallel_steps: fields.whole("max_parallel_steps", 1)?,
        selected_steps: start::read_selected_steps(fields)?,
        source_execution_arn: arn::read_execution_arn(fields, "source_execution_arn", place, pipeline)?,
        max_running: fields.whole("max_running", 1)?,
        timeout: read_timeout(fields, template)?,
        on_stop: fields.choice("on_stop", &[("stop", OnStop::Stop), ("leave", OnStop::Leave)])?,
        on_retry: fields.choice("on_retry", &ON_RETRY)?.unwrap_or_default(),
        accept_completed_with_failures: fields.flag("accept_completed_with_failures")?,
        results: Wanted::default(),
        attach: arn::read_execution_arn(fields, "execution_arn", place, pipeline)?,
        args_digest: String::new(),
        work_digest: String::new(),
    };
    if execute.source_execution_arn.is_some() && execute.selected_steps.is_empty() {
        return Err(
            fields.error("source_execution_arn", "is given without `selected_steps`, which says what to run anew")
        );
    }
    execute.args_digest = digest::args_digest(pipeline, &execute)?;
    execute.work_digest = digest::work_digest(pipeline, &execute)?;
    Ok(execute)
}

/// The shortest of the plugin's own time-out and the two that Argo does not apply to plugin nodes.
fn read_timeout(fields: &Fields<'_>, template: &Fields<'_>) -> Result<Option<Duration>, InputError> {
    let deadline: Option<u64> = template.whole("activeDeadlineSeconds", 1)?;
    let all = [read_duration(fields)?, read_duration(template)?, deadline.map(Duration::from_secs)];
    Ok(all.into_iter().flatten().min())
}

fn read_duration(fields: &Fields<'_>) -> Result<Option<Duration>, InputError> {
    const FIELD: &str = "timeout";
    let Some(word) = fields.word(FIELD)? else { return Ok(None) };
    match parse_go_duration(&word).filter(|duration| !duration.is_zero()) {
        Some(duration) => Ok(Some(duration)),
        None => Err(fields.refused(FIELD, &word, "a duration above zero in h, m, s or ms, such as `90m` or `1h30m`")),
    }
}

fn read_workflow_created(fields: &Fields<'_>) -> Result<Option<Time>, InputError> {
    const FIELD: &str = "workflow_created";
    let Some(word) = fields.word(FIELD)? else { return Ok(None) };
    match parse_rfc3339(&word) {
        Some(created) => Ok(Some(created)),
        None => {
            let allowed = "a time as in RFC 3339, which is \"{{workflow.creationTimestamp.RFC3339}}\"";
            Err(fields.refused(FIELD, &word, allowed))
        }
    }
}

/// STS's limits (AssumeRole, ExternalId). The value is not shown: some treat it as a secret.
fn read_external_id(fields: &Fields<'_>, has_role: bool) -> Result<Option<String>, InputError> {
    const FIELD: &str = "external_id";
    let Some(id) = fields.word(FIELD)? else { return Ok(None) };
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    if !(2..=1224).contains(&id.len()) || !id.bytes().all(is_allowed) {
        let problem = "is refused by AWS; it must be 2 to 1224 letters, digits and `_+=,.@:/-`";
        return Err(fields.error(FIELD, problem));
    }
    if !has_role {
        return Err(fields.error(FIELD, "is given without `role_arn`, the role to which it belongs"));
    }
    Ok(Some(id))
}
