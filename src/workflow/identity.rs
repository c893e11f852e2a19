//! Who a node is: its key, the token of its start, the marker left on its execution, and what a request for it gets.

use std::{collections::HashMap, fmt, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    input::{Action, OnStop, Task},
    pipelines::{Status, Time},
    text::{cut, hex},
};

use super::{run::Run, siblings::Group};

/// SageMaker's limit of a description (model sagemaker/2017-07-24, PipelineExecutionDescription).
const DESCRIPTION_MAX: usize = 3072;
const MARKER: &str = " | awf-aws/1 ";

/// SHA-256 over (workflow uid, execution key or its stand-in): one node of one workflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key under which an `execute` task's executions are known.
    pub fn of_execution(task: &Task) -> Self {
        match &task.execution_key {
            Some(key) => Self::named(&task.workflow.uid, key),
            None => Self(digest(&["anonymous", &task.workflow.uid, &task.fallback_key])),
        }
    }

    /// The key of the executions that were started with this `execution_key`.
    pub fn named(uid: &str, execution_key: &str) -> Self {
        Self(digest(&["named", uid, execution_key]))
    }

    /// The key of a `validate` or `stop` task, which owns no execution.
    pub fn of_question(task: &Task) -> Self {
        Self(digest(&["question", &task.workflow.uid, &task.fallback_key, &task.attempt.to_string()]))
    }

    /// Reads the 64 hex digits of a marker.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The first `digits` hex digits.
    pub fn hex(&self, digits: usize) -> String {
        let mut text = hex(&self.0);
        text.truncate(digits);
        text
    }

    /// Its first 32 bits.
    pub fn number(&self) -> u32 {
        self.0.iter().take(4).fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
    }

    /// A number that spreads evenly over keys and `salt`: stands in for randomness (jitter, probe times).
    pub fn spread(&self, salt: u64) -> f64 {
        let hash = digest(&["spread", &hex(&self.0), &salt.to_string()]);
        let value = hash.iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        f64::from(value) / f64::from(u32::MAX)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex(12))
    }
}

/// The ClientRequestToken of a start: the same for every repeat, and nothing in it depends on what this process saw.
pub fn start_token(task: &Task, key: &Key, predecessor: Option<&str>) -> String {
    hex(&digest(&[
        "start",
        &task.account_id,
        &task.client.region,
        &task.pipeline_name.to_ascii_lowercase(),
        &task.workflow.uid,
        &hex(&key.0),
        &task.attempt.to_string(),
        predecessor.unwrap_or(""),
    ]))
}

/// The ClientRequestToken of a stop: the same for each repeat of one in a process. A console retry revives a stopped
/// execution under its ARN; were the token the same for ever, AWS could take the next stop for a repeat of the first.
/// That of two processes' stops one is refused does no harm: only what executes can be stopped.
pub fn stop_token(arn: &str, process_began: Time, series: u32) -> String {
    hex(&digest(&["stop", arn, &process_began.0.to_string(), &series.to_string()]))
}

/// The display name of a start whose user gave none: `<workflow, sanitised, 40 at most>-<12 hex>-<attempt>`.
pub fn display_name(task: &Task, key: &Key) -> String {
    let mut name = String::with_capacity(64);
    for c in task.workflow.name.chars().take(40) {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if !(c == '-' && (name.is_empty() || name.ends_with('-'))) {
            name.push(c);
        }
    }
    let name = name.trim_end_matches('-');
    let name = if name.is_empty() { "workflow" } else { name };
    format!("{name}-{}-{}", key.hex(12), task.attempt)
}

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
    /// Which run of the workflow started it ([`Run::stamp`]); written only when that is known.
    pub run: Option<Time>,
    /// The node's group, and when it was first asked for, by AWS's clock to the second ([`super::siblings`]).
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

/// An execution's name among ours. Whoever spells an ARN may choose the case of its pipeline's name: older pipelines'
/// ARNs are in lower case whatever the pipeline is called.
pub fn arn_key(arn: &str) -> Arc<str> {
    arn.to_ascii_lowercase().into()
}

