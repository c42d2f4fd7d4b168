//! What happens on a node by itself: pods come, end and are deleted; containers end, and are started again; images are pulled; the disk
//! fills up; the clock is set.

use std::collections::BTreeSet;

use cri_gc_sim::{Container, ContainerSpec, ContainerState, LogSpec, Node, PodSpec, SandboxState, uid};
use jiff::SignedDuration;

use crate::judge::{Change, DISK, Phase};
use crate::world::{Pod, World};

impl World {
    pub(super) fn something_of_the_node(&mut self) {
        match self.random.u8(..100) {
            0..20 => self.start_pod(),
            20..45 => self.restart_a_container(),
            45..60 => self.finish_a_pod(),
            60..72 => self.delete_a_pod(),
            72..77 => self.replace_a_sandbox(),
            77..81 => self.someone_removes_something(),
            81..86 => {
                let number = self.random.usize(..self.images.len());
                self.story.tell(format!("{} is pulled", self.images[number]));
                self.pull(number);
            }
            86..91 => self.fill_the_disk(),
            91..93 => self.leave_a_directory(),
            93..96 => self.lose_a_state(),
            _ => self.set_the_clock(),
        }
    }

    /// A pod starts, with a container.
    pub fn start_pod(&mut self) {
        self.made += 1;
        let number = self.made;
        let labelled = self.chance(0.95);
        let image = self.random.usize(..self.images.len());
        self.pull(image);
        let pod = Pod {
            name: format!("pod-{number}"),
            uid: uid(number),
            phase: Phase::Running,
            labelled,
            image: self.images[image].clone(),
        };
        self.story.tell(format!("{} starts, of {}", pod.name, pod.image));
        let sandbox = self.start_sandbox(&pod, 0);
        self.pods.push(pod.clone());
        self.write_pods();
        if self.chance(0.9) {
            for name in ["app", "side"].into_iter().take(self.random.usize(1..3)) {
                self.start_container(&pod, &sandbox, name, 0);
            }
        }
    }

    fn start_sandbox(&mut self, pod: &Pod, attempt: u32) -> String {
        let spec = PodSpec::new("ns", &pod.name, &pod.uid).attempt(attempt);
        let spec = spec.with(|spec| (spec.kubelet_labels, spec.log_directory) = (pod.labelled, pod.labelled));
        let id = self.sim.add_pod(spec).unwrap();
        self.judge.appeared(&id);
        self.judge.changed(Change::Sandbox, &[&id, &pod.uid]);
        id
    }

    fn start_container(&mut self, pod: &Pod, sandbox: &str, name: &str, attempt: u32) -> Option<String> {
        let legacy_link = self.random.bool();
        let created_only = self.chance(0.15);
        let image = self.sim.with(|node| node.image(&pod.image).map(|image| image.id.clone()));
        let image = image?;
        let spec = ContainerSpec::new(sandbox, name).attempt(attempt).image(&pod.image);
        let spec = if pod.labelled {
            spec.log(LogSpec { legacy_link, ..LogSpec::default() })
        } else {
            spec.with(|spec| spec.kubelet_labels = false).no_log()
        };
        let spec = if created_only { spec.state(ContainerState::Created) } else { spec };
        let volume = self.random.usize(..self.images.len());
        let volume = (self.sim.with(|node| node.options.flavour.has_image_volumes()) && self.chance(0.15))
            .then(|| self.images[volume].clone())
            .filter(|tag| self.sim.with(|node| node.image(tag).is_some()));
        let spec = match &volume {
            Some(volume) => spec.image_volume(volume),
            None => spec,
        };
        // Its sandbox may have been lost, or removed.
        let id = self.sim.add_container(spec).ok()?;
        self.judge.appeared(&id);
        self.judge.changed(Change::Container, &[&id, sandbox, &pod.uid, &image]);
        if let Some(volume) = volume {
            let volume = self.sim.with(|node| node.image(&volume).map(|image| image.id.clone()));
            self.judge.changed(Change::Container, &[volume.as_deref().unwrap_or_default()]);
        }
        Some(id)
    }

