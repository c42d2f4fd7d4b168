//! The closed loop (behaviour: Image disk space): removes a few images, measures the filesystem, makes a new plan of what it
//! measured, and stops as soon as the low threshold is met, no removable image is left, or removals free nothing.

use std::collections::HashSet;
use std::time::Duration;

use cri_gc_policy::images::{self, space};
use cri_gc_policy::naming;
use cri_gc_policy::report::Words;
use cri_gc_policy::{
    Decision, FileSystem, Image, ImagePlan, Kind, Observation, PodTable, Policy, Reason, Reclaiming,
};
use ecow::EcoString;

use super::account::Account;
use super::confirm;
use super::disks::Disks;
use super::recheck::Recheck;
use crate::collector::{Pass, Target};
use crate::report::PassError;
use cri_gc_gateway::FsPlaces;

/// How often a filesystem is measured while a runtime may still be giving space back.
const MEASURE_EVERY: Duration = Duration::from_millis(100);

/// Once all that was promised became free, this part of `settle` without any more of it is enough.
const QUIET: u32 = 4;

/// Batches in a row that measurably free nothing: what fills the disk is none of these images. Not the first one: images
/// may share all of their layers.
const FUTILE: u32 = 5;

/// What counts as something: a hundredth of what was promised, or this many bytes. Others on the node free a little, too.
const SOMETHING: u64 = 1 << 20;

/// What the removals of a pass have achieved.
#[derive(Debug, Default)]
pub struct Reclaimed {
    /// Bytes that became free, as measured.
    pub freed: u64,
    /// The last removals freed nothing, so that it stopped.
    pub was_futile: bool,
    /// More should be free.
    pub is_short: bool,
    /// A filesystem was at its high threshold once the images of rule 1 were gone.
    pub over: bool,
}

/// The closed loop of a pass.
pub struct Reclaim<'a> {
    pub pass: &'a Pass,
    pub policy: &'a Policy,
    pub places: FsPlaces,
    /// What was measured when the pass began.
    pub disks: Disks,
}

impl Reclaim<'_> {
    /// Removes by the plan that was made of the observation, and as much as turns out to be needed; for lack of space only if
    /// it may try.
    pub async fn run(mut self, mut observation: Observation, mut plan: ImagePlan, tries: bool) -> Reclaimed {
        let Self { pass, policy, .. } = self;
        let mut account = Account::new(&observation, &self.places);
        let sandbox_image = observation.sandbox_image.clone();
        let recheck = Recheck::new(pass, &sandbox_image, &observation.containers);
        let (mut reclaimed, mut futile, mut is_for_space) = (Reclaimed::default(), 0, false);
        loop {
            let aged = plan.section.remove.first().is_some_and(|first| first.reason == Reason::UnusedTooLong);
            if !aged && !is_for_space {
                // How full the disks are counts once the images of rule 1 are gone (behaviour: Image disk space).
                is_for_space = true;
                self.disks.begin_reclaiming(&policy.images);
                observation.filesystems = self.disks.measurable.clone();
                plan = decide(&observation, policy);
                reclaimed.over = plan.missing.triggered;
                pass.space().wanted_bytes = plan.missing.bytes;
            }
            if plan.section.remove.is_empty() || (!aged && (!tries || futile >= FUTILE)) {
                break;
            }
            let batch = targets(&observation, &plan, batch(&observation, &plan));
            let tried: Vec<Image> = batch.iter().map(|target| target.object.clone()).collect();
            let before = self.disks.available();
            let gone = confirm::remove(pass, &recheck, batch).await;
            // Gone or not: what was tried is not tried again in this pass.
            let (all, removed) = (keys(&tried), keys(&gone));
            observation.images.retain(|image| !all.contains(&image.key()));
            let left = tried.iter().filter(|image| !removed.contains(&image.key()));
            left.for_each(|image| account.not_removed(image));
            if !pass.may_remove() {
                // What is left was not tried, so it is not known what it would have freed.
                plan = decide(&observation, policy);
                pass.space().missing_bytes = plan.missing.bytes;
                kept(pass, &observation, &plan, policy);
                return reclaimed;
            }
            let promised = gone.iter().fold(0u64, |sum, image| sum.saturating_add(image.size_bytes));
            let grew = self.settle(&mut observation, (!gone.is_empty()).then_some(promised)).await;
            // What others free meanwhile is not the pass's doing, and what is removed for its age need not free anything.
            if !gone.is_empty() {
                let freed = self.disks.available().saturating_sub(before);
                reclaimed.freed = reclaimed.freed.saturating_add(freed);
                pass.freed(reclaimed.freed);
                if !aged {
                    futile = if grew { 0 } else { futile + 1 };
                }
            }
            plan = decide(&observation, policy);
        }
        // Some of what the first plan names may still be there, and some that it does not name may be removed.
        kept(pass, &observation, &plan, policy);
        pass.space().missing_bytes = plan.missing.bytes;
        // Where no image may be removed, why it is so is an error already.
        if !plan.missing.is_none() && observation.uses_unknown.is_none() {
            pass.error(PassError::FreeDiskSpaceFailed(account.text(&observation, &plan)));
        }
        Reclaimed { was_futile: futile >= FUTILE, is_short: self.disks.is_short(&policy.images), ..reclaimed }
    }

    /// Measures until the low thresholds are met, all that was promised became free and nothing follows, or the runtime had
    /// its time; once, where nothing was removed. Whether something became free where it is missing.
    async fn settle(&mut self, observation: &mut Observation, removed: Option<u64>) -> bool {
        let promised = removed.unwrap_or_default();
        let something = (promised / 100).clamp(1, SOMETHING);
        let before = self.disks.measurable.clone();
        let settle = self.pass.settings.image_gc.settle;
        let began = tokio::time::Instant::now();
        let (mut most, mut since) = (0, began);
        loop {
            self.disks.measure(self.pass, &self.places).await;
            observation.filesystems = self.disks.measurable.clone();
            observation.taken_at = self.pass.tools.clock.now();
            let (missing, _) = space::missing(&observation.filesystems, &self.policy.images, 0);
            let grown = grown(&before, &observation.filesystems);
            let now = tokio::time::Instant::now();
            if grown.0 > most {
                (most, since) = (grown.0, now);
            }
            // Sizes promise too little as well as too much: what follows late must not cost another image.
            let all = most > 0 && most >= promised && missing.inodes == 0 && now - since >= settle / QUIET;
            if missing.is_none() || all || removed.is_none() || now - began >= settle {
                return grown.0 >= something || grown.1 > 0;
            }
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }
}

