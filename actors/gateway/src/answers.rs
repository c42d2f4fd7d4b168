//! What the runtime answers, as far as it is no list of objects.

use cri_gc_policy::Container;
use cri_gc_policy::containers::Status;
use cri_gc_policy::usage::Layer;
use ecow::EcoString;

/// Name and version of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// E.g. "containerd".
    pub name: String,
    /// As the runtime numbers itself.
    pub version: String,
}

/// The state of one container, as `ContainerStatus` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// State and times at that moment.
    pub status: Status,
    /// Absolute path of its log file; empty if it has none.
    pub log_path: String,
    /// Images that are mounted into it as image volumes. They never change.
    pub image_volumes: Vec<EcoString>,
}

/// A container in a list of those of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The container.
    pub container: Container,
    /// The path of its log below the root of the pod logs, if its labels are those of a kubelet, which names it after them.
    pub kubelet_log: Option<String>,
}

/// What one list of containers, or of sandboxes, is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The pod of that UID, as far as its objects have the label that a kubelet gives them.
    Pod(EcoString),
    /// The sandbox of that whole id.
    Sandbox(EcoString),
}

impl Owner {
    /// Its UID, or its id.
    #[must_use]
    pub fn id(&self) -> &str {
        let (Self::Pod(id) | Self::Sandbox(id)) = self;
        id
    }

    /// Whether it has a name, so that it can be asked for.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.id().is_empty()
    }
}

/// Directories on the filesystems that images and containers lie on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsPlaces {
    /// Those of images.
    pub images: Vec<String>,
    /// Those of writable layers; the same as those of images where the runtime names none.
    pub containers: Vec<String>,
    /// Bytes that the runtime counts there, up to a minute old.
    pub used_bytes: u64,
    /// It counts what is unpacked only: the images' content, compressed, is stored in addition (containerd).
    pub excludes_content: bool,
}

/// The writable layer of one container, as `ListContainerStats` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLayer {
    /// Whole id of the container.
    pub container: String,
    /// What it takes; `None` while the runtime has not counted it: containerd counts every 10 s, and reports nothing as 0 before.
    pub layer: Option<Layer>,
}

impl FsPlaces {
    /// Bytes that images and the layers on top of them hold together, where the images alone are reported with these sizes.
    #[must_use]
    pub fn held_by_images(&self, sizes: u64) -> u64 {
        if self.excludes_content { sizes.saturating_add(self.used_bytes) } else { sizes.max(self.used_bytes) }
    }
}
