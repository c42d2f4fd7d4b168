//! Which pod an object belongs to, and what that pod's state allows (behaviour: Pods).
//!
//! The states of the source are only half the answer: whatever a source, a proof or a snapshot says, a UID with a
//! running container or a ready sandbox is active, and while the source is not synced nothing is proved.

use foldhash::{HashMap, HashMapExt as _};

use crate::follow::Positions;
use crate::observation::{Container, ContainerState, Observation, PodState, SandboxState};
use crate::policy::Unmanaged;
use crate::reason::Reason;

/// To whom an object belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// To a pod: its number within the table.
    Pod(usize),
    /// To none that could be named.
    Unmanaged,
}

/// The state of every pod that an observation speaks of.
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
    /// Whether a container names the sandbox, by the position where it is listed first.
    occupied: Vec<bool>,
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
            occupied: Vec::new(),
            first: Vec::with_capacity(observation.sandboxes.len()),
            of_containers: Vec::with_capacity(observation.containers.len()),
            of_sandboxes: Vec::with_capacity(observation.sandboxes.len()),
            absent: if source.synced { source.absent } else { PodState::Unknown },
            synced: source.synced,
        };
        for pod in source.pods.iter().filter(|pod| !pod.uid.is_empty()) {
            // Without a synced source only "active" can be believed: it keeps.
            let believed = source.synced || pod.state == PodState::Active;
            let state = if believed { pod.state } else { PodState::Unknown };
            match table.numbers.get(pod.uid.as_str()).and_then(|&n| table.states.get_mut(n)) {
                // Named twice with two states: what keeps more holds.
                Some(known) => *known = (*known).keeping_more(state),
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
            let owner = table.sight(&sandbox.pod_uid, sandbox.state != SandboxState::NotReady);
            table.of_sandboxes.push((&sandbox.pod_uid, owner));
        }
        table.occupied = vec![false; observation.sandboxes.len()];
        for container in &observation.containers {
            let runs = container.state == ContainerState::Running;
            let sandbox = table.sandboxes.get(container.pod_sandbox_id.as_str()).copied();
            if let Some(occupied) = sandbox.and_then(|index| table.occupied.get_mut(index)) {
                *occupied = true;
            }
            let owner = match sandbox.and_then(|index| table.of_sandboxes.get(index).copied()) {
                // Nearly always; saves looking the UID up.
                Some((uid, owner)) if container.pod_uid.is_empty() || container.pod_uid == uid => {
                    table.note(owner, runs);
                    owner
                }
                _ => table.sight(&container.pod_uid, runs),
            };
            table.of_containers.push(owner);
        }
        table
    }

    fn sight(&mut self, uid: &'a str, runs: bool) -> Owner {
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

    /// Whether a container of any state names the sandbox at that position.
    pub(crate) fn is_occupied(&self, sandbox: usize) -> bool {
        self.first.get(sandbox).and_then(|&first| self.occupied.get(first)).copied().unwrap_or(true)
    }

    /// Which sandboxes are occupied once those containers are removed.
    pub(crate) fn occupied_without(&self, observation: &Observation, removed: &Positions) -> Positions {
        let left = observation.containers.iter().enumerate().filter(|(at, _)| !removed.contains(*at));
        let firsts = left.filter_map(|(_, c)| self.sandboxes.get(c.pod_sandbox_id.as_str()).copied());
        let firsts: Positions = firsts.collect();
        let occupied = |(_, first): &(usize, &usize)| firsts.contains(**first);
        self.first.iter().enumerate().filter(occupied).map(|(sandbox, _)| sandbox).collect()
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

    /// To whom a container belongs.
    #[must_use]
    pub fn owner_of_container(&self, container: &'a Container) -> Owner {
        self.owner(self.uid_of_container(container))
    }

    fn owner(&self, uid: &str) -> Owner {
        // Every UID of an object was entered when the table was made; an empty one never is.
        self.numbers.get(uid).map_or(Owner::Unmanaged, |&number| Owner::Pod(number))
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

    /// Whether, and why, the runtime objects of an owner go as a whole.
    pub(crate) fn gone(&self, owner: Owner, unmanaged: Unmanaged, evict_terminated: bool) -> Gone {
        match owner {
            // Nothing is collected for its owner's sake while the source is not synced.
            Owner::Unmanaged if unmanaged == Unmanaged::Collect && self.synced => {
                Gone::Yes(Reason::UnmanagedCollected)
            }
            Owner::Unmanaged => Gone::Unmanaged,
            Owner::Pod(number) => match self.state_of(number) {
                PodState::Deleted => Gone::Yes(Reason::PodDeleted),
                PodState::Evicted => Gone::Yes(Reason::PodEvicted),
                PodState::Terminated if evict_terminated => Gone::Yes(Reason::PodTerminated),
                PodState::Active | PodState::Terminated | PodState::Unknown => Gone::No(number),
            },
        }
    }
}

/// Whether the runtime objects of an owner go as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// They do, for this reason.
    Yes(Reason),
    /// They do not: the limits decide. The number of the pod.
    No(usize),
    /// They belong to no pod, and stay.
    Unmanaged,
}

impl PodState {
    /// The one of two states that keeps more.
    fn keeping_more(self, other: Self) -> Self {
        let rank = |state: Self| match state {
            Self::Active => 0,
            Self::Unknown => 1,
            Self::Terminated => 2,
            Self::Evicted => 3,
            Self::Deleted => 4,
        };
        if rank(other) < rank(self) { other } else { self }
    }

    /// Whether the content of a pod in this state, its log directory, may go.
    #[must_use]
    pub fn content_may_go(self) -> bool {
        matches!(self, Self::Deleted | Self::Evicted)
    }
}
