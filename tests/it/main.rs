//! One integration crate: the AWS SDK is linked once.

mod actix_facts;
mod assets;
mod config;
mod demo;
mod http_contract;
mod identity;
mod input;
mod machine;
mod protocol;
mod supervision;
mod support;
mod walls;
