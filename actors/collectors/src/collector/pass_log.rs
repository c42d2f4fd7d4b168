//! What is logged of a loop's passes, and recorded as events: the failures, less and less of them while they repeat, and the
//! recovery (behaviour: Failures and log levels).
//!
//! An unreachable runtime is reported by the gateway, once for all loops; here it counts, and is logged at DEBUG only.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use slog::{Logger, debug, info, log};

use crate::report::{FailureKind, PassError, PassReport};
use cri_gc_kit::recorder::{Event, EventKind, InPass, Recorder};
use cri_gc_kit::supervision::failure_log::{Due, FailureLog, First, Line, Recovery};
use cri_gc_kit::text::duration;
use cri_gc_kit::words::{Kind, Loop};
use cri_gc_policy::text::counted;

/// Notes that are remembered while passes fail. With more of them, what the last pass did not note may be logged again.
const NOTES: usize = 100;

/// The log of one loop's passes.
pub struct PassLog {
    of: Loop,
    /// What fails apart from single objects.
    failures: Outage,
    /// Objects that can't be removed, by kind: what waits for its next attempt hides no other failure.
    removals: Outage,
    /// Notes that were logged, each once until it is gone.
    notes: HashSet<String>,
    /// Objects that would be removed, as it was logged last.
    would_remove: u64,
    log: Logger,
    recorder: Recorder,
}

/// A failure of a pass, as it is logged.
struct Failure {
    kind: FailureKind,
    event: EventKind,
    text: String,
    /// The gateway reports it.
    is_unreachable: bool,
}

impl PassLog {
    pub fn new(of: Loop, first: First, log: Logger, recorder: Recorder) -> Self {
        Self {
            of,
            failures: Outage::new(first),
            removals: Outage::new(first),
            notes: HashSet::new(),
            would_remove: 0,
            log,
            recorder,
        }
    }

    /// Passes that failed since the last one without a failure, and since when.
    pub fn outage(&self) -> (u64, Option<Timestamp>) {
        let outages = [&self.failures.log, &self.removals.log];
        let passes = outages.map(FailureLog::passes).into_iter().max().unwrap_or_default();
        (passes, outages.into_iter().filter_map(FailureLog::since).min())
    }

    /// Logs what is due of a pass.
    pub fn pass_ended(&mut self, report: &PassReport, now: Timestamp) {
        self.notes(report);
        self.would_remove(report);
        self.objects(report);
        let errors = errors(report);
        // Where the runtime became unreachable in the middle, nothing more is logged of the objects.
        let removals =
            if errors.iter().any(|failure| failure.is_unreachable) { Vec::new() } else { removals(report) };
        if errors.is_empty() && removals.is_empty() {
            debug!(self.log, "pass"; "loop" => self.of.as_str(), "removed" => report.counts.removed, "took" => duration(report.took));
        }
        if errors.is_empty() {
            let is_over = removals.is_empty() && report.counts.postponed == 0;
            let ended = [self.failures.ended(now), if is_over { self.removals.ended(now) } else { None }];
            if let Some(outage) = ended.into_iter().flatten().reduce(joined) {
                self.recovered(outage, report);
            }
        }
        let outages = [(&mut self.failures, errors), (&mut self.removals, removals)];
        let failed: Vec<(Failure, Line)> =
            outages.into_iter().flat_map(|(outage, failures)| outage.pass_failed(failures, now)).collect();
        failed.into_iter().for_each(|(failure, line)| self.failed(failure, line, report));
    }

    fn failed(&self, failure: Failure, line: Line, report: &PassReport) {
        if failure.is_unreachable {
            debug!(self.log, "pass failed: {}", failure.text; "loop" => self.of.as_str());
            return;
        }
        let hint = match (self.failures.log.first, line.number) {
            (First::Warning, 1)
                if failure.event == EventKind::InvalidDiskCapacity || failure.kind.step == "ImageFsInfo" =>
            {
                " (the statistics of a runtime that has just started may not be ready yet)"
            }
            _ => "",
        };
        self.line(line, &format!("pass failed: {}{hint}", failure.text));
        self.event(line, failure.event, failure.text, Some(report.in_pass()));
    }

