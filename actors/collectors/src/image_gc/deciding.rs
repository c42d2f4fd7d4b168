//! What a pass of image GC decides on an observation.

use cri_gc_policy::images;
use cri_gc_policy::report::Item;
use cri_gc_policy::{Decision, ImagePlan, Observation, Plan, PlanReport, PodTable, Policy};

use crate::collector::Pass;

/// The plan, and what follows from removals of earlier passes of a dry run.
pub fn foresee(observation: &Observation, policy: &Policy, pass: &Pass) -> (ImagePlan, Vec<Decision>) {
    let mut plan = decide(observation, policy);
    let (pods, removed) = (PodTable::new(observation), pass.foreseen.of(observation));
    let following = images::follow(&mut plan, observation, &pods, policy, &removed);
    (plan, following)
}

/// What stays by that plan, in words.
pub fn keep(observation: &Observation, plan: &ImagePlan, policy: &Policy) -> Vec<Item> {
    let whole = Plan { images: plan.clone(), ..Plan::default() };
    PlanReport::new(&whole, observation, policy).images.section.keep
}

pub fn decide(observation: &Observation, policy: &Policy) -> ImagePlan {
    images::decide(observation, &PodTable::new(observation), &policy.images)
}
