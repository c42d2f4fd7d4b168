//! Images, as a snapshot plan has them (behaviour: Images; behaviour: Snapshots).

use cri_gc_policy::snapshot::{Holds, Snapshot, SnapshotFileSystem};
use cri_gc_policy::{Image, PodState};
use jiff::{SignedDuration, Timestamp};

use super::{Verdict, at_least_ago, names, state, verdict};
use crate::nodes::Settings;

pub fn decide(node: &Snapshot, settings: &Settings) -> (Verdict, u64) {
    let mut may_be_removed: Vec<&Image> = node
        .images
        .iter()
        // A runtime removes by id, so that of an image with several handlers all copies are removed together or none.
        .filter(|image| {
            let mut copies = node.images.iter().filter(|copy| copy.id == image.id);
            !copies.any(|copy| is_kept(node, settings, copy))
        })
        // What is first seen now has been detected now; passed over is what is younger than min_age.
        .filter(|image| at_least_ago(node, first_detected(node, image), settings.image_min_age))
        .collect();
    // 3. Eviction order; an image of two handlers has one id.
    may_be_removed.sort_by_key(|image| {
        (image.last_used, first_detected(node, image), image.id.clone(), image.runtime_handler.clone())
    });

    // 1. Age: unused for longer.
    let (mut gone, rest): (Vec<_>, Vec<_>) = may_be_removed.into_iter().partition(|image| {
        let since = image.last_used.or(first_detected(node, image));
        settings.image_max_age > 0
            && at_least_ago(node, since, settings.image_max_age)
            && !at_exactly(node, since, settings.image_max_age)
    });

    // 2. Space, judged as if the images of rule 1 were removed. Which filesystem they lie on is not known, so each is judged as if
    // they lay there.
    let aged: u128 = gone.iter().map(|image| u128::from(image.size_bytes)).sum();
    let missing = |high, low, aged: u128, of: &dyn Fn(&SnapshotFileSystem) -> (u64, u64)| -> u128 {
        image_filesystems(node)
            // A capacity of 0 is an error: the other numbers of such a filesystem are not believed either.
            .filter(|fs| fs.capacity_bytes > 0)
            .map(|fs| {
                let (capacity, available) = of(fs);
                to_free(capacity.into(), u128::from(available) + aged, high, low)
            })
            .sum()
    };
    let bytes = missing(settings.high, settings.low, aged, &|fs| (fs.capacity_bytes, fs.available_bytes));
    let inodes = missing(settings.inode_high, settings.inode_low, 0, &|fs| (fs.inodes, fs.inodes_free));
    for image in rest {
        let sizes: u128 = gone.iter().map(|image| u128::from(image.size_bytes)).sum();
        let freed = sizes - aged;
        // Nothing reports how many inodes an image has: each removal is followed by a measurement.
        if freed < bytes || (inodes > 0 && gone.is_empty()) {
            gone.push(image);
        }
    }

    let named = |image: &Image| format!("{} {}", image.id, image.runtime_handler);
    let remove: Vec<String> = gone.into_iter().map(named).collect();
    let verdict = verdict(remove.iter().map(String::as_str).collect(), node.images.iter().map(named));
    (verdict, u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// On `then`, which is to come after `node`, whatever a container of `node` uses was used later than all else.
pub fn use_now(node: &Snapshot, then: &mut Snapshot) {
    let latest = then.images.iter().filter_map(|image| image.last_used).chain([node.taken_at]).max().unwrap();
    for image in &mut then.images {
        let copies = node.images.iter().filter(|copy| copy.id == image.id);
        if copies.into_iter().any(|copy| is_used(node, copy)) {
            image.last_used = Some(latest + SignedDuration::from_nanos(1));
        }
    }
}

fn first_detected(node: &Snapshot, image: &Image) -> Option<Timestamp> {
    image.first_detected.or(Some(node.taken_at))
}

fn at_exactly(node: &Snapshot, time: Option<Timestamp>, ms: i64) -> bool {
    time.is_some_and(|time| node.taken_at.duration_since(time).as_nanos() == i128::from(ms) * 1_000_000)
}

/// Each filesystem that images lie on, once.
fn image_filesystems(node: &Snapshot) -> impl Iterator<Item = &SnapshotFileSystem> {
    node.filesystems.iter().enumerate().filter_map(|(i, fs)| {
        let holds_images = |fs: &SnapshotFileSystem| fs.holds.contains(&Holds::Images);
        let before = node.filesystems.iter().take(i);
        let known = before.filter(|other| holds_images(other)).any(|other| other.mountpoint == fs.mountpoint);
        (holds_images(fs) && !known).then_some(fs)
    })
}

fn to_free(capacity: u128, available: u128, high: u8, low: u8) -> u128 {
    if capacity == 0 || high == 100 {
        return 0;
    }
    let available = available.min(capacity);
    let usage = 100 - available * 100 / capacity;
    if usage < u128::from(high) {
        return 0;
    }
    (capacity * (100 - u128::from(low)) / 100).saturating_sub(available)
}

/// A container in any state uses it.
fn is_used(node: &Snapshot, image: &Image) -> bool {
    let listed = |text: &str| node.images.iter().any(|other| is_called(other, text));
    node.containers.iter().any(|container| {
        let resolved = is_called(image, &container.image_id) || is_called(image, &container.image_ref);
        // The name in its spec counts only where neither of the two is a listed image.
        let unresolved = !listed(&container.image_id) && !listed(&container.image_ref);
        let mounted = container.image_volumes.iter().any(|volume| is_called(image, volume));
        resolved || mounted || (unresolved && is_called(image, &container.image))
    })
}

fn is_called(image: &Image, text: &str) -> bool {
    let mut names = image.repo_tags.iter().chain(&image.repo_digests);
    !text.is_empty() && (text == image.id || names.any(|name| same(name, text)))
}

/// Whether two full names name the same image: the same tag, or the same digest in whatever repository.
fn same(a: &str, b: &str) -> bool {
    let digest = |name: &str| name.split_once('@').map(|(_, digest)| digest.to_owned());
    a == b || (digest(a).is_some() && digest(a) == digest(b))
}

/// Used, pinned, protected, or what the runtime makes sandboxes of.
fn is_kept(node: &Snapshot, settings: &Settings, image: &Image) -> bool {
    let names: Vec<String> = image.repo_tags.iter().chain(&image.repo_digests).cloned().collect();
    // Nothing is confirmed about a pod in state unknown: it may be active.
    let named_by_pod = node.pods.pods.iter().any(|pod| {
        let state = state(node, &pod.uid);
        let may_run = [PodState::Active, PodState::Unknown].contains(&state);
        may_run && pod.images.iter().any(|name| is_called(image, name))
    });
    let protected = settings.protect.iter().any(|pattern| names::protects(pattern, &image.id, &names));
    let sandboxes = is_called(image, &node.runtime.sandbox_image);
    let unknown = !node.image_uses_unknown.is_empty();
    let kept = unknown || image.pinned || protected || image.in_use_elsewhere || sandboxes;
    is_used(node, image) || named_by_pod || kept
}
