//! `cri-gc sweep`: one pass of each loop, in order, without a service.

use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler};
use cri_gc_collectors::collector::messages::{Declined, Prepare, RunPass};
use cri_gc_collectors::observe;
use cri_gc_collectors::planning::Foreseen;
use cri_gc_collectors::report::{Kept, PassReport, Progress};
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

use super::setup::{crew, in_system, logging, settings, sync_pods};
use crate::cli::{self, Global};
use crate::failure::{Failure, PARTLY};
use crate::output::progress::{Bar, Ended};
use crate::output::unrecorded::Unrecorded;
use crate::output::{self, remark, show};
use crate::signals::{StopSignal, StopSignals};
use crate::wiring::Crew;

/// Sweeps and prints.
///
/// # Errors
/// An invalid configuration, or no runtime. The errors of a pass are in its report.
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
            // Nothing has begun.
            signal = stop.recv() => return Ok((Some(Swept::default()), Some(signal))),
        };
        let mut swept = until_stopped(&crew, rehearsed, &mut stop).await;
        if let Ok((Some((reports, _)), signal)) = &mut swept {
            let mut finish = std::pin::pin!(async {
                // Records the last removal on the disk: should that image be pulled again, it is new.
                crew.tools.images.flush().await;
                add_note_on_ages(&crew, args.dry_run, nowhere, reports).await;
            });
            loop {
                tokio::select! {
                    () = &mut finish => break,
                    // A second signal ends the command at once here as well: the disk may hang.
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
        remark(&format!("cri-gc: ended by {}", signal.name));
        return Ok(signal.exit_code());
    }
    let good =
        swept.is_none_or(|(reports, problem)| problem.is_none() && reports.iter().all(PassReport::is_good));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

/// The result, as tables.
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

/// The report of each pass, and the problem of the pod source, if it has one.
type Swept = (Vec<PassReport>, Option<String>);

/// Sweeps until all is done or a signal arrives: then it waits for the removals in progress and begins no other. A second signal
/// ends the command at once, without the result.
async fn until_stopped(
    crew: &Crew,
    rehearsed: Option<Settings>,
    stop: &mut StopSignals,
) -> Result<(Option<Swept>, Option<StopSignal>), Failure> {
    let (progress, mut updates) = unbounded_channel();
    let bar = Rc::new(Bar::default());
    let shown = Rc::clone(&bar);
    let showing = actix::spawn(async move {
        while let Some(progress) = updates.recv().await {
            match progress {
                Progress::Planned(of, count) => {
                    shown.planned(of.as_str(), u64::try_from(count).unwrap_or(u64::MAX));
                }
                Progress::Done(_, removal) => {
                    shown.ended(Ended::from_result(&admin::removal(&removal).result));
                }
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
                remark("cri-gc: stopping after the removals in progress; a second signal stops at once");
                crew.halt();
                halt.send_replace(true);
            }
        }
    };
    if swept.is_some() {
        // It ends with the last sender, which the collectors and the sweep had.
        let _ = showing.await;
    }
    bar.end();
    Ok((swept, signal))
}

/// Where the sweep records images, so that the next one knows their ages; the lock on that; and why it can't record them, if so.
fn home(settings: &Settings) -> Result<(Home, Option<StateLock>, Option<String>), Failure> {
    match lock::hold_for_process(&Dirs::of(settings)) {
        Ok(lock) => Ok((Home::store(settings), Some(lock), None)),
        Err(error @ LockError::Held { .. }) => Err(Failure::failed(format_args!(
            "{error}\n  if that is the service, run a pass with `cri-gc run-now`; if it is another sweep, wait until it ends"
        ))),
        Err(error) if error.is_held_by_no_process() => Ok((Home::Memory, None, Some(error.to_string()))),
        // It belongs to another user: whether a service holds it is not known.
        Err(error) => Err(Failure::failed(error)),
    }
}

/// Adds a note to the report on images if they are kept only because there are no records of them.
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

/// One pass of each loop, in order: the sandbox pass can remove what the container pass left empty, and so on. Also returns the
/// problem of the pod source, if it has one.
///
/// # Errors
/// A collector has stopped.
pub async fn sweep(
    crew: &Crew,
    progress: &Option<UnboundedSender<Progress>>,
) -> Result<(Vec<PassReport>, Option<String>), Failure> {
    Sweep { progress: progress.clone(), ..Sweep::of(crew) }.run().await
}

/// A sweep in progress.
struct Sweep<'a> {
    crew: &'a Crew,
    progress: Option<UnboundedSender<Progress>>,
    /// The settings of the sweep that this dry run rehearses.
    rehearsed: Option<Settings>,
    /// What the passes so far would have removed there.
    foreseen: Arc<Foreseen>,
    /// Whether it has to stop.
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
        let ready = async {
            crew.log_reaper.send(Prepare).await.map_err(Failure::failed)?;
            Ok::<_, Failure>(sync_pods(crew).await)
        };
        let Some(ready) = self.unless_halted(ready).await else { return Ok((self.reports, None)) };
        let problem = ready?;
        if self.unless_halted(name_unmatched_patterns(crew)).await.is_none() {
            return Ok((self.reports, problem));
        }
        self.pass(&crew.container_gc).await?;
        self.pass(&crew.sandbox_reaper).await?;
        self.pass(&crew.log_reaper).await?;
        self.pass(&crew.image_gc).await?;
        Ok((self.reports, problem))
    }

    /// The result of `work`; `None` if the sweep has to stop before.
    async fn unless_halted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut halted = self.halted.clone();
        let halt = async {
            if halted.wait_for(|halted| *halted).await.is_err() {
                // No sender is left that could halt it.
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
