//! Which images are removed (behaviour: Images; the kubelet's image GC).
//!
//! - `names`: which images a reference means.
//! - [`space`]: how much has to be freed on the filesystems.
//! - here: why an image is kept, which image is next, and how many are removed.
//!
//! A plan is an estimate, for the sizes are hints. The collector removes a few images, measures, and makes a new plan.

mod names;
pub mod space;

use std::cmp::Ordering;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use jiff::{SignedDuration, Timestamp};

use crate::follow::Removed;
use crate::observation::{Image, Observation, PodState};
use crate::plan::{Decision, Detail, Section};
use crate::pods::PodTable;
use crate::policy::{ImagePolicy, Policy};
use crate::protect::Pattern;
use crate::reason::Reason;
use crate::reference::Reference;
pub use names::{ImageUse, Names};
pub use space::{FsProblem, Missing};

/// The decisions on all images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePlan {
    /// What is removed and what is kept.
    pub section: Section,
    /// What has to be freed to reach the low thresholds.
    pub missing: Missing,
    /// Filesystems that could not be judged.
    pub problems: Vec<FsProblem>,
}

impl ImagePlan {
    /// What nothing protects, in the order in which it would be removed: first what is removed now, then what is kept for now.
    pub fn in_line(&self) -> impl Iterator<Item = &Decision> {
        // They were added in that order.
        let waiting = self.section.keep.iter().filter(|decision| waits(decision.reason));
        self.section.remove.iter().chain(waiting)
    }

    /// All others: what something protects, or what image GC leaves alone.
    pub fn protected(&self) -> impl Iterator<Item = &Decision> {
        self.section.keep.iter().filter(|decision| !waits(decision.reason))
    }
}

/// Whether an image is kept for that reason although nothing protects it.
fn waits(reason: Reason) -> bool {
    matches!(reason, Reason::BelowThreshold | Reason::EnoughFreed | Reason::UsageUnknown)
}

/// All uses of images: those of the containers, in whatever state, and those by the specs of pods that are not confirmed
/// deleted.
#[must_use]
pub fn uses<'a>(observation: &'a Observation, pods: &PodTable<'_>) -> HashSet<ImageUse<'a>> {
    let containers = observation.containers.iter().flat_map(|container| ImageUse::of_container(container));
    let named = observation.pods.pods.iter().filter(|pod| keeps_images(pods.state(&pod.uid)));
    let named = named.flat_map(|pod| pod.images.iter().map(|image| ImageUse::named(image)));
    containers.chain(named).filter(|used| !used.is_empty()).collect()
}

