//! `cri-gc sweep`: one pass of each loop, in order, without a service.

use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler};
use cri_gc_collectors::collector::messages::{Declined, RunPass};
use cri_gc_collectors::log_reaper::look_at_links;
use cri_gc_collectors::observe;
use cri_gc_collectors::planning::Foreseen;
use cri_gc_collectors::report::{Kept, Outcome, PassReport, Progress};
use cri_gc_config::{Mode, Settings};
use cri_gc_files::dirs::Dirs;
use cri_gc_files::lock::{self, LockError, StateLock};
use cri_gc_images::Home;
use cri_gc_kit::words::Loop;
use cri_gc_policy::Reason;
use cri_gc_policy::images::unmatched;
use cri_gc_proto::admin::{Pass, Removal};
use cri_gc_service::admin;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{crew, in_system, logging, settings, sync_pods};
use crate::cli::{self, Global};
use crate::failure::{Failure, PARTLY};
use crate::output::progress::{Bar, Ended};
use crate::output::unrecorded::Unrecorded;
use crate::output::{self, remark, show};
use crate::signals::{StopSignal, StopSignals};
use crate::wiring::Crew;

/// A link has to point to nothing at two looks, this far apart at least: a log that is being rotated is missing for a
/// moment only.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// Sweeps and prints.
///
/// # Errors
/// A bad configuration, or no runtime. What goes wrong in a pass is in its report.
pub fn run(global: &Global, args: &cli::Sweep) -> Result<ExitCode, Failure> {
    let mut settings = settings(global)?.settings;
    let (home, _lock, nowhere) =
        if args.dry_run { (Home::copy(&settings), None, None) } else { home(&settings)? };
    let rehearsed = args.dry_run.then(|| settings.clone());
    if args.dry_run {
        for mode in [
            &mut settings.container_gc.mode,
            &mut settings.sandbox_gc.mode,
            &mut settings.log_gc.mode,
            &mut settings.image_gc.mode,
        ] {
            if *mode == Mode::Enforce {
                *mode = Mode::Report;
            }
        }
    }
    let logging = logging(global);
    let (swept, signal) = in_system(async {
        let mut stop = StopSignals::listen()?;
        let crew = tokio::select! {
            crew = crew(settings, home, args.source.confirm_deleted, &logging) => crew?.0,
            // Nothing was begun.
            signal = stop.recv() => return Ok((Some(Swept::default()), Some(signal))),
        };
        let mut swept = until_stopped(&crew, rehearsed, &mut stop).await;
        if let Ok((Some((reports, _)), signal)) = &mut swept {
            let mut finish = std::pin::pin!(async {
                // The last removal is on the disk as well: should that image be pulled again, it is new.
                crew.tools.images.flush().await;
                add_note_on_ages(&crew, args.dry_run, nowhere, reports).await;
            });
            loop {
                tokio::select! {
                    () = &mut finish => break,
                    // A second one ends at once here as well: the disk may hang.
                    received = stop.recv() => if signal.replace(received).is_some() { break },
                }
            }
        }
        crew.stop();
        swept
    })?;
    if let Some((reports, problem)) = &swept {
        show(args.output.output, reports, |reports| text(reports))?;
        problem.iter().for_each(|problem| remark(&format!("cri-gc: {problem}")));
    }
    if let Some(signal) = signal {
        remark(&format!("cri-gc: ended by {}", signal.as_str()));
        return Ok(signal.exit_code());
    }
    let good =
        swept.is_none_or(|(reports, problem)| problem.is_none() && reports.iter().all(PassReport::is_good));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

/// What was done, as tables.
fn text(reports: &[PassReport]) -> String {
    let mut removals = Vec::new();
    for report in reports {
        removals.extend(report.removals.iter().map(admin::removal));
        let follow = report.follow.iter().map(admin::removal);
        removals.extend(follow.map(|removal| Removal { result: "would_follow".to_owned(), ..removal }));
    }
    let passes: Vec<Pass> = reports.iter().map(admin::pass).collect();
    output::passes::text(&removals, &passes)
}

/// Names the patterns of `image_gc.protect` that match no image, while nothing is removed yet. Images that can't be listed are
/// an error of their own pass.
async fn name_unmatched_patterns(crew: &Crew) {
    let policy = crew.settings.policy();
    if policy.images.protect.is_empty() || crew.settings.image_gc.mode == Mode::Off {
        return;
    }
    if let Ok(view) = observe::images(&crew.tools).await
        && let Some(note) = unmatched(&view.images, &policy.images)
    {
        remark(&format!("cri-gc: note: {note}"));
    }
}

/// What a sweep did, and what was wrong with the pod source, if anything.
type Swept = (Vec<PassReport>, Option<String>);

/// Sweeps until all is done or a signal comes: then no removal is begun any more, and those that were sent are awaited. A
/// second signal ends at once, without a word of what was done.
async fn until_stopped(
    crew: &Crew,
    rehearsed: Option<Settings>,
    stop: &mut StopSignals,
) -> Result<(Option<Swept>, Option<StopSignal>), Failure> {
    let (progress, mut told) = unbounded_channel();
    let bar = Rc::new(Bar::default());
    let shown = Rc::clone(&bar);
    let showing = actix::spawn(async move {
        while let Some(progress) = told.recv().await {
            match progress {
                Progress::Planned(of, count) => {
                    shown.planned(of.as_str(), u64::try_from(count).unwrap_or(u64::MAX));
                }
                Progress::Done(_, removal) => shown.ended(ended(&removal.outcome)),
            }
        }
    });
    let (halt, halted) = watch::channel(false);
    let sweep = Sweep { crew, progress: Some(progress), rehearsed, halted, ..Sweep::of(crew) };
    let mut sweeping = std::pin::pin!(sweep.run());
    let mut signal = None;
    let swept = loop {
        tokio::select! {
            swept = &mut sweeping => break Some(swept?),
            received = stop.recv() => {
                if signal.replace(received).is_some() {
                    break None;
                }
                bar.end();
                remark("cri-gc: stopping: removals in progress are awaited, no other is begun; a second signal ends at once");
                crew.halt();
                halt.send_replace(true);
            }
        }
    };
    if swept.is_some() {
        // It ends with the last sender, which the collectors and the sweep held.
        let _ = showing.await;
    }
    bar.end();
    Ok((swept, signal))
}

fn ended(outcome: &Outcome) -> Ended {
    match outcome {
        Outcome::Removed | Outcome::AlreadyGone => Ended::Removed,
        Outcome::WouldRemove => Ended::WouldBeRemoved,
        Outcome::Refused { .. } => Ended::Kept,
        Outcome::Failed { .. } => Ended::Failed,
    }
}

/// Where the sweep keeps what it sees of images, so that the next one knows how old they are; the lock on it, held meanwhile;
/// and why it keeps that nowhere, if so.
fn home(settings: &Settings) -> Result<(Home, Option<StateLock>, Option<String>), Failure> {
    match lock::hold_for_process(&Dirs::of(settings)) {
        Ok(lock) => Ok((Home::store(settings), Some(lock), None)),
        Err(error @ LockError::Held { .. }) => Err(Failure::failed(format_args!(
            "{error}\n  a service makes passes when asked: `cri-gc run-now`; another sweep ends soon"
        ))),
        Err(error) if error.is_held_by_no_process() => Ok((Home::Memory, None, Some(error.to_string()))),
        // It is there, and another user's: whether a service holds it can't be told.
        Err(error) => Err(Failure::failed(error)),
    }
}

/// Says in the report on images if they are kept only because nothing is recorded of them.
async fn add_note_on_ages(crew: &Crew, dry_run: bool, nowhere: Option<String>, reports: &mut [PassReport]) {
    let Some(report) = reports.iter_mut().find(|report| report.of == Loop::ImageGc) else { return };
    let Some(ages) = crew.tools.images.ages().await else { return };
    let nowhere = nowhere.or(ages.lost);
    let is_too_young = |kept: &Kept| kept.item.reason == Reason::TooYoung.as_str();
    let unrecorded = Unrecorded {
        are_too_young: ages.are_new && report.kept.iter().any(is_too_young),
        dry_run,
        nowhere: nowhere.as_deref(),
        min_age: crew.settings.image_gc.min_age,
    };
    report.notes.extend(unrecorded.note());
}

/// One pass of each loop, in order: what a container pass frees, the sandbox pass can take, and so on. Also says what was
/// wrong with the pod source, if anything.
///
/// # Errors
/// A collector is gone.
pub async fn sweep(
    crew: &Crew,
    progress: &Option<UnboundedSender<Progress>>,
) -> Result<(Vec<PassReport>, Option<String>), Failure> {
    Sweep { progress: progress.clone(), ..Sweep::of(crew) }.run().await
}

/// A sweep under way.
struct Sweep<'a> {
    crew: &'a Crew,
    progress: Option<UnboundedSender<Progress>>,
    /// The settings of the sweep that this dry run rehearses.
    rehearsed: Option<Settings>,
    /// What the passes so far would have removed there.
    foreseen: Arc<Foreseen>,
    /// Whether it is to end.
    halted: watch::Receiver<bool>,
    reports: Vec<PassReport>,
}

