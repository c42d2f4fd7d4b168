//! What uses the disk, as tables: the filesystems, the sums, the largest log directories; or every object.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use bytesize::ByteSize;
use cri_gc_policy::report::Item;
use cri_gc_policy::text::{counted, one_line};
use cri_gc_policy::usage::{FileSystemUsage, Object, Sum, Usage, UsedBy};

use super::ages::rough;
use super::fit::Fit;
use super::plan::name;
use super::table::{Cell, Column, prose, short, table, tally_line, write_rows};
use super::text::Paint;

/// Log directories that are listed where not all are.
const SHOWN: usize = 5;

/// Writes the tables; `verbose` with every object.
///
/// # Errors
/// The error of `out`.
pub fn write(usage: &Usage, verbose: bool, fit: Fit, out: &mut dyn Paint) -> io::Result<()> {
    let filesystems = usage.filesystems.iter().map(filesystem);
    if !usage.filesystems.is_empty() {
        table(FILESYSTEMS, filesystems, fit).write_to(out)?;
        reserved(usage, fit, out)?;
        writeln!(out)?;
    }
    let others = usage.filesystems.iter().map(|fs| other(fs, usage.filesystems.len() > 1));
    let sums = usage.usage.iter().map(sum).chain(others);
    table(SUMS, sums, fit).write_to(out)?;
    if verbose {
        images(usage, fit, out)?;
        containers(usage, fit, out)?;
    }
    log_dirs(usage, verbose, fit, out)?;
    writeln!(out)?;
    let note = "The runtime reports images with all their layers: a layer that images share is in the size of each of them.";
    prose(&note.into(), fit).write_to(out)
}

const FILESYSTEMS: [Column<'_>; 7] = [
    Column::new("FILESYSTEM").at_least(12),
    Column::new("HOLDS"),
    Column::new("SIZE").right(),
    Column::new("USED").right(),
    Column::new("AVAILABLE").right(),
    Column::new("USE%").right(),
    Column::new("INODES").right().optional(),
];

const SUMS: [Column<'_>; 5] = [
    Column::new("USED BY").at_least(18),
    Column::new("COUNT").right(),
    Column::new("SIZE").right(),
    Column::new("RECLAIMABLE").right(),
    Column::new("DETAIL").at_least(16).list(),
];

fn filesystem(fs: &FileSystemUsage) -> [Cell<'_>; 7] {
    let inodes = u128::from(fs.inodes.saturating_sub(fs.inodes_free)) * 100;
    [
        fs.mountpoint.clone(),
        fs.holds.join(", "),
        size(Some(fs.capacity_bytes)),
        size(Some(fs.used_bytes)),
        size(Some(fs.available_bytes)),
        fs.used_percent.map_or_else(|| "?".to_owned(), |percent| format!("{percent}%")),
        inodes.checked_div(fs.inodes.into()).map_or_else(|| "-".to_owned(), |used| format!("{used}%")),
    ]
    .map(Cell::from)
}

/// What is missing from the sum of USED and AVAILABLE.
fn reserved(usage: &Usage, fit: Fit, out: &mut dyn Paint) -> io::Result<()> {
    let reserved = usage.filesystems.iter().filter(|fs| fs.reserved_bytes > 0);
    let parts: Vec<String> = reserved
        .map(|fs| format!("{} on {}", ByteSize(fs.reserved_bytes), one_line(&fs.mountpoint)))
        .collect();
    if parts.is_empty() {
        return Ok(());
    }
    let line =
        format!("Reserved for root: {}; USE% counts it as used, as the kubelet does.", parts.join(", "));
    prose(&line.into(), fit).write_to(out)
}

fn sum(sum: &Sum) -> [Cell<'_>; 5] {
    let label = match sum.kind {
        UsedBy::ImagesInUse => "images in use",
        UsedBy::ImagesUnused => "images unused",
        UsedBy::ImagesKept => "images kept",
        UsedBy::ImageLayers => "image layers",
        UsedBy::RunningContainers => "running containers",
        UsedBy::DeadContainers => "dead containers",
        UsedBy::Logs => "logs",
    };
    let reclaimable = match (sum.reclaimable_count, sum.reclaimable_bytes) {
        (0, _) => String::new(),
        (count, 0) if sum.size_bytes.is_none() => format!("? ({count})"),
        (count, bytes) => format!("{} ({count})", ByteSize(bytes)),
    };
    let mut details = Vec::new();
    if sum.kind == UsedBy::ImageLayers {
        details.push("unpacked images; not part of the sizes of images".to_owned());
    }
    details.extend((!sum.reasons.is_empty()).then(|| tally_line(&sum.reasons)));
    details.extend(sum.inodes.map(|inodes| counted(inodes, "inode")));
    details.extend((sum.unknown_count > 0).then(|| format!("{} without a known size", sum.unknown_count)));
    [
        label.to_owned(),
        sum.count.map(|count| count.to_string()).unwrap_or_default(),
        size(sum.size_bytes),
        reclaimable,
        details.join("; "),
    ]
    .map(Cell::from)
}

