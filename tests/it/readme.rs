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
fn rows(heading: &str) -> Vec<Vec<String>> {
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
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_input_table_names_every_field_once_in_the_order_of_the_code() {
    // The outputs' table stands below the same heading; its rows begin with an action.
    let table = rows("Input");
    let fields: Vec<&str> =
        table.iter().map(|row| quoted(&row[0])[0]).filter(|name| !["validate", "execute"].contains(name)).collect();
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
        let statements = policy["Statement"].as_array().into_iter().flatten();
        let actions = statements.flat_map(|statement| match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        });
        actions.filter_map(|action| Some(action.as_str()?.strip_prefix("sagemaker:")?.to_owned())).collect()
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
    let orphans = ["ListPipelines", "ListPipelineExecutions", "StopPipelineExecution"];
    assert_eq!(granted, [BTreeSet::from(plugin.map(str::to_owned)), BTreeSet::from(orphans.map(str::to_owned))]);
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
        "An `argo retry` within 15 minutes of a failure then reports that failure again",
        "`leave` for an execution it was attached to by `execution_arn`",
        "looked at again after 30 s",
        "A literal `{{retries}}`, as Argo leaves it without a `retryStrategy`, counts as attempt 0",
    ] {
        assert!(readme.contains(sentence), "{sentence}");
    }
}
