//! A plan as tables, and as names for scripts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use cri_gc_policy::report::{FileSystemReport, Item, SectionReport};
use cri_gc_policy::{Kind, Now, PlanReport};

use super::ages::rough;
use super::fit::Fit;
use super::table::{Cell, Column, bytes, prose, short, table, tally, tally_line, write_rows};
use super::text::{Paint, Style, Text};
use cri_gc_policy::text::{Lines, escape, one_line, plural};

/// How many objects of a kind with the same reason are listed where the others are only counted.
pub const EXAMPLES: usize = 10;

/// What is shown of a plan, and how.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// How much is listed object by object.
    pub extent: Extent,
    /// What it has to fit into.
    pub fit: Fit,
    /// The kinds that are shown.
    pub kinds: &'a [Kind],
    /// Which objects of them are shown, in words; `None`: all.
    pub only: Option<&'a str>,
}

/// The kinds of a plan with their sections.
fn sections<'a>(plan: &'a PlanReport, kinds: &[Kind]) -> Vec<(Kind, &'a SectionReport)> {
    let all = [
        (Kind::Container, &plan.containers),
        (Kind::Sandbox, &plan.sandboxes),
        (Kind::LogDir, &plan.log_dirs),
        (Kind::Image, &plan.images.section),
    ];
    all.into_iter().filter(|(kind, _)| kinds.contains(kind)).collect()
}

/// Writes what would be removed, object by object, and what is kept, by reason.
///
/// # Errors
/// The error of `out`.
pub fn write(plan: &PlanReport, view: View<'_>, out: &mut dyn Paint) -> io::Result<()> {
    let View { extent, fit, kinds, only } = view;
    let sections = sections(plan, kinds);
    if sections.is_empty() {
        return writeln!(out, "Nothing matches.");
    }
    let has_examples = matches!(extent, Extent::Examples | Extent::ExamplesAndKept);
    let most = if has_examples { EXAMPLES } else { usize::MAX };
    if sections.iter().all(|(_, section)| section.remove.is_empty()) {
        let of_these = if only.is_some() { " of these objects" } else { "" };
        writeln!(out, "Nothing{of_these} would be removed.\n")?;
    }
    let mut list = |heading: &str, style: Style, items: fn(&SectionReport) -> &[Item]| {
        let sections = sections.iter().map(|(kind, of)| (kind.as_str(), items(of)));
        write_objects(&Objects { heading, style, most, now: plan.now, fit }, sections, out)
    };
    list("REMOVE", Style::Attention, |section| &section.remove)?;
    list("REMOVE AFTER THESE", Style::Attention, |section| &section.follow)?;
    if matches!(extent, Extent::ExamplesAndKept | Extent::AllAndKept) {
        list("KEEP", Style::Plain, |section| &section.keep)?;
    }
    if let Some(only) = only {
        prose(&format!("Only {only} are listed and counted.").into(), fit).write_to(out)?;
    }
    let sums = sections.iter().map(|(kind, section)| {
        // What was not observed is not known to be none.
        let count = |items: &[Item]| match items.len() {
            0 if plan.unseen.contains(kind) => Cell::styled(Style::Bad, "?"),
            count => count.to_string().into(),
        };
        let reasons = tally(section.keep.iter().map(|item| item.reason.as_str()));
        [
            plural(kind.as_str()).into(),
            count(&section.remove),
            count(&section.follow),
            count(&section.keep),
            bytes(section.would_free_bytes.unwrap_or_default()).into(),
            tally_line(&reasons).into(),
        ]
    });
    table(SUMS, sums, fit).write_to(out)?;
    if kinds.contains(&Kind::Image) {
        disks(&plan.images.filesystems, plan.images.bytes_to_free, fit).write_to(out)?;
    }
    Ok(())
}

const SUMS: [Column<'_>; 6] = [
    Column::new(""),
    Column::new("REMOVE").right(),
    Column::new("REMOVE AFTER").right(),
    Column::new("KEEP").right(),
    Column::new("FREES").right(),
    Column::new("KEPT FOR").at_least(16).list(),
];

