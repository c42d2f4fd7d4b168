//! Why an object goes or stays: one closed set of words for plans, reports, logs and metrics alike.
//!
//! Every object of a plan bears exactly one of these. A new word is added here, to [`Reason::ALL`] and to the table of
//! docs/reasons.md; a test holds the three together.

use std::fmt;

/// Why an object goes or stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    // Removed:
    /// Its pod is proved deleted.
    PodDeleted,
    /// Its pod was evicted.
    PodEvicted,
    /// Its pod finished, and `evict_terminated_pods` is set.
    PodTerminated,
    /// It belongs to no pod, and `pods.unmanaged` is `collect`.
    UnmanagedCollected,
    /// More than `max_per_pod_container` newer ones of its unit stay.
    OverPodContainerLimit,
    /// More are dead than `max_containers`, and its unit holds more than its share.
    OverUnitShare,
    /// More are dead than `max_containers`, and it is among the oldest of all.
    OverNodeLimit,
    /// Its pod has a newer sandbox.
    OlderSandbox,
    /// The image has been unused for longer than `max_age`.
    UnusedTooLong,
    /// The file system of the images is short of bytes, and the image is next in line.
    DiskPressure,
    /// The file system of the images is short of inodes, and the image is next in line.
    InodePressure,
    /// The link points to nothing, and did so a pass ago.
    TargetMissing,

    // Kept, containers:
    /// It runs.
    Running,
    /// It was created, or the image was first seen, less than `min_age` ago.
    TooYoung,
    /// It finished less than `min_dead_age` ago.
    FinishedRecently,
    /// It is in state CREATED and younger than `created_grace`: it may be about to start.
    CreatedRecently,
    /// The runtime does not tell when it was created.
    AgeUnknown,
    /// It belongs to no pod, and `pods.unmanaged` is `keep` (or the pod source is not synced).
    Unmanaged,
    /// It is within the limits for dead containers.
    WithinLimits,

    // Kept, sandboxes:
    /// It is ready.
    SandboxReady,
    /// The runtime does not tell its state, or its status could not be read.
    StateUnknown,
    /// A container is still in it.
    HasContainers,
    /// It is its pod's newest.
    NewestSandbox,

    // Kept, log directories and links:
    /// Its pod is known and not finished, or something of it runs.
    PodActive,
    /// Its pod finished but is not deleted: its logs can still be read.
    PodFinished,
    /// It is not proved that its pod is deleted.
    PodUnknown,
    /// Its name is not that of a pod's log directory; it is never touched.
    ForeignName,
    /// The link points to nothing for the first time: a log may be being rotated.
    TargetMissingOnce,

    // Kept, images:
    /// A container uses it.
    InUse,
    /// It isn't known which images are in use, so it may be.
    UseUnknown,
    /// The runtime refused to remove it because something uses it that is no container of the CRI.
    InUseElsewhere,
    /// The spec of an active pod names it.
    NamedByPod,
    /// The runtime pins it.
    Pinned,
    /// A pattern of `image_gc.protect` matches it.
    Protected,
    /// The runtime makes its sandboxes of it.
    SandboxImage,
    /// No file system of images is at its high threshold.
    BelowThreshold,
    /// Others, earlier in line, free enough.
    EnoughFreed,
    /// Image GC is switched off: high thresholds of 100 and no `max_age`.
    ImageGcOff,
    /// How full the file system is could not be told.
    UsageUnknown,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: &[Self] = &[
        Self::PodDeleted,
        Self::PodEvicted,
        Self::PodTerminated,
        Self::UnmanagedCollected,
        Self::OverPodContainerLimit,
        Self::OverUnitShare,
        Self::OverNodeLimit,
        Self::OlderSandbox,
        Self::UnusedTooLong,
        Self::DiskPressure,
        Self::InodePressure,
        Self::TargetMissing,
        Self::Running,
        Self::TooYoung,
        Self::FinishedRecently,
        Self::CreatedRecently,
        Self::AgeUnknown,
        Self::Unmanaged,
        Self::WithinLimits,
        Self::SandboxReady,
        Self::StateUnknown,
        Self::HasContainers,
        Self::NewestSandbox,
        Self::PodActive,
        Self::PodFinished,
        Self::PodUnknown,
        Self::ForeignName,
        Self::TargetMissingOnce,
        Self::InUse,
        Self::UseUnknown,
        Self::InUseElsewhere,
        Self::NamedByPod,
        Self::Pinned,
        Self::Protected,
        Self::SandboxImage,
        Self::BelowThreshold,
        Self::EnoughFreed,
        Self::ImageGcOff,
        Self::UsageUnknown,
    ];

    /// The word for it: snake case, as plans and metrics show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PodDeleted => "pod_deleted",
            Self::PodEvicted => "pod_evicted",
            Self::PodTerminated => "pod_terminated",
            Self::UnmanagedCollected => "unmanaged_collected",
            Self::OverPodContainerLimit => "over_pod_container_limit",
            Self::OverUnitShare => "over_unit_share",
            Self::OverNodeLimit => "over_node_limit",
            Self::OlderSandbox => "older_sandbox",
            Self::UnusedTooLong => "unused_too_long",
            Self::DiskPressure => "disk_pressure",
            Self::InodePressure => "inode_pressure",
            Self::TargetMissing => "target_missing",
            Self::Running => "running",
            Self::TooYoung => "too_young",
            Self::FinishedRecently => "finished_recently",
            Self::CreatedRecently => "created_recently",
            Self::AgeUnknown => "age_unknown",
            Self::Unmanaged => "unmanaged",
            Self::WithinLimits => "within_limits",
            Self::SandboxReady => "sandbox_ready",
            Self::StateUnknown => "state_unknown",
            Self::HasContainers => "has_containers",
            Self::NewestSandbox => "newest_sandbox",
            Self::PodActive => "pod_active",
            Self::PodFinished => "pod_finished",
            Self::PodUnknown => "pod_unknown",
            Self::ForeignName => "foreign_name",
            Self::TargetMissingOnce => "target_missing_once",
            Self::InUse => "in_use",
            Self::UseUnknown => "use_unknown",
            Self::InUseElsewhere => "in_use_elsewhere",
            Self::NamedByPod => "named_by_pod",
            Self::Pinned => "pinned",
            Self::Protected => "protected",
            Self::SandboxImage => "sandbox_image",
            Self::BelowThreshold => "below_threshold",
            Self::EnoughFreed => "enough_freed",
            Self::ImageGcOff => "image_gc_off",
            Self::UsageUnknown => "usage_unknown",
        }
    }

    /// Whether the object goes because of what became of its pod.
    #[must_use]
    pub fn is_for_pod(self) -> bool {
        matches!(self, Self::PodDeleted | Self::PodEvicted | Self::PodTerminated)
    }

    /// Whether the object goes.
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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
