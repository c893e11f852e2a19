//! The plugin's process: its machine, and what carries the machine's commands out. It can die between two of them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use awf_aws::{
    input::Task,
    pipelines::{Call, CallEnded, CallError, CallErrorKind, ClientKey, Time},
    rounds::Page,
    workflow::{CallId, Command, Event, Machine, RequestId, Settings, WorkflowState},
};

use super::{
    agent::Agent,
    argo::NodeId,
    plan::{Kubernetes, MINUTE, SECOND},
    saboteur::Act,
    turns::Turns,
    world::{Happening, World},
};

/// Workflow and pod, by number.
pub type PodId = (usize, usize);

pub struct Pod {
    /// By AWS's clock, and as its node's clock stamped it.
    pub born: Time,
    stamp: Time,
    /// When its process began.
    pub process_born: Time,
    /// Since when the process has followed the workflow that it has just forgotten, by its clock.
    forgot: Option<Time>,
    /// Its process's clock less AWS's: the node's when the process started.
    pub skew: i64,
    pub agent: Agent,
    pub plugin: Option<Plugin>,
    /// Counts the plugin's processes: what was meant for an earlier one is lost.
    pub plugins: u32,
    pub ended: bool,
    /// The process gets no CPU until then.
    pub stalled_until: Time,
}

impl Pod {
    pub fn new(born: Time, stamp: Time, skew: i64) -> Self {
        Self {
            born,
            stamp,
            process_born: born,
            forgot: None,
            skew,
            agent: Agent::default(),
            plugin: None,
            plugins: 0,
            ended: false,
            stalled_until: born,
        }
    }
}

pub struct Plugin {
    machine: Machine,
    pub turns: Turns,
    alarm: Option<Time>,
    /// Exchanges that wait for the machine's answer.
    parked: HashMap<RequestId, (u64, NodeId)>,
    /// Since when the process has followed the workflow, by its clock.
    served_since: Time,
    last_request: u64,
    pub knows_over: bool,
    draining: bool,
}

impl World {
    pub fn pod(&mut self, (workflow, pod): PodId) -> &mut Pod {
        &mut self.workflows[workflow].pods[pod]
    }

    /// The pod's own clock.
    pub fn pod_now(&self, id: PodId) -> Time {
        Time::at(self.now.millis() + self.skew(id))
    }

    pub fn start_plugin(&mut self, id: PodId) {
        let (now, offset) = (self.now, self.node_offset(id.0));
        let kubernetes = self.plan.workflows[id.0].kubernetes != Kubernetes::Off;
        let max_running_per_workflow = self.plan.workflows[id.0].troubles.max_running;
        // A workflow is forgotten soon in every seventh seed: between two of its nodes, and before somebody retries one.
        let forget_after =
            if self.plan.seed.is_multiple_of(7) { 20 * SECOND } else { Settings::default().forget_after };
        // A crowd begins with two in every other seed: its executions are looked at in another way.
        let crowd = if self.plan.seed.is_multiple_of(2) { 2 } else { Settings::default().crowd };
        let pod_born = self.pod(id).stamp;
        let default = Settings::default();
        let settings = Settings { pod_born, kubernetes, max_running_per_workflow, crowd, forget_after, ..default };
        let settings = self.saboteur.settings(settings);
        let seed = self.rng.u64(..);
        let pod = self.pod(id);
        if pod.ended || pod.plugin.is_some() {
            return;
        }
        pod.plugins += 1;
        pod.skew = offset;
        pod.process_born = now;
        let forgot = pod.forgot.take();
        pod.plugin = Some(Plugin {
            machine: Machine::new(Settings { served_since: forgot, ..settings }),
            served_since: forgot.unwrap_or(Time::at(now.millis() + offset)),
            turns: Turns::new(seed),
            alarm: None,
            parked: HashMap::new(),
            last_request: 0,
            knows_over: false,
            draining: false,
        });
        self.disturbed(id.0);
        let clocks = self.plan.troubles.clocks;
        if clocks.apart() {
            self.bites.add("fault: clocks apart");
        }
        if clocks.jump.is_some_and(|(at, _)| self.now >= Self::START.plus(at)) {
            self.bites.add("fault: clock jumped");
        }
        self.tell(|_| format!("{id:?} plugin starts"));
    }

