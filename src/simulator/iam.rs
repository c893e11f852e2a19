//! Roles and OIDC providers of the simulated accounts: who may become whom, and what a role may do.
//!
//! Where a scenario has no `iam`, every role can be assumed and may do everything. Where it has, a role that is not in it
//! does not exist, and STS says so as the real one does: by the same denial as for a trust policy that does not match.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    book::Caller,
    policy::{Asked, Policy, Verdict},
    refusal::Refusal,
    scenario::is_account,
};
use crate::{backend::token::Claims, pipelines::Time};

/// What IAM knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Iam {
    /// By ARN: `arn:aws:iam::<account>:oidc-provider/<issuer without https://>`.
    pub oidc_providers: BTreeMap<String, OidcProvider>,
    /// By ARN.
    pub roles: BTreeMap<String, Role>,
}

/// An identity provider of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcProvider {
    /// The audiences that it takes.
    pub client_ids: Vec<String>,
    /// Whether its keys can be fetched.
    #[serde(default = "yes")]
    pub reachable: bool,
}

fn yes() -> bool {
    true
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    pub trust: Policy,
    /// Its permission policies; absent: it may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<Policy>>,
    #[serde(default = "an_hour")]
    pub max_session_seconds: u64,
}

fn an_hour() -> u64 {
    3600
}

/// What AssumeRoleWithWebIdentity found in the token.
pub(super) struct Bearer {
    pub subject: String,
    pub audience: String,
    /// Its provider's ARN.
    pub provider: String,
}

impl Iam {
    /// A sentence when something in it cannot be meant.
    pub fn check(&self) -> Result<(), String> {
        for (arn, provider) in &self.oidc_providers {
            let (account, host) = parts(arn, "oidc-provider/").ok_or_else(|| {
                format!("oidc_providers: {arn:?} is not arn:aws:iam::<account>:oidc-provider/<issuer without https://>")
            })?;
            if !is_account(account) || host.contains("://") || provider.client_ids.is_empty() {
                return Err(format!(
                    "oidc_providers: {arn:?} needs an account, an issuer without https:// and client_ids"
                ));
            }
        }
        for (arn, role) in &self.roles {
            if !parts(arn, "role/").is_some_and(|(account, _)| is_account(account)) {
                return Err(format!("roles: {arn:?} is not arn:aws:iam::<account>:role/<name>"));
            }
            role.trust.check(true).map_err(|e| format!("roles: trust of {arn}: {e}"))?;
            for policy in role.policies.iter().flatten() {
                policy.check(false).map_err(|e| format!("roles: policies of {arn}: {e}"))?;
            }
        }
        Ok(())
    }

    /// With a patch: each provider and role that it names is replaced member by member (a policy always whole, as IAM's
    /// own calls do), `null` takes one away.
    pub fn patched(&self, patch: &Value) -> Result<Self, String> {
        let Value::Object(sections) = patch else {
            return Err("the body must be a JSON object, e.g. {\"roles\": {\"arn:aws:iam::…:role/r\": {…}}}".to_owned());
        };
        let mut document = serde_json::to_value(self).map_err(|e| e.to_string())?;
        for (section, changes) in sections {
            let (Some(entries), Value::Object(changes)) =
                (document.get_mut(section).and_then(Value::as_object_mut), changes)
            else {
                return Err(format!("{section:?}: only objects oidc_providers and roles can be changed"));
            };
            changes.iter().for_each(|(arn, change)| replace(entries, arn, change));
        }
        let patched: Self = serde_json::from_value(document).map_err(|e| e.to_string())?;
        patched.check()?;
        Ok(patched)
    }

    /// Judges a web identity token for a role of this ARN, in the order in which STS does.
    pub(super) fn web_identity(&self, role_arn: &str, token: &str, now: Time) -> Result<Bearer, Refusal> {
        let invalid = |text: &str| Refusal::new(400, "InvalidIdentityToken", text);
        let claims = Claims::decode(token).ok_or_else(|| {
            invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
        })?;
        let account = parts(role_arn, "role/").map(|(account, _)| account).unwrap_or_default();
        let partition = role_arn.split(':').nth(1).unwrap_or("aws");
        let provider_arn = format!("arn:{partition}:iam::{account}:oidc-provider/{}", claims.provider());
        let Some(provider) = self.oidc_providers.get(&provider_arn) else {
            let issuer = &claims.issuer;
            return Err(invalid(&format!("No OpenIDConnect provider found in your account for {issuer}")));
        };
        let Some(audience) = claims.audiences.iter().find(|aud| provider.client_ids.contains(aud)) else {
            return Err(invalid("Incorrect token audience"));
        };
        if let Some(expires) = claims.expires.filter(|expires| *expires <= now) {
            let (now, expires) = (now.millis() / 1000, expires.millis() / 1000);
            let text =
                format!("Token expired: current date/time {now} must be before the expiration date/time {expires}");
            return Err(Refusal::new(400, "ExpiredTokenException", text));
        }
        if !provider.reachable {
            let text = "Couldn't retrieve verification key from your identity provider, please reference \
                        AssumeRoleWithWebIdentity documentation for requirements";
            return Err(Refusal::new(400, "IDPCommunicationError", text));
        }
        let host = claims.provider();
        let context =
            [(format!("{host}:aud"), vec![audience.clone()]), (format!("{host}:sub"), vec![claims.subject.clone()])];
        let asked = Asked {
            action: "sts:AssumeRoleWithWebIdentity",
            resource: None,
            principals: &[("Federated", provider_arn.clone())],
            context: &context,
        };
        let trusted = self.roles.get(role_arn).map(|role| role.trust.verdict(&asked));
        if trusted != Some(Verdict::Allowed) {
            let text = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
            return Err(Refusal::new(403, "AccessDenied", text));
        }
        Ok(Bearer { audience: audience.clone(), subject: claims.subject, provider: provider_arn })
    }

