//! One integration crate: the AWS SDK is linked once.

mod actix_facts;
mod config;
mod http_contract;
mod identity;
mod input;
mod machine;
mod moto;
mod protocol;
mod sagemaker_mapping;
mod supervision;
#[allow(dead_code)] // the simulator's tests use the rest
mod support;
mod walls;
