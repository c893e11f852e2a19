//! What goes wrong, carried out on the real plugin and the simulated AWS.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    argo::Argo,
    plan::{Denial, Kill, Plan, Step, Trouble},
};
use crate::support::{argo::Plugin, gate::Gate, process::LOOK, simulator::Simulator};

/// More than a plugin can ask for while a denial lasts.
const MANY: u64 = 100_000;
/// What was sent before a process was paused has arrived by then.
const ON_ITS_WAY: Duration = Duration::from_millis(300);

/// What was done to the plugin, and what it did meanwhile that it cannot have done.
#[derive(Debug, Default)]
pub struct Done {
    pub kills: u64,
    pub pauses: u64,
    pub takeovers: u64,
    /// Operation to how many calls of it.
    pub denied: BTreeMap<&'static str, u64>,
    pub wrong: Vec<String>,
}

impl Done {
    /// How many calls of an operation were denied.
    pub fn denied(&self, operation: &str) -> u64 {
        self.denied.get(operation).copied().unwrap_or_default()
    }
}

/// The plugin and its surroundings.
pub struct World<'a> {
    pub plugin: &'a mut Plugin,
    pub gate: &'a mut Gate,
    pub simulator: &'a Simulator,
    pub done: Done,
}

impl World<'_> {
    /// All troubles of a round, those of the end when the workflow has come so far.
    pub async fn suffer(mut self, plan: &Plan, argo: &Argo<'_>) -> Done {
        for step in &plan.troubles {
            self.step(step).await;
        }
        while !argo.is_at_the_end() {
            sleep(LOOK).await;
        }
        self.forbid(&plan.denied_at_the_end).await;
        argo.go_on();
        self.outlast(&plan.denied_at_the_end).await;
        for step in &plan.late {
            self.step(step).await;
        }
        argo.all_is_calm();
        self.done
    }

    async fn step(&mut self, step: &Step) {
        pass(step.after).await;
        match &step.trouble {
            Trouble::Kill(kill) => self.kill(kill).await,
            Trouble::Pause { lasts, both } => self.pause(*lasts, *both).await,
            Trouble::Deny(denial) => {
                self.forbid(denial).await;
                self.outlast(denial).await;
            }
        }
    }

    async fn kill(&mut self, kill: &Kill) {
        match kill {
            Kill::Nothing => {}
            Kill::LostStarts { replies, later } => {
                let lost = json!({
                    "StartPipelineExecution": replies, "RetryPipelineExecution": 2, "UpdatePipelineExecution": 1,
                });
                self.simulator.faults(json!({"lose_reply": lost})).await;
                pass(*later).await;
            }
            Kill::LostReplies { replies, later } => {
                self.simulator.faults(json!({"lose_reply": {"*": replies}, "server_error": {"*": 1}})).await;
                pass(*later).await;
            }
            Kill::Drain { later } => {
                self.plugin.process.terminate();
                pass(*later).await;
            }
        }
        self.kill_and_restart().await;
    }

    async fn kill_and_restart(&mut self) {
        self.plugin.kill_and_restart().await;
        self.gate.aim(self.plugin.api());
        self.done.kills += 1;
    }

    /// A process that is paused is not dead: what it believed before it goes on believing.
    async fn pause(&mut self, lasts: u64, both: Option<u64>) {
        self.plugin.process.pause();
        self.done.pauses += 1;
        sleep(ON_ITS_WAY).await;
        let before = self.calls().await;
        pass(lasts).await;
        let after = self.calls().await;
        if before != after {
            self.done.wrong.push(format!("a paused plugin called AWS: {before} before, {after} after"));
        }
        let Some(both) = both else {
            self.plugin.process.resume();
            return;
        };
        // Its node is taken for dead: the agent of the next pod asks the plugin of the next pod.
        let mut old = self.plugin.move_to_another_pod().await;
        self.gate.aim(self.plugin.api());
        self.gate.shut().await;
        self.gate.open();
        old.resume();
        pass(both).await;
        old.kill();
        self.done.takeovers += 1;
    }

    /// How often AWS was asked for something.
    async fn calls(&self) -> u64 {
        let book = self.simulator.book().await;
        book["calls"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum()
    }

    async fn forbid(&self, denial: &Denial) {
        self.simulator.faults(fault(denial, true)).await;
    }

    /// Waits until a denial is over, and counts whom it met.
    async fn outlast(&mut self, denial: &Denial) {
        if denial.killed {
            self.kill_and_restart().await;
        }
        pass(denial.lasts).await;
        let faults = self.simulator.book().await["faults"].take();
        self.simulator.faults(fault(denial, false)).await;
        for &operation in denial.operations {
            let left = if denial.expired { &faults["errors"][operation]["times"] } else { &faults["deny"][operation] };
            *self.done.denied.entry(operation).or_default() += MANY - left.as_u64().unwrap_or(MANY);
        }
    }
}

fn fault(denial: &Denial, on: bool) -> Value {
    let each = if !on {
        Value::Null
    } else if denial.expired {
        let text = "The security token included in the request is expired";
        json!({"code": "ExpiredTokenException", "message": text, "times": MANY})
    } else {
        json!(MANY)
    };
    let all: Value = denial.operations.iter().map(|operation| ((*operation).to_owned(), each.clone())).collect();
    json!({if denial.expired { "errors" } else { "deny" }: all})
}

async fn pass(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}
