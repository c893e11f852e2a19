//! A crowd: many workflows of one process, with many nodes each, against the simulator's state machine under virtual time, a
//! quota that lets few run and throttles for a third of all calls. Nothing is lost, nothing runs twice, no node is an error.
//!
//! `AWF_AWS_TEST_CROWD=100x100 cargo test --release --test it crowd` plays 100 workflows with 100 nodes each; usual are ten
//! with thirty.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    sync::Arc,
    time::Duration,
};

use awf_aws::{
    input::{Task, WorkflowId},
    pace::{self, LaneKey},
    pipelines::{CallEnded, CallErrorKind, Status, Time},
    protocol::{ExecuteTemplateReply, Phase, parse_go_duration},
    rounds::{self, Page, Site},
    shared::{Deed, Shared},
    simulator::{
        book::Book,
        door,
        faults::{Faults, Times},
        scenario::{Scenario, ScenarioPipeline},
    },
    workflow::{CallId, Command, Event, Machine, RequestId, Settings, identity::Marker},
};
use fastrand::Rng;
use serde_json::json;

use crate::machine::task;

const START: Time = Time::at(1_795_000_000_000);
const LATENCY: Duration = Duration::from_millis(50);

/// Who plays, and how AWS is.
#[derive(Clone, Copy)]
struct Play {
    workflows: u32,
    /// Of each workflow.
    nodes: usize,
    /// Which its nodes use in turns.
    pipelines: usize,
    /// The share of calls that AWS throttles.
    throttled: f64,
    quota: usize,
    step_seconds: f64,
    /// How long an agent takes from one new node to the next.
    apart: Duration,
    polls: rounds::Settings,
}

enum Happening {
    Ask { workflow: u32, node: usize },
    CameBack { workflow: u32, call: CallId, ended: CallEnded },
    ListCameBack { site: Site, ended: CallEnded, sent: Time },
    PageCameBack { page: Page, ended: CallEnded, sent: Time },
    Alarm { workflow: u32, at: Time },
    TurnDue(Time),
}

struct Workflow {
    machine: Machine,
    alarm: Option<Time>,
    /// The node that each request is for.
    requests: HashMap<RequestId, usize>,
    asked: u64,
    ends: BTreeMap<usize, Phase>,
}

struct Crowd {
    play: Play,
    now: Time,
    random: Rng,
    book: Book,
    shared: Shared<u32>,
    due: Option<Time>,
    workflows: Vec<Workflow>,
    agenda: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    /// Turns that calls on their way have taken.
    sent: HashMap<(u32, CallId), (LaneKey, Time)>,
    calls: BTreeMap<&'static str, usize>,
    most_running: usize,
    /// Calls that waited for their turn at once.
    most_waiting: usize,
}

impl Crowd {
    fn new(play: Play) -> Self {
        let steps = json!({"Version": "2020-12-01", "Steps": [{"Name": "Train", "Type": "Training"}]});
        let pipeline = |number| ScenarioPipeline {
            name: pipeline_name(number),
            region: "us-west-2".to_owned(),
            account: None,
            definition: steps.clone(),
            description: None,
            role_arn: None,
        };
        let Play { workflows, nodes, polls, .. } = play;
        let faults = json!({"quota": play.quota, "step_seconds": play.step_seconds});
        let faults = Faults::default().merged(&faults).unwrap();
        let pipelines = (0..play.pipelines).map(pipeline).collect();
        let scenario = Scenario { pipelines, faults, ..Scenario::default() };
        let settings =
            Settings { pod_born: START, poll_min: polls.poll_min, poll_max: polls.poll_max, ..Settings::default() };
        let workflow = |_| Workflow {
            machine: Machine::new(settings.clone()),
            alarm: None,
            requests: HashMap::new(),
            asked: 0,
            ends: BTreeMap::new(),
        };
        let mut crowd = Self {
            play,
            now: START,
            random: Rng::with_seed(1),
            book: Book::new(scenario, START).unwrap(),
            shared: Shared::new(pace::Settings::default(), polls, 1, Marker::uid_of),
            due: None,
            workflows: (0..workflows).map(workflow).collect(),
            agenda: BTreeMap::new(),
            sequence: 0,
            sent: HashMap::new(),
            calls: BTreeMap::new(),
            most_running: 0,
            most_waiting: 0,
        };
        for workflow in 0..workflows {
            for node in 0..nodes {
                let at = START.plus(play.apart * u32::try_from(node).unwrap());
                crowd.at(at, Happening::Ask { workflow, node });
            }
        }
        crowd
    }

