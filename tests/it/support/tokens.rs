//! Service account tokens as the kubelet projects them, with a signature that is nonsense.

use awf_aws::pipelines::Time;
use serde_json::{Value, json};

pub const ISSUER: &str = "oidc.eks.us-west-2.amazonaws.com/id/A8242F25BFBB8F98F5321B2AE63C8B5C";
pub const SUBJECT: &str = "system:serviceaccount:argo:awf-aws-executor-plugin";
pub const AUDIENCE: &str = "sts.amazonaws.com";

/// A token of these claims.
pub fn token_of(claims: &Value) -> String {
    let part = |text: &str| {
        aws_smithy_types::base64::encode(text).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
    };
    format!("{}.{}.c2lnbmF0dXJl", part(r#"{"alg":"RS256","typ":"JWT"}"#), part(&claims.to_string()))
}

/// The usual claims, a day long until `expires`.
pub fn claims(expires: Time) -> Value {
    let seconds = expires.millis() / 1000;
    json!({
        "aud": [AUDIENCE],
        "exp": seconds,
        "iat": seconds - 86_400,
        "iss": format!("https://{ISSUER}"),
        "kubernetes.io": {"namespace": "argo", "serviceaccount": {"name": "awf-aws-executor-plugin"}},
        "nbf": seconds - 86_400,
        "sub": SUBJECT,
    })
}

/// The seed's trust policy, for a provider in this account.
pub fn trust_policy(account: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": provider(account)},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {format!("{ISSUER}:aud"): AUDIENCE, format!("{ISSUER}:sub"): SUBJECT}},
    }]})
}

/// The ARN of the cluster's provider in this account.
pub fn provider(account: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/{ISSUER}")
}
