//! The closed loop (spec 6.4): removes a few images, measures the file system, plans anew on what it measured, and stops as
//! soon as the low threshold is met, nothing is left that may go, or what goes brings nothing.

use std::cell::RefCell;
use std::time::Duration;

use cri_gc_policy::images::space;
use cri_gc_policy::{FileSystem, Image, ImagePlan, Observation, Policy, Reason};

use super::account::Account;
use super::{decide, keep, recheck};
use crate::collector::{Kind, Outcome, Pass, PassError, Target, Tools};
use crate::gateway::{Freshness, FsPlaces};
use crate::observe;

/// How often a file system is measured while a runtime may still be giving space back.
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
}

/// The closed loop of a pass.
pub struct Reclaim<'a> {
    tools: &'a Tools,
    pass: &'a Pass,
    policy: &'a Policy,
    places: FsPlaces,
}

impl<'a> Reclaim<'a> {
    /// That of this pass.
    pub fn new(tools: &'a Tools, pass: &'a Pass, policy: &'a Policy, places: FsPlaces) -> Self {
        Self { tools, pass, policy, places }
    }

    /// Removes by the plan that was made of the observation, and as much as turns out to be needed; for lack of space only if
    /// it may try.
    pub async fn run(self, mut observation: Observation, mut plan: ImagePlan, tries: bool) -> Brought {
        let (tools, pass, policy) = (self.tools, self.pass, self.policy);
        let parallel = pass.settings.image_gc.parallel_removals.into();
        let sandbox_image = observation.sandbox_image.clone();
        let mut account = Account::new(&observation, &self.places);
        let (mut futile, mut freed) = (0, 0u64);
        while let Some(first) = plan.section.remove.first() {
            let aged = first.reason == Reason::UnusedTooLong;
            if !aged && (!tries || futile >= FUTILE) {
                break;
            }
            let batch = targets(&observation, &plan, batch(&observation, &plan));
            let tried: Vec<Image> = batch.iter().map(|target| target.object.clone()).collect();
            let (gone, failed) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
            let remove = async |target: &Target<Image>| {
                let removed = recheck::remove(tools, pass, &sandbox_image, &target.object).await;
                match &removed {
                    Ok((Outcome::Removed | Outcome::AlreadyGone, _)) => {
                        gone.borrow_mut().push(target.object.clone())
                    }
                    Ok(_) => account.stayed(&target.object),
                    Err(_) => failed.borrow_mut().push(target.object.clone()),
                }
                removed
            };
            let before = available(&observation);
            pass.act(batch, parallel, remove).await;
            let (mut gone, failed) = (gone.into_inner(), failed.into_inner());
            // A runtime may fail to say that it did it.
            let (went, stayed) = self.went(failed).await;
            stayed.iter().for_each(|image| account.stayed(image));
            gone.extend(went);
            // Gone or not: what was tried is not tried again in this pass.
            observation.images.retain(|image| {
                !tried.iter().any(|t| t.id == image.id && t.runtime_handler == image.runtime_handler)
            });
            if !pass.may_remove() {
                // What is left was not tried, so nothing can be said of what it would have brought.
                plan = decide(&observation, policy);
                pass.kept_after_all(Kind::Image, keep(&observation, &plan, policy));
                return Brought { freed, ..Brought::default() };
            }
            let promised = gone.iter().fold(0u64, |sum, image| sum.saturating_add(image.size_bytes));
            let grew = self.settle(&mut observation, (!gone.is_empty()).then_some(promised)).await;
            // What others free meanwhile is not the pass's doing, and what goes for its age need not bring anything.
            if !gone.is_empty() {
                freed = freed.saturating_add(available(&observation).saturating_sub(before));
                pass.freed(freed);
                if !aged {
                    futile = if grew { 0 } else { futile + 1 };
                }
            }
            plan = decide(&observation, policy);
        }
        // Of what the first plan named, some may have stayed, and some that it did not name may have gone.
        pass.kept_after_all(Kind::Image, keep(&observation, &plan, policy));
        if !plan.missing.is_none() {
            account.close(&observation, &plan);
            pass.error(PassError::FreeDiskSpaceFailed(account.to_string()));
        }
        Brought { freed, in_vain: futile >= FUTILE, is_short: !plan.missing.is_none() }
    }

