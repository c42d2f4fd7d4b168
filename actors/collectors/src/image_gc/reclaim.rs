//! The closed loop (behaviour: Image disk space): removes a few images, measures the filesystem, plans anew on what it measured, and stops as
//! soon as the low threshold is met, nothing is left that may go, or what goes brings nothing.

use std::time::Duration;

use cri_gc_policy::images::space;
use cri_gc_policy::naming;
use cri_gc_policy::{FileSystem, Image, ImagePlan, Observation, Policy, Reason, Reclaiming};

use super::account::Account;
use super::confirm;
use super::deciding::{decide, keep};
use super::disks::Disks;
use super::recheck::Recheck;
use crate::collector::{Pass, Target};
use crate::report::PassError;
use crate::tools::Tools;
use cri_gc_gateway::FsPlaces;
use cri_gc_kit::words::Kind;

/// How often a filesystem is measured while a runtime may still be giving space back.
const MEASURE_EVERY: Duration = Duration::from_millis(100);

/// Once all that was promised came back, this part of `settle` without any more of it is enough.
const QUIET: u32 = 4;

/// Batches in a row that measurably bring nothing: what fills the disk is none of these images. Not the first one: images
/// may share all of their layers.
const FUTILE: u32 = 5;

/// What counts as something: a hundredth of what was promised, or this many bytes. Others on the node free a little, too.
const SOMETHING: u64 = 1 << 20;

/// What a pass has brought.
#[derive(Debug, Default)]
pub struct Brought {
    /// Bytes that came back by the measure.
    pub freed: u64,
    /// The last images that went brought nothing, so that it stopped.
    pub in_vain: bool,
    /// More should be free.
    pub is_short: bool,
    /// A filesystem was at its high threshold once the images of rule 1 were gone.
    pub over: bool,
}

/// The closed loop of a pass.
pub struct Reclaim<'a> {
    tools: &'a Tools,
    pass: &'a Pass,
    policy: &'a Policy,
    places: FsPlaces,
    disks: Disks,
}

impl<'a> Reclaim<'a> {
    /// That of this pass, with what was measured when it began.
    pub fn new(
        tools: &'a Tools,
        pass: &'a Pass,
        policy: &'a Policy,
        (places, disks): (FsPlaces, Disks),
    ) -> Self {
        Self { tools, pass, policy, places, disks }
    }

    /// Removes by the plan that was made of the observation, and as much as turns out to be needed; for lack of space only if
    /// it may try.
    pub async fn run(mut self, mut observation: Observation, mut plan: ImagePlan, tries: bool) -> Brought {
        let (pass, policy) = (self.pass, self.policy);
        let mut account = Account::new(&observation, &self.places);
        let sandbox_image = observation.sandbox_image.clone();
        let recheck = Recheck::new(self.tools, pass, &sandbox_image, &observation.containers);
        let (mut brought, mut futile, mut is_for_space) = (Brought::default(), 0, false);
        loop {
            let aged = plan.section.remove.first().is_some_and(|first| first.reason == Reason::UnusedTooLong);
            if !aged && !is_for_space {
                // How full the disks are counts once the images of rule 1 are gone (behaviour: Image disk space).
                is_for_space = true;
                self.disks.begin_reclaiming(&policy.images);
                observation.filesystems = self.disks.measurable();
                plan = decide(&observation, policy);
                brought.over = plan.missing.triggered;
            }
            if plan.section.remove.is_empty() || (!aged && (!tries || futile >= FUTILE)) {
                break;
            }
            let batch = targets(&observation, &plan, batch(&observation, &plan));
            let tried: Vec<Image> = batch.iter().map(|target| target.object.clone()).collect();
            let before = self.disks.available();
            let gone = confirm::remove(self.tools, pass, &recheck, batch).await;
            // Gone or not: what was tried is not tried again in this pass.
            let is_among = |images: &[Image], image: &Image| {
                images.iter().any(|t| t.id == image.id && t.runtime_handler == image.runtime_handler)
            };
            observation.images.retain(|image| !is_among(&tried, image));
            tried.iter().filter(|image| !is_among(&gone, image)).for_each(|image| account.stayed(image));
            if !pass.may_remove() {
                // What is left was not tried, so nothing can be said of what it would have brought.
                plan = decide(&observation, policy);
                pass.kept_after_all(Kind::Image, keep(&observation, &plan, policy));
                return Brought { freed: brought.freed, over: brought.over, ..Brought::default() };
            }
            let promised = gone.iter().fold(0u64, |sum, image| sum.saturating_add(image.size_bytes));
            let grew = self.settle(&mut observation, (!gone.is_empty()).then_some(promised)).await;
            // What others free meanwhile is not the pass's doing, and what goes for its age need not bring anything.
            if !gone.is_empty() {
                let came = self.disks.available().saturating_sub(before);
                brought.freed = brought.freed.saturating_add(came);
                pass.freed(brought.freed);
                if !aged {
                    futile = if grew { 0 } else { futile + 1 };
                }
            }
            plan = decide(&observation, policy);
        }
        // Of what the first plan named, some may have stayed, and some that it did not name may have gone.
        pass.kept_after_all(Kind::Image, keep(&observation, &plan, policy));
        // Where no image may be removed, why it is so is an error already.
        if !plan.missing.is_none() && observation.uses_unknown.is_none() {
            account.close(&observation, &plan);
            pass.error(PassError::FreeDiskSpaceFailed(account.to_string()));
        }
        Brought { in_vain: futile >= FUTILE, is_short: self.disks.is_short(&policy.images), ..brought }
    }

