//! Containers: making, starting, stopping and removing them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use cri_gc_policy::{ContainerState, SandboxState};
use cri_gc_proto::CONTAINER_NAME_LABEL;

use super::node::{Node, ids, uid_label};
use super::objects::{Container, ImageVolume, Sandbox};
use super::{crio, logs};
use crate::error::SimError;
use crate::ids::{find, not_found};
use crate::options::Flavour;
use crate::space::Space;
use crate::spec::{ContainerSpec, LogSpec};

impl Node {
    /// Puts a container on the node, with its log, and returns its id. It need not be one that could be made now: its
    /// state and times are taken as given, whatever the state of the sandbox.
    ///
    /// # Errors
    /// Its sandbox or its image is missing, or its log cannot be made.
    pub fn add_container(&mut self, mut spec: ContainerSpec) -> Result<String, SimError> {
        let sandbox = self.find_sandbox(&spec.sandbox)?;
        if spec.kubelet_labels {
            let pod = sandbox.spec.labels.iter().filter(|(key, _)| key.starts_with("io.kubernetes.pod."));
            spec.labels.extend(pod.map(|(key, value)| (key.clone(), value.clone())));
            spec.labels.insert(CONTAINER_NAME_LABEL.to_owned(), spec.name.clone());
        }
        let log = spec.log.take();
        let log_path = match &log {
            Some(_) if !sandbox.log_directory.as_os_str().is_empty() => {
                sandbox.log_directory.join(&spec.name).join(format!("{}.log", spec.attempt))
            }
            _ => PathBuf::new(),
        };
        if spec.image.is_empty() {
            spec.image.clone_from(&self.options.sandbox_image);
        }
        let id = self.insert_container(spec, log_path)?;
        let Some((log, container)) = log.zip(self.containers.get(&id)) else { return Ok(id) };
        let Container { spec, created_at, log_path, .. } = container;
        if spec.state != ContainerState::Created && !log_path.as_os_str().is_empty() {
            let modified = spec.finished_at.or(spec.started_at).unwrap_or(*created_at);
            logs::make_log(log_path, &log, *created_at, modified)?;
        }
        if log.legacy_link {
            self.add_legacy_link(&id)?;
        }
        Ok(id)
    }

    /// Makes a container as CreateContainer does: in a ready sandbox (with containerd 2.1 in any), from an image on the
    /// node, under a new name. Its log is in that directory, which is the one that the request names for the sandbox.
    pub(crate) fn create_container(
        &mut self,
        spec: ContainerSpec,
        log_directory: &Path,
        log: &str,
    ) -> Result<String, SimError> {
        let sandbox = self.find_sandbox(&spec.sandbox)?;
        let id = &sandbox.id;
        match self.options.flavour {
            _ if sandbox.spec.state == SandboxState::Ready => {}
            // To containerd 1 the process of the sandbox is what is missing.
            Flavour::Containerd16 => return Err(not_found("process of sandbox", id)),
            // It notices at the start only.
            Flavour::Containerd21 => {}
            Flavour::CriO => return Err(SimError::Refused(format!("sandbox {id} is stopped"))),
        }
        // The number of the sandbox is no part of the name: two sandboxes of one pod share the names.
        let same = |c: &&Container| {
            c.spec.name == spec.name
                && c.spec.attempt == spec.attempt
                && self.sandboxes.get(&c.spec.sandbox).is_some_and(|Sandbox { spec: pod, .. }| {
                    let own = &sandbox.spec;
                    (&pod.namespace, &pod.name, &pod.uid) == (&own.namespace, &own.name, &own.uid)
                })
        };
        if let Some(other) = self.containers.values().find(same) {
            return Err(SimError::Refused(format!("the name of the container is reserved for {}", other.id)));
        }
        let log_path = match self.options.flavour {
            _ if log.is_empty() => PathBuf::new(),
            Flavour::CriO => self.log_path_as_crio(id, log),
            // The log directory is read from this request, not from what the sandbox was made with.
            _ if log_directory.as_os_str().is_empty() => PathBuf::new(),
            _ => log_directory.join(log.trim_start_matches('/')),
        };
        self.insert_container(spec, log_path)
    }