    /// SIGKILL. Its connections break, the kubelet starts it again.
    pub fn kill_plugin(&mut self, id: PodId) {
        let pod = self.pod(id);
        if pod.plugin.take().is_none() {
            return;
        }
        let (agent, ended) = (pod.agent.generation, pod.ended);
        let waiting = pod.agent.exchanges();
        for (exchange, node) in waiting {
            self.after(Duration::from_millis(1), Happening::Reply { pod: id, agent, exchange, node, reply: None });
        }
        self.disturbed(id.0);
        self.tell(|_| format!("{id:?} plugin dies"));
        if !ended {
            let wait = self.ms(100, 6000);
            self.after(wait, Happening::StartPlugin(id));
        }
    }

    /// Nothing of the workflow is open and nobody asks: the process goes on with a machine that knows nothing.
    fn forget(&mut self, id: PodId) {
        let Some(plugin) = self.pod(id).plugin.take() else { return };
        self.pod(id).forgot = Some(plugin.served_since);
        if !plugin.parked.is_empty() {
            self.checks.broke("a workflow was forgotten while somebody waited for an answer");
        }
        self.bites.add("forgotten");
        self.tell(|_| format!("{id:?} forgets the workflow"));
        self.start_plugin(id);
    }

    pub fn kill_plugin_now_and_again(&mut self, id: PodId) {
        if self.is_calm() || self.pod(id).ended {
            return;
        }
        self.bites.add("fault: killed");
        self.kill_plugin(id);
        if let Some(mean) = self.plan.kill_every {
            let wait = self.wait_about(mean);
            self.after(wait, Happening::KillPlugin(id));
        }
    }

    /// The process stands still for a while, as under a CPU limit, and its clock seems to jump.
    pub fn stall(&mut self, id: PodId) {
        if self.is_calm() || self.pod(id).ended {
            return;
        }
        let until = self.now.plus(self.ms(500, 55_000));
        self.stand_still(id, until);
        self.bites.add("fault: stalled");
        self.tell(|_| format!("{id:?} stalls"));
        if let Some(mean) = self.plan.stall_every {
            let wait = self.wait_about(mean) + MINUTE;
            self.after(wait, Happening::Stall(id));
        }
    }

    fn stand_still(&mut self, id: PodId, until: Time) {
        let pod = self.pod(id);
        pod.stalled_until = pod.stalled_until.max(until);
        let until = pod.stalled_until;
        let workflow = &mut self.workflows[id.0];
        workflow.disturbed_at = workflow.disturbed_at.max(until);
    }

    /// SIGSTOP to every process of the workflow, SIGCONT much later: what happened meanwhile comes all at once.
    pub fn freeze(&mut self, workflow: usize) {
        let Some((_, lasts)) = self.plan.workflows[workflow].troubles.frozen else { return };
        let until = self.now.plus(lasts);
        for pod in 0..self.workflows[workflow].pods.len() {
            if self.pod((workflow, pod)).plugin.is_some() {
                self.stand_still((workflow, pod), until);
                self.bites.add("fault: frozen");
                self.tell(|_| format!("{:?} is frozen for {lasts:?}", (workflow, pod)));
            }
        }
    }

    pub fn request(&mut self, id: PodId, exchange: u64, node: NodeId, task: Arc<Task>) {
        if let Some(until) = self.stalled(id) {
            self.at(until, Happening::Request { pod: id, exchange, node, task });
            return;
        }
        let agent = self.pod(id).agent.generation;
        let Some(plugin) = self.pod(id).plugin.as_mut() else {
            self.after(Duration::from_millis(1), Happening::Reply { pod: id, agent, exchange, node, reply: None });
            return;
        };
        plugin.last_request += 1;
        let request = RequestId(plugin.last_request);
        plugin.parked.insert(request, (exchange, node));
        let process = (id, self.pod(id).plugins);
        self.is_asked(process, node);
        self.step(id, Event::Requested { request, task });
    }

