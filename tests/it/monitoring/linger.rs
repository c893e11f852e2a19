//! The last values of a process that is about to end reach Prometheus.

use std::{sync::Arc, time::Duration};

use awf_aws::metrics::{Metrics, labels::Outcome};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    argo::{Plugin, request},
    prometheus::{Server, installed},
};

const PROCESSES: usize = 10;

/// What each process counts last, summed over those that are gone.
const LAST: &str = r#"last_over_time(awf_aws_execute_requests_total{outcome="succeeded"}[5m]) == 1"#;

async fn processes(linger: &str) -> Vec<Plugin> {
    let flag = format!("--metrics-linger={linger}");
    let flags = [flag.as_str()];
    join_all((0..PROCESSES).map(|_| Plugin::start("http://127.0.0.1:9", &flags))).await
}

async fn prometheus(plugins: &[Plugin]) -> Server {
    let targets: Vec<&str> = plugins.iter().map(|plugin| plugin.ops_address()).collect();
    let configuration = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "awf-aws", "static_configs": [{"targets": targets}]}],
    });
    let prometheus = Server::start("prometheus", &configuration, &[]).await;
    prometheus.until("awf_aws_build_info", plugins.len()).await;
    prometheus
}

/// A last event, then at once SIGTERM; how long until it was gone.
async fn one_more_and_end(plugin: &mut Plugin) -> Duration {
    let reply = plugin.ask(&request(json!({"mock": "true"}))).await;
    assert_eq!(reply["node"]["phase"], "Succeeded");
    let told = Instant::now();
    plugin.process.terminate();
    assert!(plugin.process.ended().await.success());
    told.elapsed()
}

#[actix_rt::test]
async fn ten_of_ten_final_counters_of_ten_short_lived_processes_are_kept() {
    if !installed() {
        return;
    }
    let mut plugins = processes("20s").await;
    let prometheus = prometheus(&plugins).await;
    for took in join_all(plugins.iter_mut().map(one_more_and_end)).await {
        assert!(took < Duration::from_secs(10), "it lingered for {took:?} at a scrape each second");
    }
    prometheus.until(LAST, PROCESSES).await;
}

#[actix_rt::test]
async fn without_the_linger_final_counters_are_lost() {
    if !installed() {
        return;
    }
    let mut plugins = processes("0s").await;
    let prometheus = prometheus(&plugins).await;
    join_all(plugins.iter_mut().map(one_more_and_end)).await;
    sleep(Duration::from_secs(2)).await;
    let kept = prometheus.query(LAST).await.len();
    assert!(kept < PROCESSES / 2, "{kept} were kept by luck: this test would prove nothing");
}

#[actix_rt::test]
async fn a_process_that_nobody_scrapes_ends_at_once() {
    let mut plugin = Plugin::start("http://127.0.0.1:9", &["--metrics-linger=20s"]).await;
    assert!(one_more_and_end(&mut plugin).await < Duration::from_secs(5));
}

#[actix_rt::test]
async fn a_scraper_that_never_comes_back_is_waited_for_no_longer_than_the_flag_says() {
    let mut plugin = Plugin::start("http://127.0.0.1:9", &["--metrics-linger=3s"]).await;
    plugin.ops("/metrics").await;
    let took = one_more_and_end(&mut plugin).await;
    assert!((3..8).contains(&took.as_secs()), "{took:?}");
}

#[actix_rt::test]
async fn only_a_scrape_that_began_after_the_last_change_counts() {
    tokio::time::pause();
    let metrics = Arc::new(Metrics::new().unwrap());
    let complete = || timeout(Duration::from_secs(60), metrics.scraped());
    assert!(complete().await.is_ok(), "nobody ever scraped");

    metrics.scrape_began().answered();
    assert!(complete().await.is_ok(), "nothing changed since");

    let scrape = metrics.scrape_began();
    metrics.request_began().answered(Outcome::Failed);
    scrape.answered();
    assert!(complete().await.is_err(), "it began before the change");

    let (waited, ()) = tokio::join!(complete(), async {
        sleep(Duration::from_secs(5)).await;
        metrics.scrape_began().answered();
    });
    assert!(waited.is_ok());
}
