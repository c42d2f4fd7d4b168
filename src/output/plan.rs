//! A plan as a table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use cri_gc_policy::report::{FileSystemReport, Item, SectionReport};
use cri_gc_policy::{Now, PlanReport};

use super::ages::rough;
use super::table::{bytes, short, table, tally, tally_line, write_rows};
use cri_gc_policy::text::{one_line, plural};

/// How many objects of a kind with the same reason are listed where the others are only counted.
pub const EXAMPLES: usize = 10;

/// Writes what would be removed, object by object, and what is kept, by reason.
///
/// # Errors
/// The error of `out`.
pub fn write(plan: &PlanReport, extent: Extent, out: &mut dyn Write) -> io::Result<()> {
    let sections: [(&str, &SectionReport); 4] = [
        ("container", &plan.containers),
        ("sandbox", &plan.sandboxes),
        ("log directory", &plan.log_dirs),
        ("image", &plan.images.section),
    ];
    let most = if extent == Extent::Examples { EXAMPLES } else { usize::MAX };
    if sections.iter().all(|(_, section)| section.remove.is_empty()) {
        out.write_all(b"Nothing would be removed.\n\n")?;
    }
    let mut list = |header: &str, items: fn(&SectionReport) -> &[Item]| {
        write_objects(header, sections.map(|(kind, of)| (kind, items(of))), most, plan.now, out)
    };
    list("REMOVE", |section| &section.remove)?;
    list("REMOVE AFTER THESE", |section| &section.follow)?;
    if extent == Extent::AllAndKept {
        list("KEEP", |section| &section.keep)?;
    }
    let sums = sections.map(|(kind, section)| {
        let reasons = tally(section.keep.iter().map(|item| item.reason.as_str()));
        [
            plural(kind),
            section.remove.len().to_string(),
            section.follow.len().to_string(),
            section.keep.len().to_string(),
            bytes(section.would_free_bytes.unwrap_or_default()),
            tally_line(&reasons),
        ]
    });
    let header = ["", "REMOVE", "REMOVE AFTER", "KEEP", "FREES", "KEPT FOR"];
    out.write_all(table(header, &[1, 2, 3, 4], sums).as_bytes())?;
    out.write_all(disks(&plan.images.filesystems, plan.images.bytes_to_free).as_bytes())
}

/// How much of a plan is listed object by object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Of what would be removed, some examples for each kind and reason.
    Examples,
    /// All that would be removed.
    Removed,
    /// What is kept as well.
    AllAndKept,
}

/// A row of a table of objects.
#[derive(Debug, Clone, Copy)]
enum Row<'a> {
    Object {
        kind: &'a str,
        item: &'a Item,
    },
    /// That many more of a kind, for the same reason.
    More {
        kind: &'a str,
        reason: &'a str,
        count: usize,
        bytes: u64,
    },
}

/// Writes a table of objects, `most` of each kind and reason, names first and ids last, with an empty line after it; nothing if there
/// are none. Their ages are by `now`.
///
/// # Errors
/// The error of `out`.
pub fn write_objects<'a>(
    header: &str,
    sections: impl IntoIterator<Item = (&'a str, &'a [Item])>,
    most: usize,
    now: Option<Now>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut rows = Vec::new();
    for (kind, items) in sections {
        // How many of a reason, and the bytes of those that are not listed.
        let mut seen: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for item in items {
            let (count, unlisted) = seen.entry(&item.reason).or_default();
            *count += 1;
            if *count <= most {
                rows.push(Row::Object { kind, item });
            } else {
                *unlisted = unlisted.saturating_add(item.size_bytes.unwrap_or_default());
            }
        }
        for (reason, (count, bytes)) in seen {
            if let Some(count @ 1..) = count.checked_sub(most) {
                rows.push(Row::More { kind, reason, count, bytes });
            }
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let header = [header, "NAME", "REASON", "SIZE", "AGE", "DETAIL", "ID"];
    write_rows(out, &header, &[3, 4], || rows.iter().map(|row| row.cells(now)))?;
    writeln!(out)
}

impl Row<'_> {
    fn cells(&self, now: Option<Now>) -> [Cow<'_, str>; 7] {
        let empty = Cow::Borrowed("");
        match *self {
            Row::Object { kind, item } => {
                let age = item.since().zip(now).and_then(|(since, now)| now.age(since));
                let age = age.map(|age| rough(Duration::try_from(age).unwrap_or_default()));
                [
                    kind.into(),
                    name(item).into(),
                    item.reason.as_str().into(),
                    bytes(item.size_bytes.unwrap_or_default()).into(),
                    age.unwrap_or_default().into(),
                    item.detail.as_str().into(),
                    short(&item.id).into(),
                ]
            }
            Row::More { kind, reason, count, bytes: size } => [
                kind.into(),
                format!("... and {count} more").into(),
                reason.into(),
                bytes(size).into(),
                empty.clone(),
                "--all lists all".into(),
                empty,
            ],
        }
    }
}

