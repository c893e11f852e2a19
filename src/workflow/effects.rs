//! What an event leads to: the only place where calls are queued, timers set and commands given, with the clocks that
//! all of it goes by.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    time::Duration,
};

use foldhash::HashMap;

use crate::{
    pace::{Answer, Direction, LaneKey, Urgency},
    pipelines::{Call, CallEnded, ClientKey, Time},
    protocol::Reply,
    rounds::{Site, Wanted},
};

use super::{
    CallId, Command, RequestId,
    clocks::Clock,
    marker::Marker,
    notes::Note,
    outbox::{Leaving, Outbox, Waiting},
    room::Room as _,
    settings::Settings,
    slab::{AttemptId, ExecutionId, PipelineId, StopId, ValidationId},
};

/// So many stops are on their way at once in the process's last moments, whatever the pace; what AWS throttles is
/// repeated. At 200 ms a call that is 80 stops a second, the account's limit permitting.
const LAST_STOPS_AT_ONCE: usize = 16;

/// Which node an event or a timer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeRef {
    Execute(AttemptId),
    Validate(ValidationId),
    Stop(StopId),
}

/// What a call on its way is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    Identity(ClientKey),
    Digest {
        pipeline: PipelineId,
        version: Option<i64>,
    },
    Listing(PipelineId),
    Survey(PipelineId),
    Start(AttemptId),
    /// The marker of this attempt's resume, which follows.
    Mark(AttemptId),
    Resume(AttemptId),
    Describe(ExecutionId),
    /// The page of this listing of the execution's steps.
    Steps {
        execution: ExecutionId,
        listing: u32,
    },
    /// The question at this place about the steps of this listing.
    Aftermath {
        execution: ExecutionId,
        listing: u32,
        place: usize,
    },
    Stop(ExecutionId),
}

/// What an open call tells something about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Client(ClientKey),
    Pipeline(PipelineId),
    Execution(ExecutionId),
    /// The start or the resume of this attempt.
    Start(AttemptId),
}

impl Purpose {
    fn subject(&self) -> Subject {
        match self {
            Self::Identity(client) => Subject::Client(client.clone()),
            Self::Digest { pipeline, .. } | Self::Listing(pipeline) | Self::Survey(pipeline) => {
                Subject::Pipeline(*pipeline)
            }
            Self::Start(node) | Self::Mark(node) | Self::Resume(node) => Subject::Start(*node),
            Self::Describe(id)
            | Self::Steps { execution: id, .. }
            | Self::Aftermath { execution: id, .. }
            | Self::Stop(id) => Subject::Execution(*id),
        }
    }
}

/// What a timer is for. A timer that comes too often does no harm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    Node(NodeRef),
    Client(ClientKey),
    Listing(PipelineId),
    Refresh(PipelineId),
    Digest(PipelineId),
    Poll(PipelineId),
    Execution(ExecutionId),
    Queue,
    Outbox,
    Workflow,
    Rest,
}

/// What changed, for whoever has to look at it next: nobody reaches up to tell them.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is known when this run of the workflow began.
    Run,
    /// The workflow is over; nodes of exit handlers may still start if `except_exit_handlers`.
    Over { text: String, except_exit_handlers: bool },
    /// What is known of a pipeline that its nodes wait for.
    Pipeline(PipelineId),
    /// A pipeline's definition was described.
    Digest(PipelineId),
    /// A pipeline is to be listed again.
    Stale(PipelineId),
    /// Which pipelines the workflow may have run.
    Survey,
    /// An execution with this workflow's marker was found, with its marker.
    Adopted(ExecutionId, Box<Marker>),
    /// What is known of an execution.
    Execution { id: ExecutionId, ended: bool, whose: Whose },
    /// A node follows this execution no more.
    Released(ExecutionId),
}

/// Which nodes look at an execution that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Followers,
    /// All of its key: what it is decides for them.
    Key,
}

/// A call that waits to leave or is on its way.
struct OpenCall {
    purpose: Purpose,
    place: Place,
    left: Time,
}

