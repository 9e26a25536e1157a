//! The server's log on stderr: a line an event, as text or JSON. It names
//! routes, tokens by their ids, and addresses; no thing, no data, no token.

use clap::ValueEnum;
use tracing::Level;

use crate::panics::is_of_sled;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// Each request, too.
    #[default]
    Info,
    /// Each connection, too.
    Debug,
}

/// Begins to write the log. What other crates have to say is left out unless
/// it is a warning.
pub(crate) fn begin(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    // It fails only if there is a log already, which is then good enough.
    let _ = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.with_ansi(false).finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().flatten_event(true).finish()),
    };
    // What a panic says may hold data; where it was is enough.
    std::panic::set_hook(Box::new(|panic| {
        if is_of_sled(panic) {
            return;
        }
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a panic: please report it");
    }));
}
