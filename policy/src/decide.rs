//! The whole plan: what each section decides, put together. Each object of the observation stands in it exactly once.

use crate::follow::{Enforcing, Follow, follow};
use crate::images::ImagePlan;
use crate::observation::Observation;
use crate::plan::Section;
use crate::pods::PodTable;
use crate::policy::Policy;
use crate::{containers, images, log_dirs, sandboxes};

/// What would be done with a node. No section counts on the removals of another (behaviour: Plans); what follows from them is in
/// `follow`.
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
    /// What becomes removable by the removals of other sections; none of it is in its own section.
    pub follow: Follow,
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
    let mut plan = Plan {
        containers,
        sandboxes: sandboxes::decide(observation, pods, policy),
        images: images::decide(observation, pods, &policy.images),
        log_dirs: log_dirs::decide(observation, pods),
        follow: Follow::default(),
    };
    follow(&mut plan, observation, pods, policy, enforcing);
    plan
}
