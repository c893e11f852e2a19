//! A `validate` node: it owns no execution, and looks at the pipeline's definition.

use std::{sync::Arc, time::Duration};

use crate::{
    input::{Action, Task},
    pipelines::Time,
    protocol::{Phase, ReplyText},
};

use super::{
    RequestId,
    conversation::{Conversation, Telling, View},
    effects::Effects,
    key::Key,
    pipeline::DIGEST_FOR,
    report::{self, spoken},
    slab::PipelineId,
    world::World,
};

/// One node that asks whether a pipeline would take its parameters.
#[derive(Debug)]
pub struct Validation {
    key: Key,
    conversation: Conversation,
    pipeline: PipelineId,
    denied_grace: Duration,
    /// Until it has succeeded.
    task: Option<Arc<Task>>,
    ended: Option<(Time, ReplyText)>,
}

impl Validation {
    /// A node that asks for the first time.
    pub fn new(key: Key, pipeline: PipelineId, task: &Arc<Task>, denied_grace: Duration, now: Time) -> Self {
        let conversation = Conversation::new(now);
        Self { key, conversation, pipeline, denied_grace, task: Some(task.clone()), ended: None }
    }

    /// The pipeline that it looks at.
    pub fn pipeline(&self) -> PipelineId {
        self.pipeline
    }

    /// Its place among nodes that look at the same time.
    pub fn turn(&self) -> (Time, Option<RequestId>) {
        self.conversation.turn()
    }

    /// Whether it has come to its end.
    pub fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether its end was told.
    pub fn end_is_told(&self) -> bool {
        self.conversation.end_is_told()
    }

    /// A request comes in; it is answered when there is something to say.
    pub fn park(&mut self, request: RequestId, fx: &Effects) {
        self.conversation.park(request, fx);
    }

    /// The last answer was not heard.
    pub fn unheard(&mut self) {
        self.conversation.forget_told();
    }

    /// Looks at what is known of the pipeline and does what follows.
    pub fn advance(&mut self, w: &mut World) {
        let now = w.fx.now();
        match &self.ended {
            // A refusal is looked at again later: by then the pipeline may have been mended, and a check changes nothing.
            Some((at, reply)) if reply.phase() == Some(Phase::Succeeded) || now < at.plus(DIGEST_FOR) => return,
            Some(_) => {
                self.ended = None;
                self.conversation.begin_anew(now);
                w.tally.node_opened();
            }
            None => {}
        }
        if let Some(reply) = self.verdict(w) {
            if reply.phase() == Some(Phase::Succeeded) {
                self.task = None;
            }
            self.ended = Some((now, reply));
            w.tally.node_ended(now);
        }
    }

    fn verdict(&self, w: &mut World) -> Option<ReplyText> {
        let task = self.task.as_deref()?;
        let Action::Validate { parameters, version } = &task.action else { return None };
        let error = |text: &str| ReplyText::end(Phase::Error, report::message(text), None);
        let digest = match w.pipelines.digest(self.pipeline, *version, &mut w.fx) {
            Some(Ok(digest)) => digest,
            Some(Err(text)) => return Some(error(&text)),
            None => {
                let trouble = w.pipelines.digest_trouble(self.pipeline, *version);
                let final_one = trouble.filter(|t| t.outlasted(self.conversation.asked_since(), self.denied_grace))?;
                return Some(error(&format!("{} (for {})", final_one.text(), spoken(self.denied_grace))));
            }
        };
        Some(match digest.check(parameters) {
            Ok(()) => {
                let text = format!("pipeline {} is Active, {} steps", task.pipeline_name, digest.step_count);
                ReplyText::end(Phase::Succeeded, text, Some(digest.outputs()))
            }
            Err(text) => error(&text),
        })
    }

    /// Answers who waits for it, as far as there is something to say; when to look at the others.
    pub fn answer(&mut self, w: &mut World) -> Option<Time> {
        let telling = self.telling(w);
        let awaited = !telling.is_settled() && self.expects_news(w);
        self.conversation.answer(telling, awaited, self.key, w.crowd(), &mut w.fx)
    }

    /// Whether something is on its way that may change what it would be told.
    fn expects_news(&self, w: &World) -> bool {
        w.is_coming(self.pipeline)
    }

    fn telling(&self, w: &World) -> Telling {
        if let Some((_, reply)) = &self.ended {
            return Telling::End(reply.clone());
        }
        let version = match self.task.as_deref().map(|task| &task.action) {
            Some(Action::Validate { version, .. }) => *version,
            _ => None,
        };
        Telling::Now(match w.pipelines.digest_trouble(self.pipeline, version) {
            Some(trouble) => View::settled(Phase::Pending, trouble.told(0), None),
            None => View::passing(None, "describing the pipeline"),
        })
    }
}