/// Names the patterns of `image_gc.protect` that match none of these images, if there are any: they may be mistyped.
#[must_use]
pub fn unmatched(images: &[Image], policy: &ImagePolicy) -> Option<String> {
    let parsed: Vec<(&str, Vec<Reference<'_>>)> = images
        .iter()
        .map(|image| (image.id.as_str(), image.names().map(Reference::parse).collect()))
        .collect();
    let matches = |pattern: &&Pattern| parsed.iter().any(|(id, names)| pattern.matches_parsed(id, names));
    let unmatched = policy.protect.iter().filter(|pattern| !matches(pattern)).map(ToString::to_string);
    let unmatched: Vec<String> = unmatched.collect();
    let patterns = unmatched.join(", ");
    (!unmatched.is_empty())
        .then(|| format!("these patterns of image_gc.protect match no image on this node: {patterns}"))
}

/// Whether the images that the spec of such a pod names are kept. Nothing is removed of a pod that is not confirmed deleted, so
/// unknown protects as well as active.
fn keeps_images(state: PodState) -> bool {
    matches!(state, PodState::Active | PodState::Unknown)
}

/// Decides on all images.
#[must_use]
pub fn decide(observation: &Observation, pods: &PodTable<'_>, policy: &ImagePolicy) -> ImagePlan {
    let now = observation.taken_at;
    let shields = shields(observation, pods, policy);

    let mut section = Section::default();
    let (mut candidates, mut young) = (Vec::new(), Vec::new());
    for (index, (image, shield)) in observation.images.iter().zip(shields).enumerate() {
        // An image without a record was first seen just now.
        let first_detected = image.first_detected.unwrap_or(now);
        match shield {
            Some((reason, detail)) => section.push(Decision::new(index, reason).with(detail)),
            None if policy.is_off() => section.push(Decision::new(index, Reason::ImageGcOff)),
            None if observation.uses_unknown.is_some() => {
                section.push(Decision::new(index, Reason::UseUnknown));
            }
            None if observation.now().at_least(policy.min_age, first_detected) => {
                candidates.push(Candidate { index, image, first_detected });
            }
            None => young.push(Candidate { index, image, first_detected }),
        }
    }
    candidates.sort_unstable_by(Candidate::next_first);
    // A runtime lists in whatever order; what is next has to be the same at every question.
    young.sort_unstable_by(Candidate::next_first);

    let (aged, rest): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|c| c.unused_too_long(policy, now));
    let sizes = aged.iter().map(|candidate| candidate.image.size_bytes);
    let freed_by_age = sizes.fold(0, u64::saturating_add);
    section.remove.extend(aged.iter().map(|c| Decision::new(c.index, Reason::UnusedTooLong)));
    // How full the filesystems are counts after the images of rule 1 are removed.
    let (missing, problems) = space::missing(&observation.filesystems, policy, freed_by_age);
    let satisfied = match missing {
        Missing { triggered: true, .. } => Reason::EnoughFreed,
        Missing { known: true, .. } => Reason::BelowThreshold,
        Missing { .. } => Reason::UsageUnknown,
    };
    let mut freed = 0u64;
    for candidate in rest {
        let reason = if freed < missing.bytes {
            freed = freed.saturating_add(candidate.image.size_bytes);
            Reason::DiskPressure
        } else if missing.inodes > 0 && section.remove.is_empty() {
            // How many inodes an image has is not known: one is removed, then the filesystem is measured again.
            Reason::InodePressure
        } else {
            satisfied
        };
        section.push(Decision::new(candidate.index, reason));
    }
    for candidate in young {
        // Its age is the reason only where it would be removed without it.
        let below = satisfied == Reason::BelowThreshold && !candidate.unused_too_long(policy, now);
        let reason = if below { satisfied } else { Reason::TooYoung };
        section.push(Decision::new(candidate.index, reason));
    }
    ImagePlan { section, missing, problems }
}

/// Has the images of a plan follow that are removable once those containers are removed: decides again on what will
/// be there then. Such an image was seen used by this very sweep, so it is the last in line, and no `max_age` has passed for it.
pub fn follow(
    plan: &mut ImagePlan,
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
    removed: &Removed,
) {
    let is_used = |decision: &&Decision| decision.reason == Reason::InUse;
    if removed.containers.is_empty() || !plan.section.keep.iter().any(|decision| is_used(&decision)) {
        return;
    }
    let left = observation.containers.iter().enumerate().filter(|(at, _)| !removed.containers.contains(at));
    let mut later = Observation {
        clock_set: observation.clock_set,
        sandbox_image: observation.sandbox_image.clone(),
        pods: observation.pods.clone(),
        containers: Arc::new(left.map(|(_, container)| Arc::clone(container)).collect()),
        images: observation.images.clone(),
        uses_unknown: observation.uses_unknown.clone(),
        filesystems: observation.filesystems.clone(),
        ..Observation::empty(observation.taken_at)
    };
    // After whatever was used before, also where that was a moment ago.
    let latest = later.images.iter().filter_map(|image| image.last_used).fold(later.taken_at, Ord::max);
    let latest = latest.checked_add(SignedDuration::from_nanos(1)).unwrap_or(latest);
    for decision in plan.section.keep.iter().filter(is_used) {
        if let Some(image) = later.images.get_mut(decision.index) {
            image.last_used = Some(latest);
        }
    }
    let mut follow = decide(&later, pods, &policy.images).section.remove;
    let kept: HashSet<usize> = plan.section.keep.iter().map(|decision| decision.index).collect();
    follow.retain(|decision| kept.contains(&decision.index));
    let following: HashSet<usize> = follow.iter().map(|decision| decision.index).collect();
    plan.section.keep.retain(|decision| !following.contains(&decision.index));
    plan.section.follow = follow;
}

