//! How fast `template.execute` is answered, compared with the bare handler in the same run.
//!
//! Server and generator share the machine and the machine has other things to do, so no figure stands alone: rounds of the
//! bare handler and of the plugin alternate, each figure is compared within its round, and the median of the rounds counts.

use std::{rc::Rc, time::Duration};

use serde_json::{Value, json};

use super::{Subject, Wanted};
use crate::{
    argo::Nodes,
    aws::Aws,
    bare::Bare,
    load::{self, Answered, until},
    plugin::{Plugin, requests},
    stats::median,
    table::{Budget, Row, Unit},
    tasks::{LONG, SHORT, nodes},
    wire,
};

const CONNECTIONS: [usize; 3] = [16, 64, 256];

/// What nodes are asked for, in the order of their rows.
const KINDS: [&str; 3] = ["running", "waiting", "ended"];

/// Nodes of each kind; a connection goes through all of them.
const NODES: usize = 100;

/// How long a set-up may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// One of the figures of an answered load.
type Pick = fn(&Answered) -> f64;

/// All of them, and how the rows call them.
const FIGURES: [(&str, Pick); 4] =
    [("requests_per_second", |a| a.per_second), ("p50", |a| a.p50), ("p99", |a| a.p99), ("max", |a| a.max)];

/// The same load on the bare handler and on the plugin for nodes of each kind, one after the other.
struct Round {
    bare: Answered,
    plugin: [Answered; 3],
}

/// What is promised of these rows; section 10 promises less while a great many executions are polled.
#[derive(Clone, Copy)]
pub enum Promise {
    Throughput,
    Tail,
}

impl Promise {
    fn budget(self, figure: &str, connections: usize) -> Budget {
        match (self, figure, connections) {
            (Self::Throughput, "requests_per_second", 256) => Budget::AtLeast(0.6),
            (Self::Throughput, "requests_per_second", _) => Budget::AtLeast(0.7),
            (Self::Tail, "p99", 16) => Budget::AtMost(5.0),
            _ => Budget::None,
        }
    }
}

/// The names of all rows under this heading.
pub fn names(heading: &str) -> Vec<String> {
    let mut names = Vec::new();
    for connections in CONNECTIONS {
        for kind in KINDS {
            names.extend(FIGURES.map(|(figure, _)| name(heading, kind, connections, figure)));
        }
        names.push(name(heading, "waiting", connections, "to_running"));
    }
    names
}

fn name(heading: &str, kind: &str, connections: usize, figure: &str) -> String {
    format!("{heading}/{kind}/{connections}/{figure}")
}

/// While nothing else happens.
pub fn subject(wanted: Wanted) -> Subject {
    const HEADING: &str = "answers";
    Subject::new(names(HEADING), async move {
        let aws = Aws::start(0, json!({})).await;
        let plugin = Plugin::start(&aws, &[]).await;
        let ended = ended(&plugin).await;
        let running = nodes("running", NODES, LONG);
        Nodes::ask(&plugin, running.clone()).started(PATIENCE).await;
        let waiting = waiting(&aws, &plugin, NODES).await;
        measure(HEADING, Promise::Throughput, &plugin, [&running, &waiting, &ended], wanted).await
    })
}

/// Nodes whose executions have ended.
pub async fn ended(plugin: &Plugin) -> Vec<Value> {
    let ended = nodes("ended", NODES, SHORT);
    Nodes::ask(plugin, ended.clone()).ended(PATIENCE).await;
    ended
}

/// Nodes that wait because so many executions fill the quota.
pub async fn waiting(aws: &Aws, plugin: &Plugin, live: usize) -> Vec<Value> {
    aws.faults(json!({"quota": live})).await;
    let waiting = nodes("waiting", NODES, LONG);
    Nodes::ask(plugin, waiting.clone()).waiting(PATIENCE).await;
    until("the first in the queue has met the quota", PATIENCE, async || {
        plugin.metric("execution_start_failures_total").await > 0.0
    })
    .await;
    waiting
}

/// All rows for nodes of these kinds, which stay what they are meanwhile.
pub async fn measure(
    heading: &str,
    promise: Promise,
    plugin: &Plugin,
    kinds: [&Vec<Value>; 3],
    wanted: Wanted,
) -> Vec<Row> {
    let kinds: [Rc<[Vec<u8>]>; 3] = kinds.map(|tasks| requests(tasks));
    let answer = wire::fetch(&plugin.api, &kinds[0][0]).await.expect("a running node is answered");
    let bare = Bare::start(&String::from_utf8(answer).expect("an answer is text"));
    // Short rounds and many: which thread shares a core with which is drawn anew with each, and decides much.
    let lasts = wanted.of(Duration::from_millis(700), Duration::from_millis(300));
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let mut rounds: Vec<Round> = Vec::new();
        for _ in 0..wanted.of(21, 2) {
            let bare = load::run(&bare.address, &kinds[0], connections, lasts).await;
            let mut plugin_answered = [bare; 3];
            for (kind, requests) in kinds.iter().enumerate() {
                plugin_answered[kind] = load::run(&plugin.api, requests, connections, lasts).await;
            }
            rounds.push(Round { bare, plugin: plugin_answered });
        }
        for (kind, kind_name) in KINDS.iter().enumerate() {
            for (figure_name, figure) in FIGURES {
                let ratios = rounds.iter().map(|round| figure(&round.plugin[kind]) / figure(&round.bare));
                let ratio = median(ratios.collect());
                let own = median(rounds.iter().map(|round| figure(&round.plugin[kind])).collect());
                let bare = median(rounds.iter().map(|round| figure(&round.bare)).collect());
                let remark = match figure_name {
                    "requests_per_second" => format!("{own:.0}/s, bare {bare:.0}/s"),
                    _ => format!("{:.2} ms, bare {:.2} ms", own * 1e3, bare * 1e3),
                };
                let row = Row::new(
                    name(heading, kind_name, connections, figure_name),
                    ratio,
                    Unit::Ratio,
                    promise.budget(figure_name, connections),
                );
                rows.push(row.remark(remark));
            }
        }
        rows.push(waiting_to_running(heading, promise, connections, &rounds));
    }
    rows
}

/// Waiting nodes are answered as fast as running ones: nine tenths of it, because the rounds differ by themselves.
fn waiting_to_running(heading: &str, promise: Promise, connections: usize, rounds: &[Round]) -> Row {
    let ratios =
        rounds.iter().map(|Round { plugin: [running, waiting, _], .. }| waiting.per_second / running.per_second);
    let ratio = median(ratios.collect());
    let budget = match promise {
        Promise::Throughput => Budget::AtLeast(0.9),
        Promise::Tail => Budget::None,
    };
    Row::new(name(heading, "waiting", connections, "to_running"), ratio, Unit::Ratio, budget)
        .remark("requests/s of waiting nodes, to running nodes'")
}
