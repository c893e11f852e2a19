//! What is measured, subject by subject.

pub mod answers;
pub mod burst;
pub mod cpu;
pub mod ended;
pub mod flat;
pub mod lag;
pub mod live;
pub mod process;
pub mod starts;
pub mod throttling;

use std::{future::Future, pin::Pin};

use super::table::Row;

/// Bytes of a mebibyte.
const MIB: f64 = 1024.0 * 1024.0;

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Just long enough to see that everything works, instead of long enough for a figure.
    pub quick: bool,
    /// Empty: everything.
    pub filters: &'static [String],
}

impl Wanted {
    /// The value for figures, or that for a smoke test.
    pub fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Whether a row is wanted.
    pub fn has(self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

/// Rows that are measured together.
pub struct Subject {
    /// What a filter is compared with before anything is measured.
    pub names: Vec<String>,
    /// Measures when it is polled, and not before.
    pub measure: Pin<Box<dyn Future<Output = Vec<Row>>>>,
}

impl Subject {
    /// A subject of these rows.
    pub fn new(names: Vec<String>, measure: impl Future<Output = Vec<Row>> + 'static) -> Self {
        Self { names, measure: Box::pin(measure) }
    }
}

/// All subjects: the quick ones first, so that a mistake shows soon.
pub fn all(wanted: Wanted) -> Vec<Subject> {
    let mut all =
        vec![process::size(), process::birth(wanted), process::idle(), answers::subject(wanted), flat::subject(wanted)];
    all.extend(live::subjects(wanted));
    all.extend([
        ended::subject(wanted),
        starts::subject(wanted),
        throttling::subject(wanted),
        lag::subject(wanted),
        cpu::subject(wanted),
        burst::subject(wanted),
    ]);
    all
}
