//! Calls that were left without an answer, and those that were made.

use awf_aws::{
    input::Task,
    pipelines::{Call, CallEnded, CallErrorKind, ClientKey, Time},
    workflow::Event,
};

use super::{World, error, key_of};

impl World {
    /// Answers all calls that were left unanswered.
    pub fn refuse_unanswered(&mut self, kind: CallErrorKind) {
        for (call, _) in std::mem::take(&mut self.unanswered) {
            let ended = CallEnded { result: Err(error(kind)), server_time: Some(self.now) };
            self.handle(Event::CallEnded { call, ended });
        }
    }

    /// Answers a call that was left without an answer.
    pub fn answer_open(&mut self, number: usize) {
        let (call, operation) = self.unanswered.remove(number);
        let result = self.answer(&operation);
        self.handle(Event::CallEnded { call, ended: CallEnded { result, server_time: Some(self.server_time()) } });
    }

    /// What answers an open call as of now, to be handed over later.
    pub fn answer_of(&mut self, number: usize) -> Event {
        let (call, operation) = self.unanswered.remove(number);
        let result = self.answer(&operation);
        Event::CallEnded { call, ended: CallEnded { result, server_time: Some(self.server_time()) } }
    }

    /// The same, with an answer that was dated long ago.
    pub fn answer_open_dated(&mut self, number: usize, dated: Time) {
        let (call, operation) = self.unanswered.remove(number);
        let result = self.answer(&operation);
        self.handle(Event::CallEnded { call, ended: CallEnded { result, server_time: Some(dated) } });
    }

    /// Who called an operation, in order.
    pub fn clients_of(&self, operation: &str) -> Vec<&ClientKey> {
        self.calls_by.iter().filter(|(_, called)| *called == operation).map(|(client, _)| client).collect()
    }

    /// How often a node's own start was sent.
    pub fn starts_of(&self, task: &Task) -> usize {
        let key = key_of(task).hex(64);
        let own = |c: &&Call| matches!(c, Call::StartExecution(start) if start.description.contains(&key));
        self.calls.iter().filter(own).count()
    }

    /// How often an operation was called.
    pub fn count(&self, operation: &str) -> usize {
        self.calls.iter().filter(|c| c.operation() == operation).count()
    }
}
