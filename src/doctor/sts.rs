//! What STS says: whether there are credentials, and whose they are.

use serde_json::json;

use super::{Check, Fix, facts::Facts, known::Known, pod::no_role};
use crate::{
    backend::redact::redacted,
    iam::{
        names::{RoleArn, Subject},
        trust::Trust,
    },
    pipelines::{CallError, CallErrorKind},
};

/// Whether there are credentials.
pub fn credentials(name: &'static str, facts: &Facts, known: &Known) -> Check {
    match &facts.caller {
        None => Check::skipped(name, "there is no region to ask in"),
        Some(Ok(_)) => Check::well(name, "STS takes the credentials"),
        Some(Err(error)) => Check::broken(name, said(error), refused(error, facts, known)),
    }
}

/// AWS's or our sentence with its code, on one line.
pub(super) fn said(error: &CallError) -> String {
    match error.code.as_deref().filter(|code| !error.message.contains(code)) {
        Some(code) => redacted(&format!("{code}: {}", error.message)),
        None => redacted(&error.message),
    }
}

fn refused(error: &CallError, facts: &Facts, known: &Known) -> Fix {
    let message = error.message.to_ascii_lowercase();
    let region = known.region.as_ref().map_or("REGION", |(region, _)| region);
    let by_token = facts.config.variables.role_arn.is_some();
    match (error.code.as_deref().unwrap_or_default(), error.kind) {
        ("AccessDenied" | "AccessDeniedException", _) if by_token => trust_policy(facts, known),
        ("InvalidIdentityToken", _) if message.contains("no openidconnect provider") || message.contains("no iam oidc provider") => {
            no_provider(facts, known)
        }
        ("InvalidIdentityToken", _) if message.contains("audience") => wrong_audience(facts, known),
        ("IDPCommunicationError", _) => unreachable_issuer(known),
        ("InvalidIdentityToken", _) if message.contains("verification key") || message.contains("thumbprint") => {
            unreachable_issuer(known)
        }
        ("ExpiredTokenException" | "ExpiredToken", _) => Fix::say(
            "If token-claims is well, the node's clock is wrong. Otherwise the kubelet no longer replaces the token: start a new pod.",
        )
        .command("date -u")
        .command(known.new_pods()),
        ("ValidationError", _) if by_token => {
            Fix::say("The role's ARN is not one. Write the whole of it into the annotation, then start a new pod:")
                .command(known.annotate())
                .command(known.new_pods())
        }
        ("RegionDisabledException", _) => Fix::say(format!(
            "STS is switched off in {region} for this account. Switch it on in the IAM console, Account settings, Security Token Service."
        )),
        ("InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" | "InvalidAccessKeyId", _) => Fix::say(
            "The keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not an active pair of this partition. Set the right ones, or take \
             them away so that the role is used. If they are right, look at the node's clock.",
        ),
        (_, CallErrorKind::Throttled) => Fix::say("AWS answers too many at once here. Run this again in a minute."),
        (_, CallErrorKind::Unreachable | CallErrorKind::OutcomeUnknown) => Fix::say(format!(
            "The pod does not reach STS. See that {region} is a region of AWS, and that the pod's subnet has a NAT gateway or a VPC \
             endpoint for com.amazonaws.{region}.sts, with its security group open for port 443."
        )),
        (_, CallErrorKind::Credentials) => no_role(facts, known),
        _ => Fix::say("See what AWS says of the error's code; the request id, if there is one, is what AWS's support asks for."),
    }
}

/// The policy that lets in exactly this token. STS does not tell which part of the present one is wrong, nor that there is no such role.
fn trust_policy(facts: &Facts, known: &Known) -> Fix {
    let (Some(role), Some(issuer), Some(subject)) = (&known.role, &known.issuer, known.subject()) else {
        return Fix::say("The role does not let in this pod's token. See token-claims; then print its policy:").command(
            "awf-aws iam trust-policy --account-id ACCOUNT --issuer ISSUER --namespace NAMESPACE --service-account NAME",
        );
    };
    let claims = known.claims.as_ref();
    // STS judges by what the token says, whoever was expected.
    let subject = claims.and_then(|own| Subject::of_claim(&own.subject)).unwrap_or(subject);
    let audience = facts.config.audience.clone();
    let partition = issuer.partition();
    let trust =
        Trust::WebIdentity { partition, account: role.account.clone(), issuer: issuer.clone(), subject, audience };
    let provider = issuer.provider(partition, &role.account);
    Fix::say(format!(
        "The role {} does not let in this pod. STS does not say what is wrong: the role may not exist, or its trust policy names another \
         issuer, namespace, service account or audience, or has a * under StringEquals. The first command shows the policy as it is. \
         Make it the one below (trust.json; keep other statements that others need); if there is no such role, make it instead: \
         `aws iam create-role --role-name {} --assume-role-policy-document file://trust.json`.",
        role.arn, role.name
    ))
    .policy(format!("the trust policy of {}", role.arn), trust.policy())
    .command(format!("aws iam get-role --role-name {} --query Role.AssumeRolePolicyDocument", role.name))
    .command(format!("aws iam update-assume-role-policy --role-name {} --policy-document file://trust.json", role.name))
    .command(format!("aws iam get-open-id-connect-provider --open-id-connect-provider-arn {provider}"))
}

