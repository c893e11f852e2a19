//! What looks like a secret, and a text without it.
//!
//! Two texts are told apart. In our own words and AWS's only what cannot be anything else is a secret: a `token=` there is the
//! name of a start. In what strangers wrote, such as the log of a job, whatever is called a password, a token or a secret is
//! one, and so is what an address has before its `@`.

/// Stands where a secret was.
pub const REDACTED: &str = "[redacted]";

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

/// What a stranger's name for a secret ends with, in small letters and without its separators: `DB_PASSWORD`, `hf-token`.
const ENDINGS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "accountkey",
    "authorization",
];

/// What is no secret, whatever it is called.
const NOTHING: [&str; 6] = ["none", "null", "true", "false", "undefined", "[redacted"];

/// How secrets begin: JSON Web Tokens, session tokens of STS.
const BEGINNINGS: [&str; 3] = ["eyJ", "IQoJ", "FwoG"];

/// How the tokens begin that jobs are given for other services.
const FOREIGN_BEGINNINGS: [&str; 9] =
    ["hf_", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "sk-proj-"];

/// A run of so many characters that is in no ARN is base 64 of something that nobody can read anyway.
const OPAQUE: usize = 100;

/// In a stranger's text a mixed run is opaque from here on: a line of a private key has 64 characters.
const FOREIGN_OPAQUE: usize = 60;

/// An AWS secret access key has so many characters, and no name where it is printed alone.
const SECRET_KEY: usize = 40;

/// Our own text, or AWS's, without secrets.
pub fn masked(text: &str) -> String {
    // Of a header's name and the scheme in its value, both are names.
    let mut named = false;
    let mut in_arn = false;
    by_runs(text, |between, run, after| {
        in_arn = (in_arn && between.chars().all(|c| c == ':')) || (run == "arn" && after.starts_with(':'));
        let is_name = NAMES.iter().any(|name| run.eq_ignore_ascii_case(name));
        let secret = (named && !is_name && run != "redacted") || is_secret(run, in_arn);
        named = is_name;
        secret
    })
}

/// One line of a stranger's without secrets.
pub fn masked_line(line: &str) -> String {
    let line = without_values(&without_userinfo(line));
    masked(&by_runs(&line, |_, run, _| is_foreign_secret(run)))
}

/// The same of a text of several lines.
pub fn masked_lines(text: &str) -> String {
    text.split('\n').map(masked_line).collect::<Vec<_>>().join("\n")
}

/// The text with every run replaced that is a secret, by what is between it and the one before, itself, and what follows.
fn by_runs(text: &str, mut is_secret: impl FnMut(&str, &str, &str) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(in_run) {
        let (between, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !in_run(c)).unwrap_or(from.len()));
        clean.push_str(between);
        clean.push_str(if is_secret(between, run, after) { REDACTED } else { run });
        rest = after;
    }
    clean.push_str(rest);
    clean
}

fn in_run(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/_.%~-".contains(c)
}

fn is_secret(run: &str, in_arn: bool) -> bool {
    let begins = BEGINNINGS.iter().any(|beginning| run.len() > 20 && run.starts_with(beginning));
    let key_id = run.len() == 20
        && ["AKIA", "ASIA"].iter().any(|prefix| run.starts_with(prefix))
        && run.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let opaque = run.len() >= OPAQUE && !in_arn && !run.contains('.') && run.bytes().filter(|b| *b == b'-').count() < 3;
    begins || key_id || opaque
}

fn is_foreign_secret(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| run.as_bytes().iter().any(kind);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    let base64 = run.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    let few_slashes = run.bytes().filter(|b| *b == b'/').count() < 6;
    let begins = FOREIGN_BEGINNINGS.iter().any(|beginning| run.len() > 20 && run.starts_with(beginning));
    begins || (mixed && base64 && few_slashes && (run.len() == SECRET_KEY || run.len() >= FOREIGN_OPAQUE))
}

