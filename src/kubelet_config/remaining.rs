//! What the kubelet still does by itself, whatever is set here: for the comments. This module must not change a setting.

use super::known::{HARD, Known, LOG_FILES, LOG_SIZE, RECLAIM, SOFT, SOFT_PERIOD};
use super::kubelet::{Found, Kubelet};
use super::values::pairs;

/// What the kubelet still does; each a paragraph. `high` is the threshold at which cri-gc begins to remove images.
pub(super) fn remaining(kubelet: &mut Kubelet<'_>, high: u8) -> Vec<String> {
    let mut remaining = eviction(kubelet, high);
    let rotation = [&LOG_SIZE, &LOG_FILES].map(|known| kubelet.find(known));
    let rotation: Vec<_> =
        rotation.into_iter().filter(|found| found.value.is_some()).map(|found| found.origin).collect();
    if !rotation.is_empty() {
        remaining
            .push(format!("The logs of running containers. {}: cri-gc rotates none.", rotation.join(", ")));
    }
    remaining.append(&mut kubelet.notes);
    if kubelet.flags.is_k3s {
        remaining.push(
            "What k3s and rke2 set by themselves: `kubectl get --raw /api/v1/nodes/NODE/proxy/configz | cri-gc config import-kubelet \
             -` reads all of it."
                .to_owned(),
        );
    }
    for (what, names) in [("Fields", kubelet.others()), ("Flags", kubelet.flags.names(false))] {
        if !names.is_empty() {
            let names = names.join(", ");
            remaining.push(format!("{what} that were ignored, because cri-gc has no such setting: {names}."));
        }
    }
    remaining
}

/// What the kubelet's eviction manager does for lack of disk, if it does anything.
fn eviction(kubelet: &mut Kubelet<'_>, high: u8) -> Vec<String> {
    let [hard, soft, periods, reclaim] =
        [&HARD, &SOFT, &SOFT_PERIOD, &RECLAIM].map(|known| kubelet.find(known));
    let has_period = |signal: &str| signals(&periods).any(|(other, _)| other == signal);
    if let Some((signal, _)) = signals(&soft).find(|(signal, value)| is_on(value) && !has_period(signal)) {
        let what =
            format!("evictionSoftGracePeriod (--eviction-soft-grace-period) has to have {signal}, too");
        kubelet.bad.push(soft.bad(&what));
    }
    let about_hard = if hard.is_flag { "" } else { kubelet.about_hard };
    let name = |known: &Known, found: &Found| match (&found.value, found.is_flag) {
        (None, _) => None,
        (_, true) => Some(format!("--{}", known.flag)),
        (_, false) => Some(known.field.to_owned()),
    };
    let (mut acting, mut idle) = (Vec::new(), Vec::new());
    for (known, found, about) in
        [(&HARD, &hard, about_hard), (&SOFT, &soft, " for evictionSoftGracePeriod"), (&RECLAIM, &reclaim, "")]
    {
        let list: Vec<_> = of_disks(found).map(|(signal, value)| format!("{signal} {value}")).collect();
        match name(known, found) {
            Some(name) if !list.is_empty() => acting.push(format!("{name} ({}){about}", list.join(", "))),
            unused => idle.extend(unused),
        }
        // The periods are for the signals of evictionSoft.
        if list.is_empty() && known.field == SOFT.field {
            idle.extend(name(&SOFT_PERIOD, &periods));
        }
    }
    let mut remaining = Vec::new();
    if !acting.is_empty() {
        // What is reclaimed begins nothing.
        let begin = of_disks(&hard).chain(of_disks(&soft));
        let order = match begin.filter_map(reached_at).min_by(f64::total_cmp) {
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

fn signals(found: &Found) -> impl Iterator<Item = (&str, &str)> {
    pairs(found.value.as_deref().unwrap_or_default())
}

/// The signals of disks that are not switched off.
fn of_disks(found: &Found) -> impl Iterator<Item = (&str, &str)> {
    let disks = ["imagefs.", "nodefs.", "containerfs."];
    signals(found)
        .filter(move |(signal, value)| disks.iter().any(|disk| signal.starts_with(disk)) && is_on(value))
}

fn is_on(value: &str) -> bool {
    !matches!(value, "0%" | "100%")
}

/// How full a disk is when a signal for its free space is reached, if that is known without the disk.
fn reached_at((signal, value): (&str, &str)) -> Option<f64> {
    let free: f64 = value.strip_suffix('%').filter(|_| signal.ends_with(".available"))?.parse().ok()?;
    (0.0..=100.0).contains(&free).then_some(100.0 - free)
}
