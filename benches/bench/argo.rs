//! Nodes in the hands of the agent model: each is asked for until it has ended, with the agent's 16 workers and its waits.

use std::{cell::Cell, rc::Rc, time::Duration};

use serde_json::Value;
use tokio::task::{JoinHandle, spawn_local};

use super::{
    agent::{Agent, AgentSettings, NodeStatus, Tally},
    load::until,
    plugin::{Plugin, TOKEN},
    protocol::Phase,
};

/// How many nodes have been told what.
#[derive(Default)]
struct Told {
    started: Cell<usize>,
    waiting: Cell<usize>,
    ended: Cell<usize>,
}

/// Nodes that an agent asks for; it forgets them when dropped.
pub struct Nodes {
    agent: Rc<Agent>,
    told: Rc<Told>,
    count: usize,
    tasks: Vec<JoinHandle<()>>,
}

impl Nodes {
    /// Begins to ask for all of them at once.
    pub fn ask(plugin: &Plugin, tasks: Vec<Value>) -> Self {
        let agent = Rc::new(Agent::new(AgentSettings::new(format!("http://{}", plugin.api), TOKEN)));
        let told = Rc::new(Told::default());
        let count = tasks.len();
        let tasks = tasks.into_iter().map(|task| spawn_local(node(agent.clone(), told.clone(), task))).collect();
        Self { agent, told, count, tasks }
    }

    /// Waits until every node was told its execution.
    pub async fn started(&self, patience: Duration) {
        until("all nodes are told their executions", patience, async || self.told.started.get() >= self.count).await;
    }

    /// Waits until every node was told that it waits.
    pub async fn waiting(&self, patience: Duration) {
        until("all nodes are told that they wait", patience, async || self.told.waiting.get() >= self.count).await;
    }

    /// Waits until every node has ended.
    pub async fn ended(&self, patience: Duration) {
        until("all nodes have ended", patience, async || self.told.ended.get() >= self.count).await;
    }

    /// What the agent has seen.
    pub fn tally(&self) -> Tally {
        self.agent.tally()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn node(agent: Rc<Agent>, told: Rc<Told>, task: Value) {
    let (mut started, mut waiting) = (false, false);
    let once = |seen: &mut bool, now: bool, count: &Cell<usize>| {
        if now && !*seen {
            *seen = true;
            count.set(count.get() + 1);
        }
    };
    let report = |status: &NodeStatus| {
        once(&mut started, status.output("execution-arn").is_some(), &told.started);
        once(&mut waiting, status.phase == Phase::Pending, &told.waiting);
    };
    agent.execute("a node", &task, report).await;
    told.ended.set(told.ended.get() + 1);
}