    /// Measures until the low thresholds are met, all that was promised came back and nothing follows, or the runtime had
    /// its time; once, where nothing went. Whether something came back where it is missing.
    async fn settle(&mut self, observation: &mut Observation, went: Option<u64>) -> bool {
        let promised = went.unwrap_or_default();
        let something = (promised / 100).clamp(1, SOMETHING);
        let before = self.disks.measurable();
        let settle = self.pass.settings.image_gc.settle;
        let began = tokio::time::Instant::now();
        let (mut most, mut since) = (0, began);
        loop {
            self.disks.measure(self.tools, self.pass, &self.places).await;
            observation.filesystems = self.disks.measurable();
            observation.taken_at = self.tools.clock.now();
            let (missing, _) = space::missing(&observation.filesystems, &self.policy.images, 0);
            let grown = grown(&before, &observation.filesystems);
            let now = tokio::time::Instant::now();
            if grown.0 > most {
                (most, since) = (grown.0, now);
            }
            // Sizes promise too little as well as too much: what follows late must not cost another image.
            let all = most > 0 && most >= promised && missing.inodes == 0 && now - since >= settle / QUIET;
            if missing.is_none() || all || went.is_none() || now - began >= settle {
                return grown.0 >= something || grown.1 > 0;
            }
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }
}

/// Bytes and inodes that came back: where they are being reclaimed, or on all filesystems as long as images are removed for their age.
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

/// How many go before the next measurement: all that go for their age, else one, or as many as together promise at most a
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
        // A size that is not told could be any.
        promised = promised.saturating_add(if image.size_bytes == 0 { u64::MAX } else { image.size_bytes });
        promised <= plan.missing.bytes / 4
    });
    fits.count().max(1)
}

/// The first so many of what the plan removes.
fn targets(observation: &Observation, plan: &ImagePlan, count: usize) -> Vec<Target<Image>> {
    let removals = plan.section.remove.iter().take(count);
    let target = |decision: &cri_gc_policy::Decision| {
        let image = observation.images.get(decision.index)?;
        Some(Target {
            kind: Kind::Image,
            id: image.id.clone(),
            name: naming::image(image).to_owned(),
            reason: decision.reason,
            object: image.clone(),
        })
    };
    removals.filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::images::Missing;
    use cri_gc_policy::{Decision, Section};
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
            section: Section { remove, keep: Vec::new() },
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
        assert_eq!(plan(&[0, 0, 0], 1000, Reason::DiskPressure), 1, "a size that is not told could be any");
        assert_eq!(plan(&[10, 10, 10], 0, Reason::UnusedTooLong), 3, "age asks for no space");
        assert_eq!(plan(&[10, 10], 0, Reason::InodePressure), 1);
    }
}
