//! From the file form to an observation and back: field by field, with nothing decided on the way but that every object
//! can be named, once.

use std::collections::HashSet;

use super::{
    Absent, Holds, Runtime, Snapshot, SnapshotContainer, SnapshotContainerState, SnapshotError,
    SnapshotFileSystem, SnapshotImage, SnapshotPod, SnapshotPodState, SnapshotPods, SnapshotSandbox,
    SnapshotSandboxState, VERSION,
};
use crate::observation::{
    Container, ContainerState, FileSystem, FsStats, Image, Observation, Pod, PodState, Pods, Reclaiming,
    Sandbox, SandboxState,
};

impl TryFrom<Snapshot> for Observation {
    type Error = SnapshotError;

    fn try_from(snapshot: Snapshot) -> Result<Self, SnapshotError> {
        if snapshot.version != VERSION {
            return Err(SnapshotError::Version { found: snapshot.version });
        }
        check_ids("containers", snapshot.containers.iter().map(|c| c.id.as_str()))?;
        check_ids("sandboxes", snapshot.sandboxes.iter().map(|s| s.id.as_str()))?;
        // An image may be there once for each handler.
        let handlers = |image: &SnapshotImage| {
            if image.id.is_empty() {
                String::new()
            } else {
                format!("{} {}", image.id, image.runtime_handler)
            }
        };
        let image_keys: Vec<String> = snapshot.images.iter().map(handlers).collect();
        check_ids("images", image_keys.iter().map(String::as_str))?;
        Ok(Self {
            taken_at: snapshot.taken_at,
            clock_set: None,
            sandbox_image: snapshot.runtime.sandbox_image,
            pods: snapshot.pods.into(),
            containers: snapshot.containers.into_iter().map(Into::into).collect(),
            sandboxes: snapshot.sandboxes.into_iter().map(Into::into).collect(),
            images: snapshot.images.into_iter().map(Into::into).collect(),
            uses_unknown: Some(snapshot.image_uses_unknown).filter(|why| !why.is_empty()),
            filesystems: snapshot.filesystems.into_iter().map(Into::into).collect(),
            log_dirs: snapshot.log_dirs,
        })
    }
}

fn check_ids<'a>(list: &'static str, ids: impl Iterator<Item = &'a str>) -> Result<(), SnapshotError> {
    let mut seen = HashSet::new();
    for (index, id) in ids.enumerate() {
        if id.is_empty() {
            return Err(SnapshotError::EmptyId { list, index, field: "id" });
        }
        if !seen.insert(id) {
            return Err(SnapshotError::Duplicate { list, id: id.trim_end().to_owned() });
        }
    }
    Ok(())
}

impl Snapshot {
    /// The file form of an observation. What has no id is left out: nothing can be planned for it.
    #[must_use]
    pub fn new(observation: Observation, runtime_name: String, runtime_version: String) -> Self {
        Self {
            version: VERSION,
            taken_at: observation.taken_at,
            runtime: Runtime {
                name: runtime_name,
                version: runtime_version,
                sandbox_image: observation.sandbox_image,
            },
            pods: observation.pods.into(),
            containers: with_ids(observation.containers, |container| &container.id),
            sandboxes: with_ids(observation.sandboxes, |sandbox| &sandbox.id),
            images: with_ids(observation.images, |image| &image.id),
            image_uses_unknown: observation.uses_unknown.unwrap_or_default(),
            filesystems: observation.filesystems.into_iter().map(Into::into).collect(),
            log_dirs: observation.log_dirs,
        }
    }
}

/// The file form of those that have an id.
fn with_ids<T, U: From<T>>(all: Vec<T>, id: impl Fn(&T) -> &str) -> Vec<U> {
    all.into_iter().filter(|one| !id(one).is_empty()).map(Into::into).collect()
}

/// Conversions, both ways, between two structs whose fields bear the same names.
macro_rules! same_fields {
    ($file:ident <=> $seen:ident { $($field:ident),* $(,)? }) => {
        impl From<$file> for $seen {
            fn from(from: $file) -> Self {
                Self { $($field: from.$field.into()),* }
            }
        }
        impl From<$seen> for $file {
            fn from(from: $seen) -> Self {
                Self { $($field: from.$field.into()),* }
            }
        }
    };
}

/// Conversions, both ways, between two enums whose variants bear the same names.
macro_rules! same_variants {
    ($file:ident <=> $seen:ident { $($variant:ident),* $(,)? }) => {
        impl From<$file> for $seen {
            fn from(from: $file) -> Self {
                match from { $($file::$variant => Self::$variant),* }
            }
        }
        impl From<$seen> for $file {
            fn from(from: $seen) -> Self {
                match from { $($seen::$variant => Self::$variant),* }
            }
        }
    };
}

same_fields!(SnapshotPod <=> Pod { uid, state, images });
same_fields!(SnapshotContainer <=> Container {
    id, pod_uid, pod_sandbox_id, name, attempt, state, created_at, finished_at, image, image_ref, image_id,
    image_volumes, log_path,
});
same_fields!(SnapshotSandbox <=> Sandbox { id, pod_uid, namespace, name, attempt, state, created_at });
same_fields!(SnapshotImage <=> Image {
    id, runtime_handler, repo_tags, repo_digests, size_bytes, pinned, first_detected, last_used, in_use_elsewhere,
});
same_variants!(SnapshotPodState <=> PodState { Active, Terminated, Evicted, Deleted, Unknown });
same_variants!(SnapshotContainerState <=> ContainerState { Created, Running, Exited, Unknown });
same_variants!(SnapshotSandboxState <=> SandboxState { Ready, NotReady, Unknown });

impl From<SnapshotPods> for Pods {
    fn from(pods: SnapshotPods) -> Self {
        Self {
            synced: pods.synced,
            pods: pods.pods.into_iter().map(Into::into).collect(),
            absent: match pods.absent {
                Absent::Deleted => PodState::Deleted,
                Absent::Unknown => PodState::Unknown,
            },
        }
    }
}

impl From<Pods> for SnapshotPods {
    fn from(pods: Pods) -> Self {
        Self {
            synced: pods.synced,
            pods: pods.pods.into_iter().map(Into::into).collect(),
            absent: if pods.absent == PodState::Deleted { Absent::Deleted } else { Absent::Unknown },
        }
    }
}

impl From<SnapshotFileSystem> for FileSystem {
    fn from(fs: SnapshotFileSystem) -> Self {
        Self {
            mountpoint: fs.mountpoint,
            holds_images: fs.holds.contains(&Holds::Images),
            holds_containers: fs.holds.contains(&Holds::Containers),
            stats: FsStats {
                capacity_bytes: fs.capacity_bytes,
                available_bytes: fs.available_bytes,
                inodes: fs.inodes,
                inodes_free: fs.inodes_free,
            },
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
