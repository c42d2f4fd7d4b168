//! One observation of a node: the facts that decisions rest on, and nothing of what is wanted.
//!
//! An observation is plain data. Code that fills it (the collectors from a runtime, [`crate::snapshot`] from a file) leaves out
//! what is not known rather than guess: every `Option` here means "not known" when empty. The serde forms of pods,
//! containers, sandboxes and images are those of a snapshot file, which is a contract: an absent field and an empty string
//! mean "not known", and an unknown key is refused, for a mistyped one would silently turn knowledge into ignorance.
//!
//! A large node has 100,000 containers with a handful of images and names: texts are [`EcoString`], whose clones share what they
//! hold.

use std::sync::Arc;

use ecow::EcoString;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::age::Now;

/// State of a container (CRI `ContainerState`). Every state but `Running` is *dead*.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Made but not started; it may be about to start.
    Created,
    /// Its process is running.
    Running,
    /// Its process has ended.
    Exited,
    /// The runtime does not know.
    #[default]
    #[serde(alias = "")]
    Unknown,
}

/// One container, as a list of the runtime reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Container {
    /// Whole id; never empty.
    pub id: EcoString,
    /// UID from the label `io.kubernetes.pod.uid`; empty without that label.
    pub pod_uid: EcoString,
    /// Id of the sandbox it is in.
    pub pod_sandbox_id: EcoString,
    /// Name within its pod.
    pub name: EcoString,
    /// Number of restarts of that name before it.
    pub attempt: u32,
    /// State when listed.
    pub state: ContainerState,
    /// When it was created.
    #[serde(with = "time")]
    pub created_at: Option<Timestamp>,
    /// When its process ended. Lists do not report it, so it is rarely known.
    #[serde(with = "time")]
    pub finished_at: Option<Timestamp>,
    /// The image as its creator named it; a tag in it may have moved to another image since.
    pub image: EcoString,
    /// The image as the runtime resolved it.
    pub image_ref: EcoString,
    /// Id of the image.
    pub image_id: EcoString,
    /// Images mounted into it as image volumes (CRI `ContainerStatus.mounts[].image`). No list reports them, so they are filled
    /// in only where images are about to be removed; empty if not known or none. (An addition to the file form, left out when
    /// empty.)
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_volumes: Vec<EcoString>,
    /// Absolute path of its log file; empty if not known or none.
    pub log_path: EcoString,
}

/// State of a sandbox (CRI `PodSandboxState`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    /// It serves its pod.
    Ready,
    /// It was stopped or died.
    NotReady,
    /// Not known. Treated as ready wherever that keeps more.
    #[default]
    #[serde(alias = "")]
    Unknown,
}

/// One pod sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sandbox {
    /// Whole id; never empty.
    pub id: EcoString,
    /// UID of its pod; empty if it was made without one.
    pub pod_uid: EcoString,
    /// Namespace of its pod.
    pub namespace: EcoString,
    /// Name of its pod.
    pub name: EcoString,
    /// Number of sandboxes its pod had before it.
    pub attempt: u32,
    /// State when listed.
    pub state: SandboxState,
    /// When it was created.
    #[serde(with = "time")]
    pub created_at: Option<Timestamp>,
    /// The runtime could not list all containers in it: they are too large for one answer. (An addition to the file form, left out
    /// when false.)
    #[serde(skip_serializing_if = "is_false")]
    pub unlisted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// One image together with what is recorded of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// Whole id; never empty.
    pub id: String,
    /// Handler whose copy of the image this is; empty is the default one.
    pub runtime_handler: String,
    /// Names with a tag.
    pub repo_tags: Vec<String>,
    /// Names with a digest.
    pub repo_digests: Vec<String>,
    /// Bytes as the runtime reports them: a hint (compressed, shared layers counted in each image); 0 if not reported.
    pub size_bytes: u64,
    /// The runtime asks that it is never collected.
    pub pinned: bool,
    /// When it was first seen; unknown counts as now.
    #[serde(with = "time")]
    pub first_detected: Option<Timestamp>,
    /// When it was last seen used; `None` is never.
    #[serde(with = "time")]
    pub last_used: Option<Timestamp>,
    /// The runtime refused to remove it because something other than a CRI container uses it, and it is too early to try
    /// again. (An addition to the file form, left out when false.)
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_use_elsewhere: bool,
}

impl Image {
    /// What identifies it: copies for several runtime handlers share an id.
    #[must_use]
    pub fn key(&self) -> (&str, &str) {
        (&self.id, &self.runtime_handler)
    }

    /// All its names: tags, then digests.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().chain(&self.repo_digests).map(String::as_str)
    }
}

