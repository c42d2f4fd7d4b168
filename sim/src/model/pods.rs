//! Sandboxes: making, stopping and removing them, with all that is in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cri_gc_policy::SandboxState;
use cri_gc_proto::POD_UID_LABEL;
use jiff::Timestamp;

use crate::error::SimError;
use crate::model::{Node, logs, object};
use crate::options::Flavour;
use crate::spec::PodSpec;

const POD_NAME_LABEL: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";

/// A sandbox on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// 64 hex digits.
    pub id: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Name of its pod.
    pub name: String,
    /// UID of its pod.
    pub uid: String,
    /// Number of sandboxes of the pod before it.
    pub attempt: u32,
    /// State; `Unknown` is told as not ready.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Runtime handler; empty is the default one.
    pub runtime_handler: String,
    /// Folder for the logs of its containers; empty if it has none.
    pub log_directory: PathBuf,
    /// Bytes by which annotations make its entry in a list larger.
    pub annotation_bytes: usize,
    /// The sandbox image that it was made of, and its layers.
    pub(crate) image_id: String,
    pub(crate) layers: Vec<String>,
}

/// A sandbox as a client asks for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewSandbox {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) attempt: u32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) log_directory: PathBuf,
    pub(crate) annotation_bytes: usize,
}

impl Node {
    /// Puts a sandbox on the node and returns its id. It need not be one that could be made now: its state and times
    /// are taken as given, and the sandbox image may be missing.
    ///
    /// # Errors
    /// Its log directory cannot be made, or it has no UID and CRI-O refuses that.
    pub fn add_pod(&mut self, spec: PodSpec) -> Result<String, SimError> {
        self.check_uid(&spec.uid)?;
        let created_at = spec.created_at.unwrap_or_else(|| self.now());
        let mut log_directory = PathBuf::new();
        if spec.log_directory {
            let name = format!("{}_{}_{}", spec.namespace, spec.name, spec.uid);
            log_directory = self.paths.pod_logs_root.join(name);
            if !log_directory.exists() {
                logs::make_dir(&log_directory, created_at)?;
            }
        }
        let mut labels = spec.labels;
        if spec.kubelet_labels {
            labels.insert(POD_NAME_LABEL.to_owned(), spec.name.clone());
            labels.insert(POD_NAMESPACE_LABEL.to_owned(), spec.namespace.clone());
            labels.insert(POD_UID_LABEL.to_owned(), spec.uid.clone());
        }
        let image = self.image(&self.options.sandbox_image);
        let image = image.map(|image| (image.id.clone(), image.layers.clone()));
        let (image_id, layers) = image.unwrap_or_default();
        self.insert_sandbox(Sandbox {
            id: String::new(),
            namespace: spec.namespace,
            name: spec.name,
            uid: spec.uid,
            attempt: spec.attempt,
            state: spec.state,
            created_at,
            labels,
            runtime_handler: spec.runtime_handler,
            log_directory,
            annotation_bytes: spec.annotation_bytes,
            image_id,
            layers,
        })
    }

    fn check_uid(&self, uid: &str) -> Result<(), SimError> {
        if uid.is_empty() && self.options.flavour == Flavour::CriO {
            return Err(SimError::Refused("the pod has no UID".to_owned()));
        }
        Ok(())
    }

    /// Makes a sandbox as RunPodSandbox does.
    pub(crate) fn run_sandbox(&mut self, new: NewSandbox) -> Result<String, SimError> {
        self.check_uid(&new.uid)?;
        let same = |s: &&Sandbox| {
            (&s.namespace, &s.name, &s.uid, s.attempt) == (&new.namespace, &new.name, &new.uid, new.attempt)
        };
        if let Some(other) = self.sandboxes.values().find(same) {
            return Err(SimError::Refused(format!("the name of the sandbox is reserved for {}", other.id)));
        }
        let Some(image) = self.image(&self.options.sandbox_image) else {
            // A runtime pulls the image now. The modelled node reaches no registry, so the pull fails.
            let image = &self.options.sandbox_image;
            return Err(SimError::Refused(format!("sandbox image {image:?}: absent, and pulling it failed")));
        };
        let (image_id, layers) = (image.id.clone(), image.layers.clone());
        let sandbox = Sandbox {
            id: String::new(),
            namespace: new.namespace,
            name: new.name,
            uid: new.uid,
            attempt: new.attempt,
            state: SandboxState::Ready,
            created_at: self.now(),
            labels: new.labels,
            runtime_handler: String::new(),
            log_directory: new.log_directory,
            annotation_bytes: new.annotation_bytes,
            image_id,
            layers,
        };
        self.insert_sandbox(sandbox)
    }

    fn insert_sandbox(&mut self, mut sandbox: Sandbox) -> Result<String, SimError> {
        sandbox.id = self.ids.next();
        self.disk.use_layers(&sandbox.layers);
        let id = sandbox.id.clone();
        self.sandboxes.insert(id.clone(), sandbox);
        if self.options.flavour == Flavour::CriO {
            self.make_sandbox_log(&id)?;
        }
        Ok(id)
    }

    /// The whole id of a sandbox.
    ///
    /// # Errors
    /// The prefix is empty, of no sandbox, or of several.
    pub fn resolve_sandbox(&self, id: &str) -> Result<String, SimError> {
        object::find(&self.sandboxes, "sandbox", id)
    }

    /// The sandbox of that id or unique prefix.
    #[must_use]
    pub fn sandbox(&self, id: &str) -> Option<&Sandbox> {
        self.sandboxes.get(&self.resolve_sandbox(id).ok()?)
    }

    /// All sandboxes, by id.
    pub fn sandboxes(&self) -> impl Iterator<Item = &Sandbox> {
        self.sandboxes.values()
    }

    /// Sets the state of a sandbox and nothing else: its containers go on as they are.
    ///
    /// # Errors
    /// There is no such sandbox.
    pub fn set_sandbox_state(&mut self, id: &str, state: SandboxState) -> Result<(), SimError> {
        let id = self.resolve_sandbox(id)?;
        if let Some(sandbox) = self.sandboxes.get_mut(&id) {
            sandbox.state = state;
        }
        Ok(())
    }

    /// Ends what runs in the sandbox and makes it not ready. Containers that were never started stay CREATED.
    ///
    /// # Errors
    /// There is no such sandbox (over the socket of containerd 2.1, that is success).
    pub fn stop_sandbox(&mut self, id: &str) -> Result<(), SimError> {
        let id = self.resolve_sandbox(id)?;
        for container in self.ids_in(&id) {
            self.stop_container(&container)?;
        }
        self.set_sandbox_state(&id, SandboxState::NotReady)
    }

    /// Ids of the containers in a sandbox, for changing them one by one.
    fn ids_in(&self, sandbox: &str) -> Vec<String> {
        self.containers_in(sandbox).map(|container| container.id.clone()).collect()
    }

    /// Removes the sandbox with every container in it, whatever their states. Log files stay.
    ///
    /// # Errors
    /// There is no such sandbox (over the socket, that is success).
    pub fn remove_sandbox(&mut self, id: &str) -> Result<(), SimError> {
        let id = self.resolve_sandbox(id)?;
        self.stop_sandbox(&id)?;
        for container in self.ids_in(&id) {
            self.remove_container(&container)?;
        }
        if let Some(sandbox) = self.sandboxes.remove(&id) {
            self.disk.release_layers(&sandbox.layers, self.clock.uptime());
        }
        Ok(())
    }
}
