//! A live Prometheus scrapes the real binary; then every query of every dashboard has something to show.

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use awf_aws::{metrics::catalogue::MOST_SERIES, monitoring::dashboards};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    catalogue::{assert_in_catalogue, series_count},
    dashboards::{panels, targets},
    scene::Scene,
    yaml,
};
use crate::support::prometheus::{Server, installed};

#[actix_rt::test]
async fn every_query_of_every_panel_and_variable_returns_data_and_a_sidecar_shows_at_most_200_series() {
    if !installed() {
        return;
    }
    let mut scene = Scene::begin(&[]).await;
    scene.mistakes("train").await;
    tokio::join!(scene.round("train", 4, 2), scene.stop_one("nightly"));
    scene.restart_without_credentials("nightly").await;
    scene.round("again", 1, 1).await;
    scene.mistakes("again").await;
    scene.one_too_many("nightly").await;
    scene.scraped().await;

    let mut empty = Vec::new();
    for dashboard in dashboards() {
        for panel in panels(&dashboard.json) {
            let title = panel["title"].as_str().unwrap();
            for target in targets(panel) {
                if let Err(why) = has_data(&scene.prometheus, target).await {
                    empty.push(format!("{} / {title}: {why}: {}", dashboard.file, target["expr"]));
                }
            }
        }
        for variable in dashboard.json["templating"]["list"].as_array().unwrap() {
            if let Some(query) = variable["definition"].as_str()
                && values(&scene.prometheus, query).await.is_empty()
            {
                empty.push(format!("{}: no value for {query}", dashboard.file));
            }
        }
        let annotation = &dashboard.json["annotations"]["list"][0];
        if let Err(why) = shows(&scene.prometheus, annotation["expr"].as_str().unwrap(), "", false).await {
            empty.push(format!("{}: annotation: {why}", dashboard.file));
        }
    }
    for group in yaml("prometheus/rules.yaml")["groups"].as_array().unwrap() {
        for record in group["rules"].as_array().unwrap().iter().filter_map(|rule| rule["record"].as_str()) {
            if scene.prometheus.query(record).await.is_empty() {
                empty.push(format!("nothing is recorded as {record}"));
            }
        }
    }
    assert!(empty.is_empty(), "\n{}", empty.join("\n"));

    let (_, text) = scene.plugin.ops("/metrics").await;
    assert_in_catalogue(&text);
    assert!(series_count(&text) <= MOST_SERIES, "{} series:\n{text}", series_count(&text));
    totals_are_exact(&scene.prometheus).await;
    log_lines_are_as_documented(&format!("{}{}", scene.log, scene.plugin.process.log()));
}