/// Addresses without what is before their `@`.
fn without_userinfo(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let ends = |c: char| c.is_whitespace() || "/?#<>\"'`".contains(c);
        let authority = after.get(..after.find(ends).unwrap_or(after.len())).unwrap_or_default();
        rest = match authority.rfind('@') {
            Some(at) => {
                clean.push_str(REDACTED);
                after.get(at..).unwrap_or_default()
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean
}

/// Assignments without their values where the name is a secret's: `name=value`, `"name": "value"`, `--name value`.
fn without_values(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(in_name) {
        let (between, from) = rest.split_at(start);
        let (name, after) = from.split_at(from.find(|c| !in_name(c)).unwrap_or(from.len()));
        clean.push_str(between);
        clean.push_str(name);
        rest = after;
        let prose = between.ends_with(' ') && !name.contains(['_', '-']);
        if let Some((sign, value)) = value_of(name, after, prose) {
            clean.push_str(sign);
            clean.push_str(REDACTED);
            rest = after.get(sign.len() + value.len()..).unwrap_or_default();
        }
    }
    clean.push_str(rest);
    clean
}

/// Whether a name is a secret's; `plain`: in small letters, without separators and without a number at its end.
fn is_called_secret(name: &str, plain: &str) -> bool {
    let whole = name.to_ascii_lowercase();
    let whole = whole.trim_end_matches(|c: char| c.is_ascii_digit());
    // `DB_PASS` is one, but neither is a forward_pass nor what tests pass.
    let variable = !name.contains(|c: char| c.is_ascii_lowercase());
    ENDINGS.iter().any(|ending| plain.ends_with(ending))
        || whole == "pwd"
        || whole.ends_with("_pwd")
        || (variable && whole.ends_with("_pass"))
}

/// What follows an option, as a shell has it or as a list of arguments is printed (`'--password', 'x'`); with its quote.
fn next_argument(after: &str, quotes: impl Fn(char) -> bool) -> &str {
    let bare = after.trim_start_matches(|c| quotes(c) || c == ' ' || c == ',');
    let quote =
        after.get(..after.len() - bare.len()).and_then(|before| before.chars().next_back()).filter(|c| quotes(*c));
    after.get(after.len() - bare.len() - quote.map_or(0, char::len_utf8)..).unwrap_or(bare)
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// What is between a secret's name and its value, and the value; nothing for a harmless name or value.
fn value_of<'a>(name: &str, after: &'a str, prose: bool) -> Option<(&'a str, &'a str)> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    // `password1` is the second of several.
    let plain = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    if !is_called_secret(name, plain) {
        return None;
    }
    let quotes = |c: char| "\"'`\\".contains(c);
    let signs = after.trim_start_matches(|c| quotes(c) || c == ' ');
    let value = match signs.starts_with(['=', ':']) {
        true => signs.trim_start_matches(['=', ':', '>']).trim_start_matches(' '),
        false if name.starts_with("--") => next_argument(after, quotes),
        false => return None,
    };
    // The shell's variable is the working directory.
    if plain == "pwd" && (!signs.starts_with('=') || value.trim_start_matches(quotes).starts_with(['/', '.', '~'])) {
        return None;
    }
    let bare = value.trim_start_matches(quotes);
    let quote = value.chars().next().filter(|c| quotes(*c));
    let header = plain.ends_with("authorization");
    let ends = |c: char| match quote {
        Some(_) => quotes(c),
        None if header => quotes(c),
        None => c.is_whitespace() || ",;&)}]>\"'".contains(c),
    };
    let value = bare.get(..bare.find(ends).unwrap_or(bare.len()))?;
    let harmless = value.is_empty() || NOTHING.iter().any(|word| value.eq_ignore_ascii_case(word));
    // `Unexpected token: expected a comma` is about no secret.
    let words = plain == "token" && prose && value.len() < 16 && value.chars().all(|c| !c.is_ascii_digit());
    let sign = after.get(..after.len() - bare.len())?;
    (!harmless && !words).then_some((sign, value))
}
