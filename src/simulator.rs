//! A simulated SageMaker Pipelines with its STS.
//!
//! [`book::Book`] is the whole service as a pure state machine. Two doors lead to it: [`http`] speaks the wire protocols, so
//! any AWS client can be pointed at it; [`door`] is a [`crate::backend::Backend`] for simulations under a virtual clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub mod arn;
pub mod book;
pub mod condition;
pub mod definition;
mod denial;
mod describe;
pub mod door;
pub mod execution;
pub mod expression;
mod facts;
pub mod faults;
mod help;
pub mod http;
pub mod iam;
mod jobs;
mod json_path;
mod logs;
pub mod paging;
mod pipeline;
pub mod policy;
pub mod rate;
pub mod refusal;
mod runs;
pub mod scenario;
mod start;
pub mod steps;
mod sts;
mod transcript;

pub use help::HELP;
pub use http::serve;

/// A book that several doors share.
pub type SharedBook = Arc<Mutex<book::Book>>;

/// Wraps a book for sharing.
pub fn shared(book: book::Book) -> SharedBook {
    Arc::new(Mutex::new(book))
}

/// The book, for one call. A panic of another holder leaves it usable: every call is a whole step.
pub fn locked(book: &SharedBook) -> MutexGuard<'_, book::Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
