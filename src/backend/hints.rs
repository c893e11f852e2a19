//! What to mend when STS refuses: one function per cause, the fullest wording first.
//!
//! Codes: the AWS STS API's AssumeRoleWithWebIdentity, "Errors"; texts: what STS is seen to answer in AWS's own guide to IRSA
//! troubles. STS never says which condition of a trust policy failed, so the hint names both sides of it.

use super::token::Claims;
use crate::pipelines::Time;

/// Clocks that differ by less are not the cause of anything (STS itself allows minutes).
const CLOCKS_AGREE_MS: u64 = 60_000;

/// Which of the two calls of STS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    WebIdentity,
    AssumeRole,
}

impl Hop {
    /// How the sentence names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebIdentity => "WebIdentityErr",
            Self::AssumeRole => "AssumeRoleErr",
        }
    }
}

/// All that is known when STS has refused.
pub struct Refused<'a> {
    pub hop: Hop,
    pub code: &'a str,
    pub message: &'a str,
    pub role: Option<&'a str>,
    pub region: &'a str,
    /// What the pod's token says, if it can be read.
    pub claims: Option<&'a Claims>,
    /// The clock of STS, from its answer.
    pub server_time: Option<Time>,
    pub local_time: Time,
}

/// What to do about it, fullest first; nothing where nobody can do anything.
pub fn hints(refused: &Refused<'_>) -> Vec<String> {
    match (refused.hop, refused.code) {
        (Hop::WebIdentity, "AccessDenied" | "AccessDeniedException") => refused.trust_policy(),
        (Hop::AssumeRole, "AccessDenied" | "AccessDeniedException") => refused.assumed_role(),
        (_, "InvalidIdentityToken" | "IDPCommunicationError") => refused.identity_token(),
        (_, "ExpiredTokenException" | "ExpiredToken") => refused.expired(),
        (_, "IDPRejectedClaim") => vec![
            "the cluster's issuer has withdrawn the token: delete the pod, the next one gets a new token".to_owned(),
        ],
        (_, "RegionDisabledException") => {
            vec![format!("activate STS in {} (IAM console, account settings)", refused.region)]
        }
        (Hop::WebIdentity, "ValidationError") => vec![
            format!("mend the service account's annotation eks.amazonaws.com/role-arn, now {}", refused.arn()),
            "mend the service account's annotation eks.amazonaws.com/role-arn".to_owned(),
        ],
        (Hop::AssumeRole, "ValidationError") => vec![format!("mend role_arn {} or external_id", refused.arn())],
        _ => Vec::new(),
    }
}

