//! The events of the service: the last ones as lines for the view, and counts for the summary.
//!
//! Removals for one reason in the same second are one line, and removals never push all other events out of sight.

use std::collections::{BTreeMap, VecDeque};

use cri_gc_kit::recorder::EventKind;
use cri_gc_proto::admin::Event;

use super::trap::ON_PURPOSE;
use crate::output::ages::moment;
use crate::output::events::line;

/// Lines that are kept.
const LINES: usize = 8;

/// Lines of removals among them, at most.
const REMOVALS: usize = 4;

/// What happened so far.
#[derive(Debug, Default)]
pub struct EventLog {
    /// The last events, newest first, each with the number of removals that its line stands for besides.
    lines: VecDeque<(Event, u64)>,
    failures: BTreeMap<String, u64>,
    /// Panics of loops that were not caused on purpose.
    pub panics: Vec<String>,
    /// How often the runtime became unreachable.
    pub losses: u64,
    /// How often it became reachable again.
    pub returns: u64,
}

impl EventLog {
    /// One more event.
    pub fn add(&mut self, mut event: Event) {
        // An event without a time is about the stream of events, not about the service.
        if event.time.is_empty() {
            return;
        }
        self.count(&event);
        let alike = self.lines.iter().position(|(known, _)| are_alike(known, &event));
        let mut more = 0;
        if let Some((known, besides)) = alike.and_then(|alike| self.lines.remove(alike)) {
            event.bytes = event.bytes.saturating_add(known.bytes);
            more = besides + 1;
        }
        self.lines.push_front((event, more));
        let mut removals = (0..).zip(&self.lines).filter(|(_, (event, _))| is_removal(event));
        if let Some((oldest, _)) = removals.nth(REMOVALS) {
            self.lines.remove(oldest);
        }
        self.lines.truncate(LINES);
    }

    fn count(&mut self, event: &Event) {
        let kind = event.kind.as_str();
        if kind.ends_with("Failed") || kind == EventKind::InvalidDiskCapacity.as_str() {
            *self.failures.entry(event.r#loop.clone()).or_default() += 1;
        } else if kind == EventKind::RuntimeLost.as_str() {
            self.losses += 1;
        } else if kind == EventKind::RuntimeReturned.as_str() {
            self.returns += 1;
        } else if kind == EventKind::Restarted.as_str()
            && event.message.contains("panicked")
            && !event.message.contains(ON_PURPOSE)
        {
            self.panics.push(format!("{}: {}", event.r#loop, event.message));
        }
    }

    /// The last events, newest first.
    #[must_use]
    pub fn lines(&self) -> String {
        let text = |(event, more): &(Event, u64)| match more {
            0 => line(event),
            more => line(&Event { message: format!("sum of this and {more} more"), ..event.clone() }),
        };
        self.lines.iter().map(text).collect()
    }

    /// Failures of this loop.
    #[must_use]
    pub fn failures(&self, of: &str) -> u64 {
        self.failures.get(of).copied().unwrap_or_default()
    }
}

fn is_removal(event: &Event) -> bool {
    event.kind == EventKind::Removed.as_str()
}

/// Whether both are removals that one line can stand for.
fn are_alike(one: &Event, other: &Event) -> bool {
    is_removal(one)
        && is_removal(other)
        && (&one.r#loop, &one.object_kind, &one.reason) == (&other.r#loop, &other.object_kind, &other.reason)
        && moment(&one.time) == moment(&other.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: i64, kind: EventKind, of: &str, message: &str) -> Event {
        Event {
            time: jiff::Timestamp::from_second(second).unwrap().to_string(),
            kind: kind.as_str().to_owned(),
            r#loop: of.to_owned(),
            message: message.to_owned(),
            ..Event::default()
        }
    }

    fn removed(second: i64, of: &str, kind: &str) -> Event {
        Event {
            object_kind: kind.to_owned(),
            object_name: "n".to_owned(),
            reason: "pod_deleted".to_owned(),
            bytes: 1024,
            ..event(second, EventKind::Removed, of, "")
        }
    }

    #[test]
    fn removals_are_merged_and_push_nothing_else_out() {
        let mut log = EventLog::default();
        log.add(event(0, EventKind::ImageGcFailed, "image_gc", "locked"));
        for second in 1..9 {
            for _ in 0..3 {
                log.add(removed(second, "container_gc", "container"));
                log.add(removed(second, "sandbox_gc", "sandbox"));
            }
        }
        let lines = log.lines();
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines.len(), 1 + REMOVALS, "{lines:?}");
        assert_eq!(
            lines[0],
            "1970-01-01T00:00:08Z  sandbox_gc    Removed              sandbox n: pod_deleted, 3.0 KiB: sum of this and 2 more"
        );
        assert!(lines[REMOVALS].ends_with("ImageGCFailed        locked"), "{lines:?}");
        for number in 0..20 {
            log.add(event(9, EventKind::Paused, "log_gc", &number.to_string()));
        }
        assert_eq!(log.lines().lines().count(), LINES);
        assert!(log.lines().lines().next().unwrap().ends_with("19"));
        assert_eq!((log.failures("image_gc"), log.failures("log_gc")), (1, 0));
    }

    #[test]
    fn a_panic_on_purpose_is_not_counted() {
        let mut log = EventLog::default();
        let restarted = |why: &str| event(0, EventKind::Restarted, "container_gc", why);
        log.add(restarted(&format!("it panicked at x.rs:1:1: {ON_PURPOSE}")));
        log.add(restarted(
            "its thread did not answer for 5s (supervision.hang_timeout); it continues on a new thread",
        ));
        assert_eq!(log.panics, [""; 0]);
        log.add(restarted("it panicked at y.rs:1:1: index out of bounds"));
        assert_eq!(log.panics.len(), 1);
    }
}