/// Writes what would be removed for scripts: "container/ID", one on each line, in the order of the plan.
///
/// # Errors
/// The error of `out`.
pub fn write_names(plan: &PlanReport, out: &mut dyn Paint) -> io::Result<()> {
    let sections = sections(plan, Kind::ALL);
    let remove = sections.iter().map(|(kind, section)| (kind, &section.remove));
    let follow = sections.iter().map(|(kind, section)| (kind, &section.follow));
    for (kind, items) in remove.chain(follow) {
        let word = kind.as_str().replace("log directory", "log_dir");
        items.iter().try_for_each(|item| writeln!(out, "{word}/{}", escape(&item.id, Lines::Escape)))?;
    }
    Ok(())
}

/// How much of a plan is listed object by object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Of what would be removed, some examples for each kind and reason.
    Examples,
    /// The same, and examples of what is kept.
    ExamplesAndKept,
    /// All that would be removed.
    Removed,
    /// What is kept as well.
    AllAndKept,
}

/// A table of objects.
#[derive(Debug, Clone, Copy)]
pub struct Objects<'a> {
    /// The heading of its first column, the kinds.
    pub heading: &'a str,
    /// What the reasons in it mean.
    pub style: Style,
    /// How many of each kind and reason are listed; the others are counted.
    pub most: usize,
    /// When the ages of the objects count.
    pub now: Option<Now>,
    /// What it has to fit into.
    pub fit: Fit,
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

/// Writes a table of objects, names first and ids last, with an empty line after it; nothing if there are none.
///
/// # Errors
/// The error of `out`.
pub fn write_objects<'a>(
    table: &Objects<'_>,
    sections: impl IntoIterator<Item = (&'a str, &'a [Item])>,
    out: &mut dyn Paint,
) -> io::Result<()> {
    let mut rows = Vec::new();
    for (kind, items) in sections {
        // How many of a reason, and the bytes of those that are not listed.
        let mut seen: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for item in items {
            let (count, unlisted) = seen.entry(&item.reason).or_default();
            *count += 1;
            if *count <= table.most {
                rows.push(Row::Object { kind, item });
            } else {
                *unlisted = unlisted.saturating_add(item.size_bytes.unwrap_or_default());
            }
        }
        for (reason, (count, bytes)) in seen {
            if let Some(count @ 1..) = count.checked_sub(table.most) {
                rows.push(Row::More { kind, reason, count, bytes });
            }
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let columns = [
        Column::new(table.heading),
        Column::new("NAME").at_least(20),
        Column::new("REASON"),
        Column::new("SIZE").right().optional(),
        Column::new("AGE").right().optional(),
        Column::new("DETAIL").at_least(24).optional(),
        Column::new("ID").at_least(13).optional(),
        Column::new("POD"),
    ];
    // Only where all is wanted.
    let columns = if table.fit == Fit::Whole {
        &columns[..]
    } else {
        columns.split_last().map_or(&[][..], |(_, most)| most)
    };
    write_rows(out, columns, || rows.iter().map(|row| row.cells(table)), table.fit)?;
    writeln!(out)
}

impl Row<'_> {
    fn cells(&self, table: &Objects<'_>) -> [Cell<'_>; 8] {
        match *self {
            Row::Object { kind, item } => {
                let age = item.since().zip(table.now).and_then(|(since, now)| now.age(since));
                let age = age.map(|age| rough(Duration::try_from(age).unwrap_or_default()));
                let is_whole = table.fit == Fit::Whole;
                [
                    kind.into(),
                    name(item, is_whole).into(),
                    Cell::styled(table.style, &*item.reason),
                    bytes(item.size_bytes.unwrap_or_default()).into(),
                    age.unwrap_or_default().into(),
                    (&*item.detail).into(),
                    if is_whole { &*item.id } else { short(&item.id) }.into(),
                    (&*item.pod_uid).into(),
                ]
            }
            Row::More { kind, reason, count, bytes: size } => [
                kind.into(),
                format!("... {count} more (--all)").into(),
                Cell::styled(table.style, reason),
                bytes(size).into(),
                Cell::default(),
                Cell::default(),
                Cell::default(),
                Cell::default(),
            ],
        }
    }
}

/// Its name. That of an image is all its tags, and where all is wanted its digests too: they are removed together.
pub fn name(item: &Item, is_whole: bool) -> Cow<'_, str> {
    let is_shown = |name: &&str| is_whole || !name.contains('@');
    let names: Vec<&str> = item.names.iter().map(String::as_str).filter(is_shown).collect();
    let name = if names.is_empty() { Cow::Borrowed(&*item.name) } else { Cow::Owned(names.join(", ")) };
    match item.runtime_handler.as_str() {
        "" => name,
        handler => Cow::Owned(format!("{name} (handler {handler})")),
    }
}