/// Bytes and inodes that became free: where they are being reclaimed, or on all filesystems as long as images are removed for their age.
fn grown(before: &[FileSystem], now: &[FileSystem]) -> (u64, u64) {
    let aged = now.iter().all(|fs| fs.reclaiming == Reclaiming::default());
    let mut sum = (0u64, 0u64);
    for fs in now {
        let Some(before) = before.iter().find(|before| before.mountpoint == fs.mountpoint) else { continue };
        if fs.reclaiming.bytes || (aged && fs.holds_images) {
            sum.0 += fs.stats.available_bytes.saturating_sub(before.stats.available_bytes);
        }
        if fs.reclaiming.inodes || (aged && fs.holds_images) {
            sum.1 += fs.stats.inodes_free.saturating_sub(before.stats.inodes_free);
        }
    }
    sum
}

/// How many are removed before the next measurement: all that are removed for their age, else one, or as many as together promise at most a
/// quarter of what is missing.
fn batch(observation: &Observation, plan: &ImagePlan) -> usize {
    let aged =
        plan.section.remove.iter().take_while(|decision| decision.reason == Reason::UnusedTooLong).count();
    if aged > 0 {
        return aged;
    }
    let mut promised = 0u64;
    let sizes = plan.section.remove.iter().filter_map(|decision| observation.images.get(decision.index));
    let fits = sizes.take_while(|image| {
        // A size that is not reported could be any.
        promised = promised.saturating_add(if image.size_bytes == 0 { u64::MAX } else { image.size_bytes });
        promised <= plan.missing.bytes / 4
    });
    fits.count().max(1)
}

/// What image GC decides on an observation.
pub fn decide(observation: &Observation, policy: &Policy) -> ImagePlan {
    images::decide(observation, &PodTable::new(observation), &policy.images)
}

/// Reports what is kept by that plan.
pub fn kept(pass: &Pass, observation: &Observation, plan: &ImagePlan, policy: &Policy) {
    let words = |decisions: &[Decision]| {
        let pods = PodTable::new(observation);
        Words::new(observation, &pods, policy).items(Kind::Image, decisions)
    };
    pass.kept_after_all(Kind::Image, &plan.section.keep, words);
}

/// What identifies each of these.
fn keys(images: &[Image]) -> HashSet<(&str, &str)> {
    images.iter().map(Image::key).collect()
}

/// The first `count` images that the plan removes.
fn targets(observation: &Observation, plan: &ImagePlan, count: usize) -> Vec<Target<Image>> {
    let removals = plan.section.remove.iter().take(count);
    let target = |decision: &Decision| {
        let image = observation.images.get(decision.index)?;
        Some(Target {
            kind: Kind::Image,
            id: image.id.as_str().into(),
            name: naming::image(image).to_owned(),
            reason: decision.reason,
            pod_uid: EcoString::new(),
            object: image.clone(),
        })
    };
    removals.filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::Section;
    use cri_gc_policy::images::Missing;
    use jiff::Timestamp;

    use super::*;

    fn plan(sizes: &[u64], missing: u64, reason: Reason) -> usize {
        let image = |size: &u64| Image {
            id: "i".to_owned(),
            runtime_handler: String::new(),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            size_bytes: *size,
            pinned: false,
            first_detected: None,
            last_used: None,
            in_use_elsewhere: false,
        };
        let observation = Observation {
            images: sizes.iter().map(image).collect(),
            ..Observation::empty(Timestamp::UNIX_EPOCH)
        };
        let remove = (0..sizes.len()).map(|index| Decision::new(index, reason)).collect();
        let plan = ImagePlan {
            section: Section { remove, ..Section::default() },
            missing: Missing { bytes: missing, ..Missing::default() },
            problems: Vec::new(),
        };
        batch(&observation, &plan)
    }

    #[test]
    fn a_batch_promises_at_most_a_quarter_of_what_is_missing() {
        assert_eq!(plan(&[10, 10, 10, 10], 80, Reason::DiskPressure), 2);
        assert_eq!(plan(&[10, 10, 10, 10], 79, Reason::DiskPressure), 1);
        assert_eq!(plan(&[90, 10], 40, Reason::DiskPressure), 1, "one at least");
        assert_eq!(
            plan(&[0, 0, 0], 1000, Reason::DiskPressure),
            1,
            "a size that is not reported could be any"
        );
        assert_eq!(plan(&[10, 10, 10], 0, Reason::UnusedTooLong), 3, "age asks for no space");
        assert_eq!(plan(&[10, 10], 0, Reason::InodePressure), 1);
    }
}