    fn insert_container(
        &mut self,
        mut spec: ContainerSpec,
        mut log_path: PathBuf,
    ) -> Result<String, SimError> {
        spec.sandbox = self.find_sandbox(&spec.sandbox)?.id.clone();
        let find_image = |name: &str| self.image(name).ok_or_else(|| not_found("image", name));
        if !spec.image_volumes.is_empty() && !self.options.flavour.has_image_volumes() {
            return Err(SimError::Refused("this runtime has no image volumes".to_owned()));
        }
        let image = find_image(&spec.image)?;
        let is_crio = self.options.flavour == Flavour::CriO;
        let resolved = if is_crio { crio::image_ref(image, &spec.image) } else { image.id.clone() };
        let image_id = image.id.clone();
        let (mut layers, mut volumes) = (image.layers.clone(), Vec::new());
        for name in &spec.image_volumes {
            let volume = find_image(name)?;
            layers.extend_from_slice(&volume.layers);
            volumes.push(ImageVolume { image_id: volume.id.clone(), image: name.clone() });
        }
        let id = self.ids.next();
        // CRI-O makes a log that was not requested, too.
        if is_crio && log_path.as_os_str().is_empty() {
            log_path = self.log_path_as_crio(&spec.sandbox, &format!("{id}.log"));
        }
        let now = self.now();
        let created_at = spec.created_at.unwrap_or(now);
        let started = (spec.state != ContainerState::Created).then_some(created_at);
        spec.started_at = spec.started_at.or(started);
        spec.finished_at = spec.finished_at.or((spec.state == ContainerState::Exited).then_some(now));
        let image_ref = spec.image_ref.clone().unwrap_or(resolved);
        let container =
            Container { id: id.clone(), spec, created_at, image_id, image_ref, volumes, log_path, layers };
        self.disk.use_layers(&container.layers);
        self.disk.resize_writable(Space::default(), container.spec.writable, self.clock.uptime());
        self.by_sandbox.insert((container.spec.sandbox.clone(), id.clone()));
        self.by_uid.extend(uid_label(&container.spec.labels).map(|uid| (uid.clone(), id.clone())));
        self.containers.insert(id.clone(), container);
        Ok(id)
    }

    /// The container of that id or unique prefix; else why there is none.
    pub(crate) fn find_container(&self, id: &str) -> Result<&Container, SimError> {
        find(&self.containers, "container", id)
    }

    fn container_mut(&mut self, id: &str) -> Result<&mut Container, SimError> {
        let id = self.find_container(id)?.id.clone();
        self.containers.get_mut(&id).ok_or_else(|| not_found("container", &id))
    }

