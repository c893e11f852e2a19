//! Rounds of 50 nodes in which the real plugin is killed again and again, at random instants, against the simulator.
//!
//! `AWF_AWS_TEST_KILL_ROUNDS` says how many rounds, `AWF_AWS_TEST_SEED` with which seed the first one begins. A seed fixes what
//! is done and when, not how fast two processes are: a failing round usually fails again within a few tries.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env,
    time::Duration,
};

use awf_aws::{
    demo::agent::{Agent, AgentSettings, NodeStatus},
    protocol::Phase,
};
use futures_util::{
    StreamExt,
    future::{join, join_all},
    stream,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    argo::{Plugin, TOKEN, execute},
    gate::Gate,
    simulator::Simulator,
};

const NODES: usize = 50;
/// The plugin's pace is per region: in three of them a round takes seconds, in one it would take a minute.
const REGIONS: [&str; 3] = ["us-west-2", "eu-west-1", "us-east-1"];
/// Rounds that run at the same time.
const ABREAST: usize = 5;
const ROUND_LIMIT: Duration = Duration::from_secs(150);

#[actix_rt::test]
async fn fifty_nodes_get_fifty_executions_however_often_the_plugin_is_killed() {
    let (rounds, first) = (variable("AWF_AWS_TEST_KILL_ROUNDS", 5), variable("AWF_AWS_TEST_SEED", 1));
    let began = Instant::now();
    let outcomes: Vec<(u64, Result<(), String>)> = stream::iter(first..first + rounds)
        .map(|seed| async move { (seed, round(seed).await) })
        .buffer_unordered(ABREAST)
        .collect()
        .await;
    let mut failures = Vec::new();
    for (seed, outcome) in outcomes {
        if let Err(problem) = outcome {
            failures.push(format!(
                "{problem}\nreplay: AWF_AWS_TEST_SEED={seed} AWF_AWS_TEST_KILL_ROUNDS=1 cargo test --test it kill_rounds"
            ));
        }
    }
    eprintln!("{rounds} rounds in {:?}, {} failed", began.elapsed(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn variable(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// SplitMix64: enough randomness for instants, the same for the same seed everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    async fn pause(&mut self, most_ms: u64) {
        sleep(Duration::from_millis(self.below(most_ms))).await;
    }
}

/// One round; the error says what was wrong.
async fn round(seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let simulator = Simulator::start(scenario(seed, &mut dice)).await;
    let mut plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let gate = Gate::open_to(plugin.api());
    let (mut killer, mut agents) = (Dice(dice.below(u64::MAX)), Dice(dice.below(u64::MAX)));
    let work = join(kill(&mut plugin, &simulator, &gate, &mut killer), drive(&gate.url, &mut agents));
    let outcome = match timeout(ROUND_LIMIT, work).await {
        Err(_) => Err(format!("the nodes have not ended within {ROUND_LIMIT:?}")),
        Ok((kills, (nodes, broken))) => {
            // What a killed plugin had sent may still arrive.
            sleep(Duration::from_millis(300)).await;
            let problem = judge(&nodes, &simulator.book().await).err().or(broken.first().cloned());
            problem.map_or(Ok(()), |problem| Err(format!("{problem} (after {kills} kills)")))
        }
    };
    outcome.map_err(|problem| {
        eprintln!("--- log of the last plugin of seed {seed} ---\n{}", plugin.process.log());
        format!("seed {seed}: {problem}")
    })
}

fn scenario(seed: u64, dice: &mut Dice) -> Value {
    // Every second round is short of capacity: 20 or so at once, in turns.
    let quota = if seed.is_multiple_of(2) { 7 } else { 60 };
    let semantics = ["same_arn", "mismatch_error", "conflict"][dice.below(3) as usize];
    let definition = json!({"Version": "2020-12-01", "Steps": [
        {"Name": "Prepare", "Type": "Processing", "Arguments": {}},
        {"Name": "Train", "Type": "Training", "Arguments": {}, "DependsOn": ["Prepare"]},
    ]});
    let pipelines: Vec<Value> = REGIONS
        .iter()
        .map(|region| json!({"name": "MyPipeline", "region": region, "definition": definition}))
        .collect();
    json!({"seed": seed, "pipelines": pipelines, "faults": {
        "quota": quota,
        "latency_ms": dice.below(150),
        "list_lag_seconds": 0.5 * dice.below(4) as f64,
        "token_semantics": semantics,
        "step_seconds": 0.3,
        "steps": {"Train": {"fail": 5 + dice.below(15), "reason": "ClientError: out of luck"}},
    }})
}

/// Kills the plugin several times, each time starting it anew. Gives how often.
async fn kill(plugin: &mut Plugin, simulator: &Simulator, gate: &Gate, dice: &mut Dice) -> u64 {
    let kills = 3 + dice.below(4);
    for _ in 0..kills {
        dice.pause(2000).await;
        match dice.below(4) {
            0 => {}
            // Between the effect of starts and replies that never come.
            1 => {
                simulator.faults(json!({"lose_reply": {"StartPipelineExecution": 1 + dice.below(6)}})).await;
                dice.pause(600).await;
            }
            2 => {
                simulator.faults(json!({"lose_reply": {"*": 1 + dice.below(3)}, "server_error": {"*": 1}})).await;
                dice.pause(300).await;
            }
            // While it drains.
            _ => {
                plugin.process.terminate();
                dice.pause(400).await;
            }
        }
        plugin.process.kill();
        dice.pause(500).await;
        plugin.kill_and_restart().await;
        gate.aim(plugin.api());
    }
    kills
}

/// Argo's side: agents one after the other, until every node has ended. Gives the ends and the rules of Argo's that were broken.
async fn drive(url: &str, dice: &mut Dice) -> (BTreeMap<usize, NodeStatus>, Vec<String>) {
    let mut settings = AgentSettings::new(url, TOKEN);
    // As patient as Argo's own, with shorter waits.
    (settings.tries, settings.first_wait) = (12, Duration::from_millis(20));
    let mut ended = BTreeMap::new();
    let mut broken = Vec::new();
    let mut deaths = dice.below(3);
    while ended.len() < NODES {
        let agent = Agent::new(settings.clone());
        let ends = RefCell::new(Vec::new());
        let open = (0..NODES).filter(|node| !ended.contains_key(node));
        let (agent_ref, ends_ref) = (&agent, &ends);
        let all = join_all(open.map(|node| async move {
            let end = agent_ref.execute(&name(node), &task(node), |_| ()).await;
            ends_ref.borrow_mut().push((node, end));
        }));
        let life = if deaths > 0 { Duration::from_millis(1000 + dice.below(4000)) } else { ROUND_LIMIT };
        let died = timeout(life, all).await.is_err();
        deaths = deaths.saturating_sub(1);
        // A dying agent loses the results of its last ten seconds: the next one asks for them again.
        let kept = ends.into_inner().into_iter().filter(|_| !died || dice.below(2) == 0);
        ended.extend(kept);
        broken.extend(agent.tally().broken_rules);
    }
    (ended, broken)
}

fn name(node: usize) -> String {
    format!("node-{node:02}")
}

fn task(node: usize) -> Value {
    execute(&name(node), json!({"region_name": REGIONS[node % REGIONS.len()]}))
}

/// One execution a node, every node as the book says, and nothing left alive.
fn judge(nodes: &BTreeMap<usize, NodeStatus>, book: &Value) -> Result<(), String> {
    let executions = book["executions"].as_array().ok_or("the book lists no executions")?;
    if executions.len() != NODES {
        let mut named: Vec<&str> = executions.iter().filter_map(|e| e["display_name"].as_str()).collect();
        named.sort_unstable();
        let twice: Vec<&str> = named.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        return Err(format!("{} executions for {NODES} nodes; started again: {twice:?}", executions.len()));
    }
    let mut seen = BTreeSet::new();
    for (node, status) in nodes {
        let arn = status.output("execution-arn").unwrap_or_default();
        let in_book = executions.iter().find(|e| e["arn"] == arn).and_then(|e| e["status"].as_str());
        let expected = match in_book {
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            other => return Err(format!("node {node} ended with {status:?}, the book says {other:?}")),
        };
        if status.phase != expected || !seen.insert(arn) {
            return Err(format!(
                "node {node} ended with {status:?}, the book says {in_book:?}; or its ARN is another's too"
            ));
        }
    }
    let failed = nodes.values().filter(|status| status.phase == Phase::Failed).count();
    if failed == 0 || failed == NODES { Err(format!("{failed} of {NODES} failed, some should have")) } else { Ok(()) }
}
