//! Which images go (behaviour: Images; the kubelet's image GC).
//!
//! - `names`: which images a reference means.
//! - [`space`]: how much is missing on the file systems.
//! - here: what protects an image, who is next, and how many go.
//!
//! A plan is an estimate, for the sizes are hints. The collector removes a few, measures, and asks for a new plan.

mod names;
pub mod space;

use foldhash::{HashMap, HashMapExt as _, HashSet};
use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use crate::observation::{Image, Observation, PodState};
use crate::plan::{Decision, Detail, Section};
use crate::pods::PodTable;
use crate::policy::ImagePolicy;
use crate::reason::Reason;
use crate::reference::Reference;
pub use names::{ImageUse, Names};
pub use space::{FsProblem, Missing};

/// The decisions on all images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePlan {
    /// What goes and what stays.
    pub section: Section,
    /// What is missing to the low thresholds.
    pub missing: Missing,
    /// File systems that could not be judged.
    pub problems: Vec<FsProblem>,
}

impl ImagePlan {
    /// What nothing protects, in the order in which it would go: first what goes now, then what may stay for the time being.
    pub fn in_line(&self) -> impl Iterator<Item = &Decision> {
        // They were filed in that order.
        let stays = self.section.keep.iter().filter(|decision| waits(decision.reason));
        self.section.remove.iter().chain(stays)
    }

    /// All others: what something protects, or what image GC leaves alone.
    pub fn protected(&self) -> impl Iterator<Item = &Decision> {
        self.section.keep.iter().filter(|decision| !waits(decision.reason))
    }
}

/// Whether an image stays for that reason although nothing protects it.
fn waits(reason: Reason) -> bool {
    matches!(reason, Reason::BelowThreshold | Reason::EnoughFreed | Reason::UsageUnknown)
}

/// Positions of the images that are used so.
#[must_use]
pub fn used_by<'a>(images: &[Image], uses: impl IntoIterator<Item = ImageUse<'a>>) -> Vec<usize> {
    let names = Names::new(images);
    let mut used: Vec<usize> = uses.into_iter().flat_map(|used| names.used(used)).collect();
    used.sort_unstable();
    used.dedup();
    used
}

/// All uses of images (behaviour: Images in use): those of the containers, in whatever state, and those by the specs of pods that are not proved to be
/// gone.
#[must_use]
pub fn uses<'a>(observation: &'a Observation, pods: &PodTable<'_>) -> HashSet<ImageUse<'a>> {
    let containers = observation.containers.iter().flat_map(ImageUse::of_container);
    let named = observation.pods.pods.iter().filter(|pod| keeps_images(pods.state(&pod.uid)));
    let named = named.flat_map(|pod| pod.images.iter().map(|image| ImageUse::named(image)));
    containers.chain(named).filter(|used| !used.is_empty()).collect()
}

/// Names the patterns of `image_gc.protect` that match none of these images, if there are any: perhaps they are not written
/// as they were meant.
#[must_use]
pub fn unmatched(images: &[Image], policy: &ImagePolicy) -> Option<String> {
    let parsed: Vec<(&str, Vec<Reference<'_>>)> = images
        .iter()
        .map(|image| (image.id.as_str(), image.names().map(Reference::parse).collect()))
        .collect();
    let matches = |pattern: &&crate::protect::Pattern| {
        parsed.iter().any(|(id, names)| pattern.matches_parsed(id, names.iter().copied()))
    };
    let unmatched = policy.protect.iter().filter(|pattern| !matches(pattern)).map(ToString::to_string);
    let unmatched: Vec<String> = unmatched.collect();
    let patterns = unmatched.join(", ");
    (!unmatched.is_empty())
        .then(|| format!("no image here matches these patterns of image_gc.protect: {patterns}"))
}

/// Whether what the spec of such a pod names stays: of a pod that is not proved to be gone, nothing goes, so unknown
/// protects as well as active.
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
        // An image that nothing is remembered of was first seen just now.
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

    let (aged, rest): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|c| c.unused_too_long(policy, now));
    let sizes = aged.iter().map(|candidate| candidate.image.size_bytes);
    let freed_by_age = sizes.fold(0, u64::saturating_add);
    section.remove.extend(aged.iter().map(|c| Decision::new(c.index, Reason::UnusedTooLong)));
    // How full the file systems are counts once the images of rule 1 are gone.
    let (missing, problems) = space::missing(&observation.filesystems, policy, freed_by_age);
    let satisfied = match missing {
        Missing { bytes: 0, inodes: 0, .. } if missing.triggered => Reason::EnoughFreed,
        Missing { bytes: 0, inodes: 0, .. } if missing.known => Reason::BelowThreshold,
        Missing { bytes: 0, inodes: 0, .. } => Reason::UsageUnknown,
        Missing { .. } => Reason::EnoughFreed,
    };
    let mut freed = 0u64;
    for candidate in rest {
        let reason = if freed < missing.bytes {
            freed = freed.saturating_add(candidate.image.size_bytes);
            Reason::DiskPressure
        } else if missing.inodes > 0 && section.remove.is_empty() {
            // Nobody tells how many inodes an image holds: one goes, then the file system is measured again.
            Reason::InodePressure
        } else {
            satisfied
        };
        section.push(Decision::new(candidate.index, reason));
    }
    for candidate in young {
        // Its age is why it is kept only where it would be removed otherwise.
        let below = satisfied == Reason::BelowThreshold && !candidate.unused_too_long(policy, now);
        let reason = if below { satisfied } else { Reason::TooYoung };
        section.push(Decision::new(candidate.index, reason));
    }
    ImagePlan { section, missing, problems }
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
    let mut users: HashMap<ImageUse<'_>, (usize, Detail)> = HashMap::new();
    for (holder, container) in observation.containers.iter().enumerate() {
        for (place, used) in ImageUse::of_container(container).enumerate() {
            let detail = if place == 0 { Detail::Holder(holder) } else { Detail::Mount(holder) };
            users.entry(used).or_insert((holder, detail));
        }
    }
    let mut users: Vec<(ImageUse<'_>, (usize, Detail))> = users.into_iter().collect();
    users.sort_unstable_by_key(|&(used, (holder, _))| (holder, used));
    for (used, (_, detail)) in users {
        names.used(used).into_iter().for_each(|i| protect(i, Reason::InUse, detail));
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
        } else if let Some(at) =
            policy.protect.iter().position(|p| p.matches_parsed(&image.id, parsed.iter().copied()))
        {
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
