//! The image GC supervisor: removes unused images when they are old or the disk is full (spec 6).
//!
//! The sizes that a runtime tells are hints, so the supervisor never trusts them with more than a quarter of what is
//! missing: it removes a few images, measures the file system, and plans anew on what it measured.
//!
//! - here: observe, and the closed loop. [`records`]: what is remembered. `account`: what holds the rest.

mod account;
pub mod records;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Context, Handler, Message, ResponseFuture};
use cri_gc_config::Settings;
use cri_gc_policy::images::{Missing, reference_of, space, used_by};
use cri_gc_policy::report::Item;
use cri_gc_policy::{Container, Image, ImagePlan, Observation, Plan, PlanReport, PodTable, Policy, Reason};
use jiff::Timestamp;

use crate::collector::{
    Collect, Collector, Kind, Loop, Outcome, Pass, PassError, Relay, Removed, Target, Tools,
};
use crate::gateway::calls::{ImageFsInfo, RemoveImage, SandboxImage};
use crate::gateway::{CriResult, Freshness, FsPlaces};
use crate::observe;
use crate::supervision::failure_log::First;
use account::Account;
use records::SharedRecords;

/// How often a file system is measured while a runtime may still be giving space back.
const MEASURE_EVERY: Duration = Duration::from_millis(100);

/// The collector of images.
#[derive(Debug, Default)]
pub struct ImageGc {
    records: SharedRecords,
}

impl ImageGc {
    /// It remembers there. Whoever starts it anew on another thread gives it the same.
    #[must_use]
    pub fn new(records: SharedRecords) -> Self {
        Self { records }
    }
}

/// A container that used an image is being removed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ImageUsed {
    /// How the container named its image.
    pub reference: String,
    /// Until when it used it: when it finished, else when it was created.
    pub at: Timestamp,
}

/// Look at the images now, remember what is seen, and say it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "CriResult<Look>")]
pub struct LookAtImages;

/// What a look at the images saw.
#[derive(Debug, Clone)]
pub struct Look {
    /// All images with what is remembered of them.
    pub images: Vec<Image>,
    /// Image that the runtime makes sandboxes of; empty if it does not tell.
    pub sandbox_image: String,
    /// Where images and containers lie.
    pub places: FsPlaces,
}

impl Relay for ImageUsed {}
impl Relay for LookAtImages {}

impl Handler<ImageUsed> for Collector<ImageGc> {
    type Result = ();

    fn handle(&mut self, used: ImageUsed, _ctx: &mut Context<Self>) {
        self.logic.records.lock().used(used.reference, used.at);
    }
}

impl Handler<LookAtImages> for Collector<ImageGc> {
    type Result = ResponseFuture<CriResult<Look>>;

    fn handle(&mut self, _look: LookAtImages, _ctx: &mut Context<Self>) -> Self::Result {
        let (logic, tools) = (Rc::clone(&self.logic), self.tools.clone());
        Box::pin(async move {
            let containers = tools.gateway.list::<Container>(Freshness::Shared).await?;
            logic.look(&tools, &containers).await
        })
    }
}

impl Collect for ImageGc {
    const LOOP: Loop = Loop::ImageGc;
    const FIRST_FAILURE: First = First::Warning;

    fn period(settings: &Settings) -> Duration {
        settings.image_gc.period
    }

    fn deadline(settings: &Settings) -> Duration {
        settings.image_gc.deadline
    }

    async fn pass(&self, tools: &Tools, pass: &Pass) {
        let node = async || -> CriResult<_> {
            let view = observe::pods(tools, &pass.settings).await?;
            let look = self.look(tools, &view.observation.containers).await?;
            Ok((view, look))
        };
        // Without the containers, the sandbox image and the images, all of them, no image goes.
        let (view, look) = match node().await {
            Ok(node) => node,
            Err(error) => return pass.error(error),
        };
        view.verdict.images_unknown.into_iter().for_each(|why| pass.only_report(why));
        let (filesystems, problems) = observe::measure(tools, &look.places).await;
        problems.into_iter().for_each(|problem| pass.error(problem));
        let observation = Observation {
            images: look.images,
            sandbox_image: look.sandbox_image,
            filesystems,
            // Not when the containers were listed: an image that was first seen since would be from the future, and young.
            taken_at: tools.clock.now(),
            ..view.observation
        };
        self.collect(tools, pass, observation, &look.places).await;
    }
}

impl ImageGc {
    async fn look(&self, tools: &Tools, containers: &[Container]) -> CriResult<Look> {
        let sandbox_image = tools.gateway.call(SandboxImage).await?;
        let images = tools.gateway.list::<Image>(Freshness::Shared).await?;
        let places = tools.gateway.call(ImageFsInfo {}).await?;
        let mut images = Arc::unwrap_or_clone(images);
        // Asked before the records are taken: a clock that hangs must not take them along.
        let now = tools.clock.moment();
        self.records.lock().observe(&mut images, containers, now);
        Ok(Look { images, sandbox_image, places })
    }