/// Its name. That of an image is all its tags: they are removed together.
pub fn name(item: &Item) -> String {
    let tags: Vec<&str> = item.names.iter().map(String::as_str).filter(|name| !name.contains('@')).collect();
    let name = if tags.is_empty() { item.name.clone() } else { tags.join(", ") };
    match item.runtime_handler.as_str() {
        "" => name,
        handler => format!("{name} (handler {handler})"),
    }
}

/// How full the image filesystems are, and what that means for images.
fn disks(filesystems: &[FileSystemReport], bytes_to_free: u64) -> String {
    let mut text = String::new();
    if !filesystems.is_empty() {
        text.push('\n');
    }
    for fs in filesystems {
        let used = match fs.used_percent {
            Some(percent) => format!(
                "{percent}% used, {} of {} available",
                size(fs.available_bytes),
                size(fs.capacity_bytes)
            ),
            None => "usage unknown".to_owned(),
        };
        let (high, low) = (fs.high_threshold_percent, fs.low_threshold_percent);
        let thresholds = match high {
            100 => "no image is removed to free space".to_owned(),
            _ => format!("images are removed at {high}% or more, down to {low}%"),
        };
        text.push_str(&format!("Image filesystem {}: {used}; {thresholds}.\n", one_line(&fs.mountpoint)));
    }
    if bytes_to_free > 0 {
        let low = filesystems.iter().map(|fs| fs.low_threshold_percent).min();
        let low = low.map(|low| format!(" ({low}%)")).unwrap_or_default();
        text.push_str(&format!(
            "Image GC has to free {} to reach the low threshold{low}.\n",
            size(bytes_to_free)
        ));
    }
    text
}

/// Bytes in readable units, also 0.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: usize, reason: &str) -> Item {
        Item {
            id: format!("c{id}"),
            reason: reason.to_owned(),
            name: format!("ci/job/step#{id}"),
            size_bytes: Some(1 << 20),
            ..Item::default()
        }
    }

    fn lines(plan: &PlanReport, extent: Extent) -> Vec<String> {
        let mut text = Vec::new();
        write(plan, extent, &mut text).unwrap();
        String::from_utf8(text).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn similar_objects_are_shown_by_examples_on_a_terminal() {
        let mut plan = PlanReport::default();
        plan.containers.remove = (0..1_000).map(|id| item(id, "pod_deleted")).collect();
        plan.containers.remove.push(item(1_000, "over_node_limit"));
        let shown = lines(&plan, Extent::Examples);
        assert_eq!(shown.len(), 1 + EXAMPLES + 1 + 1 + 1 + 5, "{shown:?}");
        let more: Vec<&str> = shown[EXAMPLES + 2].split_whitespace().collect();
        assert_eq!(
            more.join(" "),
            "container ... and 990 more pod_deleted 990.0 MiB --all lists all",
            "after the examples and the only one of the other reason"
        );
        let all = lines(&plan, Extent::Removed);
        assert_eq!(all.len(), 1 + 1_001 + 1 + 5);
        assert!(all.iter().any(|line| line.contains("step#999")));
    }

    #[test]
    fn a_row_is_one_line_whatever_it_names() {
        let mut plan = PlanReport::default();
        let evil =
            Item { name: "a\nFORGED\u{1b}[2J".to_owned(), detail: "x".repeat(9_000), ..item(1, "running") };
        plan.containers.keep = vec![evil];
        let shown = lines(&plan, Extent::AllAndKept);
        let row = shown.iter().find(|line| line.starts_with("container  ")).unwrap();
        assert!(row.contains("a FORGED\\u001b[2J") && row.len() < 400, "{row}");
    }
}
