//! A machine in the middle of its work: the simulated service answers its calls at once, every turn is granted at once, and
//! its clock moves only when it is told to.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use awf_aws::{
    input::{self, Task},
    pace::{Answer, Request},
    pipelines::{CallEnded, Time},
    protocol::{ExecuteTemplateArgs, ExecuteTemplateReply},
    rounds::{LookEnd, Seen},
    simulator::{book::Book, door, scenario::Scenario},
    workflow::{Command, Event, Machine, RequestId, Settings},
};
use serde_json::{Value, json};

use super::tasks::{LONG, PARAMETERS, REGION, execute};

const START: Time = Time::at(1_795_000_000_000);

/// Polls are rare, so that what is measured is not hidden in them.
const POLL: Duration = Duration::from_secs(3600);

/// No request comes earlier than the node was told: requeue times end at 60 s and 20 % of jitter.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(75);

/// One workflow's machine and the service that it calls.
pub struct World {
    machine: Machine,
    book: Book,
    now: Time,
    alarm: Option<Time>,
    requests: u64,
    /// Whose turn it is to be asked for.
    turn: usize,
    tasks: Vec<Arc<Task>>,
}

/// The task of a request's JSON.
pub fn task(request: &Value) -> Task {
    let text = request.to_string();
    let args: ExecuteTemplateArgs<'_> = serde_json::from_str(&text).expect("a request");
    input::read_task(&args).expect("a valid task").expect("a task of this plugin")
}

impl World {
    /// A machine whose nodes all run, or all wait for capacity when there is none.
    pub fn with_nodes(count: usize, quota: usize) -> Self {
        let parameters: Vec<Value> =
            PARAMETERS.iter().map(|(name, _)| json!({"Name": name, "Type": "String"})).collect();
        let definition = json!({"Version": "2020-12-01", "Parameters": parameters,
            "Steps": [{"Name": "Train", "Type": "Training", "Arguments": {}}]});
        let scenario = json!({
            "pipelines": [{"name": LONG, "region": REGION, "definition": definition}],
            // A year: nothing ends.
            "faults": {"quota": quota, "step_seconds": 31_536_000},
        });
        let scenario = Scenario::parse(&scenario.to_string()).expect("a scenario");
        let settings = Settings { poll_min: POLL, poll_max: POLL, pod_born: START, ..Settings::default() };
        let mut world = Self {
            machine: Machine::new(settings),
            book: Book::new(scenario, START).expect("a pipeline that SageMaker takes"),
            now: START,
            alarm: None,
            requests: 0,
            turn: 0,
            tasks: (0..count).map(|node| Arc::new(task(&execute("wf", node, LONG)))).collect(),
        };
        for _ in 0..count {
            let event = world.request();
            world.tell(event);
        }
        // Until nobody is told anything new any more: in a crowd, what changes is told after five minutes.
        for _ in 0..8 * count {
            world.pass();
            let event = world.request();
            world.tell(event);
        }
        world
    }

    /// Lets time pass, so that each node is asked for as seldom as its agent does, and does what is due.
    pub fn pass(&mut self) {
        // Times are whole milliseconds, and what is left of them must not add up.
        let since = BETWEEN_REQUESTS.mul_f64(self.requests as f64 / self.tasks.len() as f64);
        self.now = START.plus(since);
        while self.alarm.is_some_and(|at| at <= self.now) {
            self.alarm = None;
            self.tell(Event::Tick);
        }
    }

    /// The request of the node that was not asked for the longest.
    pub fn request(&mut self) -> Event {
        self.requests += 1;
        let task = self.tasks[self.turn].clone();
        self.turn = (self.turn + 1) % self.tasks.len();
        Event::Requested { request: RequestId(self.requests), task }
    }

    /// What is measured: one event.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        self.machine.handle(event, self.now)
    }

    /// One event and all that follows from it.
    fn tell(&mut self, event: Event) {
        let commands = self.handle(event);
        self.carry_out(commands);
    }

    /// Does what the machine wants done; the last answer.
    pub fn carry_out(&mut self, commands: Vec<Command>) -> Option<ExecuteTemplateReply> {
        let mut answer = None;
        let mut open = VecDeque::from(commands);
        while let Some(command) = open.pop_front() {
            let event = match command {
                Command::Answer { reply, .. } => {
                    answer = Some(reply.read());
                    continue;
                }
                Command::Call { call, client, operation, .. } => {
                    let outcome = door::ask(&mut self.book, "AKIABENCHBENCHBENCH0", &client, &operation, self.now);
                    let ended = CallEnded { result: outcome.result, server_time: Some(self.now) };
                    Event::CallEnded { call, ended }
                }
                Command::Pace { lane, request: Request::Want(urgency, turns) } => {
                    Event::Paced { lane, answer: Answer::Granted { urgency, turns, reserved: false } }
                }
                // Nobody else follows anything: it describes what it wants to see.
                Command::Look { site, .. } => {
                    let over = Some(LookEnd::Describe);
                    Event::Seen(Seen { site, shown: Vec::new(), over, asked: None, of_others: 0 })
                }
                Command::WakeAt(at) => {
                    self.alarm = Some(at);
                    continue;
                }
                Command::Pace { .. } | Command::AskKubernetes | Command::Note(_) | Command::Retire => continue,
            };
            open.extend(self.machine.handle(event, self.now));
        }
        answer
    }
}
