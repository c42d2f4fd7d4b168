//! What to put on a modelled node: plain descriptions, with defaults that are right for most tests. They do nothing by
//! themselves; [`crate::Node`] makes objects of them.

use std::collections::BTreeMap;

use cri_gc_policy::{ContainerState, SandboxState};
use jiff::Timestamp;

use crate::space::Space;

/// A pod's sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSpec {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// UID of the pod; CRI-O refuses a pod without one.
    pub uid: String,
    /// Number of sandboxes that the pod had before.
    pub attempt: u32,
    /// When it was made; `None` is now.
    pub created_at: Option<Timestamp>,
    /// Its state. `Unknown` is reported as not ready, and is killed on removal.
    pub state: SandboxState,
    /// Whether it has a kubelet's labels (`io.kubernetes.pod.name`, `.namespace`, `.uid`).
    pub kubelet_labels: bool,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Runtime handler; empty is the default one.
    pub runtime_handler: String,
    /// Whether it has a log directory, `<pod_logs_root>/<namespace>_<name>_<uid>`, which then really exists.
    pub log_directory: bool,
    /// Bytes by which annotations make its entry in a list larger. They count, but are not sent.
    pub annotation_bytes: usize,
}

/// A UID for the pod of that number.
#[must_use]
pub fn uid(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-{number:012x}")
}

impl PodSpec {
    /// A ready sandbox made now, attempt 0, as a kubelet makes it.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
            attempt: 0,
            created_at: None,
            state: SandboxState::Ready,
            kubelet_labels: true,
            labels: BTreeMap::new(),
            runtime_handler: String::new(),
            log_directory: true,
            annotation_bytes: 0,
        }
    }

    /// Changes what else there is.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Sets the attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Sets the creation time.
    #[must_use]
    pub fn created_at(mut self, at: Timestamp) -> Self {
        self.created_at = Some(at);
        self
    }

    /// Makes it not ready.
    #[must_use]
    pub fn not_ready(mut self) -> Self {
        self.state = SandboxState::NotReady;
        self
    }
}

/// The log of a container, in its pod's log directory as `<container>/<attempt>.log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    /// Size of the current file.
    pub bytes: u64,
    /// Number of rotated files next to it; every second one is named as compressed.
    pub rotated: u32,
    /// Whether the kubelet's link to it in the legacy root is made as well.
    pub legacy_link: bool,
}

impl Default for LogSpec {
    /// A few lines, no rotated files, no link.
    fn default() -> Self {
        Self { bytes: 256, rotated: 0, legacy_link: false }
    }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Id of its sandbox, or a unique prefix.
    pub sandbox: String,
    /// Its name in the pod.
    pub name: String,
    /// Number of containers of that name before.
    pub attempt: u32,
    /// Its image as its creator names it: tag, digest or id of an image on the node. Empty is the sandbox image.
    pub image: String,
    /// Images that are mounted into it as image volumes, by tag, digest or id.
    pub image_volumes: Vec<String>,
    /// What the runtime resolved its image to, if that is not what the runtime would do today: a digest that no image has
    /// any more, or the bare id of an image that had no digest then.
    pub image_ref: Option<String>,
    /// Its state.
    pub state: ContainerState,
    /// When it was made; `None` is now.
    pub created_at: Option<Timestamp>,
    /// When it started; `None` is when it was made, for every state but `Created`.
    pub started_at: Option<Timestamp>,
    /// When it ended; `None` is now, for `Exited`.
    pub finished_at: Option<Timestamp>,
    /// Whether it has a kubelet's labels (those of the sandbox and `io.kubernetes.container.name`).
    pub kubelet_labels: bool,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Its log; none if the sandbox has no log directory. The file exists in every state but `Created`.
    pub log: Option<LogSpec>,
    /// Size of its writable layer.
    pub writable: Space,
    /// Bytes by which annotations make its entry in a list larger. They count, but are not sent.
    pub annotation_bytes: usize,
}

