//! What becomes removable by a plan's own removals (behaviour: Plans): a sweep makes its passes in order, so that the sandbox pass sees
//! what the container pass left, and so on.
//!
//! The sections of a plan never count on each other. What follows is taken out of what they keep, and listed beside them.

use jiff::SignedDuration;

use crate::decide::Plan;
use crate::images::{self, ImagePlan};
use crate::observation::Observation;
use crate::plan::{Decision, Section};
use crate::pods::PodTable;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::{log_dirs, sandboxes};

/// What becomes removable by removals of earlier sections, in the order of removal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Follow {
    /// Sandboxes that are empty once containers are removed.
    pub sandboxes: Vec<Decision>,
    /// Log directories of whose pods nothing is left then.
    pub log_dirs: Vec<Decision>,
    /// Images that no container uses any more then.
    pub images: Vec<Decision>,
}

/// Which loops remove what they plan. What a loop only reports is still there for the loops after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforcing {
    /// Container GC.
    pub containers: bool,
    /// Sandbox reaping.
    pub sandboxes: bool,
}

impl Enforcing {
    /// Both: a plan on a snapshot ignores modes (behaviour: Snapshots).
    pub const ALL: Self = Self { containers: true, sandboxes: true };
}

/// What earlier passes of a sweep remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Containers.
    pub containers: Positions,
    /// Sandboxes.
    pub sandboxes: Positions,
}

/// Positions in a list of an observation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(Vec<bool>);

impl Positions {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, position: usize) -> bool {
        self.0.get(position).copied().unwrap_or(false)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add<'a>(&mut self, decisions: impl IntoIterator<Item = &'a Decision>) {
        self.extend(decisions.into_iter().map(|decision| decision.index));
    }
}

impl Extend<usize> for Positions {
    fn extend<T: IntoIterator<Item = usize>>(&mut self, positions: T) {
        for position in positions {
            if self.0.len() <= position {
                self.0.resize(position + 1, false);
            }
            if let Some(slot) = self.0.get_mut(position) {
                *slot = true;
            }
        }
    }
}

impl FromIterator<usize> for Positions {
    fn from_iter<T: IntoIterator<Item = usize>>(positions: T) -> Self {
        let mut all = Self::default();
        all.extend(positions);
        all
    }
}

/// Fills in what follows from a plan's removals, and takes it out of what the sections keep.
pub(crate) fn follow(
    plan: &mut Plan,
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
    enforcing: Enforcing,
) {
    let mut removed = Removed::default();
    if enforcing.containers {
        removed.containers.add(&plan.containers.remove);
    }
    let sandboxes = of_sandboxes(&mut plan.sandboxes, observation, pods, policy, &removed);
    if enforcing.sandboxes {
        removed.sandboxes.add(plan.sandboxes.remove.iter().chain(&sandboxes));
    }
    let log_dirs = of_log_dirs(&mut plan.log_dirs, observation, pods, &removed);
    let images = of_images(&mut plan.images, observation, pods, policy, &removed);
    plan.follow = Follow { sandboxes, log_dirs, images };
}

/// Sandboxes that are removable once those containers are removed.
pub fn of_sandboxes(
    section: &mut Section,
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
    removed: &Removed,
) -> Vec<Decision> {
    if removed.containers.is_empty() {
        return Vec::new();
    }
    sandboxes::follow(section, observation, pods, policy, removed)
}

/// Log directories that are removable once those containers and sandboxes are removed.
pub fn of_log_dirs(
    section: &mut Section,
    observation: &Observation,
    pods: &PodTable<'_>,
    removed: &Removed,
) -> Vec<Decision> {
    if removed.containers.is_empty() && removed.sandboxes.is_empty() {
        return Vec::new();
    }
    log_dirs::follow(section, observation, pods, removed)
}

/// Images that are removable once those containers are removed: decided anew on what will be there then. Such an image was
/// seen used by this very sweep, so it is the last in line, and no `max_age` has passed for it.
pub fn of_images(
    plan: &mut ImagePlan,
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
    removed: &Removed,
) -> Vec<Decision> {
    let is_used = |decision: &&Decision| decision.reason == Reason::InUse;
    if removed.containers.is_empty() || !plan.section.keep.iter().any(|decision| is_used(&decision)) {
        return Vec::new();
    }
    let mut later = Observation {
        clock_set: observation.clock_set,
        sandbox_image: observation.sandbox_image.clone(),
        pods: observation.pods.clone(),
        images: observation.images.clone(),
        uses_unknown: observation.uses_unknown.clone(),
        filesystems: observation.filesystems.clone(),
        ..Observation::empty(observation.taken_at)
    };
    let left = observation.containers.iter().enumerate().filter(|(at, _)| !removed.containers.contains(*at));
    later.containers = left.map(|(_, container)| container.clone()).collect();
    // After whatever was used before, also where that was a moment ago.
    let latest = later.images.iter().filter_map(|image| image.last_used).fold(later.taken_at, Ord::max);
    let latest = latest.checked_add(SignedDuration::from_nanos(1)).unwrap_or(latest);
    for decision in plan.section.keep.iter().filter(is_used) {
        if let Some(image) = later.images.get_mut(decision.index) {
            image.last_used = Some(latest);
        }
    }
    let mut follow = images::decide(&later, pods, &policy.images).section.remove;
    let kept: Positions = plan.section.keep.iter().map(|decision| decision.index).collect();
    follow.retain(|decision| kept.contains(decision.index));
    let following: Positions = follow.iter().map(|decision| decision.index).collect();
    plan.section.keep.retain(|decision| !following.contains(decision.index));
    follow
}
