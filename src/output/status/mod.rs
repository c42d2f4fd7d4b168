//! How a service is, on one screen. All ages are by the clock of the service, which is that of its answer.
//!
//! - `images`: what may be removed, and what protects the rest. `loops`: the table of the loops and what is the matter with them.

mod images;
mod loops;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytesize::ByteSize;
use cri_gc_proto::admin::{
    Configuration, FileSystem, PodSource, Recent, RemovedSum, Runtime, StatusResponse,
};

use super::ages::{Now, moment, span};
use super::fit::Fit;
use super::passes;
use super::table::{Cell, Column, labelled, prose, table};
use super::text::{Style, Text};
use cri_gc_policy::text::{counted, one_line};
use loops::{Context, is_of_runtime};

/// Everything that a service answers.
#[must_use]
pub fn text(status: &StatusResponse, fit: Fit) -> Text {
    written(status, Extent::All, fit)
}

/// What changes from one moment to the next, and what is wrong: for a screen that is drawn again and again.
#[must_use]
pub fn screen(status: &StatusResponse, fit: Fit) -> Text {
    written(status, Extent::Screen, fit)
}

/// What a status sums up, less what an answer takes.
const HOUR: Duration = Duration::from_secs(60 * 60 - 1);

/// How much of a status is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    All,
    /// Not what rarely changes, if it is as it has to be, and no single image or pod.
    Screen,
}

