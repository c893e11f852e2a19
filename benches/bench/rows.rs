//! What is measured, subject by subject.

pub mod answers;
pub mod burst;
pub mod cpu;
pub mod lag;
pub mod live;
pub mod process;
pub mod starts;
pub mod throttling;

use std::{future::Future, pin::Pin};

use super::table::Row;

/// Long enough for a figure, or just long enough to see that everything works.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub quick: bool,
}

impl Scale {
    /// The one or the other.
    pub fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
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
pub fn all(scale: Scale) -> Vec<Subject> {
    let mut all = vec![process::size(), process::birth(scale), process::idle(), answers::subject(scale)];
    all.extend(live::subjects(scale));
    all.extend([
        starts::subject(scale),
        throttling::subject(scale),
        lag::subject(scale),
        cpu::subject(scale),
        burst::subject(scale),
    ]);
    all
}
