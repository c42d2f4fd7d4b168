//! The service as a whole, and what it depends on: the runtime, the pod source, the filesystems, the configuration.

use std::fmt::Error;

use cri_gc_policy::{FileSystem, PodState};
use prometheus_client::registry::Unit;

use super::super::answers::{Answers, parts};
use super::super::readiness;
use super::super::sheet::{BYTES, SECONDS, Sheet, plain, seconds};

/// The service itself.
pub fn service(sheet: &mut Sheet<'_>, answers: &Answers) -> Result<(), Error> {
    sheet.info(("cri_gc_build", None, "The version of cri-gc"), vec![("version", answers.version)])?;
    sheet.gauge(
        ("cri_gc_ready", None, "1 while /readyz answers 200"),
        plain(Some(u32::from(readiness::reasons(answers).is_empty()))),
    )?;
    sheet.gauge(
        (
            "cri_gc_scrape_unanswered",
            None,
            "1 for each part of cri-gc that did not answer this scrape in time; its metrics are absent",
        ),
        parts().map(|part| (vec![("part", part)], u32::from(answers.unanswered.contains(&part)))),
    )?;
    sheet.counter(
        ("cri_gc_events", None, "Events, by kind"),
        answers.events.iter().map(|(kind, count)| (vec![("kind", kind.as_str())], *count)),
    )?;
    sheet.counter(
        (
            "cri_gc_history_lost_events",
            None,
            "Events that are missing from the history on disk, because the disk refused them or hung",
        ),
        plain(Some(answers.lost)),
    )
}

fn holds(fs: &FileSystem) -> &'static str {
    match (fs.holds_images, fs.holds_containers) {
        (true, true) => "images_containers",
        (true, false) => "images",
        (false, _) => "containers",
    }
}

/// The filesystems, and how full they may become.
pub fn space(sheet: &mut Sheet<'_>, answers: &Answers) -> Result<(), Error> {
    let each = |value: fn(&FileSystem) -> u64| {
        answers
            .filesystems
            .iter()
            .map(move |fs| (vec![("mountpoint", fs.mountpoint.as_str()), ("holds", holds(fs))], value(fs)))
    };
    sheet.gauge(
        ("cri_gc_filesystem_size", BYTES, "Size of a filesystem of images or containers"),
        each(|fs| fs.stats.capacity_bytes),
    )?;
    sheet.gauge(
        ("cri_gc_filesystem_available", BYTES, "Bytes that can still be written there"),
        each(|fs| fs.stats.available_bytes),
    )?;
    sheet.gauge(
        (
            "cri_gc_filesystem_inodes",
            None,
            "Inodes of a filesystem of images or containers; 0 if it does not count them",
        ),
        each(|fs| fs.stats.inodes),
    )?;
    sheet.gauge(
        ("cri_gc_filesystem_inodes_free", None, "Inodes that are free there"),
        each(|fs| fs.stats.inodes_free),
    )?;
    let gc = answers.configuration.as_ref().map(|state| &state.generation.settings.image_gc);
    let thresholds = gc.map(|gc| [("high", gc.high_threshold_percent), ("low", gc.low_threshold_percent)]);
    sheet.gauge(
        (
            "cri_gc_image_threshold",
            Some(Unit::Other("ratio".to_owned())),
            "Usage of an image filesystem at which images start to be removed (high; 1 is never), and down to which (low)",
        ),
        thresholds
            .into_iter()
            .flatten()
            .map(|(threshold, percent)| (vec![("threshold", threshold)], f64::from(percent) / 100.0)),
    )
}

const POD_STATES: [(PodState, &str); 5] = [
    (PodState::Active, "active"),
    (PodState::Terminated, "terminated"),
    (PodState::Evicted, "evicted"),
    (PodState::Deleted, "deleted"),
    (PodState::Unknown, "unknown"),
];

/// What the service depends on.
pub fn surroundings(sheet: &mut Sheet<'_>, answers: &Answers) -> Result<(), Error> {
    let runtime = answers.runtime.as_ref();
    sheet.gauge(
        ("cri_gc_runtime_reachable", None, "1 while the runtime answers, 0 while it is unreachable or hangs"),
        plain(runtime.map(|runtime| u32::from(runtime.reachable == Some(true) && !runtime.hangs))),
    )?;
    sheet.counter(
        ("cri_gc_runtime_returns", None, "How often the runtime became reachable again"),
        plain(Some(answers.returns)),
    )?;
    sheet.histogram(
        (
            "cri_gc_rpc_duration",
            SECONDS,
            "How long requests to the runtime took, by CRI method and gRPC code",
        ),
        answers.rpcs.iter().map(|rpc| (vec![("method", rpc.method), ("code", rpc.code)], &rpc.took)),
    )?;
    let source = answers.source.as_ref();
    sheet.gauge(
        ("cri_gc_pod_source_synced", None, "1 while the pod source can confirm that pods are deleted"),
        source.map(|state| (vec![("source", state.source.as_str())], u32::from(state.synced))),
    )?;
    sheet.gauge(
        ("cri_gc_pod_source_synced_timestamp", SECONDS, "As of when the newest valid list of the pod source counts; absent for a source that lists nothing"),
        plain(source.and_then(|state| state.synced_at).map(seconds)),
    )?;
    sheet.gauge(
        ("cri_gc_pods", None, "Pods of which the last pass saw something, by their state"),
        source.into_iter().flat_map(|source| {
            POD_STATES.map(|(state, name)| {
                let count = source.pods.iter().filter(|pod| pod.state == state).count() as u64;
                (vec![("state", name)], count)
            })
        }),
    )?;
    let configuration = answers.configuration.as_ref();
    sheet.gauge(
        (
            "cri_gc_config_generation",
            None,
            "Number of the settings in force; 1 at the start, one more after each reload that took effect",
        ),
        plain(configuration.map(|state| state.generation.number)),
    )?;
    sheet.gauge(
        ("cri_gc_config_loaded_timestamp", SECONDS, "When the settings in force were loaded"),
        plain(configuration.map(|state| seconds(state.generation.loaded_at))),
    )?;
    sheet.gauge(
        (
            "cri_gc_config_reload_refused",
            None,
            "1 while the newest reload was refused, so that older settings are in force",
        ),
        plain(configuration.map(|state| u32::from(state.refused.is_some()))),
    )?;
    sheet.gauge(
        (
            "cri_gc_config_waiting_for_restart",
            None,
            "Settings whose new values need a restart of the service",
        ),
        plain(configuration.map(|state| state.waiting_for_restart.len() as u64)),
    )
}
