//! Containers and their logs.

use std::collections::BTreeMap;

use cri_gc_policy::ContainerState;
use jiff::Timestamp;

/// The log of a container, in its pod's log directory as `<container>/<attempt>.log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    /// Size of the current file.
    pub bytes: u64,
    /// Number of rotated files beside it; every second one is named as compressed.
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
    /// Its image as its creator asks for it: tag, digest or id of an image on the node. Empty is the sandbox image.
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
    /// Whether it bears a kubelet's labels (those of the sandbox and `io.kubernetes.container.name`).
    pub kubelet_labels: bool,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Its log; none if the sandbox has no log directory. The file exists unless the state is `Created`.
    pub log: Option<LogSpec>,
    /// Bytes in its writable layer.
    pub writable_bytes: u64,
    /// Inodes in its writable layer.
    pub writable_files: u64,
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
            writable_bytes: 0,
            writable_files: 0,
            annotation_bytes: 0,
        }
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

    /// Sets what the runtime resolved its image to.
    #[must_use]
    pub fn image_ref(mut self, image_ref: impl Into<String>) -> Self {
        self.image_ref = Some(image_ref.into());
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

    /// Leaves the kubelet's labels out.
    #[must_use]
    pub fn unlabelled(mut self) -> Self {
        self.kubelet_labels = false;
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
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

    /// Sets what its writable layer holds.
    #[must_use]
    pub fn writable(mut self, bytes: u64, files: u64) -> Self {
        self.writable_bytes = bytes;
        self.writable_files = files;
        self
    }

    /// Sets the bytes of its annotations.
    #[must_use]
    pub fn annotation_bytes(mut self, bytes: usize) -> Self {
        self.annotation_bytes = bytes;
        self
    }
}
