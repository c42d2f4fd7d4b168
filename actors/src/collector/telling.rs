//! What is logged of a pass: its failures, less and less of them while they repeat, and the recovery.

use std::collections::HashSet;

use jiff::Timestamp;
use slog::{Logger, debug, info, log};

use super::report::{FailureKind, Loop, Outcome, PassReport};
use crate::supervision::failure_log::{Due, FailureLog, First};

/// The log of one loop.
pub struct Telling {
    of: Loop,
    failures: FailureLog<FailureKind>,
    /// Notes that were told, each once until it is gone.
    notes: HashSet<String>,
    log: Logger,
    first: First,
}

impl Telling {
    pub fn new(of: Loop, first: First, log: Logger) -> Self {
        Self { of, failures: FailureLog::new(first), notes: HashSet::new(), log, first }
    }

    /// Tells what there is to tell of a pass.
    pub fn of(&mut self, report: &PassReport, now: Timestamp) {
        self.notes.retain(|note| report.notes.contains(note));
        for note in &report.notes {
            if self.notes.insert(note.clone()) {
                slog::warn!(self.log, "{}", note; "loop" => self.of.as_str());
            }
        }
        let failures = failures(report);
        for (kind, error) in &failures {
            self.failure(*kind, error, now);
        }
        let (removed, took) = (report.count(|outcome| *outcome == Outcome::Removed), report.took);
        if !failures.is_empty() {
            return;
        }
        match self.failures.succeeded(now) {
            Some(outage) => info!(self.log, "the loop has recovered"; "loop" => self.of.as_str(),
                "failures" => outage.failures, "lasted" => format!("{:#}", outage.lasted), "removed" => removed),
            None => {
                debug!(self.log, "pass"; "loop" => self.of.as_str(), "removed" => removed, "took" => ?took)
            }
        }
    }

    fn failure(&mut self, kind: FailureKind, error: &str, now: Timestamp) {
        let line = self.failures.failed(kind, now);
        let hint = match (self.first, line.number) {
            (First::Warning, 1) => {
                " (the statistics of a runtime that has just started may not be ready yet)"
            }
            _ => "",
        };
        let (of, number, untold) = (self.of.as_str(), line.number, line.untold);
        let text = format!("pass failed: {error}{hint}");
        let fields = slog::o!("loop" => of, "failures" => number, "untold" => untold);
        match line.due {
            Due::Error => log!(self.log, slog::Level::Error, "", "{}", text; fields),
            Due::Warning => log!(self.log, slog::Level::Warning, "", "{}", text; fields),
            Due::Info | Due::Debug => log!(self.log, slog::Level::Debug, "", "{}", text; fields),
        }
    }
}

/// The failures of a pass, one of each kind. Objects that could not be removed are one failure for each kind of object.
fn failures(report: &PassReport) -> Vec<(FailureKind, String)> {
    let mut all: Vec<(FailureKind, String)> = Vec::new();
    for error in &report.errors {
        if all.iter().all(|(kind, _)| *kind != error.kind()) {
            all.push((error.kind(), error.to_string()));
        }
    }
    for removal in &report.removals {
        let Outcome::Failed { error } = &removal.outcome else { continue };
        let kind = FailureKind { step: removal.kind.as_str(), code: None };
        if all.iter().all(|(known, _)| *known != kind) {
            let same = |other: &&super::Removal| {
                other.kind == removal.kind && matches!(other.outcome, Outcome::Failed { .. })
            };
            let count = report.removals.iter().filter(same).count();
            all.push((kind, format!("{count} {} could not be removed, {}: {error}", kind.step, removal.id)));
        }
    }
    all
}
