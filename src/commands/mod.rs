//! The subcommands, one file each, and what they share: reading the settings, a runtime to work with, and a service that
//! runs already.

pub mod completions;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod events;
pub mod explain;
pub mod import_kubelet;
pub mod log_level;
pub mod pause;
pub mod plan;
pub mod resume;
pub mod run;
pub mod run_now;
pub mod snapshot;
pub mod status;
pub mod sweep;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_collectors::whole::{self, Whole};
use cri_gc_config::{
    DEFAULT_PATH, FileSource, Loaded, LogFormat, LogLevel, PodSource, Settings, Sources, load,
};
use cri_gc_gateway::RuntimeVersion;
use cri_gc_images::Home;
use cri_gc_kit::words::Loop;
use cri_gc_pods::SourceError;

use crate::cli::{Cli, Command, Global, LoopName, Service};
use crate::client::{Client, DEADLINE};
use crate::failure::Failure;
use crate::logging::Logging;
use crate::wiring::{Crew, Seams};

/// The pause between the two readings of a source by a one-shot command (behaviour: Pod sources).
const BETWEEN_READINGS: Duration = Duration::from_secs(2);

/// Carries out what was typed.
///
/// # Errors
/// What went wrong, as a sentence with a remedy, and the exit code.
pub fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let global = cli.global;
    match cli.command {
        Command::Run => run::run(&global),
        Command::Plan(args) => plan::run(&global, &args),
        Command::Snapshot(args) => snapshot::run(&global, &args),
        Command::Sweep(args) => sweep::run(&global, &args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&global, &args),
        Command::Status(args) => status::run(&global, &args),
        Command::Explain(args) => explain::run(&global, &args),
        Command::RunNow(args) => run_now::run(&global, &args),
        Command::Pause(args) => pause::run(&global, &args),
        Command::Resume(args) => resume::run(&global, &args),
        Command::Events(args) => events::run(&global, &args),
        Command::Config(args) => config::run(&global, &args),
        Command::LogLevel(args) => log_level::run(&global, &args),
        Command::Completions(args) => completions::run(args.shell),
    }
}

/// The layers that the settings come from: defaults, file, environment, flags.
fn sources(global: &Global) -> Sources {
    let file = match &global.config {
        Some(path) => FileSource::Explicit(path.clone()),
        None => FileSource::Default(DEFAULT_PATH.into()),
    };
    // A variable that is no UTF-8 can't be one of ours.
    let env = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let mut overrides = global.set.clone();
    overrides.extend(global.endpoint.iter().map(|socket| ("runtime.endpoint".to_owned(), socket.clone())));
    Sources { file, env: env.collect(), overrides }
}

/// Reads the settings.
fn settings(global: &Global) -> Result<Loaded, Failure> {
    load(&sources(global)).map_err(Failure::configuration)
}

/// Connects to the service that is meant: the one named, else the one of the settings.
async fn service(global: &Global, service: &Service) -> Result<Client, Failure> {
    // Whoever writes `run-now --set image_gc.mode=report` must not get a pass that removes.
    let other = global.set.iter().map(|(key, _)| key.as_str()).find(|key| *key != "admin.socket");
    let other = other.or(global.endpoint.as_ref().map(|_| "runtime.endpoint"));
    if let Some(key) = other {
        return Err(Failure::usage(format_args!(
            "a running service has settings of its own, so {key} can't be set here\n  change its file and `cri-gc config \
             reload`; of the flags only --socket, --config and --set admin.socket=PATH matter here, to find it"
        )));
    }
    let socket = match &service.socket {
        Some(socket) => socket.strip_prefix("unix://").unwrap_or(socket).into(),
        None => settings(global).map_err(|bad| bad.or(UNREAD))?.settings.admin.socket,
    };
    let socket = std::path::absolute(&socket).map_err(|error| {
        Failure::usage(format_args!("--socket {:?} is no path: {error}", socket.display()))
    })?;
    Ok(Client::connect(&socket.to_string_lossy(), service.timeout.unwrap_or(DEADLINE)).await?)
}

/// What to do where bad settings do not tell the socket of a service that runs well with its old ones.
const UNREAD: &str = "a service that runs can be asked all the same: name its socket with --socket";

/// The names of loops as the service knows them, each once.
fn loops(names: &[LoopName]) -> Vec<String> {
    let mut loops: Vec<String> = Vec::new();
    for name in names {
        let name = Loop::from(*name).as_str().to_owned();
        if !loops.contains(&name) {
            loops.push(name);
        }
    }
    loops
}

/// The log of a one-shot command: for people, and errors only unless more is asked for.
fn logging(global: &Global) -> Logging {
    Logging::to_stderr(global.log_level.unwrap_or(LogLevel::Error), LogFormat::Term)
}

/// What the settings ask for that this program was built without.
fn not_yet(settings: &Settings) -> Option<String> {
    let is_missing = settings.pods.source == PodSource::KubeApi && !cfg!(feature = "kubernetes");
    is_missing.then(|| SourceError::NotBuiltIn.to_string())
}

/// Runs `work` in an actix system.
fn in_system<T>(work: impl Future<Output = T>) -> T {
    actix::System::new().block_on(work)
}

/// The actors of a one-shot command, with a runtime that has said what it is.
async fn crew(
    settings: Settings,
    home: Home,
    confirmed: bool,
    logging: &Logging,
) -> Result<(Crew, RuntimeVersion), Failure> {
    if let Some(problem) = not_yet(&settings) {
        return Err(Failure::configuration(problem));
    }
    let crew = Crew::start(Arc::new(settings), Seams::system(), home, confirmed, logging.log.clone())?;
    match crew.hello().await {
        Ok(version) => Ok((crew, version)),
        Err(error) => {
            let failure = Failure::runtime(crew.settings.runtime.endpoint.as_str(), &error);
            crew.stop();
            Err(failure)
        }
    }
}

/// Reads the pod source as often as it needs to prove anything. An error is no reason to do nothing: while the source is
/// not synced, nothing counts as deleted.
async fn sync_pods(crew: &Crew) -> Option<String> {
    if crew.settings.pods.source == PodSource::Runtime {
        return None;
    }
    if let Err(error) = crew.tools.pods.resync().await {
        return Some(error.to_string());
    }
    tokio::time::sleep(BETWEEN_READINGS).await;
    crew.tools.pods.resync().await.err().map(|error| error.to_string())
}

/// One look at the whole node, for `plan` and `snapshot`.
async fn look(crew: &Crew) -> Result<Whole, Failure> {
    whole::look(&crew.tools, &crew.settings)
        .await
        .map_err(|error| Failure::failed(format_args!("the node could not be observed: {error}")))
}
