//! Pods.

use std::collections::BTreeMap;

use cri_gc_policy::SandboxState;
use jiff::Timestamp;

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
    /// Its state. `Unknown` is told as not ready, and is killed on removal.
    pub state: SandboxState,
    /// Whether it bears a kubelet's labels (`io.kubernetes.pod.name`, `.namespace`, `.uid`).
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

    /// Leaves it without a log directory.
    #[must_use]
    pub fn no_logs(mut self) -> Self {
        self.log_directory = false;
        self
    }

    /// Sets the bytes of its annotations.
    #[must_use]
    pub fn annotation_bytes(mut self, bytes: usize) -> Self {
        self.annotation_bytes = bytes;
        self
    }
}
