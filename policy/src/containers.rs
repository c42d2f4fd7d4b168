//! Which dead containers go (spec 3; the kubelet's container GC).

use std::cmp::Ordering;
use std::collections::HashMap;

use jiff::Timestamp;

use crate::age::{at_least, newest_first};
use crate::observation::{Container, ContainerState, Observation};
use crate::plan::{Decision, Detail, Section};
use crate::pods::{Gone, PodTable};
use crate::policy::{ContainerPolicy, Policy};
use crate::reason::Reason;

/// A dead container that is old enough to go. Only [`Evictable::check`] makes one, so none is ever built from a
/// running container.
#[derive(Debug, Clone, Copy)]
struct Evictable<'a> {
    index: usize,
    created_at: Timestamp,
    container: &'a Container,
}

impl<'a> Evictable<'a> {
    /// Rule 1: dead, and dead for long enough; else the reason why not.
    fn check(
        index: usize,
        container: &'a Container,
        policy: &ContainerPolicy,
        now: Timestamp,
    ) -> Result<Self, Reason> {
        let created_at =
            evictable_since(container.state, container.created_at, container.finished_at, policy, now)?;
        Ok(Self { index, created_at, container })
    }

    /// Newest first; ties by larger attempt, then by smaller id, so that a plan is deterministic.
    fn newest_first(&self, other: &Self) -> Ordering {
        newest_first(
            (self.created_at, self.container.attempt, &self.container.id),
            (other.created_at, other.container.attempt, &other.container.id),
        )
    }
}

/// Rule 1 on bare facts: when the container was created, if it is dead and dead for long enough; else why it stays.
/// The re-check before a removal asks the same, with what the runtime says at that moment.
///
/// # Errors
/// The reason to keep the container.
pub fn evictable_since(
    state: ContainerState,
    created_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    policy: &ContainerPolicy,
    now: Timestamp,
) -> Result<Timestamp, Reason> {
    if state == ContainerState::Running {
        return Err(Reason::Running);
    }
    let created_at = created_at.ok_or(Reason::AgeUnknown)?;
    if !at_least(policy.min_age, created_at, now) {
        return Err(Reason::TooYoung);
    }
    if finished_at.is_some_and(|finished_at| !at_least(policy.min_dead_age, finished_at, now)) {
        return Err(Reason::FinishedRecently);
    }
    if state == ContainerState::Created && !at_least(policy.created_grace, created_at, now) {
        return Err(Reason::CreatedRecently);
    }
    Ok(created_at)
}

/// Decides on all containers.
#[must_use]
pub fn decide(observation: &Observation, pods: &PodTable<'_>, policy: &Policy) -> Section {
    let limits = &policy.containers;
    let mut section = Section::default();
    let mut units = Units::default();
    for (index, container) in observation.containers.iter().enumerate() {
        let gone =
            pods.gone(pods.owner_of_container(container), policy.unmanaged, limits.evict_terminated_pods);
        let verdict = Evictable::check(index, container, limits, observation.taken_at);
        match (verdict, gone) {
            (Err(Reason::Running), _) => section.push(Decision::new(index, Reason::Running)),
            (_, Gone::Unmanaged) => section.push(Decision::new(index, Reason::Unmanaged)),
            (Err(reason), _) | (Ok(_), Gone::Yes(reason)) => section.push(Decision::new(index, reason)),
            (Ok(evictable), Gone::No(pod)) => units.add(pod, evictable),
        }
    }
    units.cut(limits, &mut section);
    section.remove.sort_unstable_by(|a, b| {
        let key = |d: &Decision| {
            observation.containers.get(d.index).map(|c| (c.created_at, c.attempt, c.id.as_str()))
        };
        match (key(a), key(b)) {
            // Oldest first.
            (Some(a), Some(b)) => newest_first(b, a),
            // Never: the indices are those of this very list.
            _ => Ordering::Equal,
        }
    });
    section
}

/// The evict units of pods that stay: evictable containers by pod and container name.
#[derive(Default)]
struct Units<'a> {
    numbers: HashMap<(usize, &'a str), usize>,
    members: Vec<(usize, Evictable<'a>)>,
}

impl<'a> Units<'a> {
    fn add(&mut self, pod: usize, evictable: Evictable<'a>) {
        let next = self.numbers.len();
        let unit = *self.numbers.entry((pod, evictable.container.name.as_str())).or_insert(next);
        self.members.push((unit, evictable));
    }

    /// Rules 3 and 4.
    fn cut(mut self, limits: &ContainerPolicy, section: &mut Section) {
        let units = self.numbers.len();
        self.members.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.newest_first(&b.1)));
        let mut left = self.members;
        if let Some(limit) = limits.max_per_pod_container {
            left = cut_each(left, limit, Reason::OverPodContainerLimit, section);
        }
        if let Some(limit) = limits.max_containers {
            if left.len() > limit {
                let share = limit.checked_div(units).unwrap_or(limit).max(1);
                left = cut_each(left, share, Reason::OverUnitShare, section);
            }
            if left.len() > limit {
                left.sort_unstable_by(|a, b| a.1.newest_first(&b.1));
                for (newer, (_, evictable)) in left.drain(limit..).enumerate() {
                    let detail = Detail::Newer(limit + newer);
                    section.push(Decision::new(evictable.index, Reason::OverNodeLimit).with(detail));
                }
            }
        }
        section.keep.extend(left.iter().map(|(_, e)| Decision::new(e.index, Reason::WithinLimits)));
    }
}

/// Cuts every unit to its newest `limit`; returns what is left, still sorted. `members` stand by unit, newest first.
fn cut_each<'a>(
    members: Vec<(usize, Evictable<'a>)>,
    limit: usize,
    reason: Reason,
    section: &mut Section,
) -> Vec<(usize, Evictable<'a>)> {
    let mut unit = None;
    let mut newer = 0;
    members
        .into_iter()
        .filter(|(of, evictable)| {
            newer = if unit == Some(*of) { newer + 1 } else { 0 };
            unit = Some(*of);
            let stays = newer < limit;
            if !stays {
                section.push(Decision::new(evictable.index, reason).with(Detail::Newer(newer)));
            }
            stays
        })
        .collect()
}