    fn at(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at.max(self.now), self.sequence), happening);
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.at(self.now.plus(wait), happening);
    }

    /// Plays until this holds.
    fn run(&mut self, until: impl Fn(&Self) -> bool) {
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            self.now = at;
            self.happen(happening);
            if until(self) {
                return;
            }
            assert!(self.now < START.plus(Duration::from_secs(48 * 3600)), "not ended after two days");
        }
        panic!("nothing more happens, and the end has not come");
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now.plus(time);
        self.run(|crowd| crowd.now >= end);
    }

    fn all_have_ended(&self) -> bool {
        self.workflows.iter().all(|workflow| workflow.ends.len() == self.play.nodes)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Ask { workflow, node } => {
                let asking = &mut self.workflows[workflow as usize];
                asking.asked += 1;
                let request = RequestId(asking.asked);
                asking.requests.insert(request, node);
                self.step(workflow, Event::Requested { request, task: Arc::new(self.play.task(workflow, node)) });
            }
            Happening::CameBack { workflow, call, ended } => {
                if let Some((lane, sent)) = self.sent.remove(&(workflow, call)) {
                    let throttled = ended.result.as_ref().is_err_and(|e| e.kind == CallErrorKind::Throttled);
                    let deeds = self.shared.call_answered(&lane, sent, throttled, self.now);
                    self.follow(deeds);
                }
                self.step(workflow, Event::CallEnded { call, ended });
            }
            Happening::ListCameBack { site, ended, sent } => {
                let deeds = self.shared.list_answered(&site, ended, sent, self.now);
                self.follow(deeds);
            }
            Happening::PageCameBack { page, ended, sent } => {
                let deeds = self.shared.page_answered(&page, ended, sent, self.now);
                self.follow(deeds);
            }
            Happening::Alarm { workflow, at } => {
                if self.workflows[workflow as usize].alarm == Some(at) {
                    self.workflows[workflow as usize].alarm = None;
                    self.step(workflow, Event::Tick);
                }
            }
            Happening::TurnDue(at) => {
                if self.due == Some(at) {
                    self.due = None;
                    let deeds = self.shared.due(self.now);
                    self.follow(deeds);
                }
            }
        }
    }

    fn step(&mut self, workflow: u32, event: Event) {
        for command in self.workflows[workflow as usize].machine.handle(event, self.now) {
            match command {
                Command::Answer { request, reply, .. } => self.answered(workflow, request, &reply.read()),
                Command::Call { call, client, operation, paced, .. } => {
                    if let Some(page) = Page::of(&client, &operation) {
                        let deeds = self.shared.page_asked(workflow, call.0, &page, self.now);
                        self.follow(deeds);
                        continue;
                    }
                    if let Some(lane) = LaneKey::of(&client, &operation).filter(|_| paced) {
                        self.sent.insert((workflow, call), (lane, self.now));
                    }
                    let ended = self.aws(&client, &operation);
                    self.after(LATENCY, Happening::CameBack { workflow, call, ended });
                }
                Command::Pace { lane, request } => {
                    let deeds = self.shared.turns_asked(workflow, &lane, request, self.now);
                    self.follow(deeds);
                }
                Command::Look { site, wanted, server_now } => {
                    let deeds = self.shared.looked((workflow, &uid(workflow)), &site, wanted, self.now, server_now);
                    self.follow(deeds);
                }
                Command::WakeAt(at) => {
                    self.workflows[workflow as usize].alarm = Some(at);
                    self.at(at, Happening::Alarm { workflow, at });
                }
                Command::AskKubernetes | Command::Note(_) | Command::Retire => {}
            }
        }
    }

    fn follow(&mut self, deeds: Vec<Deed<u32>>) {
        for deed in deeds {
            match deed {
                Deed::Pace(workflow, lane, answer) => self.step(workflow, Event::Paced { lane, answer }),
                Deed::Seen(workflow, seen) => self.step(workflow, Event::Seen(seen)),
                Deed::Call(site, call, _) => {
                    let ended = self.aws(&site.client, &call);
                    let sent = self.now;
                    self.after(LATENCY, Happening::ListCameBack { site, ended, sent });
                }
                Deed::List(_, page, _) => {
                    let (ended, sent) = (self.aws(&page.site.client, &page.call()), self.now);
                    self.after(LATENCY, Happening::PageCameBack { page, ended, sent });
                }
                Deed::ListingWaits(workflow, number) => {
                    self.step(workflow, Event::CallWaits { call: CallId(number) });
                }
                Deed::Listed(workflow, number, ended) => {
                    let ended = Arc::unwrap_or_clone(ended);
                    self.step(workflow, Event::CallEnded { call: CallId(number), ended });
                }
            }
        }
        let waiting = self.shared.lanes().map(|(_, lane)| lane.waiting()).sum();
        self.most_waiting = self.most_waiting.max(waiting);
        let next = self.shared.next_due();
        if self.due != next {
            self.due = next;
            if let Some(at) = next {
                self.at(at, Happening::TurnDue(at));
            }
        }
    }

    fn aws(&mut self, client: &awf_aws::pipelines::ClientKey, call: &awf_aws::pipelines::Call) -> CallEnded {
        let name = call.operation();
        *self.calls.entry(name).or_default() += 1;
        self.book.faults.throttle.clear();
        if self.random.f64() < self.play.throttled {
            self.book.faults.throttle.insert(name.to_owned(), Times::Next(1));
        }
        let outcome = door::ask(&mut self.book, "AKIAPLUGIN", client, call, self.now);
        if name == "StartPipelineExecution" {
            let running = self.book.executions().iter().filter(|e| e.status.is_live()).count();
            self.most_running = self.most_running.max(running);
        }
        CallEnded { result: outcome.result, server_time: Some(self.now) }
    }

    fn answered(&mut self, workflow: u32, request: RequestId, reply: &ExecuteTemplateReply) {
        let node = self.workflows[workflow as usize].requests.remove(&request).expect("one answer for each request");
        let phase = reply.node.as_ref().and_then(|node| node.phase);
        assert_ne!(phase, Some(Phase::Error), "{reply:?}");
        match &reply.requeue {
            Some(requeue) => {
                self.after(parse_go_duration(requeue).unwrap(), Happening::Ask { workflow, node });
            }
            None => {
                self.workflows[workflow as usize].ends.insert(node, phase.expect("an end has a phase"));
            }
        }
    }
}

