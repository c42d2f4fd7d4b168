//! Which dead containers are removed (behaviour: Dead containers; the kubelet's container GC).

use std::cmp::Ordering;
use std::sync::Arc;

use foldhash::HashMap;
use jiff::Timestamp;

use crate::age::Now;
use crate::observation::{Container, ContainerState, Observation};
use crate::plan::{Decision, Detail, Section};
use crate::pods::{Fate, PodTable};
use crate::policy::{ContainerPolicy, Policy};
use crate::reason::Reason;

/// What the runtime reports of one container: in a list, or when it is asked for this container alone, which also says when
/// it finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// State at that moment.
    pub state: ContainerState,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its process ended.
    pub finished_at: Option<Timestamp>,
}

impl Status {
    /// That of a list.
    #[must_use]
    pub fn listed(container: &Container) -> Self {
        let Container { state, created_at, finished_at, .. } = *container;
        Self { state, created_at, finished_at }
    }

    /// Rule 1: when the container was created, if it is dead and dead for long enough; else why it is kept.
    fn evictable_since(self, policy: &ContainerPolicy, now: Now) -> Result<Timestamp, Reason> {
        if self.state == ContainerState::Running {
            return Err(Reason::Running);
        }
        let created_at = self.created_at.ok_or(Reason::AgeUnknown)?;
        if !now.at_least(policy.min_age, created_at) {
            return Err(Reason::TooYoung);
        }
        if self.finished_at.is_some_and(|finished_at| !now.at_least(policy.min_dead_age, finished_at)) {
            return Err(Reason::FinishedRecently);
        }
        if self.state == ContainerState::Created && !now.at_least(policy.created_grace, created_at) {
            return Err(Reason::CreatedRecently);
        }
        Ok(created_at)
    }
}

/// The check right before a removal: rule 1 once more, by the status at that moment. `None` is a status that could not be
/// read: then the container is kept.
///
/// # Errors
/// The reason to keep the container.
pub fn recheck(
    container: &Container,
    status: Option<Status>,
    policy: &ContainerPolicy,
    now: Now,
) -> Result<(), Reason> {
    let status = status.ok_or(Reason::StateUnknown)?;
    let status = Status { created_at: status.created_at.or(container.created_at), ..status };
    status.evictable_since(policy, now).map(drop)
}

/// Whether a container's unit has a newer one that counts towards its limit. Checked again right before a removal for that reason.
/// `siblings` are the containers of its pod.
pub fn has_newer<'a>(
    mut siblings: impl Iterator<Item = &'a Container>,
    own: &Container,
    policy: &ContainerPolicy,
    now: Now,
) -> bool {
    let age = |container: &Container| (container.created_at, container.attempt);
    let is_newer = |other: &Container| {
        age(other).cmp(&age(own)).then_with(|| own.id.cmp(&other.id)) == Ordering::Greater
    };
    siblings.any(|other| {
        other.name == own.name
            && Status::listed(other).evictable_since(policy, now).is_ok()
            && is_newer(other)
    })
}

/// Keeps those of a section's removals that the check right before their removal would refuse. A pass decides without
/// finish times and refuses single containers, and no other container is removed in their place: so nothing else of the
/// section changes here.
pub fn settle(
    section: &mut Section,
    containers: &[Arc<Container>],
    status: impl Fn(usize) -> Option<Status>,
    policy: &ContainerPolicy,
    now: Now,
) {
    let refused = section.remove.extract_if(.., |decision| {
        let Some(container) = containers.get(decision.index) else { return false };
        let status = status(decision.index);
        let Err(reason) = recheck(container, status, policy, now) else { return false };
        let at = match reason {
            Reason::FinishedRecently => status.and_then(|status| status.finished_at),
            Reason::TooYoung | Reason::CreatedRecently => status.and_then(|status| status.created_at),
            _ => None,
        };
        *decision = Decision::new(decision.index, reason).with(at.map_or(Detail::None, Detail::At));
        true
    });
    section.keep.extend(refused);
}

/// A dead container that is old enough to be removed. It has what it is sorted by: looking that up for each comparison would
/// cost more than all else.
struct Evictable {
    index: usize,
    created_at: Timestamp,
    attempt: u32,
    reason: Reason,
    standing: Standing,
}

