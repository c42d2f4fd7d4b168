//! A second formulation of the rules of docs/behaviour.md, slow and obvious: each rule is written down as its sentence stands, by
//! counting and searching through whole lists. It shares no code with the crate; what it says about the same snapshot
//! and settings has to be the same.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "test code: failing loudly is its job")]

mod images;
mod names;

use std::collections::BTreeSet;

use cri_gc_policy::{Absent, Container, ContainerState, PodState, Sandbox, SandboxState, Snapshot};
use jiff::Timestamp;

use crate::nodes::Settings;

/// What becomes of the objects of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Ids in the order of removal.
    pub remove: Vec<String>,
    /// Ids of what is removed after it, in order, because removals of other kinds make it removable.
    pub follow: Vec<String>,
    /// Ids of the others.
    pub keep: BTreeSet<String>,
}

/// What becomes of everything.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub containers: Verdict,
    pub sandboxes: Verdict,
    /// Ids are `id` and handler, with a space between.
    pub images: Verdict,
    pub bytes_to_free: u64,
    pub log_dirs: Verdict,
}

/// Decides on everything in a snapshot: first on each kind by itself, then again on what each earlier pass of a sweep leaves.
pub fn answer(node: &Snapshot, settings: &Settings) -> Answer {
    let containers = containers(node, settings);
    let mut then = node.clone();
    then.containers.retain(|container| !containers.remove.contains(&container.id.to_string()));

    let later = sandboxes(&then, settings);
    let sandboxes = sandboxes(node, settings).followed_by(&later);
    // What a sweep has seen used was used last of all.
    images::use_now(node, &mut then);
    let (images, bytes_to_free) = images::decide(node, settings);
    let images = images.followed_by(&images::decide(&then, settings).0);

    then.sandboxes.retain(|sandbox| !later.remove.contains(&sandbox.id.to_string()));
    Answer {
        containers,
        sandboxes,
        images,
        bytes_to_free,
        log_dirs: log_dirs(node).followed_by(&log_dirs(&then)),
    }
}

impl Verdict {
    /// What is removed later and not at once follows.
    fn followed_by(mut self, later: &Self) -> Self {
        self.follow = later.remove.iter().filter(|id| !self.remove.contains(id)).cloned().collect();
        self.keep.retain(|id| !self.follow.contains(id));
        self
    }
}

/// "Not known" counts as no.
fn at_least_ago(node: &Snapshot, time: Option<Timestamp>, ms: i64) -> bool {
    time.is_some_and(|time| node.taken_at.duration_since(time).as_nanos() >= i128::from(ms) * 1_000_000)
}

/// behaviour: Pods, first sentence.
fn uid_of_container<'a>(node: &'a Snapshot, container: &'a Container) -> Option<&'a str> {
    if !container.pod_uid.is_empty() {
        return Some(&container.pod_uid);
    }
    let sandbox = node.sandboxes.iter().find(|s| s.id == container.pod_sandbox_id)?;
    (!sandbox.pod_uid.is_empty()).then_some(&*sandbox.pod_uid)
}

/// behaviour: Pods, the table, for a UID.
fn state(node: &Snapshot, uid: &str) -> PodState {
    let runs = node.containers.iter().any(|container| {
        container.state == ContainerState::Running && uid_of_container(node, container) == Some(uid)
    });
    // A sandbox in an unknown state is not known to be not ready, and what is not listed of it may run.
    let ready =
        node.sandboxes.iter().any(|s| (s.state != SandboxState::NotReady || s.unlisted) && s.pod_uid == uid);
    if runs || ready {
        return PodState::Active;
    }
    let reported = match node.pods.pods.iter().find(|pod| pod.uid == uid) {
        Some(pod) => pod.state,
        None => match node.pods.absent {
            Absent::Deleted => PodState::Deleted,
            Absent::Unknown => PodState::Unknown,
        },
    };
    if reported != PodState::Active && !node.pods.synced {
        return PodState::Unknown;
    }
    reported
}

/// behaviour: Pods, the table, last column.
fn runtime_objects_may_be_removed(node: &Snapshot, settings: &Settings, uid: &str) -> bool {
    match state(node, uid) {
        PodState::Active | PodState::Unknown => false,
        PodState::Terminated => settings.evict_terminated_pods,
        PodState::Evicted | PodState::Deleted => true,
    }
}

/// behaviour: Pods, objects of no pod. While the source is not synced nothing counts as deleted.
fn unmanaged_may_be_removed(node: &Snapshot, settings: &Settings) -> bool {
    settings.collect_unmanaged && node.pods.synced
}

/// behaviour: Dead containers, what newest means, for a pair of (created, attempt, id).
fn newer(a: (Option<Timestamp>, u32, &str), b: (Option<Timestamp>, u32, &str)) -> bool {
    if a.0 != b.0 {
        return a.0.unwrap() > b.0.unwrap();
    }
    if a.1 != b.1 {
        return a.1 > b.1;
    }
    a.2 < b.2
}