    /// Logs each note once until it is gone.
    fn notes(&mut self, report: &PassReport) {
        // What a pass without the runtime notes follows from that, and is not worth a line.
        if report.errors.iter().any(PassError::is_unreachable) {
            return;
        }
        // A pass that failed may not have reached what was noted before.
        if report.errors.is_empty() || self.notes.len() > NOTES {
            self.notes.retain(|note| report.notes.contains(note));
        }
        for note in &report.notes {
            if self.notes.insert(note.clone()) {
                slog::warn!(self.log, "{}", note; "loop" => self.of.as_str());
            }
        }
    }

    /// Logs how many objects a loop that only reports would remove, whenever that changes.
    fn would_remove(&mut self, report: &PassReport) {
        let would_remove = report.counts.would_remove;
        if std::mem::replace(&mut self.would_remove, would_remove) != would_remove && would_remove > 0 {
            info!(self.log, "report mode: {} would be removed", counted(would_remove, "object"); "loop" => self.of.as_str());
        }
    }

    /// Logs that the loop itself crashed, and restarts after that pause; without a pause, that it hung.
    pub fn crashed(&mut self, step: &'static str, why: &str, pause: Duration, now: Timestamp) {
        let line = self.failures.crashed(FailureKind { step, code: None }, now);
        let of = self.of;
        let text = if pause.is_zero() {
            format!("{of} hung, restarting now: {why}")
        } else {
            format!("{of} crashed, restarting in {}: {why}", duration(pause))
        };
        self.line(line, &text);
        self.event(line, EventKind::Restarted, why.to_owned(), None);
    }

    fn recovered(&self, outage: Recovery, report: &PassReport) {
        let lasted = duration(outage.lasted);
        info!(self.log, "the loop has recovered"; "loop" => self.of.as_str(), "failures" => outage.failures,
            "lasted" => &lasted, "removed" => report.counts.removed);
        let message = format!("{} in {lasted}", counted(outage.failures, "failed pass"));
        let event = Event::new(EventKind::Recovered, Some(self.of), message);
        self.recorder.record(Event { pass: Some(report.in_pass()), ..event });
    }

    fn line(&self, line: Line, text: &str) {
        let fields =
            slog::o!("loop" => self.of.as_str(), "failures" => line.number, "suppressed" => line.suppressed);
        match line.due {
            Due::Error => log!(self.log, slog::Level::Error, "", "{}", text; fields),
            Due::Warning => log!(self.log, slog::Level::Warning, "", "{}", text; fields),
            Due::Debug => log!(self.log, slog::Level::Debug, "", "{}", text; fields),
        }
    }

    /// The event of a failure. A first one that may be none has no event.
    fn event(&self, line: Line, kind: EventKind, message: String, pass: Option<InPass>) {
        let perhaps_none = line.number == 1 && line.due == Due::Warning;
        if line.due > Due::Debug && !perhaps_none {
            let event = Event::new(kind, Some(self.of), message);
            self.recorder.record(Event { count: line.number, pass, ..event });
        }
    }

    /// An event for each object that could not be removed, after as many attempts as a doubling says.
    fn objects(&self, report: &PassReport) {
        // Over one that the runtime died of it does not count: 0.
        let is_due = |attempts: u64| attempts == 0 || attempts.is_power_of_two();
        for (removal, error) in report.failed().filter(|(removal, _)| is_due(removal.attempts)) {
            let object = Some(Box::new(removal.object()));
            let event = Event::new(EventKind::RemovalFailed, Some(self.of), error);
            let (count, pass) = (removal.attempts.max(1), Some(report.in_pass()));
            self.recorder.record(Event { object, count, pass, ..event });
        }
    }
}

/// Passes that fail in a row.
struct Outage {
    log: FailureLog<FailureKind>,
    /// Whether anything of it was logged, so that its end is worth a line.
    was_logged: bool,
}

impl Outage {
    fn new(first: First) -> Self {
        Self { log: FailureLog::new(first), was_logged: false }
    }