/// How full the image filesystems are, and what that means for images.
fn disks(filesystems: &[FileSystemReport], bytes_to_free: u64, fit: Fit) -> Text {
    let mut text = Text::default();
    if !filesystems.is_empty() {
        text.push("\n");
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
        let is_high = fs.used_percent.is_some_and(|percent| percent >= high);
        let style = if is_high { Style::Attention } else { Style::Plain };
        let line = Text::from(format!("Image filesystem {}: ", one_line(&fs.mountpoint)));
        text.push(prose(&(line + Text::styled(style, used) + format!("; {thresholds}.")), fit));
    }
    if bytes_to_free > 0 {
        let low = filesystems.iter().map(|fs| fs.low_threshold_percent).min();
        let low = low.map(|low| format!(" ({low}%)")).unwrap_or_default();
        let line = format!("Image GC has to free {} to reach the low threshold{low}.", size(bytes_to_free));
        text.push(prose(&line.into(), fit));
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
            id: format!("c{id}").into(),
            reason: reason.to_owned(),
            name: format!("ci/job/step#{id}"),
            size_bytes: Some(1 << 20),
            ..Item::default()
        }
    }

    const KINDS: &[Kind] = &[Kind::Container, Kind::Sandbox, Kind::LogDir, Kind::Image];

    fn lines_of(plan: &PlanReport, view: View<'_>) -> Vec<String> {
        let mut text = Text::default();
        write(plan, view, &mut text).unwrap();
        text.lines().iter().map(ToString::to_string).collect()
    }

    fn lines(plan: &PlanReport, extent: Extent) -> Vec<String> {
        lines_of(plan, View { extent, fit: Fit::Any, kinds: KINDS, only: None })
    }

    #[test]
    fn similar_objects_are_shown_by_examples_on_a_terminal() {
        let mut plan = PlanReport::default();
        plan.containers.remove = (0..1_000).map(|id| item(id, "pod_deleted")).collect();
        plan.containers.remove.push(item(1_000, "over_node_limit"));
        plan.sandboxes.keep = (0..20).map(|id| item(id, "sandbox_ready")).collect();
        let kept = lines(&plan, Extent::ExamplesAndKept);
        assert_eq!(
            kept.iter().filter(|line| line.contains("sandbox_ready") && !line.contains("20 ")).count(),
            EXAMPLES + 1
        );
        let shown = lines(&plan, Extent::Examples);
        assert_eq!(shown.len(), 1 + EXAMPLES + 1 + 1 + 1 + 5, "{shown:?}");
        let more: Vec<&str> = shown[EXAMPLES + 2].split_whitespace().collect();
        assert_eq!(
            more.join(" "),
            "container ... 990 more (--all) pod_deleted 990.0 MiB",
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

    #[test]
    fn what_could_not_be_observed_is_not_counted_as_none() {
        let plan = PlanReport { unseen: vec![Kind::Image], ..PlanReport::default() };
        let view = View { extent: Extent::Removed, fit: Fit::Any, kinds: KINDS, only: None };
        let shown = lines_of(&plan, view);
        assert!(shown.contains(&"containers            0             0     0".to_owned()), "{shown:?}");
        assert!(shown.contains(&"images                ?             ?     ?".to_owned()), "{shown:?}");
    }

    #[test]
    fn the_tables_fit_a_terminal_of_80_columns_and_wide_ones_shorten_nothing() {
        let mut plan = PlanReport::default();
        let id = "c0".repeat(32);
        let long = Item {
            id: id.as_str().into(),
            name: "team/".repeat(30),
            detail: "x".repeat(300),
            ..item(1, "over_pod_container_limit")
        };
        plan.containers.remove = vec![long.clone()];
        plan.containers.follow = vec![Item { size_bytes: None, ..long }];
        let view = View { extent: Extent::Removed, fit: Fit::Columns(80), kinds: KINDS, only: None };
        let shown = lines_of(&plan, view);
        assert!(shown.iter().all(|line| line.len() <= 80), "{shown:?}");
        assert!(shown.iter().any(|line| line.contains("...") && line.contains("over_pod_container_limit")));
        let whole = lines_of(&plan, View { fit: Fit::Whole, ..view }).join("\n");
        assert!(whole.contains(&id) && whole.contains(&"x".repeat(300)), "{whole}");
    }
}
