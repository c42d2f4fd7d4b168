//! What is said at the end: what each loop did, and whether anything went wrong that nobody had broken.

use std::fmt::Write;
use std::time::Duration;

use cri_gc_collectors::collector::LoopState;

use super::breakages::meaning;
use super::told::Told;
use crate::cli::Breakage;
use crate::output::ages::span;
use crate::output::table::{render, table};
use cri_gc_policy::text::one_line;

/// All that is known at the end.
pub struct Summary<'a> {
    /// How long it was watched.
    pub lasted: Duration,
    /// How the loops are.
    pub loops: &'a [LoopState],
    /// What the service told.
    pub told: &'a Told,
    /// What was broken at any time.
    pub broken: &'a [Breakage],
    /// Containers that run.
    pub running: usize,
    /// What ran and is gone all the same.
    pub lost: &'a [String],
    /// Panics that nobody caught.
    pub uncaught: usize,
}

// Writing to a `String` cannot fail.
macro_rules! say {
    ($to:expr, $($text:tt)*) => { let _ = writeln!($to, $($text)*); };
}

impl Summary<'_> {
    /// What went wrong that nobody had broken.
    #[must_use]
    pub fn surprises(&self) -> Vec<String> {
        let lost = self.lost.iter().map(|lost| format!("{lost} was in use and is gone"));
        let panics = self.told.panics().iter().map(|panic| format!("a loop fell: {}", one_line(panic)));
        let mut surprises: Vec<String> = lost.chain(panics).collect();
        if self.uncaught > 0 {
            surprises.push(format!("{} panics that nobody caught; stderr tells them", self.uncaught));
        }
        // What follows from what was broken can't be told from the rest.
        if self.broken.is_empty() {
            for state in self.loops {
                let (failures, restarts) = (self.told.failures(state.of), state.restarts);
                if failures > 0 || restarts > 0 {
                    surprises.push(format!("{} failed {failures} times and fell {restarts} times", state.of));
                }
            }
        }
        surprises
    }

    /// In words.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        say!(text, "Watched for {}.\n", span(self.lasted));
        let mut rows = table(&["LOOP", "PASSES", "REMOVED", "FAILURES TOLD", "RESTARTS"]);
        for state in self.loops {
            rows.add_row([
                state.of.as_str().to_owned(),
                state.passes.to_string(),
                state.removed.to_string(),
                self.told.failures(state.of).to_string(),
                state.restarts.to_string(),
            ]);
        }
        text.push_str(&render(rows, &[1, 2, 3, 4]));
        text.push('\n');
        for what in self.broken {
            say!(text, "Broken meanwhile: {}.", meaning(*what));
        }
        let (losses, returns) = self.told.away();
        if losses > 0 {
            say!(text, "The runtime was lost {} and came back {}.", times(losses), times(returns));
        }
        if self.lost.is_empty() {
            say!(text, "Nothing that was in use is gone; {} containers run.", self.running);
        }
        for surprise in self.surprises() {
            say!(text, "UNEXPECTED: {surprise}");
        }
        text
    }
}

fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        times => format!("{times} times"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cri_gc_kit::recorder::{Event, EventKind, Stamped};
    use cri_gc_kit::words::Loop;
    use jiff::Timestamp;

    use super::super::view::tests::looped;
    use super::*;

    fn told(kind: EventKind) -> Told {
        let mut told = Told::default();
        let event = Arc::new(Event::new(kind, Some(Loop::ImageGc), "it is locked"));
        told.add(Stamped { sequence: 1, time: Timestamp::UNIX_EPOCH, event });
        told
    }

    #[test]
    fn a_failure_is_a_surprise_only_where_nothing_was_broken() {
        let (told, loops) = (told(EventKind::ImageGcFailed), [looped(Loop::LogGc), looped(Loop::ImageGc)]);
        let broken = Summary {
            lasted: Duration::from_secs(30),
            loops: &loops,
            told: &told,
            broken: &[Breakage::Images],
            running: 9,
            lost: &[],
            uncaught: 0,
        };
        assert_eq!(
            broken.text(),
            "\
Watched for 30s.

LOOP      PASSES  REMOVED  FAILURES TOLD  RESTARTS
log_gc        12       40              0         0
image_gc      12       40              1         0

Broken meanwhile: the runtime answers with errors when it is asked for images.
Nothing that was in use is gone; 9 containers run.
"
        );
        let calm = Summary { broken: &[], ..broken };
        assert_eq!(calm.surprises(), ["image_gc failed 1 times and fell 0 times"]);
    }

    #[test]
    fn what_is_gone_though_it_ran_and_panics_are_surprises_always() {
        let (told, lost) = (Told::default(), ["container 7".to_owned()]);
        let summary = Summary {
            lasted: Duration::from_secs(30),
            loops: &[],
            told: &told,
            broken: &[Breakage::Panic],
            running: 9,
            lost: &lost,
            uncaught: 2,
        };
        let text = summary.text();
        assert!(
            text.contains("UNEXPECTED: container 7 was in use and is gone\nUNEXPECTED: 2 panics"),
            "{text}"
        );
    }
}
