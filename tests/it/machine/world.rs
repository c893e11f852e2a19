//! A small AWS that does as it is told, and a clock that moves only when the test says so.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use awf_aws::{
    input::Task,
    pace::{self, LaneKey},
    pipelines::{
        Call, CallEnded, CallError, CallErrorKind, CallReply, ClientKey, Execution, PipelineDescription,
        PipelineSummary, StartExecution, Status, Step, Time,
        jobs::{JobResults, LogTail},
    },
    protocol::ExecuteTemplateReply,
    rounds::{self, Site},
    shared::{Deed, Shared},
    workflow::{CallId, Command, Event, Machine, Note, RequestId, Settings, WorkflowState, identity::Marker},
};

mod calls;

pub use super::tasks::{ACCOUNT, key_of, message, output, phase, task, with};

/// Pace and rounds of a new process.
fn shared() -> Shared<()> {
    let Settings { poll_min, poll_max, .. } = Settings::default();
    Shared::new(pace::Settings::default(), rounds::Settings { poll_min, poll_max }, 1, Marker::uid_of)
}

/// A process that is put aside.
pub struct Aside {
    machine: Machine,
    shared: Shared<()>,
    alarm: Option<Time>,
    settings: Settings,
    born: Time,
}

type Denies = Box<dyn Fn(&StartExecution) -> bool>;

