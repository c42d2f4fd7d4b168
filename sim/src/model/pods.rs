//! Sandboxes: making, stopping and removing them, with all that is in them.

use std::path::PathBuf;

use cri_gc_policy::{ContainerState, SandboxState};
use cri_gc_proto::{POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL};

use super::logs;
use super::node::{Node, ids, uid_label};
use super::objects::{Container, Sandbox};
use crate::error::SimError;
use crate::ids::find;
use crate::options::Flavour;
use crate::spec::PodSpec;

impl Node {
    /// Puts a sandbox on the node and returns its id. It need not be one that could be made now: its state and times
    /// are taken as given, and the sandbox image may be missing.
    ///
    /// # Errors
    /// Its log directory cannot be made, or it has no UID and CRI-O refuses that.
    pub fn add_pod(&mut self, mut spec: PodSpec) -> Result<String, SimError> {
        self.check_uid(&spec)?;
        let mut log_directory = PathBuf::new();
        if spec.log_directory {
            let name = format!("{}_{}_{}", spec.namespace, spec.name, spec.uid);
            log_directory = self.paths.pod_logs_root.join(name);
            if !log_directory.exists() {
                logs::make_dir(&log_directory, spec.created_at.unwrap_or_else(|| self.now()))?;
            }
        }
        if spec.kubelet_labels {
            let labels = [
                (POD_NAME_LABEL, &spec.name),
                (POD_NAMESPACE_LABEL, &spec.namespace),
                (POD_UID_LABEL, &spec.uid),
            ];
            spec.labels.extend(labels.map(|(key, value)| (key.to_owned(), value.clone())));
        }
        self.insert_sandbox(spec, log_directory)
    }

    /// Makes a sandbox as RunPodSandbox does.
    pub(crate) fn run_sandbox(&mut self, spec: PodSpec, log_directory: PathBuf) -> Result<String, SimError> {
        self.check_uid(&spec)?;
        let same = |s: &&Sandbox| {
            (&s.spec.namespace, &s.spec.name, &s.spec.uid, s.spec.attempt)
                == (&spec.namespace, &spec.name, &spec.uid, spec.attempt)
        };
        if let Some(other) = self.sandboxes.values().find(same) {
            return Err(SimError::Refused(format!("the name of the sandbox is reserved for {}", other.id)));
        }
        let image = &self.options.sandbox_image;
        if self.image(image).is_none() {
            // A runtime would pull the image. The modelled node reaches no registry, so the pull fails.
            return Err(SimError::Refused(format!(
                "sandbox image {image:?}: missing, and pulling it failed"
            )));
        }
        self.insert_sandbox(spec, log_directory)
    }

    fn check_uid(&self, spec: &PodSpec) -> Result<(), SimError> {
        if spec.uid.is_empty() && self.options.flavour == Flavour::CriO {
            return Err(SimError::Refused("the pod has no UID".to_owned()));
        }
        Ok(())
    }

    fn insert_sandbox(&mut self, spec: PodSpec, log_directory: PathBuf) -> Result<String, SimError> {
        let image = self.image(&self.options.sandbox_image);
        let (image_id, layers) =
            image.map(|image| (image.id.clone(), image.layers.clone())).unwrap_or_default();
        let sandbox = Sandbox {
            id: self.ids.next(),
            created_at: spec.created_at.unwrap_or_else(|| self.now()),
            spec,
            log_directory,
            image_id,
            layers,
        };
        self.disk.use_layers(&sandbox.layers);
        let id = sandbox.id.clone();
        self.by_uid.extend(uid_label(&sandbox.spec.labels).map(|uid| (uid.clone(), id.clone())));
        self.sandboxes.insert(id.clone(), sandbox);
        if self.options.flavour == Flavour::CriO {
            self.make_sandbox_log(&id)?;
        }
        Ok(id)
    }