    /// Counts the failures of a pass, if it has any, and gives each its line. What the gateway reports is not logged here.
    fn pass_failed(&mut self, failures: Vec<Failure>, now: Timestamp) -> Vec<(Failure, Line)> {
        if !failures.is_empty() {
            self.log.pass_failed();
        }
        let with_line = |failure: Failure| {
            let first = match failure.event {
                EventKind::FreeDiskSpaceFailed => First::Lasting,
                _ => self.log.first,
            };
            let line = self.log.failed_as(first, failure.kind, now);
            self.was_logged |= line.due > Due::Debug && !failure.is_unreachable;
            (failure, line)
        };
        failures.into_iter().map(with_line).collect()
    }

    /// The loop itself crashed: a failure that is never one of statistics.
    fn crashed(&mut self, kind: FailureKind, now: Timestamp) -> Line {
        self.log.pass_failed();
        let line = self.log.failed_as(First::Error, kind, now);
        self.was_logged |= line.due > Due::Debug;
        line
    }

    /// A pass did not fail. What that ends, if anything of it was logged.
    fn ended(&mut self, now: Timestamp) -> Option<Recovery> {
        let recovery = self.log.succeeded(now);
        std::mem::take(&mut self.was_logged).then_some(recovery).flatten()
    }
}

/// Both outages, which have ended at the same time.
fn joined(one: Recovery, other: Recovery) -> Recovery {
    Recovery { failures: one.failures.saturating_add(other.failures), lasted: one.lasted.max(other.lasted) }
}

/// The errors of a pass, one of each kind.
fn errors(report: &PassReport) -> Vec<Failure> {
    let mut all: Vec<Failure> = Vec::new();
    for error in &report.errors {
        if all.iter().all(|failure| failure.kind != error.kind()) {
            let event = match error {
                PassError::FreeDiskSpaceFailed(_) => EventKind::FreeDiskSpaceFailed,
                PassError::Disk(_) => EventKind::InvalidDiskCapacity,
                _ => EventKind::failed(report.of),
            };
            all.push(Failure {
                kind: error.kind(),
                event,
                text: error.to_string(),
                is_unreachable: error.is_unreachable(),
            });
        }
    }
    all
}

/// The objects that could not be removed: one failure for each kind of object.
fn removals(report: &PassReport) -> Vec<Failure> {
    let mut all: Vec<Failure> = Vec::new();
    for (removal, error) in report.failed() {
        let kind = FailureKind { step: removal.kind.as_str(), code: None };
        if all.iter().all(|known| known.kind != kind) {
            let count = report.failed().filter(|(other, _)| other.kind == removal.kind).count();
            let objects = counted(count, kind.step);
            let first = if count == 1 { "" } else { "the first is " };
            let digits = removal.id.strip_prefix("sha256:").unwrap_or(&removal.id);
            let object = match removal.kind {
                Kind::LogDir | Kind::LogLink => removal.id.to_string(),
                _ => format!("{} ({})", removal.name, digits.get(..13).unwrap_or(digits)),
            };
            let text = format!("{objects} could not be removed, {first}{object}: {error}");
            all.push(Failure { kind, event: EventKind::failed(report.of), text, is_unreachable: false });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use cri_gc_config::Mode;
    use slog::{Discard, o};

    use super::*;
    use crate::report::Trigger;
    use cri_gc_kit::seams::Clock;

    #[test]
    fn notes_that_differ_each_time_are_forgotten_although_every_pass_fails() {
        let log = Logger::root(Discard, o!());
        let clock = Clock::new(|| Timestamp::UNIX_EPOCH);
        let mut pass_log = PassLog::new(Loop::LogGc, First::Error, log, Recorder::none(clock));
        let error = PassError::File { step: "test", error: "on purpose".to_owned() };
        let now = Timestamp::UNIX_EPOCH;
        let mut report = PassReport::new(Loop::LogGc, Trigger::Period, Mode::Enforce, now);
        report.errors = vec![error];
        for number in 0..10 * NOTES {
            report.notes = vec![format!("{number} pods are unknown")];
            pass_log.pass_ended(&report, Timestamp::UNIX_EPOCH);
            assert!(pass_log.notes.len() <= NOTES + 1);
        }
    }
}