fn containers(node: &Snapshot, settings: &Settings) -> Verdict {
    // 1.
    let evictable = node.containers.iter().filter(|c| {
        c.state != ContainerState::Running
            && at_least_ago(node, c.created_at, settings.min_age)
            && (c.finished_at.is_none() || at_least_ago(node, c.finished_at, settings.min_dead_age))
            && (c.state != ContainerState::Created
                || at_least_ago(node, c.created_at, settings.created_grace))
    });

    // 2.
    let mut gone: Vec<&Container> = Vec::new();
    let mut in_limits: Vec<&Container> = Vec::new();
    for container in evictable {
        match uid_of_container(node, container) {
            None if unmanaged_may_be_removed(node, settings) => gone.push(container),
            None => {}
            Some(uid) if runtime_objects_may_be_removed(node, settings, uid) => gone.push(container),
            Some(_) => in_limits.push(container),
        }
    }
    let mut left = in_limits.clone();

    // 3.
    if let Ok(max) = usize::try_from(settings.max_per_pod_container) {
        left = newest_of_each_unit(node, &left, max);
    }
    // 4.
    if let Ok(max) = usize::try_from(settings.max_containers) {
        if left.len() > max {
            let units: BTreeSet<_> = left.iter().map(|c| unit(node, c)).collect();
            left = newest_of_each_unit(node, &left, usize::max(1, max / units.len()));
        }
        if left.len() > max {
            left = newest(&left, |_, _| true, max);
        }
    }

    gone.extend(in_limits.iter().filter(|c| !left.iter().any(|l| l.id == c.id)));
    let remove = oldest_first(gone, key_of_container);
    verdict(remove, node.containers.iter().map(|c| c.id.to_string()))
}

fn key_of_container(c: &Container) -> (Option<Timestamp>, u32, &str) {
    (c.created_at, c.attempt, &c.id)
}

fn unit<'a>(node: &'a Snapshot, c: &'a Container) -> (Option<&'a str>, &'a str) {
    (uid_of_container(node, c), &c.name)
}

fn newest_of_each_unit<'a>(node: &'a Snapshot, of: &[&'a Container], count: usize) -> Vec<&'a Container> {
    newest(of, |a, b| unit(node, a) == unit(node, b), count)
}

/// Those with fewer than `count` newer ones.
fn newest<'a>(
    of: &[&'a Container],
    same_unit: impl Fn(&'a Container, &'a Container) -> bool,
    count: usize,
) -> Vec<&'a Container> {
    let before = |c: &'a Container| {
        let newer = |o: &&&'a Container| same_unit(o, c) && newer(key_of_container(o), key_of_container(c));
        of.iter().filter(newer).count()
    };
    of.iter().copied().filter(|c| before(c) < count).collect()
}

/// Oldest first: each is after all that are older.
fn oldest_first<T>(mut gone: Vec<&T>, key: impl Fn(&T) -> (Option<Timestamp>, u32, &str)) -> Vec<&str> {
    let mut order = Vec::new();
    while !gone.is_empty() {
        let oldest = gone.iter().position(|a| gone.iter().all(|b| !newer(key(a), key(b)))).unwrap();
        order.push(key(gone.remove(oldest)).2);
    }
    order
}

fn sandboxes(node: &Snapshot, settings: &Settings) -> Verdict {
    fn key(s: &Sandbox) -> (Option<Timestamp>, u32, &str) {
        (s.created_at, s.attempt, &s.id)
    }
    let gone = node
        .sandboxes
        .iter()
        .filter(|sandbox| {
            let evictable = sandbox.state == SandboxState::NotReady
                && !sandbox.unlisted
                && !node.containers.iter().any(|c| c.pod_sandbox_id == sandbox.id)
                && at_least_ago(node, sandbox.created_at, settings.sandbox_min_age);
            if !evictable {
                return false;
            }
            if sandbox.pod_uid.is_empty() {
                return unmanaged_may_be_removed(node, settings);
            }
            // One whose age is unknown may be older or newer, so it does not show that another is not the newest.
            let newest = !node.sandboxes.iter().any(|other| {
                other.pod_uid == sandbox.pod_uid
                    && other.created_at.is_some()
                    && newer(key(other), key(sandbox))
            });
            runtime_objects_may_be_removed(node, settings, &sandbox.pod_uid) || !newest
        })
        .collect();
    let remove = oldest_first(gone, key);
    verdict(remove, node.sandboxes.iter().map(|s| s.id.to_string()))
}

fn log_dirs(node: &Snapshot) -> Verdict {
    let mut gone: Vec<&str> = node
        .log_dirs
        .iter()
        .filter(|name| {
            names::uid_of_log_dir(name).is_some_and(|uid| {
                let gone = matches!(state(node, uid), PodState::Deleted | PodState::Evicted);
                let sandbox = node.sandboxes.iter().any(|sandbox| sandbox.pod_uid == uid);
                let container = node.containers.iter().any(|c| uid_of_container(node, c) == Some(uid));
                gone && !sandbox && !container
            })
        })
        .map(String::as_str)
        .collect();
    // docs/behaviour.md gives no order; by name is one that doesn't depend on the order of the list.
    gone.sort_unstable();
    verdict(gone, node.log_dirs.iter().cloned())
}

fn verdict(remove: Vec<&str>, all: impl Iterator<Item = String>) -> Verdict {
    let remove: Vec<String> = remove.into_iter().map(str::to_owned).collect();
    let keep = all.filter(|id| !remove.contains(id)).collect();
    Verdict { remove, follow: Vec::new(), keep }
}
