//! `cri-gc sweep`: one pass of each loop, in order, without a service.

use std::process::ExitCode;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler};
use cri_gc_actors::collector::{PassReport, Progress, RunPass};
use cri_gc_actors::files::lock::{self, LockError, StateLock};
use cri_gc_actors::image_records::Home;
use cri_gc_actors::log_reaper::look_at_links;
use cri_gc_config::Settings;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::{crew, in_system, logging, settings, sync_pods};
use crate::cli::{self, Global};
use crate::failure::{Failure, PARTLY};
use crate::output::progress::Bar;
use crate::output::{self, remark, show};
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
    let (home, _lock) = home(&settings, args.dry_run)?;
    if args.dry_run {
        for mode in [
            &mut settings.container_gc.mode,
            &mut settings.sandbox_gc.mode,
            &mut settings.log_gc.mode,
            &mut settings.image_gc.mode,
        ] {
            if *mode == cri_gc_config::Mode::Enforce {
                *mode = cri_gc_config::Mode::Report;
            }
        }
    }
    let logging = logging(global);
    let (reports, problem) = in_system(async {
        let (crew, _) = crew(settings, home, args.source.confirm_deleted, &logging).await?;
        let (progress, mut told) = unbounded_channel();
        let bar = actix::spawn(async move {
            let bar = Bar::default();
            while let Some(progress) = told.recv().await {
                match progress {
                    Progress::Planned(of, count) => {
                        bar.planned(of.as_str(), u64::try_from(count).unwrap_or(u64::MAX));
                    }
                    Progress::Done(..) => bar.done(),
                }
            }
            bar.end();
        });
        let swept = sweep(&crew, &Some(progress)).await;
        crew.stop();
        // It ends with the last sender, which the collectors held.
        let _ = bar.await;
        swept
    })?;
    show(args.output.output, &reports, |reports| output::sweep::text(reports))?;
    problem.iter().for_each(|problem| remark(&format!("cri-gc: {problem}")));
    let good = problem.is_none() && reports.iter().all(PassReport::is_good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

/// Where the sweep keeps what it sees of images, so that the next one knows how old they are; and the lock on it, held
/// meanwhile. A dry run only reads there. Where there is none and none can be made, every image is new.
fn home(settings: &Settings, dry_run: bool) -> Result<(Home, Option<StateLock>), Failure> {
    let state_dir = &settings.state.dir;
    let locked =
        if dry_run { lock::check(state_dir).map(|()| None) } else { lock::hold(state_dir).map(Some) };
    match locked {
        Ok(Some(lock)) => Ok((Home::store(settings), Some(lock))),
        Ok(None) => Ok((Home::copy(settings), None)),
        Err(error @ LockError::Held { .. }) => Err(Failure::failed(format_args!(
            "{error}\n  a service makes passes when asked: `cri-gc run-now`; another sweep ends soon"
        ))),
        // It is there, and somebody else's: whether a service holds it can't be told.
        Err(error @ LockError::Refused { .. }) if state_dir.symlink_metadata().is_ok() => {
            Err(Failure::failed(error))
        }
        Err(error @ LockError::Refused { .. }) => {
            remark(&format!("cri-gc: note: {error}; until then every image counts as new"));
            Ok((Home::Memory, None))
        }
    }
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
    let looked = Instant::now();
    let dangling = look_at_links(&crew.log_reaper).await.map_err(Failure::failed)?;
    let problem = sync_pods(crew).await;
    let mut reports =
        vec![pass(&crew.container_gc, progress).await?, pass(&crew.sandbox_reaper, progress).await?];
    if dangling > 0 {
        tokio::time::sleep_until(looked + BETWEEN_LOOKS).await;
    }
    reports.push(pass(&crew.log_reaper, progress).await?);
    reports.push(pass(&crew.image_gc, progress).await?);
    Ok((reports, problem))
}

async fn pass<A>(
    collector: &Addr<A>,
    progress: &Option<UnboundedSender<Progress>>,
) -> Result<PassReport, Failure>
where
    A: Actor + Handler<RunPass>,
    A::Context: ToEnvelope<A, RunPass>,
{
    let answer = collector.send(RunPass { progress: progress.clone() }).await.map_err(Failure::failed)?;
    answer.map_err(Failure::failed)
}
