//! What the service has told by events: the last lines of it for the view, and figures for the summary.
//!
//! Removals of one kind and moment are one line, and they never push everything else out of sight.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use cri_gc_kit::recorder::{Event, EventKind, Stamped};
use cri_gc_kit::words::Loop;
use jiff::{SignedDuration, Timestamp};

use super::trap::ON_PURPOSE;

/// Lines that are kept.
const LINES: usize = 8;

/// Lines of removals among them, at most.
const REMOVALS: usize = 4;

/// Removals of the same kind that are no further apart are one line.
const TOGETHER: SignedDuration = SignedDuration::from_secs(1);

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// When the last of them happened.
    pub time: Timestamp,
    /// The last of them.
    pub event: Arc<Event>,
    /// How many.
    pub times: u64,
    /// Bytes that all of them brought.
    pub bytes: u64,
}

/// All that was told.
#[derive(Debug, Default)]
pub struct Told {
    lines: VecDeque<Line>,
    failures: HashMap<Loop, u64>,
    panics: Vec<String>,
    losses: u64,
    returns: u64,
}

impl Told {
    /// One more.
    pub fn add(&mut self, Stamped { time, event, .. }: Stamped) {
        self.count(&event);
        // The loops remove side by side, so that those of one pass need not follow each other.
        let recent = self
            .lines
            .iter()
            .rposition(|line| time.duration_since(line.time) < TOGETHER && same(&line.event, &event));
        let (times, before) = match recent.and_then(|recent| self.lines.remove(recent)) {
            Some(line) => (line.times, line.bytes),
            None => (0, 0),
        };
        let bytes = before.saturating_add(event.bytes);
        self.lines.push_back(Line { time, event, times: times + 1, bytes });
        let removal = |line: &Line| line.event.kind == EventKind::Removed;
        let first = self.lines.iter().position(removal);
        match first.filter(|_| self.lines.iter().filter(|line| removal(line)).count() > REMOVALS) {
            Some(first) => drop(self.lines.remove(first)),
            None if self.lines.len() > LINES => drop(self.lines.pop_front()),
            None => {}
        }
    }

    fn count(&mut self, event: &Event) {
        let failures = event.of.map(|of| self.failures.entry(of).or_default());
        match (event.kind, failures) {
            (
                EventKind::RemovalFailed
                | EventKind::ContainerGcFailed
                | EventKind::SandboxGcFailed
                | EventKind::LogGcFailed
                | EventKind::ImageGcFailed
                | EventKind::FreeDiskSpaceFailed
                | EventKind::InvalidDiskCapacity,
                Some(failures),
            ) => *failures += 1,
            (EventKind::Restarted, _)
                if event.message.contains("panicked") && !event.message.contains(ON_PURPOSE) =>
            {
                self.panics.push(event.message.clone());
            }
            (EventKind::RuntimeLost, _) => self.losses += 1,
            (EventKind::RuntimeReturned, _) => self.returns += 1,
            _ => {}
        }
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    /// Failures that this loop told.
    #[must_use]
    pub fn failures(&self, of: Loop) -> u64 {
        self.failures.get(&of).copied().unwrap_or_default()
    }

    /// Panics of loops that nobody had ordered.
    #[must_use]
    pub fn panics(&self) -> &[String] {
        &self.panics
    }

    /// How often the runtime went away, and how often it came back.
    #[must_use]
    pub fn away(&self) -> (u64, u64) {
        (self.losses, self.returns)
    }
}

/// Whether both are removals that may stand in one line.
fn same(one: &Event, other: &Event) -> bool {
    let what = |event: &Event| event.object.as_ref().map(|object| (object.kind, object.reason.clone()));
    one.kind == EventKind::Removed
        && other.kind == EventKind::Removed
        && one.of == other.of
        && what(one) == what(other)
}

#[cfg(test)]
mod tests {
    use cri_gc_kit::recorder::Object;
    use cri_gc_kit::words::Kind;

    use super::*;

    fn stamped(second: i64, event: Event) -> Stamped {
        Stamped { sequence: 0, time: Timestamp::from_second(second).unwrap(), event: Arc::new(event) }
    }

    fn removed(second: i64, of: Loop, kind: Kind) -> Stamped {
        let object =
            Object { kind, id: "i".to_owned(), name: "n".to_owned(), reason: "pod_deleted".to_owned() };
        let event = Event::new(EventKind::Removed, Some(of), "");
        stamped(second, Event { object: Some(Box::new(object)), bytes: 10, ..event })
    }

    #[test]
    fn removals_are_put_together_and_push_nothing_else_out() {
        let mut told = Told::default();
        told.add(stamped(0, Event::new(EventKind::ImageGcFailed, Some(Loop::ImageGc), "locked")));
        for second in 1..9 {
            for _ in 0..3 {
                told.add(removed(second, Loop::ContainerGc, Kind::Container));
                told.add(removed(second, Loop::SandboxGc, Kind::Sandbox));
            }
        }
        let lines: Vec<_> = told.lines().map(|line| (line.event.kind, line.times, line.bytes)).collect();
        let three = (EventKind::Removed, 3, 30);
        assert_eq!(lines, [(EventKind::ImageGcFailed, 1, 0), three, three, three, three]);
        for number in 0..20 {
            told.add(stamped(9, Event::new(EventKind::Paused, Some(Loop::LogGc), number.to_string())));
        }
        assert_eq!(told.lines().count(), LINES);
        assert_eq!(told.lines().last().unwrap().event.message, "19");
        assert_eq!((told.failures(Loop::ImageGc), told.failures(Loop::LogGc)), (1, 0));
    }

    #[test]
    fn a_panic_that_was_ordered_is_no_surprise() {
        let mut told = Told::default();
        let fell = |why: &str| stamped(0, Event::new(EventKind::Restarted, Some(Loop::ContainerGc), why));
        told.add(fell(&format!("it panicked at x.rs:1:1: {ON_PURPOSE}")));
        told.add(fell("its thread did not answer for 5s; it was given another one"));
        assert_eq!(told.panics(), [""; 0]);
        told.add(fell("it panicked at y.rs:1:1: index out of bounds"));
        assert_eq!(told.panics().len(), 1);
    }
}
