//! The image GC supervisor: removes unused images when they are old or the disk is full (behaviour: Images).
//!
//! - here: observe, plan, and pass on to what acts.
//! - `reclaim`: the closed loop; the sizes that a runtime reports are hints, so a few images are removed, and the filesystem is
//!   measured before any other is. `disks`: what was measured. `recheck`: the checks right before a removal. `confirm`: its
//!   result. `account`: what uses the rest of the disk.
//! - `alarm`: when a full disk starts a pass. What is remembered of images is kept by `image_records`.

mod account;
mod alarm;
mod confirm;
mod disks;
mod recheck;
mod reclaim;

use std::cell::RefCell;
use std::time::Duration;

use cri_gc_config::{Mode, Settings};
use cri_gc_policy::images::{ImageUse, follow, space, unmatched};
use cri_gc_policy::report::Words;
use cri_gc_policy::{Decision, Kind, Observation, PodTable, Reclaiming};
use tokio::time::Instant;

use crate::collector::{Collect, Pass, Target};
use crate::report::{Outcome, PassError};
use crate::tools::Tools;
use crate::{observe, planning};
use alarm::{Alarm, LONGEST, Pauses, Usage};
use cri_gc_gateway::FsPlaces;
use cri_gc_kit::supervision::failure_log::First;
use cri_gc_kit::words::Loop;
use disks::Disks;
use reclaim::{Reclaim, Reclaimed, decide, kept};

/// The collector of images.
#[derive(Debug, Default)]
pub struct ImageGc {
    /// Where images lie, as the runtime reported to the last pass.
    places: RefCell<FsPlaces>,
    alarm: RefCell<Alarm>,
    /// Pauses after removals that freed nothing.
    pauses: RefCell<Pauses>,
}

impl Collect for ImageGc {
    const LOOP: Loop = Loop::ImageGc;
    const FIRST_FAILURE: First = First::Warning;

    fn pressure_check_every(settings: &Settings) -> Option<Duration> {
        let every = settings.image_gc.pressure_poll;
        (!every.is_zero() && settings.image_gc.mode != Mode::Off).then_some(every)
    }

    /// Whether an image filesystem is over its high threshold. The runtime is not asked.
    async fn is_under_pressure(&self, tools: &Tools, settings: &Settings) -> bool {
        let places = self.places.borrow().clone();
        if places.images.is_empty() {
            return false;
        }
        // What can't be measured is reported by the next pass.
        let (mut filesystems, _) = observe::measure(tools, &places).await;
        let policy = settings.policy().images;
        let high = space::missing(&filesystems, &policy, 0).0.triggered;
        filesystems.iter_mut().for_each(|fs| fs.reclaiming = Reclaiming { bytes: true, inodes: true });
        let usage = match space::missing(&filesystems, &policy, 0).0.is_none() {
            _ if high => Usage::High,
            true => Usage::Low,
            false => Usage::Between,
        };
        self.alarm.borrow_mut().checked(usage, settings.image_gc.period, Instant::now())
    }

    async fn pass(&self, pass: &Pass) -> Result<(), PassError> {
        let tools = &pass.tools;
        // Without the pods, the containers and the images, all of them, nothing can be decided.
        let view = observe::remember_pods(tools, &pass.settings).await?;
        let seen = observe::remember_images(tools).await?;
        pass.there_are(Kind::Image, seen.images.iter().map(|image| image.id.as_str()));
        view.verdict.images_unknown.into_iter().for_each(|why| pass.note(why));
        // Where images lie matters for space only: for their age they are removed all the same.
        let places = match seen.places {
            Ok(places) if places.images.is_empty() => {
                pass.error(PassError::NoFileSystem);
                places
            }
            Ok(places) => {
                self.places.replace(places.clone());
                pass.space().places = places.clone();
                places
            }
            Err(error) => {
                pass.error(error);
                FsPlaces::default()
            }
        };
        let (filesystems, problems) = observe::measure(tools, &places).await;
        problems.into_iter().for_each(|problem| pass.error(problem));
        let mut observation = Observation {
            images: seen.images,
            filesystems,
            // Not when the containers were listed: an image that was first seen since would have a timestamp in the future, and be young.
            taken_at: tools.clock.now(),
            ..view.observation
        };
        if let Err(error) = observe::sandbox_image(&mut observation, seen.sandbox_image) {
            pass.error(error);
        }
        for fs in observation.filesystems.iter().filter(|fs| fs.holds_images && space::reports_too_much(fs)) {
            pass.note(format!(
                "{} reports more free space than its size, so no image is removed there to free space; check the mount",
                fs.mountpoint
            ));
        }

        let policy = pass.settings.policy();
        // What follows from removals of earlier passes of a dry run is part of the plan.
        let foresee = |observation: &Observation| {
            let mut plan = decide(observation, &policy);
            let removed = pass.foreseen.of(observation);
            follow(&mut plan, observation, &PodTable::new(observation), &policy, &removed);
            plan
        };
        let (plan, unread) =
            planning::with_image_volumes(tools, &mut observation, foresee, |plan| &plan.section).await;
        // That these images are in use is remembered.
        let volumes = observation.containers.iter().flat_map(|container| &container.image_volumes);
        tools.images.seen(volumes.map(|volume| ImageUse::named(volume)), tools.clock.moment());
        if let Some(error) = unread {
            pass.error(error);
        }
        plan.problems.iter().for_each(|problem| pass.error(PassError::Disk(problem.clone())));
        let period = pass.settings.image_gc.period;
        let tries = self.pauses.borrow().is_over(Instant::now());
        unmatched(&observation.images, &policy.images).into_iter().for_each(|note| pass.note(note));
        let reclaimed = if pass.enforces() {
            pass.planned(plan.section.remove.len());
            kept(pass, &observation, &plan, &policy);
            let disks = Disks::new(observation.filesystems.clone());
            Reclaim { pass, policy: &policy, places, disks }.run(observation, plan, tries).await
        } else {
            let pods = PodTable::new(&observation);
            let words = Words::new(&observation, &pods, &policy);
            let words = |decisions: &[Decision]| words.items(Kind::Image, decisions);
            let none = async |_: &Target<()>| Ok((Outcome::WouldRemove, 0));
            pass.carry_out(Kind::Image, &plan.section, words, |_| Some(()), 1, none).await;
            let missing = plan.missing.bytes;
            let space = &mut *pass.space();
            (space.wanted_bytes, space.missing_bytes) = (missing, missing);
            Reclaimed { over: plan.missing.triggered, ..Reclaimed::default() }
        };
        if reclaimed.over && !tries {
            pass.note(
                "image removal to free space is stopped for a while: the last removed images freed no space; look for logs, \
                 volumes and container layers on the image filesystem"
                    .to_owned(),
            );
        }
        if reclaimed.was_futile {
            self.pauses.borrow_mut().begin(period, LONGEST, Instant::now());
        } else if !reclaimed.over || tries {
            self.pauses.replace(Pauses::default());
        }
        let ended = (reclaimed.freed, reclaimed.is_short);
        self.alarm.borrow_mut().passed(ended, reclaimed.over, period, Instant::now());
        Ok(())
    }
}
