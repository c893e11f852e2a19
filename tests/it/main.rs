//! One integration crate: the AWS SDK is linked once.
//!
//! A helper that cannot help fails the test that called it; by itself clippy allows that in the test function only.
#![allow(clippy::panic, clippy::unwrap_used)]

// A test's helper fails its test by panicking; clippy's exemption covers only functions marked #[test].
#![allow(clippy::unwrap_used, clippy::panic, clippy::unwrap_in_result)]

mod actix_facts;
mod boto3;
mod config;
mod end_to_end;
mod http_contract;
mod identity;
mod input;
mod machine;
mod moto;
mod protocol;
mod sagemaker_mapping;
mod supervision;
mod support;
mod walls;