/// First what all answers have, then only what matters.
fn written(status: &StatusResponse, extent: Extent, fit: Fit) -> Text {
    let now = Now::new(&status.now);
    let configuration = status.configuration.as_ref();
    let is_all = extent == Extent::All;
    let begin = format!("cri-gc {} on {}", one_line(&status.version), one_line(&status.node_name));
    let since = now.since(&status.started_at).filter(|_| is_all);
    let since = since.map_or_else(String::new, |_| format!(" (since {})", moment(&status.started_at)));
    let begin = Text::styled(Style::Heading, begin)
        + format!(", pid {}, running {}{since}", status.pid, now.lasting(&status.started_at));
    let mut text = prose(&begin, fit) + "\n";
    let is_notable = |of: &&Configuration| is_all || !of.refused.is_empty();
    if let Some(configuration) = configuration.filter(is_notable) {
        text.push(labelled("configuration", &of_configuration(configuration, now), fit));
    }
    if is_all {
        text.push(labelled("log level", &[status.log_level.as_str().into()], fit));
    }
    if let Some(runtime) = &status.runtime {
        text.push(labelled("runtime", &of_runtime(runtime, now), fit));
    }
    if let Some(pods) = &status.pods {
        text.push(labelled("pod source", &of_pods(pods, extent, now), fit));
    }
    let is_unreachable = status.runtime.as_ref().is_some_and(|runtime| !runtime.reachable);
    let generation = configuration.map_or(0, |configuration| configuration.generation);
    let context = Context { generation, is_unreachable, now, fit };
    let images = status.images.as_ref().filter(|_| is_all);
    // Notes of the pod source are shown with it.
    let of_pods = status.pods.iter().flat_map(|pods| &pods.notes).collect::<Vec<_>>();
    let notes: Vec<(&str, Vec<String>)> = status
        .loops
        .iter()
        .filter_map(|of| Some((of.r#loop.as_str(), of.last_pass.as_ref()?)))
        .map(|(of, pass)| (of, pass.notes.iter().filter(|note| !of_pods.contains(note)).cloned().collect()))
        .collect();
    let paragraphs = [
        loops::table_of(&status.loops, now, fit),
        loops::matters(&status.loops, context),
        loops::stuck(&status.loops, now, fit),
        status
            .recent
            .as_ref()
            .map_or_else(Text::default, |recent| labelled("last hour", &of_recent(recent, now), fit)),
        filesystems(&status.filesystems, fit),
        images.map_or_else(Text::default, |of| images::text(of, now, fit)),
        passes::notes(notes.iter().map(|(of, notes)| (*of, notes.as_slice())), fit),
        status
            .problems
            .iter()
            .filter(|problem| !(is_unreachable && is_of_runtime(problem)))
            .map(|problem| prose(&(Text::bad("problem:") + format!(" {}", one_line(problem))), fit))
            .collect(),
    ];
    for paragraph in paragraphs.into_iter().filter(|paragraph| !paragraph.is_empty()) {
        text.push("\n");
        text.push(paragraph);
    }
    text
}

fn of_recent(recent: &Recent, now: Now) -> Vec<Text> {
    let sum = |sum: &RemovedSum| {
        let bytes = match (sum.bytes, sum.kind.as_str()) {
            (0, _) => String::new(),
            (bytes, "image") => format!(" (size {})", ByteSize(bytes)),
            // Of the other kinds nothing but logs is measured.
            (bytes, _) => format!(" ({} of logs)", ByteSize(bytes)),
        };
        format!("{}{bytes}", counted(sum.count, &sum.kind))
    };
    let removed: Vec<String> = recent.removed.iter().map(sum).collect();
    let removed = if removed.is_empty() { "nothing".to_owned() } else { removed.join(", ") };
    // The hour itself is not said twice.
    let since = now.since(&recent.since).filter(|since| *since < HOUR);
    let since = since.map_or_else(String::new, |since| format!("; known for {} only", span(since)));
    let mut lines = vec![Text::from(format!("removed {removed}{since}"))];
    if !recent.failures.is_empty() {
        let failures: Vec<String> =
            recent.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        lines.push(
            Text::bad("failures:") + format!(" {}; see `cri-gc history --since 1h`", failures.join(", ")),
        );
    }
    lines.extend((!recent.problem.is_empty()).then(|| Text::bad("error:") + format!(" {}", recent.problem)));
    lines
}

fn of_configuration(configuration: &Configuration, now: Now) -> Vec<Text> {
    let from = match configuration.file.as_str() {
        "" => "without a file".to_owned(),
        file => format!("from {file}"),
    };
    let mut lines: Vec<Text> = vec![
        format!(
            "generation {}, loaded {} ({}) {from}",
            configuration.generation,
            now.ago(&configuration.loaded_at),
            configuration.trigger
        )
        .into(),
    ];
    if !configuration.waiting_for_restart.is_empty() {
        let keys = configuration.waiting_for_restart.join(", ");
        lines.push(
            Text::styled(Style::Attention, "these settings take effect after a restart of cri-gc:")
                + format!(" {keys}"),
        );
    }
    if !configuration.refused.is_empty() {
        let ago = now.ago(&configuration.refused_at);
        lines.push(
            Text::bad("RELOAD REFUSED") + format!(" {ago}, the previous configuration remains in force:"),
        );
        lines.extend(configuration.refused.lines().map(|line| format!("  {}", line.trim_start()).into()));
    }
    lines
}

fn of_runtime(runtime: &Runtime, now: Now) -> Vec<Text> {
    let which = format!("{} {}", runtime.name, runtime.version);
    let which = if which.trim().is_empty() { "name and version not known yet" } else { which.trim() };
    let endpoint = &runtime.endpoint;
    if !runtime.reachable {
        let lasting = now.lasting(&runtime.since);
        let mut lines = vec![Text::bad("UNREACHABLE") + format!(" {lasting} at {endpoint} ({which})")];
        lines.extend((!runtime.error.is_empty()).then(|| runtime.error.as_str().into()));
        return lines;
    }
    let returns = match runtime.returns {
        0 => String::new(),
        1 => "; it was unreachable once".to_owned(),
        times => format!("; it was unreachable {times} times"),
    };
    if !runtime.error.is_empty() {
        let since = now.lasting(&runtime.since);
        return vec![
            Text::bad("NOT ANSWERING") + format!(" at {endpoint} ({which}), connected {since}"),
            runtime.error.as_str().into(),
        ];
    }
    vec![format!("{which} at {endpoint}, reachable {}{returns}", now.lasting(&runtime.since)).into()]
}

fn of_pods(pods: &PodSource, extent: Extent, now: Now) -> Vec<Text> {
    let source = &pods.source;
    let unsynced = |last: String| {
        Text::from(format!("{source}, "))
            + Text::bad("NOT SYNCED")
            + format!("{last}: no pod counts as deleted")
    };
    let mut lines: Vec<Text> = vec![match (pods.synced, pods.synced_at.as_str()) {
        (true, "") => source.as_str().into(),
        (true, at) => format!("{source}, synced {}", now.ago(at)).into(),
        (false, "") => unsynced(String::new()),
        (false, at) => unsynced(format!(" (last {})", now.ago(at))),
    }];
    lines.extend((!pods.problem.is_empty()).then(|| Text::bad("error:") + format!(" {}", pods.problem)));
    let sums: Vec<String> = pods.sums.iter().map(|sum| format!("{} {}", sum.count, sum.state)).collect();
    lines.extend((!sums.is_empty()).then(|| sums.join(", ").into()));
    if extent == Extent::Screen {
        return lines;
    }
    for pod in &pods.pods {
        let name = if pod.name.is_empty() { pod.uid.clone() } else { format!("{} ({})", pod.name, pod.uid) };
        lines.push(format!("{name} {} {}: {}", pod.state, now.lasting(&pod.since), &pod.evidence).into());
    }
    let inactive: u64 = pods.sums.iter().filter(|sum| sum.state != "active").map(|sum| sum.count).sum();
    if let Some(more @ 1..) = inactive.checked_sub(pods.pods.len() as u64) {
        let line = format!("... and {more} more; `cri-gc explain OBJECT` shows the state of an object's pod");
        lines.push(line.into());
    }
    lines.extend(pods.notes.iter().map(|note| Text::styled(Style::Heading, "note:") + format!(" {note}")));
    lines
}

fn filesystems(all: &[FileSystem], fit: Fit) -> Text {
    if all.is_empty() {
        return Text::default();
    }
    let rows = all.iter().map(|one| {
        let holds = [(one.holds_images, "images"), (one.holds_containers, "containers")];
        let holds: Vec<&str> = holds.into_iter().filter(|(holds, _)| *holds).map(|(_, what)| what).collect();
        let threshold = |percent: u32| match (one.holds_images, one.high_threshold_percent) {
            (false, _) => "-".to_owned(),
            (true, 100..) => "off".to_owned(),
            (true, _) => format!("{percent}%"),
        };
        let inodes = u128::from(one.inodes.saturating_sub(one.inodes_free)) * 100;
        let is_high =
            one.holds_images && one.used_percent.is_some_and(|used| used >= one.high_threshold_percent);
        let used = one.used_percent.map_or_else(|| "?".to_owned(), |percent| format!("{percent}%"));
        let available = match one.capacity_bytes {
            0 => "?".to_owned(),
            capacity => format!("{} of {}", ByteSize(one.available_bytes), ByteSize(capacity)),
        };
        let inodes = inodes.checked_div(one.inodes.into());
        [
            (&one.mountpoint).into(),
            holds.join(", ").into(),
            Cell::from(used).styled_if(is_high, Style::Attention),
            threshold(one.high_threshold_percent).into(),
            threshold(one.low_threshold_percent).into(),
            available.into(),
            inodes.map_or_else(|| "-".to_owned(), |used| format!("{used}%")).into(),
        ]
    });
    table(FILESYSTEMS, rows, fit)
}

const FILESYSTEMS: [Column<'_>; 7] = [
    Column::new("FILESYSTEM").at_least(12),
    Column::new("HOLDS"),
    Column::new("USED").right(),
    Column::new("HIGH").right(),
    Column::new("LOW").right(),
    Column::new("AVAILABLE").right(),
    Column::new("INODES").right().optional(),
];
