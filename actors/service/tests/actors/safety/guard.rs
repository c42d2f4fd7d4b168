//! The rules (behaviour: Never removed), checked on the model at each stop and each removal, and on the files after a pass.
//!
//! What a pod is, is taken from the model itself, not from what the product makes of it. A violation is noted, not
//! panicked about: the rules are checked on the thread of the embedded runtime.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cri_gc_config::{Settings, Unmanaged};
use cri_gc_sim::{Container, ContainerState, Method, Node, SandboxState};
use jiff::Timestamp;
use proptest::test_runner::TestCaseError;

use crate::bed::Bed;

/// What decides who is newer: creation, attempt, and then the smaller id.
type Age = (Timestamp, u32, std::cmp::Reverse<String>);

/// The watch over one node.
pub struct Guard {
    state: Arc<Mutex<State>>,
}

struct State {
    settings: Settings,
    violations: Vec<String>,
    /// Containers that were removed with their sandboxes.
    with_sandboxes: u64,
    /// Pods that were deleted when everything was listed last, with the objects that there were of them then.
    deleted: HashMap<String, HashSet<String>>,
    /// Pods that were deleted when all sandboxes, or those that are ready, were listed last.
    whole: HashSet<String>,
    /// Dead containers that could be removed by their age, of each pod and name, as of then.
    units: HashMap<(String, String), Vec<Age>>,
    /// Sandboxes of each pod, as of then.
    sandboxes: HashMap<String, Vec<Age>>,
    /// Containers that were stopped because nothing was known of them.
    stopped: HashSet<String>,
    /// Logs of what ran when the watch began, and all log directories by the UIDs of their pods.
    logs: Vec<(String, PathBuf)>,
    directories: Vec<(PathBuf, String)>,
}

impl Guard {
    pub fn new(bed: &Bed) -> Self {
        let state = State {
            settings: bed.settings.clone(),
            violations: Vec::new(),
            with_sandboxes: 0,
            deleted: HashMap::new(),
            whole: HashSet::new(),
            units: HashMap::new(),
            sandboxes: HashMap::new(),
            stopped: HashSet::new(),
            logs: Vec::new(),
            directories: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Watches from now on, until the hooks are cleared.
    pub fn watch(&self, bed: &Bed) {
        self.state().see_files(bed);
        let on = |method: Method, rule: fn(&mut State, &Node, &str)| {
            let state = Arc::clone(&self.state);
            bed.sim.before(method, move |node, id| rule(&mut state.lock().unwrap(), node, id));
        };
        on(Method::ListContainers, State::listed);
        on(Method::ListPodSandbox, State::sandboxes_listed);
        on(Method::StopContainer, State::stop_container);
        on(Method::RemoveContainer, State::remove_container);
        on(Method::StopPodSandbox, |state, node, id| state.end_sandbox(node, id, "stopped"));
        on(Method::RemovePodSandbox, |state, node, id| state.end_sandbox(node, id, "removed"));
        on(Method::RemoveImage, State::remove_image);
    }

    /// How many containers were removed, or about to be, with their sandboxes.
    pub fn with_sandboxes(&self) -> u64 {
        self.state().with_sandboxes
    }

    pub fn verdict(&self) -> Result<(), TestCaseError> {
        let violations = &self.state().violations;
        if violations.is_empty() { Ok(()) } else { Err(TestCaseError::fail(violations.join("\n"))) }
    }

    /// What had to be kept on the disk is still there.
    pub fn check_files(&self, bed: &Bed) {
        let state = &mut *self.state();
        let mut violations = Vec::new();
        bed.sim.with(|node| {
            for (id, log) in &state.logs {
                let runs = node.container(id).is_some_and(|c| c.spec.state == ContainerState::Running);
                if runs && !log.exists() {
                    violations.push(format!("the log of the running container {id} is removed"));
                }
            }
            for (directory, uid) in state.directories.iter().filter(|(directory, _)| !directory.exists()) {
                let shown = directory.display();
                if uid.is_empty() {
                    violations.push(format!("{shown} is the log directory of no pod, and is removed"));
                } else if node.sandboxes().any(|sandbox| sandbox.spec.uid == *uid) {
                    violations.push(format!("{shown} is removed, and the runtime knows its pod"));
                }
            }
        });
        state.violations.append(&mut violations);
        state.see_files(bed);
    }
}

impl State {
    fn see_files(&mut self, bed: &Bed) {
        let running = |c: &&Container| c.spec.state == ContainerState::Running && c.log_path.exists();
        self.logs = bed.sim.with(|node| {
            node.containers().filter(running).map(|c| (c.id.clone(), c.log_path.clone())).collect()
        });
        let entries = std::fs::read_dir(&bed.sim.paths().pod_logs_root).unwrap();
        self.directories = entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (path, name.split('_').nth(2).unwrap_or_default().to_owned())
            })
            .collect();
    }

    fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    fn collects_unmanaged(&self) -> bool {
        self.settings.pods.unmanaged == Unmanaged::Collect
    }

    /// The sandboxes are about to be listed: this is what is known of whole pods.
    fn sandboxes_listed(&mut self, node: &Node, id: &str) {
        if id.is_empty() {
            let uids: HashSet<String> = node.sandboxes().map(|sandbox| sandbox.spec.uid.clone()).collect();
            let is_deleted = |uid: &String| {
                self.deleted.contains_key(uid) && !node.pod_runs(uid) || self.is_deleted_now(node, uid)
            };
            self.whole = uids.into_iter().filter(is_deleted).collect();
        }
    }

    /// Everything, or all of the pod of that UID, is about to be listed: this is what a plan, or the check of a pod, can know.
    fn listed(&mut self, node: &Node, id: &str) {
        let all = id.is_empty();
        if !all && node.sandboxes().all(|sandbox| sandbox.spec.uid != id) {
            return;
        }
        let is_listed = |uid: &str| all || uid == id;
        self.units.retain(|(uid, _), _| !is_listed(uid));
        self.sandboxes.retain(|uid, _| !is_listed(uid));
        let mut objects: HashMap<String, HashSet<String>> = HashMap::new();
        for sandbox in node.sandboxes().filter(|sandbox| is_listed(&sandbox.spec.uid)) {
            objects.entry(sandbox.spec.uid.clone()).or_default().insert(sandbox.id.clone());
            let age = (sandbox.created_at, sandbox.spec.attempt, std::cmp::Reverse(sandbox.id.clone()));
            self.sandboxes.entry(sandbox.spec.uid.clone()).or_default().push(age);
        }
        let policy = &self.settings.container_gc;
        for container in node.containers().filter(|container| is_listed(&node.pod_of(container))) {
            let uid = node.pod_of(container);
            objects.entry(uid.clone()).or_default().insert(container.id.clone());
            let old = is_old(node, container.created_at, policy.min_age);
            let may_start = container.spec.state == ContainerState::Created
                && !is_old(node, container.created_at, policy.created_grace);
            if container.spec.state != ContainerState::Running && old && !may_start {
                self.units
                    .entry((uid, container.spec.name.clone()))
                    .or_default()
                    .push(age_of(node, container));
            }
        }
        let mut deleted = std::mem::take(&mut self.deleted);
        objects.retain(|uid, objects| {
            // A confirmation is valid until something new of the pod is there.
            let confirmed = deleted.get(uid).is_some_and(|known| objects.is_subset(known));
            (confirmed && !node.pod_runs(uid)) || self.is_deleted_now(node, uid)
        });
        deleted.retain(|uid, _| !is_listed(uid));
        deleted.extend(objects);
        self.deleted = deleted;
    }

    /// Nothing of it has run for the grace, and nothing of it is uncertain.
    fn is_deleted_now(&self, node: &Node, uid: &str) -> bool {
        let grace = self.settings.pods.runtime_grace;
        let mut times = Vec::new();
        for sandbox in node.sandboxes().filter(|sandbox| sandbox.spec.uid == uid) {
            times.push(sandbox.created_at);
        }
        for container in node.containers().filter(|container| node.pod_of(container) == uid) {
            if container.spec.state == ContainerState::Unknown {
                return false;
            }
            times.push(container.created_at);
            times.extend(container.spec.finished_at);
        }
        !node.pod_runs(uid) && times.into_iter().all(|time| is_old(node, time, grace))
    }

    /// Whether the runtime objects of that pod may be removed as a whole; `None` if they belong to no pod and are kept.
    fn is_removed_whole(&self, node: &Node, uid: &str) -> Option<bool> {
        match uid {
            "" => self.collects_unmanaged().then_some(true),
            uid => Some(self.deleted.contains_key(uid) || self.is_deleted_now(node, uid)),
        }
    }

    fn stop_container(&mut self, node: &Node, id: &str) {
        match node.container(id) {
            Some(container) if container.spec.state != ContainerState::Unknown => {
                self.violated(format!("container {id} is stopped, and it is {:?}", container.spec.state));
            }
            _ => drop(self.stopped.insert(id.to_owned())),
        }
    }

