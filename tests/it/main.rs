//! One integration crate: the AWS SDK is linked once.

// A test's helper fails its test by panicking; clippy's exemption covers only functions marked #[test].
#![allow(clippy::unwrap_used, clippy::panic, clippy::unwrap_in_result)]

mod actix_facts;
mod after_end;
mod after_failure;
mod assets;
mod bench_table;
mod bombs;
mod boto3;
mod config;
mod controller_rights;
mod credentials;
mod crowd;
mod definition;
mod demo;
mod doctor;
mod end_to_end;
mod fleet;
mod floors;
mod forgetting;
mod gauges;
mod http_contract;
mod iam;
mod identity;
mod input;
mod job_logs;
mod job_secrets;
mod kill_rounds;
mod kubernetes;
mod links;
mod listings;
mod machine;
mod monitoring;
mod moto;
mod one_build;
mod ops_listener;
mod orphans;
mod pace;
mod pipelines;
mod protocol;
mod queue;
mod readme;
mod reread;
mod results;
mod resume;
mod rounds;
mod sagemaker_mapping;
mod simulation;
mod simulator;
mod supervision;
mod support;
mod text;
mod trouble;
mod walls;
mod workflow_end;