    /// Judges AssumeRole: the role must trust the caller, and the caller's own role must allow it unless the trust policy
    /// of the same account names it directly.
    pub(super) fn assume_role(
        &self,
        caller: &Caller,
        role_arn: &str,
        session: &str,
        external_id: Option<&str>,
    ) -> Result<(), Refusal> {
        let denied = || {
            let text =
                format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {role_arn}", caller.arn);
            Refusal::new(403, "AccessDenied", text)
        };
        let role = self.roles.get(role_arn).ok_or_else(denied)?;
        let partition = role_arn.split(':').nth(1).unwrap_or("aws");
        let own = caller.role.clone().unwrap_or_else(|| caller.arn.clone());
        let by_name = [("AWS", own.clone()), ("AWS", caller.arn.clone())];
        let by_account =
            [("AWS", caller.account.clone()), ("AWS", format!("arn:{partition}:iam::{}:root", caller.account))];
        let mut context = vec![
            ("sts:RoleSessionName".to_owned(), vec![session.to_owned()]),
            ("aws:PrincipalArn".to_owned(), vec![own]),
            ("aws:PrincipalAccount".to_owned(), vec![caller.account.clone()]),
        ];
        context.extend(external_id.map(|id| ("sts:ExternalId".to_owned(), vec![id.to_owned()])));
        let trusts = |principals: &[(&str, String)]| {
            let asked = Asked { action: "sts:AssumeRole", resource: None, principals, context: &context };
            role.trust.verdict(&asked)
        };
        let same_account = parts(role_arn, "role/").is_some_and(|(account, _)| account == caller.account);
        match (trusts(&by_name), trusts(&by_account)) {
            (Verdict::Denied, _) | (_, Verdict::Denied) | (Verdict::Silent, Verdict::Silent) => return Err(denied()),
            (Verdict::Allowed, _) if same_account => {}
            _ if !self.permits(caller, "sts:AssumeRole", role_arn, &[]) => return Err(denied()),
            _ => {}
        }
        Ok(())
    }

    /// Whether the caller's role may do this. Callers that are no known role may do everything.
    pub(super) fn permits(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        context: &[(String, Vec<String>)],
    ) -> bool {
        let role = caller.role.as_ref().and_then(|arn| self.roles.get(arn));
        let Some(policies) = role.and_then(|role| role.policies.as_ref()) else { return true };
        let asked = Asked { action, resource: Some(resource), principals: &[], context };
        let verdicts: Vec<Verdict> = policies.iter().map(|policy| policy.verdict(&asked)).collect();
        verdicts.contains(&Verdict::Allowed) && !verdicts.contains(&Verdict::Denied)
    }

    /// The longest session that the role allows.
    pub(super) fn longest_session(&self, role_arn: &str) -> u64 {
        self.roles.get(role_arn).map_or_else(an_hour, |role| role.max_session_seconds)
    }
}

/// Account and name of an IAM ARN whose resource begins so.
pub(super) fn parts<'a>(arn: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    let mut words = arn.splitn(6, ':');
    let (head, partition, service, region) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (account, name) = (words.next()?, words.next()?.strip_prefix(kind)?);
    let whole = head == "arn" && partition.starts_with("aws") && service == "iam" && region.is_empty();
    (whole && !name.is_empty()).then_some((account, name))
}

fn replace(entries: &mut Map<String, Value>, arn: &str, change: &Value) {
    match (entries.get_mut(arn), change) {
        (_, Value::Null) => {
            entries.shift_remove(arn);
        }
        (Some(Value::Object(entry)), Value::Object(members)) => {
            for (name, value) in members {
                if value.is_null() {
                    entry.shift_remove(name);
                } else {
                    entry.insert(name.clone(), value.clone());
                }
            }
        }
        _ => {
            entries.insert(arn.to_owned(), change.clone());
        }
    }
}