    fn remove_container(&mut self, node: &Node, id: &str) {
        let Some(container) = node.container(id) else { return };
        let policy = self.settings.container_gc.clone();
        if container.id != id {
            self.violated(format!("{id:?} is only a part of an id"));
        }
        if container.spec.state == ContainerState::Running {
            self.violated(format!("container {id} is removed, and it runs"));
        }
        let ended = container.spec.finished_at.filter(|_| !self.stopped.contains(id));
        if ended.is_some_and(|ended| !is_old(node, ended, policy.min_dead_age)) {
            self.violated(format!("container {id} is removed, and has only just finished"));
        }
        let created = container.spec.state == ContainerState::Created;
        if !is_old(node, container.created_at, policy.min_age)
            || created && !is_old(node, container.created_at, policy.created_grace)
        {
            self.violated(format!("container {id} is removed, and has only just been created"));
        }
        let uid = node.pod_of(container);
        match self.is_removed_whole(node, &uid) {
            None => self.violated(format!("container {id} is removed, and belongs to no pod")),
            Some(true) => {}
            Some(false) if policy.max_containers >= 0 => {}
            Some(false) => {
                let unit = self.units.get(&(uid, container.spec.name.clone()));
                let newer =
                    unit.map_or(0, |unit| unit.iter().filter(|age| **age > age_of(node, container)).count());
                let kept = usize::try_from(policy.max_per_pod_container).ok();
                if kept.is_none_or(|kept| newer < kept) {
                    self.violated(format!(
                        "container {id} of a living pod is removed, and only {newer} newer ones of its name are kept"
                    ));
                }
            }
        }
    }

    fn end_sandbox(&mut self, node: &Node, id: &str, how: &str) {
        let Some(sandbox) = node.sandbox(id) else { return };
        if sandbox.id != id {
            self.violated(format!("{id:?} is only a part of an id"));
        }
        if sandbox.spec.state != SandboxState::NotReady {
            self.violated(format!("sandbox {id} is {how}, and it is {:?}", sandbox.spec.state));
        }
        // Only as a whole pod: what could be removed by itself just as well, of a pod that is proved to be deleted.
        for container in node.containers_in(id) {
            if container.spec.state != ContainerState::Exited {
                let state = container.spec.state;
                self.violated(format!("sandbox {id} is {how}, and a container in it is {state:?}"));
            }
            if !self.whole.contains(&sandbox.spec.uid) {
                self.violated(format!("sandbox {id} of a living pod is {how}, and a container is in it"));
            }
            self.remove_container(node, &container.id);
            self.with_sandboxes += 1;
        }
        if !is_old(node, sandbox.created_at, self.settings.sandbox_gc.min_age) {
            self.violated(format!("sandbox {id} is {how}, and has only just been made"));
        }
        match self.is_removed_whole(node, &sandbox.spec.uid) {
            None => self.violated(format!("sandbox {id} is {how}, and belongs to no pod")),
            Some(true) => {}
            Some(false) => {
                let own = (sandbox.created_at, sandbox.spec.attempt, std::cmp::Reverse(sandbox.id.clone()));
                let newer =
                    self.sandboxes.get(&sandbox.spec.uid).is_some_and(|all| all.iter().any(|age| *age > own));
                if !newer {
                    self.violated(format!("sandbox {id} is {how}, and is the newest of a living pod"));
                }
            }
        }
    }

    fn remove_image(&mut self, node: &Node, id: &str) {
        let Some(image) = node.image(id) else { return };
        let settings = self.settings.image_gc.clone();
        // Some are removed by a name only.
        if image.id != id && !image.artifact {
            self.violated(format!("{id:?} is no id"));
        }
        let id = &image.id;
        if node.containers().any(|container| container.image_id == *id) {
            self.violated(format!("image {id} is removed, and is in use"));
        }
        let mounts = |container: &Container| container.volumes.iter().any(|volume| volume.image_id == *id);
        if node.containers().any(mounts) {
            self.violated(format!("image {id} is removed, and is mounted as an image volume"));
        }
        if image.pinned {
            self.violated(format!("image {id} is removed, and is pinned"));
        }
        let protected = settings.protect.iter().map(ToString::to_string);
        if protected.chain([node.options.sandbox_image.clone()]).any(|name| image.tags.contains(&name)) {
            self.violated(format!("image {id} is removed, and is protected: {:?}", image.tags));
        }
        let stats = node.statvfs(&node.paths.images.clone()).unwrap();
        let free = stats.capacity_bytes / 100 * u64::from(100 - settings.low_threshold_percent);
        if settings.max_age.is_zero() && stats.available_bytes >= free {
            self.violated(format!("image {id} is removed, and there is room enough"));
        }
    }
}

fn age_of(node: &Node, container: &Container) -> Age {
    (node.listed_created_at(container), container.spec.attempt, std::cmp::Reverse(container.id.clone()))
}

fn is_old(node: &Node, time: Timestamp, age: Duration) -> bool {
    time <= node.ago(age)
}
