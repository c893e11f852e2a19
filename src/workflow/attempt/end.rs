//! The end of an attempt, and when its time is up.

use std::time::Duration;

use crate::{
    pipelines::Time,
    protocol::{Phase, ReplyText},
    workflow::{
        notes::Note,
        report::{self, spoken},
        slab::ExecutionId,
        trouble::Trouble,
        world::World,
    },
};

use super::{Attempt, Stage};

/// So much of why it was started anew is said in the end: that it was, and instead of which execution.
const NOTE_LEAST: usize = 60;

impl Attempt {
    /// Ends it for good, with the execution that explains it.
    pub fn end(&mut self, phase: Phase, text: &str, with: Option<ExecutionId>, w: &mut World) {
        w.queue.leave(self.id);
        if self.is_ended() {
            return;
        }
        let wanted = self.wanted.take().unwrap_or_default();
        let room = w.output_room();
        let tracked = with.map(|id| &w.executions[id]);
        let outputs = tracked.map(|tracked| {
            if tracked.is_live() {
                report::running_outputs(tracked.arn(), tracked.status(), room)
            } else {
                tracked.story().outputs(&wanted, room)
            }
        });
        let lacks = tracked.zip(outputs.as_ref()).filter(|_| phase == Phase::Succeeded);
        let text = match lacks.and_then(|(tracked, outputs)| tracked.story().lacks(&wanted, outputs)) {
            Some(lacks) => format!("{text}; {lacks}"),
            None => text.to_owned(),
        };
        let text = match tracked.and_then(|tracked| tracked.warning()).or_else(|| self.note().map(str::to_owned)) {
            Some(warning) => {
                // Old news give way to how it ended.
                let gives_way = self.is_old_news(&warning);
                let least = if gives_way { warning.len().min(NOTE_LEAST) } else { warning.len() };
                let room = report::MESSAGE_MAX.saturating_sub("; warning: ".len());
                let text = report::fit(&text, room.saturating_sub(least));
                let warning = report::fit(&warning, room.saturating_sub(text.len()));
                format!("{text}; warning: {warning}")
            }
            None => text,
        };
        self.task = None;
        self.untraced = with.is_none();
        let arn = tracked.map(|tracked| tracked.arn().to_owned());
        w.fx.note(Note::NodeEnded { key: self.key, attempt: self.number, phase, message: text.clone(), arn });
        let reply = ReplyText::end(phase, report::message(&text), outputs);
        self.set_stage(Stage::Ended(reply), w);
    }

    /// A denial that lasts is the node's end: nobody waits days for a trust policy.
    pub(super) fn give_up_when_denied(&mut self, trouble: Option<&Trouble>, w: &mut World) {
        let grace = self.rules.denied_grace;
        if let Some(trouble) = trouble.filter(|t| t.outlasted(self.asked_since(), grace)) {
            let text = format!("{} (for {})", trouble.text(), spoken(grace));
            self.end(Phase::Error, &text, None, w);
        }
    }

    /// When its time is up: it runs from the earlier of its first request and when its own execution
    /// was created or resumed.
    pub fn deadline(&self, with: Option<ExecutionId>, w: &World) -> Option<(Time, Duration)> {
        let timeout = self.rules.timeout?;
        let own = with.map(|id| &w.executions[id]).filter(|tracked| tracked.attempt() == self.number);
        let began = own.and_then(|tracked| tracked.began()).map(|began| w.fx.aws().ours(began));
        let asked = self.asked_since();
        let from = began.map_or(asked, |began| began.min(asked));
        Some((from.plus(timeout), timeout))
    }

    /// The time-out, in words, of a node whose time was up before it could start, and when it was.
    pub(super) fn timed_out_waiting(&self, w: &mut World) -> Option<(String, Time)> {
        let (group, timeout) = (self.rules.group, self.rules.timeout?);
        let since = w.siblings.waits_since((group, self.number), self.asked_since(), timeout, &w.fx);
        let at = since.plus(timeout);
        if w.fx.now() < at {
            self.wake_at(at, w);
            return None;
        }
        Some((spoken(timeout), at))
    }

    /// The sentence for a node whose time was up before its past was known.
    pub(super) fn timed_out_locating(&self, trouble: Option<&Trouble>, w: &mut World) -> Option<String> {
        let (at, timeout) = self.deadline(None, w)?;
        if w.fx.now() < at {
            self.wake_at(at, w);
            return None;
        }
        let timeout = spoken(timeout);
        let why = trouble.map(|t| format!(" ({})", report::fit(t.text(), 120))).unwrap_or_default();
        Some(format!("timed out after {timeout}; whether an execution of it runs could not be found out{why}"))
    }
}
