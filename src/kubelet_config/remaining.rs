//! What the kubelet still does by itself, whatever is set here: for the comments.

use super::known::{HARD, Known, LOG_FILES, LOG_SIZE, RECLAIM, SOFT, SOFT_PERIOD};
use super::reader::{Found, Reader};
use super::values::pairs;

/// What the kubelet still does; each a paragraph. `high` is the threshold at which cri-gc begins to remove images.
pub(super) fn remaining(reader: &mut Reader<'_>, high: u8) -> Vec<String> {
    let mut remaining = eviction(reader, high);
    let rotation = [reader.find(&LOG_SIZE), reader.find(&LOG_FILES)];
    let rotation: Vec<_> =
        rotation.into_iter().filter_map(|found| found.value.is_some().then_some(found.origin)).collect();
    if !rotation.is_empty() {
        remaining
            .push(format!("The logs of running containers. {}: cri-gc rotates none.", rotation.join(", ")));
    }
    remaining.extend(reader.document.notes.iter().cloned());
    if reader.flags.is_k3s {
        remaining.push(
            "What k3s and rke2 set by themselves: `kubectl get --raw /api/v1/nodes/NODE/proxy/configz | cri-gc config import-kubelet \
             -` reads all of it."
                .to_owned(),
        );
    }
    for (what, names) in [("Fields", reader.document.others()), ("Flags", reader.flags.names(false))] {
        if !names.is_empty() {
            remaining.push(format!(
                "{what} that were ignored, because cri-gc has no such setting: {}.",
                names.join(", ")
            ));
        }
    }
    remaining
}

/// What the kubelet's eviction manager does for lack of disk, if it does anything.
fn eviction(reader: &mut Reader<'_>, high: u8) -> Vec<String> {
    let [hard, soft, periods, reclaim] = [HARD, SOFT, SOFT_PERIOD, RECLAIM].map(|known| reader.find(&known));
    let value = |found: &Found| found.value.clone().unwrap_or_default();
    let (soft_signals, period_signals) = (value(&soft), value(&periods));
    let has_period = |signal: &str| pairs(&period_signals).any(|(other, _)| other == signal);
    if let Some((signal, _)) =
        pairs(&soft_signals).find(|(signal, value)| is_on(value) && !has_period(signal))
    {
        let what =
            format!("evictionSoftGracePeriod (--eviction-soft-grace-period) has to have {signal}, too");
        reader.bad.push(soft.bad(&what));
    }
    let about_hard = if hard.is_flag { "" } else { reader.document.about_hard };
    let name = |known: &Known, found: &Found| {
        if found.is_flag { format!("--{}", known.flag) } else { known.field.to_owned() }
    };
    let (mut acting, mut idle) = (Vec::new(), Vec::new());
    let mut first: Option<f64> = None;
    for (known, found, begins, about) in [
        (&HARD, &hard, true, about_hard),
        (&SOFT, &soft, true, " for evictionSoftGracePeriod"),
        (&RECLAIM, &reclaim, false, ""),
    ] {
        let signals = value(found);
        let of_disks: Vec<_> =
            pairs(&signals).filter(|(signal, value)| is_of_disk(signal) && is_on(value)).collect();
        if of_disks.is_empty() {
            idle.extend(found.value.as_ref().map(|_| name(known, found)));
            // The periods are for the signals of evictionSoft.
            if known.field == SOFT.field {
                idle.extend(periods.value.as_ref().map(|_| name(&SOFT_PERIOD, &periods)));
            }
            continue;
        }
        let list: Vec<_> = of_disks.iter().map(|(signal, value)| format!("{signal} {value}")).collect();
        acting.push(format!("{} ({}){about}", name(known, found), list.join(", ")));
        if begins {
            let reached = of_disks.iter().filter_map(|(signal, value)| reached_at(signal, value));
            first = reached.chain(first).min_by(f64::total_cmp);
        }
    }
    let mut remaining = Vec::new();
    if !acting.is_empty() {
        let order = match first {
            Some(used) if f64::from(high) < used => format!(
                "The kubelet starts evicting at {used}% usage; cri-gc starts before, at image_gc.high_threshold_percent = {high}."
            ),
            Some(used) => format!(
                "The kubelet starts evicting at {used}% usage: set image_gc.high_threshold_percent = {high} some points below \
                 that, else the kubelet removes images first."
            ),
            None => format!("image_gc.high_threshold_percent = {high} should be reached before them."),
        };
        remaining.push(format!(
            "Eviction. {}. Short of disk by these signals, the kubelet removes dead containers and all unused images by itself, \
             and only these signals decide when. {order}",
            acting.join("; ")
        ));
    }
    if !idle.is_empty() {
        remaining.push(format!("Not about disks, or off: {}.", idle.join(", ")));
    }
    remaining
}

fn is_of_disk(signal: &str) -> bool {
    ["imagefs.", "nodefs.", "containerfs."].iter().any(|disk| signal.starts_with(disk))
}

fn is_on(value: &str) -> bool {
    !matches!(value, "0%" | "100%")
}

/// How full a disk is when a signal for its free space is reached, if that is known without the disk.
fn reached_at(signal: &str, value: &str) -> Option<f64> {
    let free: f64 = value.strip_suffix('%').filter(|_| signal.ends_with(".available"))?.parse().ok()?;
    (0.0..=100.0).contains(&free).then_some(100.0 - free)
}
