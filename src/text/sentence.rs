//! A failure's sentence, made to fit: shortened from the middle, so that what identifies it and what to do survive.
//!
//! ```text
//! failed to describe amazon sagemaker pipeline: WebIdentityErr: failed to retrieve credentials caused by: ← the way
//! AccessDenied                                                                                            ← the code
//! : Not authorized to perform sts:AssumeRoleWithWebIdentity                                               ← AWS's words
//!  status code: 403, request id: a3ead691-6855-45ed-aa48-b3714ddcff1f                                     ← the proof
//! ; the trust policy of role … must allow …                                                               ← the hint
//! ```
//!
//! The way gives up its inner parts first, then AWS's words go, then the hint's end. Code and request id stay.

use super::{ELLIPSIS, ellipsize as cut};

/// Between the way and the cause.
const CAUSED_BY: &str = "caused by: ";
const STATUS: &str = " status code: ";
const REQUEST: &str = ", request id: ";
/// A rest of a hint that is shorter says nothing.
const LEAST_HINT: usize = 24;

/// A sentence taken apart; every part is as it was.
struct Parts<'a> {
    /// Up to and including [`CAUSED_BY`].
    way: &'a str,
    code: &'a str,
    words: &'a str,
    proof: &'a str,
    hint: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (way, cause) = text.split_at(text.find(CAUSED_BY)? + CAUSED_BY.len());
        let (before, proof, hint) = match cause.find(STATUS) {
            Some(at) => {
                let (before, rest) = cause.split_at(at);
                let id = rest.find(REQUEST).map_or(STATUS.len(), |found| found + REQUEST.len());
                let end = rest.get(id..)?.find([';', ' ']).map_or(rest.len(), |found| id + found);
                let (proof, hint) = rest.split_at(end);
                (before, proof, hint)
            }
            None => {
                let (before, hint) = cause.split_at(cause.find("; ").unwrap_or(cause.len()));
                (before, "", hint)
            }
        };
        // A code is one word; without an answer of AWS's there is none, and the words are the cause.
        let (code, words) = match before.split_once(": ") {
            Some((code, _)) if !proof.is_empty() => before.split_at(code.len()),
            _ => (before, ""),
        };
        Some(Self { way, code, words, proof, hint })
    }

    /// Shorter and shorter ways: all but the last part; then without the first, and so on.
    fn ways(&self) -> Vec<String> {
        let mut named: Vec<&str> = self.way.trim_end_matches(CAUSED_BY).split(": ").collect();
        named.pop();
        let mut ways = Vec::new();
        while !named.is_empty() {
            ways.push(format!("{}: {ELLIPSIS} ", named.join(": ")));
            named.remove(0);
        }
        ways
    }

    /// The best that fits with this hint.
    fn with(&self, hint: &str, max: usize) -> Option<String> {
        let dropped = if self.words.is_empty() { "" } else { " …" };
        let shorter = self.ways().into_iter().flat_map(|way| [(way.clone(), self.words), (way, dropped)]);
        std::iter::once((self.way.to_owned(), self.words)).chain(shorter).find_map(|(way, words)| {
            let text = format!("{way}{}{words}{}{hint}", self.code, self.proof);
            (text.len() <= max).then_some(text)
        })
    }
}

/// The text within `max` bytes. Any other text than a failure's is cut at its end.
pub fn shorten(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let Some(parts) = Parts::of(text) else { return cut(text, max) };
    if let Some(fits) = parts.with(parts.hint, max) {
        return fits;
    }
    let core = format!("{}{}", parts.code, parts.proof);
    match max.checked_sub(core.len()) {
        Some(room) if room >= LEAST_HINT => format!("{core}{}", cut(parts.hint, room)),
        Some(_) => core,
        None => cut(&core, max),
    }
}

/// A failure's sentence with the fullest of these hints that leaves room for where it happened; the last one is cut if need be.
pub fn fitting(failure: &str, hints: &[String], max: usize) -> String {
    let whole = |hint: &String| format!("{failure}; {hint}");
    for hint in hints {
        let text = whole(hint);
        if text.len() <= max {
            return text;
        }
        if let Some(fits) = Parts::of(&text).and_then(|parts| parts.with(parts.hint, max)) {
            return fits;
        }
    }
    shorten(&hints.last().map_or_else(|| failure.to_owned(), whole), max)
}
