//! What a sweep did, as a table.

use cri_gc_actors::collector::{Outcome, PassReport};
use cri_gc_config::Mode;

use super::table::{bytes, render, short, table, tally, tally_line};

/// One line for each object that was to go, one for each loop, and all errors.
#[must_use]
pub fn text(reports: &[PassReport]) -> String {
    let mut text = String::new();
    if reports.iter().any(|report| !report.removals.is_empty()) {
        let mut rows = table(&["KIND", "ID", "NAME", "REASON", "RESULT", "BYTES"]);
        for removal in reports.iter().flat_map(|report| &report.removals) {
            rows.add_row([
                removal.kind.as_str(),
                short(&removal.id),
                &removal.name,
                &removal.reason,
                &removal.outcome.to_string(),
                &bytes(removal.bytes),
            ]);
        }
        text.push_str(&render(rows, &[5]));
        text.push('\n');
    }
    text.push_str(&summary(reports));
    // Said once, with all the loops that it holds for.
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for report in reports {
        for note in &report.notes {
            match notes.iter_mut().find(|(known, _)| known == note) {
                Some((_, loops)) => loops.push(report.of.as_str()),
                None => notes.push((note, vec![report.of.as_str()])),
            }
        }
    }
    for (note, loops) in notes {
        text.push_str(&format!("note ({}): {note}\n", loops.join(", ")));
    }
    for report in reports {
        for error in &report.errors {
            text.push_str(&format!("error ({}): {error}\n", report.of));
        }
    }
    text
}

/// One line for each loop.
#[must_use]
pub fn summary(reports: &[PassReport]) -> String {
    let mut rows = table(&["LOOP", "MODE", "REMOVED", "FAILED", "KEPT", "TOOK", "KEPT FOR"]);
    for report in reports {
        let reasons = tally(report.kept.iter().map(|kept| kept.item.reason.as_str()));
        let refused = report.count(|outcome| matches!(outcome, Outcome::Refused { .. }));
        let gone = match report.mode {
            Mode::Enforce => {
                report.count(|outcome| matches!(outcome, Outcome::Removed | Outcome::AlreadyGone)).to_string()
            }
            Mode::Report => format!("({})", report.removals.len()),
            Mode::Off => "-".to_owned(),
        };
        rows.add_row([
            report.of.as_str().to_owned(),
            report.mode.as_str().to_owned(),
            gone,
            report.count(|outcome| matches!(outcome, Outcome::Failed { .. })).to_string(),
            (report.kept.len() + refused).to_string(),
            format!("{:.1?}", report.took),
            tally_line(&reasons),
        ]);
    }
    let mut text = render(rows, &[2, 3, 4, 5]);
    for report in reports.iter().filter(|report| report.freed_bytes > 0) {
        text.push_str(&format!(
            "{}: the file system has {} more available.\n",
            report.of,
            bytes(report.freed_bytes)
        ));
    }
    text
}
