//! The simulated STS: who a key is, and temporary keys of other accounts.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    arn::partition,
    book::{Book, Caller},
    faults::WebIdentityDenial,
    iam,
    refusal::Refusal,
    scenario::is_account,
};
use crate::{pipelines::Time, text::rfc3339};

/// The longest session of a role that another role's credentials assume (IAM User Guide, "role chaining").
const LONGEST_CHAINED: u64 = 3600;

/// A role that was assumed, by the access key that was given for it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    account: String,
    /// The identity's ARN without its partition: `sts::<account>:assumed-role/<role>/<session>`.
    arn: String,
    /// The role itself, path included.
    role: String,
    expires: Time,
}

impl Book {
    /// The caller that an access key id stands for. Keys given by this STS end in their account, so they are understood
    /// even after a reset; all other keys belong to the scenario's accounts.
    pub fn caller(&self, access_key: &str, region: &str) -> Caller {
        let partition = partition(region);
        if let Some(session) = self.sessions.get(access_key) {
            let arn = format!("arn:{partition}:{}", session.arn);
            return Caller {
                account: session.account.clone(),
                region: region.to_owned(),
                arn,
                role: Some(session.role.clone()),
                expires: Some(session.expires),
            };
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
        Caller { account, region: region.to_owned(), arn, role: None, expires: None }
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
        if caller.is_some_and(|caller| caller.is_expired(now)) {
            return Err(Refusal::new(403, "ExpiredToken", "The security token included in the request is expired"));
        }
        match operation {
            "GetCallerIdentity" => {
                let caller = caller.ok_or_else(unsigned)?;
                Ok(json!({"Arn": caller.arn, "UserId": "AIDASIMULATEDUSER0001", "Account": caller.account}))
            }
            "AssumeRole" => {
                let caller = caller.ok_or_else(unsigned)?;
                let role = member(input, "RoleArn")?;
                iam_role(role)?;
                let session = member(input, "RoleSessionName")?;
                let external_id = input.get("ExternalId").and_then(Value::as_str);
                let wanted = self.faults.external_ids.get(role);
                if wanted.is_some_and(|id| external_id != Some(id)) {
                    let text = format!(
                        "User: {} is not authorized to perform: sts:AssumeRole on resource: {role}",
                        caller.arn
                    );
                    return Err(Refusal::new(403, "AccessDenied", text));
                }
                if let Some(iam) = &self.iam {
                    iam.assume_role(caller, role, session, external_id)?;
                }
                self.assume(role, session, input, caller.role.is_some(), now)
            }
            _ => {
                let role = member(input, "RoleArn")?;
                let token = member(input, "WebIdentityToken")?;
                if let Some(denial) = self.faults.deny_web_identity {
                    return Err(web_identity_refusal(denial, now));
                }
                iam_role(role).map_err(|_| Refusal::new(400, "ValidationError", "Request ARN is invalid"))?;
                let bearer = self.iam.as_ref().map(|iam| iam.web_identity(role, token, now)).transpose()?;
                let session = input.get("RoleSessionName").and_then(Value::as_str).unwrap_or("web-identity");
                let mut answer = self.assume(role, session, input, false, now)?;
                let (subject, audience) = match bearer {
                    Some(bearer) => {
                        answer["Provider"] = bearer.provider.into();
                        (bearer.subject, bearer.audience)
                    }
                    None => ("system:serviceaccount:default:default".to_owned(), "sts.amazonaws.com".to_owned()),
                };
                answer["SubjectFromWebIdentityToken"] = subject.into();
                answer["Audience"] = audience.into();
                Ok(answer)
            }
        }
    }

    fn assume(&mut self, role: &str, session: &str, input: &Value, chained: bool, now: Time) -> Result<Value, Refusal> {
        let (account, name) = iam_role(role)?;
        let partition = role.split(':').nth(1).unwrap_or("aws");
        // The session's ARN has the role's name without its path.
        let short = name.rsplit('/').next().unwrap_or(name);
        let longest = self.iam.as_ref().map_or(43_200, |iam| iam.longest_session(role));
        let asked = duration(input)?;
        if chained && asked > LONGEST_CHAINED {
            let text =
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
            return Err(Refusal::new(400, "ValidationError", text));
        }
        if asked > longest {
            let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
            return Err(Refusal::new(400, "ValidationError", text));
        }
        let lifetime = match self.faults.session_seconds {
            Some(seconds) => Duration::from_secs_f64(seconds),
            None => Duration::from_secs(asked),
        };
        let expires = now.plus(lifetime);
        let key = format!("ASIA{}{account}", self.ids.upper(4));
        let identity = format!("sts::{account}:assumed-role/{short}/{session}");
        let answer = json!({
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": self.ids.lower(32),
                "SessionToken": format!("{}{}", self.ids.lower(32), self.ids.lower(32)),
                "Expiration": rfc3339(expires).unwrap_or_default(),
            },
            "AssumedRoleUser": {
                "AssumedRoleId": format!("AROA{}:{session}", self.ids.upper(17)),
                "Arn": format!("arn:{partition}:{identity}"),
            },
        });
        self.sessions
            .insert(key, Session { account: account.to_owned(), arn: identity, role: role.to_owned(), expires });
        Ok(answer)
    }
}

/// Account and name, path included, of a role's ARN.
fn iam_role(arn: &str) -> Result<(&str, &str), Refusal> {
    iam::parts(arn, "role/")
        .filter(|(account, _)| is_account(account))
        .ok_or_else(|| Refusal::new(400, "ValidationError", format!("{arn} is invalid")))
}

fn duration(input: &Value) -> Result<u64, Refusal> {
    let Some(text) = input.get("DurationSeconds") else { return Ok(3600) };
    text.as_str()
        .and_then(|n| n.parse::<u64>().ok())
        .filter(|n| (900..=43_200).contains(n))
        .ok_or_else(|| Refusal::new(400, "ValidationError", "DurationSeconds must be from 900 to 43200"))
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
                now.millis() / 1000,
                now.millis() / 1000 - 60
            ),
        ),
        WebIdentityDenial::Unreachable => Refusal::new(
            400,
            "IDPCommunicationError",
            "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements",
        ),
    }
}