    /// No two containers of a pod have the same name and attempt: a runtime refuses that.
    fn next_attempt(&self, pod: &Pod, name: &str) -> u32 {
        self.sim.with(|node| {
            let same = node.containers().filter(|c| c.spec.name == name && node.pod_of(c) == pod.uid);
            same.map(|container| container.spec.attempt + 1).max().unwrap_or_default()
        })
    }

    fn living(&self) -> Vec<Pod> {
        self.pods.iter().filter(|pod| pod.phase == Phase::Running).cloned().collect()
    }

    /// A container of a pod ends, and is started again with the next attempt.
    fn restart_a_container(&mut self) {
        let living = self.living();
        let Some(pod) = self.any(living) else { return };
        let running = |node: &mut Node| -> Vec<Container> {
            let of_pod = node.containers().filter(|container| node.pod_of(container) == pod.uid);
            of_pod.filter(|container| container.spec.state == ContainerState::Running).cloned().collect()
        };
        let running = self.sim.with(running);
        let Some(container) = self.any(running) else { return };
        let times = self.random.u32(1..4);
        self.story.tell(format!(
            "{} of {} ends and is started again, {times} times",
            container.spec.name, pod.name
        ));
        let mut last = Some(container.id);
        for _ in 0..times {
            let Some(ended) = &last else { return };
            self.end(ended);
            let ContainerSpec { name, sandbox, .. } = &container.spec;
            let attempt = self.next_attempt(&pod, name);
            last = self.start_container(&pod, sandbox, name, attempt);
        }
    }

    fn end(&mut self, container: &str) {
        drop(self.sim.set_container_state(container, ContainerState::Exited));
        self.judge.changed(Change::Container, &[container]);
        self.judge.ended(container);
    }

    /// All that runs of a pod ends.
    fn end_all(&mut self, uid: &str) {
        let (containers, sandboxes) = self.sim.with(|node| {
            let of_pod = node.containers().filter(|container| node.pod_of(container) == uid);
            let running = of_pod.filter(|container| container.spec.state == ContainerState::Running);
            let sandboxes = node.sandboxes().filter(|sandbox| sandbox.spec.uid == uid);
            let ids = |ids: Vec<&String>| ids.into_iter().cloned().collect::<Vec<_>>();
            (ids(running.map(|c| &c.id).collect()), ids(sandboxes.map(|s| &s.id).collect()))
        });
        containers.iter().for_each(|id| self.end(id));
        for id in sandboxes {
            drop(self.sim.with(|node| node.set_sandbox_state(&id, SandboxState::NotReady)));
        }
    }

    /// A pod finishes, well or not, or is evicted.
    fn finish_a_pod(&mut self) {
        let living = self.living();
        let Some(pod) = self.any(living) else { return };
        let phase = self.pick(&[Phase::Succeeded, Phase::Failed, Phase::Evicted]);
        self.story.tell(format!("{} ends: {phase:?}", pod.name));
        self.end_all(&pod.uid);
        self.pods.iter_mut().filter(|other| other.uid == pod.uid).for_each(|pod| pod.phase = phase);
        self.write_pods();
    }

    /// A pod is deleted; now and then its containers run on for a while.
    fn delete_a_pod(&mut self) {
        let there = self.pods.iter().filter(|pod| pod.phase != Phase::Deleted).cloned().collect();
        let Some(pod) = self.any(there) else { return };
        let runs_on = self.chance(0.1);
        self.story.tell(format!("{} is deleted{}", pod.name, if runs_on { ", and runs on" } else { "" }));
        if !runs_on {
            self.end_all(&pod.uid);
        }
        self.pods.iter_mut().filter(|other| other.uid == pod.uid).for_each(|pod| pod.phase = Phase::Deleted);
        self.write_pods();
    }

