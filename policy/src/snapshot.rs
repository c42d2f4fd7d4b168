//! The file form of an observation, version 1: a contract with other programs that write or read such files.
//!
//! Only what is different in a file is here; the rest is in [`crate::observation`]. Reading text is the caller's work:
//! these types know no format.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observation::{Container, FileSystem, FsStats, Image, Observation, Pods, Reclaiming, Sandbox};

/// The version of the form that this program reads and writes.
pub const VERSION: u32 = 1;

/// The content of a file.
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
    pub pods: Pods,
    /// All containers.
    #[serde(default)]
    pub containers: Vec<Container>,
    /// All sandboxes.
    #[serde(default)]
    pub sandboxes: Vec<Sandbox>,
    /// All images.
    #[serde(default)]
    pub images: Vec<Image>,
    /// Why it is not known which images are in use (an addition to the contract; left out where it is known).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_uses_unknown: String,
    /// The filesystems with images and containers.
    #[serde(default)]
    pub filesystems: Vec<SnapshotFileSystem>,
    /// Names in the root of the pods' log directories.
    #[serde(default)]
    pub log_dirs: Vec<String>,
}

/// The observed runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Name, e.g. "containerd".
    pub name: String,
    /// Version as the runtime reports it.
    pub version: String,
    /// The sandbox (pause) image.
    pub sandbox_image: String,
}

/// A filesystem; the numbers are those of [`FsStats`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of `FileSystem` and `FsStats`")]
pub struct SnapshotFileSystem {
    pub mountpoint: String,
    pub holds: Vec<Holds>,
    pub capacity_bytes: u64,
    pub available_bytes: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// What a filesystem holds.
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
    #[error("{list}[{index}].id is empty; every entry of `{list}` needs one")]
    EmptyId {
        /// The list.
        list: &'static str,
        /// Position in the list, from 0.
        index: usize,
    },
    /// The same object twice would get two decisions.
    #[error("{list} contains {id:?} twice; a node has an object once, so remove one of them")]
    Duplicate {
        /// The list.
        list: &'static str,
        /// What is there twice.
        id: String,
    },
}

impl Snapshot {
    /// The file form of an observation. What has no id is left out: nothing can be planned for it.
    #[must_use]
    pub fn new(mut observation: Observation, runtime_name: String, runtime_version: String) -> Self {
        let containers = own(observation.containers).filter(|container| !container.id.is_empty()).collect();
        let sandboxes = own(observation.sandboxes).filter(|sandbox| !sandbox.id.is_empty()).collect();
        observation.images.retain(|image| !image.id.is_empty());
        Self {
            version: VERSION,
            taken_at: observation.taken_at,
            runtime: Runtime {
                name: runtime_name,
                version: runtime_version,
                sandbox_image: observation.sandbox_image,
            },
            pods: observation.pods,
            containers,
            sandboxes,
            images: observation.images,
            image_uses_unknown: observation.uses_unknown.unwrap_or_default(),
            filesystems: observation.filesystems.into_iter().map(Into::into).collect(),
            log_dirs: observation.log_dirs,
        }
    }
}

impl TryFrom<Snapshot> for Observation {
    type Error = SnapshotError;

    fn try_from(snapshot: Snapshot) -> Result<Self, SnapshotError> {
        if snapshot.version != VERSION {
            return Err(SnapshotError::Version { found: snapshot.version });
        }
        check_ids("containers", snapshot.containers.iter().map(|c| (c.id.as_str(), "")))?;
        check_ids("sandboxes", snapshot.sandboxes.iter().map(|s| (s.id.as_str(), "")))?;
        // An image may be there once for each handler.
        check_ids("images", snapshot.images.iter().map(|i| (i.id.as_str(), i.runtime_handler.as_str())))?;
        Ok(Self {
            taken_at: snapshot.taken_at,
            clock_set: None,
            sandbox_image: snapshot.runtime.sandbox_image,
            pods: snapshot.pods,
            containers: share(snapshot.containers),
            sandboxes: share(snapshot.sandboxes),
            lacks_sandboxes: false,
            images: snapshot.images,
            uses_unknown: Some(snapshot.image_uses_unknown).filter(|why| !why.is_empty()),
            filesystems: snapshot.filesystems.into_iter().map(Into::into).collect(),
            log_dirs: snapshot.log_dirs,
        })
    }
}

/// Objects of an observation.
fn share<T>(objects: Vec<T>) -> Arc<Vec<Arc<T>>> {
    Arc::new(objects.into_iter().map(Arc::new).collect())
}

/// The same for a file.
fn own<T: Clone>(objects: Arc<Vec<Arc<T>>>) -> impl Iterator<Item = T> {
    Arc::unwrap_or_clone(objects).into_iter().map(Arc::unwrap_or_clone)
}

/// Checks that every object of a list has an id, and that none is there twice (with the same handler).
fn check_ids<'a>(
    list: &'static str,
    ids: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), SnapshotError> {
    let mut seen = HashSet::new();
    for (index, (id, handler)) in ids.enumerate() {
        if id.is_empty() {
            return Err(SnapshotError::EmptyId { list, index });
        }
        if !seen.insert((id, handler)) {
            let id = format!("{id} {handler}").trim_end().to_owned();
            return Err(SnapshotError::Duplicate { list, id });
        }
    }
    Ok(())
}

impl From<SnapshotFileSystem> for FileSystem {
    fn from(fs: SnapshotFileSystem) -> Self {
        Self {
            mountpoint: fs.mountpoint,
            device: None,
            holds_images: fs.holds.contains(&Holds::Images),
            holds_containers: fs.holds.contains(&Holds::Containers),
            stats: FsStats {
                capacity_bytes: fs.capacity_bytes,
                available_bytes: fs.available_bytes,
                inodes: fs.inodes,
                inodes_free: fs.inodes_free,
            },
            reserved_bytes: 0,
            reclaiming: Reclaiming::default(),
        }
    }
}

impl From<FileSystem> for SnapshotFileSystem {
    fn from(fs: FileSystem) -> Self {
        let holds = [(fs.holds_images, Holds::Images), (fs.holds_containers, Holds::Containers)];
        let FsStats { capacity_bytes, available_bytes, inodes, inodes_free } = fs.stats;
        Self {
            mountpoint: fs.mountpoint,
            holds: holds.into_iter().filter_map(|(yes, what)| yes.then_some(what)).collect(),
            capacity_bytes,
            available_bytes,
            inodes,
            inodes_free,
        }
    }
}