/// Where a call is.
enum Place {
    /// It waits here for its turn of this lane.
    InLine(LaneKey),
    /// Whoever keeps what workflows share has it wait for its turn.
    AtTheKeepers,
    OnItsWay,
}

/// Stops that AWS has not answered.
#[derive(Default)]
struct OpenStops {
    /// First stops of an execution that have never left.
    unsent: HashSet<CallId>,
    /// When one last waited so.
    held_at: Time,
    /// Those that left and did not come back.
    in_flight: usize,
}

/// Time, and everything that leaves the machine or waits to.
pub struct Effects {
    settings: Settings,
    now: Time,
    /// When the first event came.
    began: Option<Time>,
    /// When the call left whose answer is being taken in.
    left: Time,
    commands: Vec<Command>,
    changes: VecDeque<Change>,
    calls: HashMap<CallId, OpenCall>,
    /// The open calls by what they are about.
    about: HashMap<Subject, Vec<CallId>>,
    last_call: u64,
    outbox: Outbox,
    stops: OpenStops,
    timers: BTreeSet<(Time, Timer)>,
    woken_for: Option<Time>,
    aws: Clock,
    /// The API server's; the workflow's times are by it.
    kubernetes: Clock,
}

impl Effects {
    /// Nothing has happened yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Time::default(),
            began: None,
            left: Time::default(),
            commands: Vec::new(),
            changes: VecDeque::new(),
            calls: HashMap::default(),
            about: HashMap::default(),
            last_call: 0,
            outbox: Outbox::default(),
            stops: OpenStops::default(),
            timers: BTreeSet::new(),
            woken_for: None,
            aws: Clock::default(),
            kubernetes: Clock::default(),
        }
    }

    /// An event came at this time; whether it is the first. Time never runs backwards.
    pub fn begin(&mut self, now: Time) -> bool {
        self.now = self.now.max(now);
        let first = self.began.is_none();
        self.began.get_or_insert(self.now);
        first
    }

    /// The time of the event that is being taken in, by our clock.
    pub fn now(&self) -> Time {
        self.now
    }

    /// When this machine was first asked for something of the workflow.
    pub fn began(&self) -> Time {
        self.began.unwrap_or(self.now)
    }

    /// When this process was, by this machine or one before it that was let go.
    pub fn served_since(&self) -> Time {
        self.settings.served_since.unwrap_or(self.began())
    }

    /// When the call left whose answer is being taken in.
    pub fn left(&self) -> Time {
        self.left
    }

    /// What the machine was told once.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// AWS's clock.
    pub fn aws(&self) -> Clock {
        self.aws
    }

    /// The API server's clock.
    pub fn kubernetes(&self) -> Clock {
        self.kubernetes
    }

    /// Our clock's time as AWS's.
    pub fn server_now(&self) -> Time {
        self.aws.theirs(self.now)
    }

    /// Takes in the date of an answer of Kubernetes that was asked for at `asked`.
    pub fn kubernetes_dated(&mut self, asked: Time, dated: Time) {
        self.kubernetes.compare(asked, self.now, dated);
    }

    /// Puts a call in line; it leaves when its turn comes.
    pub fn call(&mut self, urgency: Urgency, client: &ClientKey, operation: Call, purpose: Purpose) -> CallId {
        self.last_call += 1;
        let call = CallId(self.last_call);
        self.about.entry(purpose.subject()).or_default().push(call);
        // Other workflows may want the same pages: whoever keeps what they share takes the turns for them.
        let shared = matches!(purpose, Purpose::Listing(_));
        let lane = LaneKey::of(client, &operation).filter(|_| !shared);
        let place = lane.clone().map_or(Place::OnItsWay, Place::InLine);
        self.calls.insert(call, OpenCall { purpose, place, left: self.now });
        let starts = lane.as_ref().filter(|_| urgency == Urgency::Start);
        let since = starts.and_then(|lane| self.outbox.take_head(lane)).unwrap_or(self.now);
        let waiting = Waiting { call, client: client.clone(), operation, since };
        match lane {
            Some(lane) => self.outbox.push(lane, urgency, waiting),
            None => self.leave(Leaving { waiting, paced: false }),
        }
        call
    }

    /// Has executions looked at by whoever keeps the process's poll rounds.
    pub fn look(&mut self, site: Site, wanted: Vec<Wanted>) {
        self.commands.push(Command::Look { site, wanted, server_now: self.server_now() });
    }

    /// Takes in when a poll round's list was asked for, and the date of its answer.
    pub fn listed(&mut self, asked: Time, dated: Option<Time>) {
        self.left = asked;
        if let Some(dated) = dated {
            self.aws.compare(asked, self.now, dated);
        }
    }

    /// The first stop of an execution: nodes count their patience from when the last of these has left.
    pub fn first_stop(&mut self, call: CallId) {
        self.stops.unsent.insert(call);
    }

    /// What the call was for that came back; `None` for an answer that comes twice.
    pub fn returned(&mut self, call: CallId, ended: &CallEnded) -> Option<Purpose> {
        let OpenCall { purpose, left, .. } = self.close(call)?;
        self.left = left;
        if let Some(dated) = ended.server_time {
            self.aws.compare(left, self.now, dated);
        }
        if matches!(purpose, Purpose::Stop(_)) {
            self.stops.in_flight = self.stops.in_flight.saturating_sub(1);
        }
        Some(purpose)
    }

    fn close(&mut self, call: CallId) -> Option<OpenCall> {
        let open = self.calls.remove(&call)?;
        let subject = open.purpose.subject();
        if let Some(calls) = self.about.get_mut(&subject) {
            calls.retain(|other| *other != call);
            if calls.is_empty() {
                self.about.remove(&subject);
            }
        }
        self.calls.give_back();
        self.about.give_back();
        Some(open)
    }

    /// A call that was handed over waits for its turn.
    pub fn waits(&mut self, call: CallId) {
        self.calls.entry(call).and_modify(|open| open.place = Place::AtTheKeepers);
    }

    /// Whether an answer about this is on its way: a call has left, or may leave at once for all that is known.
    pub fn is_coming(&self, subject: &Subject) -> bool {
        self.about.get(subject).is_some_and(|calls| calls.iter().any(|call| self.comes(call)))
    }

    fn comes(&self, call: &CallId) -> bool {
        match self.calls.get(call).map(|open| &open.place) {
            Some(Place::InLine(lane)) => self.outbox.may_come(lane),
            Some(Place::OnItsWay) => true,
            Some(Place::AtTheKeepers) | None => false,
        }
    }

    /// Calls off the starts and resumes that have not left yet; gives whose they were.
    pub fn withdraw_starts(&mut self) -> Vec<AttemptId> {
        let starts = |call: &Call| {
            matches!(call, Call::StartExecution(_) | Call::UpdateExecution { .. } | Call::RetryExecution { .. })
        };
        let unsent = self.outbox.withdraw(|waiting| starts(&waiting.operation));
        let open: Vec<_> = unsent.into_iter().filter_map(|call| self.close(call)).collect();
        let node = |open: OpenCall| match open.purpose {
            Purpose::Start(node) | Purpose::Mark(node) | Purpose::Resume(node) => Some(node),
            _ => None,
        };
        open.into_iter().filter_map(node).collect()
    }

    /// Takes in what a lane says.
    pub fn paced(&mut self, lane: &LaneKey, answer: Answer) {
        self.outbox.told(lane, answer);
    }

    /// The head of the start queue waits for a turn of its client, or does no longer.
    pub fn head_waits(&mut self, client: &ClientKey, waits: bool) {
        self.outbox.head_waits(&writes_of(client), waits.then_some(self.now));
    }

    /// Whether a start of this client may leave at once.
    pub fn has_turn_for_start(&self, client: &ClientKey) -> bool {
        self.outbox.has_turn_for_start(&writes_of(client))
    }

    /// Whether the head of this client's start queue may start at once, for all that is known.
    pub fn head_may_start(&self, client: &ClientKey) -> bool {
        self.outbox.head_may_start(&writes_of(client))
    }

    /// Lets go what may leave now. In the process's last moments (`last`) stops leave whatever the pace.
    pub fn release(&mut self, last: bool) {
        let mut leaving = self.outbox.release(last);
        if last {
            let slots = LAST_STOPS_AT_ONCE.saturating_sub(self.stops.in_flight);
            leaving.extend(self.outbox.release_stops(slots));
        }
        for call in leaving {
            self.leave(call);
        }
        if self.stops.unsent.iter().any(|call| !self.comes(call)) {
            self.stops.held_at = self.now;
        }
    }

    fn leave(&mut self, Leaving { waiting: Waiting { call, client, operation, since }, paced }: Leaving) {
        self.stops.unsent.remove(&call);
        self.calls.entry(call).and_modify(|open| (open.left, open.place) = (self.now, Place::OnItsWay));
        self.stops.in_flight += usize::from(matches!(operation, Call::StopExecution { .. }));
        self.commands.push(Command::Call { call, client, operation, paced, waited: self.now.since(since) });
    }

    /// How long the end of a stop is awaited that was wanted at `since`. Thousands of stops wait for the pace for many
    /// minutes: the wait begins when the last has left.
    pub fn stop_limit(&self, since: Time) -> Time {
        since.max(self.stops.held_at).plus(self.settings.stop_wait)
    }

    /// Sets a timer.
    pub fn wake(&mut self, at: Time, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// The next timer whose time has come.
    pub fn due(&mut self) -> Option<Timer> {
        let due = self.timers.first().is_some_and(|(at, _)| *at <= self.now);
        due.then(|| self.timers.pop_first()).flatten().map(|(_, timer)| timer)
    }

    /// The tick that was asked for came.
    pub fn ticked(&mut self) {
        self.woken_for = None;
    }

    /// Tells whoever has to look at it.
    pub fn changed(&mut self, change: Change) {
        self.changes.push_back(change);
    }

    /// The next change that nobody has looked at.
    pub fn next_change(&mut self) -> Option<Change> {
        let change = self.changes.pop_front();
        self.changes.give_back();
        change
    }

    /// Answers a request.
    pub fn answer(&mut self, request: RequestId, reply: Reply, started: bool) {
        self.commands.push(Command::Answer { request, reply, started });
    }

    /// Asks Kubernetes for the workflow.
    pub fn ask_kubernetes(&mut self) {
        self.commands.push(Command::AskKubernetes);
    }

    /// Lets the machine go.
    pub fn retire(&mut self) {
        self.commands.push(Command::Retire);
    }

    /// Tells what logs and metrics want to know.
    pub fn note(&mut self, note: Note) {
        self.commands.push(Command::Note(note));
    }

    /// Tells what an operator should read.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.note(Note::Warning { text: text.into() });
    }

    /// Everything that is to be done, with one tick at the earliest timer; asked for only when that changed. `last`: the
    /// process ends.
    pub fn finish(&mut self, last: bool) -> Vec<Command> {
        let requests = self.outbox.requests(last).into_iter();
        self.commands.extend(requests.map(|(lane, request)| Command::Pace { lane, request }));
        if last {
            self.commands.retain(|command| !matches!(command, Command::Look { .. }));
        }
        if let Some((at, _)) = self.timers.first()
            && self.woken_for != Some(*at)
        {
            self.woken_for = Some(*at);
            self.commands.push(Command::WakeAt(*at));
        }
        std::mem::take(&mut self.commands)
    }
}

fn writes_of(client: &ClientKey) -> LaneKey {
    LaneKey::in_direction(client, Direction::Write)
}

/// Waits 1, 2, 4, … seconds, `most` at the most.
pub fn backoff(tries: u32, most: Duration) -> Duration {
    Duration::from_secs(1_u64 << tries.min(10)).min(most)
}