fn no_provider(facts: &Facts, known: &Known) -> Fix {
    let issuer = known.issuer.as_ref().map_or_else(|| "ISSUER".to_owned(), ToString::to_string);
    let account = known.role.as_ref().map_or("ACCOUNT", |role| role.account.as_str());
    Fix::say(format!(
        "Account {account}, which is the role's, has no IAM OIDC provider for this cluster; a cluster that was made anew has another \
         issuer. Create it there, then make the trust policy name it (`awf-aws iam trust-policy`):"
    ))
    .command(format!(
        "aws iam create-open-id-connect-provider --url https://{issuer} --client-id-list {}",
        facts.config.audience
    ))
}

fn wrong_audience(facts: &Facts, known: &Known) -> Fix {
    let provider = match (&known.issuer, &known.role) {
        (Some(issuer), Some(role)) => issuer.provider(issuer.partition(), &role.account),
        _ => "PROVIDER_ARN".to_owned(),
    };
    Fix::say(format!(
        "The account's IAM OIDC provider does not know the token's audience ({}). Add it there:",
        facts.config.audience
    ))
    .command(format!(
        "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {provider} --client-id {}",
        facts.config.audience
    ))
}

fn unreachable_issuer(known: &Known) -> Fix {
    let issuer = known.issuer.as_ref().map_or_else(|| "ISSUER".to_owned(), ToString::to_string);
    Fix::say(
        "STS could not fetch the cluster's signing keys. With EKS that passes by itself: run this again in some minutes. If it stays, see \
         that the issuer is open to the internet and its certificate valid:",
    )
    .command(format!("curl -fsS https://{issuer}/.well-known/openid-configuration"))
}

/// Whose the credentials are. Without a role of its own a pod has its node's, with which nothing works, or too much.
pub fn caller(name: &'static str, facts: &Facts, known: &Known) -> Check {
    let Some(Ok(caller)) = &facts.caller else { return Check::skipped(name, "there are no credentials") };
    let arn = redacted(&caller.arn);
    let variables = &facts.config.variables;
    // On a workstation nobody has the pod's role, unless somebody says so.
    let own = facts.config.pod_role.is_some() || variables.role_arn.is_some() || variables.in_pod;
    let Some(expected) = known.role.as_ref().filter(|_| own) else {
        let fallen_back = variables.in_pod
            && arn.contains(":assumed-role/")
            && !variables.container_credentials
            && !variables.access_key;
        if fallen_back {
            return Check::broken(name, format!("the calls are the node's: {arn}"), no_role(facts, known));
        }
        return Check::well(name, arn);
    };
    if role_of(&caller.arn) == Some((caller.account.as_str(), expected.name.as_str()))
        && caller.account == expected.account
    {
        return Check::well(name, arn);
    }
    let fix = match variables.access_key {
        true => Fix::say(
            "Keys in the environment go before the role. Take AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN out of the \
             plugin's container (the ConfigMap, or the workflow's podSpecPatch); on a workstation name what you expect by --pod-role.",
        ),
        false => no_role(facts, known),
    };
    Check::broken(name, format!("the calls are {arn}'s, not those of {}", expected.arn), fix)
}

/// Account and role of a session, `arn:aws:sts::<account>:assumed-role/<role>/<session>`.
fn role_of(arn: &str) -> Option<(&str, &str)> {
    let (head, rest) = arn.split_once(":assumed-role/")?;
    Some((head.rsplit(':').next()?, rest.split('/').next()?))
}

/// Whether the pod's role may assume the tasks' role.
pub fn role(name: &'static str, facts: &Facts, known: &Known) -> Check {
    let Some(target) = &facts.config.role else { return Check::skipped(name, "not asked for (--role-arn)") };
    let error = match &facts.assumed {
        None => return Check::skipped(name, "the pod itself has no credentials"),
        Some(Ok(caller)) => return Check::well(name, format!("assumed: {}", redacted(&caller.arn))),
        Some(Err(error)) => error,
    };
    let own = known.role.clone().or_else(|| own_role(facts));
    let fix = match (error.code.as_deref(), own) {
        (Some("AccessDenied" | "AccessDeniedException"), Some(own)) => {
            let allow = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": target.arn});
            let trust = Trust::Role { role: own.clone(), external_id: facts.config.external_id.clone() };
            Fix::say(format!(
                "Two things are needed: {} must be allowed to assume the role, and the role must trust it{}. STS does not say which is \
                 missing.",
                own.arn,
                match facts.config.external_id {
                    Some(_) => " with this external id",
                    None => "; if its policy asks for an external id, give it by --external-id and in the tasks' external_id",
                }
            ))
            .policy(format!("a statement for the permissions of {}", own.arn), allow)
            .policy(format!("the trust policy of {}", target.arn), trust.policy())
            .command(format!(
                "aws iam update-assume-role-policy --role-name {} --policy-document file://trust.json",
                target.name
            ))
        }
        (Some("ValidationError"), _) => Fix::say(
            "Write the role's whole ARN, and an external id that AWS takes, into the tasks' role_arn and external_id.",
        ),
        _ => Fix::say("See what AWS says of the error's code; nothing about it is in this pod's set-up."),
    };
    Check::broken(name, said(error), fix)
}

/// The role that the calls are made with; its path is not told.
pub(super) fn own_role(facts: &Facts) -> Option<RoleArn> {
    let caller = facts.caller.as_ref()?.as_ref().ok()?;
    let (account, role) = role_of(&caller.arn)?;
    let partition = caller.arn.split(':').nth(1)?;
    RoleArn::parse(&format!("arn:{partition}:iam::{account}:role/{role}")).ok()
}