/// What is on a filesystem and is none of the others; `is_named` if there are several.
fn other(fs: &FileSystemUsage, is_named: bool) -> [Cell<'_>; 5] {
    let label = if is_named { format!("other files on {}", fs.mountpoint) } else { "other files".to_owned() };
    let detail = match (fs.known_bytes, fs.other_bytes) {
        (_, Some(_)) => String::new(),
        (Some(known), None) => {
            format!(
                "the sizes above add up to {}, more than the used {}",
                ByteSize(known),
                ByteSize(fs.used_bytes)
            )
        }
        (None, None) => "images lie on several filesystems".to_owned(),
    };
    [label, String::new(), size(fs.other_bytes), String::new(), detail].map(Cell::from)
}

fn images(usage: &Usage, fit: Fit, out: &mut dyn Paint) -> io::Result<()> {
    let columns = columns("IMAGE", ["SIZE", "LAST USED"].map(|of| Column::new(of).right()));
    let rows = usage.images.iter().map(|Object { item, .. }| {
        let used = item.last_used.map(|used| usage.taken_at.duration_since(used));
        let used = used.map(|ago| format!("{} ago", rough(Duration::try_from(ago).unwrap_or_default())));
        let cells = [size(item.size_bytes), used.unwrap_or_else(|| "never".to_owned())];
        row(item, name(item, fit == Fit::Whole), cells, fit)
    });
    list(columns, rows, fit, out)
}

fn containers(usage: &Usage, fit: Fit, out: &mut dyn Paint) -> io::Result<()> {
    let columns = columns("CONTAINER", ["LAYER", "INODES"].map(|of| Column::new(of).right()));
    let rows = usage.containers.iter().map(|Object { item, inodes, .. }| {
        let inodes = inodes.map_or_else(|| "?".to_owned(), |inodes| inodes.to_string());
        row(item, item.name.as_str().into(), [size(item.size_bytes), inodes], fit)
    });
    list(columns, rows, fit, out)
}

fn log_dirs(usage: &Usage, verbose: bool, fit: Fit, out: &mut dyn Paint) -> io::Result<()> {
    let columns = columns("LOGS", [Column::new("SIZE").right(), Column::new("POD STATE")]);
    let shown = if verbose { usage.log_dirs.len() } else { usage.log_dirs.len().min(SHOWN) };
    let (shown, more) = usage.log_dirs.split_at(shown);
    let rows = shown.iter().map(|Object { item, pod_state, .. }| {
        let state = pod_state.map_or_else(|| "-".to_owned(), |state| state.as_str().to_owned());
        row(item, item.name.as_str().into(), [size(item.size_bytes), state], fit)
    });
    list(columns, rows, fit, out)?;
    if more.is_empty() { Ok(()) } else { writeln!(out, "... and {} more; -v lists all", more.len()) }
}

/// The columns of a table of objects: their name, two of their kind, and those that all have.
const fn columns<'a>(heading: &'a str, [one, other]: [Column<'a>; 2]) -> [Column<'a>; 5] {
    let name = Column::new(heading).at_least(20);
    [name, one, other, Column::new("REASON"), Column::new("ID").at_least(13).optional()]
}

fn row<'a>(item: &'a Item, name: Cow<'a, str>, [one, other]: [String; 2], fit: Fit) -> [Cell<'a>; 5] {
    let id = if fit == Fit::Whole { &item.id } else { short(&item.id) };
    [name.into(), one.into(), other.into(), item.reason.as_str().into(), id.into()]
}

/// Writes a table of objects with an empty line before it; nothing if there are none.
fn list<'a>(
    columns: [Column<'_>; 5],
    rows: impl ExactSizeIterator<Item = [Cell<'a>; 5]> + Clone,
    fit: Fit,
    out: &mut dyn Paint,
) -> io::Result<()> {
    if rows.len() == 0 {
        return Ok(());
    }
    writeln!(out)?;
    write_rows(out, &columns, || rows.clone(), fit)
}

/// Bytes in readable units; "?" where they are not known.
fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| ByteSize(bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::Text;

    #[test]
    fn what_is_reserved_for_root_is_a_line_below_the_filesystems() {
        let fs = |mountpoint: &str, reserved_bytes| FileSystemUsage {
            mountpoint: mountpoint.to_owned(),
            reserved_bytes,
            ..FileSystemUsage::default()
        };
        let mut usage = Usage { filesystems: vec![fs("/var/lib/x", 5 << 30)], ..Usage::default() };
        let lines = |usage: &Usage| {
            let mut text = Text::default();
            write(usage, false, Fit::Any, &mut text).unwrap();
            text.lines().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let shown = lines(&usage);
        let line = "Reserved for root: 5.0 GiB on /var/lib/x; USE% counts it as used, as the kubelet does.";
        assert_eq!((shown[2].as_str(), shown[3].as_str()), (line, ""), "{shown:?}");
        usage.filesystems = vec![fs("/var/lib/x", 0)];
        assert!(!lines(&usage).iter().any(|line| line.contains("eserved")));
    }
}
