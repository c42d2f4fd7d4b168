//! `cri-gc plan`: what would go now and why, on a runtime or on a snapshot.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use cri_gc_actors::image_records::Home;
use cri_gc_policy::images::unmatched;
use cri_gc_policy::{ImagePlan, Observation, PlanReport, Policy, Snapshot, decide};

use super::{crew, in_system, logging, look, settings, sync_pods};
use crate::cli::{self, Global};
use crate::failure::{Failure, PARTLY};
use crate::output::{self, remark, show};

/// Plans and prints.
///
/// # Errors
/// A bad configuration, a broken snapshot, no runtime.
pub fn run(global: &Global, args: &cli::Plan) -> Result<ExitCode, Failure> {
    let loaded = settings(global)?;
    let policy = loaded.settings.policy();
    let (observation, mut problems) = match &args.snapshot {
        Some(path) => (read_snapshot(path)?, Vec::new()),
        None => {
            let logging = logging(global);
            let home = Home::copy(&loaded.settings);
            in_system(async {
                let (crew, _) = crew(loaded.settings, home, args.source.confirm_deleted, &logging).await?;
                let problem = sync_pods(&crew).await;
                let whole = look(&crew).await;
                crew.stop();
                let whole = whole?;
                let unmatched = unmatched(&whole.observation.images, &policy.images);
                let notes = whole.verdict.notes.into_iter().chain(whole.verdict.report_only).chain(unmatched);
                notes.for_each(|note| remark(&format!("cri-gc: note: {note}")));
                let problems = problem.into_iter().chain(whole.problems.iter().map(ToString::to_string));
                Ok::<_, Failure>((whole.observation, problems.collect::<Vec<_>>()))
            })?
        }
    };
    let (report, images) = plan(&observation, &policy);
    problems.extend(images.problems.iter().map(ToString::to_string));
    show(args.output.output, &report, |report| output::plan::text(report, args.all))?;
    problems.iter().for_each(|problem| remark(&format!("cri-gc: {problem}")));
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

fn plan(observation: &Observation, policy: &Policy) -> (PlanReport, ImagePlan) {
    let plan = decide(observation, policy);
    (PlanReport::new(&plan, observation, policy), plan.images)
}

/// Reads a snapshot; what is wrong with it is told with line and column.
fn read_snapshot(path: &Path) -> Result<Observation, Failure> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::failed(format_args!("the snapshot {shown} cannot be read: {error}")))?;
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let snapshot: Snapshot = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = match error.path().to_string().as_str() {
            "." => String::new(),
            key => format!(" (in {key})"),
        };
        Failure::failed(format_args!(
            "the snapshot {shown} is broken{place}: {}\n  mend it there, or write a new one with `cri-gc snapshot`",
            error.inner()
        ))
    })?;
    deserializer.end().map_err(|error| {
        Failure::failed(format_args!(
            "the snapshot {shown} is broken: {error}\n  there must be one snapshot in a file"
        ))
    })?;
    Observation::try_from(snapshot)
        .map_err(|error| Failure::failed(format_args!("the snapshot {shown} cannot be planned on: {error}")))
}