pub struct World {
    pub machine: Machine,
    pub now: Time,
    pub replies: BTreeMap<u64, ExecuteTemplateReply>,
    pub notes: Vec<Note>,
    pub executions: Vec<Execution>,
    pub tokens: HashMap<String, String>,
    pub steps: Vec<Step>,
    /// How often each execution was resumed.
    pub resumes: HashMap<String, usize>,
    /// When the pipeline was last changed.
    pub pipeline_changed: Time,
    /// What jobs came to, by name, and the end of every job's log.
    pub jobs: BTreeMap<String, JobResults>,
    pub log: LogTail,
    /// Failures that the next calls of an operation meet.
    pub failures: HashMap<&'static str, VecDeque<CallErrorKind>>,
    /// Failures that come after the effect.
    pub lost_replies: VecDeque<&'static str>,
    /// Which starts are denied, for as long as it stands.
    pub deny_starts: Option<Denies>,
    /// AWS's clock less the pod's, and the API server's less the pod's, in milliseconds.
    pub aws_ahead: i64,
    pub kubernetes_ahead: i64,
    /// What lists show instead of the n-th execution.
    pub stale: Option<(usize, Execution)>,
    /// So many stops are taken without effect.
    pub ignored_stops: usize,
    /// Operations whose calls are not answered.
    pub silent: Vec<&'static str>,
    /// Whether lists bring the time of the last change; SageMaker's do not.
    pub lists_say_when: bool,
    pub account: String,
    pub definition: String,
    /// What ListPipelines shows.
    pub pipelines: Vec<PipelineSummary>,
    pub calls: Vec<Call>,
    /// Who made which.
    pub calls_by: Vec<(ClientKey, &'static str)>,
    /// Of which the pace hears.
    pub paced: Vec<(&'static str, bool)>,
    pub unanswered: Vec<(CallId, Call)>,
    /// What Kubernetes answers; nothing: the question stays open.
    pub workflow: Option<WorkflowState>,
    /// When it was asked.
    pub asked: Vec<Time>,
    /// Ticks that came.
    pub ticks: usize,
    /// How often the workflow was forgotten.
    pub forgotten: usize,
    pub shared: Shared<()>,
    /// Calls that were let go at a turn, and when.
    sent: HashMap<CallId, (LaneKey, Time)>,
    /// Lists of poll rounds that are under way, and when they left. Their names come from the end of the numbers.
    lists: HashMap<CallId, (Site, Time)>,
    listed: u64,
    settings: Settings,
    /// When the process began.
    born: Time,
    alarm: Option<Time>,
    requests: u64,
}

impl World {
    pub const START: Time = Time::at(1_795_000_000_000);

    pub fn new() -> Self {
        Self::with(Settings { pod_born: Self::START, ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Self {
        Self {
            machine: Machine::new(settings.clone()),
            settings,
            now: Self::START,
            born: Self::START,
            replies: BTreeMap::new(),
            notes: vec![],
            executions: vec![],
            tokens: HashMap::new(),
            steps: vec![],
            resumes: HashMap::new(),
            pipeline_changed: Self::START.minus(Duration::from_secs(86_400)),
            jobs: BTreeMap::new(),
            log: LogTail::default(),
            failures: HashMap::new(),
            lost_replies: VecDeque::new(),
            deny_starts: None,
            aws_ahead: 0,
            kubernetes_ahead: 0,
            ignored_stops: 0,
            stale: None,
            silent: vec![],
            lists_say_when: false,
            account: ACCOUNT.into(),
            definition:
                r#"{"Parameters":[{"Name":"Depth"},{"Name":"Size","DefaultValue":"1"}],"Steps":[{"Name":"Train"}]}"#
                    .into(),
            pipelines: vec![PipelineSummary { name: "MyPipeline".into(), last_started: None }],
            calls: vec![],
            calls_by: vec![],
            paced: vec![],
            unanswered: vec![],
            workflow: None,
            asked: vec![],
            ticks: 0,
            forgotten: 0,
            shared: shared(),
            sent: HashMap::new(),
            lists: HashMap::new(),
            listed: 0,
            alarm: None,
            requests: 0,
        }
    }

    /// A new process with the same AWS.
    pub fn restart(&mut self) {
        (self.born, self.settings.pod_born, self.settings.served_since) = (self.now, self.now, None);
        self.machine = Machine::new(self.settings.clone());
        self.shared = shared();
        self.sent.clear();
        self.lists.clear();
        self.alarm = None;
        self.unanswered.clear();
    }

    /// Puts the machine aside and goes on with another pod's.
    pub fn machine_of_another_pod(&mut self) -> Aside {
        let (settings, born) = (self.settings.clone(), self.born);
        (self.born, self.settings.pod_born, self.settings.served_since) = (self.now, self.now, None);
        let machine = std::mem::replace(&mut self.machine, Machine::new(self.settings.clone()));
        let shared = std::mem::replace(&mut self.shared, shared());
        Aside { machine, shared, alarm: self.alarm.take(), settings, born }
    }

    /// The other pod is gone; the one that was put aside goes on.
    pub fn machine_goes_on(&mut self, aside: Aside) {
        (self.machine, self.shared, self.alarm) = (aside.machine, aside.shared, aside.alarm);
        (self.settings, self.born) = (aside.settings, aside.born);
    }

    /// What pace and rounds say is heard at once.
    fn hears(&mut self, deeds: Vec<Deed<()>>) -> Vec<Event> {
        let mut events = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Pace((), lane, answer) => events.push(Event::Paced { lane, answer }),
                Deed::Seen((), seen) => events.push(Event::Seen(seen)),
                Deed::Call(site, operation, _) => {
                    self.listed += 1;
                    let call = CallId(u64::MAX - self.listed);
                    self.lists.insert(call, (site.clone(), self.now));
                    events.extend(self.call(call, site.client, operation));
                }
                other => unreachable!("here pages are asked for like all else: {other:?}"),
            }
        }
        events
    }

    /// Makes a call; its answer, unless AWS is silent.
    fn call(&mut self, call: CallId, client: ClientKey, operation: Call) -> Option<Event> {
        self.calls.push(operation.clone());
        self.calls_by.push((client, operation.operation()));
        if self.silent.contains(&operation.operation()) {
            self.unanswered.push((call, operation));
            return None;
        }
        let result = self.answer(&operation);
        Some(Event::CallEnded { call, ended: CallEnded { result, server_time: Some(self.server_time()) } })
    }

    /// Executions of the same pipeline that are not ours: they make lists long.
    pub fn add_strangers(&mut self, count: usize) {
        let stranger = Execution { description: None, ..self.executions[0].clone() };
        let numbered = |n| Execution { arn: format!("{}{n}", stranger.arn), ..stranger.clone() };
        self.executions.extend((0..count).map(numbered));
    }

    pub fn fail(&mut self, operation: &'static str, kinds: &[CallErrorKind]) {
        self.failures.entry(operation).or_default().extend(kinds.iter().copied());
    }

    pub fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut spins = 0;
        while let Some(event) = events.pop_front() {
            spins += 1;
            assert!(spins < 100_000, "the machine spins");
            if let Event::CallEnded { call, ended } = &event
                && let Some((lane, sent)) = self.sent.remove(call)
            {
                let throttled = ended.result.as_ref().is_err_and(|e| e.kind == CallErrorKind::Throttled);
                let deeds = self.shared.call_answered(&lane, sent, throttled, self.now);
                let heard = self.hears(deeds);
                events.extend(heard);
            }
            if let Event::CallEnded { call, ended } = &event
                && let Some((site, sent)) = self.lists.remove(call)
            {
                let deeds = self.shared.list_answered(&site, ended.clone(), sent, self.now);
                let heard = self.hears(deeds);
                events.extend(heard);
                continue;
            }
            let mut retires = false;
            for command in self.machine.handle(event, self.now) {
                match command {
                    Command::Answer { request, reply, .. } => {
                        assert!(self.replies.insert(request.0, reply.read()).is_none(), "one answer a request");
                    }
                    Command::Call { call, client, operation, paced, .. } => {
                        self.paced.push((operation.operation(), paced));
                        if let Some(lane) = LaneKey::of(&client, &operation).filter(|_| paced) {
                            self.sent.insert(call, (lane, self.now));
                        }
                        events.extend(self.call(call, client, operation));
                    }
                    Command::Pace { lane, request } => {
                        let deeds = self.shared.turns_asked((), &lane, request, self.now);
                        let heard = self.hears(deeds);
                        events.extend(heard);
                    }
                    Command::Look { site, wanted, server_now } => {
                        let deeds = self.shared.looked(((), "uid-1"), &site, wanted, self.now, server_now);
                        let heard = self.hears(deeds);
                        events.extend(heard);
                    }
                    Command::WakeAt(at) => self.alarm = Some(at),
                    Command::AskKubernetes => {
                        self.asked.push(self.now);
                        events.extend(self.workflow.map(|state| Event::WorkflowObserved(self.dated(state))));
                    }
                    Command::Note(note) => self.notes.push(note),
                    Command::Retire => retires = true,
                }
            }
            if retires {
                self.forgotten += 1;
                self.settings.served_since = Some(self.born);
                self.machine = Machine::new(self.settings.clone());
                self.shared.forget(());
                self.alarm = None;
            }
        }
    }

    pub fn aws_now(&self) -> Time {
        Time::at(self.now.millis() + self.aws_ahead)
    }

    /// What Kubernetes says, with its own clock's time.
    fn dated(&self, state: WorkflowState) -> WorkflowState {
        match state {
            WorkflowState::Alive { started_at, deadline, .. } => {
                let now = Time::at((self.now.millis() + self.kubernetes_ahead) / 1000 * 1000);
                WorkflowState::Alive { started_at, deadline, server_time: Some(now) }
            }
            state => state,
        }
    }

    /// AWS's clock in the header `Date`: whole seconds.
    fn server_time(&self) -> Time {
        Time::at(self.aws_now().millis() / 1000 * 1000)
    }

    fn answer(&mut self, call: &Call) -> Result<CallReply, CallError> {
        let operation = call.operation();
        if let Some(kind) = self.failures.get_mut(operation).and_then(VecDeque::pop_front) {
            return Err(error(kind));
        }
        if let (Call::StartExecution(start), Some(denies)) = (call, &self.deny_starts)
            && denies(start)
        {
            return Err(error(CallErrorKind::Denied));
        }
        let reply = self.carry_out(call);
        if self.lost_replies.front() == Some(&operation) {
            self.lost_replies.pop_front();
            return Err(error(CallErrorKind::OutcomeUnknown));
        }
        reply
    }

    fn carry_out(&mut self, call: &Call) -> Result<CallReply, CallError> {
        Ok(match call {
            Call::GetCallerIdentity => CallReply::CallerIdentity { account: self.account.clone() },
            Call::DescribePipeline { .. } => CallReply::Pipeline(PipelineDescription {
                arn: "arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline".into(),
                status: "Active".into(),
                last_modified: Some(self.pipeline_changed),
                definition: self.definition.clone(),
            }),
            Call::StartExecution(start) => CallReply::Started { arn: self.start(start) },
            Call::DescribeExecution { arn } => match self.executions.iter().find(|e| e.arn.eq_ignore_ascii_case(arn)) {
                Some(execution) => CallReply::Execution(execution.clone()),
                None => return Err(error(CallErrorKind::NotFound)),
            },
            Call::ListPipelines { .. } => CallReply::Pipelines { page: self.pipelines.clone(), next_token: None },
            Call::ListExecutions { pipeline, next_token, created_after } => {
                let from: usize = next_token.as_deref().map_or(0, |t| t.parse().unwrap());
                let mut all = self.executions.clone();
                if let Some((number, earlier)) = &self.stale {
                    all[*number] = earlier.clone();
                }
                all.reverse();
                all.retain(|e| e.arn.contains(&format!("/{}/", name(pipeline))));
                all.retain(|e| created_after.is_none_or(|after| e.created.unwrap() >= after));
                let mut page: Vec<Execution> = all.iter().skip(from).take(100).cloned().collect();
                if !self.lists_say_when {
                    page.iter_mut().for_each(|e| e.modified = None);
                }
                let next_token = (from + 100 < all.len()).then(|| (from + 100).to_string());
                CallReply::Executions { page, next_token }
            }
            Call::ListSteps { .. } => CallReply::Steps { page: self.steps.clone(), next_token: None },
            Call::StopExecution { arn, .. } => {
                let now = self.aws_now();
                let execution = self.executions.iter_mut().find(|e| e.arn.eq_ignore_ascii_case(arn)).unwrap();
                if self.ignored_stops > 0 {
                    self.ignored_stops -= 1;
                    return Ok(CallReply::Stopping);
                }
                if !execution.status.is_live() {
                    return Err(error(CallErrorKind::Invalid));
                }
                execution.status = Status::Stopping;
                execution.modified = Some(now);
                CallReply::Stopping
            }
            Call::UpdateExecution { arn, description } => {
                let now = self.aws_now();
                let execution = self.executions.iter_mut().find(|e| e.arn.eq_ignore_ascii_case(arn)).unwrap();
                execution.description = Some(description.clone());
                execution.modified = Some(now);
                CallReply::Updated
            }
            Call::RetryExecution { arn, token, .. } => {
                let now = self.aws_now();
                if self.tokens.insert(token.clone(), arn.clone()).is_some() {
                    return Ok(CallReply::Retried { arn: arn.clone() });
                }
                let execution = self.executions.iter_mut().find(|e| e.arn.eq_ignore_ascii_case(arn)).unwrap();
                if !matches!(execution.status, Status::Failed | Status::Stopped) {
                    return Err(error(CallErrorKind::Invalid));
                }
                (execution.status, execution.modified, execution.failure_reason) = (Status::Executing, Some(now), None);
                *self.resumes.entry(arn.clone()).or_default() += 1;
                CallReply::Retried { arn: arn.clone() }
            }
            Call::DescribeJob { name, .. } => CallReply::Job(self.jobs.get(name).cloned().unwrap_or_default()),
            Call::LogTail { .. } => CallReply::LogTail(self.log.clone()),
        })
    }

    fn start(&mut self, start: &StartExecution) -> String {
        if let Some(arn) = self.tokens.get(&start.token) {
            return arn.clone();
        }
        let arn = format!(
            "arn:aws:sagemaker:us-west-2:{ACCOUNT}:pipeline/{}/execution/{:012}",
            name(&start.pipeline),
            self.executions.len() + 1
        );
        self.tokens.insert(start.token.clone(), arn.clone());
        self.executions.push(Execution {
            arn: arn.clone(),
            status: Status::Executing,
            created: Some(self.aws_now()),
            modified: Some(self.aws_now()),
            description: Some(start.description.clone()),
            failure_reason: None,
            started_by: None,
        });
        arn
    }

    /// Ends the n-th execution of the book.
    pub fn end(&mut self, number: usize, status: Status) {
        let now = self.aws_now();
        let execution = self.executions.get_mut(number).unwrap();
        if status == Status::Failed {
            execution.failure_reason = Some("Step failure: One or multiple steps failed.".into());
        }
        execution.status = status;
        execution.modified = Some(now);
    }

    /// Sends a request and returns its number.
    pub fn send(&mut self, task: &Task) -> u64 {
        self.requests += 1;
        let request = self.requests;
        self.handle(Event::Requested { request: RequestId(request), task: Arc::new(task.clone()) });
        request
    }

    /// Sends a request and gives it its second.
    pub fn ask(&mut self, task: &Task) -> ExecuteTemplateReply {
        let request = self.send(task);
        if !self.replies.contains_key(&request) {
            self.pass(Duration::from_secs(1));
        }
        self.replies.remove(&request).expect("an answer within a second")
    }

    /// Lets time pass, tick by tick.
    pub fn pass(&mut self, d: Duration) {
        let end = self.now.plus(d);
        while let Some(at) = self.alarm.into_iter().chain(self.shared.next_due()).min().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            if self.alarm == Some(at) {
                self.alarm = None;
                self.ticks += 1;
                self.handle(Event::Tick);
            }
            let deeds = self.shared.due(self.now);
            for event in self.hears(deeds) {
                self.handle(event);
            }
        }
        self.now = end;
    }
}

/// A pipeline is called by its name or its ARN.
fn name(pipeline: &str) -> &str {
    pipeline.rsplit('/').next().unwrap_or(pipeline)
}

pub fn error(kind: CallErrorKind) -> CallError {
    CallError { kind, code: None, message: format!("AWS said {}", kind.as_str()), request_id: None }
}
