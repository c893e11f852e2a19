//! A denied call in the words of IAM.

use serde_json::Value;

use super::{arn::partition, book::Caller, describe::described, faults::service, refusal::Refusal};

/// The refusal of a call that the caller's policies do not allow.
pub(super) fn denial(caller: &Caller, operation: &str, input: &Value) -> Refusal {
    let (service, resource) = (service(operation), resource(caller, operation, input));
    if operation == "AssumeRoleWithWebIdentity" {
        return Refusal::new(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity");
    }
    let text =
        format!("User: {} is not authorized to perform: {service}:{operation} on resource: {resource}", caller.arn);
    match service {
        "sts" => Refusal::new(403, "AccessDenied", text),
        _ => {
            let why = format!("because no identity-based policy allows the {service}:{operation} action");
            Refusal::new(400, "AccessDeniedException", format!("{text} {why}"))
        }
    }
}

/// The ARN of what a call is about, as far as its input tells.
pub(super) fn resource(caller: &Caller, operation: &str, input: &Value) -> String {
    let text = |member: &str| input.get(member).and_then(Value::as_str);
    if let Some((resource, member)) = described(operation) {
        return caller.scope().sagemaker(&format!("{resource}/{}", text(member).unwrap_or("*")));
    }
    if service(operation) == "logs" {
        let (account, region) = (&caller.account, &caller.region);
        let group = text("logGroupName").or_else(|| text("logGroupIdentifier")).unwrap_or("*");
        let stream = text("logStreamName").unwrap_or_default();
        return format!("arn:{}:logs:{region}:{account}:log-group:{group}:log-stream:{stream}", partition(region));
    }
    // A role in other operations is an argument: CreatePipeline is about the pipeline.
    let role = Some("RoleArn").filter(|_| operation.starts_with("Assume"));
    match ["PipelineExecutionArn", "PipelineName"].into_iter().chain(role).find_map(text) {
        Some(name) if !name.starts_with("arn:") => caller.scope().sagemaker(&format!("pipeline/{name}")),
        Some(arn) => arn.to_owned(),
        None => "*".to_owned(),
    }
}
