//! Which sandboxes are removed (behaviour: Sandboxes; the kubelet's sandbox eviction).

use std::cmp::Ordering;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};

use crate::follow::Removed;
use crate::observation::{ContainerState, Observation, Sandbox, SandboxState};
use crate::plan::{Decision, Section};
use crate::pods::{Fate, Owner, PodTable};
use crate::policy::Policy;
use crate::reason::Reason;

/// Newest first: larger creation time; ties by larger attempt, then by smaller id. One whose creation time is not known counts
/// as the oldest: it is kept anyway, and must not pass for the newest in place of another.
fn newest_first(a: &Sandbox, b: &Sandbox) -> Ordering {
    (b.created_at, b.attempt).cmp(&(a.created_at, a.attempt)).then_with(|| a.id.cmp(&b.id))
}

/// Whether the pod of the sandbox of that id has a newer one. Checked again right before a removal for that reason.
#[must_use]
pub fn has_newer(all: &[Arc<Sandbox>], id: &str) -> bool {
    all.iter().find(|sandbox| sandbox.id == id).is_some_and(|own| {
        let newer = |other: &Sandbox| newest_first(other, own) == Ordering::Less;
        all.iter().any(|other| other.pod_uid == own.pod_uid && other.id != own.id && newer(other))
    })
}

/// What the decisions on single sandboxes depend on.
struct Rules<'a> {
    observation: &'a Observation,
    policy: &'a Policy,
    fates: Vec<Fate>,
    /// The newest over all of a pod's sandboxes, evictable or not.
    newest: HashMap<usize, &'a Sandbox>,
}

impl<'a> Rules<'a> {
    fn new(observation: &'a Observation, pods: &PodTable<'_>, policy: &'a Policy) -> Self {
        let fates: Vec<Fate> = pods
            .owners_of_sandboxes()
            .map(|owner| pods.fate(owner, policy.unmanaged, policy.sandboxes.evict_terminated_pods))
            .collect();
        let mut newest: HashMap<usize, &Sandbox> = HashMap::new();
        for (sandbox, fate) in observation.sandboxes.iter().zip(&fates) {
            if let Fate::Limited(pod) = fate {
                let best = newest.entry(*pod).or_insert(sandbox);
                if newest_first(sandbox, best) == Ordering::Less {
                    *best = sandbox;
                }
            }
        }
        Self { observation, policy, fates, newest }
    }

    /// Why the sandbox at that position is removed or kept, with or without a container in it.
    fn reason(&self, index: usize, is_occupied: bool) -> Option<Reason> {
        let (sandbox, fate) = (self.observation.sandboxes.get(index)?, *self.fates.get(index)?);
        match sandbox.state {
            SandboxState::Ready => return Some(Reason::SandboxReady),
            SandboxState::Unknown => return Some(Reason::StateUnknown),
            SandboxState::NotReady if sandbox.unlisted => return Some(Reason::NotAllListed),
            SandboxState::NotReady if is_occupied => return Some(Reason::HasContainers),
            SandboxState::NotReady => {}
        }
        let now = self.observation.now();
        let is_old = |created_at| now.at_least(self.policy.sandboxes.min_age, created_at);
        Some(match (fate, sandbox.created_at) {
            (Fate::Unmanaged, _) => Reason::Unmanaged,
            (_, None) => Reason::AgeUnknown,
            (_, Some(created_at)) if !is_old(created_at) => Reason::TooYoung,
            (Fate::Removed(reason), _) => reason,
            (Fate::Limited(pod), _) if self.newest.get(&pod).is_some_and(|best| best.id == sandbox.id) => {
                Reason::NewestSandbox
            }
            (Fate::Limited(_), _) => Reason::OlderSandbox,
        })
    }

    /// Oldest first.
    fn sort(&self, decisions: &mut [Decision]) {
        let sandboxes = &self.observation.sandboxes;
        decisions.sort_unstable_by(|a, b| match (sandboxes.get(a.index), sandboxes.get(b.index)) {
            (Some(a), Some(b)) => newest_first(b, a),
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
    for (index, is_occupied) in pods.occupied_without(&HashSet::new()).into_iter().enumerate() {
        if let Some(reason) = rules.reason(index, is_occupied) {
            section.push(Decision::new(index, reason));
        }
    }
    rules.sort(&mut section.remove);
    section
}

/// A sandbox that can be removed together with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholePod {
    /// Position of the sandbox.
    pub sandbox: usize,
    /// Positions of all containers in it.
    pub containers: Vec<usize>,
}

/// The sandboxes that can be removed together with all that is in them (behaviour: Whole pods): those of deleted pods that would
/// follow the removal of these containers. All containers of the pod have ended and are among these, in whichever sandbox they are.
#[must_use]
pub fn whole_pods(
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
    containers: &Section,
) -> Vec<WholePod> {
    let has_ended = |decision: &&Decision| {
        decision.reason == Reason::PodDeleted
            && observation.containers.get(decision.index).is_some_and(|c| c.state == ContainerState::Exited)
    };
    let removed: HashSet<usize> =
        containers.remove.iter().filter(has_ended).map(|decision| decision.index).collect();
    let mut inside: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut others = HashSet::new();
    let containers = pods.owners_of_containers().iter().zip(pods.sandboxes_of_containers());
    for (container, (owner, sandbox)) in containers.enumerate() {
        match sandbox {
            Some(sandbox) if removed.contains(&container) => {
                inside.entry(*sandbox).or_default().push(container);
            }
            _ => drop(others.insert(*owner)),
        }
    }
    let owners: Vec<Owner> = pods.owners_of_sandboxes().collect();
    let rules = Rules::new(observation, pods, policy);
    let occupied = pods.occupied_without(&removed);
    let is_whole = |sandbox: &usize| {
        let reason = rules.reason(*sandbox, occupied.get(*sandbox) != Some(&false));
        let owner = owners.get(*sandbox).copied().flatten();
        reason == Some(Reason::PodDeleted) && owner.is_some() && !others.contains(&owner)
    };
    let whole = inside.into_iter().filter(|(sandbox, _)| is_whole(sandbox));
    let mut whole: Vec<WholePod> =
        whole.map(|(sandbox, containers)| WholePod { sandbox, containers }).collect();
    whole.sort_unstable_by_key(|pod| pod.sandbox);
    whole
}

/// Has the sandboxes of a section follow that are removable once those containers are removed.
pub fn follow(
    section: &mut Section,
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
    removed: &Removed,
) {
    if removed.containers.is_empty() {
        return;
    }
    let rules = Rules::new(observation, pods, policy);
    let occupied = pods.occupied_without(&removed.containers);
    section.follow_kept(|decision| match decision.reason {
        Reason::HasContainers => rules.reason(decision.index, *occupied.get(decision.index)?),
        _ => None,
    });
    rules.sort(&mut section.follow);
}
