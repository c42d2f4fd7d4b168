//! Which sandboxes go (behaviour: Sandboxes; the kubelet's sandbox eviction).

use std::cmp::Ordering;

use foldhash::{HashMap, HashMapExt as _};
use jiff::Timestamp;

use crate::age::newest_first;
use crate::follow::Removed;
use crate::observation::{Observation, Sandbox, SandboxState};
use crate::plan::{Decision, Section};
use crate::pods::{Gone, PodTable};
use crate::policy::Policy;
use crate::reason::Reason;

/// What a sandbox is ordered by. One whose creation time is not known counts as the oldest: it stays anyway, and must
/// not pass for the newest in place of another.
fn age_key(sandbox: &Sandbox) -> (Option<Timestamp>, u32, &str) {
    (sandbox.created_at, sandbox.attempt, &sandbox.id)
}

/// Whether the pod of the sandbox of that id has a newer one. Asked again right before a removal for that reason.
#[must_use]
pub fn has_newer(all: &[Sandbox], id: &str) -> bool {
    all.iter().find(|sandbox| sandbox.id == id).is_some_and(|own| {
        let newer = |other: &Sandbox| newest_first(age_key(other), age_key(own)) == Ordering::Less;
        all.iter().any(|other| other.pod_uid == own.pod_uid && other.id != own.id && newer(other))
    })
}

/// What the decisions on single sandboxes rest on.
struct Rules<'a> {
    observation: &'a Observation,
    policy: &'a Policy,
    owners: Vec<Gone>,
    /// The newest over all of a pod's sandboxes, evictable or not.
    newest: HashMap<usize, &'a Sandbox>,
}

impl<'a> Rules<'a> {
    fn new(observation: &'a Observation, pods: &PodTable<'_>, policy: &'a Policy) -> Self {
        let owners: Vec<Gone> = pods
            .owners_of_sandboxes()
            .map(|owner| pods.gone(owner, policy.unmanaged, policy.sandboxes.evict_terminated_pods))
            .collect();
        let mut newest: HashMap<usize, &Sandbox> = HashMap::new();
        for (sandbox, gone) in observation.sandboxes.iter().zip(&owners) {
            if let Gone::No(pod) = gone {
                let best = newest.entry(*pod).or_insert(sandbox);
                if newest_first(age_key(sandbox), age_key(best)) == Ordering::Less {
                    *best = sandbox;
                }
            }
        }
        Self { observation, policy, owners, newest }
    }

    /// What becomes of the sandbox at that position, with or without a container in it.
    fn reason(&self, index: usize, is_occupied: bool) -> Option<Reason> {
        let (sandbox, gone) = (self.observation.sandboxes.get(index)?, *self.owners.get(index)?);
        Some(match (sandbox.state, gone) {
            (SandboxState::Ready, _) => Reason::SandboxReady,
            (SandboxState::Unknown, _) => Reason::StateUnknown,
            (SandboxState::NotReady, _) if is_occupied => Reason::HasContainers,
            (SandboxState::NotReady, Gone::Unmanaged) => Reason::Unmanaged,
            (SandboxState::NotReady, gone) => match (sandbox.created_at, gone) {
                (None, _) => Reason::AgeUnknown,
                (Some(created_at), _)
                    if !self.observation.now().at_least(self.policy.sandboxes.min_age, created_at) =>
                {
                    Reason::TooYoung
                }
                (_, Gone::Yes(reason)) => reason,
                (_, Gone::No(pod)) if self.newest.get(&pod).is_some_and(|best| best.id == sandbox.id) => {
                    Reason::NewestSandbox
                }
                (_, _) => Reason::OlderSandbox,
            },
        })
    }

    /// Oldest first.
    fn sort(&self, decisions: &mut [Decision]) {
        let sandboxes = &self.observation.sandboxes;
        decisions.sort_unstable_by(|a, b| match (sandboxes.get(a.index), sandboxes.get(b.index)) {
            (Some(a), Some(b)) => newest_first(age_key(b), age_key(a)),
            // Never: the indices are those of this very list.
            _ => Ordering::Equal,
        });
    }
}

/// Decides on all sandboxes.
#[must_use]
pub fn decide(observation: &Observation, pods: &PodTable<'_>, policy: &Policy) -> Section {
    let rules = Rules::new(observation, pods, policy);
    let mut section = Section::default();
    for index in 0..observation.sandboxes.len() {
        if let Some(reason) = rules.reason(index, pods.is_occupied(index)) {
            section.push(Decision::new(index, reason));
        }
    }
    rules.sort(&mut section.remove);
    section
}

/// Takes out of what a section keeps the sandboxes that are removable once those containers are removed.
pub(crate) fn follow(
    section: &mut Section,
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
    removed: &Removed,
) -> Vec<Decision> {
    let rules = Rules::new(observation, pods, policy);
    let occupied = pods.occupied_without(observation, &removed.containers);
    let mut follow = Vec::new();
    section.keep.retain(|decision| {
        let empties = decision.reason == Reason::HasContainers && !occupied.contains(decision.index);
        match rules.reason(decision.index, false).filter(|reason| empties && reason.removes()) {
            Some(reason) => follow.push(Decision::new(decision.index, reason)),
            None => return true,
        }
        false
    });
    rules.sort(&mut follow);
    follow
}
