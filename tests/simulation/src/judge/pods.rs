//! When a pod is gone, as far as its source says (behaviour: Pods, Confirmed deletion).

use std::collections::HashMap;
use std::time::Duration;

use cri_gc_config::{PodSource, Settings};
use cri_gc_kit::seams::STEP;
use cri_gc_sim::{ContainerState, Node, SandboxState, Sim};

use super::State;

/// How far a pod has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Running,
    Succeeded,
    Failed,
    Evicted,
    Deleted,
}

/// A list of pods as it was written into the file.
#[derive(Debug)]
pub struct Version {
    /// When, in the time since the start of the run.
    at: Duration,
    /// By UID: the phase, and the image of the container. `None` for a file that can't be read.
    content: Option<HashMap<String, (Phase, String)>>,
}

impl Version {
    pub fn new(sim: &Sim, content: Option<HashMap<String, (Phase, String)>>) -> Self {
        Self { at: sim.uptime(), content }
    }
}

/// How old a reading of the file may be: it is read every 10 seconds.
const READ_WITHIN: Duration = Duration::from_secs(15);

/// How much older where a pass waits for the runtime between its plan and a removal.
const LATE: Duration = Duration::from_secs(60);

/// How old what the service knows of the node may be.
const PASSES: Duration = Duration::from_secs(130);

/// Between two lists that prove something.
const APART: Duration = Duration::from_secs(2);

impl State {
    /// Whether everything of that pod may be removed.
    pub(super) fn is_gone(&self, node: &Node, settings: &Settings, uid: &str) -> Result<(), String> {
        if node.pod_runs(uid) {
            return Err("something of its pod runs".to_owned());
        }
        match self.source {
            PodSource::File => self.is_gone_from_file(node, settings, uid),
            _ => self.is_idle(node, settings, uid),
        }
    }

    /// By the source `runtime`: nothing of it has run for the grace, which begins with the service.
    fn is_idle(&self, node: &Node, settings: &Settings, uid: &str) -> Result<(), String> {
        let grace = settings.pods.runtime_grace;
        // A clock that was set by less than that is not noticed.
        let lived = self.sim.uptime().saturating_sub(self.life.since) + STEP.unsigned_abs();
        let mut times = Vec::new();
        for sandbox in node.sandboxes().filter(|sandbox| sandbox.spec.uid == uid) {
            times.push((sandbox.created_at, self.appeared.get(&sandbox.id)));
        }
        for container in node.containers().filter(|container| node.pod_of(container) == uid) {
            if container.spec.state == ContainerState::Unknown {
                return Err(format!("the state of container {} of its pod is unknown", container.id));
            }
            times.push((container.created_at, self.appeared.get(&container.id)));
            let ended = container.spec.finished_at.filter(|_| !self.stopped.contains(&container.id));
            times.extend(ended.map(|ended| (ended, self.ended.get(&container.id))));
        }
        if lived < grace {
            return Err(format!(
                "its pod exists: the service runs only since {lived:?}, less than the grace {grace:?}"
            ));
        }
        match times.into_iter().find(|(wall, truly)| self.is_young(node, *wall, *truly, grace)) {
            Some((time, _)) => {
                Err(format!("its pod exists: something of it lived at {time}, less than {grace:?} ago"))
            }
            None => Ok(()),
        }
    }

    /// By the source `file`: the file says that it is evicted, or no longer lists it.
    fn is_gone_from_file(&self, node: &Node, settings: &Settings, uid: &str) -> Result<(), String> {
        let listed = self.recent_versions().filter_map(|version| version.content.as_ref());
        let mut phases = listed.filter_map(|content| content.get(uid).map(|(phase, _)| *phase));
        let evicts = settings.container_gc.evict_terminated_pods;
        if phases.any(|phase| match phase {
            Phase::Evicted => true,
            Phase::Succeeded | Phase::Failed => evicts,
            Phase::Running | Phase::Deleted => false,
        }) {
            return Ok(());
        }
        let now = self.sim.uptime();
        let stale = settings.pods.max_staleness + READ_WITHIN;
        let lacks = |version: &&Version| version.content.as_ref().is_some_and(|pods| !pods.contains_key(uid));
        // What is of the pod was there before both lists were written.
        let newest = self.newest_of(node, uid);
        let proves = |version: &&Version| {
            lacks(version) && version.at >= newest && now.saturating_sub(version.at) <= stale
        };
        let Some(last) = self.recent_versions().filter(proves).last() else {
            return Err("its pod is not known to be deleted: no recent list of pods lacks it".to_owned());
        };
        let until = self.until(last).unwrap_or(now);
        // Two readings of a list that lacks it, one after the other: of this version, or of it and one before.
        let twice = until.saturating_sub(last.at) >= APART
            || self
                .versions
                .iter()
                .filter(lacks)
                .any(|version| version.at + APART <= until && version.at >= newest);
        if !twice {
            return Err("its pod is not known to be deleted: only one list of pods lacks it".to_owned());
        }
        self.is_of_this_node(node)
    }

