//! What is wrong with the runtime and the disk, and what other clients do right between a question and a removal.

use std::io::ErrorKind;
use std::time::Duration;

use cri_gc_sim::{Code, Container, ContainerSpec, ContainerState, Fault, Method, Node, PodSpec, Scope, uid};

use crate::judge::{Change, DISK, Judge};
use crate::world::World;

const QUESTIONS: [Method; 13] = [
    Method::Version,
    Method::Status,
    Method::ListPodSandbox,
    Method::StreamPodSandboxes,
    Method::PodSandboxStatus,
    Method::ListContainers,
    Method::StreamContainers,
    Method::ContainerStatus,
    Method::ListContainerStats,
    Method::ListImages,
    Method::StreamImages,
    Method::ImageStatus,
    Method::ImageFsInfo,
];

const LISTS: [Method; 6] = [
    Method::ListPodSandbox,
    Method::StreamPodSandboxes,
    Method::ListContainers,
    Method::StreamContainers,
    Method::ListImages,
    Method::StreamImages,
];

const REMOVALS: [Method; 5] = [
    Method::StopContainer,
    Method::RemoveContainer,
    Method::StopPodSandbox,
    Method::RemovePodSandbox,
    Method::RemoveImage,
];

const CODES: [Code; 8] = [
    Code::Unknown,
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::ResourceExhausted,
    Code::NotFound,
    Code::Internal,
    Code::Cancelled,
    Code::Unimplemented,
];

impl World {
    pub(super) fn something_of_the_runtime(&mut self) {
        let lasts = Duration::from_secs(self.random.u64(1..240));
        match self.random.u8(..100) {
            0..15 => self.kill_the_runtime(),
            15..20 => {
                self.story.tell("the runtime refuses answers over 4 kB");
                self.sim.with(|node| node.options.message_limit = 4_096);
                self.judge.lists_are_long();
                self.faults_last(lasts);
            }
            20..28 => {
                self.story.tell("the runtime answers oddly");
                let seed = self.random.u64(..);
                self.sim.with(|node| node.answer_oddly(Some(seed)));
                self.faults_last(lasts);
            }
            28..34 => {
                self.story.tell("the disk can't be measured");
                self.sim.with(|node| node.probe_error = Some(ErrorKind::Other));
                self.judge.changed(Change::Image, &[DISK]);
                self.faults_last(lasts);
            }
            34..64 => {
                let method = self.pick(&QUESTIONS);
                let fault = match self.random.u8(..10) {
                    0 => Fault::Die,
                    // An empty list is an answer, and would be a lie.
                    1 if !LISTS.contains(&method) => Fault::Empty,
                    2 => Fault::Hang,
                    3..6 => Fault::Delay(Duration::from_millis(self.random.u64(1..30_000))),
                    _ => self.error(),
                };
                self.order(method, fault, lasts);
            }
            _ => {
                let method = self.pick(&REMOVALS);
                // A removal that is carried out late is carried out on another node: only its answer may be late.
                let fault = match self.random.u8(..10) {
                    0 => Fault::Die,
                    1 => Fault::Die.after(),
                    2 => Fault::Hang.after(),
                    3..5 => Fault::Delay(Duration::from_millis(self.random.u64(1..30_000))).after(),
                    5..7 => self.error().after(),
                    _ => self.error(),
                };
                self.order(method, fault, lasts);
            }
        }
    }

    fn error(&mut self) -> Fault {
        Fault::error(self.pick(&CODES), "ordered by the simulation")
    }

    fn order(&mut self, method: Method, fault: Fault, lasts: Duration) {
        // A runtime that dies of each call never comes back to life.
        let dies = fault == Fault::Die || fault == Fault::Die.after();
        let times = if dies { 1 } else { self.random.u32(1..40) };
        self.story.tell(format!("the next {times} calls of {method}: {fault:?}"));
        self.sim.fault(method, fault, Scope::Times(times));
        self.faults_last(lasts);
    }

    fn faults_last(&mut self, lasts: Duration) {
        let end = (self.sim.uptime() + lasts).max(self.faults_end_at.unwrap_or_default());
        self.faults_end_at = Some(end);
        self.judge.slow_until(end);
        if self.sim.with(|node| node.is_odd()) {
            self.judge.odd_until(end);
        }
        // Should it die of a fault.
        if self.runtime_back_at.is_none() {
            self.runtime_back_at = Some(end);
        }
    }

