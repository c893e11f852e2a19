//! Virtual time, the wire between the processes and AWS, and what is wanted of them.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    ops::Range,
    time::Duration,
};

use awf_aws::{pace::Urgency, pipelines::Time};

use super::{
    account::Account,
    figures::{Figures, jain, quantiles},
    scenario::{AWS_BURST, BACKLOG, LIMIT, STOPS, Scenario},
};

/// How a process paces the calls of its workflows.
pub trait Pacer {
    fn new(workflows: usize, seed: u64, now: Time) -> Self;
    /// A workflow wants one more call.
    fn want(&mut self, workflow: usize, urgency: Urgency, now: Time);
    /// The calls that leave now, and when to come again.
    fn release(&mut self, now: Time) -> (Vec<(usize, Urgency)>, Option<Time>);
    fn ended(&mut self, workflow: usize, urgency: Urgency, sent: Time, throttled: bool, now: Time);
    /// How long a call that was throttled so often waits until it is wanted again.
    fn again(urgency: Urgency, tries: u32) -> Duration;
}

pub fn is_write(urgency: Urgency) -> bool {
    matches!(urgency, Urgency::Stop | Urgency::Start)
}

/// Seconds: the fleet finds its pace, is measured, loses AWS and finds it again.
const STEADY: Range<i64> = 180..780;
const OUTAGE: Range<i64> = 780..840;
const END: i64 = 900;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    process: usize,
    workflow: usize,
    urgency: Urgency,
    wanted: Time,
    sent: Time,
    throttles: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wanted(Call),
    Arrived(Call),
    Ended(Call, bool),
    Wake(usize),
    MoreStops,
    MoreStarts,
}

struct Process<P> {
    pacer: P,
    waiting: HashMap<(usize, Urgency), VecDeque<Call>>,
    wakes: Option<Time>,
}

pub struct World<'a, P> {
    scenario: &'a Scenario,
    now: Time,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    sequence: u64,
    account: Account,
    processes: Vec<Process<P>>,
    /// When calls of whom arrived, and whether they were served.
    arrivals: Vec<(Time, usize, bool)>,
    /// When calls were wanted, and how long they waited until AWS took them.
    waits: HashMap<Urgency, Vec<(Time, Duration)>>,
}

fn at(seconds: i64) -> Time {
    Time::at(seconds * 1000)
}

