//! Writes the lines that a failure log finds due, for all but the loops of the service: those have `collector::pass_log`.

use slog::{Logger, debug, error, info, warn};

use super::failure_log::{Due, Line, Recovery};
use crate::text::duration;

/// Logs a failure at the level of its line.
pub fn failure(log: &Logger, line: &Line, text: &str) {
    match line.due {
        Due::Error => error!(log, "{}", text),
        Due::Warning => warn!(log, "{}", text; "failures" => line.number, "suppressed" => line.suppressed),
        Due::Debug => debug!(log, "{}", text),
    }
}

/// Logs the end of an outage, if it is one.
pub fn recovery(log: &Logger, outage: Option<Recovery>, text: &str) {
    if let Some(outage) = outage {
        info!(log, "{}", text; "failures" => outage.failures, "lasted" => duration(outage.lasted));
    }
}
