//! `cri-gc run`: the service of a node, until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use cri_gc_config::Settings;
use sd_notify::NotifyState;
use slog::{Logger, info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{in_system, settings};
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
    loop {
        tokio::select! {
            () = stop.recv() => break,
            _ = hangup.recv() => reload(global, &crew, logging),
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

/// Reads the settings anew. Good ones go to every actor; bad ones change nothing.
fn reload(global: &Global, crew: &Crew, logging: &Logging) {
    let log = &logging.log;
    tell(log, &[NotifyState::Reloading]);
    match settings(global) {
        Ok(loaded) => {
            let settings = Arc::new(loaded.settings);
            logging.set_level(global.log_level.unwrap_or(settings.log.level));
            crew.configure(&settings);
            info!(log, "configuration reloaded");
        }
        Err(failure) => {
            warn!(log, "the new configuration is refused, the old one holds: {}", failure.message())
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
