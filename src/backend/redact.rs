//! Texts of AWS's and of the SDK's, fit to be shown: they may quote credentials, and whole policies.

use crate::text::ellipsize;

/// Longest text that is kept, bytes; some denials quote whole policies.
const MESSAGE_LIMIT: usize = 600;

/// One line of printable text, at most 600 bytes, without anything that looks like a secret. Runs of blanks become one.
pub fn redacted(text: &str) -> String {
    redacted_within(text, MESSAGE_LIMIT)
}

/// The same within another limit, bytes.
pub fn redacted_within(text: &str, limit: usize) -> String {
    // A signature mismatch quotes the request's headers, session token included.
    let text = text.split("The Canonical String").next().unwrap_or_default();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.map(|word| if secret(word) { "[redacted]" } else { word }).collect::<Vec<_>>().join(" ");
    ellipsize(&line, limit)
}

/// Key ids, JWTs and long runs of base 64 that are no ARN's.
fn secret(word: &str) -> bool {
    word.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=_-.".contains(c))).any(|run| {
        let key_id = run.len() == 20
            && ["AKIA", "ASIA"].iter().any(|prefix| run.starts_with(prefix))
            && run.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let jwt = run.starts_with("eyJ") && run.len() > 20;
        let opaque = run.len() >= 100
            && !word.contains("arn:aws")
            && !run.contains('.')
            && run.bytes().filter(|b| *b == b'-').count() < 3;
        key_id || jwt || opaque
    })
}
