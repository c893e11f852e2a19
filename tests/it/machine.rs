//! The machine of a workflow against a scripted AWS under a virtual clock.

mod ends;
mod properties;
mod starts;
mod world;

pub use world::{key_of, task, with};
