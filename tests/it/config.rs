//! Flags, environment, defaults; and what a bad value costs.

#![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "helpers and probes of tests")]

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use awf_aws::config::{Config, ConfigError, KubernetesConfig, LogFormat, ServeArgs, ServiceAccount};
use clap::Parser;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

fn parse(args: &[&str]) -> Result<Config, ConfigError> {
    Config::from_args(Line::try_parse_from(std::iter::once(&"awf-aws").chain(args)).unwrap().serve)
}

fn account(namespace: &str, name: &str) -> ServiceAccount {
    ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Runs the binary; only for command lines that end by themselves.
fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_awf-aws")).args(args).env_clear().envs(env.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = parse(&[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:7492".parse().unwrap());
    assert_eq!(config.ops_listen, "0.0.0.0:7493".parse().unwrap());
    assert_eq!(config.token_file, Some(PathBuf::from("/var/run/argo/token")));
    assert_eq!(config.reply_timeout, Duration::from_secs(1));
    assert_eq!(config.poll_min, Duration::from_secs(5));
    assert_eq!(config.poll_max, Duration::from_secs(30));
    assert_eq!(config.shutdown_grace, Duration::from_secs(25));
    assert_eq!(config.stop_wait, Duration::from_secs(600));
    assert_eq!(config.denied_grace, Duration::from_secs(120));
    assert_eq!(config.kubernetes, KubernetesConfig::InCluster);
    assert_eq!(config.argo_controller_account, Some(account("argo", "argo")));
    assert_eq!(config.workflow_check_interval, Duration::from_secs(60));
    assert_eq!(config.forget_after, Duration::from_secs(900));
    assert_eq!(config.max_running_per_workflow, None);
    assert_eq!((config.max_reads_per_second, config.max_writes_per_second), (50, 50));
    assert!(config.allowed_roles.is_empty());
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn every_flag_is_taken() {
    let config = parse(&[
        "--listen=127.0.0.2:1",
        "--port=8000",
        "--ops-listen=127.0.0.3:2",
        "--no-auth",
        "--debug",
        "--log-format=json",
        "--reply-timeout=1.5s",
        "--poll-min=500ms",
        "--poll-max=1m30s",
        "--shutdown-grace=0",
        "--stop-wait=1h",
        "--denied-grace=1s",
        "--max-running-per-workflow=7",
        "--max-reads-per-second=20",
        "--max-writes-per-second=1",
        "--allowed-roles=arn:aws:iam::111122223333:role/team-*, arn:aws:iam::*:role/ml",
        "--kubernetes=auto",
        "--kubeconfig=/k",
        "--argo-controller-account=workflows:argo-workflows-workflow-controller",
        "--workflow-check-interval=5s",
        "--forget-after=1h",
        "--log-filter=",
    ])
    .unwrap();
    assert_eq!(config.listen, "127.0.0.2:8000".parse().unwrap(), "--port changes the API's port only");
    assert_eq!(config.ops_listen, "127.0.0.3:2".parse().unwrap());
    assert_eq!(config.token_file, None);
    assert_eq!(config.reply_timeout, Duration::from_millis(1500));
    assert_eq!(config.poll_min, Duration::from_millis(500));
    assert_eq!(config.poll_max, Duration::from_secs(90));
    assert_eq!(config.shutdown_grace, Duration::ZERO);
    assert_eq!(config.stop_wait, Duration::from_secs(3600));
    assert_eq!(config.denied_grace, Duration::from_secs(1));
    assert_eq!(config.max_running_per_workflow, Some(7));
    assert_eq!((config.max_reads_per_second, config.max_writes_per_second), (20, 1));
    assert_eq!(config.allowed_roles, ["arn:aws:iam::111122223333:role/team-*", "arn:aws:iam::*:role/ml"]);
    assert_eq!(config.kubernetes, KubernetesConfig::Kubeconfig(PathBuf::from("/k")));
    assert_eq!(parse(&["--kubernetes=off", "--kubeconfig=/k"]).unwrap().kubernetes, KubernetesConfig::Off);
    let controller = account("workflows", "argo-workflows-workflow-controller");
    assert_eq!(config.argo_controller_account, Some(controller));
    assert_eq!(parse(&["--argo-controller-account="]).unwrap().argo_controller_account, None, "not checked");
    assert_eq!(config.workflow_check_interval, Duration::from_secs(5));
    assert_eq!(config.forget_after, Duration::from_secs(3600));
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.log.filter.ends_with(",awf_aws=debug"), "{}", config.log.filter);
    assert_eq!(parse(&["--token-file=/t"]).unwrap().token_file, Some(PathBuf::from("/t")));
}

