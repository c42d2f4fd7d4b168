//! `cri-gc sweep`: one pass of each loop, in order, without a service.

use std::cell::RefCell;
use std::sync::Arc;

use cri_gc_collectors::collector::messages::{Declined, Prepare, RunPass};
use cri_gc_collectors::observe;
use cri_gc_collectors::planning::Foreseen;
use cri_gc_collectors::report::{Kept, PassReport, Progress};
use cri_gc_config::{Mode, Settings};
use cri_gc_files::dirs::Dirs;
use cri_gc_files::lock::{self, LockError, StateLock};
use cri_gc_images::Home;
use cri_gc_kit::recorder::{Event, EventKind, Peer};
use cri_gc_kit::words::Loop;
use cri_gc_policy::Reason;
use cri_gc_policy::images::unmatched;
use cri_gc_proto::admin::{Pass, Removal};
use cri_gc_service::admin;
use rustix::process::{getegid, geteuid, getpid};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::setup::{crew, in_system, logging, settings, sync_pods};
use crate::cli::{self, Global};
use crate::failure::Failure;
use crate::output::fit::Fit;
use crate::output::progress::Bar;
use crate::output::text::Text;
use crate::output::unrecorded::Unrecorded;
use crate::output::{self, remark, show};
use crate::signals::{StopSignal, StopSignals};
use crate::wiring::Crew;

/// Sweeps and prints.
///
/// # Errors
/// An invalid configuration, or no runtime. The errors of a pass are in its report.
pub fn run(global: &Global, args: &cli::Sweep) -> Result<(), Failure> {
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
        let swept = until_stopped(&crew, rehearsed.as_ref(), nowhere, &mut stop).await;
        crew.stop();
        swept
    })?;
    if let Some((reports, Prepared { problem, noted })) = &swept {
        show(args.output.output.into(), reports, |reports| {
            text(reports, noted.as_deref(), rehearsed.as_ref(), Fit::of(args.output.output))
        })?;
        problem.iter().for_each(|problem| output::error(problem));
    }
    if let Some(signal) = signal {
        return Err(Failure::ended_by(signal));
    }
    let good = swept.is_none_or(|(reports, prepared)| {
        prepared.problem.is_none() && reports.iter().all(PassReport::is_good)
    });
    Failure::partly_unless(good)
}

/// The result, as tables.
fn text(reports: &[PassReport], noted: Option<&str>, rehearsed: Option<&Settings>, fit: Fit) -> Text {
    let mut removals = Vec::new();
    for report in reports {
        removals.extend(report.removals.iter().map(admin::removal));
        let follow = report.follow.iter().map(admin::removal);
        removals.extend(follow.map(|removal| Removal { result: "would_follow".to_owned(), ..removal }));
    }
    // A loop that only the dry run keeps from removing is not in report mode.
    let pass = |report: &PassReport| match rehearsed {
        Some(settings)
            if report.mode == Mode::Report
                && report.of.mode(settings) == Mode::Enforce
                && !report.report_only =>
        {
            Pass { mode: output::passes::DRY_RUN.to_owned(), ..admin::pass(report) }
        }
        _ => admin::pass(report),
    };
    let mut passes: Vec<Pass> = reports.iter().map(pass).collect();
    for pass in &mut passes {
        pass.notes.retain(|note| Some(note.as_str()) != noted);
    }
    output::passes::text(&removals, &passes, fit)
}

/// Names the patterns of `image_gc.protect` that match no image, while nothing is removed yet. Images that can't be listed are
/// an error of their own pass.
async fn name_unmatched_patterns(crew: &Crew) -> Option<String> {
    let policy = crew.settings.policy();
    if policy.images.protect.is_empty() || crew.settings.image_gc.mode == Mode::Off {
        return None;
    }
    let view = observe::images(&crew.tools).await.ok()?;
    let note = unmatched(&view.images, &policy.images)?;
    output::note(&note);
    Some(note)
}

/// What was found before the first pass.
#[derive(Default)]
struct Prepared {
    /// The problem of the pod source, if it has one.
    problem: Option<String>,
    /// The note that is printed already, if there is one.
    noted: Option<String>,
}

/// The report of each pass.
type Swept = (Vec<PassReport>, Prepared);

