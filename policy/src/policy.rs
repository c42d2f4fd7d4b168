//! What the operator wants: the values that the decisions follow, one struct for each collector.
//!
//! These hold only what a decision needs. Periods, deadlines, modes and paths are settings of the service
//! (`cri-gc-config`) and never reach a decision.

use std::time::Duration;

use crate::protect::Pattern;

/// Everything a plan follows (docs/behaviour.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What is done with objects that belong to no pod (behaviour: Pods).
    pub unmanaged: Unmanaged,
    /// Container GC (behaviour: Dead containers).
    pub containers: ContainerPolicy,
    /// Sandbox reaping (behaviour: Sandboxes).
    pub sandboxes: SandboxPolicy,
    /// Image GC (behaviour: Images).
    pub images: ImagePolicy,
}

/// What is done with objects that belong to no pod: containers and sandboxes without a pod UID (behaviour: Pods).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmanaged {
    /// They are in no evict unit, count towards no limit, and are kept.
    Keep,
    /// They count as objects of a deleted pod. What is running or ready is kept, as everywhere.
    Collect,
}

/// How many dead containers are kept, and for how long (behaviour: Dead containers; the kubelet's `--maximum-dead-containers` flags).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPolicy {
    /// A container is left alone until it was created this long ago.
    pub min_age: Duration,
    /// A container that is known to have finished is left alone until that is this long ago.
    pub min_dead_age: Duration,
    /// A container in state CREATED is left alone until it was created this long ago: it may be about to start.
    pub created_grace: Duration,
    /// Dead containers kept in each evict unit; `None` is no limit.
    pub max_per_pod_container: Option<usize>,
    /// Dead containers kept on the node; `None` is no limit.
    pub max_containers: Option<usize>,
    /// Whether the runtime objects of pods that finished (phase Succeeded or Failed) are removed as those of deleted pods.
    pub evict_terminated_pods: bool,
}

/// Which sandboxes may be removed (behaviour: Sandboxes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxPolicy {
    /// A sandbox is left alone until it was created this long ago.
    pub min_age: Duration,
    /// As in [`ContainerPolicy::evict_terminated_pods`], whose setting it shares.
    pub evict_terminated_pods: bool,
}

/// When images are removed, and which never are (behaviour: Images; the kubelet's `imageGC*` settings).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Space: at or over the high threshold images are removed until usage is at the low one.
    pub bytes: Thresholds,
    /// The same for inodes; off by default.
    pub inodes: Thresholds,
    /// An image is left alone until it was first seen this long ago.
    pub min_age: Duration,
    /// An image unused for longer is removed whatever the disk usage; zero is off.
    pub max_age: Duration,
    /// Images that are never removed.
    pub protect: Vec<Pattern>,
}

impl ImagePolicy {
    /// Whether image GC is switched off as a whole: nothing could ever trigger it (behaviour: Images).
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.bytes.is_off() && self.inodes.is_off() && self.max_age.is_zero()
    }
}

/// Two usage percentages, 0 to 100, of a filesystem: where collection starts, and where it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Usage at which removal of images starts; 100 never triggers.
    pub high_percent: u8,
    /// Usage at which it stops; not over `high_percent`.
    pub low_percent: u8,
}

impl Thresholds {
    /// Whether these thresholds never trigger.
    #[must_use]
    pub fn is_off(self) -> bool {
        self.high_percent >= 100
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The defaults of the configuration.
    pub(crate) fn policy() -> Policy {
        Policy {
            unmanaged: Unmanaged::Keep,
            containers: ContainerPolicy {
                min_age: Duration::ZERO,
                min_dead_age: Duration::from_secs(60),
                created_grace: Duration::from_secs(5 * 60),
                max_per_pod_container: Some(1),
                max_containers: None,
                evict_terminated_pods: false,
            },
            sandboxes: SandboxPolicy { min_age: Duration::ZERO, evict_terminated_pods: false },
            images: ImagePolicy {
                bytes: Thresholds { high_percent: 85, low_percent: 80 },
                inodes: Thresholds { high_percent: 100, low_percent: 100 },
                min_age: Duration::from_secs(2 * 60),
                max_age: Duration::ZERO,
                protect: Vec::new(),
            },
        }
    }
}
