//! How a service is, on one screen. All ages are by the clock of the service, which is that of its answer.
//!
//! - `images`: what may be removed, and what protects the rest. `loops`: the table of the loops and what is the matter with them.

mod images;
mod loops;
#[cfg(test)]
mod tests;

use bytesize::ByteSize;
use cri_gc_proto::admin::{Configuration, FileSystem, PodSource, Runtime, StatusResponse};

use super::ages::{Now, moment};
use super::passes;
use super::table::{labelled, table};
use cri_gc_policy::text::one_line;

/// First what all answers have, then only what matters.
#[must_use]
pub fn text(status: &StatusResponse) -> String {
    let now = Now::new(&status.now);
    let configuration = status.configuration.as_ref();
    let mut text = format!(
        "cri-gc {} on {}, pid {}, running {}{}\n\n",
        one_line(&status.version),
        one_line(&status.node_name),
        status.pid,
        now.lasting(&status.started_at),
        now.since(&status.started_at)
            .map_or_else(String::new, |_| format!(" (since {})", moment(&status.started_at)))
    );
    if let Some(configuration) = configuration {
        text.push_str(&labelled("configuration", &of_configuration(configuration, now)));
    }
    text.push_str(&labelled("log level", std::slice::from_ref(&status.log_level)));
    if let Some(runtime) = &status.runtime {
        text.push_str(&labelled("runtime", &of_runtime(runtime, now)));
    }
    if let Some(pods) = &status.pods {
        text.push_str(&labelled("pod source", &of_pods(pods, now)));
    }
    let paragraphs = [
        loops::table_of(&status.loops, now),
        loops::matters(&status.loops, configuration.map_or(0, |configuration| configuration.generation), now),
        loops::stuck(&status.loops),
        filesystems(&status.filesystems),
        status.images.as_ref().map_or_else(String::new, |of| images::text(of, now)),
        passes::notes(
            status.loops.iter().filter_map(|of| Some((of.r#loop.as_str(), &*of.last_pass.as_ref()?.notes))),
        ),
        status.problems.iter().map(|problem| format!("problem: {}\n", one_line(problem))).collect(),
    ];
    for paragraph in paragraphs.iter().filter(|paragraph| !paragraph.is_empty()) {
        text.push('\n');
        text.push_str(paragraph);
    }
    text
}

fn of_configuration(configuration: &Configuration, now: Now) -> Vec<String> {
    let from = match configuration.file.as_str() {
        "" => "without a file".to_owned(),
        file => format!("from {file}"),
    };
    let mut lines = vec![format!(
        "generation {}, loaded {} ({}) {from}",
        configuration.generation,
        now.ago(&configuration.loaded_at),
        configuration.trigger
    )];
    if !configuration.waiting_for_restart.is_empty() {
        lines.push(format!(
            "these settings take effect after a restart of cri-gc: {}",
            configuration.waiting_for_restart.join(", ")
        ));
    }
    if !configuration.refused.is_empty() {
        lines.push(format!(
            "RELOAD REFUSED {}, the previous configuration remains in force:",
            now.ago(&configuration.refused_at)
        ));
        lines.extend(configuration.refused.lines().map(|line| format!("  {}", line.trim_start())));
    }
    lines
}

fn of_runtime(runtime: &Runtime, now: Now) -> Vec<String> {
    let which = format!("{} {}", runtime.name, runtime.version);
    let which = if which.trim().is_empty() { "name and version not known yet" } else { which.trim() };
    let endpoint = &runtime.endpoint;
    if !runtime.reachable {
        let mut lines = vec![format!("UNREACHABLE {} at {endpoint} ({which})", now.lasting(&runtime.since))];
        lines.extend((!runtime.error.is_empty()).then(|| runtime.error.clone()));
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
            format!("NOT ANSWERING at {endpoint} ({which}), connected {since}"),
            runtime.error.clone(),
        ];
    }
    vec![format!("{which} at {endpoint}, reachable {}{returns}", now.lasting(&runtime.since))]
}

fn of_pods(pods: &PodSource, now: Now) -> Vec<String> {
    let source = &pods.source;
    let mut lines = vec![match (pods.synced, pods.synced_at.as_str()) {
        (true, "") => source.clone(),
        (true, at) => format!("{source}, synced {}", now.ago(at)),
        (false, "") => format!("{source}, NOT SYNCED: no pod counts as deleted"),
        (false, at) => format!("{source}, NOT SYNCED (last {}): no pod counts as deleted", now.ago(at)),
    }];
    lines.extend((!pods.problem.is_empty()).then(|| format!("error: {}", pods.problem)));
    let sums: Vec<String> = pods.sums.iter().map(|sum| format!("{} {}", sum.count, sum.state)).collect();
    lines.extend((!sums.is_empty()).then(|| sums.join(", ")));
    for pod in &pods.pods {
        let name = if pod.name.is_empty() { pod.uid.clone() } else { format!("{} ({})", pod.name, pod.uid) };
        lines.push(format!("{name} {} {}: {}", pod.state, now.lasting(&pod.since), &pod.evidence));
    }
    let inactive: u64 = pods.sums.iter().filter(|sum| sum.state != "active").map(|sum| sum.count).sum();
    if let Some(more @ 1..) = inactive.checked_sub(pods.pods.len() as u64) {
        lines
            .push(format!("... and {more} more; `cri-gc explain OBJECT` shows the state of an object's pod"));
    }
    lines.extend(pods.notes.iter().map(|note| format!("note: {note}")));
    lines
}

fn filesystems(all: &[FileSystem]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let row = |one: &FileSystem| {
        let holds = [(one.holds_images, "images"), (one.holds_containers, "containers")];
        let holds: Vec<&str> = holds.into_iter().filter(|(holds, _)| *holds).map(|(_, what)| what).collect();
        let threshold = |percent: u32| match (one.holds_images, one.high_threshold_percent) {
            (false, _) => "-".to_owned(),
            (true, 100..) => "off".to_owned(),
            (true, _) => format!("{percent}%"),
        };
        let inodes = u128::from(one.inodes.saturating_sub(one.inodes_free)) * 100;
        [
            one.mountpoint.clone(),
            holds.join(", "),
            one.used_percent.map_or_else(|| "?".to_owned(), |percent| format!("{percent}%")),
            threshold(one.high_threshold_percent),
            threshold(one.low_threshold_percent),
            match one.capacity_bytes {
                0 => "?".to_owned(),
                capacity => format!("{} of {}", ByteSize(one.available_bytes), ByteSize(capacity)),
            },
            inodes.checked_div(one.inodes.into()).map_or_else(|| "-".to_owned(), |used| format!("{used}%")),
        ]
    };
    let header = ["FILESYSTEM", "HOLDS", "USED", "HIGH", "LOW", "AVAILABLE", "INODES"];
    table(header, &[2, 3, 4, 5, 6], all.iter().map(row))
}
