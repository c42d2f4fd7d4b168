//! Which pod an object belongs to, and what that pod's state allows (behaviour: Pods).
//!
//! The states of the source are only half the answer: whatever a source or a snapshot says, a UID with a running container or
//! a ready sandbox is active, and while the source is not synced no pod counts as deleted.

use foldhash::{HashMap, HashMapExt as _, HashSet};

use crate::observation::{Container, ContainerState, Observation, PodState, SandboxState};
use crate::policy::Unmanaged;
use crate::reason::Reason;

/// What an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A pod: its number within the table.
    Pod(usize),
    /// No pod that could be named.
    Unmanaged,
}

/// The state of every pod that an observation names.
#[derive(Debug)]
pub struct PodTable<'a> {
    numbers: HashMap<&'a str, usize>,
    states: Vec<PodState>,
    /// Positions of the sandboxes by id.
    sandboxes: HashMap<&'a str, usize>,
    /// Owners of the containers and of the sandboxes, by position: looked up once, for hashing is what a plan costs.
    of_containers: Vec<Owner>,
    of_sandboxes: Vec<(&'a str, Owner)>,
    /// Where each sandbox is listed first.
    first: Vec<usize>,
    /// Where the sandbox that a container names is listed first, by position of the container.
    sandbox_of: Vec<Option<usize>>,
    absent: PodState,
    synced: bool,
}

impl<'a> PodTable<'a> {
    /// Works out the states.
    #[must_use]
    pub fn new(observation: &'a Observation) -> Self {
        let source = &observation.pods;
        let mut table = Self {
            numbers: HashMap::with_capacity(observation.sandboxes.len()),
            states: Vec::with_capacity(observation.sandboxes.len()),
            sandboxes: HashMap::new(),
            sandbox_of: Vec::with_capacity(observation.containers.len()),
            first: Vec::with_capacity(observation.sandboxes.len()),
            of_containers: Vec::with_capacity(observation.containers.len()),
            of_sandboxes: Vec::with_capacity(observation.sandboxes.len()),
            absent: if source.synced { source.absent.into() } else { PodState::Unknown },
            synced: source.synced,
        };
        for pod in source.pods.iter().filter(|pod| !pod.uid.is_empty()) {
            // Without a synced source only "active" counts: it keeps.
            let counts = source.synced || pod.state == PodState::Active;
            let state = if counts { pod.state } else { PodState::Unknown };
            match table.numbers.get(pod.uid.as_str()).and_then(|&n| table.states.get_mut(n)) {
                // Listed twice with two states: what keeps more counts.
                Some(known) => *known = state.min(*known),
                None => {
                    table.numbers.insert(&pod.uid, table.states.len());
                    table.states.push(state);
                }
            }
        }
        table.sandboxes.reserve(observation.sandboxes.len());
        for (index, sandbox) in observation.sandboxes.iter().enumerate() {
            // One id listed twice is one sandbox.
            table.first.push(*table.sandboxes.entry(&sandbox.id).or_insert(index));
            // A sandbox whose state is not known may be ready.
            let owner = table.enter(&sandbox.pod_uid, sandbox.state != SandboxState::NotReady);
            table.of_sandboxes.push((&sandbox.pod_uid, owner));
        }
        for container in &observation.containers {
            let runs = container.state == ContainerState::Running;
            let sandbox = table.sandboxes.get(container.pod_sandbox_id.as_str()).copied();
            table.sandbox_of.push(sandbox);
            let owner = match sandbox.and_then(|index| table.of_sandboxes.get(index).copied()) {
                // Nearly always; saves looking the UID up.
                Some((uid, owner)) if container.pod_uid.is_empty() || container.pod_uid == uid => {
                    table.note(owner, runs);
                    owner
                }
                _ => table.enter(&container.pod_uid, runs),
            };
            table.of_containers.push(owner);
        }
        table
    }

    /// The owner that this UID names; a new one is added. Whatever runs makes its pod active.
    fn enter(&mut self, uid: &'a str, runs: bool) -> Owner {
        if uid.is_empty() {
            return Owner::Unmanaged;
        }
        let number = *self.numbers.entry(uid).or_insert(self.states.len());
        if number == self.states.len() {
            self.states.push(self.absent);
        }
        self.note(Owner::Pod(number), runs);
        Owner::Pod(number)
    }

