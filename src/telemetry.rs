//! The log: where it goes, how it looks, and that a panic is in it.

use std::{io, panic};

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Begins to log to stderr, panics included. Called once, by the binary; tests keep their own.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // A log that nobody reads any more must not end the process: the subscriber would report it to the same closed
    // stderr, which panics.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    let installed = match config.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
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
