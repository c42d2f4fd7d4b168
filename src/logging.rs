//! Logging of the one-shot commands: records for people, on stderr, from the level that was asked for on.

use slog::{Drain, Level, Logger, o};

/// A logger, and what has to live until the last record is written.
pub struct Logging {
    /// Where to log.
    pub log: Logger,
    _flush: slog_async::AsyncGuard,
}

/// Logs on stderr. `level` is one of the words of `log.level`; anything else means errors only.
#[must_use]
pub fn to_stderr(level: &str) -> Logging {
    let level = match level {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warning" => Level::Warning,
        _ => Level::Error,
    };
    let decorator = slog_term::TermDecorator::new().stderr().build();
    let terminal = slog_term::FullFormat::new(decorator).build().fuse();
    // Terminals block: the writing is done on a thread of its own, and flushed when the guard goes.
    let (drain, flush) = slog_async::Async::new(terminal).build_with_guard();
    let log = Logger::root(drain.filter_level(level).fuse(), o!());
    Logging { log, _flush: flush }
}
