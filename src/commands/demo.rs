//! `cri-gc demo`: cleans up an embedded node with a full disk, or shows the running service on it.

use std::io::IsTerminal;
use std::sync::Arc;

use cri_gc_collectors::report::PassReport;
use cri_gc_config::{FileSource, Loaded, LogLevel, Sources, load};
use cri_gc_images::Home;
use cri_gc_kit::generation::Generation;
use cri_gc_kit::seams::LogThreshold;
use cri_gc_kit::supervision::panics;
use cri_gc_kit::supervision::threads::Threads;
use slog::{Discard, Logger, o};

use super::setup::{in_system, logging, not_yet};
use super::sweep::sweep;
use crate::cli::{self, Global};
use crate::demo::node::DemoNode;
use crate::demo::report;
use crate::demo::watch::{LiveDemo, SETTINGS};
use crate::failure::Failure;
use crate::output::print;
use crate::signals::StopSignals;
use crate::wiring::{Crew, STAGGER, Service, Start};

/// Starts the node, and sweeps it or runs the service on it.
///
/// # Errors
/// No temporary folder, no thread, a setting given with --set that is not valid, or a signal that ends it.
pub fn run(global: &Global, args: &cli::Demo) -> Result<(), Failure> {
    let good = in_system(async {
        // Before there is a folder that a signal would leave behind.
        let mut stop = StopSignals::listen_on_terminal()?;
        let folder = tempfile::Builder::new().prefix("cri-gc-demo-").tempdir()?;
        let demo = DemoNode::start(folder.path()).map_err(Failure::failed)?;
        if args.watch {
            return watch(&demo, global, args, &mut stop).await;
        }
        tokio::select! {
            good = sweep_once(&demo, global, args.all) => good,
            _ = stop.recv() => Err(Failure::failed("the demo was ended by a signal")),
        }
    })?;
    Failure::partly_unless(good)
}

/// Sweeps the node. Returns whether nothing failed.
async fn sweep_once(demo: &DemoNode, global: &Global, all: bool) -> Result<bool, Failure> {
    let (loaded, _) = settings(demo, &[], global)?;
    let logging = logging(global);
    let crew =
        Crew::start(Arc::new(loaded.settings), demo.seams(), Home::Memory, false, logging.log.clone())?;
    let reports = sweep_and_print(demo, &crew, all).await;
    crew.stop();
    Ok(reports?.iter().all(PassReport::is_good))
}

async fn sweep_and_print(demo: &DemoNode, crew: &Crew, all: bool) -> Result<Vec<PassReport>, Failure> {
    let runtime = crew
        .hello()
        .await
        .map_err(|error| Failure::runtime(crew.settings.runtime.endpoint.as_str(), &error))?;
    demo.make_history(crew).await.map_err(Failure::failed)?;
    let before = demo.tally();
    print(report::opening(&runtime, &crew.settings, &before))?;
    let (reports, _) = sweep(crew).await?;
    print(report::removed(&reports, all))?;
    print(report::kept(&reports, all))?;
    print(report::result(&reports, &before, &demo.tally()))?;
    Ok(reports)
}

/// Runs the service on the node. Returns whether nothing failed that was not broken on purpose.
async fn watch(
    demo: &DemoNode,
    global: &Global,
    args: &cli::Demo,
    stop: &mut StopSignals,
) -> Result<bool, Failure> {
    let (loaded, sources) = settings(demo, SETTINGS, global)?;
    if let Some(problem) = not_yet(&loaded.settings) {
        return Err(Failure::configuration(problem));
    }
    // On a terminal the log would be written over the view, which shows the events anyway.
    let is_logged = global.log_level.is_some() && !std::io::stderr().is_terminal();
    let logging = is_logged.then(|| logging(global));
    let log = logging.as_ref().map_or_else(|| Logger::root(Discard, o!()), |logging| logging.log.clone());
    panics::install(log.clone());
    let mut watch = LiveDemo::new(demo, args).map_err(Failure::failed)?;
    let seams = watch.seams();
    let generation = Generation::first(loaded, seams.clock.now());
    let service = Service::start(Start {
        generation: Arc::clone(&generation),
        sources,
        cannot: not_yet,
        seams,
        home: Home::Memory,
        threads: Threads::own(),
        stagger: STAGGER,
        threshold: LogThreshold::new(LogLevel::Info),
        log,
    })?;
    let shown = watch.run(&service, &generation.settings, stop).await;
    service.stop();
    shown?;
    let summary = watch.summary();
    print(summary.text())?;
    Ok(summary.surprises().is_empty())
}

/// The settings that name the embedded node. Set to another node's, that node would be swept, and for real.
const OF_THE_NODE: [&str; 5] = [
    "runtime.endpoint",
    "runtime.image_endpoint",
    "pods.kubelet_root",
    "log_gc.pod_logs_root",
    "log_gc.legacy_container_logs_root",
];

/// The defaults, the settings that name the embedded node, those of `usual`, and then `--set`.
fn settings(demo: &DemoNode, usual: &[(&str, &str)], global: &Global) -> Result<(Loaded, Sources), Failure> {
    let set = global.set.iter().map(|(key, _)| key.as_str());
    let set = set.chain(global.endpoint.iter().map(|_| "runtime.endpoint"));
    if let Some(key) = set.into_iter().find(|key| OF_THE_NODE.contains(key)) {
        return Err(Failure::configuration(format_args!(
            "demo has a node of its own, so {key} can't be set\n  `cri-gc sweep` removes from your node"
        )));
    }
    let mut overrides = demo.overrides();
    overrides.extend(usual.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    overrides.extend(global.set.iter().cloned());
    let sources = Sources { file: FileSource::None, env: Vec::new(), overrides };
    load(&sources).map(|loaded| (loaded, sources)).map_err(Failure::configuration)
}
