//! Containers: making, starting, stopping and removing them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cri_gc_policy::{ContainerState, SandboxState};
use jiff::Timestamp;

use crate::error::SimError;
use crate::model::{Node, crio, logs, object};
use crate::options::Flavour;
use crate::spec::ContainerSpec;

const CONTAINER_NAME_LABEL: &str = "io.kubernetes.container.name";

/// A container on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// Id of its sandbox.
    pub sandbox: String,
    /// Name in its pod.
    pub name: String,
    /// Number of containers of that name before it.
    pub attempt: u32,
    /// State.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its image as its creator asked for it.
    pub image: String,
    /// Id of that image then.
    pub image_id: String,
    /// What the runtime resolved that image to: its id with containerd, one of its digests or its id with CRI-O.
    pub image_ref: String,
    /// Images that are mounted into it.
    pub volumes: Vec<ImageVolume>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its log file; empty if it has none.
    pub log_path: PathBuf,
    /// Bytes and inodes in its writable layer.
    pub writable: (u64, u64),
    /// Bytes by which annotations make its entry in a list larger.
    pub annotation_bytes: usize,
    /// Layers of its image and of its image volumes.
    pub(crate) layers: Vec<String>,
}

/// An image that is mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVolume {
    /// The image as the container's creator asked for it.
    pub image: String,
    /// Its id then.
    pub image_id: String,
}

/// What the images of a container come to when it is made.
struct Source {
    image_id: String,
    image_ref: String,
    volumes: Vec<ImageVolume>,
    layers: Vec<String>,
}

/// A container as a client asks for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewContainer {
    pub(crate) sandbox: String,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) image: String,
    pub(crate) image_volumes: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Log directory of the sandbox as this request has it, and the log in it.
    pub(crate) log_directory: PathBuf,
    pub(crate) log: String,
    pub(crate) annotation_bytes: usize,
}

impl Node {
    /// Puts a container on the node, with its log, and returns its id. It need not be one that could be made now: its
    /// state and times are taken as given, whatever the state of the sandbox.
    ///
    /// # Errors
    /// Its sandbox or its image is not there, or its log cannot be made.
    pub fn add_container(&mut self, spec: ContainerSpec) -> Result<String, SimError> {
        let id = self.resolve_sandbox(&spec.sandbox)?;
        let sandbox = self.sandboxes.get(&id).ok_or_else(|| object::not_found("sandbox", &id))?;
        let log_path = match &spec.log {
            Some(_) if !sandbox.log_directory.as_os_str().is_empty() => {
                sandbox.log_directory.join(&spec.name).join(format!("{}.log", spec.attempt))
            }
            _ => PathBuf::new(),
        };
        let mut labels = spec.labels;
        if spec.kubelet_labels {
            let pod = sandbox.labels.iter().filter(|(key, _)| key.starts_with("io.kubernetes.pod."));
            labels.extend(pod.map(|(key, value)| (key.clone(), value.clone())));
            labels.insert(CONTAINER_NAME_LABEL.to_owned(), spec.name.clone());
        }
        let asked = if spec.image.is_empty() { &self.options.sandbox_image } else { &spec.image };
        let source = self.source(asked, &spec.image_volumes)?;
        let now = self.now();
        let created_at = spec.created_at.unwrap_or(now);
        let started = spec.state != ContainerState::Created;
        let started_at = spec.started_at.or(started.then_some(created_at));
        let exited = spec.state == ContainerState::Exited;
        let container = Container {
            id: String::new(),
            sandbox: id,
            name: spec.name,
            attempt: spec.attempt,
            state: spec.state,
            created_at,
            started_at,
            finished_at: spec.finished_at.or(exited.then_some(now)),
            image: asked.clone(),
            image_id: source.image_id,
            image_ref: spec.image_ref.unwrap_or(source.image_ref),
            volumes: source.volumes,
            labels,
            log_path,
            writable: (spec.writable_bytes, spec.writable_files),
            annotation_bytes: spec.annotation_bytes,
            layers: source.layers,
        };
        let modified = container.finished_at.or(started_at).unwrap_or(created_at);
        let id = self.insert_container(container);
        let log_path =
            self.containers.get(&id).map(|container| container.log_path.clone()).unwrap_or_default();
        if let (Some(log), true, false) = (&spec.log, started, log_path.as_os_str().is_empty()) {
            logs::make_log(&log_path, log, created_at, modified)?;
        }
        if spec.log.is_some_and(|log| log.legacy_link) {
            self.add_legacy_link(&id)?;
        }
        Ok(id)
    }

