//! The README's tables against the code: nothing is missing in them, and nothing in them is invented.

use std::{collections::BTreeSet, fs, path::Path};

use awf_aws::{
    config::ServeArgs,
    input::{IGNORED, KNOWN},
};
use clap::{Args as _, Command};
use serde_json::Value;

use crate::assets::files;

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The rows of the tables below a heading, cell by cell; heads and rules are left out.
pub fn rows(heading: &str) -> Vec<Vec<String>> {
    let readme = readme();
    let section = readme.split("\n## ").find(|s| s.starts_with(heading)).unwrap_or_else(|| panic!("no {heading}"));
    let mut rows = Vec::new();
    let mut in_body = false;
    for line in section.lines() {
        if line.starts_with("|---") {
            in_body = true;
        } else if !line.starts_with('|') {
            in_body = false;
        } else if in_body {
            rows.push(line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect());
        }
    }
    rows
}

/// The texts between backquotes.
pub fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_input_table_names_every_field_once_in_the_order_of_the_code() {
    let table = rows("Input");
    let fields: Vec<&str> = table.iter().map(|row| quoted(&row[0])[0]).collect();
    assert_eq!(fields, KNOWN);
    for ignored in IGNORED {
        assert!(readme().contains(&format!("`{ignored}`")), "{ignored}");
    }
}

#[test]
fn the_table_of_flags_has_every_flag_with_its_variable_and_default() {
    let wanted: Vec<[String; 3]> = ServeArgs::augment_args(Command::new("serve"))
        .get_arguments()
        .map(|flag| {
            let long = flag.get_long().unwrap();
            let default: Vec<_> = flag.get_default_values().iter().map(|v| v.to_str().unwrap()).collect();
            [format!("--{long}"), flag.get_env().unwrap().to_str().unwrap().to_owned(), default.concat()]
        })
        .collect();
    let table = rows("Flags");
    let given: Vec<[String; 3]> = table.iter().map(|row| [0, 1, 2].map(|cell| quoted(&row[cell]).concat())).collect();
    assert_eq!(given, wanted);
    for row in table {
        assert!(!row[3].is_empty(), "{} has no meaning", row[0]);
    }
}

#[test]
fn every_manifest_is_listed_and_every_listed_file_exists() {
    let readme = readme();
    let table = rows("Workflows to start from");
    let listed: BTreeSet<&str> = table.iter().flat_map(|row| quoted(&row[0])).collect();
    let files = files();
    assert_eq!(listed, files.iter().map(String::as_str).collect::<BTreeSet<_>>());
    for path in quoted(&readme).into_iter().flat_map(str::split_whitespace).filter(|word| word.starts_with("assets/")) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
    }
    for line in readme.lines().filter(|line| line.starts_with("kubectl apply")) {
        let path = line.split(" -f ").nth(1).unwrap();
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
    }
}

#[test]
fn the_policies_of_the_readme_allow_what_is_called_and_no_more() {
    let readme = readme();
    let policies: Vec<Value> = readme
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .map(|block| serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}")))
        .collect();
    let allowed = |policy: &Value| -> BTreeSet<String> {
        // A whole policy, or statements to be added to one.
        let statements = policy["Statement"].as_array().or(policy.as_array()).into_iter().flatten();
        let actions = statements.flat_map(|statement| match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        });
        actions
            .filter_map(|action| {
                action
                    .as_str()?
                    .split_once(':')
                    .filter(|(service, _)| *service != "sts")
                    .map(|(_, name)| name.to_owned())
            })
            .collect()
    };
    let granted: Vec<BTreeSet<String>> = policies.iter().map(allowed).filter(|actions| !actions.is_empty()).collect();
    let plugin = [
        "DescribePipeline",
        "StartPipelineExecution",
        "StopPipelineExecution",
        "ListPipelineExecutions",
        "DescribePipelineExecution",
        "ListPipelineExecutionSteps",
        "ListPipelines",
    ];
    let more = [
        "DescribeLogStreams",
        "GetLogEvents",
        "DescribeTrainingJob",
        "DescribeProcessingJob",
        "DescribeTransformJob",
        "DescribeHyperParameterTuningJob",
        "DescribeAutoMLJobV2",
    ];
    let orphans = ["ListPipelines", "ListPipelineExecutions", "StopPipelineExecution"];
    let names = |actions: &[&str]| actions.iter().map(|action| (*action).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(granted, [names(&plugin), names(&more), names(&orphans)]);
}

#[test]
fn the_steps_of_the_installation_are_in_order_and_the_pipeline_runs_last() {
    let readme = readme();
    let install = readme.split("\n## ").find(|s| s.starts_with("Install on EKS")).unwrap();
    let steps: Vec<&str> = install.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    for (index, step) in steps.iter().enumerate() {
        assert!(step.starts_with(&format!("{}. ", index + 1)), "{step}");
    }
    let right = steps.iter().position(|step| step.contains("Give Argo's controller the right")).unwrap();
    assert!(right + 1 < steps.len() && steps.last().unwrap().ends_with("Run a pipeline"), "{steps:?}");
    // Texts refer to steps by number.
    let of = |what: &str| steps.iter().position(|step| step.contains(what)).unwrap() + 1;
    for (text, step) in [
        ("Argo's controller a right that its own manifests forget", of("Give Argo's controller")),
        ("or step 3 in the wrong namespace", of("Install the plugin")),
        ("the role needs the actions of", of("AWS role")),
        ("then also leave the annotation out in", of("Prepare the namespace")),
    ] {
        let sentence = readme.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text}"));
        let number = format!("tep {step}");
        assert!(sentence.contains(&number), "{number} in {sentence}");
    }
}

#[test]
fn the_exceptions_to_the_promises_are_stated() {
    let readme = readme().split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        "`argo retry --restart-successful` cannot be told from an ordinary re-ask",
        "A node that ended while it still waited (timed out, or stopped by a `stop` task) has left no trace in AWS",
        "one execution per node cannot be promised across restarts",
        "the start that is repeated under it makes a second execution",
        "the node ends `Error`, although the execution of the first start may run",
        "An `argo retry` within 15 minutes of a failure reports that failure again",
        "runs the attempt again, which costs a second execution",
        "counts only where the plugin may ask Kubernetes",
        "A `retryStrategy` with `backoff` hangs for ever after a failed attempt",
        "`kubectl delete pod -n ml -l workflows.argoproj.io/component=agent,workflows.argoproj.io/workflow=NAME`",
        "the kubelet waits before each start (10 s, 20 s, 40 s, up to 5 minutes)",
        "`leave` for an execution it was attached to by `execution_arn`",
        "looked at again after 30 s",
        "A literal `{{retries}}`, as Argo leaves it without a `retryStrategy`, counts as attempt 0",
    ] {
        assert!(readme.contains(sentence), "{sentence}");
    }
}
