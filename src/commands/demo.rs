//! `cri-gc demo`: sweeps an embedded, full node before the reader's eyes.

use std::process::ExitCode;
use std::sync::Arc;

use cri_gc_actors::collector::PassReport;
use cri_gc_config::{FileSource, Settings, Sources, load};

use super::sweep::sweep;
use super::{in_system, logging};
use crate::cli::{self, Global};
use crate::demo::{Demo, Tale};
use crate::failure::{Failure, PARTLY};
use crate::output::print;
use crate::wiring::Crew;

/// Starts the node, sweeps it, and tells what happened.
///
/// # Errors
/// No temporary folder, no thread, or a setting given with --set that is out of range.
pub fn run(global: &Global, args: &cli::Demo) -> Result<ExitCode, Failure> {
    let folder = tempfile::Builder::new().prefix("cri-gc-demo-").tempdir()?;
    let demo = Demo::start(folder.path()).map_err(Failure::failed)?;
    let settings = settings(&demo, global)?;
    let logging = logging(global);
    let reports = in_system(async {
        let crew = Crew::start(Arc::new(settings), demo.seams(), false, logging.log.clone())?;
        let told = tell(&demo, &crew, args.all).await;
        crew.stop();
        told
    })?;
    Ok(if reports.iter().all(PassReport::is_good) { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
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

/// The defaults, but for what names the embedded node; of the rest, `--set` sets here what it sets everywhere.
fn settings(demo: &Demo, global: &Global) -> Result<Settings, Failure> {
    let set = global.set.iter().map(|(key, _)| key.as_str());
    let set = set.chain(global.endpoint.iter().map(|_| "runtime.endpoint"));
    if let Some(key) = set.into_iter().find(|key| ITS_OWN.contains(key)) {
        return Err(Failure::configuration(format_args!(
            "demo sweeps a node of its own, so {key} can't be set\n  `cri-gc sweep` works on a node of yours"
        )));
    }
    let mut overrides = demo.overrides();
    overrides.extend(global.set.iter().cloned());
    let sources = Sources { file: FileSource::None, env: Vec::new(), overrides };
    load(&sources).map(|loaded| loaded.settings).map_err(Failure::configuration)
}
