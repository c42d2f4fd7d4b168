//! Which pod an object belongs to, and what that pod's state allows (behaviour: Pods).
//!
//! The states of the source are only half the answer: whatever a source or a snapshot says, a UID with a running container or
//! a ready sandbox is active, and while the source is not synced no pod counts as deleted.

use ecow::EcoString;
use foldhash::{HashMap, HashMapExt as _, HashSet};

use crate::observation::{Absent, Container, ContainerState, Observation, PodState, SandboxState};
use crate::policy::Unmanaged;
use crate::reason::Reason;

/// The pod that an object belongs to: its number within a table. `None` where no pod is named.
pub(crate) type Owner = Option<usize>;

/// The state of every pod that an observation names.
#[derive(Debug)]
pub struct PodTable<'a> {
    numbers: HashMap<&'a str, usize>,
    states: Vec<PodState>,
    /// Positions of the sandboxes by id.
    sandboxes: HashMap<&'a str, usize>,
    /// Owners of the containers and of the sandboxes, by position: looked up once, for hashing is what a plan costs.
    of_containers: Vec<Owner>,
    of_sandboxes: Vec<(&'a EcoString, Owner)>,
    /// Where each sandbox is listed first.
    first: Vec<usize>,
    /// Where the sandbox that a container names is listed first, by position of the container.
    sandbox_of: Vec<Option<usize>>,
    absent: PodState,
    /// Whether what has no owner belongs to no pod, as far as can be known.
    knows_unmanaged: bool,
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
            absent: match source.absent {
                Absent::Deleted if source.synced => PodState::Deleted,
                Absent::Deleted | Absent::Unknown => PodState::Unknown,
            },
            knows_unmanaged: source.synced && !observation.lacks_sandboxes,
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
            // A sandbox whose state is not known may be ready, and what is not listed may run.
            let runs = sandbox.state != SandboxState::NotReady || sandbox.unlisted;
            let owner = table.enter(&sandbox.pod_uid, runs);
            table.of_sandboxes.push((&sandbox.pod_uid, owner));
        }
        for container in observation.containers.iter() {
            let runs = container.state == ContainerState::Running;
            let sandbox = table.sandbox_of(container);
            table.sandbox_of.push(sandbox);
            let owner = match sandbox.and_then(|index| table.of_sandboxes.get(index).copied()) {
                // Nearly always; saves looking the UID up.
                Some((uid, owner)) if container.pod_uid.is_empty() || container.pod_uid == *uid => {
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
            return None;
        }
        let number = *self.numbers.entry(uid).or_insert(self.states.len());
        if number == self.states.len() {
            self.states.push(self.absent);
        }
        self.note(Some(number), runs);
        Some(number)
    }

    fn note(&mut self, owner: Owner, runs: bool) {
        if runs && let Some(state) = owner.and_then(|number| self.states.get_mut(number)) {
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
        // An unknown position counts as occupied.
        self.first.iter().map(|first| occupied.get(*first) != Some(&false)).collect()
    }

    /// Where the sandbox that a container names is listed first, by position of the container.
    pub(crate) fn sandboxes_of_containers(&self) -> &[Option<usize>] {
        &self.sandbox_of
    }

    /// Where the sandbox that a container names is listed first.
    #[must_use]
    pub fn sandbox_of(&self, container: &Container) -> Option<usize> {
        self.sandboxes.get(container.pod_sandbox_id.as_str()).copied()
    }

    /// UID of the pod of a container: its label, else that of its sandbox, else empty.
    #[must_use]
    pub fn uid_of_container(&self, container: &'a Container) -> &'a EcoString {
        let own = &container.pod_uid;
        if !own.is_empty() {
            return own;
        }
        let sandbox = self.sandbox_of(container).and_then(|index| self.of_sandboxes.get(index));
        sandbox.map_or(own, |&(uid, _)| uid)
    }

    /// State of the pod of that UID, listed or not.
    #[must_use]
    pub fn state(&self, uid: &str) -> PodState {
        self.numbers.get(uid).and_then(|&number| self.states.get(number)).copied().unwrap_or(self.absent)
    }

    /// What the state of its owner means for a container or a sandbox.
    pub(crate) fn fate(&self, owner: Owner, unmanaged: Unmanaged, evict_terminated: bool) -> Fate {
        let Some(number) = owner else {
            // While the source is not synced, or its sandbox may not be listed, a missing owner is no reason to remove anything.
            let is_collected = unmanaged == Unmanaged::Collect && self.knows_unmanaged;
            return if is_collected { Fate::Removed(Reason::UnmanagedCollected) } else { Fate::Unmanaged };
        };
        match self.states.get(number) {
            Some(PodState::Deleted) => Fate::Removed(Reason::PodDeleted),
            Some(PodState::Evicted) => Fate::Removed(Reason::PodEvicted),
            Some(PodState::Terminated) if evict_terminated => Fate::Removed(Reason::PodTerminated),
            Some(PodState::Active | PodState::Terminated | PodState::Unknown) | None => Fate::Limited(number),
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