impl Refused<'_> {
    fn arn(&self) -> &str {
        self.role.unwrap_or("in the pod's configuration")
    }

    /// The role's name without its account, for when the ARN is too long.
    fn name(&self) -> &str {
        self.arn().rsplit('/').next().unwrap_or_default()
    }

    fn account(&self) -> &str {
        self.role.and_then(|arn| arn.split(':').nth(4)).unwrap_or("of the role")
    }

    fn issuer(&self) -> &str {
        self.claims.map(Claims::provider).filter(|issuer| !issuer.is_empty()).unwrap_or("this cluster")
    }

    fn trust_policy(&self) -> Vec<String> {
        let (arn, name) = (self.arn(), self.name());
        let Some(claims) = self.claims.filter(|claims| !claims.subject.is_empty()) else {
            return vec![
                format!(
                    "the trust policy of role {arn} must allow sts:AssumeRoleWithWebIdentity to the pod's service account"
                ),
                format!("the trust policy of role {arn} must allow the pod's service account"),
                format!("the trust policy of role {name} must allow the pod's service account"),
            ];
        };
        let (sub, issuer) = (&claims.subject, claims.provider());
        let mut hints = vec![
            format!(
                "the trust policy of role {arn} (if it exists) must allow sts:AssumeRoleWithWebIdentity to {sub} of {issuer}"
            ),
            format!("the trust policy of role {arn} must allow {sub} of {issuer}"),
            format!("the trust policy of role {arn} must allow {sub}"),
            format!("the trust policy of role {name} must allow {sub}"),
        ];
        if let Some((namespace, account)) = claims.service_account() {
            hints.push(format!("the trust policy of role {name} must allow service account {namespace}/{account}"));
            hints.push(format!("the trust policy of role {name} must allow {namespace}/{account}"));
        }
        hints.push(format!("the trust policy of the pod's role must allow {sub}"));
        hints
    }

    /// AWS's text names the caller: `User: <ARN> is not authorized to perform: sts:AssumeRole on resource: …`.
    fn assumed_role(&self) -> Vec<String> {
        let (arn, name) = (self.arn(), self.name());
        let caller = self.message.strip_prefix("User: ").and_then(|rest| rest.split_whitespace().next());
        let caller = caller.unwrap_or("the pod's role");
        // A session's name follows its role's.
        let short = caller.split(":assumed-role/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or(caller);
        vec![
            format!("role {arn} must trust {caller} (and its external id match), which needs sts:AssumeRole on it"),
            format!("role {arn} must trust role {short} (and its external id match), which needs sts:AssumeRole on it"),
            format!(
                "role {name} must trust role {short} (and its external id match), which needs sts:AssumeRole on it"
            ),
            "the role must trust the pod's role (and its external id match), which needs sts:AssumeRole on it"
                .to_owned(),
        ]
    }

    fn identity_token(&self) -> Vec<String> {
        let (issuer, account) = (self.issuer(), self.account());
        let about = |word: &str| self.message.contains(word);
        if about("No OpenIDConnect provider") {
            return vec![
                format!(
                    "account {account} has no IAM OIDC provider for {issuer}: create it there, with client id sts.amazonaws.com"
                ),
                format!("account {account} has no IAM OIDC provider for {issuer}: create it there"),
                format!("account {account} has no IAM OIDC provider for this cluster: create it there"),
            ];
        }
        if about("audience") {
            let audience = self.claims.and_then(|claims| claims.audiences.first()).map_or("sts.amazonaws.com", |a| a);
            let mut hints = vec![format!(
                "add the token's audience {audience} to the client ids of the IAM OIDC provider for {issuer} in account {account}"
            )];
            if audience != "sts.amazonaws.com" {
                hints.push(format!(
                    "the token's audience is {audience}: set the annotation eks.amazonaws.com/audience to sts.amazonaws.com"
                ));
            }
            hints.push(format!("add the audience {audience} to the IAM OIDC provider in account {account}"));
            return hints;
        }
        if about("thumbprint") || about("certificate") {
            return vec![
                format!("update the thumbprint of the IAM OIDC provider for {issuer} in account {account}"),
                format!("update the thumbprint of the cluster's IAM OIDC provider in account {account}"),
            ];
        }
        if about("verification key") {
            return vec![
                format!("STS cannot fetch the verification keys of {issuer}; this passes, unless it is not public"),
                "STS cannot fetch the cluster's verification keys; this passes, unless its issuer is not public"
                    .to_owned(),
            ];
        }
        if about("valid JWT") {
            return vec!["AWS_WEB_IDENTITY_TOKEN_FILE names a file that holds no service account token".to_owned()];
        }
        vec![format!("check the pod's projected token and the IAM OIDC provider for {issuer}")]
    }

    /// A token that is old by our own clock is a stale copy; one that is not is old by AWS's clock only.
    fn expired(&self) -> Vec<String> {
        let expires = self.claims.and_then(|claims| claims.expires);
        let stale = expires.is_some_and(|expires| expires <= self.local_time);
        if !stale && let Some((apart, side)) = self.server_time.and_then(|server| self.skew(server)) {
            return vec![
                format!(
                    "the token is good by the node's clock, which is {apart} s {side} AWS's: mend the node's clock (NTP)"
                ),
                format!("the node's clock is {apart} s {side} AWS's: mend it (NTP)"),
            ];
        }
        vec![
            "the pod's web identity token has expired: the kubelet no longer refreshes the token volume, delete the pod; \
             else check the node's clock"
                .to_owned(),
            "the pod's web identity token has expired: delete the pod, or check the node's clock".to_owned(),
        ]
    }

    fn skew(&self, server: Time) -> Option<(u64, &'static str)> {
        let apart = server.millis().abs_diff(self.local_time.millis());
        let side = if server > self.local_time { "behind" } else { "ahead of" };
        (apart >= CLOCKS_AGREE_MS).then_some((apart / 1000, side))
    }
}
