//! Texts of AWS's and of the SDK's, fit to be shown: they may quote credentials, and whole policies.

use crate::{secrets::masked, text::ellipsize};

/// Longest text that is kept, bytes; some denials quote whole policies.
const MESSAGE_LIMIT: usize = 600;

/// One line of printable text, at most 600 bytes, without anything that looks like a secret. Runs of blanks become one.
pub fn redacted(text: &str) -> String {
    redacted_within(text, MESSAGE_LIMIT)
}

/// The same within another limit, bytes.
pub fn redacted_within(text: &str, limit: usize) -> String {
    // A signature mismatch quotes the request's headers, session token included.
    let text = masked(text.split("The Canonical String").next().unwrap_or_default());
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    ellipsize(&words.collect::<Vec<_>>().join(" "), limit)
}
