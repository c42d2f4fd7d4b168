//! What happens to a node between an observation and a removal: another client changes it, or the runtime fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use cri_gc_sim::{Code, ContainerSpec, ContainerState, Fault, Method, Node, PodSpec, SandboxState, Scope};
use proptest::prelude::*;
use proptest::sample::select;

use super::node::orphan;
use crate::bed::{Bed, uid};

/// What another client does to the object that a question names, right before the question is answered.
#[derive(Debug, Clone, Copy)]
enum What {
    StartContainer,
    StartAndEndContainer,
    RemoveContainer,
    MakeSandboxReady,
    AddContainerToSandbox,
    UseAllImages,
    ReviveOrphan(usize),
    ReviveAnyPod(usize),
}

/// It happens at that question of its kind.
#[derive(Debug, Clone)]
pub struct Change {
    what: What,
    at: usize,
}

pub fn change() -> impl Strategy<Value = Change> {
    let what = prop_oneof![
        3 => Just(What::StartContainer),
        2 => Just(What::StartAndEndContainer),
        1 => Just(What::RemoveContainer),
        2 => Just(What::MakeSandboxReady),
        3 => Just(What::AddContainerToSandbox),
        4 => Just(What::UseAllImages),
        2 => (0..4usize).prop_map(What::ReviveOrphan),
        1 => (0..8usize).prop_map(What::ReviveAnyPod),
    ];
    (what, 0..8usize).prop_map(|(what, at)| Change { what, at })
}

impl What {
    /// The question that it comes before. Each is the last one before some removal, or earlier.
    fn before(self) -> Method {
        match self {
            Self::StartContainer | Self::StartAndEndContainer | Self::RemoveContainer => {
                Method::ContainerStatus
            }
            Self::MakeSandboxReady => Method::PodSandboxStatus,
            Self::AddContainerToSandbox | Self::UseAllImages => Method::ListContainers,
            Self::ReviveOrphan(_) | Self::ReviveAnyPod(_) => Method::ListPodSandbox,
        }
    }

    /// Whether it can happen before a question about `id` (of a list of everything: about nothing).
    fn fits(self, id: &str) -> bool {
        match self {
            Self::AddContainerToSandbox => !id.is_empty(),
            Self::UseAllImages => id.is_empty(),
            _ => true,
        }
    }

    /// What cannot be done (its object is gone, or never was) is not done.
    fn happen(self, node: &mut Node, id: &str) {
        match self {
            Self::StartContainer => drop(node.set_container_state(id, ContainerState::Running)),
            Self::StartAndEndContainer => {
                drop(node.set_container_state(id, ContainerState::Running));
                drop(node.set_container_state(id, ContainerState::Exited));
            }
            Self::RemoveContainer => drop(node.remove_container(id)),
            Self::MakeSandboxReady => drop(node.set_sandbox_state(id, SandboxState::Ready)),
            Self::AddContainerToSandbox => {
                let state = ContainerState::Created;
                let of_pod = node.sandboxes().find(|sandbox| sandbox.spec.uid == id);
                let sandbox = of_pod.map_or(id, |sandbox| &sandbox.id).to_owned();
                drop(node.add_container(ContainerSpec::new(&sandbox, "new").attempt(9).state(state)));
            }
            Self::UseAllImages => {
                let images: Vec<String> = node.images().map(|image| image.id.clone()).collect();
                let Ok(pod) = node.add_pod(PodSpec::new("ns", "new", uid(500))) else { return };
                for image in images {
                    drop(node.add_container(ContainerSpec::new(&pod, &image).image(&image).no_log()));
                }
            }
            Self::ReviveOrphan(number) => {
                drop(node.add_pod(PodSpec::new("ns", "orphan", orphan(number)).not_ready()));
            }
            // A sandbox that is not ready never becomes ready again: a pod gets a new one.
            Self::ReviveAnyPod(number) => {
                let uid = node.sandboxes().nth(number).map(|sandbox| sandbox.spec.uid.clone());
                let pod = |uid| PodSpec::new("ns", "again", uid).attempt(9);
                uid.into_iter().for_each(|uid| drop(node.add_pod(pod(uid))));
            }
        }
    }
}

impl Change {
    pub fn order(changes: &[Self], bed: &Bed) {
        for Self { what, at } in changes.iter().cloned() {
            let asked = AtomicUsize::new(0);
            bed.sim.before(what.before(), move |node, id| {
                if what.fits(id) && asked.fetch_add(1, Ordering::Relaxed) == at {
                    what.happen(node, id);
                }
            });
        }
    }
}

/// A fault of the runtime: some calls pass, then some meet it.
#[derive(Debug, Clone)]
pub struct Trouble {
    method: Method,
    fault: Fault,
    skip: u32,
    times: u32,
}

const METHODS: [Method; 13] = [
    Method::RemoveContainer,
    Method::RemoveContainer,
    Method::StopContainer,
    Method::ContainerStatus,
    Method::ListContainers,
    Method::ListPodSandbox,
    Method::PodSandboxStatus,
    Method::StopPodSandbox,
    Method::RemovePodSandbox,
    Method::ListImages,
    Method::RemoveImage,
    Method::Status,
    Method::ImageFsInfo,
];

pub fn trouble() -> impl Strategy<Value = Trouble> {
    let code =
        select(vec![Code::Unknown, Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted]);
    let fault = prop_oneof![
        4 => code.clone().prop_map(|code| Fault::error(code, "ordered by the test")),
        2 => code.prop_map(|code| Fault::error(code, "ordered by the test").after()),
        1 => Just(Fault::Die),
        1 => Just(Fault::Die.after()),
    ];
    (select(METHODS.to_vec()), fault, 0..4u32, 1..4u32).prop_map(|(method, fault, skip, times)| Trouble {
        method,
        fault,
        skip,
        times,
    })
}

impl Trouble {
    /// Whether the runtime may die of it.
    pub fn kills(&self) -> bool {
        self.fault == Fault::Die || self.fault == Fault::Die.after()
    }

    pub fn order(troubles: &[Self], bed: &Bed) {
        for Self { method, fault, skip, times } in troubles.iter().cloned() {
            if skip > 0 {
                // A delay of nothing is a fault that does nothing.
                bed.sim.fault(method, Fault::Delay(std::time::Duration::ZERO), Scope::Times(skip));
            }
            bed.sim.fault(method, fault, Scope::Times(times));
        }
    }
}
