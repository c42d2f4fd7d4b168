//! What the kubelet goes on doing by itself, whatever is set here: for the comments.

use cri_gc_config::Settings;

use super::reader::{Known, Reader, known, never};
use super::values;

const HARD: Option<&str> = Some("evictionHard");
const RECLAIM: Option<&str> = Some("evictionMinimumReclaim");
const EVICTION: [Known; 3] = [
    known("", HARD, Some("eviction-hard")),
    known("", Some("evictionSoft"), Some("eviction-soft")),
    known("", RECLAIM, Some("eviction-minimum-reclaim")),
];
const LOG_SIZE: Known = known("", Some("containerLogMaxSize"), Some("container-log-max-size"));
const LOG_FILES: Known = known("", Some("containerLogMaxFiles"), Some("container-log-max-files"));

/// What the kubelet goes on doing; each a paragraph.
pub(super) fn left(reader: &mut Reader<'_>, settings: &Settings) -> Vec<String> {
    let mut left: Vec<_> = eviction(reader, settings.image_gc.high_threshold_percent).into_iter().collect();
    let size = reader.find(LOG_SIZE, values::text, String::is_empty);
    let files = reader.find(LOG_FILES, values::number, never);
    let rotation = [(size.value.is_some(), size.said), (files.value.is_some(), files.said)];
    let rotation: Vec<_> = rotation.into_iter().filter_map(|(set, said)| set.then_some(said)).collect();
    if !rotation.is_empty() {
        left.push(format!("The logs of running containers. {}: cri-gc rotates none.", rotation.join(", ")));
    }
    let suspects = reader.flags.suspects();
    if !suspects.is_empty() {
        left.push(format!("Flags that are not known here and were not looked at: {}.", suspects.join(", ")));
    }
    if let Some(folder) = reader.flags.get("config-dir") {
        left.push(format!(
            "--config-dir={folder}. What the files there set beats the file that was read here; they were not read."
        ));
    }
    left
}

/// What the kubelet's eviction manager does for lack of disk, if it does anything.
fn eviction(reader: &mut Reader<'_>, high: u8) -> Option<String> {
    let mut named = Vec::new();
    let mut first: Option<f64> = None;
    for known in EVICTION {
        let found = reader.find(known, values::signals, Vec::is_empty);
        if known.field == HARD && found.value.is_none() {
            let defaults =
                "evictionHard is not set, so that the kubelet's defaults hold (imagefs.available 15% is one)";
            named.push(defaults.to_owned());
            first = Some(85.0);
        }
        let of_disks = || found.value.iter().flatten().filter(|(signal, value)| is_of_disk(signal, value));
        if of_disks().next().is_none() {
            continue;
        }
        let name = match (found.typed, known.flag) {
            (true, Some(flag)) => format!("--{flag}"),
            _ => known.field.unwrap_or_default().to_owned(),
        };
        let list: Vec<_> = of_disks().map(|(signal, value)| format!("{signal} {value}")).collect();
        named.push(format!("{name} ({})", list.join(", ")));
        if known.field != RECLAIM {
            let reached = of_disks().filter_map(|(signal, value)| reached_at(signal, value));
            first = reached.chain(first).min_by(f64::total_cmp);
        }
    }
    let order = match first {
        Some(used) if f64::from(high) < used => format!(
            "The first of them is reached at {used}% used, after image_gc.high_threshold_percent = {high}, as it should be."
        ),
        Some(used) => format!(
            "The first of them is reached at {used}% used: image_gc.high_threshold_percent = {high} should be some points below \
             that, or the kubelet is first."
        ),
        None => format!("image_gc.high_threshold_percent = {high} should be reached before them."),
    };
    (!named.is_empty()).then(|| {
        format!(
            "Eviction. {}. Short of disk by these signals, the kubelet deletes dead containers and all unused images by itself; \
             nothing but the signals tells it when. {order}",
            named.join("; ")
        )
    })
}

/// Whether a signal is of a disk, and switched on.
fn is_of_disk(signal: &str, value: &str) -> bool {
    let disk = ["imagefs.", "nodefs.", "containerfs."].iter().any(|of| signal.starts_with(of));
    disk && !matches!(value, "0%" | "100%")
}

/// How full a disk is when a signal for its free space is reached, if that can be told without the disk.
fn reached_at(signal: &str, value: &str) -> Option<f64> {
    let free: f64 = value.strip_suffix('%').filter(|_| signal.ends_with(".available"))?.parse().ok()?;
    (0.0..=100.0).contains(&free).then_some(100.0 - free)
}
