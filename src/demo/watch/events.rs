//! The events of the service: the last ones as lines for the view, and counts for the summary. Removals are no lines: the table of
//! the loops has their numbers, and they would push everything else out of sight.

use std::collections::{BTreeMap, VecDeque};

use cri_gc_kit::recorder::EventKind;
use cri_gc_proto::admin::Event;

use super::breakages::ON_PURPOSE;
use crate::output::events::line;
use crate::output::fit::Fit;
use crate::output::text::Text;

/// Lines that are kept.
const LINES: usize = 8;

/// What happened so far.
#[derive(Debug, Default)]
pub struct EventLog {
    /// The last events, newest first.
    lines: VecDeque<Text>,
    /// Failures of each loop.
    failures: BTreeMap<String, u64>,
    /// Panics of loops that were not caused on purpose.
    pub panics: Vec<String>,
}

impl EventLog {
    /// One more event.
    pub fn add(&mut self, event: &Event) {
        let kind = event.kind.as_str();
        // An event without a time is about the stream of events, not about the service.
        if event.time.is_empty() || kind == EventKind::Removed.as_str() {
            return;
        }
        if kind.ends_with("Failed") || kind == EventKind::InvalidDiskCapacity.as_str() {
            *self.failures.entry(event.r#loop.clone()).or_default() += 1;
        }
        let panicked = kind == EventKind::Restarted.as_str() && event.message.contains("panicked");
        if panicked && !event.message.contains(ON_PURPOSE) {
            self.panics.push(format!("{}: {}", event.r#loop, event.message));
        }
        self.lines.push_front(line(event, Fit::of_stdout()));
        self.lines.truncate(LINES);
    }

    /// The last events, newest first.
    #[must_use]
    pub fn lines(&self) -> Text {
        self.lines.iter().cloned().collect()
    }

    /// Failures of this loop.
    #[must_use]
    pub fn failures(&self, of: &str) -> u64 {
        self.failures.get(of).copied().unwrap_or_default()
    }
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

    #[test]
    fn the_newest_events_come_first_and_removals_push_nothing_out() {
        let mut log = EventLog::default();
        log.add(&event(0, EventKind::ImageGcFailed, "image_gc", "locked"));
        for second in 1..30 {
            log.add(&event(second, EventKind::Removed, "container_gc", ""));
        }
        assert!(log.lines().to_string().ends_with("ImageGCFailed        locked\n"), "{}", log.lines());
        for number in 0..20 {
            log.add(&event(9, EventKind::Paused, "log_gc", &number.to_string()));
        }
        assert_eq!(log.lines().lines().len(), LINES);
        assert!(log.lines().lines()[0].to_string().ends_with("19"));
        assert_eq!((log.failures("image_gc"), log.failures("log_gc")), (1, 0));
    }

    #[test]
    fn a_panic_on_purpose_is_not_counted() {
        let mut log = EventLog::default();
        let restarted = |why: &str| event(0, EventKind::Restarted, "container_gc", why);
        log.add(&restarted(&format!("it panicked at x.rs:1:1: {ON_PURPOSE}")));
        log.add(&restarted(
            "its thread did not answer for 5s (supervision.hang_timeout); it continues on a new thread",
        ));
        assert_eq!(log.panics, [""; 0]);
        log.add(&restarted("it panicked at y.rs:1:1: index out of bounds"));
        assert_eq!(log.panics.len(), 1);
    }
}
