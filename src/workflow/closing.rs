//! Why nothing more starts: the workflow is over, a stop task stopped everything, or the process is told to end.

use crate::pipelines::Time;

/// What is known of the end.
#[derive(Debug, Default)]
pub struct Closing {
    closed: Option<Closed>,
    /// Since when the process is told to end.
    draining: Option<Time>,
}

/// The workflow starts nothing more.
#[derive(Clone, Debug)]
pub struct Closed {
    text: String,
    /// Nodes of exit handlers may still start.
    except_exit_handlers: bool,
    /// What runs is stopped, too, also what nobody asks for.
    stops: bool,
    since: Time,
}

impl Closed {
    /// The sentence for its nodes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Since when.
    pub fn since(&self) -> Time {
        self.since
    }

    /// Whether it holds for a node, which may be an exit handler's.
    pub fn holds_for(&self, exit_handler: bool) -> bool {
        !(self.except_exit_handlers && exit_handler)
    }
}

impl Closing {
    /// The workflow is over: nothing more starts, and what is to be stopped is stopped. Whether that is news.
    pub fn close(&mut self, text: &str, except_exit_handlers: bool, now: Time) -> bool {
        let before = self.closed.as_ref();
        let except_exit_handlers = except_exit_handlers && before.is_none_or(|closed| closed.except_exit_handlers);
        if before.is_some_and(|closed| closed.stops && closed.except_exit_handlers == except_exit_handlers) {
            return false;
        }
        self.closed = Some(Closed { text: text.to_owned(), except_exit_handlers, stops: true, since: now });
        true
    }

    /// A stop task for the whole workflow: nothing more starts. A workflow that is over, too, stays so.
    pub fn stop_everything(&mut self, text: &str, now: Time) {
        let (stops, since) = self.closed.as_ref().map_or((false, now), |closed| (closed.stops, closed.since));
        self.closed = Some(Closed { text: text.to_owned(), except_exit_handlers: false, stops, since });
    }

    /// Why a node may not start, which may be an exit handler's.
    pub fn for_node(&self, exit_handler: bool) -> Option<&Closed> {
        self.closed.as_ref().filter(|closed| closed.holds_for(exit_handler))
    }

    /// Why what runs is stopped.
    pub fn over(&self) -> Option<&Closed> {
        self.closed.as_ref().filter(|closed| closed.stops)
    }

    /// Whether the workflow is gone: not even exit handlers go on.
    pub fn is_gone(&self) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.stops && !closed.except_exit_handlers)
    }

    /// Since when nothing more starts.
    pub fn since(&self) -> Option<Time> {
        self.closed.as_ref().map(Closed::since)
    }

    /// The process is told to end; whether that is news.
    pub fn drain(&mut self, now: Time) -> bool {
        let news = self.draining.is_none();
        self.draining.get_or_insert(now);
        news
    }

    /// Since when the process is told to end.
    pub fn draining(&self) -> Option<Time> {
        self.draining
    }
}
