//! The settings of a random case, as plain numbers and texts that are easy to print and to read.
//!
//! The crate gets them as a [`Policy`]; the oracle reads these, so that a mistake in the policy's types shows as well.

use std::time::Duration;

use cri_gc_policy::{ContainerPolicy, ImagePolicy, Policy, SandboxPolicy, Thresholds, Unmanaged};

/// Named as in the configuration. Durations are milliseconds, negative counts are "no limit".
#[derive(Debug, Clone)]
pub struct Settings {
    pub collect_unmanaged: bool,
    pub min_age: i64,
    pub min_dead_age: i64,
    pub created_grace: i64,
    pub max_per_pod_container: i64,
    pub max_containers: i64,
    pub evict_terminated_pods: bool,
    pub sandbox_min_age: i64,
    pub high: u8,
    pub low: u8,
    pub inode_high: u8,
    pub inode_low: u8,
    pub image_min_age: i64,
    pub image_max_age: i64,
    pub protect: Vec<String>,
}

impl Default for Settings {
    /// The defaults of the configuration file, which is a contract.
    fn default() -> Self {
        Self {
            collect_unmanaged: false,
            min_age: 0,
            min_dead_age: 60_000,
            created_grace: 300_000,
            max_per_pod_container: 1,
            max_containers: -1,
            evict_terminated_pods: false,
            sandbox_min_age: 0,
            high: 85,
            low: 80,
            inode_high: 100,
            inode_low: 100,
            image_min_age: 120_000,
            image_max_age: 0,
            protect: Vec::new(),
        }
    }
}

impl Settings {
    /// The same as the crate takes it.
    pub fn policy(&self) -> Policy {
        let ms = |ms: i64| Duration::from_millis(ms.try_into().unwrap());
        let thresholds = |high_percent, low_percent| Thresholds { high_percent, low_percent };
        Policy {
            unmanaged: if self.collect_unmanaged { Unmanaged::Collect } else { Unmanaged::Keep },
            containers: ContainerPolicy {
                min_age: ms(self.min_age),
                min_dead_age: ms(self.min_dead_age),
                created_grace: ms(self.created_grace),
                max_per_pod_container: usize::try_from(self.max_per_pod_container).ok(),
                max_containers: usize::try_from(self.max_containers).ok(),
                evict_terminated_pods: self.evict_terminated_pods,
            },
            sandboxes: SandboxPolicy {
                min_age: ms(self.sandbox_min_age),
                evict_terminated_pods: self.evict_terminated_pods,
            },
            images: ImagePolicy {
                bytes: thresholds(self.high, self.low),
                inodes: thresholds(self.inode_high, self.inode_low),
                min_age: ms(self.image_min_age),
                max_age: ms(self.image_max_age),
                protect: self.protect.iter().map(|text| text.parse().unwrap()).collect(),
            },
        }
    }
}
