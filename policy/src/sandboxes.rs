//! Which sandboxes go (spec 4; the kubelet's sandbox eviction).

use std::cmp::Ordering;

use foldhash::{HashMap, HashMapExt as _};
use jiff::Timestamp;

use crate::age::newest_first;
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

/// Decides on all sandboxes.
#[must_use]
pub fn decide(observation: &Observation, pods: &PodTable<'_>, policy: &Policy) -> Section {
    let owners: Vec<Gone> = pods
        .owners_of_sandboxes()
        .map(|owner| pods.gone(owner, policy.unmanaged, policy.sandboxes.evict_terminated_pods))
        .collect();

    // The newest over all of a pod's sandboxes, evictable or not.
    let mut newest: HashMap<usize, &Sandbox> = HashMap::new();
    for (sandbox, gone) in observation.sandboxes.iter().zip(&owners) {
        if let Gone::No(pod) = gone {
            let best = newest.entry(*pod).or_insert(sandbox);
            if newest_first(age_key(sandbox), age_key(best)) == Ordering::Less {
                *best = sandbox;
            }
        }
    }

    let mut section = Section::default();
    for (index, (sandbox, gone)) in observation.sandboxes.iter().zip(&owners).enumerate() {
        let reason = match (sandbox.state, gone) {
            (SandboxState::Ready, _) => Reason::SandboxReady,
            (SandboxState::Unknown, _) => Reason::StateUnknown,
            (SandboxState::NotReady, _) if pods.is_occupied(index) => Reason::HasContainers,
            (SandboxState::NotReady, Gone::Unmanaged) => Reason::Unmanaged,
            (SandboxState::NotReady, gone) => match (sandbox.created_at, gone) {
                (None, _) => Reason::AgeUnknown,
                (Some(created_at), _)
                    if !observation.now().at_least(policy.sandboxes.min_age, created_at) =>
                {
                    Reason::TooYoung
                }
                (_, Gone::Yes(reason)) => *reason,
                (_, Gone::No(pod)) if newest.get(pod).is_some_and(|best| best.id == sandbox.id) => {
                    Reason::NewestSandbox
                }
                (_, _) => Reason::OlderSandbox,
            },
        };
        section.push(Decision::new(index, reason));
    }
    section.remove.sort_unstable_by(|a, b| {
        match (observation.sandboxes.get(a.index), observation.sandboxes.get(b.index)) {
            // Oldest first.
            (Some(a), Some(b)) => newest_first(age_key(b), age_key(a)),
            // Never: the indices are those of this very list.
            _ => Ordering::Equal,
        }
    });
    section
}
