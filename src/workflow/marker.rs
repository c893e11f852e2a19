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
    /// Which run of the workflow started it ([`super::run::Run::stamp`]); written only when that is known.
    pub run: Option<Time>,
    /// The node's group, and when it was first asked for, by AWS's clock to the second (see `siblings.rs`).
    pub asked: Option<(Group, Time)>,
    /// Written only when it is not the usual [`WhenOver::Stop`].
    pub when_over: WhenOver,
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
            run,
            asked: None,
            when_over: WhenOver::of(task),
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
        if let Some(run) = self.run {
            marker = format!("{marker} run={}", run.0);
        }
        if let Some((group, at)) = self.asked {
            marker = format!("{marker} group={} asked={}", group.hex(), at.0 / 1000);
        }
        if let Some(word) = self.when_over.word() {
            marker = format!("{marker} over={word}");
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
        let asked = || Some(Time(fields.get("asked")?.parse::<i64>().ok()?.checked_mul(1000)?));
        Some(Self {
            namespace: owned("ns")?,
            workflow: owned("wf")?,
            uid: owned("uid")?,
            key: Key::parse(fields.get("key")?)?,
            attempt: fields.get("attempt")?.parse().ok()?,
            predecessor: owned("pred").filter(|id| id != "-"),
            args: owned("args").unwrap_or_default(),
            run: fields.get("run").and_then(|run| run.parse().ok()).map(Time),
            asked: group().zip(asked()),
            when_over: WhenOver::parse(fields.get("over").copied()),
        })
    }
}
