//! The whole plan: what each section decides, put together. Each object of the observation stands in it exactly once.

use crate::images::ImagePlan;
use crate::observation::Observation;
use crate::plan::Section;
use crate::pods::PodTable;
use crate::policy::Policy;
use crate::{containers, images, log_dirs, sandboxes};

/// What would be done with a node. No section counts on the removals of another (spec 11).
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
    Plan {
        containers: containers::decide(observation, &pods, policy),
        sandboxes: sandboxes::decide(observation, &pods, policy),
        images: images::decide(observation, &pods, &policy.images),
        log_dirs: log_dirs::decide(observation, &pods),
    }
}
