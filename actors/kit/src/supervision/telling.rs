//! Writes the lines that a failure log finds due, for whoever is no loop of the service: those have `collector::telling`.

use slog::{Logger, debug, error, info, warn};

use super::failure_log::{Due, Line, Recovery, lasted};

/// Tells of a failure, as loud as its line is due.
pub fn failure(log: &Logger, line: &Line, text: &str) {
    match line.due {
        Due::Error => error!(log, "{}", text),
        Due::Warning => warn!(log, "{}", text; "failures" => line.number, "untold" => line.untold),
        Due::Info | Due::Debug => debug!(log, "{}", text),
    }
}

/// Tells of the end of an outage, if it is one.
pub fn recovery(log: &Logger, outage: Option<Recovery>, text: &str) {
    if let Some(outage) = outage {
        info!(log, "{}", text; "failures" => outage.failures, "lasted" => lasted(outage.lasted));
    }
}
