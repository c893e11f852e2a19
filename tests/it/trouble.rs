//! Every row of the table [`awf_aws::workflow::trouble`], driven through the real binary and the simulator's faults.

use std::{collections::BTreeSet, time::Duration};

use awf_aws::{
    pipelines::CallErrorKind as Kind,
    workflow::trouble::{CallSite, Disposition, disposition},
};
use futures_util::future::{join, join_all};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use self::rows::{ROWS, Row, Shown};
use crate::support::{
    argo::{Plugin, execute, output, request},
    gate::Gate,
    simulator::Simulator,
};

mod moments;
mod rows;

/// What the cells of a row call, in their order.
const OPERATIONS: [&str; 6] = [
    "GetCallerIdentity",
    "ListPipelineExecutions",
    "DescribePipeline",
    "StartPipelineExecution",
    "DescribePipelineExecution",
    "StopPipelineExecution",
];
const PLACES: [CallSite; 6] =
    [CallSite::Account, CallSite::Listing, CallSite::Validate, CallSite::Start, CallSite::Poll, CallSite::Stop];

/// Pipelines of one step that takes a second and a half, and one that never ends.
fn scenario() -> Value {
    let pipeline = |name: &str, region: &str, step: &str| {
        let definition =
            json!({"Version": "2020-12-01", "Steps": [{"Name": step, "Type": "Training", "Arguments": {}}]});
        json!({"name": name, "region": region, "definition": definition})
    };
    json!({
        "pipelines": [
            pipeline("MyPipeline", "us-west-2", "Train"),
            pipeline("Checked", "us-west-2", "Train"),
            pipeline("Endless", "us-west-2", "Wait"),
            pipeline("MyPipeline", "eu-west-1", "Train"),
            pipeline("MyPipeline", "eu-central-1", "Train"),
            pipeline("Checked", "eu-central-1", "Train"),
        ],
        "faults": {"step_seconds": 1.5, "stop_seconds": 0.1, "steps": {"Wait": {"seconds": 3600}}},
    })
}

/// The fault that makes calls fail like this: a patch for each of these operations.
fn fault(kind: Kind, operations: &[&str], lifted: bool) -> Value {
    let chosen = |code: &str, status: u16| json!({"code": code, "message": "as the test wants it", "status": status});
    let (field, value) = match kind {
        // The test shuts the gate instead.
        Kind::Unreachable => return json!({}),
        Kind::Throttled => ("throttle", json!("always")),
        Kind::OutcomeUnknown => ("server_error", json!("always")),
        Kind::Denied => ("deny", json!("always")),
        Kind::Conflict => ("conflict", json!("always")),
        Kind::QuotaExceeded => ("errors", chosen("ResourceLimitExceeded", 400)),
        Kind::NotFound => ("errors", chosen("ResourceNotFound", 400)),
        Kind::Invalid => ("errors", chosen("ValidationException", 400)),
        Kind::Credentials => ("errors", chosen("ExpiredTokenException", 400)),
        Kind::TokenMismatch => ("errors", chosen("IdempotentParameterMismatchException", 400)),
    };
    let value = if lifted { Value::Null } else { value };
    let all: Map<String, Value> = operations.iter().map(|name| ((*name).to_owned(), value.clone())).collect();
    json!({field: all})
}