    /// The container of that id or unique prefix.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&Container> {
        self.find_container(id).ok()
    }

    /// All containers, by id.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.containers.values()
    }

    /// The containers in the sandbox of that whole id, by id.
    pub fn containers_in<'a>(&'a self, sandbox: &'a str) -> impl Iterator<Item = &'a Container> {
        ids(&self.by_sandbox, sandbox).filter_map(|id| self.containers.get(id))
    }

    /// The containers with that UID in the label of a kubelet, by id.
    pub fn containers_of<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a Container> {
        ids(&self.by_uid, uid).filter_map(|id| self.containers.get(id))
    }

    /// Sets the state of a container. Times that the new state needs and that are not known become now, those that it
    /// cannot have are forgotten. Makes no file.
    ///
    /// # Errors
    /// There is no such container.
    pub fn set_container_state(&mut self, id: &str, state: ContainerState) -> Result<(), SimError> {
        let now = self.now();
        let container = &mut self.container_mut(id)?.spec;
        container.state = state;
        match state {
            ContainerState::Created => (container.started_at, container.finished_at) = (None, None),
            ContainerState::Running => {
                container.started_at.get_or_insert(now);
                container.finished_at = None;
            }
            ContainerState::Exited => {
                container.started_at.get_or_insert(now);
                container.finished_at.get_or_insert(now);
            }
            ContainerState::Unknown => {}
        }
        Ok(())
    }

    /// Ends a container whose process was killed while the runtime was down. When that was, containerd takes to be now;
    /// CRI-O knows neither when it started nor when it ended.
    ///
    /// # Errors
    /// There is no such container.
    pub fn kill_unseen(&mut self, id: &str) -> Result<(), SimError> {
        self.set_container_state(id, ContainerState::Exited)?;
        if self.options.flavour == Flavour::CriO {
            let container = &mut self.container_mut(id)?.spec;
            (container.started_at, container.finished_at) = (None, None);
        }
        Ok(())
    }

    /// Sets the size of the writable layer of a container.
    ///
    /// # Errors
    /// There is no such container.
    pub fn set_writable(&mut self, id: &str, bytes: u64, files: u64) -> Result<(), SimError> {
        let uptime = self.clock.uptime();
        let to = Space { bytes, inodes: files };
        let before = std::mem::replace(&mut self.container_mut(id)?.spec.writable, to);
        self.disk.resize_writable(before, to, uptime);
        Ok(())
    }

    /// Starts a container as StartContainer does, and opens its log file. One that fails to start has exited.
    ///
    /// # Errors
    /// There is no such container, it is not CREATED, its sandbox is not ready, or its log file cannot be opened: its
    /// folder is missing (a runtime does not make it), or it is where this node may not write.
    pub fn start_container(&mut self, id: &str) -> Result<(), SimError> {
        let container = self.container_mut(id)?.clone();
        if container.spec.state != ContainerState::Created {
            return Err(SimError::Refused(format!("container {id}: only a created one can be started")));
        }
        let ready = |s: &Sandbox| s.spec.state == SandboxState::Ready;
        let opened = if self.sandbox(&container.spec.sandbox).is_some_and(ready) {
            self.open_log(&container)
        } else {
            Err(SimError::Refused(format!("sandbox {} is not running", container.spec.sandbox)))
        };
        let state = if opened.is_ok() { ContainerState::Running } else { ContainerState::Exited };
        self.set_container_state(&container.id, state)?;
        if opened.is_err() {
            self.container_mut(&container.id)?.spec.started_at = None;
        }
        opened
    }

    fn open_log(&self, container: &Container) -> Result<(), SimError> {
        let path = &container.log_path;
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        if !self.may_write(path) {
            return Err(SimError::Refused(format!("log file {} is outside the node", path.display())));
        }
        if path.starts_with(&self.paths.runtime_logs) {
            path.parent().map_or(Ok(()), |folder| logs::make_dir(folder, self.now()))?;
        }
        logs::write_log(path, LogSpec::default().bytes, self.now())
    }

    /// Whether a file that a client names is one that this node may make.
    pub(crate) fn may_write(&self, path: &Path) -> bool {
        let mut roots = self.options.log_roots.iter().chain([&self.paths.root]);
        let up = path.components().any(|part| part == std::path::Component::ParentDir);
        !up && roots.any(|root| path.starts_with(root))
    }

    /// Ends a container that runs, or whose state is unknown; any other is left as it is.
    ///
    /// # Errors
    /// There is no such container (over the socket of containerd 2.1, that is success).
    pub fn stop_container(&mut self, id: &str) -> Result<(), SimError> {
        let state = self.container_mut(id)?.spec.state;
        if matches!(state, ContainerState::Running | ContainerState::Unknown) {
            self.set_container_state(id, ContainerState::Exited)?;
        }
        Ok(())
    }

    /// Removes a container, running or not. Its log files are kept.
    ///
    /// # Errors
    /// There is no such container (over the socket, that is success).
    pub fn remove_container(&mut self, id: &str) -> Result<(), SimError> {
        let id = self.find_container(id)?.id.clone();
        if let Some(container) = self.containers.remove(&id) {
            let uptime = self.clock.uptime();
            if let Some(uid) = uid_label(&container.spec.labels) {
                self.by_uid.remove(&(uid.clone(), id.clone()));
            }
            self.by_sandbox.remove(&(container.spec.sandbox, id));
            self.disk.release_layers(&container.layers, uptime);
            self.disk.resize_writable(container.spec.writable, Space::default(), uptime);
        }
        Ok(())
    }

    /// Makes the link to the log of a container that a kubelet makes, `<pod>_<namespace>_<name>-<id>.log` in the
    /// legacy root, and returns its path. The log need not exist.
    ///
    /// # Errors
    /// There is no such container, or the link cannot be made.
    pub fn add_legacy_link(&self, id: &str) -> Result<PathBuf, SimError> {
        let container = self.find_container(id)?;
        let pod = &self.find_sandbox(&container.spec.sandbox)?.spec;
        let name = format!("{}_{}_{}-{}.log", pod.name, pod.namespace, container.spec.name, container.id);
        let link = self.paths.legacy_root.join(name);
        symlink(&container.log_path, &link).map_err(SimError::io(&link))?;
        Ok(link)
    }
}
