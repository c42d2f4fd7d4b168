//! The file form of an observation (behaviour: Snapshots), version 1: a contract with whoever writes or reads such files.
//!
//! Absent fields and empty strings mean "not known". An unknown key is refused: a mistyped one would silently turn
//! knowledge into ignorance. Reading text is the caller's work; these types know no format.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

mod convert;

/// The version of the form that this program reads and writes.
pub const VERSION: u32 = 1;

/// A snapshot as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// [`VERSION`].
    pub version: u32,
    /// When the observation was made: the "now" of the plan.
    pub taken_at: Timestamp,
    /// The runtime.
    #[serde(default)]
    pub runtime: Runtime,
    /// The pods.
    #[serde(default)]
    pub pods: SnapshotPods,
    /// All containers.
    #[serde(default)]
    pub containers: Vec<SnapshotContainer>,
    /// All sandboxes.
    #[serde(default)]
    pub sandboxes: Vec<SnapshotSandbox>,
    /// All images.
    #[serde(default)]
    pub images: Vec<SnapshotImage>,
    /// Why it isn't known which images are in use (an addition to the contract; left out where it is known).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_uses_unknown: String,
    /// The file systems that images and containers lie on.
    #[serde(default)]
    pub filesystems: Vec<SnapshotFileSystem>,
    /// Names in the root of the pods' log directories.
    #[serde(default)]
    pub log_dirs: Vec<String>,
}

/// The runtime that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Name, e.g. "containerd".
    pub name: String,
    /// Version as it tells it.
    pub version: String,
    /// Image that it makes sandboxes of.
    pub sandbox_image: String,
}

/// The pods of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotPods {
    /// Whether the pod source was synced.
    pub synced: bool,
    /// Pods by UID.
    pub pods: Vec<SnapshotPod>,
    /// How a UID that is not listed is taken.
    pub absent: Absent,
}

/// How a UID that is not listed is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// As that of a deleted pod.
    Deleted,
    /// As that of a pod of which nothing is known.
    #[default]
    #[serde(alias = "")]
    Unknown,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotPod {
    /// UID.
    pub uid: String,
    /// State as the source tells it.
    pub state: SnapshotPodState,
    /// Images that its spec names (an addition to the contract; left out when empty).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// State of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the states are those of `PodState`")]
pub enum SnapshotPodState {
    Active,
    Terminated,
    Evicted,
    Deleted,
    #[default]
    #[serde(alias = "")]
    Unknown,
}

/// A container; the fields are those of [`crate::Container`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of `Container`")]
pub struct SnapshotContainer {
    pub id: String,
    pub pod_uid: String,
    pub pod_sandbox_id: String,
    pub name: String,
    pub attempt: u32,
    pub state: SnapshotContainerState,
    #[serde(with = "time")]
    pub created_at: Option<Timestamp>,
    #[serde(with = "time")]
    pub finished_at: Option<Timestamp>,
    pub image: String,
    pub image_ref: String,
    pub image_id: String,
    /// An addition to the contract; left out when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_volumes: Vec<String>,
    pub log_path: String,
}

/// State of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the states are those of `ContainerState`")]
pub enum SnapshotContainerState {
    Created,
    Running,
    Exited,
    #[default]
    #[serde(alias = "")]
    Unknown,
}

/// A sandbox; the fields are those of [`crate::Sandbox`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of `Sandbox`")]
pub struct SnapshotSandbox {
    pub id: String,
    pub pod_uid: String,
    pub namespace: String,
    pub name: String,
    pub attempt: u32,
    pub state: SnapshotSandboxState,
    #[serde(with = "time")]
    pub created_at: Option<Timestamp>,
}

/// State of a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the states are those of `SandboxState`")]
pub enum SnapshotSandboxState {
    Ready,
    NotReady,
    #[default]
    #[serde(alias = "")]
    Unknown,
}

/// An image; the fields are those of [`crate::Image`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of `Image`")]
pub struct SnapshotImage {
    pub id: String,
    pub runtime_handler: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub size_bytes: u64,
    pub pinned: bool,
    #[serde(with = "time")]
    pub first_detected: Option<Timestamp>,
    #[serde(with = "time")]
    pub last_used: Option<Timestamp>,
    /// An addition to the contract; left out when false.
    #[serde(skip_serializing_if = "is_false")]
    pub in_use_elsewhere: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A file system; the fields are those of [`crate::FileSystem`] and [`crate::FsStats`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of `FsStats`")]
pub struct SnapshotFileSystem {
    pub mountpoint: String,
    pub holds: Vec<Holds>,
    pub capacity_bytes: u64,
    pub available_bytes: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// What a file system holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Images.
    Images,
    /// Writable layers of containers.
    Containers,
}

/// What is wrong with a snapshot whose form is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Written by another version of the program.
    #[error(
        "version is {found}, but this program reads version {VERSION}; use the release that wrote the file"
    )]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// An object without an id could not be named in a plan.
    #[error("{list}[{index}].{field} is empty; every entry of `{list}` needs one")]
    EmptyId {
        /// The list.
        list: &'static str,
        /// Position in the list, from 0.
        index: usize,
        /// The field that is empty.
        field: &'static str,
    },
    /// The same object twice would get two decisions.
    #[error("{list} holds {id:?} twice; a node has an object once, so remove one of them")]
    Duplicate {
        /// The list.
        list: &'static str,
        /// What is there twice.
        id: String,
    },
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
                    "{text:?} is no RFC 3339 time such as 2026-01-31T12:00:00Z: {e}"
                ))
            }),
        }
    }
}
