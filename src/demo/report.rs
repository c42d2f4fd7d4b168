//! What `demo` prints: the node as it was, what was removed and what was kept, each with its reason, and the result.

use std::fmt::Write;

use cri_gc_collectors::report::{Outcome, PassReport, Removal};
use cri_gc_config::Settings;
use cri_gc_gateway::RuntimeVersion;
use cri_gc_kit::words::Kind;

use super::node::Tally;
use crate::output::table::{bytes, table};

/// Objects listed for each reason, unless all are requested.
const EXAMPLES: usize = 3;

/// The node before the sweep.
#[must_use]
pub fn opening(runtime: &RuntimeVersion, settings: &Settings, before: &Tally) -> String {
    format!(
        "\
An embedded node with {} {}, reached through a real socket.
A CI node without a kubelet: jobs have run on it for two days, and nothing was cleaned up.

  {before}
  the disk is {} % full; image GC starts at {} % and stops at {} %

",
        runtime.name,
        runtime.version,
        before.disk_percent(),
        settings.image_gc.high_threshold_percent,
        settings.image_gc.low_threshold_percent
    )
}

/// The objects that were removed, by reason.
#[must_use]
pub fn removed(reports: &[PassReport], all: bool) -> String {
    let mut rows = Vec::new();
    let groups = grouped(removals(reports).map(|removal| {
        let key = (removal.kind.as_str(), removal.reason.as_str(), removal.outcome.to_string());
        (key, removal)
    }));
    for ((kind, reason, result), members) in groups {
        let (shown, rest) = members.split_at(if all { members.len() } else { EXAMPLES.min(members.len()) });
        for removal in shown {
            rows.push([kind, short_name(removal), reason, &result, &bytes(removal.bytes)].map(str::to_owned));
        }
        if !rest.is_empty() {
            let size = bytes(rest.iter().map(|removal| removal.bytes).sum());
            let more = format!("... and {} more", rest.len());
            rows.push(["", &more, reason, &result, &size].map(str::to_owned));
        }
    }
    format!("Removed\n\n{}\n", table(["", "NAME", "REASON", "RESULT", "BYTES"], &[4], rows))
}

/// The objects that were kept, by reason.
#[must_use]
pub fn kept(reports: &[PassReport], all: bool) -> String {
    let mut rows = Vec::new();
    let kept = reports.iter().flat_map(|report| &report.kept);
    for ((kind, reason), members) in
        grouped(kept.map(|kept| ((kept.kind.as_str(), kept.item.reason.as_str()), &kept.item)))
    {
        let mut count = members.len().to_string();
        for item in members.iter().take(if all { members.len() } else { 1 }) {
            let count = std::mem::take(&mut count);
            let example = format!("{}: {}", item.name, item.detail);
            rows.push([kind, reason, &count, &example].map(str::to_owned));
        }
    }
    format!("Kept\n\n{}\n", table(["", "REASON", "COUNT", "FOR EXAMPLE"], &[2], rows))
}

/// The node before and after, the bytes that were freed, and all errors.
#[must_use]
pub fn result(reports: &[PassReport], before: &Tally, after: &Tally) -> String {
    let row = |what: &str, of: fn(&Tally) -> String| [what.to_owned(), of(before), of(after)];
    let rows = [
        row("running containers", |node| node.running.to_string()),
        row("dead containers", |node| node.dead.to_string()),
        row("sandboxes", |node| node.sandboxes.to_string()),
        row("log directories", |node| node.log_dirs.to_string()),
        row("images", |node| node.images.to_string()),
        row("disk", |node| format!("{} %", node.disk_percent())),
    ];
    let mut text = format!("Result\n\n{}\n", table(["", "BEFORE", "AFTER"], &[1, 2], rows));
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
        let _ = writeln!(text, "error: {error}");
    }
    text + "\nOn your node, `cri-gc plan` shows what would be removed, and why, and removes nothing.\n"
}

fn removals(reports: &[PassReport]) -> impl Iterator<Item = &Removal> {
    reports.iter().flat_map(|report| &report.removals)
}

/// Items by their key, in the order in which the keys first occur.
fn grouped<K: PartialEq, T>(items: impl Iterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for (key, item) in items {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

/// The name of a log link ends with a container id of 64 digits, too long for the table.
fn short_name(removal: &Removal) -> &str {
    match removal.kind {
        Kind::LogLink => removal.name.get(..40).unwrap_or(&removal.name),
        _ => &removal.name,
    }
}
