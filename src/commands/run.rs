//! `cri-gc run`: the service of a node, until a signal stops it.

use std::pin::pin;
use std::sync::Arc;

use cri_gc_config::{Loaded, Settings, Sources, load};
use cri_gc_files::dirs::Dirs;
use cri_gc_files::lock::{self, LockError};
use cri_gc_images::Home;
use cri_gc_kit::generation::{Cause, Generation};
use cri_gc_kit::recorder::{Event, EventKind};
use cri_gc_kit::supervision::threads::Threads;
use cri_gc_service::admin::Groups;
use futures_util::FutureExt;
use futures_util::future::Fuse;
use sd_notify::NotifyState;
use slog::{Logger, error, info, warn};
use tokio::signal::unix::{SignalKind, signal};

use super::setup::{in_system, not_yet, sources};
use crate::cli::Global;
use crate::failure::Failure;
use crate::logging::Logging;
use crate::signals::StopSignals;
use crate::wiring::{STAGGER, Seams, Service, Start};

/// Runs the service.
///
/// # Errors
/// An invalid configuration, a service that is running already, or an operating system that has no thread or signal left. An
/// unreachable runtime is no error: the service waits for it.
pub fn run(global: &Global) -> Result<(), Failure> {
    let mut sources = sources(global);
    // A flag is in force through all reloads.
    let level = global.log_level.map(|level| ("log.level".to_owned(), level.as_str().to_owned()));
    sources.overrides.extend(level);
    let loaded = load(&sources).map_err(Failure::configuration)?;
    if let Some(problem) = not_yet(&loaded.settings) {
        return Err(Failure::configuration(problem));
    }
    let groups = Groups::of(&loaded.settings).map_err(Failure::configuration)?;
    let _lock = lock::hold_for_process(&Dirs::of(&loaded.settings)).map_err(|error| match error {
        LockError::Held { .. } => Failure::failed(format_args!(
            "{error}\n  a state directory can have only one service: stop the other one, or set state.dir and admin.socket"
        )),
        LockError::Refused { .. } => Failure::failed(error),
    })?;
    let log = &loaded.settings.log;
    let logging = Logging::to_stderr(log.level, log.format);
    logging.take_over();
    in_system(serve(sources, loaded, groups, &logging))?;
    Ok(())
}

/// The error when threads hang one after the other.
const EXHAUSTED: &str = "3 loops hung within an hour; the service exits with an error so that systemd or the kubelet restarts it, which \
     frees the hung threads. See the log for the loops that hung, and check the filesystems that they use";

/// Why the service could not start with these settings.
fn cannot(settings: &Settings) -> Option<String> {
    not_yet(settings).or_else(|| Groups::of(settings).err().map(|error| error.to_string()))
}

async fn serve(sources: Sources, loaded: Loaded, groups: Groups, logging: &Logging) -> Result<(), Failure> {
    let log = &logging.log;
    loaded.notes.iter().for_each(|note| warn!(log, "{}", note));
    let (mut stop, mut hangup) = (StopSignals::listen()?, signal(SignalKind::hangup())?);
    let (seams, threads) = (Seams::system(), Threads::own());
    let generation = Generation::first(loaded, seams.clock.now());
    let service = Service::start(Start {
        generation: Arc::clone(&generation),
        sources,
        cannot,
        seams,
        home: Home::store(&generation.settings),
        threads: threads.clone(),
        stagger: STAGGER,
        threshold: logging.threshold.clone(),
        log: log.clone(),
    })?;
    let settings = &generation.settings;
    let admin = match service.admin(settings, groups) {
        Ok(admin) => admin,
        Err(error) => {
            // Nothing has been removed yet: the first passes come a little later.
            service.stop();
            return Err(Failure::failed(error));
        }
    };
    match service.metrics(settings) {
        Ok(None) => {}
        Ok(Some(address)) => info!(log, "serving metrics"; "address" => %address),
        Err(error) => {
            admin.stop().await;
            service.stop();
            return Err(Failure::failed(error));
        }
    }
    info!(log, "started"; "version" => env!("CARGO_PKG_VERSION"), "commit" => env!("CRI_GC_COMMIT"), "endpoint" => settings.runtime.endpoint.as_str(),
        "pod_source" => settings.pods.source.as_str(),
        "config" => generation.file.as_ref().map(|file| file.display().to_string()));
    service.tools.recorder.record(Event::new(
        EventKind::Started,
        None,
        concat!("version ", env!("CARGO_PKG_VERSION")),
    ));
    notify(log, &[NotifyState::Ready]);
    let mut watchdog = Box::pin(watchdog(&service));
    let mut reloading = pin!(Fuse::terminated());
    let (mut exhausted, mut failed) = (pin!(threads.exhausted()), false);
    loop {
        tokio::select! {
            _ = stop.recv() => break,
            () = &mut exhausted => {
                error!(log, "{}", EXHAUSTED);
                failed = true;
                break;
            }
            () = &mut watchdog => {}
            _ = hangup.recv() => {
                let at = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                let micros = at.tv_sec.saturating_mul(1_000_000).saturating_add(at.tv_nsec / 1_000);
                notify(log, &[NotifyState::Reloading, NotifyState::MonotonicUsec(micros.into())]);
                // Concurrently with everything else: a file on a disk that hangs keeps no signal waiting.
                let configuration = service.configuration.clone();
                reloading.set(async move { configuration.reload(Cause::Signal, None).await }.fuse());
            }
            // The configuration actor has logged the result.
            _ = &mut reloading => notify(log, &[NotifyState::Ready]),
        }
    }
    drop(watchdog);
    info!(log, "stopping after the removals in progress");
    service.tools.recorder.record(Event::new(EventKind::Stopping, None, ""));
    notify(log, &[NotifyState::Stopping]);
    tokio::select! {
        () = async { futures_util::join!(service.finish(), admin.stop()); } => info!(log, "stopped"),
        _ = stop.recv() => warn!(log, "stopped at once by a second signal"),
    }
    service.stop();
    if failed { Err(Failure::failed(EXHAUSTED)) } else { Ok(()) }
}

/// Notifies the watchdog of systemd, where it is enabled, as long as the actors answer that must never hang. A loop that hangs
/// is restarted by its supervisor.
async fn watchdog(service: &Service) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        tokio::time::sleep(limit / 4).await;
        if tokio::time::timeout(limit / 4, service.is_alive()).await == Ok(true) {
            notify(&service.tools.log, &[NotifyState::Watchdog]);
        } else {
            warn!(service.tools.log, "an internal part of cri-gc does not answer; if that lasts, systemd restarts the service (WatchdogSec)";
                "limit" => cri_gc_kit::text::duration(limit));
        }
    }
}

/// Notifies systemd, if it manages the service.
fn notify(log: &Logger, state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(log, "could not notify systemd"; "error" => %error);
    }
}