/// What the simulator did is what the totals say, although the plugin was killed in between.
async fn totals_are_exact(prometheus: &Server) {
    let warnings = prometheus.query(r#"awf_aws_log_messages_total{level="warn"}"#).await;
    assert!(warnings.first().is_some_and(|(_, lines)| *lines > 0.0), "the log's lines are counted: {warnings:?}");
    let total = |metric: &str| format!("sum(last_over_time({metric}[5m]))");
    for (metric, wanted) in [
        (r#"awf_aws_executions_finished_total{status="Succeeded"}"#, 5.0),
        (r#"awf_aws_executions_finished_total{status="Failed"}"#, 3.0),
        (r#"awf_aws_executions_finished_total{status="Stopped"}"#, 1.0),
        ("awf_aws_executions_started_total", 10.0),
        ("awf_aws_executions_adopted_total", 1.0),
        (r#"awf_aws_steps_finished_total{step_type="TrainingJob", status="Failed"}"#, 3.0),
    ] {
        let found = prometheus.query(&total(metric)).await;
        assert_eq!(found.first().map(|(_, value)| *value), Some(wanted), "{metric}");
    }
}

/// A target's query as Grafana would send it, with something in every series that its legend names.
async fn has_data(prometheus: &Server, target: &Value) -> Result<(), String> {
    let (expression, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
    shows(prometheus, expression, legend, target["range"] == true).await
}

async fn shows(prometheus: &Server, expression: &str, legend: &str, range: bool) -> Result<(), String> {
    let expression = filled_in(expression);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (start, end) = ((now - 60).to_string(), now.to_string());
    let data = if range {
        prometheus
            .ask("query_range", &[("query", &expression), ("start", &start), ("end", &end), ("step", "2")])
            .await?
    } else {
        prometheus.ask("query", &[("query", &expression)]).await?
    };
    let series = data["result"].as_array().cloned().unwrap_or_default();
    let is_number = |value: &Value| value[1].as_str().is_some_and(|text| text != "NaN");
    let has_number =
        |one: &Value| is_number(&one["value"]) || one["values"].as_array().into_iter().flatten().any(is_number);
    if !series.iter().any(has_number) {
        return Err("no data".to_owned());
    }
    for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
        if let Some(without) = series.iter().find(|one| one["metric"][label].is_null()) {
            return Err(format!("the legend's {label} is not in {}", without["metric"]));
        }
    }
    Ok(())
}

/// Grafana's variables at "All", for a scrape each second.
fn filled_in(expression: &str) -> String {
    let mut text = expression.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "10s"),
        ("$__interval", "30s"),
        ("$__range", "5m"),
        ("$cluster", ".*"),
        ("$namespace", ".+"),
        ("$job", ".+"),
        ("$instance", ".+"),
    ] {
        text = text.replace(variable, value);
    }
    assert!(!text.contains('$'), "an unknown variable: {text}");
    text
}

/// The values of a variable: `label_values(selector, label)`.
async fn values(prometheus: &Server, query: &str) -> Vec<String> {
    let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
    let (selector, label) = inside.rsplit_once(", ").unwrap();
    let found = prometheus.query(&format!("group by ({label}) ({})", filled_in(selector))).await;
    found.iter().filter_map(|(metric, _)| metric[label].as_str().map(str::to_owned)).collect()
}

/// Every documented message has only documented fields, and those about executions say whose they are.
fn log_lines_are_as_documented(log: &str) {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with("Logs")).expect("a section on logs");
    let documented: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let mut seen = BTreeSet::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {e}: {line}"));
        let message = line["message"].as_str().unwrap().to_owned();
        if !documented.contains(message.as_str()) {
            continue;
        }
        for field in line.as_object().unwrap().keys() {
            assert!(documented.contains(field.as_str()), "{field} is not documented: {line}");
        }
        let about_one = ["an execution", "started an execution", "adopted", "asked an execution"];
        if about_one.iter().any(|begin| message.starts_with(begin)) {
            for field in ["workflow.name", "node.key", "node.attempt", "execution.arn"] {
                assert!(!line[field].is_null(), "{field} is missing: {line}");
            }
        }
        seen.insert(message);
    }
    for message in [
        "following a workflow",
        "started an execution",
        "adopted an execution",
        "an execution ended",
        "asked an execution to stop",
        "unable to start",
        "a node ended",
        "refused a task",
        "refused a template.execute request",
        "unable to get credentials",
        "answered the agent",
        "a call ended",
    ] {
        assert!(seen.contains(message), "no line says: {message}");
    }
}

/// For `monitoring/render/render.sh`: plays for as many seconds as `AWF_AWS_SCENE` says, writes where Prometheus is to
/// the file that `AWF_AWS_SCENE_FILE` names, and keeps it running until that file is gone.
#[actix_rt::test]
#[ignore = "plays for minutes, for a person to look at"]
async fn a_scene_to_look_at() {
    let seconds: u64 = env::var("AWF_AWS_SCENE").unwrap().parse().unwrap();
    let file = env::var("AWF_AWS_SCENE_FILE").unwrap();
    let mut scene = Scene::begin(&["--web.cors.origin=.*"]).await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        let workflow = format!("train-{number}");
        scene.round(&workflow, 3 + number % 4, number % 3).await;
        match number % 4 {
            1 => scene.mistakes(&workflow).await,
            2 => scene.stop_one(&workflow).await,
            _ => sleep(Duration::from_secs(5)).await,
        }
        if number == 4 {
            scene.restart_without_credentials("nightly").await;
        }
    }
    scene.one_too_many("nightly").await;
    scene.scraped().await;
    fs::write(&file, &scene.prometheus.url).unwrap();
    while Path::new(&file).exists() {
        sleep(Duration::from_secs(1)).await;
    }
}
