//! The marker: what we write behind an execution's description, and find our executions by.

use std::collections::HashMap;

use crate::{
    input::{Action, OnStop, Task},
    pipelines::Time,
    text::cut,
};

use super::{
    group::Group,
    key::{Key, execution_id},
};

/// SageMaker's limit of a description (model sagemaker/2017-07-24, PipelineExecutionDescription).
const DESCRIPTION_MAX: usize = 3072;
const MARKER: &str = " | awf-aws/1 ";

/// What we write behind the user's description, and find our executions by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub namespace: String,
    pub workflow: String,
    pub uid: String,
    pub key: Key,
    pub attempt: u32,
    /// The id (last ARN segment) of the execution that this one replaces.
    pub predecessor: Option<String>,
    pub args: String,
    /// The digest of what the execution keeps for good; absent in what an earlier version has started.
    pub work: Option<String>,
    /// Which run of the workflow started it ([`super::run::Run::stamp`]); written only when that is known.
    pub run: Option<Time>,
    /// The node's group, and when it was first asked for, by AWS's clock to the second (see `siblings.rs`).
    pub asked: Option<(Group, Time)>,
    /// Written only when it is not the usual [`WhenOver::Stop`].
    pub when_over: WhenOver,
    /// Written before an execution that has ended is resumed, for the attempt that the marker then names.
    pub continues: Option<Continues>,
}

/// Which end of its execution an attempt continues. The marker is written first and RetryPipelineExecution asked for after
/// it, so whoever finds the execution later knows whose it is: the attempt's once anything has run after that end; until
/// then it is the end of the attempt before, and its resume has to be asked for (again). A resume leaves no other trace that
/// tells attempts apart: the ARN and the creation stay, and any update of an execution moves its LastModifiedTime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continues {
    /// Whose end it is, and in which run of the workflow that attempt was.
    pub attempt: u32,
    pub run: Option<Time>,
    /// The last that any of its steps did, by AWS's clock: every process that looks at this end reads the same.
    pub end: Time,
    /// When the marker was written, by AWS's clock: the time of its attempt begins.
    pub since: Time,
    /// The attempt that the execution was started for, whose token started it.
    pub origin: u32,
}

impl Continues {
    fn spell(&self) -> String {
        let run = self.run.map_or("-".to_owned(), |run| run.millis().to_string());
        format!("{}:{run}:{}:{}:{}", self.attempt, self.end.millis(), self.since.millis(), self.origin)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (attempt, run, end) = (parts.next()?, parts.next()?, parts.next()?);
        let (since, origin) = (parts.next()?, parts.next()?);
        let time = |text: &str| text.parse().ok().map(Time::at);
        Some(Self {
            attempt: attempt.parse().ok()?,
            run: time(run),
            end: time(end)?,
            since: time(since)?,
            origin: origin.parse().ok()?,
        })
    }
}

/// What becomes of an execution when its workflow is over. It is part of the marker, so that whoever finds the
/// execution later knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenOver {
    Stop,
    /// It belongs to an exit handler, which runs on after a stop of the workflow.
    ExitHandler,
    Leave,
}

impl WhenOver {
    fn of(task: &Task) -> Self {
        match &task.action {
            Action::Execute(execute) if execute.on_stop == Some(OnStop::Leave) => Self::Leave,
            _ if is_exit_handler(task) => Self::ExitHandler,
            _ => Self::Stop,
        }
    }

    fn word(self) -> Option<&'static str> {
        match self {
            Self::Stop => None,
            Self::ExitHandler => Some("exit-handler"),
            Self::Leave => Some("leave"),
        }
    }

    fn parse(word: Option<&str>) -> Self {
        match word {
            None => Self::Stop,
            Some("exit-handler") => Self::ExitHandler,
            // Also a word of a later version: nothing is stopped by mistake.
            Some(_) => Self::Leave,
        }
    }
}

/// Whether a task is an exit handler's; Argo names such nodes so.
pub fn is_exit_handler(task: &Task) -> bool {
    task.execution_key.as_deref().is_some_and(|key| key.contains(".onExit"))
}

impl Marker {
    /// The marker of a start.
    pub fn of(task: &Task, key: &Key, predecessor: Option<&str>, args: &str, run: Option<Time>) -> Self {
        Self {
            namespace: task.workflow.namespace.clone(),
            workflow: task.workflow.name.clone(),
            uid: task.workflow.uid.clone(),
            key: *key,
            attempt: task.attempt,
            predecessor: predecessor.map(|arn| execution_id(arn).to_owned()),
            args: args.to_owned(),
            work: match &task.action {
                Action::Execute(execute) => Some(execute.work_digest.clone()),
                _ => None,
            },
            run,
            asked: None,
            when_over: WhenOver::of(task),
            continues: None,
        }
    }

    /// The user's text with the marker behind it, within SageMaker's limit; the user's text gives way.
    pub fn describe(&self, user: Option<&str>) -> String {
        let mut marker = format!(
            "{MARKER}ns={} wf={} uid={} key={} attempt={} pred={} args={}",
            self.namespace,
            self.workflow,
            self.uid,
            self.key.hex(64),
            self.attempt,
            self.predecessor.as_deref().unwrap_or("-"),
            self.args
        );
        if let Some(work) = &self.work {
            marker = format!("{marker} work={work}");
        }
        if let Some(run) = self.run {
            marker = format!("{marker} run={}", run.millis());
        }
        if let Some((group, at)) = self.asked {
            marker = format!("{marker} group={} asked={}", group.hex(), at.millis() / 1000);
        }
        if let Some(word) = self.when_over.word() {
            marker = format!("{marker} over={word}");
        }
        if let Some(continues) = self.continues {
            marker = format!("{marker} continues={}", continues.spell());
        }
        let room = DESCRIPTION_MAX.saturating_sub(marker.len());
        format!("{}{marker}", cut(user.unwrap_or_default(), room))
    }

    /// The uid of the workflow in a description's marker: of thousands in a list, most are others' and need no more.
    pub fn uid_of(description: &str) -> Option<&str> {
        let (_, text) = description.rsplit_once(MARKER)?;
        text.split(' ').find_map(|field| field.strip_prefix("uid="))
    }

    /// Reads the marker of a description, wherever the user's text ends.
    pub fn parse(description: &str) -> Option<Self> {
        let (_, text) = description.rsplit_once(MARKER)?;
        let fields: HashMap<&str, &str> = text.split(' ').filter_map(|field| field.split_once('=')).collect();
        let owned = |name: &str| fields.get(name).map(|value| (*value).to_owned());
        let group = || fields.get("group").and_then(|text| Group::parse(text));
        let asked = || Some(Time::at(fields.get("asked")?.parse::<i64>().ok()?.checked_mul(1000)?));
        Some(Self {
            namespace: owned("ns")?,
            workflow: owned("wf")?,
            uid: owned("uid")?,
            key: Key::parse(fields.get("key")?)?,
            attempt: fields.get("attempt")?.parse().ok()?,
            predecessor: owned("pred").filter(|id| id != "-"),
            args: owned("args").unwrap_or_default(),
            work: owned("work"),
            run: fields.get("run").and_then(|run| run.parse().ok()).map(Time::at),
            asked: group().zip(asked()),
            when_over: WhenOver::parse(fields.get("over").copied()),
            continues: fields.get("continues").and_then(|text| Continues::parse(text)),
        })
    }
}
