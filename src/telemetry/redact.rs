//! The last guard of the log: what looks like a secret is not written, whoever logged it.
//!
//! The plugin's own lines hold none. The SDK's and the HTTP libraries' may, at `debug` and `trace`: whole requests with their
//! headers and bodies, and at any level what AWS answered, which may quote a token.

use std::io::{self, Write};

const REDACTED: &str = "[redacted]";

/// Whatever follows one of these names is a secret, in headers, forms, XML and Rust's own notation.
const NAMES: [&str; 9] = [
    "authorization",
    "bearer",
    "x-amz-security-token",
    "x-aws-ec2-metadata-token",
    "secretaccesskey",
    "secret_access_key",
    "sessiontoken",
    "session_token",
    "webidentitytoken",
];

/// How secrets begin: JSON Web Tokens, session tokens of STS.
const BEGINNINGS: [&str; 3] = ["eyJ", "IQoJ", "FwoG"];

/// A run of so many characters that is in no ARN is base 64 of something that nobody can read anyway.
const OPAQUE: usize = 100;

/// Stderr, redacted. The formatter writes each event at once.
pub struct Redacting;

impl Write for Redacting {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(redact(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The text without secrets.
pub fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    // Of a header's name and the scheme in its value, both are names.
    let mut named = false;
    while let Some(start) = rest.find(in_secret) {
        let (between, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !in_secret(c)).unwrap_or(from.len()));
        clean.push_str(between);
        let is_name = is_name(run);
        clean.push_str(if (named && !is_name) || is_secret(run) { REDACTED } else { run });
        named = is_name;
        rest = after;
    }
    clean.push_str(rest);
    clean
}

fn in_secret(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/_.%~-".contains(c)
}

fn is_name(run: &str) -> bool {
    NAMES.iter().any(|name| run.eq_ignore_ascii_case(name))
}

fn is_secret(run: &str) -> bool {
    let begins = BEGINNINGS.iter().any(|beginning| run.len() > 20 && run.starts_with(beginning));
    let key_id = run.len() == 20
        && ["AKIA", "ASIA"].iter().any(|prefix| run.starts_with(prefix))
        && run.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let opaque = run.len() >= OPAQUE && !run.contains('.') && run.bytes().filter(|b| *b == b'-').count() < 3;
    begins || key_id || opaque
}