fn uid(workflow: u32) -> String {
    format!("uid-{workflow}")
}

fn pipeline_name(number: usize) -> String {
    format!("MyPipeline{number}")
}

impl Play {
    /// AWS takes everything at once, and nothing ends.
    fn unhindered(workflows: u32, nodes: usize, pipelines: usize, polls: rounds::Settings) -> Self {
        let (throttled, quota, step_seconds, apart) = (0.0, usize::MAX, 1e7, Duration::from_millis(1));
        Self { workflows, nodes, pipelines, throttled, quota, step_seconds, apart, polls }
    }

    fn task(&self, workflow: u32, node: usize) -> Task {
        let name = format!("wf-{workflow}");
        Task {
            workflow: WorkflowId { uid: uid(workflow), name, namespace: "argo".to_owned() },
            workflow_created: Some(START),
            pipeline_name: pipeline_name(node % self.pipelines),
            ..task(&format!("node-{node}"), 0)
        }
    }

    fn all(&self) -> usize {
        self.workflows as usize * self.nodes
    }
}

#[test]
fn thousands_of_nodes_of_many_workflows_run_to_their_end_under_throttling_and_a_quota() {
    let size = env::var("AWF_AWS_TEST_CROWD").unwrap_or_else(|_| "10x30".to_owned());
    let (workflows, nodes) = size.split_once('x').expect("AWF_AWS_TEST_CROWD is as 100x100");
    let play = Play {
        workflows: workflows.parse().unwrap(),
        nodes: nodes.parse().unwrap(),
        pipelines: 1,
        throttled: 0.3,
        quota: 200,
        step_seconds: 30.0,
        apart: Duration::from_millis(60),
        polls: default_polls(),
    };
    let mut crowd = Crowd::new(play);
    crowd.run(Crowd::all_have_ended);
    let all = play.all();
    let executions = crowd.book.executions();
    let markers: BTreeSet<String> = executions
        .iter()
        .map(|e| Marker::parse(e.description.as_deref().unwrap_or_default()).expect("a marker"))
        .map(|marker| format!("{} {} {}", marker.uid, marker.key.hex(64), marker.attempt))
        .collect();
    let took = crowd.now.since(START);
    println!("{all} nodes in {took:?}, at most {} at once: {:?}", crowd.most_running, crowd.calls);
    assert_eq!((executions.len(), markers.len()), (all, all), "none lost, none twice");
    assert!(executions.iter().all(|e| e.status == Status::Succeeded));
    assert!(crowd.workflows.iter().all(|w| w.ends.values().all(|end| *end == Phase::Succeeded)));
    assert!(crowd.most_running <= play.quota);
}