impl ContainerSpec {
    /// A running container made now of the sandbox image, attempt 0, with a short log, as a kubelet makes it.
    #[must_use]
    pub fn new(sandbox: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            sandbox: sandbox.into(),
            name: name.into(),
            attempt: 0,
            image: String::new(),
            image_volumes: Vec::new(),
            image_ref: None,
            state: ContainerState::Running,
            created_at: None,
            started_at: None,
            finished_at: None,
            kubelet_labels: true,
            labels: BTreeMap::new(),
            log: Some(LogSpec::default()),
            writable: Space::default(),
            annotation_bytes: 0,
        }
    }

    /// Changes what else there is.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Sets the attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Sets the image.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }

    /// Mounts an image into it; refused by containerd 1.6, which has no image volumes.
    #[must_use]
    pub fn image_volume(mut self, image: impl Into<String>) -> Self {
        self.image_volumes.push(image.into());
        self
    }

    /// Sets the state.
    #[must_use]
    pub fn state(mut self, state: ContainerState) -> Self {
        self.state = state;
        self
    }

    /// Sets the creation time.
    #[must_use]
    pub fn created_at(mut self, at: Timestamp) -> Self {
        self.created_at = Some(at);
        self
    }

    /// Makes it exited, made and ended at those times.
    #[must_use]
    pub fn exited(mut self, created_at: Timestamp, finished_at: Timestamp) -> Self {
        self.state = ContainerState::Exited;
        self.created_at = Some(created_at);
        self.finished_at = Some(finished_at);
        self
    }

    /// Gives it this log.
    #[must_use]
    pub fn log(mut self, log: LogSpec) -> Self {
        self.log = Some(log);
        self
    }

    /// Leaves it without a log.
    #[must_use]
    pub fn no_log(mut self) -> Self {
        self.log = None;
        self
    }
}

/// One layer of an image. A node stores it once, however many images have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// What makes it the same layer as another one. The first layer of that name on a node decides the sizes.
    pub name: String,
    /// Bytes in the content store; what the size of an image in lists is made of.
    pub compressed_bytes: u64,
    /// Bytes in the snapshot.
    pub unpacked_bytes: u64,
    /// Inodes in the snapshot.
    pub files: u64,
}

impl LayerSpec {
    /// A layer with one file for every 16 KiB that it unpacks to.
    #[must_use]
    pub fn new(name: impl Into<String>, compressed_bytes: u64, unpacked_bytes: u64) -> Self {
        let files = unpacked_bytes.div_ceil(16 * 1024);
        Self { name: name.into(), compressed_bytes, unpacked_bytes, files }
    }

    /// Sets the number of inodes.
    #[must_use]
    pub fn files(mut self, files: u64) -> Self {
        self.files = files;
        self
    }
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageSpec {
    /// Its id, `sha256:` and 64 hex digits (CRI-O drops the prefix); one is made up if this is empty.
    pub id: String,
    /// Names with a tag. Short ones are completed as containerd does (`busybox` is
    /// `docker.io/library/busybox:latest`); one that another image has moves over from it.
    pub tags: Vec<String>,
    /// Names with a digest; `None` makes one up for the repository of the first tag. CRI-O makes one up for no names, too.
    pub digests: Option<Vec<String>>,
    /// Its layers.
    pub layers: Vec<LayerSpec>,
    /// Whether it is pinned: not to be removed by any collector (reported by containerd 2.1, and by CRI-O as one of its `pinned_images`).
    pub pinned: bool,
    /// Whether it is an OCI artifact: CRI-O lists it as an image, but removes it only by a tag or digest.
    pub artifact: bool,
}

impl ImageSpec {
    /// An image with that tag and no layers yet.
    #[must_use]
    pub fn new(tag: impl Into<String>) -> Self {
        Self { tags: vec![tag.into()], ..Self::default() }
    }

    /// An image of one layer that no other image shares.
    #[must_use]
    pub fn single(tag: impl Into<String>, compressed_bytes: u64, unpacked_bytes: u64) -> Self {
        let tag = tag.into();
        let layer = LayerSpec::new(format!("only of {tag}"), compressed_bytes, unpacked_bytes);
        Self::new(tag).layer(layer)
    }

    /// Changes what else there is.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds a layer.
    #[must_use]
    pub fn layer(mut self, layer: LayerSpec) -> Self {
        self.layers.push(layer);
        self
    }
}
