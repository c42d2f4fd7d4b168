//! `[container_gc]`: which dead containers go, and how (spec 3).

use std::time::Duration;

use cri_gc_policy::ContainerPolicy;
use serde::{Deserialize, Serialize};

use super::Mode;
use crate::forms::{duration, number};

/// Container GC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerGc {
    /// Whether plans are carried out.
    pub mode: Mode,
    /// Time from one pass to the next, at least 1s.
    #[serde(with = "duration")]
    pub period: Duration,
    /// A container is left alone until it was created this long ago; 0s or more. The kubelet's flag is
    /// `--minimum-container-ttl-duration`.
    #[serde(with = "duration")]
    pub min_age: Duration,
    /// A container is left alone until it finished this long ago; 0s or more.
    #[serde(with = "duration")]
    pub min_dead_age: Duration,
    /// A container that was never started is left alone until it was created this long ago; 0s or more.
    #[serde(with = "duration")]
    pub created_grace: Duration,
    /// Dead containers kept for each container of a pod; -1 is no limit, see [`ContainerGc::unit_limit`]. The kubelet's
    /// flag is `--maximum-dead-containers-per-container`.
    #[serde(deserialize_with = "number::deserialize")]
    pub max_per_pod_container: i64,
    /// Dead containers kept on the node; -1 is no limit, see [`ContainerGc::node_limit`]. The kubelet's flag is
    /// `--maximum-dead-containers`.
    #[serde(deserialize_with = "number::deserialize")]
    pub max_containers: i64,
    /// Whether the containers and sandboxes of finished pods go as those of deleted pods do.
    pub evict_terminated_pods: bool,
    /// How long a container in state UNKNOWN is given to stop before it is removed; 0s or more.
    #[serde(with = "duration")]
    pub stop_timeout: Duration,
    /// Removals in flight at one time, 1 to 64.
    #[serde(deserialize_with = "number::deserialize")]
    pub parallel_removals: u8,
    /// The time that one pass may take, at least 1s.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

impl Default for ContainerGc {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            period: Duration::from_secs(60),
            min_age: Duration::ZERO,
            min_dead_age: Duration::from_secs(60),
            created_grace: Duration::from_secs(5 * 60),
            max_per_pod_container: 1,
            max_containers: -1,
            evict_terminated_pods: false,
            stop_timeout: Duration::from_secs(30),
            parallel_removals: 4,
            deadline: Duration::from_secs(5 * 60),
        }
    }
}

impl ContainerGc {
    /// Dead containers kept for each container of a pod; `None` is no limit.
    #[must_use]
    pub fn unit_limit(&self) -> Option<usize> {
        super::limit(self.max_per_pod_container)
    }

    /// Dead containers kept on the node; `None` is no limit.
    #[must_use]
    pub fn node_limit(&self) -> Option<usize> {
        super::limit(self.max_containers)
    }

    /// What the decision follows.
    #[must_use]
    pub fn policy(&self) -> ContainerPolicy {
        ContainerPolicy {
            min_age: self.min_age,
            min_dead_age: self.min_dead_age,
            created_grace: self.created_grace,
            max_per_pod_container: self.unit_limit(),
            max_containers: self.node_limit(),
            evict_terminated_pods: self.evict_terminated_pods,
        }
    }
}