    /// The sandbox of that id or unique prefix; else why there is none.
    pub(crate) fn find_sandbox(&self, id: &str) -> Result<&Sandbox, SimError> {
        find(&self.sandboxes, "sandbox", id)
    }

    /// The sandbox of that id or unique prefix.
    #[must_use]
    pub fn sandbox(&self, id: &str) -> Option<&Sandbox> {
        self.find_sandbox(id).ok()
    }

    /// The sandboxes with that UID in the label of a kubelet, by id.
    pub fn sandboxes_of<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a Sandbox> {
        ids(&self.by_uid, uid).filter_map(|id| self.sandboxes.get(id))
    }

    /// All sandboxes, by id.
    pub fn sandboxes(&self) -> impl Iterator<Item = &Sandbox> {
        self.sandboxes.values()
    }

    /// The UID of the pod of a container: of its sandbox, else in its label; empty if it belongs to none.
    #[must_use]
    pub fn pod_of(&self, container: &Container) -> String {
        let of_sandbox = self.sandbox(&container.spec.sandbox).map(|sandbox| &sandbox.spec.uid);
        of_sandbox.or_else(|| uid_label(&container.spec.labels)).cloned().unwrap_or_default()
    }

    /// Whether a container of that pod runs, or a sandbox of it is not known to have ended.
    #[must_use]
    pub fn pod_runs(&self, uid: &str) -> bool {
        let is_up = |s: &Sandbox| s.spec.uid == uid && s.spec.state != SandboxState::NotReady;
        let runs = |c: &Container| c.spec.state == ContainerState::Running && self.pod_of(c) == uid;
        self.sandboxes().any(is_up) || self.containers().any(runs)
    }

    /// Sets the state of a sandbox and nothing else: its containers go on as they are.
    ///
    /// # Errors
    /// There is no such sandbox.
    pub fn set_sandbox_state(&mut self, id: &str, state: SandboxState) -> Result<(), SimError> {
        let id = self.find_sandbox(id)?.id.clone();
        if let Some(sandbox) = self.sandboxes.get_mut(&id) {
            sandbox.spec.state = state;
        }
        Ok(())
    }

    /// Ends what runs in the sandbox and makes it not ready. Containers that were never started remain CREATED.
    ///
    /// # Errors
    /// There is no such sandbox (over the socket of containerd 2.1, that is success).
    pub fn stop_sandbox(&mut self, id: &str) -> Result<(), SimError> {
        let id = self.find_sandbox(id)?.id.clone();
        for container in self.ids_in(&id) {
            self.stop_container(&container)?;
        }
        self.set_sandbox_state(&id, SandboxState::NotReady)
    }

    /// Ids of the containers in a sandbox, for changing them one by one.
    fn ids_in(&self, sandbox: &str) -> Vec<String> {
        self.containers_in(sandbox).map(|container| container.id.clone()).collect()
    }

    /// The record of a sandbox is lost, as after a restart of a runtime that can't read it: its containers are left.
    pub fn lose_sandbox(&mut self, id: &str) {
        self.forget_sandbox(id);
    }

    fn forget_sandbox(&mut self, id: &str) -> Option<Sandbox> {
        let sandbox = self.sandboxes.remove(id)?;
        if let Some(uid) = uid_label(&sandbox.spec.labels) {
            self.by_uid.remove(&(uid.clone(), id.to_owned()));
        }
        Some(sandbox)
    }

    /// Removes the sandbox with every container in it, whatever their states. Log files are kept.
    ///
    /// # Errors
    /// There is no such sandbox (over the socket, that is success).
    pub fn remove_sandbox(&mut self, id: &str) -> Result<(), SimError> {
        let id = self.find_sandbox(id)?.id.clone();
        for container in self.ids_in(&id) {
            self.remove_container(&container)?;
        }
        if let Some(sandbox) = self.forget_sandbox(&id) {
            self.disk.release_layers(&sandbox.layers, self.clock.uptime());
        }
        Ok(())
    }
}
