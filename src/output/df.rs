//! What uses the disk, as tables: the filesystems, the sums, the largest log directories; or every object.

use std::io::{self, Write};
use std::time::Duration;

use bytesize::ByteSize;
use cri_gc_policy::text::counted;
use cri_gc_policy::usage::{FileSystemUsage, Object, Sum, Usage, UsedBy};

use super::ages::rough;
use super::plan::name;
use super::table::{short, table, tally_line, write_rows};

/// Log directories that are listed where not all are.
const SHOWN: usize = 5;

/// Writes the tables; `verbose` with every object.
///
/// # Errors
/// The error of `out`.
pub fn write(usage: &Usage, verbose: bool, out: &mut dyn Write) -> io::Result<()> {
    let filesystems = usage.filesystems.iter().map(filesystem);
    let header = ["FILESYSTEM", "HOLDS", "SIZE", "USED", "AVAILABLE", "USE%", "INODES"];
    if !usage.filesystems.is_empty() {
        writeln!(out, "{}", table(header, &[2, 3, 4, 5, 6], filesystems))?;
    }
    let others = usage.filesystems.iter().map(|fs| other(fs, usage.filesystems.len() > 1));
    let sums = usage.usage.iter().map(sum).chain(others);
    out.write_all(table(["USED BY", "COUNT", "SIZE", "RECLAIMABLE", "DETAIL"], &[1, 2, 3], sums).as_bytes())?;
    if verbose {
        images(usage, out)?;
        containers(usage, out)?;
    }
    log_dirs(usage, verbose, out)?;
    writeln!(
        out,
        "\nThe runtime reports images with all their layers: a layer that images share is in the size of each of them."
    )
}

fn filesystem(fs: &FileSystemUsage) -> [String; 7] {
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
}

fn sum(sum: &Sum) -> [String; 5] {
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
}

/// What is on a filesystem and is none of the others; `is_named` if there are several.
fn other(fs: &FileSystemUsage, is_named: bool) -> [String; 5] {
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
    [label, String::new(), size(fs.other_bytes), String::new(), detail]
}

fn images(usage: &Usage, out: &mut dyn Write) -> io::Result<()> {
    let row = |image: &Object| {
        let used = image.item.last_used.map(|used| usage.taken_at.duration_since(used));
        let used = used.map(|ago| format!("{} ago", rough(Duration::try_from(ago).unwrap_or_default())));
        let item = &image.item;
        [
            name(item),
            size(item.size_bytes),
            used.unwrap_or_else(|| "never".to_owned()),
            item.reason.clone(),
            short(&item.id).to_owned(),
        ]
    };
    list(out, ["IMAGE", "SIZE", "LAST USED", "REASON", "ID"], &[1, 2], &usage.images, row)
}

fn containers(usage: &Usage, out: &mut dyn Write) -> io::Result<()> {
    let row = |Object { item, inodes, .. }: &Object| {
        let inodes = inodes.map_or_else(|| "?".to_owned(), |inodes| inodes.to_string());
        [item.name.clone(), size(item.size_bytes), inodes, item.reason.clone(), short(&item.id).to_owned()]
    };
    list(out, ["CONTAINER", "LAYER", "INODES", "REASON", "ID"], &[1, 2], &usage.containers, row)
}

fn log_dirs(usage: &Usage, verbose: bool, out: &mut dyn Write) -> io::Result<()> {
    let row = |log_dir: &Object| {
        let state = log_dir.pod_state.map(|state| state.as_str().to_owned());
        let item = &log_dir.item;
        [
            item.name.clone(),
            size(item.size_bytes),
            state.unwrap_or_else(|| "-".to_owned()),
            item.reason.clone(),
            item.id.clone(),
        ]
    };
    let shown = if verbose { usage.log_dirs.len() } else { usage.log_dirs.len().min(SHOWN) };
    let (shown, more) = usage.log_dirs.split_at(shown);
    list(out, ["LOGS", "SIZE", "POD STATE", "REASON", "ID"], &[1], shown, row)?;
    if more.is_empty() { Ok(()) } else { writeln!(out, "... and {} more; -v lists all", more.len()) }
}

/// Writes a table of objects with an empty line before it; nothing if there are none.
fn list<const N: usize>(
    out: &mut dyn Write,
    header: [&str; N],
    right: &[usize],
    objects: &[Object],
    row: impl Fn(&Object) -> [String; N],
) -> io::Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write_rows(out, &header, right, || objects.iter().map(&row))
}

/// Bytes in readable units; "?" where they are not known.
fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| ByteSize(bytes).to_string())
}
