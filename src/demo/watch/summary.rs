//! What is printed at the end: what each loop did, and whether anything failed that was not broken on purpose.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use cri_gc_policy::text::counted;
use cri_gc_policy::text::one_line;
use cri_gc_proto::admin::LoopStatus;

use super::breakages::meaning;
use super::events::EventLog;
use crate::cli::demo::Breakage;
use crate::output::ages::span;
use crate::output::fit::Fit;
use crate::output::table::{Cell, Column, table};
use crate::output::text::Text;

/// All that is known at the end.
pub struct Summary<'a> {
    /// How long it ran.
    pub lasted: Duration,
    /// The state of the loops.
    pub loops: &'a [LoopStatus],
    /// What happened.
    pub events: &'a EventLog,
    /// What was broken at any time.
    pub broken: &'a BTreeSet<Breakage>,
    /// Containers that run.
    pub running: usize,
    /// What was in use and was removed all the same.
    pub lost: &'a [String],
}

impl Summary<'_> {
    /// What failed and was not broken on purpose.
    #[must_use]
    pub fn surprises(&self) -> Vec<String> {
        let lost = self.lost.iter().map(|lost| format!("{lost} was in use and was removed"));
        let panics = self.events.panics.iter().map(|panic| one_line(panic).into_owned());
        let mut surprises: Vec<String> = lost.chain(panics).collect();
        // Failures that follow from what was broken can't be distinguished from others.
        if self.broken.is_empty() {
            for LoopStatus { r#loop: of, restarts, .. } in self.loops {
                let failures = self.events.failures(of);
                if failures > 0 || *restarts > 0 {
                    let (failures, restarts) =
                        (counted(failures, "failure event"), counted(*restarts, "restart"));
                    surprises.push(format!("{of}: {failures}, {restarts}"));
                }
            }
        }
        surprises
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> Text {
        let rows = self.loops.iter().map(|state| {
            let failures = self.events.failures(&state.r#loop);
            let figures = [state.passes, state.removed, failures, state.restarts].map(|of| of.to_string());
            let [passes, removed, failures, restarts] = figures;
            [state.r#loop.clone(), passes, removed, failures, restarts].map(Cell::from)
        });
        let figures = ["PASSES", "REMOVED", "FAILURE EVENTS", "RESTARTS"].map(|of| Column::new(of).right());
        let [passes, removed, failures, restarts] = figures;
        let columns = [Column::new("LOOP"), passes, removed, failures, restarts];
        let mut text = Text::from(format!("Watched for {}.\n\n", span(self.lasted)));
        text.push(table(columns, rows, Fit::of_stdout()) + "\n");
        if self.lost.is_empty() {
            let _ = writeln!(text, "Nothing in use was removed; {} containers run.", self.running);
        }
        for what in self.broken {
            let _ = writeln!(text, "Broken on purpose: {}.", meaning(*what));
        }
        for surprise in self.surprises() {
            text.push(Text::bad("UNEXPECTED:") + format!(" {surprise}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_kit::recorder::EventKind;
    use cri_gc_proto::admin::Event;

    use super::*;

    fn looped(of: &str) -> LoopStatus {
        LoopStatus { r#loop: of.to_owned(), passes: 12, removed: 40, ..LoopStatus::default() }
    }

    #[test]
    fn a_failure_is_unexpected_only_where_nothing_was_broken() {
        let mut events = EventLog::default();
        events.add(&Event {
            time: "2026-01-31T12:00:00Z".to_owned(),
            r#loop: "image_gc".to_owned(),
            kind: EventKind::ImageGcFailed.as_str().to_owned(),
            ..Event::default()
        });
        let broken = Summary {
            lasted: Duration::from_secs(30),
            loops: &[looped("log_gc"), looped("image_gc")],
            events: &events,
            broken: &BTreeSet::from([Breakage::Images]),
            running: 9,
            lost: &[],
        };
        assert_eq!(
            broken.text().to_string(),
            "\
Watched for 30s.

LOOP      PASSES  REMOVED  FAILURE EVENTS  RESTARTS
log_gc        12       40               0         0
image_gc      12       40               1         0

Nothing in use was removed; 9 containers run.
Broken on purpose: the runtime answers requests about images with errors.
"
        );
        let calm = Summary { broken: &BTreeSet::new(), ..broken };
        assert_eq!(calm.surprises(), ["image_gc: 1 failure event, 0 restarts"]);
    }

    #[test]
    fn what_was_removed_though_it_ran_and_panics_are_always_unexpected() {
        let mut events = EventLog::default();
        events.panics.push("log_gc: it panicked".to_owned());
        let summary = Summary {
            lasted: Duration::from_secs(30),
            loops: &[],
            events: &events,
            broken: &BTreeSet::from([Breakage::Panic]),
            running: 9,
            lost: &["container 7".to_owned()],
        };
        let text = summary.text().to_string();
        assert!(
            text.contains(
                "UNEXPECTED: container 7 was in use and was removed\nUNEXPECTED: log_gc: it panicked"
            ),
            "{text}"
        );
    }
}
