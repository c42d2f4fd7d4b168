//! What follows from the settings for the decisions of `cri-gc-policy` and for the connection to the runtime.

use cri_gc_policy::{ContainerPolicy, ImagePolicy, Policy, SandboxPolicy, Thresholds};

use crate::choices::Unmanaged;
use crate::endpoint::Endpoint;
use crate::settings::{Runtime, Settings};

impl Settings {
    /// All settings that a plan depends on, and nothing else.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let Self { pods, container_gc, sandbox_gc, image_gc, .. } = self;
        Policy {
            unmanaged: match pods.unmanaged {
                Unmanaged::Keep => cri_gc_policy::Unmanaged::Keep,
                Unmanaged::Collect => cri_gc_policy::Unmanaged::Collect,
            },
            containers: ContainerPolicy {
                min_age: container_gc.min_age,
                min_dead_age: container_gc.min_dead_age,
                created_grace: container_gc.created_grace,
                max_per_pod_container: limit(container_gc.max_per_pod_container),
                max_containers: limit(container_gc.max_containers),
                evict_terminated_pods: container_gc.evict_terminated_pods,
            },
            sandboxes: SandboxPolicy {
                min_age: sandbox_gc.min_age,
                // One setting is for both.
                evict_terminated_pods: container_gc.evict_terminated_pods,
            },
            images: ImagePolicy {
                bytes: Thresholds {
                    high_percent: image_gc.high_threshold_percent,
                    low_percent: image_gc.low_threshold_percent,
                },
                inodes: Thresholds {
                    high_percent: image_gc.inode_high_threshold_percent,
                    low_percent: image_gc.inode_low_threshold_percent,
                },
                min_age: image_gc.min_age,
                max_age: image_gc.max_age,
                protect: image_gc.protect.clone(),
            },
        }
    }
}

impl Runtime {
    /// The socket of the image service: its own, else that of the runtime.
    #[must_use]
    pub fn image_endpoint(&self) -> &Endpoint {
        self.image_endpoint.as_ref().unwrap_or(&self.endpoint)
    }
}

/// A count in which a negative number is no limit.
fn limit(count: i64) -> Option<usize> {
    if count < 0 { None } else { Some(usize::try_from(count).unwrap_or(usize::MAX)) }
}