/// Whether the limits decide on a container.
enum Standing {
    /// It is removed, whatever they say.
    Unlimited,
    /// They do, as on all of the evict unit of that number.
    Within(usize),
    /// They did: it is removed, because there are so many newer ones.
    Over(usize),
}

impl Evictable {
    fn is_within(&self) -> bool {
        matches!(self.standing, Standing::Within(_))
    }

    fn remove(&mut self, reason: Reason, newer: usize) {
        (self.reason, self.standing) = (reason, Standing::Over(newer));
    }

    fn decision(self) -> Decision {
        let decision = Decision::new(self.index, self.reason);
        match self.standing {
            Standing::Over(newer) => decision.with(Detail::Newer(newer)),
            Standing::Unlimited | Standing::Within(_) => decision,
        }
    }
}

/// Decides on all containers.
#[must_use]
pub fn decide(observation: &Observation, pods: &PodTable<'_>, policy: &Policy) -> Section {
    let limits = &policy.containers;
    let containers = &observation.containers;
    let mut section = Section::default();
    let mut units = Units::default();
    let mut evictable = Vec::with_capacity(containers.len());
    for (index, (container, &owner)) in containers.iter().zip(pods.owners_of_containers()).enumerate() {
        let fate = pods.fate(owner, policy.unmanaged, limits.evict_terminated_pods);
        let since = Status::listed(container).evictable_since(limits, observation.now());
        let mut keep = |reason| section.push(Decision::new(index, reason));
        let mut evict = |created_at, standing, reason| {
            evictable.push(Evictable { index, created_at, attempt: container.attempt, reason, standing });
        };
        match (since, fate) {
            (Err(Reason::Running), _) => keep(Reason::Running),
            (_, Fate::Unmanaged) => keep(Reason::Unmanaged),
            (Err(reason), _) => keep(reason),
            (Ok(created_at), Fate::Removed(reason)) => evict(created_at, Standing::Unlimited, reason),
            (Ok(created_at), Fate::Limited(pod)) => {
                let unit = units.number(pod, &container.name);
                evict(created_at, Standing::Within(unit), Reason::WithinLimits);
            }
        }
    }
    // Removal is oldest first; ties by smaller attempt, then by larger id. Ids are elsewhere in memory and are seldom needed.
    let id = |e: &Evictable| containers.get(e.index).map(|c| c.id.as_str());
    let age = |e: &Evictable| (e.created_at, e.attempt);
    evictable.sort_unstable_by(|a, b| age(a).cmp(&age(b)).then_with(|| id(b).cmp(&id(a))));
    apply_limits(&mut evictable, units.units.len(), limits);
    section.remove = evictable.into_iter().map(Evictable::decision).collect();
    section.keep.extend(section.remove.extract_if(.., |decision| !decision.reason.removes()));
    section
}

/// Numbers the evict units: a pod and a container name each. A node has few different names: once these are numbers, no text
/// is compared.
#[derive(Default)]
struct Units<'a> {
    names: HashMap<&'a str, usize>,
    units: HashMap<(usize, usize), usize>,
}

impl<'a> Units<'a> {
    /// The number of the unit of that pod and container name.
    fn number(&mut self, pod: usize, name: &'a str) -> usize {
        let next = self.names.len();
        let name = *self.names.entry(name).or_insert(next);
        let next = self.units.len();
        *self.units.entry((pod, name)).or_insert(next)
    }
}

/// Rules 2 to 4 on all that is evictable, oldest first.
fn apply_limits(evictable: &mut [Evictable], units: usize, limits: &ContainerPolicy) {
    let mut left = evictable.iter().filter(|e| e.is_within()).count();
    if let Some(limit) = limits.max_per_pod_container {
        left -= limit_units(evictable, units, limit, Reason::OverPodContainerLimit);
    }
    let Some(limit) = limits.max_containers else { return };
    if left > limit {
        let share = limit.checked_div(units).unwrap_or(limit).max(1);
        left -= limit_units(evictable, units, share, Reason::OverUnitShare);
    }
    if left > limit {
        let kept = evictable.iter_mut().rev().filter(|e| e.is_within());
        kept.enumerate().skip(limit).for_each(|(newer, e)| e.remove(Reason::OverNodeLimit, newer));
    }
}

