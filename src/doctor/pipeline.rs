//! Whether the permissions reach a pipeline: the two questions that can be asked without starting anything.

use super::{
    Check, Fix,
    facts::Facts,
    known::Known,
    sts::{own_role, said},
};
use crate::{
    iam::{
        names,
        permissions::{Permissions, Purpose},
    },
    pipelines::{CallError, CallErrorKind},
};

/// How the plugin names the pipeline to AWS: by its name in the caller's own account, by its ARN in another one.
pub fn asked(facts: &Facts, caller: &str) -> Option<String> {
    let name = names::pipeline(facts.config.pipeline.as_deref()?).ok()?;
    let (region, partition, account) = region_and_account(facts, caller)?;
    Some(if account == caller { name } else { format!("arn:{partition}:sagemaker:{region}:{account}:pipeline/{name}") })
}

/// The pipelines' region, its partition, and the pipelines' account: the caller's own where nobody said another.
pub(super) fn region_and_account(facts: &Facts, caller: &str) -> Option<(String, &'static str, String)> {
    let (region, partition) = names::region(facts.config.region.as_deref()?).ok()?;
    Some((region, partition, account(facts).unwrap_or_else(|| caller.to_owned())))
}

/// The pipelines' account, as far as somebody said it.
fn account(facts: &Facts) -> Option<String> {
    let of_arn = || facts.config.pipeline.as_deref()?.strip_prefix("arn:")?.split(':').nth(3).map(str::to_owned);
    facts.config.account.clone().or_else(of_arn)
}

/// DescribePipeline.
pub fn describe(name: &'static str, facts: &Facts, known: &Known) -> Check {
    match &facts.described {
        None => not_asked(name, facts),
        Some(Ok(status)) if status == "Active" => Check::well(name, format!("{} is Active", pipeline(facts))),
        Some(Ok(status)) => {
            let fix = Fix::say("SageMaker runs Active pipelines only. Wait, or make the pipeline anew.");
            Check::broken(name, format!("{} is {status}", pipeline(facts)), fix)
        }
        Some(Err(error)) => failed(name, &["DescribePipeline"], error, facts, known),
    }
}

/// ListPipelineExecutions.
pub fn list(name: &'static str, facts: &Facts, known: &Known) -> Check {
    match &facts.listed {
        None => not_asked(name, facts),
        Some(Ok(_)) => Check::well(name, format!("executions of {} can be listed", pipeline(facts))),
        Some(Err(error)) => failed(name, &["ListPipelineExecutions"], error, facts, known),
    }
}

fn pipeline(facts: &Facts) -> &str {
    facts.config.pipeline.as_deref().unwrap_or_default()
}

/// For a question that was not put.
pub(super) fn not_asked(name: &'static str, facts: &Facts) -> Check {
    Check::skipped(
        name,
        match facts.config.pipeline {
            None => "not asked for (--pipeline)",
            Some(_) => "there are no credentials",
        },
    )
}

/// For these operations, of which AWS answered the first so.
pub(super) fn failed(
    name: &'static str,
    operations: &[&str],
    error: &CallError,
    facts: &Facts,
    known: &Known,
) -> Check {
    let logs = operations.iter().any(|operation| matches!(*operation, "DescribeLogStreams" | "GetLogEvents"));
    let (service, endpoint) = if logs { ("CloudWatch Logs", "logs") } else { ("SageMaker", "sagemaker.api") };
    let region = known.region.as_ref().map_or("REGION", |(region, _)| region);
    let fix = match error.kind {
        CallErrorKind::Denied => denied(operations, error, facts, known),
        CallErrorKind::NotFound => Fix::say(format!(
            "There is no such pipeline in this account and in {region}. Mend its name, --region (region_name) or --account-id (account_id). The \
             pipelines that are there:"
        ))
        .command(format!("aws sagemaker list-pipelines --region {region} --query 'PipelineSummaries[].PipelineName'")),
        CallErrorKind::Throttled | CallErrorKind::QuotaExceeded => {
            Fix::say("AWS answers too many at once here. Run this again in a minute.")
        }
        CallErrorKind::Unreachable | CallErrorKind::OutcomeUnknown => Fix::say(format!(
            "The pod does not reach {service}. See that {region} is a region of AWS that has {service}, and that the pod's subnet has a NAT \
             gateway or a VPC endpoint for com.amazonaws.{region}.{endpoint}, with its security group open for port 443."
        )),
        CallErrorKind::Credentials => {
            Fix::say(format!("STS takes the credentials and {service} does not. If they are new, run this again in a minute; else look at the node's clock."))
        }
        CallErrorKind::Conflict | CallErrorKind::TokenMismatch | CallErrorKind::Invalid => {
            Fix::say("See what AWS says of the pipeline's name, and mend it in --pipeline and in the tasks' pipeline_name.")
        }
    };
    Check::broken(name, said(error), fix)
}

/// The statements that are missing, and the whole of what is needed.
fn denied(operations: &[&str], error: &CallError, facts: &Facts, known: &Known) -> Fix {
    let caller = facts.caller.as_ref().and_then(|caller| caller.as_ref().ok());
    let account = account(facts).or_else(|| caller.map(|caller| caller.account.clone()));
    let role = facts.config.role.clone().or_else(|| own_role(facts)).or_else(|| known.role.clone());
    let name = names::pipeline(pipeline(facts)).ok();
    let logs = |operation: &str| matches!(operation, "DescribeLogStreams" | "GetLogEvents");
    let action = |operation: &&str| format!("{}:{operation}", if logs(operation) { "logs" } else { "sagemaker" });
    let actions = operations.iter().map(action).collect::<Vec<_>>().join(", ");
    let (Some(account), Some((region, partition)), Some(name)) = (account, known.region.clone(), name) else {
        return Fix::say(format!("The role must be allowed {actions}."));
    };
    let permissions = Permissions {
        partition,
        region,
        account,
        pipelines: vec![name.clone()],
        purpose: Purpose::ExecuteAndStop,
        with: facts.config.with.clone(),
        roles: Vec::new(),
    };
    let (arn, role_name) =
        role.as_ref().map_or(("the role", "ROLE_NAME"), |role| (role.arn.as_str(), role.name.as_str()));
    // IAM's own words for a refusal that no further permission lifts.
    let explicit = error.message.contains("explicit deny");
    let say = match explicit {
        true => format!(
            "An explicit deny stands in the way: no statement added to {arn} lifts it. Have it taken out of where AWS says it is (a service \
             control policy, a permissions boundary, the role's own policies). The role needs this then:"
        ),
        false if operations.len() > 1 => {
            format!("{arn} may not call {actions} here. Add these statements to its policy:")
        }
        false => format!("{arn} may not call {actions} here. Add this statement to its policy:"),
    };
    let statements = operations.iter().filter_map(|operation| permissions.statement(operation));
    let fix = statements
        .fold(Fix::say(say), |fix, statement| fix.policy(format!("the statement that {arn} lacks"), statement));
    let Permissions { region, account, with, .. } = &permissions;
    let with: Vec<&str> = with.iter().map(|feature| feature.word()).collect();
    let with = if with.is_empty() { String::new() } else { format!(" --with {}", with.join(",")) };
    fix.command(format!(
        "awf-aws iam permissions --account-id {account} --region {region} --pipeline {name}{with} > permissions.json"
    ))
    .command(format!(
        "aws iam put-role-policy --role-name {role_name} --policy-name sagemaker-pipelines --policy-document file://permissions.json"
    ))
}