    /// Makes a container as CreateContainer does: in a ready sandbox (with containerd 2.1 in
    /// any), from an image on the node, under a new name.
    pub(crate) fn create_container(&mut self, new: NewContainer) -> Result<String, SimError> {
        let id = self.resolve_sandbox(&new.sandbox)?;
        let sandbox = self.sandboxes.get(&id).ok_or_else(|| object::not_found("sandbox", &id))?;
        match self.options.flavour {
            _ if sandbox.state == SandboxState::Ready => {}
            // To containerd 1 the process of the sandbox is what is missing.
            Flavour::Containerd16 => return Err(object::not_found("process of sandbox", &id)),
            // It notices at the start only.
            Flavour::Containerd21 => {}
            Flavour::CriO => return Err(SimError::Refused(format!("sandbox {id} is stopped"))),
        }
        // The number of the sandbox is no part of the name: two sandboxes of one pod share the names.
        let same = |c: &&Container| {
            c.name == new.name
                && c.attempt == new.attempt
                && self.sandboxes.get(&c.sandbox).is_some_and(|other| {
                    (&other.namespace, &other.name, &other.uid)
                        == (&sandbox.namespace, &sandbox.name, &sandbox.uid)
                })
        };
        if let Some(other) = self.containers.values().find(same) {
            return Err(SimError::Refused(format!("the name of the container is reserved for {}", other.id)));
        }
        let source = self.source(&new.image, &new.image_volumes)?;
        let log_path = match self.options.flavour {
            _ if new.log.is_empty() => PathBuf::new(),
            Flavour::CriO => self.log_path_as_crio(&id, &new.log),
            // The log directory is read from this request, not from what the sandbox was made with.
            _ if new.log_directory.as_os_str().is_empty() => PathBuf::new(),
            _ => new.log_directory.join(new.log.trim_start_matches('/')),
        };
        let container = Container {
            id: String::new(),
            sandbox: id,
            name: new.name,
            attempt: new.attempt,
            state: ContainerState::Created,
            created_at: self.now(),
            started_at: None,
            finished_at: None,
            image: new.image,
            image_id: source.image_id,
            image_ref: source.image_ref,
            volumes: source.volumes,
            labels: new.labels,
            log_path,
            writable: (0, 0),
            annotation_bytes: new.annotation_bytes,
            layers: source.layers,
        };
        Ok(self.insert_container(container))
    }

    /// What the images that a container is made of resolve to now.
    fn source(&self, asked: &str, image_volumes: &[String]) -> Result<Source, SimError> {
        let find = |name: &str| self.image(name).ok_or_else(|| object::not_found("image", name));
        if !image_volumes.is_empty() && !self.options.flavour.has_image_volumes() {
            return Err(SimError::Refused("this runtime has no image volumes".to_owned()));
        }
        let image = find(asked)?;
        let crio = self.options.flavour == Flavour::CriO;
        let mut source = Source {
            image_id: image.id.clone(),
            image_ref: if crio { crio::image_ref(image, asked) } else { image.id.clone() },
            volumes: Vec::new(),
            layers: image.layers.clone(),
        };
        for name in image_volumes {
            let volume = find(name)?;
            source.layers.extend_from_slice(&volume.layers);
            source.volumes.push(ImageVolume { image: name.clone(), image_id: volume.id.clone() });
        }
        Ok(source)
    }

    fn insert_container(&mut self, mut container: Container) -> String {
        container.id = self.ids.next();
        // CRI-O makes a log that nobody asked for, too.
        if self.options.flavour == Flavour::CriO && container.log_path.as_os_str().is_empty() {
            container.log_path = self.log_path_as_crio(&container.sandbox, &format!("{}.log", container.id));
        }
        self.disk.use_layers(&container.layers);
        self.disk.resize_writable((0, 0), container.writable, self.clock.uptime());
        let id = container.id.clone();
        self.by_sandbox.insert((container.sandbox.clone(), id.clone()));
        self.containers.insert(id.clone(), container);
        id
    }

    /// The whole id of a container.
    ///
    /// # Errors
    /// The prefix is empty, of no container, or of several.
    pub fn resolve_container(&self, id: &str) -> Result<String, SimError> {
        object::find(&self.containers, "container", id)
    }

    fn container_mut(&mut self, id: &str) -> Result<&mut Container, SimError> {
        let id = self.resolve_container(id)?;
        self.containers.get_mut(&id).ok_or_else(|| object::not_found("container", &id))
    }

