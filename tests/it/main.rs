//! One integration crate: the AWS SDK is linked once.

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
mod supervision;
mod support;
mod walls;