    pub fn stalled(&mut self, id: PodId) -> Option<Time> {
        let now = self.now;
        Some(self.pod(id).stalled_until).filter(|until| *until > now)
    }

    pub fn alarm(&mut self, id: PodId, plugin: u32, at: Time) {
        if let Some(until) = self.stalled(id) {
            self.at(until, Happening::Alarm(id, plugin, at));
            return;
        }
        let pod = self.pod(id);
        let current = pod.plugins == plugin;
        let Some(running) = pod.plugin.as_mut().filter(|p| current && p.alarm == Some(at)) else { return };
        running.alarm = None;
        self.step(id, Event::Tick);
    }

    pub fn call_came_back(&mut self, id: PodId, plugin: u32, call: CallId, mut ended: CallEnded, sent: Time) {
        if let Some(until) = self.stalled(id) {
            // Whoever stood still finds the answer or its own time-out first.
            if until.since(sent) > 10 * SECOND && self.rng.bool() {
                let message = "no answer within 10 s".to_owned();
                let error = CallError { kind: CallErrorKind::OutcomeUnknown, code: None, message, request_id: None };
                self.all_uncertain(id.0);
                ended = CallEnded { result: Err(error), server_time: None };
            }
            self.at(until, Happening::FromAws { pod: id, plugin, call, ended, sent: until });
        } else if self.pod(id).plugins == plugin && self.pod(id).plugin.is_some() {
            self.check_heard((id, plugin), &ended);
            if !self.shared_hears(id, call, &ended) {
                self.step(id, Event::CallEnded { call, ended });
            }
        }
    }

    pub fn kubernetes_answers(&mut self, id: PodId, plugin: u32, state: WorkflowState) {
        if let Some(until) = self.stalled(id) {
            self.at(until, Happening::Kubernetes(id, plugin, state));
            return;
        }
        if self.pod(id).plugins != plugin {
            return;
        }
        if let Some(running) = self.pod(id).plugin.as_mut() {
            running.knows_over |= matches!(state, WorkflowState::Over | WorkflowState::Gone);
            self.step(id, Event::WorkflowObserved(state));
        }
    }

    /// SIGTERM: no new starts; what is on its way comes back or not; after the grace the process is gone.
    pub fn end_pod(&mut self, id: PodId) {
        let now = self.now;
        let pod = self.pod(id);
        if pod.ended {
            return;
        }
        let stands_still = pod.stalled_until > now;
        match pod.plugin.as_mut() {
            Some(plugin) if !plugin.draining && !stands_still => {
                plugin.draining = true;
                self.step(id, Event::Drain);
                self.after(25 * SECOND, Happening::EndPod(id));
            }
            // Whoever stands still hears no signal, and is killed after the grace.
            Some(plugin) if !plugin.draining => {
                plugin.draining = true;
                self.after(25 * SECOND, Happening::EndPod(id));
            }
            _ => {
                pod.ended = true;
                self.kill_plugin(id);
            }
        }
    }

    pub fn step(&mut self, id: PodId, event: Event) {
        let now = self.pod_now(id);
        let looks = matches!(event, Event::CallEnded { .. });
        let process = (id, self.pod(id).plugins);
        let Some(event) = self.overhears(process, event) else { return };
        let Some(plugin) = self.pod(id).plugin.as_mut() else { return };
        let commands = plugin.machine.handle(event, now);
        for act in self.meddles(process, commands) {
            self.tell(|_| format!("{id:?}   {act:?}"));
            if self.strikes(self.plan.odds.death) {
                self.bites.add("fault: killed between two commands");
                self.kill_plugin(id);
                return;
            }
            match act {
                // The rest was for the machine that is gone.
                Act::CarryOut(Command::Retire) => return self.forget(id),
                Act::CarryOut(command) => self.carry_out(id, command),
                Act::Refuse(call, error) => {
                    let (wait, sent) = (self.ms(5, 200), self.now);
                    let ended = CallEnded { result: Err(error), server_time: None };
                    self.after(wait, Happening::FromAws { pod: id, plugin: process.1, call, ended, sent });
                }
            }
        }
        if let Some(held) = self.pod(id).plugin.as_ref().filter(|_| looks).map(|plugin| plugin.machine.held()) {
            self.check_held(process, held);
        }
        if self.pod(id).plugin.as_ref().is_some_and(|plugin| plugin.machine.drained()) {
            self.end_pod(id);
        }
    }