/// Waits until a node shows what its cell says, and that it says since when.
async fn shows(plugin: &Plugin, row: &Row, cell: usize, body: &Value) {
    let (expected, place) = (row.cells[cell], PLACES[cell]);
    let what = format!("{:?} at {place:?}: {expected:?}", row.kind);
    let reply = plugin
        .until(body, &what, |reply| {
            let message = reply["node"]["message"].as_str().unwrap_or_default();
            let ended = reply.get("requeue").is_none();
            ended || (message.contains(expected.text()) && !matches!(expected, Shown::Error(_)))
        })
        .await;
    let message = reply["node"]["message"].as_str().unwrap_or_default();
    let (phase, ends) = match expected {
        Shown::Pending(_) => ("Pending", false),
        Shown::Running(_) => ("Running", false),
        Shown::Error(_) => ("Error", true),
    };
    assert_eq!(reply["node"]["phase"], phase, "{what}: {reply}");
    assert!(message.contains(expected.text()), "{what}: {reply}");
    assert_eq!(reply.get("requeue").is_none(), ends, "{what}: {reply}");
    let waits = matches!(disposition(row.kind, place), Disposition::Again | Disposition::Mend | Disposition::SameBytes);
    if waits && !ends {
        assert!(message.contains("(since 20"), "{what}: it does not say since when: {message}");
    }
}

/// One row: nodes that stand in each place, the fault in all places at once, what they show, and how they end without it.
async fn drive(row: &Row) {
    let simulator = Simulator::start(scenario()).await;
    let mut gate = Gate::open_to(&simulator.endpoint);
    let plugin = Plugin::start(&gate.url, row.flags).await;
    // eu-west-1: nothing known. eu-central-1: the account is. us-west-2: also the past, and two executions run.
    let endless = execute("stopped", json!({"pipeline_name": "Endless"}));
    let polled = execute("polled", json!({}));
    let known = request(json!({"action": "validate", "pipeline_name": "Checked", "region_name": "eu-central-1"}));
    let runs = |reply: &Value| reply["node"]["message"].as_str().is_some_and(|text| text.starts_with("Executing"));
    plugin.until_ended(&known).await;
    let endless_arn = plugin.until_running(&endless).await;
    plugin.until(&endless, "it runs", runs).await;
    plugin.until(&polled, "it runs", runs).await;
    let bodies = [
        execute("account", json!({"region_name": "eu-west-1"})),
        execute("listing", json!({"region_name": "eu-central-1"})),
        request(json!({"action": "validate", "pipeline_name": "Checked"})),
        execute("start", json!({})),
        polled,
        request(json!({"action": "stop", "pipeline_name": "Endless", "execution_arn": endless_arn})),
    ];

    match row.kind {
        Kind::Unreachable => gate.shut().await,
        kind => simulator.faults(fault(kind, &OPERATIONS, false)).await,
    }
    let seen = bodies.iter().enumerate().map(|(cell, body)| {
        let (plugin, simulator) = (&plugin, &simulator);
        async move {
            shows(plugin, row, cell, body).await;
            if row.kind == Kind::Throttled {
                // Each throttle halves the pace; more of them than needed would make the test last.
                simulator.faults(fault(row.kind, &[OPERATIONS[cell]], true)).await;
            }
        }
    });
    join_all(seen).await;
    gate.open();
    simulator.faults(fault(row.kind, &OPERATIONS, true)).await;

    let ends = join_all(bodies.iter().enumerate().map(|(cell, body)| ends(&plugin, row, cell, body))).await;
    let stopped = plugin.until_ended(&endless).await;
    assert_eq!((&stopped["node"]["phase"], output(&stopped, "status")), (&json!("Failed"), "Stopped"), "{stopped}");
    // The stop node shows the ARN of the execution that it stopped.
    let shown: BTreeSet<&str> =
        ends.iter().flatten().chain([&stopped]).map(|end| output(end, "execution-arn")).collect();
    let book = simulator.executions().await;
    let started: BTreeSet<&str> = book.iter().map(|(arn, _)| arn.as_str()).collect();
    assert_eq!(shown.into_iter().filter(|arn| !arn.is_empty()).collect::<BTreeSet<_>>(), started, "{:?}", row.kind);
}