    /// Which of those whose removal failed went all the same, and which are still there.
    async fn went(&self, failed: Vec<Image>) -> (Vec<Image>, Vec<Image>) {
        if failed.is_empty() {
            return (Vec::new(), failed);
        }
        match self.tools.gateway.list::<Image>(Freshness::Fresh).await {
            Ok(there) => failed.into_iter().partition(|image| there.iter().all(|other| other.id != image.id)),
            Err(_) => (Vec::new(), failed),
        }
    }

    /// Measures until the low thresholds are met, all that was promised came back and nothing follows, or the runtime had
    /// its time; once, where nothing went. Whether something came back where it is missing.
    async fn settle(&self, observation: &mut Observation, went: Option<u64>) -> bool {
        let promised = went.unwrap_or_default();
        let something = (promised / 100).clamp(1, SOMETHING);
        let before = observation.filesystems.clone();
        let settle = self.pass.settings.image_gc.settle;
        let began = tokio::time::Instant::now();
        let (mut most, mut since) = (0, began);
        loop {
            let (filesystems, problems) = observe::measure(self.tools, &self.places).await;
            let lost = !problems.is_empty();
            problems.into_iter().for_each(|problem| self.pass.error(problem));
            observation.filesystems = filesystems;
            for fs in &mut observation.filesystems {
                fs.reclaiming = same(&before, fs).map(|before| before.reclaiming).unwrap_or_default();
            }
            observation.taken_at = self.tools.clock.now();
            let (missing, _) = space::missing(&observation.filesystems, &self.policy.images);
            let grown = grown(&before, &observation.filesystems);
            let now = tokio::time::Instant::now();
            if grown.0 > most {
                (most, since) = (grown.0, now);
            }
            // Sizes promise too little as well as too much: what follows late must not cost another image.
            let all = most > 0 && most >= promised && missing.inodes == 0 && now - since >= settle / QUIET;
            if lost || missing.is_none() || all || went.is_none() || now - began >= settle {
                return grown.0 >= something || grown.1 > 0;
            }
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }
}

fn same<'a>(before: &'a [FileSystem], fs: &FileSystem) -> Option<&'a FileSystem> {
    before.iter().find(|before| before.mountpoint == fs.mountpoint)
}

/// Bytes and inodes that came back where they are being reclaimed.
fn grown(before: &[FileSystem], now: &[FileSystem]) -> (u64, u64) {
    let mut sum = (0u64, 0u64);
    for fs in now {
        let Some(before) = same(before, fs) else { continue };
        if fs.reclaiming.bytes {
            sum.0 += fs.stats.available_bytes.saturating_sub(before.stats.available_bytes);
        }
        if fs.reclaiming.inodes {
            sum.1 += fs.stats.inodes_free.saturating_sub(before.stats.inodes_free);
        }
    }
    sum
}

/// Bytes available on all file systems of images.
fn available(observation: &Observation) -> u64 {
    let holding = observation.filesystems.iter().filter(|fs| fs.holds_images);
    holding.fold(0, |sum, fs| sum.saturating_add(fs.stats.available_bytes))
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
pub fn targets(observation: &Observation, plan: &ImagePlan, count: usize) -> Vec<Target<Image>> {
    let removals = plan.section.remove.iter().take(count);
    let target = |decision: &cri_gc_policy::Decision| {
        let image = observation.images.get(decision.index)?;
        Some(Target {
            kind: Kind::Image,
            id: image.id.clone(),
            name: image.names().next().unwrap_or("<none>").to_owned(),
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
