//! What the kubelet goes on doing by itself, whatever is set here: for the comments.

use cri_gc_config::Settings;

use super::document::Defaults;
use super::reader::{Known, Reader, known, never};
use super::values::{self, Kind, Written};

const HARD: Known = known("", Some("evictionHard"), Some("eviction-hard"));
const SOFT: Known = known("", Some("evictionSoft"), Some("eviction-soft"));
const SOFT_PERIOD: Known = known("", Some("evictionSoftGracePeriod"), Some("eviction-soft-grace-period"));
const RECLAIM: Known = known("", Some("evictionMinimumReclaim"), Some("eviction-minimum-reclaim"));
const LOG_SIZE: Known = known("", Some("containerLogMaxSize"), Some("container-log-max-size"));
const LOG_FILES: Known = known("", Some("containerLogMaxFiles"), Some("container-log-max-files"));

/// What the kubelet goes on doing; each a paragraph.
pub(super) fn left(reader: &mut Reader<'_>, settings: &Settings) -> Vec<String> {
    let mut left = eviction(reader, settings.image_gc.high_threshold_percent);
    let size = reader.find(LOG_SIZE, values::text, String::is_empty);
    let files = reader.find(LOG_FILES, values::number, never);
    let rotation = [(size.value.is_some(), size.said), (files.value.is_some(), files.said)];
    let rotation: Vec<_> = rotation.into_iter().filter_map(|(set, said)| set.then_some(said)).collect();
    if !rotation.is_empty() {
        left.push(format!("The logs of running containers. {}: cri-gc rotates none.", rotation.join(", ")));
    }
    left.extend(reader.document.notes.iter().cloned());
    if reader.flags.is_k3s {
        left.push(
            "What k3s and rke2 set by themselves: `kubectl get --raw /api/v1/nodes/NODE/proxy/configz | cri-gc config import-kubelet \
             -` sees all of it."
                .to_owned(),
        );
    }
    let others = [("Fields", reader.document.others()), ("Flags", reader.flags.others())];
    for (what, names) in others.into_iter().filter(|(_, names)| !names.is_empty()) {
        left.push(format!(
            "{what} that were not looked at, for cri-gc has no such setting: {}.",
            names.join(", ")
        ));
    }
    left
}

/// What the kubelet's eviction manager does for lack of disk, if it does anything.
fn eviction(reader: &mut Reader<'_>, high: u8) -> Vec<String> {
    let (mut named, mut idle) = (Vec::new(), Vec::new());
    let mut first: Option<f64> = None;
    let read = |kind| move |written: Written<'_>| values::signals(kind, written);
    let hard = reader.find(HARD, read(Kind::Threshold), never);
    let soft = reader.find(SOFT, read(Kind::Threshold), never);
    let periods = reader.find(SOFT_PERIOD, read(Kind::Period), never);
    let reclaim = reader.find(RECLAIM, read(Kind::Reclaim), never);
    if let (Some(_), false) =
        (&periods.value, soft.value.iter().flatten().any(|(signal, value)| is_of_disk(signal, value)))
    {
        idle.push(
            if periods.typed { "--eviction-soft-grace-period" } else { "evictionSoftGracePeriod" }.to_owned(),
        );
    }
    let periods: Vec<_> = periods.value.unwrap_or_default();
    let lacks_period =
        |(signal, value): &&(String, String)| is_on(value) && periods.iter().all(|(of, _)| of != signal);
    if let Some((signal, _)) = soft.value.iter().flatten().find(lacks_period) {
        reader.refuse(
            &soft,
            &format!("evictionSoftGracePeriod (--eviction-soft-grace-period) has to have {signal} too"),
        );
    }
    let about_hard = match reader.document.defaults {
        _ if hard.typed => "",
        Defaults::None => "",
        Defaults::All => ", the kubelet's defaults, for no file sets it",
        Defaults::Missing => {
            ", those that are missing from the file being the kubelet's defaults by mergeDefaultEvictionSettings"
        }
        Defaults::OfK3s => ", which k3s and rke2 set",
    };
    for (known, found, begins) in [(HARD, hard, true), (SOFT, soft, true), (RECLAIM, reclaim, false)] {
        let of_disks = || found.value.iter().flatten().filter(|(signal, value)| is_of_disk(signal, value));
        let name = match (found.typed, known.flag) {
            (true, Some(flag)) => format!("--{flag}"),
            _ => known.field.unwrap_or_default().to_owned(),
        };
        if of_disks().next().is_none() {
            idle.extend(found.value.is_some().then_some(name));
            continue;
        }
        let list: Vec<_> = of_disks().map(|(signal, value)| format!("{signal} {value}")).collect();
        let about = match known.field {
            field if field == HARD.field => about_hard,
            field if field == SOFT.field => " for evictionSoftGracePeriod",
            _ => "",
        };
        named.push(format!("{name} ({}){about}", list.join(", ")));
        if begins {
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
    let acts = (!named.is_empty()).then(|| {
        format!(
            "Eviction. {}. Short of disk by these signals, the kubelet deletes dead containers and all unused images by itself; \
             nothing but the signals tells it when. {order}",
            named.join("; ")
        )
    });
    let idle = (!idle.is_empty())
        .then(|| format!("What has no signal of a disk, or none that is switched on: {}.", idle.join(", ")));
    acts.into_iter().chain(idle).collect()
}

/// Whether a signal is of a disk, and switched on.
fn is_of_disk(signal: &str, value: &str) -> bool {
    let disk = ["imagefs.", "nodefs.", "containerfs."].iter().any(|of| signal.starts_with(of));
    disk && is_on(value)
}

fn is_on(value: &str) -> bool {
    !matches!(value, "0%" | "100%")
}

/// How full a disk is when a signal for its free space is reached, if that can be told without the disk.
fn reached_at(signal: &str, value: &str) -> Option<f64> {
    let free: f64 = value.strip_suffix('%').filter(|_| signal.ends_with(".available"))?.parse().ok()?;
    (0.0..=100.0).contains(&free).then_some(100.0 - free)
}
