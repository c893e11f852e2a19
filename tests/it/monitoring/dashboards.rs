//! The committed dashboards: what the program writes today, and in keeping with what Grafana's own linter asks for.

use std::{collections::BTreeSet, fs};

use awf_aws::{
    metrics::{catalogue, family::Kind},
    monitoring::{dashboards, text},
};
use serde_json::Value;

use super::{metric_names, shipped};

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Panels that are no headings.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// The queries of a panel.
pub fn targets(panel: &Value) -> &[Value] {
    list(panel, "targets")
}

#[test]
fn the_committed_dashboards_are_what_the_program_writes() {
    let folder = shipped("grafana/dashboards");
    let files: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, dashboards().iter().map(|dashboard| dashboard.file.to_owned()).collect());
    for dashboard in dashboards() {
        let committed = fs::read_to_string(folder.join(dashboard.file)).unwrap();
        assert!(
            committed == text(&dashboard),
            "{} is out of date: awf-aws monitoring dashboards monitoring/grafana/dashboards",
            dashboard.file
        );
    }
}

#[test]
fn every_dashboard_has_a_picture_that_is_not_too_large() {
    for dashboard in dashboards() {
        let name = dashboard.file.replace("awf-aws-", "").replace(".json", ".png");
        let picture = fs::metadata(shipped("screenshots").join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!((10_000..300_000).contains(&picture.len()), "{name} has {} bytes", picture.len());
    }
}

#[test]
fn panels_have_a_title_a_sentence_a_known_unit_and_their_own_place() {
    for dashboard in dashboards() {
        let (mut ids, mut taken, mut titles) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard.json, "panels") {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{title}");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{title} covers another panel");
                }
            }
        }
        for panel in panels(&dashboard.json) {
            let title = panel["title"].as_str().unwrap();
            let row = panel["gridPos"]["y"].as_u64();
            assert!(titles.insert((title, row)), "{title} stands twice in a row");
            assert!(panel["description"].as_str().unwrap().ends_with('.'), "{title} is not explained");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
            assert!(["short", "s", "bytes", "percentunit", "reqps", "ops"].contains(&unit), "{title}: {unit}");
            assert!(!targets(panel).is_empty(), "{title} asks nothing");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn queries_name_metrics_of_the_catalogue_and_select_by_every_variable() {
    let known: BTreeSet<String> = catalogue::all()
        .into_iter()
        .flat_map(|family| match family.kind {
            Kind::Histogram(_) => vec![format!("{}_bucket", family.name)],
            _ => vec![family.name],
        })
        .collect();
    let mut used = BTreeSet::new();
    for dashboard in dashboards() {
        for panel in panels(&dashboard.json) {
            for target in targets(panel) {
                let expression = target["expr"].as_str().unwrap();
                let selectors = expression.matches('{').count();
                for variable in ["cluster", "namespace", "job", "instance"] {
                    let matcher = format!("{variable}=~\"${variable}\"");
                    assert_eq!(expression.matches(&matcher).count(), selectors, "{variable} in {expression}");
                }
                for name in metric_names(expression) {
                    assert!(known.contains(name), "{name} is not in the catalogue: {expression}");
                    used.insert(name.to_owned());
                }
                for (at, _) in expression.match_indices("rate(") {
                    let name = metric_names(&expression[at..])[0];
                    assert!(name.ends_with("_total") || name.ends_with("_bucket"), "rate of a gauge: {expression}");
                    assert!(expression[at..].contains("[$__rate_interval]"), "{expression}");
                }
                assert!(!expression.contains("topk"), "each step would rank anew: {expression}");
            }
        }
    }
    // What nobody looks at is not worth a series.
    let unseen = [
        "process_max_fds",
        "process_start_time_seconds",
        "process_threads",
        "process_virtual_memory_bytes",
        "awf_aws_execution_stop_requests_total",
    ];
    let missing: Vec<&String> =
        known.iter().filter(|name| !used.contains(*name) && !unseen.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[test]
fn every_used_variable_is_declared_and_the_other_way_round() {
    for dashboard in dashboards() {
        let declared: BTreeSet<&str> =
            list(&dashboard.json["templating"], "list").iter().map(|v| v["name"].as_str().unwrap()).collect();
        let body = dashboard.json.to_string();
        for name in &declared {
            assert!(body.contains(&format!("${name}")) || body.contains(&format!("${{{name}}}")), "{name}");
        }
        for found in body.split('$').skip(1) {
            let name: String =
                found.trim_start_matches('{').chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            assert!(name.is_empty() || name.starts_with("__") || declared.contains(name.as_str()), "${name}");
        }
        assert_eq!(dashboard.json["editable"], false);
        assert_eq!(dashboard.json["schemaVersion"], 39);
    }
}