/// Sweeps until all is done or a signal arrives: then it waits for the removals in progress and begins no other. A second signal
/// ends the command at once; the result is known only if all passes have ended.
async fn until_stopped(
    crew: &Crew,
    rehearsed: Option<&Settings>,
    nowhere: Option<String>,
    stop: &mut StopSignals,
) -> Result<(Option<Swept>, Option<StopSignal>), Failure> {
    let prepared = tokio::select! {
        prepared = prepare(crew) => prepared?,
        // No pass has begun.
        signal = stop.recv() => return Ok((Some(Swept::default()), Some(signal))),
    };
    let (progress, mut updates) = unbounded_channel();
    let mut bar = Bar::default();
    let done = RefCell::new(None);
    let mut sweeping = std::pin::pin!(async {
        let by = Peer {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            pid: Some(getpid().as_raw_nonzero().get()),
        };
        crew.tools.recorder.record(Event::new(EventKind::PassRequested, None, "sweep").by(Some(by)));
        let reports = passes(crew, Some(progress), rehearsed).await?;
        done.replace(Some(reports));
        // Records the last removal on the disk: should that image be pulled again, it is new.
        let ((), is_kept) = futures_util::join!(crew.tools.images.flush(), crew.flush_history());
        Ok::<_, Failure>(is_kept)
    });
    let mut signal = None;
    let kept = loop {
        tokio::select! {
            ended = &mut sweeping => break Some(ended?),
            Some(progress) = updates.recv() => match progress {
                Progress::Planned(of, count) => bar.planned(of.as_str(), count as u64),
                Progress::Done(_, removal) => bar.ended(&admin::removal(&removal).result),
            },
            received = stop.recv() => {
                if signal.replace(received).is_some() {
                    break None;
                }
                bar.end();
                if done.borrow().is_none() {
                    remark("stopping after the removals in progress; a second signal stops at once");
                }
                crew.halt();
            }
        }
    };
    if kept == Some(false) {
        bar.end();
        output::note(
            "what this sweep did, or a part of it, is missing from the history: check the disk of state.dir",
        );
    }
    let mut reports = done.take();
    if let Some(reports) = reports.as_mut().filter(|_| kept.is_some()) {
        add_note_on_ages(crew, rehearsed.is_some(), nowhere, reports).await;
    }
    Ok((reports.map(|reports| (reports, prepared)), signal))
}

/// Where the sweep records images, so that the next one knows their ages; the lock on that; and why it can't record them, if so.
fn home(settings: &Settings) -> Result<(Home, Option<StateLock>, Option<String>), Failure> {
    match lock::hold_for_process(&Dirs::of(settings)) {
        Ok(lock) => Ok((Home::store(settings), Some(lock), None)),
        Err(error @ LockError::Held { .. }) => Err(Failure::failed(format_args!(
            "{error}\n  if that is the service, run a pass with `cri-gc run-now`; if it is another sweep, wait until it ends"
        ))),
        Err(error) if error.is_held_by_no_process() => Ok((Home::Memory, None, Some(error.to_string()))),
        // It belongs to another user: whether a service has it is not known.
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
pub async fn sweep(crew: &Crew) -> Result<(Vec<PassReport>, Option<String>), Failure> {
    let problem = prepare(crew).await?.problem;
    Ok((passes(crew, None, None).await?, problem))
}

/// Does what the passes need to have been done before.
async fn prepare(crew: &Crew) -> Result<Prepared, Failure> {
    crew.prepare.send(Prepare).await.map_err(Failure::failed)?;
    let problem = sync_pods(crew).await;
    Ok(Prepared { problem, noted: name_unmatched_patterns(crew).await })
}

/// The passes of the loops, until the crew is halted. `rehearsed` are the settings of the sweep that a dry run rehearses.
async fn passes(
    crew: &Crew,
    progress: Option<UnboundedSender<Progress>>,
    rehearsed: Option<&Settings>,
) -> Result<Vec<PassReport>, Failure> {
    let mut reports = Vec::new();
    // What the passes so far would have removed in that sweep.
    let mut foreseen = Arc::<Foreseen>::default();
    for next in &crew.loops {
        let run =
            RunPass { progress: progress.clone(), foreseen: Arc::clone(&foreseen), ..RunPass::default() };
        let report = match next.run.send(run).await.map_err(Failure::failed)? {
            Ok(report) => report,
            Err(Declined::Stopping(_)) => break,
            Err(declined) => return Err(Failure::failed(declined)),
        };
        let enforces = |settings: &Settings| report.of.mode(settings) == Mode::Enforce;
        if rehearsed.is_some_and(enforces) && !report.report_only {
            Arc::make_mut(&mut foreseen).add(&report);
        }
        reports.push(report);
    }
    Ok(reports)
}
