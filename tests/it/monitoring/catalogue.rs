//! `/metrics` shows exactly the catalogue.

use std::{collections::BTreeMap, fs, path::Path};

use awf_aws::metrics::{
    catalogue::{self, MOST_SERIES},
    family::{Kind, Labels},
    labels::{Access, CallOutcome, Code, Mode, Operation, Outcome, Region, Route, StepEnd, StepType, Version},
};

use crate::support::{
    argo::Plugin,
    process::TempDir,
    prometheus::{installed, printed, run},
};

/// Whether the places of these labels are those of all of them, in their order.
fn are_in_order<L: Labels>() -> bool {
    L::all().into_iter().map(Labels::place).eq(0..L::all().len())
}

#[test]
fn every_series_has_a_place_of_its_own() {
    assert!(are_in_order::<()>());
    assert!(are_in_order::<Outcome>());
    assert!(are_in_order::<(Route, Code)>());
    assert!(are_in_order::<(Operation, CallOutcome)>());
    assert!(are_in_order::<(StepType, StepEnd)>());
    assert!(are_in_order::<(Region, Access)>());
    assert!(are_in_order::<(Version, Mode)>());
}

/// What the text format says: by family its type, help, and the lines of its series.
#[derive(Debug, Default, PartialEq)]
pub struct Shown {
    kind: String,
    help: String,
    pub lines: Vec<String>,
}

pub fn read(text: &str) -> BTreeMap<String, Shown> {
    let mut families: BTreeMap<String, Shown> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            current = name.to_owned();
            families.entry(current.clone()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            assert!(line.starts_with(&current), "{line} stands below {current}");
            families.get_mut(&current).unwrap().lines.push(line.to_owned());
        }
    }
    families
}

/// The labels of a series: name and value.
fn labels(line: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let inside = rest.rsplit_once('}').unwrap().0;
    inside
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// Nothing is shown that the catalogue does not know, by name, type, help, label and value.
pub fn assert_in_catalogue(text: &str) {
    let known: BTreeMap<String, _> = catalogue::all().into_iter().map(|family| (family.name.clone(), family)).collect();
    for (name, shown) in read(text) {
        let family = known.get(&name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!(shown.kind, family.kind.as_str(), "{name}");
        assert_eq!(shown.help, family.help, "{name}");
        assert!(shown.lines.len() <= family.at_most, "{name} has {} lines", shown.lines.len());
        for line in &shown.lines {
            for (label, value) in labels(line) {
                if label == "le" && matches!(family.kind, Kind::Histogram(_)) {
                    continue;
                }
                let values = family.labels.iter().find(|(known, _)| *known == label);
                let (_, values) = values.unwrap_or_else(|| panic!("{name} has no label {label}: {line}"));
                assert!(values.contains(&value.as_str()), "{label} of {name} is never {value}: {line}");
            }
        }
    }
}

/// Lines of series, without comments.
pub fn series_count(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[actix_rt::test]
async fn a_fresh_process_shows_the_catalogue_and_nothing_else_and_promtool_finds_no_fault() {
    let plugin = Plugin::start("http://127.0.0.1:9", &[]).await;
    plugin.ops("/metrics").await;
    let (_, text) = plugin.ops("/metrics").await;
    assert_in_catalogue(&text);
    let shown = read(&text);
    for family in catalogue::all() {
        let lines = shown.get(&family.name).map_or(0, |shown| shown.lines.len());
        // Requests are counted by the status they were given, so this one appears by being asked for.
        let asked = usize::from(family.name.ends_with("http_requests_total")) * 2;
        assert_eq!(lines, family.at_start + asked, "{}", family.name);
    }
    assert!(series_count(&text) <= MOST_SERIES - 30, "{} lines leave too little room", series_count(&text));

    if !installed() {
        return;
    }
    let directory = TempDir::new();
    let file = directory.path().join("metrics.txt");
    fs::write(&file, &text).unwrap();
    let judged = run("sh", &["-c", "promtool check metrics --extended < metrics.txt"], directory.path());
    assert!(judged.status.success(), "{}", printed(&judged));
    assert!(
        printed(&judged).contains("awf_aws_aws_api_calls_total"),
        "the table of cardinality:\n{}",
        printed(&judged)
    );
}

#[test]
fn names_units_and_labels_keep_prometheus_rules() {
    let reserved = [
        "namespace",
        "pod",
        "container",
        "endpoint",
        "service",
        "job",
        "instance",
        "cluster",
        "region",
        "stage",
        "type",
    ];
    for family in catalogue::all() {
        let name = family.name.as_str();
        assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "_total is for counters: {name}");
        assert!(name.starts_with("awf_aws_") || name.starts_with("process_"), "{name}");
        assert!(!name.contains("_ms") && !name.contains("minutes"), "base units: {name}");
        assert!(family.help.ends_with('.') && family.help.len() <= 120, "a short sentence: {}", family.help);
        if let Kind::Histogram(buckets) = family.kind {
            assert!(name.ends_with("_seconds") && buckets.is_sorted(), "{name}");
        }
        for (label, values) in &family.labels {
            assert!(!reserved.contains(label), "{label} of {name} would be renamed by a scrape");
            // Of all the regions there are, a process calls one or two.
            assert!(values.len() <= 16 || *label == "aws_region", "{label} of {name}");
        }
    }
}

#[test]
fn the_readmes_table_is_the_catalogue() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let table = catalogue::markdown();
    assert!(readme.contains(&table), "the README's table should be what `awf-aws monitoring metrics` prints:\n{table}");
}
