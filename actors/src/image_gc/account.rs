//! The account of a full disk: what holds the bytes that no image that may go could free (spec 6.4).

use std::fmt;

use bytesize::ByteSize;
use cri_gc_policy::{ImagePlan, Observation, Reason};

/// What holds a file system. Sizes of images are as the runtime tells them, so the account is an estimate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    missing_bytes: u64,
    missing_inodes: u64,
    mountpoints: Vec<String>,
    in_use: u64,
    protected: u64,
    too_young: u64,
    other: u64,
}

impl Account {
    /// Adds up what a plan that removes nothing more leaves.
    pub fn new(observation: &Observation, plan: &ImagePlan) -> Self {
        let (mut in_use, mut protected, mut too_young, mut all) = (0u64, 0u64, 0u64, 0u64);
        for decision in &plan.section.keep {
            let size = observation.images.get(decision.index).map_or(0, |image| image.size_bytes);
            let sum = match decision.reason {
                Reason::InUse | Reason::NamedByPod => &mut in_use,
                Reason::TooYoung => &mut too_young,
                _ => &mut protected,
            };
            *sum = sum.saturating_add(size);
            all = all.saturating_add(size);
        }
        let holding = observation.filesystems.iter().filter(|fs| fs.holds_images);
        let used: u64 =
            holding.clone().map(|fs| fs.stats.capacity_bytes.saturating_sub(fs.stats.available_bytes)).sum();
        Self {
            missing_bytes: plan.missing.bytes,
            missing_inodes: plan.missing.inodes,
            mountpoints: holding.map(|fs| fs.mountpoint.clone()).collect(),
            in_use,
            protected,
            too_young,
            other: used.saturating_sub(all),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FreeDiskSpaceFailed: ")?;
        if self.missing_bytes > 0 {
            write!(f, "{} more should be free ", ByteSize(self.missing_bytes))?;
        } else {
            write!(f, "{} more inodes should be free ", self.missing_inodes)?;
        }
        write!(
            f,
            "on the file system of {}, and no image that may go is left: images in use hold {}, protected ones {}, ones \
             younger than min_age {}; {} there belong to no image",
            self.mountpoints.join(", "),
            ByteSize(self.in_use),
            ByteSize(self.protected),
            ByteSize(self.too_young),
            ByteSize(self.other)
        )
    }
}