    /// It dies, and comes back after a while, now and then with other contents.
    fn kill_the_runtime(&mut self) {
        let down = Duration::from_millis(self.random.u64(..120_000));
        self.sim.kill();
        self.runtime_back_at = Some(self.sim.uptime() + down);
        let lost = self.chance(0.3).then(|| self.sim.sandbox_ids()).and_then(|ids| self.any(ids));
        let running = self.sim.with(|node| {
            let running =
                node.containers().filter(|container| container.spec.state == ContainerState::Running);
            running.map(|container| container.id.clone()).collect::<Vec<_>>()
        });
        let killed = self.chance(0.3).then_some(running).and_then(|ids| self.any(ids));
        self.story
            .tell(format!("the runtime dies, for {down:?}; it loses {lost:?}, and {killed:?} dies with it"));
        if let Some(id) = lost {
            let uid = self.sim.with(|node| {
                let uid = node.sandbox(&id).map(|sandbox| sandbox.spec.uid.clone()).unwrap_or_default();
                node.lose_sandbox(&id);
                uid
            });
            self.judge.changed(Change::Sandbox, &[&id, &uid]);
        }
        if let Some(id) = killed {
            drop(self.sim.set_container_state(&id, ContainerState::Exited));
            self.judge.changed(Change::Container, &[&id]);
            self.judge.ended(&id);
        }
    }

    /// Another client is faster than the service: it changes something right before a question of the service is answered.
    pub(super) fn something_between_two_calls(&mut self) {
        let number = self.random.usize(1..6);
        let judge = self.judge.clone();
        let (method, what, act): (Method, &str, fn(&mut Node, &str, &Judge)) = match self.random.u8(..5) {
            0 => (Method::ContainerStatus, "that container starts, if it never has", |node, id, judge| {
                let created = node.container(id).filter(|c| c.spec.state == ContainerState::Created);
                if let Some(uid) = created.map(|container| node.pod_of(container)) {
                    drop(node.set_container_state(id, ContainerState::Running));
                    judge.changed_and_shown(node, Change::Container, &[id]);
                    judge.changed(Change::Container, &[&uid]);
                }
            }),
            1 => (
                Method::ListContainers,
                "a container of that pod starts that never has",
                |node, id, judge| {
                    let created =
                        |c: &&Container| c.spec.state == ContainerState::Created && node.pod_of(c) == id;
                    let created = node.containers().find(created).map(|container| container.id.clone());
                    if let Some(created) = created {
                        drop(node.set_container_state(&created, ContainerState::Running));
                        judge.changed_and_shown(node, Change::Container, &[&created, id]);
                    }
                },
            ),
            2 => (Method::ListContainers, "a container uses each image", |node, id, judge| {
                let images: Vec<String> = node.images().map(|image| image.id.clone()).collect();
                let pod = PodSpec::new("ns", "new", uid(700_000)).with(|pod| pod.log_directory = false);
                if !id.is_empty() || node.sandboxes_of(&uid(700_000)).next().is_some() {
                    return;
                }
                let Ok(pod) = node.add_pod(pod) else { return };
                judge.appeared(&pod);
                for image in &images {
                    let made = node.add_container(ContainerSpec::new(&pod, image).image(image).no_log());
                    made.iter().for_each(|id| judge.appeared(id));
                }
                let images: Vec<&str> = images.iter().map(String::as_str).collect();
                judge.changed_and_shown(node, Change::Container, &images);
            }),
            3 => (Method::ListPodSandbox, "that pod gets a new sandbox", |node, id, judge| {
                let Some(old) = node.sandboxes_of(id).next().cloned() else { return };
                let pod =
                    PodSpec::new("ns", old.spec.name, id).attempt(90).with(|pod| pod.log_directory = false);
                if let Ok(new) = node.add_pod(pod) {
                    judge.appeared(&new);
                    judge.changed_and_shown(node, Change::Sandbox, &[id]);
                }
            }),
            _ => (Method::ContainerStatus, "that container is removed by someone else", |node, id, judge| {
                let uid = node.container(id).map(|container| node.pod_of(container)).unwrap_or_default();
                drop(node.remove_container(id));
                judge.changed_and_shown(node, Change::Container, &[id]);
                judge.changed(Change::Container, &[&uid]);
            }),
        };
        self.story.tell(format!("right before call {number} of {method} from now on: {what}"));
        let story = self.story.clone();
        self.sim.before_nth(method, number, move |node, id| {
            story.tell(format!("before {method} of {id:?}: {what}"));
            act(node, id, &judge);
        });
    }
}
