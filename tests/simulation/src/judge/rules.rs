//! When a container, a sandbox or an image may be removed.

use std::cmp::Reverse;
use std::time::Duration;

use cri_gc_config::{Mode, Settings, Unmanaged};
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Container, ContainerState, Image, Method, Node, Sandbox, SandboxState};
use jiff::Timestamp;

use super::State;

/// What decides who is newer: creation, attempt, and then the smaller id.
type Age = (Timestamp, u32, Reverse<String>);

/// How long an image may be used without a pass that sees it: one that lists the containers may fail after that.
const SEEN_WITHIN: Duration = Duration::from_secs(70);

/// How long before a removal the disk may have been measured, where the runtime answers late.
const MEASURED_WITHIN: Duration = Duration::from_secs(60);

const OBJECTS: [Method; 2] = [Method::ListContainers, Method::ListPodSandbox];

impl State {
    pub(super) fn stop_container(&mut self, node: &Node, id: &str) {
        let Some(container) = node.container(id) else { return };
        let state = container.spec.state;
        let enforces = |this: &Self, settings: &Settings| this.may_remove(settings, Loop::ContainerGc);
        self.check(&format!("container {id} is stopped"), &[id], enforces, |_, _| {
            if state == ContainerState::Unknown { Ok(()) } else { Err(format!("it is {state:?}")) }
        });
        self.stopped.insert(id.to_owned());
    }

    pub(super) fn remove_container(&mut self, node: &Node, id: &str) {
        let Some(container) = node.container(id) else { return };
        let (uid, sandbox) = (node.pod_of(container), container.spec.sandbox.clone());
        let what = format!("container {} ({} of pod {uid}) is removed", container.id, container.spec.name);
        if container.id != id {
            self.violated(format!("{what}, and {id:?} is only a part of its id"));
        }
        let enforces = |this: &Self, settings: &Settings| this.may_remove(settings, Loop::ContainerGc);
        self.check(&what, &[id, &uid, &sandbox], enforces, |this, settings| {
            this.may_remove_container(node, settings, container)
        });
        self.removed[0] += 1;
    }

    fn may_remove_container(
        &self,
        node: &Node,
        settings: &Settings,
        container: &Container,
    ) -> Result<(), String> {
        self.has_seen(&OBJECTS)?;
        let policy = &settings.container_gc;
        let (created, appeared) = (container.created_at, self.appeared.get(&container.id));
        match container.spec.state {
            ContainerState::Running => return Err("it runs".to_owned()),
            ContainerState::Unknown => return Err("its state is unknown".to_owned()),
            ContainerState::Created if self.is_young(node, created, appeared, policy.created_grace) => {
                return Err("it may be about to start".to_owned());
            }
            _ => {}
        }
        if self.is_young(node, created, appeared, policy.min_age) {
            return Err("it has only just been created".to_owned());
        }
        let ended = container.spec.finished_at.filter(|_| !self.stopped.contains(&container.id));
        let truly = self.ended.get(&container.id);
        if ended.is_some_and(|ended| self.is_young(node, ended, truly, policy.min_dead_age)) {
            return Err("it has only just finished".to_owned());
        }
        let uid = node.pod_of(container);
        if uid.is_empty() {
            let collects = settings.pods.unmanaged == Unmanaged::Collect;
            return collects.then_some(()).ok_or_else(|| "it belongs to no pod".to_owned());
        }
        let Err(why) = self.is_gone(node, settings, &uid) else { return Ok(()) };
        // Who is newest is as odd as the times.
        if policy.max_containers >= 0 || self.is_odd() {
            return Ok(());
        }
        let Ok(most) = usize::try_from(policy.max_per_pod_container) else {
            return Err(format!("{why}, and no number of dead containers is too many"));
        };
        let own = age_of(node, container);
        let same = |other: &&Container| other.spec.name == container.spec.name && node.pod_of(other) == uid;
        let dead = |other: &&Container| other.spec.state != ContainerState::Running;
        let newer =
            node.containers().filter(same).filter(dead).filter(|other| age_of(node, other) > own).count();
        // Where another client removes one of them meanwhile, what counts is that there is a newer one.
        let most = if self.has_just_changed(&uid) { most.min(1) } else { most };
        if newer < most {
            return Err(format!("{why}, and only {newer} newer ones of its name are left"));
        }
        Ok(())
    }

    pub(super) fn end_sandbox(&mut self, node: &Node, id: &str, how: &str) {
        let Some(sandbox) = node.sandbox(id) else { return };
        let uid = sandbox.spec.uid.clone();
        let what = format!("sandbox {} of pod {uid} is {how}", sandbox.id);
        if sandbox.id != id {
            self.violated(format!("{what}, and {id:?} is only a part of its id"));
        }
        let is_empty = node.containers_in(id).next().is_none();
        let enforce = |this: &Self, settings: &Settings| {
            this.may_remove(settings, Loop::SandboxGc)?;
            if is_empty {
                return Ok(());
            }
            this.may_remove(settings, Loop::ContainerGc)?;
            // A pause of log GC only delays the removal of the logs.
            let log_gc = settings.log_gc.mode == Mode::Enforce;
            log_gc.then_some(()).ok_or_else(|| "containers are in it, and their logs are kept".to_owned())
        };
        self.check(&what, &[id, &uid], enforce, |this, settings| {
            this.may_end_sandbox(node, settings, sandbox)
        });
        self.removed[1] += u64::from(how == "removed");
    }