/// Statistics of one filesystem, as statvfs reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FsStats {
    /// `f_blocks * f_frsize`.
    pub capacity_bytes: u64,
    /// `f_bavail * f_frsize`: what an ordinary user may still write.
    pub available_bytes: u64,
    /// `f_files`; 0 where the filesystem has no fixed number of inodes.
    pub inodes: u64,
    /// `f_favail`.
    pub inodes_free: u64,
}

/// A filesystem with images or containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// A directory on it, as the runtime named it.
    pub mountpoint: String,
    /// Which device it is, to recognize it under another name; `None` if not known.
    pub device: Option<u64>,
    /// Whether images are on it.
    pub holds_images: bool,
    /// Whether the writable layers of containers are on it.
    pub holds_containers: bool,
    /// How full it is.
    pub stats: FsStats,
    /// Free bytes that only root may use; 0 where it is not known.
    pub reserved_bytes: u64,
    /// What a pass in progress is reclaiming on it: that continues to the low threshold, while a pass begins at the high one
    /// only. Nothing in an observation that no pass has acted on yet.
    pub reclaiming: Reclaiming,
}

impl FileSystem {
    /// Whether the two are one filesystem, perhaps named by another directory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_device = self.device.is_some() && self.device == other.device;
        same_device || self.mountpoint == other.mountpoint
    }
}

/// What a pass has begun to reclaim on a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaiming {
    /// Bytes.
    pub bytes: bool,
    /// Inodes.
    pub inodes: bool,
}

/// State of a pod as its source reports it. Of two states the smaller keeps more.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum PodState {
    /// Known to the source and not finished, or something of it is running.
    Active,
    /// Not known.
    #[default]
    #[serde(alias = "")]
    Unknown,
    /// Finished: phase Succeeded or Failed.
    Terminated,
    /// Failed with reason Evicted.
    Evicted,
    /// Confirmed deleted.
    Deleted,
}

impl PodState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One pod as its source reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pod {
    /// UID.
    pub uid: EcoString,
    /// State according to the source alone: what is running is not considered yet.
    pub state: PodState,
    /// Images that its spec names, where the source reports it: they count as used while the pod is active. (An addition to the
    /// file form, left out when empty.)
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// State of a pod that its source does not list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// Deleted.
    Deleted,
    /// Not known.
    #[default]
    #[serde(alias = "")]
    Unknown,
}

/// What is known of the pods of the node; by default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pods {
    /// Whether the source is synced. While it is not, every state but active is unknown.
    pub synced: bool,
    /// The pods that are known by UID.
    pub pods: Vec<Pod>,
    /// State of a UID that is not listed.
    pub absent: Absent,
}

/// What was observed of a node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// When: the "now" of every decision on it.
    pub taken_at: Timestamp,
    /// When the clock was last set, if that was noticed: ages count from then at the earliest.
    pub clock_set: Option<Timestamp>,
    /// The sandbox (pause) image, as the runtime names it; empty if it does not report it.
    pub sandbox_image: String,
    /// Pods by their source.
    pub pods: Pods,
    /// Every container, in any state. Several observations may rest on one list, and lists share what did not change.
    pub containers: Arc<Vec<Arc<Container>>>,
    /// Every sandbox; shared likewise.
    pub sandboxes: Arc<Vec<Arc<Sandbox>>>,
    /// There may be sandboxes that could not be listed: a container whose sandbox is not among those above may be in one of them. (Not
    /// in the file form.)
    pub lacks_sandboxes: bool,
    /// Every image.
    pub images: Vec<Image>,
    /// Why it is not known which images are in use, where it is not: then no image is removed.
    pub uses_unknown: Option<String>,
    /// Filesystems with images or containers.
    pub filesystems: Vec<FileSystem>,
    /// Names in the root of the pods' log directories.
    pub log_dirs: Vec<String>,
}

impl Observation {
    /// The time by which all ages count.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { at: self.taken_at, clock_set: self.clock_set }
    }

    /// It is not known which images are in use, for this reason. The first reason counts.
    pub fn lose_uses(&mut self, why: impl FnOnce() -> String) {
        self.uses_unknown.get_or_insert_with(why);
    }

    /// An observation of nothing.
    #[must_use]
    pub fn empty(taken_at: Timestamp) -> Self {
        Self { taken_at, ..Self::default() }
    }
}

/// Times that may be absent, empty or null.
mod time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.collect_str(time),
            None => to.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        match Option::<std::borrow::Cow<'de, str>>::deserialize(from)? {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|e| {
                D::Error::custom(format_args!(
                    "{text:?} is not an RFC 3339 time such as 2026-01-31T12:00:00Z: {e}"
                ))
            }),
        }
    }
}
