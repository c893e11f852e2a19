//! Sentences about what is wrong: never longer than a node's message may be, whatever they quote.

use super::InputError;
use crate::text::{ELLIPSIS, ellipsize};

/// How much of a node's message the prefix of [`InputError`] leaves.
const MAX_SENTENCE: usize = 250 - "malformed plugin input: ".len();

/// How much of a refused value an error shows: enough to recognise it.
const SHOWN_CHARS: usize = 60;

impl InputError {
    /// A sentence that quotes nothing of unknown length; one that is too long all the same loses its end.
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self(ellipsize(&sentence.into(), MAX_SENTENCE))
    }

    /// A sentence that quotes values of any length: `write` gets the bytes that each of them may take, at first as many
    /// as it likes, and less until the sentence fits. So what gives way is the quoted value, not what is allowed.
    pub(super) fn quoting(write: impl Fn(usize) -> String) -> Self {
        let mut room = MAX_SENTENCE;
        loop {
            let sentence = write(room);
            match sentence.len().saturating_sub(MAX_SENTENCE) {
                excess if excess > 0 && room > 0 => room = room.saturating_sub(excess),
                _ => return Self::new(sentence),
            }
        }
    }
}

/// A value as an error shows it: one line, at most 60 characters of it and `room` bytes.
pub(super) fn shorten(text: &str, room: usize) -> String {
    let mut shown = String::new();
    // Where it can be cut so that the dots still fit.
    let mut cut = 0;
    for (position, c) in text.chars().enumerate() {
        if shown.len() + ELLIPSIS.len_utf8() <= room {
            cut = shown.len();
        }
        let before = shown.len();
        if c.is_control() {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
        if position == SHOWN_CHARS {
            shown.truncate(before);
            cut = cut.max(if before + ELLIPSIS.len_utf8() <= room { before } else { 0 });
        }
        if position == SHOWN_CHARS || shown.len() > room {
            shown.truncate(cut);
            if cut + ELLIPSIS.len_utf8() <= room {
                shown.push(ELLIPSIS);
            }
            break;
        }
    }
    shown
}
