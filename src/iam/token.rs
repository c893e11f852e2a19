//! What a web identity token says of itself. Its signature is not checked: this is for a diagnosis, STS is the judge.

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use crate::pipelines::Time;

/// The claims that a trust policy is about. Nothing else of a token is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// With `https://`.
    pub iss: String,
    pub sub: String,
    pub aud: Vec<String>,
    pub exp: Option<Time>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audience,
    exp: Option<f64>,
}

/// A list, or one text where there is only one (RFC 7519, 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    All(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

/// Whoever wrote the token, its padding is none of our business.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Claims {
    /// Reads a JWT; nothing when it is none.
    pub fn of_jwt(token: &str) -> Option<Self> {
        let mut parts = token.trim().split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let json = BASE64.decode(payload).ok()?;
        let Payload { iss, sub, aud, exp } = serde_json::from_slice(&json).ok()?;
        let aud = match aud {
            Audience::One(aud) => vec![aud],
            Audience::All(all) => all,
        };
        // Seconds since the epoch, a fraction allowed; the cast saturates.
        Some(Self { iss, sub, aud, exp: exp.map(|seconds| Time((seconds * 1000.0) as i64)) })
    }
}
