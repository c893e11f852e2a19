//! What the tests of the real binary share.
//!
//! A helper that cannot help fails the test that called it; clippy allows that only in the test function itself.
#![allow(clippy::panic)]

pub mod argo;
pub mod process;
pub mod python;
pub mod simulator;
