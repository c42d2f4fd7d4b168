//! The image GC supervisor: removes unused images when they are old or the disk is full (behaviour: Images).
//!
//! - here: observe, plan, and hand on to what acts.
//! - `reclaim`: the closed loop; the sizes that a runtime tells are hints, so a few images go, and the filesystem is
//!   measured before any other does. `disks`: what was measured. `recheck`: what is asked right before a removal. `confirm`: what became of it. `account`: what holds the rest.
//! - `alarm`: looks at the disk between passes. What is remembered of images is kept by `image_records`.

mod account;
mod alarm;
mod confirm;
mod deciding;
mod disks;
mod recheck;
mod reclaim;

use std::cell::RefCell;
use std::time::Duration;

use cri_gc_config::{Mode, Settings};
use cri_gc_policy::images::{space, unmatched};
use cri_gc_policy::{FileSystem, Follow, Observation, Plan, PlanReport, Reclaiming};
use tokio::time::Instant;

use crate::collector::{Collect, Pass, Target};
use crate::report::{Outcome, PassError};
use crate::tools::Tools;
use crate::{observe, planning};
use alarm::{Alarm, Patience, Usage};
use cri_gc_gateway::FsPlaces;
use cri_gc_kit::supervision::failure_log::First;
use cri_gc_kit::words::{Kind, Loop};
use deciding::{foresee, keep};
use disks::Disks;
use reclaim::{Brought, Reclaim};

/// The collector of images.
#[derive(Debug, Default)]
pub struct ImageGc {
    /// Where images lie, as the last pass was told.
    places: RefCell<FsPlaces>,
    alarm: RefCell<Alarm>,
    patience: RefCell<Patience>,
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

    fn look_out_every(settings: &Settings) -> Option<Duration> {
        let every = settings.image_gc.pressure_poll;
        (!every.is_zero() && settings.image_gc.mode != Mode::Off).then_some(every)
    }

    /// Whether an image filesystem is over its high threshold. The runtime is not asked.
    async fn look_out(&self, tools: &Tools, settings: &Settings) -> bool {
        let places = self.places.borrow().clone();
        if places.images.is_empty() {
            return false;
        }
        // What can't be measured is the next pass's matter to tell.
        let (disks, _) = observe::measure(tools, &places).await;
        let mut filesystems: Vec<FileSystem> = disks.into_iter().map(|disk| disk.fs).collect();
        let policy = settings.policy().images;
        let high = space::missing(&filesystems, &policy, 0).0.triggered;
        filesystems.iter_mut().for_each(|fs| fs.reclaiming = Reclaiming { bytes: true, inodes: true });
        let usage = match space::missing(&filesystems, &policy, 0).0.is_none() {
            _ if high => Usage::High,
            true => Usage::Low,
            false => Usage::Between,
        };
        self.alarm.borrow_mut().looked(usage, settings.image_gc.period, Instant::now())
    }

    async fn pass(&self, tools: &Tools, pass: &Pass) {
        // Without the pods, the containers and the images, all of them, nothing can be decided.
        let view = match observe::remember_pods(tools, &pass.settings).await {
            Ok(view) => view,
            Err(error) => return pass.error(error),
        };
        let look = match observe::remember_images(tools).await {
            Ok(look) => look,
            Err(error) => return pass.error(error),
        };
        view.verdict.images_unknown.into_iter().for_each(|why| pass.note(why));
        // Where images lie matters for space only: for their age they are removed all the same.
        let places = match look.places {
            Ok(places) if places.images.is_empty() => {
                pass.error(PassError::NoFileSystem);
                places
            }
            Ok(places) => {
                self.places.replace(places.clone());
                places
            }
            Err(error) => {
                pass.error(error);
                FsPlaces::default()
            }
        };
        let (disks, problems) = observe::measure(tools, &places).await;
        problems.into_iter().for_each(|problem| pass.error(problem));
        let mut observation = Observation {
            images: look.images,
            filesystems: disks.iter().map(|disk| disk.fs.clone()).collect(),
            // Not when the containers were listed: an image that was first seen since would be from the future, and young.
            taken_at: tools.clock.now(),
            ..view.observation
        };
        if let Err(error) = observe::sandbox_image(&mut observation, look.sandbox_image) {
            pass.error(error);
        }
        for fs in observation.filesystems.iter().filter(|fs| fs.holds_images && space::tells_too_much(fs)) {
            pass.note(format!(
                "{} reports more free space than its size, so no image is removed there to free space; check the mount",
                fs.mountpoint
            ));
        }

        let policy = pass.settings.policy();
        let ((plan, following), unread) = planning::with_image_volumes(
            &mut observation,
            async |observation| observe::remember_image_volumes(tools, observation).await,
            |observation| foresee(observation, &policy, pass),
            |(plan, following)| !plan.section.remove.is_empty() || !following.is_empty(),
        )
        .await;
        if let Some(error) = unread {
            pass.error(error);
        }
        plan.problems.iter().for_each(|problem| pass.error(PassError::Disk(problem.clone())));
        let period = pass.settings.image_gc.period;
        let tries = self.patience.borrow().lets_try(Instant::now());
        unmatched(&observation.images, &policy.images).into_iter().for_each(|note| pass.note(note));
        let brought = if pass.enforces() {
            pass.planned(plan.section.remove.len());
            pass.kept(Kind::Image, keep(&observation, &plan, &policy));
            let reclaim = Reclaim::new(tools, pass, &policy, (places, Disks::new(disks)));
            reclaim.run(observation, plan, tries).await
        } else {
            let follow = Follow { images: following, ..Follow::default() };
            let whole = Plan { images: plan.clone(), follow, ..Plan::default() };
            let report = PlanReport::new(&whole, &observation, &policy).images.section;
            let none = async |_: &Target<()>| Ok((Outcome::WouldRemove, 0));
            pass.carry_out(Kind::Image, report, &plan.section.remove, |_| Some(()), 1, none).await;
            Brought { over: plan.missing.triggered, ..Brought::default() }
        };
        if brought.over && !tries {
            pass.note(
                "image removal to free space is stopped for a while: the last removed images freed no space; look for logs, \
                 volumes and container layers on the image filesystem"
                    .to_owned(),
            );
        }
        if brought.in_vain {
            self.patience.borrow_mut().in_vain(period, Instant::now());
        } else if !brought.over || tries {
            self.patience.replace(Patience::default());
        }
        let ended = (brought.freed, brought.is_short);
        self.alarm.borrow_mut().passed(ended, brought.over, period, Instant::now());
    }
}
