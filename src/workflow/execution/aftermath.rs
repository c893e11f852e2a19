//! What is asked once an execution has ended and its steps are known: the log of the step that failed, and what the jobs of its
//! steps came to.
//!
//! Whoever reports the end says what it wants, each time it looks; what was not asked yet is asked then. The end is not held back
//! for long: what AWS refuses is done without at once, what it does not answer after a while.

use std::time::Duration;

use crate::{
    links::job_log,
    logs,
    pipelines::{
        Call, CallError, CallErrorKind, CallReply, Status, Step, Time,
        jobs::{JobKind, JobResults, LogTail},
    },
    results::{Found, Wanted, job_to_describe},
    text::sentence::shorten,
    workflow::{
        effects::backoff,
        notes::JobLines,
        report::{self, JobLog, Story},
        trouble::{CallSite, Disposition, disposition},
    },
};

use super::{EndStage, TrackedExecution};

/// So long an end waits for results that somebody wants. A thousand jobs are described in a minute and a half at the pace that
/// AWS is known to take; what is missing then keeps the steps waiting that need it, and the message says so.
const RESULTS_WITHIN: Duration = Duration::from_secs(120);
/// So long it waits for a log, which is a help and no more.
const LOG_WITHIN: Duration = Duration::from_secs(30);
/// A failed call is made so often.
const TRIES: u32 = 4;
/// The longest wait before the next try.
const AGAIN_MOST: Duration = Duration::from_secs(8);
/// Lines of a log that are read: twice [`logs::OWN_LINES`], because the toolkits' own are left out.
const LOG_LINES: u16 = 100;
/// Of AWS's own words.
const WORDS_MAX: usize = 400;

/// What can be asked of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    Results { kind: JobKind, name: String },
    Log { step: String, group: String, stream_prefix: String },
}

impl Question {
    fn call(&self) -> Call {
        match self.clone() {
            Self::Results { kind, name } => Call::DescribeJob { kind, name },
            Self::Log { group, stream_prefix, .. } => Call::LogTail { group, stream_prefix, lines: LOG_LINES },
        }
    }

    fn within(&self) -> Duration {
        match self {
            Self::Results { .. } => RESULTS_WITHIN,
            Self::Log { .. } => LOG_WITHIN,
        }
    }

    /// It has to be done without an answer.
    fn without(&self, error: Option<&CallError>) -> Answer {
        let why = self.unanswered(error);
        match self {
            Self::Results { .. } => Answer::None(why),
            Self::Log { .. } => Answer::Log(JobLog::Untold(why)),
        }
    }

