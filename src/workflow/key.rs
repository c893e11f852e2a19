//! The names of nodes and executions among ours.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use crate::{input::Task, text::hex};

/// SHA-256 over (workflow uid, execution key or its stand-in): one node of one workflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Hash for Key {
    /// Of a digest, the first bytes spread as well as all of them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.number());
    }
}

impl Key {
    /// The key under which an `execute` task's executions are known.
    pub fn of_execution(task: &Task) -> Self {
        match &task.execution_key {
            Some(key) => Self::named(&task.workflow.uid, key),
            None => Self(digest(&["anonymous", &task.workflow.uid, fallback_key(task)])),
        }
    }

    /// The key of the executions that were started with this `execution_key`.
    pub fn named(uid: &str, execution_key: &str) -> Self {
        Self(digest(&["named", uid, execution_key]))
    }

    /// The key of a `validate` or `stop` task, which owns no execution.
    pub fn of_question(task: &Task) -> Self {
        Self(digest(&["question", &task.workflow.uid, fallback_key(task), &task.attempt.to_string()]))
    }

    /// Reads the 64 hex digits of a marker.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The first `digits` hex digits.
    pub fn hex(&self, digits: usize) -> String {
        let mut text = hex(&self.0);
        text.truncate(digits);
        text
    }

    /// Its first 32 bits.
    pub fn number(&self) -> u32 {
        self.0.iter().take(4).fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
    }

    /// A number that spreads evenly over keys and `salt`: stands in for randomness (jitter, probe times).
    pub fn spread(&self, salt: u64) -> f64 {
        let mut hash = DefaultHasher::new();
        (self.0, salt).hash(&mut hash);
        let [.., a, b, c, d] = hash.finish().to_be_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
    }
}

fn fallback_key(task: &Task) -> &str {
    task.fallback_key.as_deref().expect("a task that its execution_key does not name has a fallback key")
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex(12))
    }
}

/// The spelling of an ARN that tokens are made of and the table of decisions compares; whoever spells one may choose the
/// case of its pipeline's name.
pub fn arn_key(arn: &str) -> Arc<str> {
    arn.to_ascii_lowercase().into()
}

/// The last segment of an execution's ARN.
pub fn execution_id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// SHA-256 over length-prefixed parts, so that no two lists of parts are spelled alike.
pub fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
