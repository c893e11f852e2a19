//! Recording and alerting rules: promtool's judgement, its unit tests, and that these would notice a change.

use std::{collections::BTreeSet, fs, thread};

use awf_aws::metrics::{catalogue, family::Kind};
use serde_json::Value;

use super::{metric_names, shipped, yaml};
use crate::support::{
    process::TempDir,
    prometheus::{installed, printed, run},
};

fn rules() -> Vec<Value> {
    let file = yaml("prometheus/rules.yaml");
    file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| rule["alert"].is_string()).collect()
}

#[test]
fn promtool_finds_no_fault_and_its_unit_tests_pass() {
    if !installed() {
        return;
    }
    let directory = shipped("prometheus");
    let judged = run("promtool", &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"], &directory);
    assert!(judged.status.success(), "{}", printed(&judged));
    let tested = run("promtool", &["test", "rules", "rules.test.yaml"], &directory);
    assert!(tested.status.success(), "{}", printed(&tested));
}

#[test]
fn every_alert_has_a_firing_a_quiet_and_a_guard_case() {
    let text = fs::read_to_string(shipped("prometheus/rules.test.yaml")).unwrap();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        for kind in ["fires", "quiet", "guard"] {
            assert!(text.contains(&format!("# {name} {kind}")), "{name} has no case: {kind}");
        }
    }
}

/// The rules' text with one thing wrong, and the alert whose tests should notice.
fn mutants() -> Vec<(String, String)> {
    let text = fs::read_to_string(shipped("prometheus/rules.yaml")).unwrap();
    let mut mutants = Vec::new();
    for (at, _) in text.match_indices("- alert: ") {
        let rest = &text[at..];
        let end = rest[1..].find("- alert: ").map_or(rest.len(), |end| end + 1);
        let rule = &rest[..end];
        let name = rule.lines().next().unwrap().trim_start_matches("- alert: ").to_owned();
        let mut change = |from: &str, to: &str| {
            let changed = rule.replacen(from, to, 1);
            assert_ne!(changed, rule, "{name} has no {from:?}");
            mutants.push((name.clone(), format!("{}{changed}{}", &text[..at], &rest[end..])));
        };
        change("for: ", "for: 9");
        change("severity: ", "severity: x");
        change("summary: ", "summary: Not that ");
        // Each condition of its own, away.
        let expression: Vec<&str> = rule.lines().skip(2).take_while(|line| line.starts_with("          ")).collect();
        for line in expression.iter().skip(1) {
            change(line, "");
        }
        let bound = expression[0].rsplit_once(" > ").or_else(|| expression[0].rsplit_once(" == "));
        let (left, _) = bound.unwrap_or_else(|| panic!("{name} has no bound"));
        change(expression[0], left);
        change(expression[0], &format!("{} > 1e12", left));
    }
    mutants
}

/// The unit tests of one alert alone.
fn tests_of(alert: &str, all: &Value) -> Value {
    let mut tests = all.clone();
    tests["tests"].as_array_mut().unwrap().retain(|test| test["alert_rule_test"][0]["alertname"] == alert);
    tests
}

#[test]
fn a_change_of_any_rule_is_noticed_by_its_unit_tests() {
    if !installed() {
        return;
    }
    let (mutants, all) = (mutants(), yaml("prometheus/rules.test.yaml"));
    assert!(mutants.len() >= 60, "{} mutants", mutants.len());
    let survives = |(alert, text): &(String, String)| {
        let directory = TempDir::new();
        fs::write(directory.path().join("rules.yaml"), text).unwrap();
        fs::write(directory.path().join("tests.json"), tests_of(alert, &all).to_string()).unwrap();
        run("promtool", &["test", "rules", "tests.json"], directory.path()).status.success()
    };
    let survivors: Vec<String> = thread::scope(|scope| {
        let halves = mutants.chunks(mutants.len().div_ceil(2));
        let workers: Vec<_> = halves
            .map(|half| scope.spawn(move || half.iter().filter(|mutant| survives(mutant)).cloned().collect::<Vec<_>>()))
            .collect();
        let found = workers.into_iter().flat_map(|worker| worker.join().unwrap());
        found.map(|(alert, text)| format!("{alert}:\n{}", around(&alert, &text))).collect()
    });
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

fn around(alert: &str, text: &str) -> String {
    let at = text.find(&format!("- alert: {alert}\n")).unwrap();
    text[at..].lines().take(8).collect::<Vec<_>>().join("\n")
}

#[test]
fn rules_name_only_metrics_of_the_catalogue_and_only_two_wake_somebody() {
    let known: BTreeSet<String> = catalogue::all()
        .into_iter()
        .flat_map(|family| match family.kind {
            Kind::Histogram(_) => vec![format!("{}_bucket", family.name)],
            _ => vec![family.name],
        })
        .collect();
    let records: BTreeSet<String> = rules().iter().filter_map(|r| r["record"].as_str().map(str::to_owned)).collect();
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        let mut plain = expression.to_owned();
        for record in records.iter().rev() {
            plain = plain.replace(record.as_str(), "recorded");
        }
        assert!(!plain.contains("namespace_job"), "a record that does not exist: {expression}");
        for name in metric_names(&plain) {
            assert!(known.contains(name), "{name} is not in the catalogue: {expression}");
        }
    }
    let critical = alerts().iter().filter(|alert| alert["labels"]["severity"] == "critical").count();
    assert!(critical <= 2, "{critical} alerts are critical");
}

#[test]
fn every_alert_has_a_section_in_the_runbook_and_a_dashboard() {
    let runbook = fs::read_to_string(shipped("runbook.md")).unwrap();
    let headings: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let names: Vec<String> = alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(headings.iter().copied().collect::<BTreeSet<_>>(), names.iter().map(String::as_str).collect());
    let uids: Vec<String> = awf_aws::monitoring::dashboards()
        .iter()
        .map(|dashboard| format!("/d/{}", dashboard.json["uid"].as_str().unwrap()))
        .collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let annotation = |key: &str| alert["annotations"][key].as_str().unwrap_or_default().to_owned();
        assert!(annotation("runbook_url").ends_with(&format!("/runbook.md#{}", name.to_lowercase())), "{name}");
        assert!(uids.contains(&annotation("dashboard_url")), "{name}");
        assert!(annotation("summary").ends_with('.') && !annotation("summary").contains("{{"), "{name}");
        assert!(annotation("description").contains("{{ $labels.namespace }}"), "{name}");
    }
}

#[test]
fn the_operators_form_of_the_rules_is_the_same() {
    assert_eq!(yaml("prometheus/prometheusrule.yaml")["spec"], yaml("prometheus/rules.yaml"));
}