/// The last segment of an execution's ARN.
pub fn execution_id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// One execution of a key, as the table below looks at it.
#[derive(Clone, Debug)]
pub struct Known {
    pub arn: Arc<str>,
    pub attempt: u32,
    pub status: Status,
    pub created: Time,
    /// When it last changed; for an ended one the closest thing to its end. When a stop was seen to begin, that: such an
    /// execution belongs to the run of the workflow that stopped it, whenever it ends.
    pub modified: Time,
    /// Which run of the workflow started it, as its marker says.
    pub run: Option<Time>,
    /// This process has seen it execute.
    pub witnessed: bool,
}

/// What a request for (key, attempt) gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This live execution is the node's.
    Follow(Arc<str>),
    /// It is being stopped since an earlier run of the workflow: wait for its end, then decide again.
    AwaitEnd(Arc<str>),
    /// The node ended with this execution.
    Report(Arc<str>),
    /// Look once more (a console retry revives executions); still ended: start.
    RecheckThenStart {
        arn: Arc<str>,
        predecessor: Option<Arc<str>>,
    },
    Start {
        predecessor: Option<Arc<str>>,
    },
    /// A later attempt of the node exists.
    Superseded(u32),
}

/// The table of the contract's section 5, over everything known of one key.
///
/// `run` is the workflow's run of now; `newest_asked` the highest attempt anybody asked for.
pub fn decide(known: &[Known], attempt: u32, newest_asked: u32, run: &Run) -> Decision {
    let before_run = |k: &Known| run.comes_after(k);
    // Whatever this attempt has started before is replaced, else the token would be that one's again. It need not have
    // ended before the epoch: what lived on into this run counts too.
    let predecessor = || {
        let own = known.iter().filter(|k| k.attempt == attempt && !k.status.is_live());
        own.max_by_key(|k| k.created).map(|k| k.arn.clone())
    };
    let own_end = || {
        known.iter().filter(|k| k.attempt == attempt && !k.status.is_live() && !before_run(k)).max_by_key(|k| k.created)
    };
    // A live one outranks whatever is newer by the clock: two must never be live.
    let Some(newest) = known.iter().max_by_key(|k| (k.status.is_live(), k.created, &k.arn)) else {
        return if newest_asked > attempt {
            Decision::Superseded(newest_asked)
        } else {
            Decision::Start { predecessor: None }
        };
    };
    let newest_of_epoch = known
        .iter()
        .filter(|k| k.status.is_live() || !before_run(k))
        .filter(|k| run.has_started(k))
        .map(|k| k.attempt)
        .max();
    let newest_attempt = newest_of_epoch.unwrap_or(0).max(newest_asked);
    if attempt < newest_attempt
        && let Some(own) = own_end()
    {
        return Decision::Report(own.arn.clone());
    }
    if newest.status.is_live() {
        let stopping_since_before = newest.status == Status::Stopping && before_run(newest);
        return if stopping_since_before {
            Decision::AwaitEnd(newest.arn.clone())
        } else {
            Decision::Follow(newest.arn.clone())
        };
    }
    if newest.status == Status::Succeeded {
        return Decision::Report(newest.arn.clone());
    }
    if attempt < newest_attempt {
        return Decision::Superseded(newest_attempt);
    }
    if before_run(newest) {
        return Decision::Start { predecessor: predecessor() };
    }
    // Of this run and this attempt: it is the node's end, also when a late pod started an earlier attempt after it.
    let of_this_run = |k: &&Known| run.has_started(k);
    if let Some(own) = own_end().filter(|own| own.arn == newest.arn || of_this_run(own)) {
        return Decision::Report(own.arn.clone());
    }
    Decision::RecheckThenStart { arn: newest.arn.clone(), predecessor: predecessor() }
}

/// SHA-256 over length-prefixed parts: no two lists of parts are spelled alike.
fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
