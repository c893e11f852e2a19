//! ARNs of executions.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// An execution's ARN as AWS spells it, shared by all who know the execution. The case of its letters tells nothing apart:
/// over the years SageMaker has written one ARN in several ways.
#[derive(Clone)]
pub struct Arn(Arc<str>);

impl Arn {
    /// As AWS spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn letters(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl From<&str> for Arn {
    fn from(arn: &str) -> Self {
        Self(arn.into())
    }
}

impl PartialEq for Arn {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Arn {}

impl PartialOrd for Arn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.letters().cmp(other.letters())
    }
}

impl Hash for Arn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A hasher takes sixty-four letters much faster than one after the other.
        for part in self.0.as_bytes().chunks(64) {
            let mut letters = [0; 64];
            let letters = &mut letters[..part.len()];
            letters.copy_from_slice(part);
            letters.make_ascii_lowercase();
            state.write(letters);
        }
    }
}

impl fmt::Debug for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