/// Keeps the newest `limit` of every unit; returns how many of the others are removed for this reason.
fn limit_units(evictable: &mut [Evictable], units: usize, limit: usize, reason: Reason) -> usize {
    let mut counts = vec![0usize; units];
    let mut removed = 0;
    for evictable in evictable.iter_mut().rev() {
        let Standing::Within(unit) = evictable.standing else { continue };
        let Some(newer) = counts.get_mut(unit) else { continue };
        if *newer >= limit {
            evictable.remove(reason, *newer);
            removed += 1;
        }
        *newer += 1;
    }
    removed
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::observation::Pods;
    use crate::policy::Unmanaged;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn container(id: &str) -> Container {
        Container {
            id: id.into(),
            pod_uid: "u".into(),
            pod_sandbox_id: "".into(),
            name: "app".into(),
            attempt: 0,
            state: ContainerState::Exited,
            created_at: Some(at(0)),
            finished_at: None,
            image: "".into(),
            image_ref: "".into(),
            image_id: "".into(),
            image_volumes: Vec::new(),
            log_path: "".into(),
        }
    }

    fn status(state: ContainerState, finished: Option<i64>) -> Option<Status> {
        Some(Status { state, created_at: Some(at(0)), finished_at: finished.map(at) })
    }

    #[test]
    fn what_the_check_before_a_removal_would_refuse_is_kept_and_nothing_else_changes() {
        let all = ["old", "finished", "started", "created", "silent", "lost", "kept"];
        let all = all.map(|id| Arc::new(container(id)));
        let statuses = [
            status(ContainerState::Exited, Some(10)),
            status(ContainerState::Exited, Some(990)),
            status(ContainerState::Running, None),
            Some(Status { state: ContainerState::Created, created_at: Some(at(900)), finished_at: None }),
            None,
            Some(Status { state: ContainerState::Unknown, created_at: None, finished_at: None }),
        ];
        let reason = Reason::PodDeleted;
        let mut section = Section {
            remove: (0..6).map(|index| Decision::new(index, reason)).collect(),
            keep: vec![Decision::new(6, Reason::WithinLimits)],
            ..Section::default()
        };
        let policy = crate::policy::tests::policy().containers;
        let now = Now { at: at(1_000), clock_set: None };
        settle(&mut section, &all, |index| statuses[index], &policy, now);
        assert_eq!(section.remove, [Decision::new(0, reason), Decision::new(5, reason)], "in their order");
        let kept = |index, reason, time: Option<i64>| {
            Decision::new(index, reason).with(time.map_or(Detail::None, |time| Detail::At(at(time))))
        };
        assert_eq!(
            section.keep,
            [
                kept(6, Reason::WithinLimits, None),
                kept(1, Reason::FinishedRecently, Some(990)),
                kept(2, Reason::Running, None),
                kept(3, Reason::CreatedRecently, Some(900)),
                kept(4, Reason::StateUnknown, None),
            ]
        );
    }

    #[test]
    fn a_finish_time_before_the_clock_was_set_is_as_old_as_that() {
        let now = Now { at: at(1_000), clock_set: Some(at(970)) };
        let policy = crate::policy::tests::policy().containers;
        let checked = |now| recheck(&container("c"), status(ContainerState::Exited, Some(10)), &policy, now);
        assert_eq!(checked(now), Err(Reason::FinishedRecently));
        let later = Now { at: now.at + SignedDuration::from_secs(30), ..now };
        assert_eq!(checked(later), Ok(()));
    }

    #[test]
    fn what_may_be_in_a_sandbox_that_is_not_listed_does_not_count_as_of_no_pod() {
        let container = Container { pod_uid: "".into(), pod_sandbox_id: "5a0d".into(), ..container("c") };
        let mut seen = Observation {
            containers: vec![Arc::new(container)].into(),
            pods: Pods { synced: true, ..Pods::default() },
            ..Observation::empty(at(1_000_000))
        };
        let policy = Policy { unmanaged: Unmanaged::Collect, ..crate::policy::tests::policy() };
        let reasons = |seen: &Observation| -> Vec<Reason> {
            let section = decide(seen, &PodTable::new(seen), &policy);
            section.remove.iter().chain(&section.keep).map(|decision| decision.reason).collect()
        };
        assert_eq!(reasons(&seen), [Reason::UnmanagedCollected]);
        seen.lacks_sandboxes = true;
        assert_eq!(reasons(&seen), [Reason::Unmanaged]);
    }
}