    /// What runs ends, but that of pods which run as far as their cluster knows.
    pub fn end_what_no_pod_has(&mut self) {
        let living: Vec<String> = self.living().into_iter().map(|pod| pod.uid).collect();
        let others: BTreeSet<String> = self.sim.with(|node| {
            let of_containers = node.containers().map(|container| node.pod_of(container));
            let uids = node.sandboxes().map(|sandbox| sandbox.spec.uid.clone()).chain(of_containers);
            uids.filter(|uid| !living.contains(uid) && node.pod_runs(uid)).collect()
        });
        others.iter().for_each(|uid| self.end_all(uid));
    }

    /// The sandbox of a pod dies, and the pod gets a new one.
    fn replace_a_sandbox(&mut self) {
        let living = self.living();
        let Some(pod) = self.any(living) else { return };
        self.story.tell(format!("the sandbox of {} is replaced", pod.name));
        self.end_all(&pod.uid);
        let of_pod = |node: &mut Node| -> Option<u32> {
            node.sandboxes().filter(|sandbox| sandbox.spec.uid == pod.uid).map(|s| s.spec.attempt).max()
        };
        let attempt = self.sim.with(of_pod).map_or(0, |last| last + 1);
        let sandbox = self.start_sandbox(&pod, attempt);
        let attempt = self.next_attempt(&pod, "app");
        self.start_container(&pod, &sandbox, "app", attempt);
    }

    /// Another client removes a dead container.
    fn someone_removes_something(&mut self) {
        let dead = self.sim.with(|node| {
            let dead = node.containers().filter(|container| container.spec.state == ContainerState::Exited);
            dead.map(|c| (c.id.clone(), node.pod_of(c))).collect::<Vec<_>>()
        });
        let Some((id, uid)) = self.any(dead) else { return };
        self.story.tell(format!("someone else removes container {id}"));
        drop(self.sim.with(|node| node.remove_container(&id)));
        self.judge.changed(Change::Container, &[&id, &uid]);
    }

    fn fill_the_disk(&mut self) {
        let percent = self.pick(&[40, 60, 72, 88, 97]);
        self.story.tell(format!("the disk is {percent} % full"));
        self.sim.with(|node| node.fill_to_percent(percent));
        self.judge.changed(Change::Image, &[DISK]);
    }

    /// A log directory without a pod, or one of no pod at all.
    fn leave_a_directory(&mut self) {
        self.made += 1;
        let name = match self.random.u8(..3) {
            0 => "lost+found".to_owned(),
            1 => format!("ns_name_{}", "x".repeat(36)),
            _ => format!("ns_orphan_{}", uid(800_000 + self.made)),
        };
        self.story.tell(format!("there is a log directory {name}"));
        drop(self.sim.with(|node| node.add_log_dir(&name, node.now())));
    }

    /// The runtime no longer knows the state of a container.
    fn lose_a_state(&mut self) {
        let ended = self.sim.with(|node| {
            let ended = node.containers().filter(|container| container.spec.state == ContainerState::Exited);
            ended.map(|c| (c.id.clone(), node.pod_of(c))).collect::<Vec<_>>()
        });
        let Some((id, uid)) = self.any(ended) else { return };
        self.story.tell(format!("the runtime loses the state of container {id}"));
        drop(self.sim.set_container_state(&id, ContainerState::Unknown));
        self.judge.changed(Change::Container, &[&id, &uid]);
    }

    fn set_the_clock(&mut self) {
        let by = SignedDuration::from_secs(self.pick(&[-3_600, -70, -5, 5, 70, 3_600]));
        self.story.tell(format!("the clock is set by {by:#}"));
        self.clock_is_ahead += by;
        self.clock_was_ahead = self.clock_was_ahead.max(self.clock_is_ahead);
        self.sim.step_clock(self.sim.now() + by);
        self.judge.clock_was_set();
    }

    /// The clock shows no time any more that has been before: what was made then would be young for as long as the clock is behind.
    pub fn set_the_clock_right(&mut self) {
        let by = self.clock_was_ahead - self.clock_is_ahead;
        if !by.is_zero() {
            self.story.tell(format!("the clock is set by {by:#}"));
            self.sim.step_clock(self.sim.now() + by);
            self.judge.clock_was_set();
        }
    }
}