    fn note(&mut self, owner: Owner, runs: bool) {
        if let Owner::Pod(number) = owner
            && let Some(state) = self.states.get_mut(number).filter(|_| runs)
        {
            *state = PodState::Active;
        }
    }

    /// Owners of the observation's containers, in their order.
    pub(crate) fn owners_of_containers(&self) -> &[Owner] {
        &self.of_containers
    }

    /// Owners of the observation's sandboxes, in their order.
    pub(crate) fn owners_of_sandboxes(&self) -> impl Iterator<Item = Owner> {
        self.of_sandboxes.iter().map(|&(_, owner)| owner)
    }

    /// Whether a container of any state names a sandbox, by position of the sandbox. Those removed don't count.
    pub(crate) fn occupied_without(&self, removed: &HashSet<usize>) -> Vec<bool> {
        let mut occupied = vec![false; self.first.len()];
        for (container, sandbox) in self.sandbox_of.iter().enumerate() {
            if let Some(occupied) = sandbox.and_then(|sandbox| occupied.get_mut(sandbox))
                && !removed.contains(&container)
            {
                *occupied = true;
            }
        }
        self.first.iter().map(|first| occupied.get(*first) != Some(&false)).collect()
    }

    /// UID of the pod of a container: its label, else that of its sandbox, else empty.
    #[must_use]
    pub fn uid_of_container(&self, container: &'a Container) -> &'a str {
        if container.pod_uid.is_empty() {
            self.sandboxes
                .get(container.pod_sandbox_id.as_str())
                .and_then(|&index| self.of_sandboxes.get(index))
                .map_or("", |&(uid, _)| uid)
        } else {
            &container.pod_uid
        }
    }

    /// What a container belongs to.
    #[must_use]
    pub fn owner_of_container(&self, container: &'a Container) -> Owner {
        // Every UID of an object was entered when the table was made; an empty one never is.
        let number = self.numbers.get(self.uid_of_container(container));
        number.map_or(Owner::Unmanaged, |&number| Owner::Pod(number))
    }

    /// State of the pod of that UID, listed or not.
    #[must_use]
    pub fn state(&self, uid: &str) -> PodState {
        self.numbers.get(uid).and_then(|&number| self.states.get(number)).copied().unwrap_or(self.absent)
    }

    /// State of the pod of that number; unknown for a number that is not of this table.
    #[must_use]
    pub fn state_of(&self, number: usize) -> PodState {
        self.states.get(number).copied().unwrap_or(PodState::Unknown)
    }

    /// What the state of its owner means for a container or a sandbox.
    pub(crate) fn fate(&self, owner: Owner, unmanaged: Unmanaged, evict_terminated: bool) -> Fate {
        match owner {
            // While the source is not synced, no owner is a reason to remove anything.
            Owner::Unmanaged if unmanaged == Unmanaged::Collect && self.synced => {
                Fate::Removed(Reason::UnmanagedCollected)
            }
            Owner::Unmanaged => Fate::Unmanaged,
            Owner::Pod(number) => match self.state_of(number) {
                PodState::Deleted => Fate::Removed(Reason::PodDeleted),
                PodState::Evicted => Fate::Removed(Reason::PodEvicted),
                PodState::Terminated if evict_terminated => Fate::Removed(Reason::PodTerminated),
                PodState::Active | PodState::Terminated | PodState::Unknown => Fate::Limited(number),
            },
        }
    }
}

/// What the state of its owner means for a container or a sandbox, once that is dead and old enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is removed, whatever the limits say.
    Removed(Reason),
    /// The limits decide. The number of its pod.
    Limited(usize),
    /// It belongs to no pod, and is kept.
    Unmanaged,
}

impl PodState {
    /// Whether the log directory of a pod in this state may be removed.
    #[must_use]
    pub fn content_may_go(self) -> bool {
        matches!(self, Self::Deleted | Self::Evicted)
    }
}