    fn unanswered(&self, error: Option<&CallError>) -> String {
        let words = error.map(|error| shorten(&error.message, WORDS_MAX));
        let why = words.unwrap_or_else(|| format!("no answer within {}", report::spoken(self.within())));
        match self {
            Self::Results { kind, .. } => format!("{} failed: {why}", kind.operation()),
            // A group begins to exist with its first stream.
            Self::Log { group, .. } if error.is_some_and(|error| error.kind == CallErrorKind::NotFound) => {
                no_log(group)
            }
            Self::Log { .. } => format!("its log could not be read: {why}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    /// The call waits to leave, or is on its way.
    Awaited,
    /// To be asked again then.
    Again(Time),
    Results(JobResults),
    Log(JobLog),
    /// A sentence that says why there is none.
    None(String),
}

/// A question, and what has become of it.
#[derive(Clone, Debug)]
struct Asked {
    question: Question,
    since: Time,
    tries: u32,
    answer: Answer,
}

impl Asked {
    fn is_open(&self) -> bool {
        matches!(self.answer, Answer::Awaited | Answer::Again(_))
    }

    fn until(&self) -> Time {
        self.since.plus(self.question.within())
    }
}

/// Everything that was asked of one end.
#[derive(Debug, Default)]
pub struct Aftermath(Vec<Asked>);

impl Aftermath {
    /// It is not needed any more, or was about an end that is none.
    pub fn forget(&mut self) {
        self.0 = Vec::new();
    }

    /// How much of it is held.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What has to be done about the questions of an end.
#[derive(Debug, Default)]
pub struct ToAsk {
    /// Places of questions, with their calls.
    pub calls: Vec<(usize, Call)>,
    /// When to look again; `None`: everything is answered.
    pub again_at: Option<Time>,
}

impl TrackedExecution {
    /// What is to be asked for somebody who wants this of the end, which is known.
    pub fn ask(&mut self, wanted: &Wanted, logs: bool, now: Time) -> ToAsk {
        debug_assert!(self.end == EndStage::Known, "the end's steps come first");
        let questions = self.questions(wanted, logs);
        let Aftermath(asked) = &mut self.aftermath;
        for question in &questions {
            if !asked.iter().any(|known| known.question == *question) {
                asked.push(Asked { question: question.clone(), since: now, tries: 0, answer: Answer::Again(now) });
            }
        }
        let mut to_ask = ToAsk::default();
        for (place, known) in asked.iter_mut().enumerate().filter(|(_, known)| questions.contains(&known.question)) {
            if known.is_open() && known.until() <= now {
                known.answer = known.question.without(None);
            }
            if matches!(known.answer, Answer::Again(at) if at <= now) {
                known.answer = Answer::Awaited;
                to_ask.calls.push((place, known.question.call()));
            }
            let next = match known.answer {
                Answer::Awaited => Some(known.until()),
                Answer::Again(at) => Some(at.min(known.until())),
                Answer::Results(_) | Answer::Log(_) | Answer::None(_) => None,
            };
            to_ask.again_at = to_ask.again_at.into_iter().chain(next).min();
        }
        to_ask
    }

    fn questions(&self, wanted: &Wanted, logs: bool) -> Vec<Question> {
        let steps = self.steps().unwrap_or_default();
        let failed = report::failed_step(steps.iter())
            .filter(|step| logs && self.execution.status != Status::Succeeded && step.status == "Failed");
        let log = failed.and_then(|step| {
            let (group, stream_prefix) = job_log(step.job_arn.as_deref()?)?;
            Some(Question::Log { step: step.name.clone(), group, stream_prefix })
        });
        let jobs = steps.iter().filter_map(|step| job_to_describe(step, wanted));
        log.into_iter().chain(jobs.map(|(kind, name)| Question::Results { kind, name: name.to_owned() })).collect()
    }

    /// Takes in an answer to the question at this place; the lines of a log for the plugin's own.
    pub fn answered(&mut self, place: usize, result: Result<CallReply, CallError>, now: Time) -> Option<JobLines> {
        // Done without it meanwhile.
        let known = self.aftermath.0.get_mut(place).filter(|known| known.answer == Answer::Awaited)?;
        let mut shown = None;
        known.answer = match (&known.question, result) {
            (Question::Results { .. }, Ok(CallReply::Job(results))) => Answer::Results(results),
            (Question::Log { step, .. }, Ok(CallReply::LogTail(LogTail { lines, .. }))) if !lines.is_empty() => {
                shown = Some(JobLines { step: step.clone(), lines: logs::for_own_log(&lines) });
                Answer::Log(JobLog::Told {
                    reason: logs::reason(&lines, report::MESSAGE_MAX),
                    tail: logs::tail(&lines, logs::TAIL_BYTES),
                })
            }
            (Question::Log { group, .. }, Ok(_)) => Answer::Log(JobLog::Untold(no_log(group))),
            (question, Ok(_)) => question.without(None),
            (question, Err(error)) => {
                known.tries += 1;
                let hopeless = disposition(error.kind, CallSite::Steps) == Disposition::Without;
                if hopeless || known.tries >= TRIES {
                    question.without(Some(&error))
                } else {
                    Answer::Again(now.plus(backoff(known.tries - 1, AGAIN_MOST)))
                }
            }
        };
        shown
    }

    /// All that is known of its end.
    pub fn story(&self) -> Story<'_> {
        let job = |step: &Step| {
            let (kind, name) = JobKind::of_arn(step.job_arn.as_deref()?)?;
            self.aftermath.0.iter().find_map(|asked| match (&asked.question, &asked.answer) {
                (Question::Results { kind: asked, name: of }, Answer::Results(job)) => {
                    (*asked == kind && of == name).then_some(job)
                }
                _ => None,
            })
        };
        let answers = || self.aftermath.0.iter().map(|asked| (&asked.question, &asked.answer));
        Story {
            execution: &self.execution,
            steps: self.steps().unwrap_or_default().iter().map(|step| Found { step, job: job(step) }).collect(),
            log: answers().find_map(|(_, answer)| if let Answer::Log(log) = answer { Some(log) } else { None }),
            untold: answers().find_map(|(question, answer)| match (question, answer) {
                (Question::Results { .. }, Answer::None(why)) => Some(why.as_str()),
                _ => None,
            }),
        }
    }
}

fn no_log(group: &str) -> String {
    format!("the job has written no log to {group}")
}
