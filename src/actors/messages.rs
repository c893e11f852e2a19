//! What the actors say to each other; the table in [`super`] says who and why.

use std::{sync::Arc, time::Duration};

use actix::{Addr, ArbiterHandle, Message};
use tokio::sync::oneshot;

use super::{handle::Answered, shared_keeper::RunnerId, workflow_runner::WorkflowRunner};
use crate::{
    backend::SharedBackend,
    input::{Task, WorkflowId},
    metrics::live::QueuedMessage,
    pace::{self, LaneKey},
    pipelines::{CallEnded, Time},
    rounds::{Page, Seen, Site, Wanted},
    workflow::{CallId, LiveExecution, WorkflowState},
};

/// The agent asks for a task. The answer's way is part of the message: the asker waits on its own thread, and no task
/// of the actors' thread has to carry the answer over.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Execute {
    pub task: Arc<Task>,
    pub reply: oneshot::Sender<Answered>,
    /// What the answer is written on.
    pub paper: Vec<u8>,
    pub queued: QueuedMessage,
}

/// The address of a workflow's runner, which is made when there is none. Nothing: not now.
#[derive(Message)]
#[rtype(result = "Option<Addr<WorkflowRunner>>")]
pub struct GetRunner {
    pub workflow: WorkflowId,
    /// Where the request came in, and the runner will live.
    pub home: ArbiterHandle,
    pub queued: QueuedMessage,
}

/// How do things stand? Told to the metrics, for a scrape that is about to be answered; by runners and the keeper
/// of what they share.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PublishGauges;

/// Is anybody there?
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Start nothing more; answer what still runs once the machine is drained, at the latest after `grace`.
#[derive(Clone, Message)]
#[rtype(result = "Vec<LiveExecution>")]
pub struct Drain {
    /// From now on; what has not ended by then is left.
    pub grace: Duration,
}

/// A runner is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RunnerExited {
    pub workflow: WorkflowId,
    /// Which of the workflow's runners, in the order they were made.
    pub generation: u64,
    pub exit: Exit,
}

/// Why a runner is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Panicked,
    /// Its thread ended.
    Stopped,
    /// Its machine let it go: nothing of the workflow is open, and nobody asks.
    Retired,
}

/// A call to AWS ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CallCameBack {
    pub call: CallId,
    pub ended: CallEnded,
    pub queued: QueuedMessage,
}

/// A machine asks for turns. None may be lost, and neither side waits for the other: both send by a clone of the address,
/// whose one place is always free.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TurnsAsked {
    pub who: RunnerId,
    /// Whom to answer.
    pub runner: Addr<WorkflowRunner>,
    pub lane: LaneKey,
    pub request: pace::Request,
}

/// What the governor says to a machine.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Paced {
    pub lane: LaneKey,
    pub answer: pace::Answer,
}

/// AWS answered a call that had taken a turn.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CallAnswered {
    pub lane: LaneKey,
    pub sent: Time,
    /// It was too fast.
    pub throttled: bool,
}

/// A machine wants executions looked at.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookAsked {
    pub who: RunnerId,
    /// The workflow's, which its executions' markers carry.
    pub uid: String,
    /// Whom to tell.
    pub runner: Addr<WorkflowRunner>,
    pub site: Site,
    pub wanted: Vec<Wanted>,
    pub server_now: Time,
}

/// A machine's call is for a page of a listing, which others may want, too.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PageAsked {
    pub who: RunnerId,
    /// Whom to tell.
    pub runner: Addr<WorkflowRunner>,
    /// In whose name it is asked for.
    pub lister: Lister,
    pub call: CallId,
    pub page: Page,
}

/// A page that a machine has asked for has to wait for the pace.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PageWaits(pub CallId);

/// By what and in whose name a workflow's calls are made.
#[derive(Clone)]
pub struct Lister {
    pub workflow: String,
    pub backend: SharedBackend,
}

/// The page that a machine has asked for, shared with others who have.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PageShown {
    pub call: CallId,
    pub ended: Arc<CallEnded>,
    pub queued: QueuedMessage,
}

/// What a list shows of a workflow's executions.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SeenByList(pub Seen);

/// A runner is gone: it waits for no turn any more, and follows nothing.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget {
    pub who: RunnerId,
}

/// The keeper of what workflows share is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct KeeperExited;

/// The observer answered.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WorkflowObserved(pub WorkflowState);

/// Panics the runner, or the keeper of what workflows share, to prove what happens then.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CrashForTest;

/// Panics the supervisor, to prove what happens then.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CrashSupervisorForTest;
