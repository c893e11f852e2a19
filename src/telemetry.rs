//! The log: where it goes, how it looks, and that a panic is in it.

use std::panic;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    prelude::*,
};

use crate::{
    config::{LogConfig, LogFormat},
    metrics::{labels::Level, live::LogCounts},
};

mod redact;

/// The log is the process's, so its lines are counted for the process.
static WRITTEN: LogCounts = LogCounts::new();

/// How many lines were written.
pub fn written() -> &'static LogCounts {
    &WRITTEN
}

/// Counts what passes the filter.
struct Counting;

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        match *event.metadata().level() {
            tracing::Level::ERROR => WRITTEN.written(Level::Error),
            tracing::Level::WARN => WRITTEN.written(Level::Warn),
            tracing::Level::INFO => WRITTEN.written(Level::Info),
            _ => {}
        }
    }
}

/// Begins to log to stderr, panics included. Called once, by the binary; tests keep their own.
pub fn init(config: &LogConfig) {
    let filter = config.filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // A log that nobody reads any more must not end the process: the subscriber would report it to the same closed
    // stderr, which panics.
    let lines = tracing_subscriber::fmt::layer().with_writer(|| redact::Redacting).log_internal_errors(false);
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let installed = tracing_subscriber::registry().with(filter).with(lines).with(Counting).try_init();
    if let Err(error) = installed {
        eprintln!("awf-aws: unable to start the log: {error}");
    }
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string);
        tracing::error!(
            panic.message = info.payload_as_str().unwrap_or("not a text"),
            panic.location = location.as_deref().unwrap_or("unknown"),
            "panicked"
        );
    }));
}