/// An image that nothing protects.
struct Candidate<'a> {
    index: usize,
    image: &'a Image,
    first_detected: Timestamp,
}

impl Candidate<'_> {
    /// Eviction order: last used (never used first), then first detected, then id.
    fn next_first(&self, other: &Self) -> Ordering {
        let key = |c: &Self| (c.image.last_used, c.first_detected);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.image.id.cmp(&other.image.id))
            .then_with(|| self.image.runtime_handler.cmp(&other.image.runtime_handler))
    }

    /// Rule 1: unused for longer than `max_age`.
    fn unused_too_long(&self, policy: &ImagePolicy, now: Timestamp) -> bool {
        let since = self.image.last_used.unwrap_or(self.first_detected);
        // No setting is longer than a century, so the fallback is never reached; it keeps more.
        let max_age = SignedDuration::try_from(policy.max_age).unwrap_or(SignedDuration::MAX);
        !max_age.is_zero() && now.duration_since(since) > max_age
    }
}

/// What protects each image, if anything does. A runtime checks none of this itself.
fn shields(
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &ImagePolicy,
) -> Vec<Option<(Reason, Detail)>> {
    let images = &observation.images;
    if images.is_empty() {
        return Vec::new();
    }
    let names = Names::new(images);
    let mut shields: Vec<Option<(Reason, Detail)>> = vec![None; images.len()];
    let mut protect = |index: usize, reason: Reason, detail: Detail| {
        if let Some(shield) = shields.get_mut(index) {
            shield.get_or_insert((reason, detail));
        }
    };

    // Many containers share few images: each use is looked up once, for the first container that has it.
    let mut seen: HashSet<ImageUse<'_>> = HashSet::new();
    for (holder, container) in observation.containers.iter().enumerate() {
        for (place, used) in ImageUse::of_container(container).enumerate() {
            if seen.insert(used) {
                let detail = if place == 0 { Detail::Holder(holder) } else { Detail::Mount(holder) };
                names.used(used).into_iter().for_each(|i| protect(i, Reason::InUse, detail));
            }
        }
    }
    for (holder, pod) in observation.pods.pods.iter().enumerate() {
        if keeps_images(pods.state(&pod.uid)) {
            for image in &pod.images {
                let used = names.used(ImageUse::named(image)).into_iter();
                used.for_each(|i| protect(i, Reason::NamedByPod, Detail::Holder(holder)));
            }
        }
    }
    let sandbox_image = names.used(ImageUse::named(&observation.sandbox_image)).into_iter();
    sandbox_image.for_each(|i| protect(i, Reason::SandboxImage, Detail::None));
    // Taken apart once for all patterns.
    let mut parsed = Vec::new();
    for (index, image) in images.iter().enumerate() {
        parsed.clear();
        parsed.extend(image.names().map(Reference::parse));
        if image.pinned {
            protect(index, Reason::Pinned, Detail::None);
        } else if let Some(at) = policy.protect.iter().position(|p| p.matches_parsed(&image.id, &parsed)) {
            protect(index, Reason::Protected, Detail::Holder(at));
        }
        if image.in_use_elsewhere {
            protect(index, Reason::InUseElsewhere, Detail::None);
        }
    }

    // Copies of one image for several handlers share its id: what protects one of them protects all.
    let mut by_id: HashMap<&str, (Reason, Detail)> = HashMap::with_capacity(images.len());
    for (image, shield) in images.iter().zip(&shields) {
        if let Some(shield) = *shield {
            // Of several the first word in order, whatever the order of the images.
            let best = by_id.entry(&image.id).or_insert(shield);
            if shield.0 < best.0 {
                *best = shield;
            }
        }
    }
    images
        .iter()
        .zip(shields)
        .map(|(image, own)| own.or_else(|| by_id.get(image.id.as_str()).copied()))
        .collect()
}
