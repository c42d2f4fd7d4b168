//! What several subcommands begin with: the settings, a runtime to work with, or a connection to a running service.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use cri_gc_collectors::whole::{self, Whole};
use cri_gc_config::{
    DEFAULT_PATH, FileSource, Loaded, LogFormat, LogLevel, PodSource, Settings, Sources, admin_socket, load,
};
use cri_gc_gateway::RuntimeVersion;
use cri_gc_images::Home;
use cri_gc_pods::SourceError;

use crate::cli::{Global, LoopName, Service};
use crate::client::{Client, DEADLINE};
use crate::failure::Failure;
use crate::logging::Logging;
use crate::output;
use crate::wiring::{Crew, Seams};

/// The pause between the two readings of a source by a one-shot command (behaviour: Pod sources).
const BETWEEN_READINGS: Duration = Duration::from_secs(2);

/// The layers that the settings come from: defaults, file, environment, flags.
pub fn sources(global: &Global) -> Sources {
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
pub fn settings(global: &Global) -> Result<Loaded, Failure> {
    load(&sources(global)).map_err(Failure::configuration)
}

/// Connects to the service: at the socket of the command line, else at that of the settings.
pub async fn service(global: &Global, service: &Service) -> Result<Client, Failure> {
    // `run-now --set image_gc.mode=report` must not start a pass that removes.
    let other = global.set.iter().map(|(key, _)| key.as_str()).find(|key| *key != "admin.socket");
    let other = other.or(global.endpoint.as_ref().map(|_| "runtime.endpoint"));
    if let Some(key) = other {
        return Err(Failure::usage(format_args!(
            "a running service has its own settings, so {key} can't be set here\n  change its file and run `cri-gc config \
             reload`; of the flags only --socket, --config and --set admin.socket=PATH are valid here, to find the service"
        )));
    }
    let socket = match &service.socket {
        Some(socket) => socket.strip_prefix("unix://").unwrap_or(socket).into(),
        None => match settings(global) {
            Ok(loaded) => loaded.settings.admin.socket,
            Err(bad) => {
                let Some(socket) = admin_socket(&sources(global)) else { return Err(bad.or(UNREAD)) };
                output::note(&bad.or(&format!("this asks the service at {}", socket.display())).message);
                socket
            }
        },
    };
    let socket = std::path::absolute(&socket).map_err(|error| {
        Failure::usage(format_args!("--socket {:?} is not a path: {error}", socket.display()))
    })?;
    Ok(Client::connect(&socket.to_string_lossy(), service.timeout.unwrap_or(DEADLINE)).await?)
}

/// The remedy where the file that names the socket of a service can't be read.
const UNREAD: &str = "a running service can still be reached: set its socket with --socket";

/// The names of loops as the service knows them, each once.
pub fn loops(names: &[LoopName]) -> Vec<String> {
    let mut loops: Vec<String> = Vec::new();
    for name in names.iter().filter_map(LoopName::to_possible_value) {
        if !loops.iter().any(|known| known == name.get_name()) {
            loops.push(name.get_name().to_owned());
        }
    }
    loops
}

/// The log of a one-shot command: for people, and errors only unless more is requested.
pub fn logging(global: &Global) -> Logging {
    Logging::to_stderr(global.log_level.unwrap_or(LogLevel::Error), LogFormat::Term)
}

/// What the settings need that this program was built without.
pub fn not_yet(settings: &Settings) -> Option<String> {
    let is_missing = settings.pods.source == PodSource::KubeApi && !cfg!(feature = "kubernetes");
    is_missing.then(|| SourceError::NotBuiltIn.to_string())
}

/// Runs `work` in an actix system.
pub fn in_system<T>(work: impl Future<Output = T>) -> T {
    actix::System::new().block_on(work)
}

/// The actors of a one-shot command, and the version of the runtime.
pub async fn crew(
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

/// Does that with the actors of a command that removes nothing, and ends them.
pub fn on_crew<T>(
    global: &Global,
    settings: Settings,
    confirmed: bool,
    work: impl AsyncFnOnce(&Crew, RuntimeVersion) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (logging, home) = (logging(global), Home::copy(&settings));
    in_system(async {
        let (crew, version) = crew(settings, home, confirmed, &logging).await?;
        let done = work(&crew, version).await;
        crew.stop();
        done
    })
}

/// Reads the pod source twice, as confirmed deletion needs. An error does not end the command: while the source is not
/// synced, no pod counts as deleted.
pub async fn sync_pods(crew: &Crew) -> Option<String> {
    if crew.settings.pods.source == PodSource::Runtime {
        return None;
    }
    if let Err(error) = crew.tools.pods.resync().await {
        return Some(error.to_string());
    }
    tokio::time::sleep(BETWEEN_READINGS).await;
    crew.tools.pods.resync().await.err().map(|error| error.to_string())
}

/// Observes the whole node, for `plan` and `snapshot`.
pub async fn observe_node(crew: &Crew) -> Result<Whole, Failure> {
    whole::look(&crew.tools, &crew.settings)
        .await
        .map_err(|error| Failure::failed(format_args!("could not observe the node: {error}")))
}
