//! What is logged of a loop's passes, and recorded as events: the failures, less and less of them while they repeat, and the
//! recovery (behaviour: Failures and log levels).
//!
//! An unreachable runtime is reported by the gateway, once for all loops; here it counts, and is logged at DEBUG only.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ecow::EcoString;
use jiff::Timestamp;
use slog::{Logger, debug, info, log};

use crate::report::{FailureKind, PassError, PassReport};
use cri_gc_kit::recorder::{Event, EventKind, InPass, Recorder};
use cri_gc_kit::supervision::failure_log::{Due, FailureLog, First, Line};
use cri_gc_kit::text::duration;
use cri_gc_kit::words::{Kind, Loop};
use cri_gc_policy::text::counted;

/// Notes that are remembered while passes fail. With more of them, what the last pass did not note may be logged again.
const NOTES: usize = 100;

/// The log of one loop's passes.
pub struct PassLog {
    of: Loop,
    failures: FailureLog<FailureKind>,
    /// Whether anything of the outage was logged, so that its end is worth a line.
    was_logged: bool,
    /// In how many passes in a row each object could not be removed.
    objects: HashMap<(Kind, EcoString), u64>,
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
            failures: FailureLog::new(first),
            was_logged: false,
            objects: HashMap::new(),
            notes: HashSet::new(),
            would_remove: 0,
            log,
            recorder,
        }
    }

    /// Passes that failed since the last one without a failure, and since when.
    pub fn outage(&self) -> (u64, Option<Timestamp>) {
        (self.failures.passes(), self.failures.since())
    }

    /// Logs what is due of a pass.
    pub fn pass_ended(&mut self, report: &PassReport, now: Timestamp) {
        self.notes(report);
        self.would_remove(report);
        self.objects(report);
        let failures = failures(report);
        if failures.is_empty() {
            return self.success(report, now);
        }
        self.failures.pass_failed();
        for failure in failures {
            let first = match failure.event {
                EventKind::FreeDiskSpaceFailed => First::Lasting,
                _ => self.failures.first,
            };
            let line = self.failures.failed_as(first, failure.kind, now);
            if failure.is_unreachable {
                debug!(self.log, "pass failed: {}", failure.text; "loop" => self.of.as_str());
                continue;
            }
            let hint = match (first, line.number) {
                (First::Warning, 1)
                    if failure.event == EventKind::InvalidDiskCapacity
                        || failure.kind.step == "ImageFsInfo" =>
                {
                    " (the statistics of a runtime that has just started may not be ready yet)"
                }
                _ => "",
            };
            self.line(line, &format!("pass failed: {}{hint}", failure.text));
            self.event(line, failure.event, failure.text, Some(report.in_pass()));
        }
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

    /// Logs that the loop itself crashed, and restarts after that pause; without a pause, that it hung. Such a failure is never one of statistics.
    pub fn crashed(&mut self, step: &'static str, why: &str, pause: Duration, now: Timestamp) {
        self.failures.pass_failed();
        let line = self.failures.failed_as(First::Error, FailureKind { step, code: None }, now);
        let of = self.of;
        let text = if pause.is_zero() {
            format!("{of} hung, restarting now: {why}")
        } else {
            format!("{of} crashed, restarting in {}: {why}", duration(pause))
        };
        self.line(line, &text);
        self.event(line, EventKind::Restarted, why.to_owned(), None);
    }

    fn success(&mut self, report: &PassReport, now: Timestamp) {
        let (removed, took) = (report.counts.removed, report.took);
        let (of, was_logged) = (self.of.as_str(), std::mem::take(&mut self.was_logged));
        match self.failures.succeeded(now) {
            Some(outage) if was_logged => {
                info!(self.log, "the loop has recovered"; "loop" => of, "failures" => outage.failures,
                    "lasted" => duration(outage.lasted), "removed" => removed);
                let passes = counted(outage.failures, "failed pass");
                let message = format!("{passes} in {}", duration(outage.lasted));
                let event = Event::new(EventKind::Recovered, Some(self.of), message);
                self.recorder.record(Event { pass: Some(report.in_pass()), ..event });
            }
            _ => debug!(self.log, "pass"; "loop" => of, "removed" => removed, "took" => duration(took)),
        }
    }

    fn line(&mut self, line: Line, text: &str) {
        self.was_logged |= line.due > Due::Debug;
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

    /// An event for each object that could not be removed, in as many passes in a row as a doubling says.
    fn objects(&mut self, report: &PassReport) {
        let before = std::mem::take(&mut self.objects);
        for (removal, error) in report.failed() {
            let key = (removal.kind, removal.id.clone());
            let count = before.get(&key).copied().unwrap_or_default().saturating_add(1);
            self.objects.insert(key, count);
            if count.is_power_of_two() {
                let object = Some(Box::new(removal.object()));
                let event = Event::new(EventKind::RemovalFailed, Some(self.of), error);
                let pass = Some(report.in_pass());
                self.recorder.record(Event { object, count, pass, ..event });
            }
        }
    }
}

/// The failures of a pass, one of each kind. Objects that could not be removed are one failure for each kind of object.
fn failures(report: &PassReport) -> Vec<Failure> {
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
    // Where the runtime became unreachable in the middle, nothing more is logged of the objects.
    if all.iter().any(|failure| failure.is_unreachable) {
        return all;
    }
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
