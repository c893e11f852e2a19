//! The machine of a workflow against a scripted AWS under a virtual clock.

mod aftermath;
mod clocks;
mod denials;
mod drain;
mod ends;
mod endurance;
mod fanout;
mod listing;
mod outage;
mod properties;
mod rest;
mod resume;
mod roles;
mod standstill;
mod starts;
mod steps;
mod stops;
mod tasks;
mod waits;
mod watch;
mod world;

pub use stops::stop;
pub use world::{key_of, task, with};
