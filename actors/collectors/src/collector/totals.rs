//! What all passes of a loop have done since the service started, for metrics. It keeps figures only, and no object.

use std::collections::BTreeMap;

use cri_gc_kit::histogram::Histogram;
use jiff::Timestamp;

use crate::report::PassReport;

/// Bounds of how long passes take, in seconds: an idle node, a full one, removals, a pass at its deadline.
const BOUNDS: &[f64] = &[0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0];

/// What all passes of a loop have done.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Passes, by what began them and whether they succeeded.
    pub passes: BTreeMap<(&'static str, bool), u64>,
    /// How long they took.
    pub took: Histogram,
    /// Attempts to remove an object, by why it was planned (a word of [`Reason`](cri_gc_policy::Reason)) and how that ended.
    pub removals: BTreeMap<(&'static str, &'static str), u64>,
    /// Bytes of removed objects, as they were reported before: by the runtime for images, by the sizes of the files for logs.
    pub reported_bytes: u64,
    /// Bytes that passes had to free to reach the low threshold, each pass by itself.
    pub wanted_bytes: u64,
    /// When the last pass ended that did not fail.
    pub last_good_at: Option<Timestamp>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            passes: BTreeMap::new(),
            took: Histogram::new(BOUNDS),
            removals: BTreeMap::new(),
            reported_bytes: 0,
            wanted_bytes: 0,
            last_good_at: None,
        }
    }
}

impl Totals {
    /// Adds a pass that has just ended.
    pub(super) fn pass_ended(&mut self, report: &PassReport, now: Timestamp) {
        *self.passes.entry((report.trigger.as_str(), report.is_good())).or_default() += 1;
        self.took.observe(report.took);
        self.wanted_bytes = self.wanted_bytes.saturating_add(report.space.wanted_bytes);
        if report.is_good() {
            self.last_good_at = Some(now);
        }
        for (what, count) in &report.counts.attempted {
            *self.removals.entry(*what).or_default() += count;
        }
        self.reported_bytes = self.reported_bytes.saturating_add(report.counts.removed_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cri_gc_config::Mode;
    use cri_gc_policy::report::Item;
    use cri_gc_policy::{Kind, Reason};

    use super::*;
    use crate::report::{Outcome, PassError, Removal, Trigger};
    use cri_gc_kit::words::Loop;

    fn removal(reason: Reason, outcome: Outcome, bytes: u64) -> Removal {
        Removal { bytes, ..Removal::new(Kind::Image, reason, Item::default(), outcome) }
    }

    #[test]
    fn passes_and_removals_add_up_and_only_a_good_pass_counts_as_one() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut totals = Totals::default();
        let mut report = PassReport::new(Loop::ImageGc, Trigger::Pressure, Mode::Enforce, at(0));
        report.took = Duration::from_secs(2);
        report.space.wanted_bytes = 100;
        for removal in [
            removal(Reason::DiskPressure, Outcome::Removed, 40),
            removal(Reason::DiskPressure, Outcome::AlreadyGone, 5),
            removal(Reason::UnusedTooLong, Outcome::WouldRemove, 7),
            removal(Reason::UnusedTooLong, Outcome::halted(), 7),
        ] {
            report.removal(removal);
        }
        totals.pass_ended(&report, at(1));
        report.errors.push(PassError::Records);
        totals.pass_ended(&report, at(2));
        assert_eq!(totals.passes, BTreeMap::from([(("pressure", true), 1), (("pressure", false), 1)]));
        let removals = [
            (("disk_pressure", "already_gone"), 2),
            (("disk_pressure", "removed"), 2),
            (("unused_too_long", "refused"), 2),
        ];
        assert_eq!(totals.removals, BTreeMap::from(removals), "what is only reported is no attempt");
        assert_eq!((totals.wanted_bytes, totals.reported_bytes), (200, 80));
        assert_eq!((totals.last_good_at, totals.took.count()), (Some(at(1)), 2));
    }
}
