//! `[image_gc]`: when images go, which never do, and how (spec 6).

use std::time::Duration;

use cri_gc_policy::{ImagePolicy, Pattern, Thresholds};
use serde::{Deserialize, Serialize};

use super::Mode;
use crate::forms::{duration, number, patterns};

/// Image GC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageGc {
    /// Whether plans are carried out.
    pub mode: Mode,
    /// Time from one pass to the next, at least 1s.
    #[serde(with = "duration")]
    pub period: Duration,
    /// Usage of the file system, in percent, at which images start to go; 0 to 100, 100 is off. The kubelet's setting is
    /// `imageGCHighThresholdPercent`.
    #[serde(deserialize_with = "number::deserialize")]
    pub high_threshold_percent: u8,
    /// Usage at which they stop to go; 0 to the high one. The kubelet's setting is `imageGCLowThresholdPercent`.
    #[serde(deserialize_with = "number::deserialize")]
    pub low_threshold_percent: u8,
    /// As `high_threshold_percent`, of inodes.
    #[serde(deserialize_with = "number::deserialize")]
    pub inode_high_threshold_percent: u8,
    /// As `low_threshold_percent`, of inodes.
    #[serde(deserialize_with = "number::deserialize")]
    pub inode_low_threshold_percent: u8,
    /// An image is left alone until it was first seen this long ago; 0s or more. The kubelet's setting is
    /// `imageMinimumGCAge`.
    #[serde(with = "duration")]
    pub min_age: Duration,
    /// An image unused for longer goes whatever the disk says; 0s is off. It may be below `min_age`. The kubelet's
    /// setting is `imageMaximumGCAge`.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// Images that never go.
    #[serde(with = "patterns")]
    pub protect: Vec<Pattern>,
    /// How often the file systems are looked at between passes; 0s is never.
    #[serde(with = "duration")]
    pub pressure_poll: Duration,
    /// How long the runtime may take to give space back after a removal; 0s or more.
    #[serde(with = "duration")]
    pub settle: Duration,
    /// Removals in flight at one time, 1 to 64.
    #[serde(deserialize_with = "number::deserialize")]
    pub parallel_removals: u8,
    /// The time that one pass may take, at least 1s.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

impl Default for ImageGc {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            period: Duration::from_secs(5 * 60),
            high_threshold_percent: 85,
            low_threshold_percent: 80,
            inode_high_threshold_percent: 100,
            inode_low_threshold_percent: 100,
            min_age: Duration::from_secs(2 * 60),
            max_age: Duration::ZERO,
            protect: Vec::new(),
            pressure_poll: Duration::from_secs(5),
            settle: Duration::from_secs(2),
            parallel_removals: 2,
            deadline: Duration::from_secs(10 * 60),
        }
    }
}

impl ImageGc {
    /// What the decision follows.
    #[must_use]
    pub fn policy(&self) -> ImagePolicy {
        ImagePolicy {
            bytes: Thresholds {
                high_percent: self.high_threshold_percent,
                low_percent: self.low_threshold_percent,
            },
            inodes: Thresholds {
                high_percent: self.inode_high_threshold_percent,
                low_percent: self.inode_low_threshold_percent,
            },
            min_age: self.min_age,
            max_age: self.max_age,
            protect: self.protect.clone(),
        }
    }

    /// How often the file systems are looked at between passes; `None` is never.
    #[must_use]
    pub fn pressure_poll(&self) -> Option<Duration> {
        (!self.pressure_poll.is_zero()).then_some(self.pressure_poll)
    }
}
