//! What is on the node: sandboxes, containers and images. Plain data; the rules are in the files of each kind.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::spec::{ContainerSpec, PodSpec};

/// A sandbox on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// 64 hex digits.
    pub id: String,
    /// What it was made as, and its state now.
    pub spec: PodSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// Folder for the logs of its containers; empty if it has none.
    pub log_directory: PathBuf,
    /// The sandbox image that it was made of, and its layers.
    pub(crate) image_id: String,
    pub(crate) layers: Vec<String>,
}

/// A container on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// What it was made as, and its state and times now; `sandbox` is the whole id.
    pub spec: ContainerSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// Id of its image then.
    pub image_id: String,
    /// What the runtime resolved that image to: its id with containerd, one of its digests or its id with CRI-O.
    pub image_ref: String,
    /// Images that are mounted into it.
    pub volumes: Vec<ImageVolume>,
    /// Its log file; empty if it has none.
    pub log_path: PathBuf,
    /// Layers of its image and of its image volumes.
    pub(crate) layers: Vec<String>,
}

/// An image that is mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVolume {
    /// The image as the container's creator named it.
    pub image: String,
    /// Its id then.
    pub image_id: String,
}

/// An image on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// 64 hex digits, with containerd after `sha256:`.
    pub id: String,
    /// Names with a tag, complete.
    pub tags: Vec<String>,
    /// Names with a digest, complete.
    pub digests: Vec<String>,
    /// Digest of its manifest: the one of the digests that the runtime makes itself.
    pub manifest: String,
    /// Whether the runtime reports it as pinned.
    pub pinned: bool,
    /// Whether it is an OCI artifact that CRI-O lists as an image.
    pub artifact: bool,
    /// Names of its layers.
    pub layers: Vec<String>,
    /// Sum of the compressed sizes of its layers.
    pub size_bytes: u64,
    /// Id of a container that another program of the same store (buildah, podman) made of it: CRI lists no such container, and CRI-O
    /// refuses to remove the image. containerd shares its images with no such program, so it removes it.
    pub held_by: Option<String>,
    /// Whether RemoveImage answers OK and does not remove it, by whatever name.
    pub kept_on_removal: bool,
}

impl Image {
    /// Whether `name`, complete, is one of its tags or digests.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.tags.iter().chain(&self.digests).any(|own| own == name)
    }
}
