//! A node's conversation with the agent: who waits for an answer, and what was told, so that a poll without news costs
//! Argo nothing.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    iter,
    time::Duration,
};

use crate::{
    pipelines::Time,
    protocol::{ExecuteTemplateReply, NodeResult, Outputs, Phase, Reply, ReplyText, go_duration},
};

use super::{RequestId, effects::Effects, key::Key, report};

/// Beyond this many live executions a node's message changes at most every [`MESSAGE_REST`].
const MANY: usize = 20;
const MESSAGE_REST: Duration = Duration::from_secs(300);

/// What a node would be told.
#[derive(Clone, Debug)]
pub enum Telling {
    /// Its end.
    End(ReplyText),
    /// How it stands now.
    Now(View),
}

impl Telling {
    /// Whether nothing that is on its way can say it better.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::End(_) => true,
            Self::Now(view) => view.settled,
        }
    }
}

/// How a node stands that has not ended.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// `None`: nothing can be said yet (a free poll).
    pub phase: Option<Phase>,
    pub message: String,
    pub outputs: Option<Outputs>,
    /// Nothing that is on its way can say it better.
    pub settled: bool,
}

impl View {
    /// A view that may be sent at once.
    pub fn settled(phase: Phase, message: impl Into<String>, outputs: Option<Outputs>) -> Self {
        Self { phase: Some(phase), message: message.into(), outputs, settled: true }
    }

    /// A view that may soon be outdone.
    pub fn passing(phase: Option<Phase>, message: impl Into<String>) -> Self {
        Self { phase, message: message.into(), outputs: None, settled: false }
    }
}

/// How crowded the workflow is, which decides how often a node is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Nodes that have not ended.
    pub open: usize,
    /// Executions that run.
    pub live: usize,
}

/// What was asked and told.
#[derive(Debug)]
pub struct Conversation {
    asked_since: Time,
    /// Requests without an answer, and when each needs one.
    parked: Vec<(RequestId, Time)>,
    /// An execution was started, and no answer has said so yet.
    started: bool,
    last: Option<Sent>,
    answers: u64,
    /// Somebody was told its end.
    end_told: bool,
}

#[derive(Debug)]
struct Sent {
    with_message: u64,
    without_message: u64,
    at: Time,
    requeue: Duration,
    message_at: Time,
}

impl Conversation {
    /// A node that asks for the first time.
    pub fn new(now: Time) -> Self {
        Self { asked_since: now, parked: Vec::new(), started: false, last: None, answers: 0, end_told: false }
    }

    /// When it was first asked for.
    pub fn asked_since(&self) -> Time {
        self.asked_since
    }

    /// It counts as asked for only now.
    pub fn begin_anew(&mut self, now: Time) {
        self.asked_since = now;
        self.end_told = false;
    }

    /// Whether the node was ever told a phase, not only to come back.
    pub fn told(&self) -> bool {
        self.last.is_some()
    }

    /// The last answer was not heard: the next one says everything.
    pub fn forget_told(&mut self) {
        self.last = None;
        self.end_told = false;
    }

    /// Whether somebody was told its end.
    pub fn end_is_told(&self) -> bool {
        self.end_told
    }

    /// An execution was started for it.
    pub fn note_start(&mut self) {
        self.started = true;
    }

    /// Its place among nodes that look at the same time: in the order in which they asked.
    pub fn turn(&self) -> (Time, Option<RequestId>) {
        (self.asked_since, self.parked.first().map(|(request, _)| *request))
    }

    /// A request comes in; it is answered at the latest within the reply time-out.
    pub fn park(&mut self, request: RequestId, fx: &Effects) {
        // Four fifths: the rest is for the mailboxes on the way back.
        let deadline = fx.now().plus(fx.settings().reply_timeout.mul_f64(0.8));
        self.parked.push((request, deadline));
    }

    /// Answers who waits: those whose time is up, and all unless the view may be outdone by what is on its way
    /// (`awaited`). When to answer the next of the others, if there are any.
    pub fn answer(
        &mut self,
        telling: Telling,
        awaited: bool,
        key: Key,
        crowd: Crowd,
        fx: &mut Effects,
    ) -> Option<Time> {
        let now = fx.now();
        let waits = awaited && !telling.is_settled();
        let parked = std::mem::take(&mut self.parked);
        let (waiting, answered): (Vec<_>, Vec<_>) =
            parked.into_iter().partition(|(_, deadline)| waits && *deadline > now);
        self.parked = waiting;
        self.end_told |= matches!(telling, Telling::End(_)) && !answered.is_empty();
        // One asks as a rule, and nothing is copied.
        for ((request, _), telling) in answered.iter().zip(iter::repeat_n(telling, answered.len())) {
            let reply = match telling {
                Telling::End(text) => Reply::End(text),
                Telling::Now(view) => Reply::Once(self.reply(view, key, crowd, now)),
            };
            fx.answer(*request, reply, std::mem::take(&mut self.started));
        }
        self.parked.first().map(|(_, deadline)| *deadline)
    }

    fn reply(&mut self, view: View, key: Key, crowd: Crowd, now: Time) -> ExecuteTemplateReply {
        let node = NodeResult {
            phase: view.phase,
            message: if view.phase.is_some() { report::message(&view.message) } else { String::new() },
            outputs: view.outputs,
        };
        self.answers += 1;
        let requeue = report::requeue(now.since(self.asked_since), crowd.open, key.spread(self.answers));
        if view.phase.is_none() {
            return ExecuteTemplateReply::free_poll(requeue);
        }
        let (with_message, without_message) = fingerprints(&node);
        let news = match &self.last {
            None => true,
            Some(last) => {
                // Earlier than promised: the reply was lost or the agent is new. It gets everything again.
                let resend = now < last.at.plus(last.requeue.mul_f64(0.8));
                let only_message = last.without_message == without_message;
                let rests = crowd.live > MANY && now < last.message_at.plus(MESSAGE_REST);
                let same = last.with_message == with_message || (only_message && rests);
                resend || !same
            }
        };
        // What was kept back was not told: it is news still when the rest is over.
        let (with_message, message_at) = match &self.last {
            Some(last) if !news => (last.with_message, last.message_at),
            _ => (with_message, now),
        };
        self.last = Some(Sent { with_message, without_message, at: now, requeue, message_at });
        if news {
            ExecuteTemplateReply { node: Some(node), requeue: Some(go_duration(requeue)) }
        } else {
            ExecuteTemplateReply::free_poll(requeue)
        }
    }
}

fn fingerprints(node: &NodeResult) -> (u64, u64) {
    let mut hash = DefaultHasher::new();
    node.phase.hash(&mut hash);
    for parameter in node.outputs.iter().flat_map(|o| &o.parameters) {
        (&parameter.name, &parameter.value).hash(&mut hash);
    }
    let without = hash.finish();
    node.message.hash(&mut hash);
    (hash.finish(), without)
}
