//! One integration crate: the AWS SDK is linked once.

mod actix_facts;
mod config;
mod http_contract;
mod identity;
mod input;
mod machine;
mod protocol;
mod supervision;
