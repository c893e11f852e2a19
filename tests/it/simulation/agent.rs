//! The agent of a workflow's pod: it asks for its tasks and writes what ended back.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use awf_aws::protocol::{ExecuteTemplateReply, parse_go_duration};

use super::{
    argo::{Ended, NodeId},
    plan::SECOND,
    pod::PodId,
    world::{Happening, World},
};

/// Argo's ARGO_AGENT_TASK_WORKERS.
const WORKERS: usize = 16;
/// How often the agent writes its results.
pub const PATCH_EVERY: Duration = Duration::from_secs(10);

/// The agent of a pod; what it knows dies with it.
#[derive(Default)]
pub struct Agent {
    pub generation: u32,
    tasks: BTreeMap<NodeId, AgentTask>,
    busy: usize,
    waiting: VecDeque<NodeId>,
    last_exchange: u64,
}

#[derive(Default)]
struct AgentTask {
    exchange: Option<u64>,
    tries: u32,
    ended: Option<Ended>,
    patched: bool,
}

impl Agent {
    /// What is under way.
    pub fn exchanges(&self) -> Vec<(u64, NodeId)> {
        self.tasks.iter().filter_map(|(node, task)| Some((task.exchange?, *node))).collect()
    }
}

impl World {
    /// The agent learns of a node from the TaskSet.
    pub fn hand_out(&mut self, id: PodId, node: NodeId) {
        if self.pod(id).ended || self.pod(id).agent.generation == 0 {
            return;
        }
        let generation = self.pod(id).agent.generation;
        self.pod(id).agent.tasks.entry(node).or_default();
        let wait = self.ms(1, 2000);
        self.after(wait, Happening::Ask(id, generation, node));
    }

    /// A new agent knows nothing and asks for everything again.
    pub fn restart_agent(&mut self, id: PodId) {
        if self.pod(id).ended {
            return;
        }
        let generation = self.pod(id).agent.generation + 1;
        self.pod(id).agent = Agent { generation, ..Agent::default() };
        self.disturbed(id.0);
        if generation > 1 {
            self.bites.add("fault: agent restarted");
        }
        self.tell(|_| format!("{id:?} agent starts"));
        let run = self.workflows[id.0].run;
        let again = self.rng.bool();
        let wanted: Vec<NodeId> = (0..self.workflows[id.0].nodes.len())
            .filter(|n| {
                let node = &self.workflows[id.0].nodes[*n];
                node.run == run && (again || node.ended.is_none())
            })
            .collect();
        for node in wanted {
            self.hand_out(id, node);
        }
        self.after(PATCH_EVERY, Happening::Patch(id, generation));
        if let Some(mean) = self.plan.agent_restart_every.filter(|_| !self.is_calm()) {
            let wait = self.wait_about(mean);
            self.after(wait, Happening::RestartAgent(id));
        }
    }

    pub fn ask(&mut self, id: PodId, generation: u32, node: NodeId) {
        let pod = self.pod(id);
        if pod.ended || pod.agent.generation != generation {
            return;
        }
        let agent = &mut pod.agent;
        let Some(known) = agent.tasks.get_mut(&node).filter(|t| t.exchange.is_none() && t.ended.is_none()) else {
            return;
        };
        if agent.busy >= WORKERS {
            agent.waiting.push_back(node);
            return;
        }
        agent.busy += 1;
        agent.last_exchange += 1;
        let exchange = agent.last_exchange;
        known.exchange = Some(exchange);
        let now = self.now;
        let asked = &mut self.workflows[id.0].nodes[node];
        asked.first_asked.get_or_insert(now);
        let task = self.render(id.0, node);
        let wait = self.ms(1, 50);
        if self.strikes(self.plan.odds.duplicate_request) {
            self.bites.add("fault: duplicate request");
            let late = wait + self.ms(0, 3000);
            self.after(late, Happening::Request { pod: id, exchange: 0, node, task: task.clone() });
        }
        self.after(wait, Happening::Request { pod: id, exchange, node, task });
        // The agent's HTTP client gives up after 30 s.
        self.after(30 * SECOND, Happening::Reply { pod: id, agent: generation, exchange, node, reply: None });
    }

    pub fn reply(
        &mut self,
        id: PodId,
        generation: u32,
        exchange: u64,
        node: NodeId,
        reply: Option<ExecuteTemplateReply>,
    ) {
        let agent = &mut self.pod(id).agent;
        if agent.generation != generation {
            return;
        }
        let Some(known) = agent.tasks.get_mut(&node).filter(|t| t.exchange == Some(exchange)) else { return };
        known.exchange = None;
        agent.busy -= 1;
        let next = agent.waiting.pop_front();
        let wait = match reply {
            None => {
                known.tries += 1;
                Some(SECOND * (1 << known.tries.min(4)))
            }
            Some(reply) => {
                known.tries = 0;
                known.ended = ended(&reply);
                reply.requeue.as_deref().and_then(parse_go_duration)
            }
        };
        if let Some(next) = next {
            self.after(Duration::ZERO, Happening::Ask(id, generation, next));
        }
        if let Some(wait) = wait {
            self.after(wait, Happening::Ask(id, generation, node));
        }
    }

    /// The agent writes what ended; the controller takes it over.
    pub fn patch(&mut self, id: PodId, generation: u32) {
        let pod = self.pod(id);
        if pod.ended || pod.agent.generation != generation {
            return;
        }
        let fresh: Vec<(NodeId, Ended)> = (pod.agent.tasks.iter_mut())
            .filter(|(_, task)| !task.patched && task.ended.is_some())
            .filter_map(|(node, task)| {
                task.patched = true;
                Some((*node, task.ended.clone()?))
            })
            .collect();
        let now = self.now;
        for (node, ended) in fresh {
            let known = &mut self.workflows[id.0].nodes[node];
            // What the controller has ended itself stays ended.
            if known.ended.is_none() && !known.unwanted {
                known.ended = Some(ended.clone());
                known.ended_at = Some(now);
                self.tell(|w| {
                    let node = &w.workflows[id.0].nodes[node];
                    format!("node {} attempt {} ended {ended:?}", node.plan.name, node.attempt)
                });
            }
        }
        self.after(PATCH_EVERY, Happening::Patch(id, generation));
    }
}

/// The end that a reply tells of.
pub fn ended(reply: &ExecuteTemplateReply) -> Option<Ended> {
    let node = reply.node.as_ref()?;
    let phase = node.phase.filter(|phase| phase.is_terminal())?;
    let parameters = node.outputs.iter().flat_map(|outputs| &outputs.parameters);
    let arn = parameters.into_iter().find(|p| p.name == "execution-arn").map(|p| p.value.clone());
    Some(Ended { phase, message: node.message.clone(), arn })
}
