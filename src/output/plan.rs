//! A plan as a table.

use std::time::Duration;

use cri_gc_policy::PlanReport;
use cri_gc_policy::report::{FileSystemReport, Item, SectionReport};

use super::ages::rough;
use super::table::{bytes, plain, render, short, table, tally, tally_line};

/// What would be removed, object by object, and what is kept, by reason (`all`: object by object too).
#[must_use]
pub fn text(plan: &PlanReport, all: bool) -> String {
    let sections: [(&str, &SectionReport); 4] = [
        ("container", &plan.containers),
        ("sandbox", &plan.sandboxes),
        ("log dir", &plan.log_dirs),
        ("image", &plan.images.section),
    ];
    let mut text = objects(plan, "REMOVE", sections.map(|(kind, section)| (kind, &*section.remove)));
    if text.is_empty() {
        text.push_str("Nothing would be removed.\n\n");
    }
    text.push_str(&objects(plan, "FOLLOW", sections.map(|(kind, section)| (kind, &*section.follow))));
    if all {
        text.push_str(&objects(plan, "KEEP", sections.map(|(kind, section)| (kind, &*section.keep))));
    }
    let mut rows = table(&["", "REMOVE", "FOLLOW", "KEEP", "FREES", "KEPT FOR"]);
    for (kind, section) in sections {
        let reasons = tally(section.keep.iter().map(|item| item.reason.as_str()));
        rows.add_row([
            if kind == "sandbox" { "sandboxes".to_owned() } else { format!("{kind}s") },
            section.remove.len().to_string(),
            section.follow.len().to_string(),
            section.keep.len().to_string(),
            bytes(section.would_free_bytes.unwrap_or_default()),
            tally_line(&reasons),
        ]);
    }
    text.push_str(&render(rows, &[1, 2, 3, 4]));
    text.push_str(&disks(&plan.images.filesystems, plan.images.bytes_to_free));
    text
}

/// A table of objects, names first and ids last, with an empty line after it; nothing if there are none.
fn objects(plan: &PlanReport, header: &str, sections: [(&str, &[Item]); 4]) -> String {
    if sections.iter().all(|(_, items)| items.is_empty()) {
        return String::new();
    }
    let mut rows = table(&[header, "NAME", "REASON", "SIZE", "AGE", "DETAIL", "ID"]);
    for (kind, items) in sections {
        for item in items {
            let age = item.since().zip(plan.now).and_then(|(since, now)| now.age(since));
            let age = age.map(|age| rough(Duration::try_from(age).unwrap_or_default()));
            rows.add_row([
                kind,
                &plain(&name(item)),
                &item.reason,
                &bytes(item.size_bytes.unwrap_or_default()),
                &age.unwrap_or_default(),
                &plain(&item.detail),
                &plain(short(&item.id)),
            ]);
        }
    }
    render(rows, &[3, 4]) + "\n"
}

/// What people call it. An image is called by all its tags: they are removed together.
fn name(item: &Item) -> String {
    let tags: Vec<&str> = item.names.iter().map(String::as_str).filter(|name| !name.contains('@')).collect();
    let name = if tags.is_empty() { item.name.clone() } else { tags.join(", ") };
    match item.runtime_handler.as_str() {
        "" => name,
        handler => format!("{name} (handler {handler})"),
    }
}

/// How full the file systems of images are, and what that means for images.
fn disks(filesystems: &[FileSystemReport], bytes_to_free: u64) -> String {
    let mut text = String::new();
    if !filesystems.is_empty() {
        text.push('\n');
    }
    for fs in filesystems {
        let used = match fs.used_percent {
            Some(percent) => format!(
                "{percent} % used, {} of {} available",
                size(fs.available_bytes),
                size(fs.capacity_bytes)
            ),
            None => "usage unknown".to_owned(),
        };
        let (high, low) = (fs.high_threshold_percent, fs.low_threshold_percent);
        let thresholds = match high {
            100 => "no image is removed for lack of space".to_owned(),
            _ => format!("images are removed from {high} % on, down to {low} %"),
        };
        text.push_str(&format!("Image filesystem {}: {used}; {thresholds}.\n", plain(&fs.mountpoint)));
    }
    if bytes_to_free > 0 {
        let low = filesystems.iter().map(|fs| fs.low_threshold_percent).min();
        let low = low.map(|low| format!(" ({low} %)")).unwrap_or_default();
        text.push_str(&format!(
            "Image GC has to free {} to reach the low threshold{low}.\n",
            size(bytes_to_free)
        ));
    }
    text
}

/// Bytes as people read them, 0 too.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}
