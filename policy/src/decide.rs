//! The whole plan: what each section decides, put together. Each object of the observation is in it exactly once.

use crate::follow::{Enforcing, Removed};
use crate::images::ImagePlan;
use crate::observation::Observation;
use crate::plan::Section;
use crate::pods::PodTable;
use crate::policy::Policy;
use crate::{containers, images, log_dirs, sandboxes};

/// What would be removed from a node, and what kept. No section counts on the removals of another; what follows from them is
/// in the `follow` of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Containers, by position in [`Observation::containers`].
    pub containers: Section,
    /// Sandboxes, by position in [`Observation::sandboxes`].
    pub sandboxes: Section,
    /// Images, by position in [`Observation::images`].
    pub images: ImagePlan,
    /// Log directories, by position in [`Observation::log_dirs`].
    pub log_dirs: Section,
}

/// Decides on everything that was observed.
#[must_use]
pub fn decide(observation: &Observation, policy: &Policy) -> Plan {
    let pods = PodTable::new(observation);
    let containers = containers::decide(observation, &pods, policy);
    complete(observation, &pods, policy, containers, Enforcing::ALL)
}

/// The whole plan around a section of containers that was decided already, and perhaps [settled](containers::settle).
#[must_use]
pub fn complete(
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
    containers: Section,
    enforcing: Enforcing,
) -> Plan {
    let mut sandboxes = sandboxes::decide(observation, pods, policy);
    let mut images = images::decide(observation, pods, &policy.images);
    let mut log_dirs = log_dirs::decide(observation, pods);

    let mut removed = Removed::default();
    if enforcing.containers {
        removed.containers.extend(containers.remove.iter().map(|decision| decision.index));
    }
    sandboxes::follow(&mut sandboxes, observation, pods, policy, &removed);
    if enforcing.sandboxes {
        let all = sandboxes.remove.iter().chain(&sandboxes.follow);
        removed.sandboxes.extend(all.map(|decision| decision.index));
    }
    log_dirs::follow(&mut log_dirs, observation, pods, &removed);
    images::follow(&mut images, observation, pods, policy, &removed);
    Plan { containers, sandboxes, images, log_dirs }
}