    fn may_end_sandbox(&self, node: &Node, settings: &Settings, sandbox: &Sandbox) -> Result<(), String> {
        self.has_seen(&OBJECTS)?;
        if sandbox.spec.state != SandboxState::NotReady {
            return Err(format!("it is {:?}", sandbox.spec.state));
        }
        let appeared = self.appeared.get(&sandbox.id);
        if self.is_young(node, sandbox.created_at, appeared, settings.sandbox_gc.min_age) {
            return Err("it has only just been made".to_owned());
        }
        let uid = &sandbox.spec.uid;
        let gone = self.is_gone(node, settings, uid);
        // Only as a whole pod, of which each container could be removed by itself.
        for container in node.containers_in(&sandbox.id) {
            let id = &container.id;
            if container.spec.state != ContainerState::Exited {
                return Err(format!("container {id} in it is {:?}", container.spec.state));
            }
            gone.clone().map_err(|why| format!("container {id} is in it, and {why}"))?;
            self.may_remove_container(node, settings, container)
                .map_err(|why| format!("container {id} is in it: {why}"))?;
        }
        if uid.is_empty() {
            let collects = settings.pods.unmanaged == Unmanaged::Collect;
            return collects.then_some(()).ok_or_else(|| "it belongs to no pod".to_owned());
        }
        let Err(why) = gone else { return Ok(()) };
        let age = |sandbox: &Sandbox| (sandbox.created_at, sandbox.spec.attempt, Reverse(sandbox.id.clone()));
        let own = age(sandbox);
        let of_pod = node.sandboxes().filter(|other| other.spec.uid == *uid);
        if self.is_odd() || of_pod.into_iter().any(|other| age(other) > own) {
            return Ok(());
        }
        Err(format!("it is the newest of its pod, and {why}"))
    }

    pub(super) fn remove_image(&mut self, node: &Node, id: &str) {
        let Some(image) = node.image(id) else { return };
        let what = format!("image {} {:?} is removed", image.id, image.tags);
        if image.id != id && !image.artifact {
            self.violated(format!("{what}, and {id:?} is no id"));
        }
        let at_once = |this: &Self, settings: &Settings| {
            this.may_remove(settings, Loop::ImageGc)?;
            if is_protected(settings, image) { Err("it is protected".to_owned()) } else { Ok(()) }
        };
        self.check(&what, &[&image.id, DISK], at_once, |this, settings| {
            this.may_remove_image(node, settings, image)
        });
        self.removed[2] += 1;
    }

    fn may_remove_image(&self, node: &Node, settings: &Settings, image: &Image) -> Result<(), String> {
        self.has_seen(&[Method::ListContainers, Method::ListPodSandbox, Method::ListImages])?;
        let policy = &settings.image_gc;
        // What is listed in parts is listed by its sandbox or its pod: a container without a sandbox whose pod is not known is in none.
        let is_listed = |c: &&Container| !self.has_long_lists || node.sandbox(&c.spec.sandbox).is_some();
        if let Some(container) =
            node.containers().filter(is_listed).find(|container| uses(container, &image.id))
        {
            return Err(format!("container {} uses it", container.id));
        }
        if image.pinned {
            return Err("it is pinned".to_owned());
        }
        if image.tags.contains(&node.options.sandbox_image) {
            return Err("it is the sandbox image".to_owned());
        }
        if self.is_named(&image.tags) {
            return Err("the spec of a pod names it".to_owned());
        }
        let since = |at: Option<&Duration>| at.map(|at| self.sim.uptime().saturating_sub(*at));
        let pulled = since(self.appeared.get(&image.id));
        if pulled.is_some_and(|ago| ago < policy.min_age) {
            return Err("it has only just been pulled".to_owned());
        }
        let used = since(self.used.get(&image.id)).or(pulled);
        let is_unused = |ago: Duration| ago + SEEN_WITHIN >= policy.max_age;
        if !policy.max_age.is_zero() && used.is_none_or(is_unused) {
            return Ok(());
        }
        // It was measured when the pass began.
        let Ok(stats) = node.statvfs(&node.paths.images) else { return Ok(()) };
        let wanted = stats.capacity_bytes / 100 * u64::from(100 - policy.low_threshold_percent);
        let now = self.sim.uptime();
        let was_full =
            self.changes.get(DISK).is_some_and(|(_, at, _)| now.saturating_sub(*at) <= MEASURED_WITHIN);
        if stats.available_bytes >= wanted && !was_full {
            return Err("there is room enough, and it was used not long ago".to_owned());
        }
        Ok(())
    }

    /// Notes which images containers are made of, when these are listed: the service can't know of a use before. Images that are only
    /// mounted are noted by the service when it has to know them.
    pub(super) fn note_use(&mut self, node: &Node) {
        let now = self.sim.uptime();
        let is_used = |id: &String| node.containers().any(|container| container.image_id == *id);
        for image in node.images().filter(|image| is_used(&image.id)) {
            self.used.insert(image.id.clone(), now);
        }
    }
}

/// What stands for the room on the disk among the changes.
pub const DISK: &str = "disk";

/// Whether a container is made of an image, or has it mounted.
pub fn uses(container: &Container, image: &str) -> bool {
    container.image_id == image || container.volumes.iter().any(|volume| volume.image_id == image)
}

/// Whether a pattern names it: each is one whole tag.
pub fn is_protected(settings: &Settings, image: &Image) -> bool {
    settings.image_gc.protect.iter().any(|pattern| image.tags.contains(&pattern.to_string()))
}

fn age_of(node: &Node, container: &Container) -> Age {
    (node.listed_created_at(container), container.spec.attempt, Reverse(container.id.clone()))
}
