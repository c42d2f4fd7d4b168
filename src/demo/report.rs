//! What `demo` prints: the node as it was, what was removed and what was kept, each with its reason, and the result.

use std::fmt::Write;

use cri_gc_collectors::report::{Outcome, PassReport, Removal};
use cri_gc_config::Settings;
use cri_gc_gateway::RuntimeVersion;
use cri_gc_kit::words::Kind;
use cri_gc_policy::report::Item;

use super::node::Tally;
use crate::output::fit::Fit;
use crate::output::plan::{Objects, write_objects};
use crate::output::table::{Cell, Column, bytes, prose, table};
use crate::output::text::{Style, Text};

/// Objects listed for each reason, unless all are requested.
const REMOVED: usize = 3;
const KEPT: usize = 1;

/// The node before the sweep.
#[must_use]
pub fn opening(runtime: &RuntimeVersion, settings: &Settings, before: &Tally) -> Text {
    fitted(&Text::from(format!(
        "\
A simulated node with {} {}, reached through a real socket.
A CI node without a kubelet: jobs have run on it for two days, and nothing was cleaned up.

  {before}
  the disk is {}% full; image GC starts at {}% and stops at {}%

",
        runtime.name,
        runtime.version,
        before.disk_percent(),
        settings.image_gc.high_threshold_percent,
        settings.image_gc.low_threshold_percent
    )))
}

/// The objects that were removed, by reason.
#[must_use]
pub fn removed(reports: &[PassReport], all: bool) -> Text {
    let item = |removal: &Removal| Item {
        id: removal.id.clone(),
        name: removal.name.clone(),
        reason: removal.reason.to_owned(),
        detail: removal.outcome.to_string(),
        size_bytes: Some(removal.bytes),
        ..Item::default()
    };
    let items = removals(reports).map(|removal| (removal.kind, item(removal)));
    by_reason("Removed", Style::Attention, items, if all { usize::MAX } else { REMOVED })
}

/// The objects that were kept, by reason.
#[must_use]
pub fn kept(reports: &[PassReport], all: bool) -> Text {
    let items = reports.iter().flat_map(|report| &report.kept).map(|kept| (kept.kind, kept.item.clone()));
    by_reason("Kept", Style::Plain, items, if all { usize::MAX } else { KEPT })
}

/// At most `most` objects of each kind and reason.
fn by_reason(heading: &str, style: Style, items: impl Iterator<Item = (Kind, Item)>, most: usize) -> Text {
    let mut kinds: Vec<(&str, Vec<Item>)> = Vec::new();
    for (kind, item) in items {
        match kinds.iter_mut().find(|(known, _)| *known == kind.as_str()) {
            Some((_, items)) => items.push(item),
            None => kinds.push((kind.as_str(), vec![item])),
        }
    }
    let mut text = Text::styled(Style::Heading, heading) + "\n\n";
    let table = Objects { heading: "KIND", style, most, now: None, fit: Fit::of_stdout() };
    // Writing to memory can't fail.
    let _ = write_objects(&table, kinds.iter().map(|(kind, items)| (*kind, &**items)), &mut text);
    text
}

/// The node before and after, the bytes that were freed, and all errors.
#[must_use]
pub fn result(reports: &[PassReport], before: &Tally, after: &Tally) -> Text {
    let row = |what: &'static str, of: fn(&Tally) -> String| {
        [what.into(), Cell::from(of(before)), of(after).into()]
    };
    let rows = [
        row("running containers", |node| node.running.to_string()),
        row("dead containers", |node| node.dead.to_string()),
        row("sandboxes", |node| node.sandboxes.to_string()),
        row("log directories", |node| node.log_dirs.to_string()),
        row("images", |node| node.images.to_string()),
        row("disk", |node| format!("{}%", node.disk_percent())),
    ];
    let columns = [Column::new(""), Column::new("BEFORE").right(), Column::new("AFTER").right()];
    let mut text = Text::styled(Style::Heading, "Result") + "\n\n";
    text.push(table(columns, rows, Fit::of_stdout()) + "\n");
    let sum = |kinds: &[Kind]| -> u64 {
        let removed = removals(reports).filter(|removal| removal.outcome == Outcome::Removed);
        removed.filter(|removal| kinds.contains(&removal.kind)).map(|removal| removal.bytes).sum()
    };
    let logs = sum(&[Kind::Container, Kind::LogDir]);
    if logs > 0 {
        let _ = writeln!(text, "Removed logs freed {}.", bytes(logs));
    }
    let freed: u64 = reports.iter().map(|report| report.freed_bytes).sum();
    if freed > 0 {
        let _ = writeln!(
            text,
            "Removed images freed {} on the disk, but the runtime reported their sizes as {}:\n\
             this is why cri-gc measures the disk after each removal, and stops in time.",
            bytes(freed),
            bytes(sum(&[Kind::Image]))
        );
    }
    for error in reports.iter().flat_map(|report| &report.errors) {
        text.push(Text::bad("error:") + format!(" {error}\n"));
    }
    fitted(
        &(text
            + "\nOn your node, `cri-gc plan` shows what would be removed, and why, and removes nothing.\n"),
    )
}

/// The same text with lines that fit stdout.
fn fitted(text: &Text) -> Text {
    text.lines().iter().map(|line| prose(line, Fit::of_stdout())).collect()
}

fn removals(reports: &[PassReport]) -> impl Iterator<Item = &Removal> {
    reports.iter().flat_map(|report| &report.removals)
}