    /// The container of that id or unique prefix.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&Container> {
        self.containers.get(&self.resolve_container(id).ok()?)
    }

    /// All containers, by id.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.containers.values()
    }

    /// The containers in the sandbox of that whole id, by id.
    pub fn containers_in(&self, sandbox: &str) -> impl Iterator<Item = &Container> {
        self.by_sandbox
            .range((sandbox.to_owned(), String::new())..)
            .take_while(move |(of, _)| of == sandbox)
            .filter_map(|(_, id)| self.containers.get(id))
    }

    /// Sets the state of a container. Times that the new state needs and that are not known become now, those that it
    /// cannot have are forgotten. Makes no file.
    ///
    /// # Errors
    /// There is no such container.
    pub fn set_container_state(&mut self, id: &str, state: ContainerState) -> Result<(), SimError> {
        let now = self.now();
        let container = self.container_mut(id)?;
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
            let container = self.container_mut(id)?;
            (container.started_at, container.finished_at) = (None, None);
        }
        Ok(())
    }

    /// Sets what the writable layer of a container holds.
    ///
    /// # Errors
    /// There is no such container.
    pub fn set_writable(&mut self, id: &str, bytes: u64, files: u64) -> Result<(), SimError> {
        let uptime = self.clock.uptime();
        let container = self.container_mut(id)?;
        let before = std::mem::replace(&mut container.writable, (bytes, files));
        self.disk.resize_writable(before, (bytes, files), uptime);
        Ok(())
    }

    /// Starts a container as StartContainer does, and opens its log file. One that fails to start has exited.
    ///
    /// # Errors
    /// There is no such container, it is not CREATED, its sandbox is not ready, or its log file cannot be opened: its
    /// folder is missing (a runtime does not make it), or lies where this node may not write.
    pub fn start_container(&mut self, id: &str) -> Result<(), SimError> {
        let container = self.container_mut(id)?.clone();
        if container.state != ContainerState::Created {
            return Err(SimError::Refused(format!("container {id}: only a created one can be started")));
        }
        let ready = |s: &crate::model::Sandbox| s.state == SandboxState::Ready;
        let opened = if self.sandbox(&container.sandbox).is_some_and(ready) {
            self.open_log(&container)
        } else {
            Err(SimError::Refused(format!("sandbox {} is not running", container.sandbox)))
        };
        let state = if opened.is_ok() { ContainerState::Running } else { ContainerState::Exited };
        self.set_container_state(&container.id, state)?;
        if opened.is_err() {
            self.container_mut(&container.id)?.started_at = None;
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
        logs::open_log(path, self.now())
    }

    /// Whether a file that a client names is one that this node may make.
    pub(crate) fn may_write(&self, path: &Path) -> bool {
        let mut roots = self.options.log_roots.iter().chain([&self.paths.root]);
        let up = path.components().any(|part| part == std::path::Component::ParentDir);
        !up && roots.any(|root| path.starts_with(root))
    }

    /// Ends a container that runs, or that nothing is known of; any other stays as it is.
    ///
    /// # Errors
    /// There is no such container (over the socket of containerd 2.1, that is success).
    pub fn stop_container(&mut self, id: &str) -> Result<(), SimError> {
        let state = self.container_mut(id)?.state;
        if matches!(state, ContainerState::Running | ContainerState::Unknown) {
            self.set_container_state(id, ContainerState::Exited)?;
        }
        Ok(())
    }

    /// Removes a container, running or not. Its log files stay.
    ///
    /// # Errors
    /// There is no such container (over the socket, that is success).
    pub fn remove_container(&mut self, id: &str) -> Result<(), SimError> {
        let id = self.resolve_container(id)?;
        if let Some(container) = self.containers.remove(&id) {
            let uptime = self.clock.uptime();
            self.by_sandbox.remove(&(container.sandbox, id));
            self.disk.release_layers(&container.layers, uptime);
            self.disk.resize_writable(container.writable, (0, 0), uptime);
        }
        Ok(())
    }

    /// Makes the link to the log of a container that a kubelet makes, `<pod>_<namespace>_<name>-<id>.log` in the
    /// legacy root, and returns its path. The log need not exist.
    ///
    /// # Errors
    /// There is no such container, or the link cannot be made.
    pub fn add_legacy_link(&self, id: &str) -> Result<PathBuf, SimError> {
        let container = self.container(id).ok_or_else(|| object::not_found("container", id))?;
        let sandbox = self
            .sandbox(&container.sandbox)
            .ok_or_else(|| object::not_found("sandbox", &container.sandbox))?;
        let name = format!("{}_{}_{}-{}.log", sandbox.name, sandbox.namespace, container.name, container.id);
        let link = self.paths.legacy_root.join(name);
        logs::make_link(&link, &container.log_path)?;
        Ok(link)
    }
}
