//! Why an object is removed or kept: one closed set of words for plans, reports, logs and metrics alike.
//!
//! Every object of a plan has exactly one of these. A new word is added here and to the table of reasons in the
//! documentation; a test compares the two.

use strum::{Display, IntoStaticStr, VariantArray};

/// Why an object is removed or kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    // Removed:
    /// Its pod is confirmed deleted.
    PodDeleted,
    /// Its pod was evicted.
    PodEvicted,
    /// Its pod finished, and `evict_terminated_pods` is set.
    PodTerminated,
    /// It belongs to no pod, and `pods.unmanaged` is `collect`.
    UnmanagedCollected,
    /// `max_per_pod_container` newer ones of its evict unit are kept.
    OverPodContainerLimit,
    /// More are dead than `max_containers`, and its evict unit has more than its share.
    OverUnitShare,
    /// More are dead than `max_containers`, and it is among the oldest of all.
    OverNodeLimit,
    /// Its pod has a newer sandbox.
    OlderSandbox,
    /// The image has been unused for longer than `max_age`.
    UnusedTooLong,
    /// The image filesystem is short of bytes, and the image is next in line.
    DiskPressure,
    /// The image filesystem is short of inodes, and the image is next in line.
    InodePressure,
    /// The target of the link is missing, and was missing on the pass before.
    TargetMissing,

    // Kept, containers:
    /// It is running.
    Running,
    /// It was created, or the image was first seen, less than `min_age` ago.
    TooYoung,
    /// It finished less than `min_dead_age` ago.
    FinishedRecently,
    /// It is in state CREATED and younger than `created_grace`: it may be about to start.
    CreatedRecently,
    /// The runtime does not report when it was created.
    AgeUnknown,
    /// It belongs to no pod, and `pods.unmanaged` is `keep` (or the pod source is not synced).
    Unmanaged,
    /// It is within the limits for dead containers.
    WithinLimits,

    // Kept, sandboxes:
    /// It is ready.
    SandboxReady,
    /// The runtime does not report its state, or its status could not be read.
    StateUnknown,
    /// A container is still in it.
    HasContainers,
    /// The runtime could not list all containers in it.
    NotAllListed,
    /// It is its pod's newest.
    NewestSandbox,

    // Kept, log directories and links:
    /// Its pod is known and not finished, or something of it runs.
    PodActive,
    /// Its pod finished but is not deleted: its logs can still be read.
    PodFinished,
    /// Its pod is not confirmed deleted.
    PodUnknown,
    /// Its name is not that of a pod's log directory; it is never touched.
    ForeignName,
    /// The target of the link is missing for the first time: the log may be being rotated.
    TargetMissingOnce,

    // Kept, images:
    /// A container uses it.
    InUse,
    /// It is not known which images are in use, so it may be.
    UseUnknown,
    /// The runtime refused to remove it: something other than a CRI container uses it.
    InUseElsewhere,
    /// The spec of an active pod names it.
    NamedByPod,
    /// The runtime pins it.
    Pinned,
    /// A pattern of `image_gc.protect` matches it.
    Protected,
    /// It is the sandbox (pause) image.
    SandboxImage,
    /// No image filesystem is at its high threshold.
    BelowThreshold,
    /// Removing images earlier in line frees enough.
    EnoughFreed,
    /// Image GC is switched off: high thresholds of 100 and no `max_age`.
    ImageGcOff,
    /// The usage of the image filesystem is not known.
    UsageUnknown,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word for it: snake case, as plans and metrics show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the object is removed because its pod is deleted, evicted or finished.
    #[must_use]
    pub fn is_for_pod(self) -> bool {
        matches!(self, Self::PodDeleted | Self::PodEvicted | Self::PodTerminated)
    }

    /// Whether the object is removed.
    #[must_use]
    pub fn removes(self) -> bool {
        matches!(
            self,
            Self::PodDeleted
                | Self::PodEvicted
                | Self::PodTerminated
                | Self::UnmanagedCollected
                | Self::OverPodContainerLimit
                | Self::OverUnitShare
                | Self::OverNodeLimit
                | Self::OlderSandbox
                | Self::UnusedTooLong
                | Self::DiskPressure
                | Self::InodePressure
                | Self::TargetMissing
        )
    }
}
