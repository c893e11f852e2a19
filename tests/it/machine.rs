//! The machine of a workflow against a scripted AWS under a virtual clock.
#![allow(clippy::unwrap_used, clippy::panic, clippy::unwrap_in_result)]

mod ends;
mod properties;
mod starts;
mod world;

pub use world::{key_of, task};