fn default_polls() -> rounds::Settings {
    let Settings { poll_min, poll_max, .. } = Settings::default();
    rounds::Settings { poll_min, poll_max }
}

/// The calls of so many poll rounds, two rounds after the last of so many executions has started; and how many calls waited
/// for their turn at most meanwhile.
fn calls_of_rounds(
    rounds: u32,
    workflows: u32,
    nodes: usize,
    pipelines: usize,
) -> (BTreeMap<&'static str, usize>, usize) {
    let poll = Duration::from_secs(30);
    let play = Play::unhindered(workflows, nodes, pipelines, rounds::Settings { poll_min: poll, poll_max: poll });
    let mut crowd = Crowd::new(play);
    crowd.run(|crowd| crowd.book.executions().len() == play.all());
    println!("{} started after {:?}: {:?}", play.all(), crowd.now.since(START), crowd.calls);
    crowd.run_for(poll * 2);
    crowd.calls.clear();
    crowd.most_waiting = 0;
    crowd.run_for(poll * rounds);
    (crowd.calls, crowd.most_waiting)
}

#[test]
fn a_round_takes_a_list_for_a_hundred_executions_however_many_pipelines_and_workflows_they_belong_to() {
    for (workflows, nodes, pipelines) in [(1, 1000, 1), (1, 1000, 10), (50, 20, 1)] {
        let (calls, waiting) = calls_of_rounds(3, workflows, nodes, pipelines);
        let all: usize = calls.values().sum();
        let most = 3 * (workflows as usize * nodes / 100 + pipelines);
        assert!(all <= most, "{workflows} workflows of {nodes} nodes, {pipelines} pipelines: {calls:?}");
        assert!(waiting <= pipelines, "{waiting} waited: {calls:?}");
    }
}

#[test]
fn who_starts_a_crowd_makes_few_calls_but_the_starts() {
    for (workflows, nodes, pipelines) in [(1, 1000, 10), (50, 20, 1)] {
        let play = Play::unhindered(workflows, nodes, pipelines, default_polls());
        let mut crowd = Crowd::new(play);
        crowd.run(|crowd| crowd.book.executions().len() == play.all());
        let asked: usize = crowd.calls.iter().filter(|(name, _)| name.contains("Pipeline")).map(|(_, n)| n).sum();
        let asked = asked - crowd.calls["StartPipelineExecution"];
        assert!(
            asked < play.all() / 4,
            "{workflows} workflows of {nodes} nodes, {pipelines} pipelines: {:?}",
            crowd.calls
        );
    }
}