impl<'a, P: Pacer> World<'a, P> {
    pub fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let process = |number| Process {
            pacer: P::new(scenario.workflows, seed * 1000 + number as u64, Time::at(0)),
            waiting: HashMap::new(),
            wakes: None,
        };
        let mut world = Self {
            scenario,
            now: Time::at(0),
            random: fastrand::Rng::with_seed(seed),
            events: BinaryHeap::new(),
            sequence: 0,
            account: Account::new(LIMIT, AWS_BURST, at(OUTAGE.start)..at(OUTAGE.end)),
            processes: (0..scenario.processes).map(process).collect(),
            arrivals: Vec::new(),
            waits: HashMap::new(),
        };
        let endless: &[Urgency] =
            if scenario.starts.is_none() { &[Urgency::Start, Urgency::Poll] } else { &[Urgency::Poll] };
        for process in 0..scenario.processes {
            let begin = Time::at(world.random.i64(0..10_000));
            for workflow in 0..scenario.workflows {
                for urgency in endless {
                    for _ in 0..BACKLOG {
                        world.wanted(process, workflow, *urgency, begin);
                    }
                }
            }
        }
        world.push(at(20), Event::MoreStops);
        if scenario.starts.is_some() {
            world.push(at(20), Event::MoreStarts);
        }
        world
    }

    pub fn run(mut self) -> Figures {
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            if time >= at(END) {
                break;
            }
            self.now = time;
            self.handle(event);
        }
        self.count_the_unserved();
        self.figures()
    }

    /// Calls that AWS has not taken by the end have waited until then.
    fn count_the_unserved(&mut self) {
        let travelling = self.events.iter().filter_map(|Reverse((_, _, event))| match event {
            Event::Wanted(call) | Event::Arrived(call) | Event::Ended(call, false) => Some(call),
            _ => None,
        });
        let queued = self.processes.iter().flat_map(|process| process.waiting.values().flatten());
        for call in travelling.chain(queued) {
            self.waits.entry(call.urgency).or_default().push((call.wanted, at(END).since(call.wanted)));
        }
    }

    fn push(&mut self, time: Time, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((time, self.sequence, event)));
    }

    fn wanted(&mut self, process: usize, workflow: usize, urgency: Urgency, wanted: Time) {
        let call = Call { process, workflow, urgency, wanted, sent: wanted, throttles: 0 };
        self.push(wanted, Event::Wanted(call));
    }

    /// Half of a call's 50 ms and its jitter.
    fn one_way(&mut self) -> Duration {
        Duration::from_millis(self.random.u64(25..50))
    }

    /// The time of the next of events that come at random.
    fn next_at_random(&mut self, a_second: f64) -> Time {
        self.now.plus(Duration::from_secs_f64(-(1.0 - self.random.f64()).ln() / a_second))
    }

    fn anybody(&mut self) -> (usize, usize) {
        (self.random.usize(..self.scenario.processes), self.random.usize(..self.scenario.workflows))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wanted(call) => {
                let process = &mut self.processes[call.process];
                process.pacer.want(call.workflow, call.urgency, self.now);
                process.waiting.entry((call.workflow, call.urgency)).or_default().push_back(call);
                self.release(call.process);
            }
            Event::Arrived(call) => {
                let served = self.account.serves(self.now);
                self.arrivals.push((self.now, call.process, served));
                let answered = self.now.plus(self.one_way());
                self.push(answered, Event::Ended(call, served));
            }
            Event::Ended(call, served) => self.ended(call, served),
            Event::Wake(process) => {
                if self.processes[process].wakes == Some(self.now) {
                    self.processes[process].wakes = None;
                    self.release(process);
                }
            }
            Event::MoreStops => {
                let (process, workflow) = self.anybody();
                for _ in 0..self.scenario.stop_group {
                    self.wanted(process, workflow, Urgency::Stop, self.now);
                }
                let next = self.next_at_random(STOPS / f64::from(self.scenario.stop_group));
                self.push(next, Event::MoreStops);
            }
            Event::MoreStarts => {
                let (process, workflow) = self.anybody();
                self.wanted(process, workflow, Urgency::Start, self.now);
                let next = self.next_at_random(self.scenario.starts.expect("starts come at a rate"));
                self.push(next, Event::MoreStarts);
            }
        }
    }

    fn ended(&mut self, call: Call, served: bool) {
        let pacer = &mut self.processes[call.process].pacer;
        pacer.ended(call.workflow, call.urgency, call.sent, !served, self.now);
        if served {
            self.waits.entry(call.urgency).or_default().push((call.wanted, self.now.since(call.wanted)));
            if call.urgency == Urgency::Poll || (call.urgency == Urgency::Start && self.scenario.starts.is_none()) {
                self.wanted(call.process, call.workflow, call.urgency, self.now);
            }
        } else {
            let again = self.now.plus(P::again(call.urgency, call.throttles));
            self.push(again, Event::Wanted(Call { throttles: call.throttles + 1, ..call }));
        }
        self.release(call.process);
    }

    fn release(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let (turns, next) = process.pacer.release(self.now);
        process.wakes = next;
        for (workflow, urgency) in turns {
            let waiting = self.processes[number].waiting.get_mut(&(workflow, urgency));
            let call = waiting.and_then(VecDeque::pop_front).expect("a turn only for what was wanted");
            let arrives = self.now.plus(self.one_way());
            self.push(arrives, Event::Arrived(Call { sent: self.now, ..call }));
        }
        if let Some(next) = next {
            self.push(next, Event::Wake(number));
        }
    }

    fn served(&self, from: Time, to: Time) -> f64 {
        self.arrivals.iter().filter(|(time, _, served)| *served && (from..to).contains(time)).count() as f64
    }

    fn throttled(&self, from: Time, to: Time) -> f64 {
        let within: Vec<bool> = self.arrivals.iter().filter(|a| (from..to).contains(&a.0)).map(|a| a.2).collect();
        within.iter().filter(|served| !**served).count() as f64 / within.len() as f64
    }

    fn figures(&self) -> Figures {
        let (from, to, back) = (at(STEADY.start), at(STEADY.end), at(OUTAGE.end));
        let mut shares = vec![0.0; self.scenario.processes];
        for (_, process, _) in self.arrivals.iter().filter(|a| a.2 && (from..to).contains(&a.0)) {
            shares[*process] += 1.0;
        }
        let waits = |urgency| {
            let all = self.waits.get(&urgency).into_iter().flatten();
            // What is wanted just before the outage has to wait for its end.
            let steady = from..to.minus(Duration::from_secs(20));
            quantiles(all.filter(|(t, _)| steady.contains(t)).map(|(_, wait)| wait.as_secs_f64()).collect())
        };
        let five = Duration::from_secs(5);
        let recovered = (0..600).map(|tenths| back.plus(Duration::from_millis(tenths * 100)));
        let recovered = recovered.map(|t| t.plus(five)).find(|t| self.served(t.minus(five), *t) >= 0.8 * 5.0 * LIMIT);
        Figures {
            used: self.served(from, to) / (LIMIT * to.since(from).as_secs_f64()),
            throttled: self.throttled(from, to),
            fairness: jain(&shares),
            stops: waits(Urgency::Stop),
            starts: waits(Urgency::Start),
            recovery: recovered.map_or(f64::INFINITY, |t| t.since(back).as_secs_f64()),
            used_after: self.served(at(OUTAGE.end + 15), at(OUTAGE.end + 45)) / (LIMIT * 30.0),
            throttled_first: self.throttled(at(0), at(60)),
        }
    }
}