    /// A list that knows none of the pods that are ready here is that of another node. What the service knows of those is a pass old.
    fn is_of_this_node(&self, node: &Node) -> Result<(), String> {
        let now = self.sim.uptime();
        let passes = PASSES + 3 * self.late();
        let mut known = self.ready.iter().filter(|(_, (_, until))| now.saturating_sub(*until) <= passes);
        // One that has only just become ready may not be known to the writer of the list.
        let is_ready = |(uid, (since, _)): (&String, &(Duration, Duration))| {
            let sandboxes = node.sandboxes().filter(|sandbox| sandbox.spec.uid == *uid);
            let ready = sandboxes.filter(|sandbox| sandbox.spec.state == SandboxState::Ready).count();
            ready > 0 && now.saturating_sub(*since) > PASSES
        };
        let listed = |uid: &String| {
            let mut lists = self.recent_versions().filter_map(|version| version.content.as_ref());
            lists.any(|pods| pods.contains_key(uid))
        };
        if self.ready.iter().any(is_ready) && !known.any(|(uid, _)| listed(uid)) {
            return Err("the list of pods knows none of the pods that are ready here".to_owned());
        }
        Ok(())
    }

    /// Notes which pods are ready.
    pub(super) fn note_ready(&mut self, node: &Node) {
        let now = self.sim.uptime();
        for sandbox in node.sandboxes().filter(|sandbox| sandbox.spec.state == SandboxState::Ready) {
            let seen = self.ready.entry(sandbox.spec.uid.clone()).or_insert((now, now));
            seen.1 = now;
        }
    }

    /// How much later than its plan a removal may come.
    fn late(&self) -> Duration {
        if self.sim.uptime() <= self.slow_until + LATE { LATE } else { Duration::ZERO }
    }

    /// The versions that the newest reading may be of: those that were in the file within the time of a reading.
    fn recent_versions(&self) -> impl Iterator<Item = &Version> {
        let from = self.sim.uptime().saturating_sub(READ_WITHIN + self.late() + self.since_look);
        self.versions.iter().filter(move |version| self.until(version).is_none_or(|until| until >= from))
    }

    /// When a version was replaced by the next.
    fn until(&self, version: &Version) -> Option<Duration> {
        let next = self.versions.partition_point(|other| other.at <= version.at);
        self.versions.get(next).map(|next| next.at)
    }

    /// When the newest object of a pod came to the node.
    fn newest_of(&self, node: &Node, uid: &str) -> Duration {
        let sandboxes = node.sandboxes().filter(|sandbox| sandbox.spec.uid == uid).map(|sandbox| &sandbox.id);
        let containers = node.containers().filter(|container| node.pod_of(container) == uid);
        let ids = sandboxes.chain(containers.map(|container| &container.id));
        ids.filter_map(|id| self.appeared.get(id)).max().copied().unwrap_or_default()
    }

    /// Whether an image is named by a pod that is not finished, as every recent list says.
    pub(super) fn is_named(&self, tags: &[String]) -> bool {
        let names = |version: &Version| {
            version
                .content
                .iter()
                .flat_map(HashMap::values)
                .any(|(phase, image)| *phase == Phase::Running && tags.contains(image))
        };
        let mut recent = self.recent_versions().filter(|version| version.content.is_some()).peekable();
        recent.peek().is_some() && recent.all(names)
    }
}

/// Whether that time is so long ago.
pub fn is_old(node: &Node, time: jiff::Timestamp, age: Duration) -> bool {
    time <= node.ago(age)
}