    /// The node that a parked request is for.
    pub fn node_asked(&mut self, id: PodId, request: RequestId) -> Option<NodeId> {
        self.pod(id).plugin.as_ref()?.parked.get(&request).map(|(_, node)| *node)
    }

    fn carry_out(&mut self, id: PodId, command: Command) {
        let (skew, now) = (self.skew(id), self.pod_now(id));
        let generation = self.pod(id).plugins;
        let Some(plugin) = self.pod(id).plugin.as_mut() else { return };
        match command {
            Command::Answer { request, reply, .. } => {
                let Some((exchange, node)) = plugin.parked.remove(&request) else {
                    self.checks.broke("a request was answered twice");
                    return;
                };
                let reply = reply.read();
                self.check_reply(id, node, &reply);
                self.tell(|w| {
                    let node = &w.workflows[id.0].nodes[node];
                    let told = reply.node.as_ref().map(|n| (n.phase, n.message.chars().take(100).collect::<String>()));
                    format!("{id:?} tells {} {}: {told:?}, {:?}", node.plan.name, node.attempt, reply.requeue)
                });
                let agent = self.pod(id).agent.generation;
                let lost = self.strikes(self.plan.odds.lost_answer);
                if lost {
                    self.bites.add("fault: answer lost");
                }
                let wait = self.ms(1, 20);
                let reply = (!lost).then_some(reply);
                self.after(wait, Happening::Reply { pod: id, agent, exchange, node, reply });
            }
            Command::Pace { lane, request } => self.asks_for_turns(id, &lane, request),
            Command::Look { site, wanted, server_now } => self.looks(id, &site, wanted, server_now),
            Command::Call { call, client, operation, paced, .. } => {
                if let Some(page) = Page::of(&client, &operation) {
                    self.asks_for_page(id, call, &page);
                } else {
                    if paced {
                        plugin.turns.leaves(call, &client, &operation, now);
                    }
                    self.sends(id, call, client, operation);
                }
            }
            Command::WakeAt(at) => {
                plugin.alarm = Some(at);
                self.at(Time::at(at.millis() - skew), Happening::Alarm(id, generation, at));
            }
            Command::AskKubernetes => self.ask_kubernetes(id, generation),
            Command::Note(note) => self.check_note((id, generation), &note),
            Command::Retire => unreachable!("a machine that goes is taken away in its step"),
        }
    }

    /// A call leaves.
    pub fn sends(&mut self, id: PodId, call: CallId, client: ClientKey, operation: Call) {
        let pod = self.pod(id);
        let plugin = pod.plugins;
        let knew_over = pod.plugin.as_ref().is_some_and(|running| running.knows_over);
        if matches!(operation, Call::StartExecution(_) | Call::RetryExecution { .. }) {
            self.check_start_sent(id, &client, &operation);
        }
        self.check_sent((id, plugin), &operation);
        // Most calls are quick, some hang in the network and have their effect late.
        let wait = if self.strikes(0.02) { self.ms(200, 12_000) } else { self.ms(5, 100) };
        self.after(wait, Happening::ToAws { pod: id, plugin, call, client, operation, knew_over });
    }

    fn ask_kubernetes(&mut self, id: PodId, plugin: u32) {
        let state = self.workflow_state(id.0);
        let kind = self.kubernetes(id.0);
        if kind != Kubernetes::Works {
            self.disturbed(id.0);
        }
        let (state, wait) = match kind {
            Kubernetes::Off => return,
            Kubernetes::Works => (state, self.ms(5, 300)),
            Kubernetes::Slow if self.rng.bool() => (state, self.ms(300, 20_000)),
            Kubernetes::Slow | Kubernetes::Fails => (WorkflowState::Unknown, self.ms(5, 10_000)),
            Kubernetes::Forbids => (WorkflowState::Forbidden, self.ms(5, 300)),
        };
        self.after(wait, Happening::Kubernetes(id, plugin, state));
    }
}