/// How a node ends once the fault is lifted; nothing for one whose start is searched for: that takes minutes.
async fn ends(plugin: &Plugin, row: &Row, cell: usize, body: &Value) -> Option<Value> {
    if disposition(row.kind, PLACES[cell]) == Disposition::Search {
        return None;
    }
    let expected = if matches!(row.cells[cell], Shown::Error(_)) { "Error" } else { "Succeeded" };
    let end = plugin.until_ended(body).await;
    assert_eq!(end["node"]["phase"], expected, "{:?} at {:?}, lifted: {end}", row.kind, PLACES[cell]);
    Some(end)
}

/// All rows side by side in one test: they mostly wait, and a test takes one of few threads.
#[actix_rt::test]
async fn every_row_of_the_table_holds_from_the_first_failure_to_the_end_of_each_node() {
    join_all(ROWS.iter().map(drive)).await;
}

#[test]
fn every_kind_of_error_has_a_row_and_every_end_in_it_is_in_the_table() {
    for row in ROWS {
        let short_grace = !row.flags.is_empty();
        for (place, shown) in PLACES.into_iter().zip(row.cells) {
            let ends = match disposition(row.kind, place) {
                Disposition::Refuse => true,
                // A running execution outlasts every grace. A denied listing is done without, then the start is denied.
                Disposition::Mend => short_grace && !matches!(place, CallSite::Poll | CallSite::Stop),
                Disposition::Without => short_grace,
                _ => false,
            };
            assert_eq!(matches!(shown, Shown::Error(_)), ends, "{:?} at {place:?}", row.kind);
        }
    }
    // A kind that is added to the crate has to be added here.
    for row in ROWS {
        match row.kind {
            Kind::Throttled | Kind::Unreachable | Kind::OutcomeUnknown | Kind::QuotaExceeded | Kind::Credentials => {}
            Kind::Denied | Kind::NotFound | Kind::Invalid | Kind::Conflict | Kind::TokenMismatch => {}
        }
    }
    let kinds: BTreeSet<&str> = ROWS.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds.len(), 10);
}

/// The columns that a row of nodes cannot stand in at once: a list for many polls, and the steps of an end.
#[actix_rt::test]
async fn lists_and_steps_that_fail_are_waited_out_or_done_without() {
    let kinds: Vec<Kind> = ROWS.iter().filter(|row| row.flags.is_empty()).map(|row| row.kind).collect();
    // Throttled lists slow the plugin down for minutes; the machine's tests have a virtual clock for them.
    let drivable = kinds.into_iter().filter(|kind| !matches!(kind, Kind::Unreachable | Kind::Throttled));
    join_all(drivable.map(|kind| async move {
        let scenario = json!({"faults": {"step_seconds": 1.5}});
        let simulator = Simulator::with_pipeline(scenario, &["Train"]).await;
        let plugin = Plugin::start(&simulator.endpoint, &[]).await;
        let nodes: Vec<Value> = (0..6).map(|n| execute(&format!("node-{n}"), json!({}))).collect();
        join_all(nodes.iter().map(|body| plugin.until_running(body))).await;
        let lists = ["ListPipelineExecutions", "ListPipelineExecutionSteps"];
        simulator.faults(fault(kind, &lists, false)).await;
        sleep(Duration::from_millis(2500)).await;
        if disposition(kind, CallSite::Round) != Disposition::Without {
            simulator.faults(fault(kind, &lists[..1], true)).await;
        }
        if disposition(kind, CallSite::Steps) != Disposition::Without {
            simulator.faults(fault(kind, &lists, true)).await;
        }
        let (first, last) = join(plugin.until_ended(&nodes[0]), plugin.until_ended(&nodes[5])).await;
        for end in [first, last] {
            assert_eq!(end["node"]["phase"], "Succeeded", "{kind:?}: {end}");
            let steps = end["node"]["outputs"]["result"].as_str().is_some_and(|digest| digest.contains("Train"));
            assert_eq!(steps, disposition(kind, CallSite::Steps) != Disposition::Without, "{kind:?}: {end}");
        }
        assert_eq!(simulator.executions().await.len(), nodes.len());
    }))
    .await;
}
