//! Texts as several rooms write them: within the bytes that a message, an output or a marker has room for; and times
//! and durations as people read them.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{pipelines::Time, protocol::go_duration};

pub mod pattern;
pub mod sentence;

/// Stands where the end of a text is missing; three bytes.
pub const ELLIPSIS: char = '…';

/// The first `max` bytes of a text, fewer where that would split a character.
pub fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

/// A text within `max` bytes, with `…` where its end is missing; below three bytes only that.
pub fn ellipsize(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}{ELLIPSIS}", cut(text, max.saturating_sub(ELLIPSIS.len_utf8())))
}

/// A text on one line: every control character is a blank.
pub fn one_line(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text on one line within `max` bytes, with `…` where its end is missing.
pub fn fit(text: &str, max: usize) -> String {
    let line = one_line(text);
    if line.len() <= max { line } else { ellipsize(&line, max) }
}

/// A time as RFC 3339 in UTC, to the second. `None` for a year with more than four digits.
pub fn rfc3339(time: Time) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(time.millis().div_euclid(1000)).ok()?;
    at.format(&Rfc3339).ok()
}

/// Reads a time as in RFC 3339, of any offset, to the millisecond.
pub fn parse_rfc3339(text: &str) -> Option<Time> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Time::at)
}

/// A duration for a sentence: whole seconds, as Argo and Go write them.
pub fn spoken(d: Duration) -> String {
    go_duration(Duration::from_secs(d.as_secs()))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// The bytes of a text as JSON: quotes and backslashes double, control characters become two bytes or six.
pub fn json_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    // Two plain counts rather than a table: the compiler makes vector instructions of them.
    let escaped = bytes.iter().filter(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).count();
    let short = |byte: &&u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c);
    // `\u001f` is five bytes longer, `\n` one.
    let longer = if escaped == 0 { 0 } else { 5 * escaped - 4 * bytes.iter().filter(short).count() };
    text.len() + 2 + longer
}
