//! The simulated STS: who a key is, and temporary keys of other accounts.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    arn::partition,
    book::{Book, Caller},
    faults::WebIdentityDenial,
    refusal::Refusal,
    scenario::is_account,
};
use crate::{pipelines::Time, text::rfc3339};

/// A role that was assumed, by the access key that was given for it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    account: String,
    /// The identity's ARN without its partition: `sts::<account>:assumed-role/<role>/<session>`.
    arn: String,
}

impl Book {
    /// The caller that an access key id stands for. Keys given by this STS end in their account, so they are understood
    /// even after a reset; all other keys belong to the scenario's accounts.
    pub fn caller(&self, access_key: &str, region: &str) -> Caller {
        let partition = partition(region);
        if let Some(session) = self.sessions.get(access_key) {
            let arn = format!("arn:{partition}:{}", session.arn);
            return Caller { account: session.account.clone(), region: region.to_owned(), arn };
        }
        let issued = access_key.strip_prefix("ASIA").and_then(|rest| rest.get(4..)).filter(|rest| is_account(rest));
        let account = match issued {
            Some(account) => account.to_owned(),
            None => self.scenario.access_keys.get(access_key).unwrap_or(&self.scenario.default_account).clone(),
        };
        let arn = match issued {
            Some(_) => format!("arn:{partition}:sts::{account}:assumed-role/simulated/forgotten"),
            None => format!("arn:{partition}:iam::{account}:user/simulated"),
        };
        Caller { account, region: region.to_owned(), arn }
    }

    /// One operation of STS. The answer is its result element's content.
    pub(super) fn security_token(
        &mut self,
        caller: Option<&Caller>,
        operation: &str,
        input: &Value,
        now: Time,
    ) -> Result<Value, Refusal> {
        let unsigned = || Refusal::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token");
        match operation {
            "GetCallerIdentity" => {
                let caller = caller.ok_or_else(unsigned)?;
                Ok(json!({"Arn": caller.arn, "UserId": "AIDASIMULATEDUSER0001", "Account": caller.account}))
            }
            "AssumeRole" => {
                let caller = caller.ok_or_else(unsigned)?;
                let role = member(input, "RoleArn")?;
                let wanted = self.faults.external_ids.get(role);
                if wanted.is_some_and(|id| input.get("ExternalId").and_then(Value::as_str) != Some(id)) {
                    let text = format!(
                        "User: {} is not authorized to perform: sts:AssumeRole on resource: {role}",
                        caller.arn
                    );
                    return Err(Refusal::new(403, "AccessDenied", text));
                }
                let session = member(input, "RoleSessionName")?;
                self.assume(role, session, input, now)
            }
            _ => {
                let role = member(input, "RoleArn")?;
                member(input, "WebIdentityToken")?;
                if let Some(denial) = self.faults.deny_web_identity {
                    return Err(web_identity_refusal(denial, now));
                }
                let session = input.get("RoleSessionName").and_then(Value::as_str).unwrap_or("web-identity");
                let mut answer = self.assume(role, session, input, now)?;
                answer["SubjectFromWebIdentityToken"] = "system:serviceaccount:default:default".into();
                answer["Audience"] = "sts.amazonaws.com".into();
                Ok(answer)
            }
        }
    }

    fn assume(&mut self, role: &str, session: &str, input: &Value, now: Time) -> Result<Value, Refusal> {
        let invalid = || Refusal::new(400, "ValidationError", format!("{role} is invalid"));
        let (head, name) = role.split_once(":role/").ok_or_else(invalid)?;
        let mut parts = head.split(':');
        let (arn, partition, service, region) = (parts.next(), parts.next(), parts.next(), parts.next());
        let account = parts.next().filter(|a| is_account(a) && parts.next().is_none()).ok_or_else(invalid)?;
        if arn != Some("arn") || service != Some("iam") || region != Some("") || name.is_empty() {
            return Err(invalid());
        }
        let partition = partition.unwrap_or("aws");
        // The session's ARN has the role's name without its path.
        let short = name.rsplit('/').next().unwrap_or(name);
        let lifetime = match input.get("DurationSeconds") {
            None => 3600,
            Some(text) => text
                .as_str()
                .and_then(|n| n.parse::<u64>().ok())
                .filter(|n| (900..=43_200).contains(n))
                .ok_or_else(|| Refusal::new(400, "ValidationError", "DurationSeconds must be from 900 to 43200"))?,
        };
        let key = format!("ASIA{}{account}", self.ids.upper(4));
        let identity = format!("sts::{account}:assumed-role/{short}/{session}");
        let answer = json!({
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": self.ids.lower(32),
                "SessionToken": format!("{}{}", self.ids.lower(32), self.ids.lower(32)),
                "Expiration": rfc3339(now.plus(Duration::from_secs(lifetime))).unwrap_or_default(),
            },
            "AssumedRoleUser": {
                "AssumedRoleId": format!("AROA{}:{session}", self.ids.upper(17)),
                "Arn": format!("arn:{partition}:{identity}"),
            },
        });
        self.sessions.insert(key, Session { account: account.to_owned(), arn: identity });
        Ok(answer)
    }
}

fn member<'a>(input: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    input.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(|| {
        let mut field = name.to_owned();
        field[..1].make_ascii_lowercase();
        let text = format!(
            "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
        );
        Refusal::new(400, "ValidationError", text)
    })
}

fn web_identity_refusal(denial: WebIdentityDenial, now: Time) -> Refusal {
    match denial {
        WebIdentityDenial::AccessDenied => {
            Refusal::new(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        }
        WebIdentityDenial::NoProvider => Refusal::new(
            400,
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://oidc.eks.eu-west-1.amazonaws.com/id/SIMULATED",
        ),
        WebIdentityDenial::WrongAudience => Refusal::new(400, "InvalidIdentityToken", "Incorrect token audience"),
        WebIdentityDenial::ExpiredToken => Refusal::new(
            400,
            "ExpiredTokenException",
            format!(
                "Token expired: current date/time {} must be before the expiration date/time {}",
                now.0 / 1000,
                now.0 / 1000 - 60
            ),
        ),
        WebIdentityDenial::Unreachable => Refusal::new(
            400,
            "IDPCommunicationError",
            "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements",
        ),
    }
}