impl<'a> Sweep<'a> {
    fn of(crew: &'a Crew) -> Self {
        // Without a sender it is never halted.
        let halted = watch::channel(false).1;
        Self { crew, progress: None, rehearsed: None, foreseen: Arc::default(), halted, reports: Vec::new() }
    }

    async fn run(mut self) -> Result<Swept, Failure> {
        let crew = self.crew;
        let looked = Instant::now();
        let ready = async {
            let dangling = look_at_links(&crew.log_reaper).await.map_err(Failure::failed)?;
            Ok::<_, Failure>((dangling, sync_pods(crew).await))
        };
        let Some(ready) = self.unless_halted(ready).await else { return Ok((self.reports, None)) };
        let (dangling, problem) = ready?;
        if self.unless_halted(name_unmatched_patterns(crew)).await.is_none() {
            return Ok((self.reports, problem));
        }
        self.pass(&crew.container_gc).await?;
        self.pass(&crew.sandbox_reaper).await?;
        if dangling > 0 {
            self.unless_halted(tokio::time::sleep_until(looked + BETWEEN_LOOKS)).await;
        }
        self.pass(&crew.log_reaper).await?;
        self.pass(&crew.image_gc).await?;
        Ok((self.reports, problem))
    }

    /// What `work` gives; nothing if the sweep is to end before.
    async fn unless_halted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut halted = self.halted.clone();
        let halt = async {
            if halted.wait_for(|halted| *halted).await.is_err() {
                // Nobody is left who could say so.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            done = work => Some(done),
            () = halt => None,
        }
    }

    async fn pass<A>(&mut self, collector: &Addr<A>) -> Result<(), Failure>
    where
        A: Actor + Handler<RunPass>,
        A::Context: ToEnvelope<A, RunPass>,
    {
        let run = RunPass {
            progress: self.progress.clone(),
            foreseen: Arc::clone(&self.foreseen),
            ..RunPass::default()
        };
        let report = match collector.send(run).await.map_err(Failure::failed)? {
            Ok(report) => report,
            Err(Declined::Stopping(_)) => return Ok(()),
            Err(declined) => return Err(Failure::failed(declined)),
        };
        let enforces = |settings: &Settings| report.of.mode(settings) == Mode::Enforce;
        if self.rehearsed.as_ref().is_some_and(enforces) && !report.report_only {
            Arc::make_mut(&mut self.foreseen).add(&report);
        }
        self.reports.push(report);
        Ok(())
    }
}
