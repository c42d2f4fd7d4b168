//! `cri-gc run`: the service of a node, until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use cri_gc_config::{Settings, changed_keys};
use sd_notify::NotifyState;
use slog::{Logger, info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{in_system, not_yet, settings};
use crate::cli::Global;
use crate::failure::Failure;
use crate::logging::Logging;
use crate::wiring::{Crew, Seams};

/// Serves.
///
/// # Errors
/// A bad configuration, or an operating system that has no thread or signal left. A runtime that is away is no error:
/// the service waits for it.
pub fn run(global: &Global) -> Result<ExitCode, Failure> {
    let settings = settings(global)?.settings;
    if let Some(problem) = not_yet(&settings) {
        return Err(Failure::configuration(problem));
    }
    let logging = Logging::to_stderr(global.log_level.unwrap_or(settings.log.level), settings.log.format);
    in_system(serve(global, Arc::new(settings), &logging))?;
    Ok(ExitCode::SUCCESS)
}

/// The signals that end the service.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Somebody wants the service to end.
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn serve(global: &Global, first: Arc<Settings>, logging: &Logging) -> Result<(), Failure> {
    let log = &logging.log;
    let (mut stop, mut hangup) = (StopSignals::listen()?, signal(SignalKind::hangup())?);
    let crew = Crew::serve(Arc::clone(&first), Seams::system(), log.clone())?;
    info!(log, "started"; "version" => env!("CARGO_PKG_VERSION"), "endpoint" => first.runtime.endpoint.as_str(),
        "pods" => first.pods.source.as_str());
    tell(log, &[NotifyState::Ready]);
    let mut current = first;
    loop {
        tokio::select! {
            () = stop.recv() => break,
            _ = hangup.recv() => reload(global, &crew, logging, &mut current),
        }
    }
    info!(log, "stopping; removals under way end");
    tell(log, &[NotifyState::Stopping]);
    tokio::select! {
        () = crew.finish() => info!(log, "stopped"),
        () = stop.recv() => warn!(log, "stopped at once, by a second signal"),
    }
    crew.stop();
    Ok(())
}

/// Settings that are read once, at the start.
const AT_START: [&str; 5] =
    ["runtime.endpoint", "runtime.image_endpoint", "log_gc.workers", "log.format", "supervision."];

/// Reads the settings anew. Good ones go to every actor; bad ones change nothing.
fn reload(global: &Global, crew: &Crew, logging: &Logging, current: &mut Arc<Settings>) {
    let log = &logging.log;
    tell(log, &[NotifyState::Reloading]);
    let read = settings(global).map(|loaded| Arc::new(loaded.settings)).and_then(|settings| {
        not_yet(&settings).map_or(Ok(settings), |problem| Err(Failure::configuration(problem)))
    });
    match read {
        Ok(settings) => {
            let changed = changed_keys(current, &settings);
            let (late, now): (Vec<&str>, Vec<&str>) =
                changed.into_iter().partition(|key| AT_START.iter().any(|start| key.starts_with(start)));
            logging.set_level(global.log_level.unwrap_or(settings.log.level));
            crew.configure(&settings);
            info!(log, "configuration reloaded"; "changed" => now.join(", "));
            if !late.is_empty() {
                warn!(log, "these settings take effect at the next start only"; "settings" => late.join(", "));
            }
            *current = settings;
        }
        Err(failure) => {
            warn!(log, "the new configuration is refused, the old one holds: {}", failure.message());
        }
    }
    tell(log, &[NotifyState::Ready]);
}

/// Tells systemd, where it listens.
fn tell(log: &Logger, state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(log, "systemd could not be told"; "error" => %error);
    }
}