#[test]
fn every_bad_value_is_named_at_once() {
    let ConfigError(problems) = parse(&[
        "--listen=localhost",
        "--port=70000",
        "--ops-listen=:7493",
        "--token-file=",
        "--no-auth=perhaps",
        "--debug=2",
        "--log-format=xml",
        "--reply-timeout=1",
        "--poll-min=1d",
        "--poll-max=soon",
        "--shutdown-grace=-",
        "--stop-wait=48h",
        "--denied-grace=",
        "--max-running-per-workflow=0",
        "--allowed-roles=111122223333",
        "--kubernetes=on",
        "--argo-controller-account=argo",
        "--workflow-check-interval=0s",
        "--forget-after=0s",
        "--log-filter=[[",
    ])
    .unwrap_err();
    let flags = [
        "--listen",
        "--port",
        "--ops-listen",
        "--token-file",
        "--no-auth",
        "--reply-timeout",
        "--poll-min",
        "--poll-max",
        "--shutdown-grace",
        "--stop-wait",
        "--denied-grace",
        "--max-running-per-workflow",
        "--allowed-roles",
        "--kubernetes",
        "--argo-controller-account",
        "--workflow-check-interval",
        "--forget-after",
        "--debug",
        "--log-format",
        "--log-filter",
    ];
    for flag in flags {
        let named = problems.iter().filter(|problem| problem.starts_with(&format!("{flag} ("))).count();
        assert_eq!(named, 1, "{flag} in {problems:#?}");
    }
    assert_eq!(problems.len(), flags.len(), "{problems:#?}");
}

#[test]
fn an_account_of_the_controller_is_two_names_of_kubernetes() {
    for wrong in ["argo", "argo:", ":argo", "Argo:argo", "argo:argo:argo", "a.b:argo", "argo:argo; rm", "argo/argo"] {
        let ConfigError(problems) = parse(&[&format!("--argo-controller-account={wrong}")]).unwrap_err();
        assert_eq!(problems.len(), 1, "{wrong}: {problems:#?}");
        assert!(problems[0].contains("such as argo:argo") && problems[0].contains(wrong), "{wrong}: {problems:#?}");
    }
}

#[test]
fn help_names_both_errors_that_come_from_not_asking_kubernetes() {
    let output = run(&["serve", "--help"], &[]);
    let help = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        "an `argo retry` within 15 minutes of a failure gets that failure again",
        "a pod that moves more than 15 minutes after a failure that Argo had not yet taken up runs that attempt again",
        "assets/plugin/with-kubernetes may ask",
    ] {
        assert!(help.contains(sentence), "{sentence} in {help}");
    }
}

#[test]
fn values_that_contradict_each_other_are_named() {
    let ConfigError(problems) = parse(&["--poll-min=10s", "--poll-max=5s", "--port=7493"]).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.contains("--poll-max")));
    assert!(problems.iter().any(|problem| problem.contains("--ops-listen")));
}

#[test]
fn bad_values_of_flags_and_variables_exit_64_before_anything_starts() {
    let output = run(&["--poll-min", "soon"], &[("AWF_AWS_POLL_MAX", "later"), ("AWF_AWS_DEBUG", "maybe")]);
    assert_eq!(output.status.code(), Some(64));
    let text = stderr(&output);
    for name in ["AWF_AWS_POLL_MIN", "AWF_AWS_POLL_MAX", "AWF_AWS_DEBUG"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(!text.contains("listening"));
}

#[test]
fn the_subcommand_serve_takes_the_same_flags() {
    let output = run(&["serve", "--poll-min", "soon"], &[("AWF_AWS_PORT", "none")]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("--poll-min (AWF_AWS_POLL_MIN): \"soon\""), "{}", stderr(&output));
    assert!(stderr(&output).contains("--port (AWF_AWS_PORT): \"none\""), "{}", stderr(&output));
}

#[test]
fn bad_usage_exits_64_and_help_exits_0() {
    assert_eq!(run(&["--no-such-flag"], &[]).status.code(), Some(64));
    assert_eq!(run(&["no-such-command"], &[]).status.code(), Some(64));
    assert_eq!(run(&["simulator", "--listen", "nowhere"], &[]).status.code(), Some(64));
    assert_eq!(run(&["simulator", "--scenario", "/no/such/file"], &[]).status.code(), Some(64));
    for args in [&["--help"][..], &["--version"], &["serve", "--help"], &["simulator", "--help"]] {
        assert_eq!(run(args, &[]).status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_port_that_is_taken_exits_70() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["--listen", &address, "--ops-listen", "127.0.0.1:0"], &[]);
    assert_eq!(output.status.code(), Some(70));
    assert!(stderr(&output).contains(&address));
}
