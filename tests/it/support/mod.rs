//! What the tests of the real binary share.

pub mod argo;
pub mod gate;
pub mod kubernetes;
pub mod process;
pub mod prometheus;
pub mod python;
pub mod simulator;
pub mod tokens;
