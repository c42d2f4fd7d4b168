//! How much has to be freed on the image filesystems (behaviour: Image disk space).

use crate::observation::{FileSystem, FsStats, Reclaiming};
use crate::policy::{ImagePolicy, Thresholds};

/// What has to be freed to reach the low thresholds, over all image filesystems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Bytes; 0 while no filesystem is at its high threshold.
    pub bytes: u64,
    /// Inodes; 0 while no filesystem is at its high threshold.
    pub inodes: u64,
    /// Whether a filesystem is at or over a high threshold.
    pub triggered: bool,
    /// Whether at least one filesystem could be judged.
    pub known: bool,
}

impl Missing {
    /// Whether nothing has to be freed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.bytes == 0 && self.inodes == 0
    }
}

/// A filesystem whose usage is not known. Named as the kubelet names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "InvalidDiskCapacity: the image filesystem {mountpoint} reports a capacity of 0 bytes, so no image is removed there to free \
     space; check that it is mounted"
)]
pub struct FsProblem {
    /// A directory on it.
    pub mountpoint: String,
}

/// Share of a capacity that is used, in percent, rounded up as the kubelet does: `100 - available*100/capacity` in
/// integers. `available` is capped at the capacity. `None` for a capacity of 0.
#[must_use]
pub fn usage_percent(capacity: u64, available: u64) -> Option<u8> {
    let free = u128::from(available.min(capacity)) * 100 / u128::from(Some(capacity).filter(|&c| c > 0)?);
    // `free` is at most 100.
    u8::try_from(100u128.saturating_sub(free)).ok()
}

/// Whether a filesystem reports more bytes available than it has. It counts as empty then.
#[must_use]
pub fn reports_too_much(fs: &FileSystem) -> bool {
    fs.stats.capacity_bytes > 0 && fs.stats.available_bytes > fs.stats.capacity_bytes
}

/// What has to be freed to reach the low threshold, if usage is at or over the high one (or over the low one, where a pass is
/// reclaiming already).
fn to_free(capacity: u64, available: u64, thresholds: Thresholds, reclaiming: bool) -> Option<u64> {
    let from = if reclaiming { thresholds.low_percent } else { thresholds.high_percent };
    if thresholds.is_off() || usage_percent(capacity, available)? < from {
        return None;
    }
    let free_percent = u128::from(100u8.saturating_sub(thresholds.low_percent));
    let wanted = u128::from(capacity) * free_percent / 100;
    // A share of a u64 fits in one.
    Some(u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(available.min(capacity)))
}

fn bytes_to_free(fs: &FileSystem, policy: &ImagePolicy, coming: u64) -> Option<u64> {
    let FsStats { capacity_bytes, available_bytes, .. } = fs.stats;
    to_free(capacity_bytes, available_bytes.saturating_add(coming), policy.bytes, fs.reclaiming.bytes)
}

/// A filesystem without a fixed number of inodes reports 0, which is no pressure.
fn inodes_to_free(fs: &FileSystem, policy: &ImagePolicy) -> Option<u64> {
    to_free(fs.stats.inodes, fs.stats.inodes_free, policy.inodes, fs.reclaiming.inodes)
}

/// What a pass that begins now has to reclaim on a filesystem. The caller keeps this until the pass ends.
#[must_use]
pub fn reclaiming(fs: &FileSystem, policy: &ImagePolicy) -> Reclaiming {
    Reclaiming {
        bytes: fs.holds_images && bytes_to_free(fs, policy, 0).is_some(),
        inodes: fs.holds_images && inodes_to_free(fs, policy).is_some(),
    }
}

/// Adds up what has to be freed on each image filesystem. Where images and the writable layers of containers are on different
/// filesystems, removing images frees nothing for the containers, so theirs does not count here.
///
/// `coming` are the bytes of images that are removed in any case. On which filesystem each of them is, is not known, so they
/// count as available on every one.
#[must_use]
pub fn missing(filesystems: &[FileSystem], policy: &ImagePolicy, coming: u64) -> (Missing, Vec<FsProblem>) {
    let mut sum = Missing::default();
    let mut problems = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for fs in filesystems.iter().filter(|fs| fs.holds_images) {
        if seen.contains(&fs.mountpoint.as_str()) {
            continue;
        }
        seen.push(&fs.mountpoint);
        if fs.stats.capacity_bytes == 0 {
            problems.push(FsProblem { mountpoint: fs.mountpoint.clone() });
            continue;
        }
        sum.known = true;
        if let Some(bytes) = bytes_to_free(fs, policy, coming) {
            sum.triggered = true;
            sum.bytes = sum.bytes.saturating_add(bytes);
        }
        if let Some(inodes) = inodes_to_free(fs, policy) {
            sum.triggered = true;
            sum.inodes = sum.inodes.saturating_add(inodes);
        }
    }
    (sum, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Thresholds = Thresholds { high_percent: 85, low_percent: 80 };

    #[test]
    fn usage_is_rounded_up() {
        assert_eq!(usage_percent(1000, 1000), Some(0));
        assert_eq!(usage_percent(1000, 999), Some(1));
        assert_eq!(usage_percent(1000, 0), Some(100));
        assert_eq!(usage_percent(1000, 5000), Some(0), "more available than there is");
        assert_eq!(usage_percent(0, 0), None);
        assert_eq!(usage_percent(u64::MAX, u64::MAX / 2), Some(51));
    }

    #[test]
    fn at_the_high_threshold_it_starts_and_frees_to_the_low_one() {
        let begin = |capacity, available, thresholds| to_free(capacity, available, thresholds, false);
        assert_eq!(begin(1000, 160, T), None, "84 percent");
        assert_eq!(begin(1000, 150, T), Some(50), "85 percent");
        assert_eq!(begin(1000, 151, T), Some(49), "84.9 counts as 85");
        assert_eq!(begin(u64::MAX, 0, T), Some(u64::MAX / 5));
        let never = Thresholds { high_percent: 100, low_percent: 0 };
        assert_eq!(begin(1000, 0, never), None, "100 never triggers");
        assert_eq!(begin(1000, 1000, Thresholds { high_percent: 0, low_percent: 0 }), Some(0));
    }

    #[test]
    fn a_removal_that_has_begun_continues_to_the_low_threshold() {
        assert_eq!(to_free(1000, 160, T, true), Some(40));
        assert_eq!(to_free(1000, 199, T, true), Some(1));
        assert_eq!(to_free(1000, 200, T, true), Some(0), "80 percent: met");
        assert_eq!(to_free(1000, 210, T, true), None);
        assert_eq!(
            to_free(1000, 0, Thresholds { high_percent: 100, low_percent: 100 }, true),
            None,
            "switched off meanwhile"
        );
    }

    #[test]
    fn each_file_system_is_judged_by_itself_and_once() {
        let fs = |mountpoint: &str, holds_images, available_bytes| FileSystem {
            mountpoint: mountpoint.to_owned(),
            holds_images,
            holds_containers: !holds_images,
            stats: FsStats { capacity_bytes: 1000, available_bytes, inodes: 0, inodes_free: 0 },
            ..FileSystem::default()
        };
        let (missing, problems) = missing(
            &[fs("/a", true, 100), fs("/a", true, 100), fs("/b", true, 900), fs("/c", false, 0)],
            &crate::policy::tests::policy().images,
            0,
        );
        assert_eq!(missing, Missing { bytes: 100, inodes: 0, triggered: true, known: true });
        assert_eq!(problems, []);
    }
}
