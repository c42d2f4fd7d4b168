//! What `demo` prints: what was there, what went and why, what was kept and why, what it brought.

use std::collections::BTreeMap;
use std::fmt::Write;

use cri_gc_collectors::report::{Outcome, PassReport, Removal};
use cri_gc_config::Settings;
use cri_gc_gateway::RuntimeVersion;
use cri_gc_kit::words::Kind;
use cri_gc_policy::images::space::usage_percent;

use super::node::{Demo, Tally};
use crate::output::table::{bytes, render, table};

/// Objects shown of each reason, unless all are asked for.
const EXAMPLES: usize = 3;

/// What removals are told together by: kind, reason, result.
type Group<'a> = (Kind, &'a str, String);

/// The teller.
pub struct Tale<'a> {
    /// The node.
    pub demo: &'a Demo,
    /// Whether every object is shown.
    pub all: bool,
    /// The settings that the sweep follows.
    pub settings: &'a Settings,
}

// Writing to a `String` cannot fail.
macro_rules! say {
    ($to:expr, $($text:tt)*) => { let _ = writeln!($to, $($text)*); };
}

impl Tale<'_> {
    /// What is there.
    #[must_use]
    pub fn opening(&self, runtime: &RuntimeVersion, now: &Tally) -> String {
        let images = &self.settings.image_gc;
        let mut text = String::new();
        say!(
            text,
            "An embedded node, reached through a real socket as any runtime is ({} {}).",
            runtime.name,
            runtime.version
        );
        say!(
            text,
            "A CI node without a kubelet: for two days jobs have come and gone, and nobody cleaned up.\n"
        );
        say!(
            text,
            "  {} containers run, {} are dead; {} sandboxes, {} log directories, {} images",
            now.running,
            now.dead,
            now.sandboxes,
            now.log_dirs,
            now.images
        );
        say!(
            text,
            "  the disk is {} % full; image GC starts at {} % and stops at {} %\n",
            percent(now),
            images.high_threshold_percent,
            images.low_threshold_percent
        );
        text
    }

    /// What went, and why.
    #[must_use]
    pub fn removed(&self, reports: &[PassReport]) -> String {
        let mut text = String::from("What goes, and why\n\n");
        let mut groups: Vec<(Group<'_>, Vec<&Removal>)> = Vec::new();
        for removal in reports.iter().flat_map(|report| &report.removals) {
            let result = match &removal.outcome {
                Outcome::Removed => "removed".to_owned(),
                other => other.to_string(),
            };
            let key = (removal.kind, removal.reason.as_str(), result);
            match groups.iter_mut().find(|(group, _)| *group == key) {
                Some((_, members)) => members.push(removal),
                None => groups.push((key, vec![removal])),
            }
        }
        let mut rows = table(&["", "NAME", "REASON", "RESULT", "BYTES"]);
        for ((kind, reason, result), members) in &groups {
            let shown = if self.all { members.len() } else { EXAMPLES.min(members.len()) };
            for removal in members.iter().take(shown) {
                rows.add_row([kind.as_str(), short_name(removal), reason, result, &bytes(removal.bytes)]);
            }
            if members.len() > shown {
                let more: u64 = members.iter().skip(shown).map(|removal| removal.bytes).sum();
                let count = format!("... and {} more", members.len() - shown);
                rows.add_row(["", count.as_str(), reason, result, &bytes(more)]);
            }
        }
        text.push_str(&render(rows, &[4]));
        text.push('\n');
        text
    }

    /// What stayed, and why.
    #[must_use]
    pub fn kept(&self, reports: &[PassReport]) -> String {
        let mut text = String::from("What stays, and why\n\n");
        let mut groups: BTreeMap<(&str, &str), Vec<(&str, &str)>> = BTreeMap::new();
        for kept in reports.iter().flat_map(|report| &report.kept) {
            let group = groups.entry((kept.kind.as_str(), kept.item.reason.as_str())).or_default();
            group.push((&kept.item.name, &kept.item.detail));
        }
        let mut rows = table(&["", "REASON", "COUNT", "FOR EXAMPLE"]);
        for ((kind, reason), members) in &groups {
            let shown = if self.all { members.len() } else { 1 };
            for (number, (name, detail)) in members.iter().take(shown).enumerate() {
                let count = if number == 0 { members.len().to_string() } else { String::new() };
                rows.add_row([(*kind).to_owned(), (*reason).to_owned(), count, format!("{name}: {detail}")]);
            }
        }
        text.push_str(&render(rows, &[2]));
        text.push('\n');
        text
    }

    /// What it brought.
    #[must_use]
    pub fn ending(&self, reports: &[PassReport], before: &Tally, after: &Tally) -> String {
        let mut text = String::from("What it brought\n\n");
        let mut rows = table(&["", "BEFORE", "AFTER"]);
        let mut row = |what: &str, before: String, after: String| {
            rows.add_row([what.to_owned(), before, after]);
        };
        row("running containers", before.running.to_string(), after.running.to_string());
        row("dead containers", before.dead.to_string(), after.dead.to_string());
        row("sandboxes", before.sandboxes.to_string(), after.sandboxes.to_string());
        row("log directories", before.log_dirs.to_string(), after.log_dirs.to_string());
        row("images", before.images.to_string(), after.images.to_string());
        row("disk", format!("{} %", percent(before)), format!("{} %", percent(after)));
        text.push_str(&render(rows, &[1, 2]));
        let of_logs = |removal: &&Removal| matches!(removal.kind, Kind::Container | Kind::LogDir);
        let logs: u64 =
            reports.iter().flat_map(|r| &r.removals).filter(of_logs).map(|removal| removal.bytes).sum();
        let told: u64 = reports
            .iter()
            .flat_map(|report| &report.removals)
            .filter(|removal| removal.kind == Kind::Image && removal.outcome == Outcome::Removed)
            .map(|removal| removal.bytes)
            .sum();
        let freed: u64 = reports.iter().map(|report| report.freed_bytes).sum();
        text.push('\n');
        if logs > 0 {
            say!(text, "Logs gave back {}.", bytes(logs));
        }
        if freed > 0 {
            say!(
                text,
                "The images that went brought {} on the disk, though the runtime told their",
                bytes(freed)
            );
            say!(text, "sizes as {}: that is why cri-gc measures, and stops in time.", bytes(told));
        }
        for error in reports.iter().flat_map(|report| &report.errors) {
            say!(text, "error: {error}");
        }
        say!(text, "\nOn a node of yours: `cri-gc plan` says what would go, and why, and removes nothing.");
        text
    }
}

fn short_name(removal: &Removal) -> &str {
    match removal.kind {
        // The name of a log directory or link holds an id that nobody reads to its end.
        Kind::LogLink => removal.name.get(..removal.name.len().min(40)).unwrap_or(&removal.name),
        _ => &removal.name,
    }
}

fn percent(tally: &Tally) -> u8 {
    usage_percent(tally.capacity, tally.available).unwrap_or_default()
}
