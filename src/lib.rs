//! `awf-aws`: an Argo Workflows executor plugin for AWS.

pub mod actors;
pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod demo;
pub mod http;
pub mod input;
pub mod kubernetes;
pub mod metrics;
pub mod orphans;
pub mod pipelines;
pub mod protocol;
pub mod simulator;
pub mod telemetry;
pub mod workflow;
