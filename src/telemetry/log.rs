//! Logs: for people on a terminal, JSON lines everywhere else, always on standard error.
//!
//! A thread of their own writes them: whoever reads them may be slow, or have stopped, and neither may hold up a worker. What
//! does not fit meanwhile is lost, and counted.

use std::{env, io::IsTerminal, panic};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Overrides the configured level, with the same grammar: `info`, `debug`, `warn,evenkeel::admin=debug`.
const VARIABLE: &str = "EVENKEEL_LOG";

/// Lines that wait for standard error: what a node says in hours, and at some hundred bytes a line about a megabyte.
const LINES_MAX: usize = 4096;

/// How lines are written.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter makes no sense.
    #[error("{origin}: {filter:?} is no log level: {reason}; write error, warn, info, debug or trace")]
    Filter {
        /// The variable or the configuration key.
        origin: &'static str,
        /// What was written there.
        filter: String,
        /// What the parser says.
        reason: String,
    },
    /// A process logs in one place.
    #[error("logging was set up twice")]
    Installed,
}

/// The log of this process. Dropped, it writes what waits, for a second at most.
pub struct Log {
    lost: ErrorCounter,
    _writer: WorkerGuard,
}

impl Log {
    /// Counts lines that did not fit.
    pub(super) fn lost(&self) -> ErrorCounter {
        self.lost.clone()
    }
}

/// Sets logging up for the whole process. `level` is the configuration's `log.level`; `EVENKEEL_LOG` overrides it.
pub fn install_log(level: &str, format: LogFormat) -> Result<Log, LogError> {
    let filter = filter(env::var(VARIABLE).ok().as_deref(), level)?;
    let pretty = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("log");
    let (lines, writer) = builder.finish(std::io::stderr());
    let lost = lines.error_counter();
    let layer = fmt::layer().with_writer(lines).with_ansi(pretty);
    let installed = match pretty {
        true => registry.with(layer.with_target(false)).try_init(),
        false => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    installed.map_err(|_| LogError::Installed)?;
    // The usual words about a panic go to standard error from the thread that panics, which may be a worker's.
    panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(Log { lost, _writer: writer })
}

fn filter(variable: Option<&str>, configured: &str) -> Result<EnvFilter, LogError> {
    let (origin, filter) = match variable.filter(|value| !value.trim().is_empty()) {
        Some(value) => (VARIABLE, value),
        None => ("log.level", configured),
    };
    let wrong = |reason: String| LogError::Filter { origin, filter: filter.to_owned(), reason };
    // The parser takes any lone word for a module's name, so `inof` would silence everything.
    if let Some(word) = filter.split(',').map(str::trim).find(|word| !is_directive(word)) {
        return Err(wrong(format!("{word:?} is neither a level nor TARGET=LEVEL")));
    }
    // The admin API's server tells of each of its threads; nobody who runs a node asked.
    let quiet = if filter.contains("actix") { String::new() } else { ",actix_server=warn".to_owned() };
    EnvFilter::try_new(format!("{filter}{quiet}")).map_err(|error| wrong(error.to_string()))
}

fn is_directive(word: &str) -> bool {
    let level = word.rsplit_once('=').map_or(word, |(_, level)| level);
    ["off", "error", "warn", "info", "debug", "trace"].iter().any(|name| level.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_overrides_the_configuration() {
        let level = |variable, configured| filter(variable, configured).unwrap().max_level_hint().unwrap().to_string();
        assert_eq!(level(None, "info"), "info");
        assert_eq!(level(Some("debug"), "info"), "debug");
        assert_eq!(level(Some(" "), "warn"), "warn");
        assert!(filter(Some("warn,evenkeel::admin=debug"), "info").is_ok());
    }

    #[test]
    fn a_level_that_is_none_is_named() {
        let error = filter(Some("inof"), "info").unwrap_err().to_string();
        assert!(
            error.contains("EVENKEEL_LOG") && error.contains("inof") && error.contains("write error, warn"),
            "{error}"
        );
        assert!(filter(None, "").unwrap_err().to_string().starts_with("log.level: \"\""));
    }
}
