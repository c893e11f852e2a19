//! What a service account token says of itself: decoded for a diagnosis, never verified, never printed.
//!
//! The payload of a projected token (Kubernetes, "Service account tokens"): `iss`, `sub`, `aud` as a list, `iat` and `exp`
//! in seconds since 1970.

use std::{fmt, fs, io, path::Path};

use crate::{pipelines::Time, text::rfc3339};
use serde::{Deserialize, Deserializer};

/// The claims of a token that matter to STS. The token itself is not kept, so this may be logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// The cluster's OIDC issuer, `https://…`.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// `system:serviceaccount:<namespace>:<name>`.
    #[serde(rename = "sub")]
    pub subject: String,
    #[serde(rename = "aud", deserialize_with = "one_or_many")]
    pub audiences: Vec<String>,
    #[serde(rename = "exp", deserialize_with = "seconds")]
    pub expires: Option<Time>,
    #[serde(rename = "iat", deserialize_with = "seconds")]
    pub issued: Option<Time>,
}

/// Why there are no claims.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read the token file: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the token file does not hold a JSON Web Token")]
    NotAToken,
}

impl Claims {
    /// The claims of a token; nothing when it is no JSON Web Token.
    pub fn decode(token: &str) -> Option<Self> {
        let mut parts = token.trim().split('.');
        let (_, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if signature.is_empty() || parts.next().is_some() {
            return None;
        }
        let payload = payload.replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - payload.len() % 4) % 4);
        let json = aws_smithy_types::base64::decode(payload + &padding).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// The claims of the token in this file.
    pub fn read(file: &Path) -> Result<Self, TokenError> {
        Self::decode(&fs::read_to_string(file)?).ok_or(TokenError::NotAToken)
    }

    /// The issuer as IAM names it in an OIDC provider's ARN and in condition keys: without `https://`.
    pub fn provider(&self) -> &str {
        self.issuer.trim_start_matches("https://").trim_end_matches('/')
    }

    /// Namespace and name of the service account.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.subject.strip_prefix("system:serviceaccount:")?.split_once(':')
    }
}

/// For the log: who the token is about, for whom and until when.
impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expires = self.expires.and_then(rfc3339).unwrap_or_else(|| "never".to_owned());
        write!(f, "iss={} sub={} aud={} exp={expires}", self.issuer, self.subject, self.audiences.join(","))
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(given: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(given)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

fn seconds<'de, D: Deserializer<'de>>(given: D) -> Result<Option<Time>, D::Error> {
    // RFC 7519 allows a fraction.
    Ok(Option::<f64>::deserialize(given)?.map(|seconds| Time::at((seconds * 1000.0) as i64)))
}
