//! What the runtime and the log directories have of each pod: the evidence that a source's list is compared with.

use std::collections::HashMap;
use std::sync::Arc;

use cri_gc_policy::log_dirs::{pod_name_of, pod_uid_of};
use cri_gc_policy::{Container, ContainerState, Sandbox, SandboxState};
use ecow::EcoString;
use jiff::Timestamp;

use cri_gc_files::scan::{Identity, LogDir};

/// What a collector saw, and asks about: all that could be listed; `log_dirs` is empty where they were not.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// All containers.
    pub containers: Arc<Vec<Arc<Container>>>,
    /// All sandboxes.
    pub sandboxes: Arc<Vec<Arc<Sandbox>>>,
    /// The log directories of pods.
    pub log_dirs: Arc<Vec<LogDir>>,
}

/// What there was at one moment, to find out whether something was there. It is in order: of the ids of 100,000 containers, a set would take
/// twice the memory.
#[derive(Debug, Clone)]
pub struct Known<T>(Arc<Vec<T>>);

impl<T: Ord> FromIterator<T> for Known<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut all: Vec<T> = all.into_iter().collect();
        all.sort_unstable();
        Self(Arc::new(all))
    }
}

impl<T: Ord> Known<T> {
    /// Whether it was there.
    #[must_use]
    pub fn contains(&self, one: &T) -> bool {
        self.0.binary_search(one).is_ok()
    }
}

/// What there is of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// Ids of its containers and sandboxes.
    pub objects: Vec<&'a EcoString>,
    /// Namespaces and names that its sandboxes and log directories say it has.
    pub names: Vec<(&'a str, &'a str)>,
    /// Ids of those of its containers that have ended: their status says when.
    pub exited: Vec<&'a EcoString>,
    /// The newest creation time of its containers and sandboxes.
    pub newest: Option<Timestamp>,
    /// Its log directories.
    pub log_dirs: Vec<Identity>,
    /// The newest change of its log directory.
    pub logs_changed: Option<Timestamp>,
    /// Whether something of it runs, or may run.
    pub runs: bool,
    /// Whether a container of it is in state UNKNOWN.
    pub unknown_container: bool,
    /// Whether the creation time of something of it is not known.
    pub undated: bool,
}

/// Sorts what was seen by pod.
#[must_use]
pub fn by_pod(seen: &Seen) -> HashMap<&str, Evidence<'_>> {
    let mut pods: HashMap<&str, Evidence<'_>> = HashMap::new();
    let uids: HashMap<&str, &str> =
        seen.sandboxes.iter().map(|sandbox| (sandbox.id.as_str(), sandbox.pod_uid.as_str())).collect();
    for sandbox in seen.sandboxes.iter().filter(|sandbox| !sandbox.pod_uid.is_empty()) {
        let pod = pods.entry(&sandbox.pod_uid).or_default();
        pod.add(&sandbox.id, sandbox.created_at);
        pod.call(&sandbox.namespace, &sandbox.name);
        pod.runs |= sandbox.state != SandboxState::NotReady;
    }
    for container in seen.containers.iter() {
        let uid = if container.pod_uid.is_empty() {
            uids.get(container.pod_sandbox_id.as_str()).copied().unwrap_or_default()
        } else {
            &container.pod_uid
        };
        if uid.is_empty() {
            continue;
        }
        let pod = pods.entry(uid).or_default();
        pod.add(&container.id, container.created_at);
        match container.state {
            ContainerState::Running => pod.runs = true,
            ContainerState::Unknown => pod.unknown_container = true,
            ContainerState::Exited => pod.exited.push(&container.id),
            ContainerState::Created => {}
        }
    }
    for dir in seen.log_dirs.iter() {
        if let Some(uid) = pod_uid_of(&dir.name) {
            let pod = pods.entry(uid).or_default();
            pod.log_dirs.push(dir.identity);
            if let Some((namespace, name)) = pod_name_of(&dir.name) {
                pod.call(namespace, name);
            }
            pod.undated |= dir.changed_at.is_none();
            pod.logs_changed = pod.logs_changed.max(dir.changed_at);
        }
    }
    pods
}

impl<'a> Evidence<'a> {
    fn call(&mut self, namespace: &'a str, name: &'a str) {
        if !namespace.is_empty() && !name.is_empty() && !self.names.contains(&(namespace, name)) {
            // Nearly always there is one; a list that grows by itself begins with four.
            self.names.reserve_exact(1);
            self.names.push((namespace, name));
        }
    }

    fn add(&mut self, id: &'a EcoString, created_at: Option<Timestamp>) {
        self.objects.push(id);
        self.undated |= created_at.is_none();
        self.newest = self.newest.max(created_at);
    }
}
