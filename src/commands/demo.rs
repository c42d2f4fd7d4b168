//! `cri-gc demo`: sweeps an embedded, full node before the reader's eyes, or shows the service at work on one.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use cri_gc_collectors::report::PassReport;
use cri_gc_config::{FileSource, Loaded, Sources, load};
use cri_gc_images::Home;
use cri_gc_kit::supervision::panics;
use slog::{Drain, Duplicate, Logger, o};

use super::sweep::sweep;
use super::{in_system, logging, not_yet};
use crate::cli::{self, Global};
use crate::demo::watch::uncaught::Uncaught;
use crate::demo::watch::{SETTINGS, Watch};
use crate::demo::{Demo, Tale};
use crate::failure::{Failure, PARTLY};
use crate::output::print;
use crate::signals::StopSignals;
use crate::wiring::Crew;

/// Starts the node, sweeps it or watches the service at work on it, and tells what happened.
///
/// # Errors
/// No temporary folder, no thread, a setting given with --set that is out of range, or a signal that ends it.
pub fn run(global: &Global, args: &cli::Demo) -> Result<ExitCode, Failure> {
    let good = in_system(async {
        // Listened to before there is a folder that a signal would leave behind.
        let mut stop = StopSignals::listen_on_terminal()?;
        let folder = tempfile::Builder::new().prefix("cri-gc-demo-").tempdir()?;
        let demo = Demo::start(folder.path()).map_err(Failure::failed)?;
        if args.watch {
            return watch(&demo, global, args, &mut stop).await;
        }
        tokio::select! {
            good = sweep_it(&demo, global, args.all) => good,
            _ = stop.recv() => Err(Failure::failed("the demo was ended by a signal")),
        }
    })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

/// Sweeps it. Whether all of it was good.
async fn sweep_it(demo: &Demo, global: &Global, all: bool) -> Result<bool, Failure> {
    let (loaded, _) = settings(demo, &[], global)?;
    let logging = logging(global);
    let crew =
        Crew::start(Arc::new(loaded.settings), demo.seams(), Home::Memory, false, logging.log.clone())?;
    let told = tell(demo, &crew, all).await;
    crew.stop();
    Ok(told?.iter().all(PassReport::is_good))
}

/// Watches the service at work on it. Whether nothing went wrong by itself.
async fn watch(
    demo: &Demo,
    global: &Global,
    args: &cli::Demo,
    stop: &mut StopSignals,
) -> Result<bool, Failure> {
    let (loaded, sources) = settings(demo, SETTINGS, global)?;
    if let Some(problem) = not_yet(&loaded.settings) {
        return Err(Failure::configuration(problem));
    }
    let uncaught = Uncaught::default();
    let _told = uncaught.told_at_the_end();
    // On a terminal the log would be written over the view, which shows the events anyway.
    let asked_for = global.log_level.is_some() && !std::io::stderr().is_terminal();
    let logging = asked_for.then(|| logging(global));
    let log = match &logging {
        Some(logging) => Logger::root(Duplicate(logging.log.clone(), uncaught.clone()).fuse(), o!()),
        None => Logger::root(uncaught.clone().fuse(), o!()),
    };
    panics::install(log.clone());
    let (breaks, length) = (args.breaks.as_slice(), args.length);
    Watch { demo, loaded, sources, cannot: not_yet, breaks, length, log, uncaught }.run(stop).await
}

async fn tell(demo: &Demo, crew: &Crew, all: bool) -> Result<Vec<PassReport>, Failure> {
    let runtime = crew
        .hello()
        .await
        .map_err(|error| Failure::runtime(crew.settings.runtime.endpoint.as_str(), &error))?;
    demo.live_its_past(crew).await.map_err(Failure::failed)?;
    let tale = Tale { demo, all, settings: &crew.settings };
    let before = demo.tally();
    print(&tale.opening(&runtime, &before))?;
    let (reports, _) = sweep(crew, &None).await?;
    print(&tale.removed(&reports))?;
    print(&tale.kept(&reports))?;
    print(&tale.ending(&reports, &before, &demo.tally()))?;
    Ok(reports)
}

/// What names the embedded node. Were one of these set to another place, that place would be swept, and in earnest.
const ITS_OWN: [&str; 5] = [
    "runtime.endpoint",
    "runtime.image_endpoint",
    "pods.kubelet_root",
    "log_gc.pod_logs_root",
    "log_gc.legacy_container_logs_root",
];

/// The defaults, but for what names the embedded node and what `usual` says; of the rest, `--set` sets here what it sets
/// everywhere.
fn settings(demo: &Demo, usual: &[(&str, &str)], global: &Global) -> Result<(Loaded, Sources), Failure> {
    let set = global.set.iter().map(|(key, _)| key.as_str());
    let set = set.chain(global.endpoint.iter().map(|_| "runtime.endpoint"));
    if let Some(key) = set.into_iter().find(|key| ITS_OWN.contains(key)) {
        return Err(Failure::configuration(format_args!(
            "demo sweeps a node of its own, so {key} can't be set\n  `cri-gc sweep` works on a node of yours"
        )));
    }
    let mut overrides = demo.overrides();
    overrides.extend(usual.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    overrides.extend(global.set.iter().cloned());
    let sources = Sources { file: FileSource::None, env: Vec::new(), overrides };
    load(&sources).map(|loaded| (loaded, sources)).map_err(Failure::configuration)
}
