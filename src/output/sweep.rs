//! What a sweep did, as a table.

use cri_gc_collectors::report::{Outcome, PassReport, Removal};
use cri_gc_config::Mode;

use super::passes::{self, Gone, PassRow, RemovalRow};
use super::table::{tally, tally_line};

/// One line for each object that was to go, one for each loop, and all errors.
#[must_use]
pub fn text(reports: &[PassReport]) -> String {
    let mut removals = Vec::new();
    for report in reports {
        removals.extend(report.removals.iter().map(|removal| object(removal, removal.outcome.to_string())));
        removals.extend(report.follow.iter().map(|removal| object(removal, "would follow".to_owned())));
    }
    passes::text(&removals, &rows(reports))
}

fn object(removal: &Removal, result: String) -> RemovalRow<'_> {
    let Removal { kind, id, name, reason, bytes, .. } = removal;
    RemovalRow { kind: kind.as_str(), id, name, reason, result, bytes: *bytes }
}

/// One line for each loop.
#[must_use]
pub fn summary(reports: &[PassReport]) -> String {
    passes::summary(&rows(reports))
}

fn rows(reports: &[PassReport]) -> Vec<PassRow<'_>> {
    reports.iter().map(row).collect()
}

fn row(report: &PassReport) -> PassRow<'_> {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let count = |which: fn(&Outcome) -> bool| number(report.count(which));
    let reasons = tally(report.kept.iter().map(|kept| kept.item.reason.as_str()));
    PassRow {
        of: report.of.as_str(),
        mode: report.mode.as_str(),
        gone: match report.mode {
            Mode::Enforce => {
                Gone::Removed(count(|outcome| matches!(outcome, Outcome::Removed | Outcome::AlreadyGone)))
            }
            Mode::Report => Gone::WouldGo(number(report.removals.len() + report.follow.len())),
            Mode::Off => Gone::Off,
        },
        failed: count(|outcome| matches!(outcome, Outcome::Failed { .. })),
        kept: number(report.kept.len()) + count(|outcome| matches!(outcome, Outcome::Refused { .. })),
        kept_for: Some(tally_line(&reasons)),
        took: report.took,
        freed_bytes: report.freed_bytes,
        notes: &report.notes,
        errors: report.errors.iter().map(ToString::to_string).collect(),
    }
}