    /// The closed loop: plan, remove a little, measure, and again on what was measured.
    async fn collect(&self, tools: &Tools, pass: &Pass, mut observation: Observation, places: &FsPlaces) {
        let policy = pass.settings.policy();
        let parallel = pass.settings.image_gc.parallel_removals.into();
        let available_before = available(&observation);
        // What is at its high threshold now is freed to the low one, even when that is crossed in between.
        for fs in &mut observation.filesystems {
            fs.reclaiming = space::reclaiming(fs, &policy.images);
        }
        let mut plan = decide(&observation, &policy);
        plan.problems.iter().for_each(|problem| pass.error(PassError::Disk(problem.clone())));
        pass.planned(plan.section.remove.len());
        pass.kept(Kind::Image, keep(&observation, &plan, &policy));
        if !pass.enforces() {
            let all = plan.section.remove.len();
            return pass
                .act(targets(&observation, &plan, all), parallel, async |_| Ok((Outcome::WouldRemove, 0)))
                .await;
        }
        while !plan.section.remove.is_empty() {
            let batch = targets(&observation, &plan, batch(&observation, &plan));
            let promised: u64 = batch.iter().map(|target| target.object.size_bytes).sum();
            let tried: Vec<Image> = batch.iter().map(|target| target.object.clone()).collect();
            let failures = pass.failures();
            pass.act(batch, parallel, async |target| remove(tools, pass, target).await).await;
            // Gone or not: what was tried is not tried again in this pass.
            observation.images.retain(|image| {
                !tried.iter().any(|t| t.id == image.id && t.runtime_handler == image.runtime_handler)
            });
            if !pass.may_remove() {
                // What is left was not tried, so nothing can be said of what it would have brought.
                plan = ImagePlan { missing: Missing::default(), ..decide(&observation, &policy) };
                break;
            }
            let freed = pass.failures() < failures + tried.len();
            self.settle(tools, pass, &mut observation, places, if freed { promised } else { 0 }).await;
            plan = decide(&observation, &policy);
        }
        // Of what the first plan named, some may have stayed, and some that it did not name may have gone.
        pass.kept_after_all(Kind::Image, keep(&observation, &plan, &policy));
        pass.freed(available(&observation).saturating_sub(available_before));
        if plan.missing.bytes > 0 || plan.missing.inodes > 0 {
            let account = Account::new(&observation, &plan);
            pass.error(PassError::FreeDiskSpaceFailed(account.to_string()));
        }
    }

    /// Measures until the low threshold is met, as much came back as was promised, or the runtime had its time.
    async fn settle(
        &self,
        tools: &Tools,
        pass: &Pass,
        observation: &mut Observation,
        places: &FsPlaces,
        promised: u64,
    ) {
        let before = available(observation);
        let deadline = tokio::time::Instant::now() + pass.settings.image_gc.settle;
        loop {
            let (filesystems, problems) = observe::measure(tools, places).await;
            let lost = !problems.is_empty();
            problems.into_iter().for_each(|problem| pass.error(problem));
            let begun = std::mem::replace(&mut observation.filesystems, filesystems);
            for fs in &mut observation.filesystems {
                let same = begun.iter().find(|before| before.mountpoint == fs.mountpoint);
                fs.reclaiming = same.map(|before| before.reclaiming).unwrap_or_default();
            }
            observation.taken_at = tools.clock.now();
            let (missing, _) = space::missing(&observation.filesystems, &pass.settings.policy().images);
            let came_back = available(observation).saturating_sub(before) >= promised;
            let met = missing == Missing { bytes: 0, inodes: 0, ..missing };
            if lost || met || came_back || tokio::time::Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }
}

/// What stays by that plan, in words.
fn keep(observation: &Observation, plan: &ImagePlan, policy: &Policy) -> Vec<Item> {
    let whole = Plan { images: plan.clone(), ..Plan::default() };
    PlanReport::new(&whole, observation, policy).images.section.keep
}

fn decide(observation: &Observation, policy: &Policy) -> ImagePlan {
    cri_gc_policy::images::decide(observation, &PodTable::new(observation), &policy.images)
}

/// Bytes available on all file systems of images.
fn available(observation: &Observation) -> u64 {
    observation.filesystems.iter().filter(|fs| fs.holds_images).map(|fs| fs.stats.available_bytes).sum()
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

fn targets(observation: &Observation, plan: &ImagePlan, count: usize) -> Vec<Target<Image>> {
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

/// Lists the containers anew and removes the image if nobody uses it.
async fn remove(tools: &Tools, pass: &Pass, target: &Target<Image>) -> Removed {
    let image = &target.object;
    // It may have got a name or a pin meanwhile.
    let images = tools.gateway.list::<Image>(Freshness::Fresh).await?;
    let same = |now: &&Image| now.id == image.id && now.runtime_handler == image.runtime_handler;
    let Some(now) = images.iter().find(same) else {
        return Ok((Outcome::AlreadyGone, 0));
    };
    if now.pinned {
        return Ok((Outcome::refused(Reason::Pinned), 0));
    }
    // A pattern that was added meanwhile holds at once.
    if pass.live.settings().image_gc.protect.iter().any(|pattern| pattern.matches(&now.id, now.names())) {
        return Ok((Outcome::refused(Reason::Protected), 0));
    }
    // Last, for nothing may come between it and the removal.
    let containers = tools.gateway.list::<Container>(Freshness::Fresh).await?;
    if !used_by(std::slice::from_ref(now), containers.iter().map(reference_of)).is_empty() {
        return Ok((Outcome::refused(Reason::InUse), 0));
    }
    tools
        .gateway
        .call(RemoveImage { id: image.id.clone(), runtime_handler: image.runtime_handler.clone() })
        .await?;
    Ok((Outcome::Removed, image.size_bytes))
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::{Decision, Section};

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
