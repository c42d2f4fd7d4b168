//! What pods and containers are made of, with the labels and log paths that a kubelet gives them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cri_gc_proto::cri::{
    ContainerConfig, ContainerMetadata, ImageSpec, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, Mount, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
};
use cri_gc_proto::{CONTAINER_NAME_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL};

use crate::logs::pod_log_dir;

/// A pod sandbox to be made.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// UID of the pod, 8-4-4-4-12 hex digits.
    pub uid: String,
    /// How many sandboxes of this pod there were before.
    pub attempt: u32,
    /// Root of the log folders of pods; `None` makes containers without a log.
    pub log_root: Option<PathBuf>,
    /// Whether sandbox and containers have a kubelet's labels.
    pub with_labels: bool,
    /// Further annotations of the sandbox.
    pub annotations: HashMap<String, String>,
}

impl PodSpec {
    /// A pod with a fresh UID, a kubelet's labels and no logs.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: fresh_uid(),
            attempt: 0,
            log_root: None,
            with_labels: true,
            annotations: HashMap::new(),
        }
    }

    /// With this UID.
    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        uid.clone_into(&mut self.uid);
        self
    }

    /// As the sandbox of this attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// With log files below `root`.
    #[must_use]
    pub fn logs(mut self, root: &Path) -> Self {
        self.log_root = Some(root.to_owned());
        self
    }

    /// Without the labels of a kubelet, as other clients of a runtime make pods. The metadata names the UID all the same.
    #[must_use]
    pub fn without_labels(mut self) -> Self {
        self.with_labels = false;
        self
    }

    pub(super) fn config(&self, cgroup_parent: &str) -> PodSandboxConfig {
        let log_directory =
            self.log_root.as_deref().map(|root| pod_log_dir(root, self).display().to_string());
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: self.name.clone(),
                uid: self.uid.clone(),
                namespace: self.namespace.clone(),
                attempt: self.attempt,
            }),
            hostname: self.name.clone(),
            log_directory: log_directory.unwrap_or_default(),
            labels: if self.with_labels { self.labels() } else { HashMap::new() },
            annotations: self.annotations.clone(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: cgroup_parent.to_owned(),
                security_context: None,
            }),
        }
    }

    fn labels(&self) -> HashMap<String, String> {
        let labels = [
            (POD_UID_LABEL, &self.uid),
            (POD_NAME_LABEL, &self.name),
            (POD_NAMESPACE_LABEL, &self.namespace),
        ];
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }
}

/// A container to be made.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// Name of the container within its pod.
    pub name: String,
    /// How many containers of that name the pod had before.
    pub attempt: u32,
    /// Name or id of its image, which must be there.
    pub image: String,
    /// Images that are mounted into it, by name or id; they must be there too.
    pub image_volumes: Vec<String>,
    /// What it runs; empty is what the image says.
    pub command: Vec<String>,
    /// Whether it has a kubelet's labels.
    pub with_labels: bool,
    /// Further annotations; they are in every list.
    pub annotations: HashMap<String, String>,
}

impl ContainerSpec {
    /// Runs until it is stopped, and then ends at once on SIGTERM.
    #[must_use]
    pub fn sleeper(name: &str, image: &str) -> Self {
        Self::shell(name, image, "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done")
    }

    /// Runs until it is killed: SIGTERM does not move it.
    #[must_use]
    pub fn stubborn(name: &str, image: &str) -> Self {
        Self::shell(name, image, "trap '' TERM; while :; do sleep 3600; done")
    }

    /// Writes a line to its log and ends.
    #[must_use]
    pub fn exits(name: &str, image: &str) -> Self {
        Self::shell(name, image, "echo done")
    }

    /// Runs a shell script.
    #[must_use]
    pub fn shell(name: &str, image: &str, script: &str) -> Self {
        Self {
            name: name.to_owned(),
            attempt: 0,
            image: image.to_owned(),
            image_volumes: Vec::new(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            with_labels: true,
            annotations: HashMap::new(),
        }
    }

    /// As the container of this attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// With one more image mounted as a volume, at `/volume-0` and so on.
    #[must_use]
    pub fn image_volume(mut self, image: &str) -> Self {
        self.image_volumes.push(image.to_owned());
        self
    }

    /// Without the labels of a kubelet.
    #[must_use]
    pub fn without_labels(mut self) -> Self {
        self.with_labels = false;
        self
    }

    /// With one more annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(super) fn config(&self, pod: &PodSpec) -> ContainerConfig {
        let mut labels = HashMap::new();
        if self.with_labels {
            labels = pod.labels();
            labels.insert(CONTAINER_NAME_LABEL.to_owned(), self.name.clone());
        }
        let log_path = pod.log_root.as_ref().map(|_| format!("{}/{}.log", self.name, self.attempt));
        let mount = |(number, image): (usize, &String)| Mount {
            container_path: format!("/volume-{number}"),
            readonly: true,
            image: Some(ImageSpec { image: image.clone(), ..ImageSpec::default() }),
        };
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: self.name.clone(), attempt: self.attempt }),
            image: Some(ImageSpec { image: self.image.clone(), ..ImageSpec::default() }),
            command: self.command.clone(),
            args: Vec::new(),
            mounts: self.image_volumes.iter().enumerate().map(mount).collect(),
            labels,
            annotations: self.annotations.clone(),
            log_path: log_path.unwrap_or_default(),
            // As a kubelet asks for: each container has processes of its own.
            linux: Some(LinuxContainerConfig {
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: Some(NamespaceOption {
                        pid: NamespaceMode::Container.into(),
                        ..NamespaceOption::default()
                    }),
                }),
            }),
        }
    }
}

/// A UID that no other pod of this machine has, in the usual form.
#[must_use]
pub fn fresh_uid() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed) & 0xffff;
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()) as u64;
    let (high, low) = (nanos >> 32, nanos & 0xffff_ffff);
    let (middle, last) = (high & 0xffff, high >> 16);
    format!(
        "{low:08x}-{middle:04x}-4{:03x}-8{:03x}-{:08x}{last:04x}",
        count >> 12,
        count & 0xfff,
        std::process::id()
    )
}
