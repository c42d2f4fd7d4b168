//! `cri-gc snapshot`: writes an observation of the node.

use cri_gc_collectors::report::PassError;
use cri_gc_collectors::whole::Whole;
use cri_gc_collectors::{observe, planning};
use cri_gc_policy::{Observation, Snapshot};

use super::setup::{observe_node, on_crew, settings, sync_pods};
use crate::cli::{self, DataForm, Global};
use crate::failure::Failure;
use crate::output::{error, json, print, yaml};
use crate::wiring::Crew;

/// Observes and prints.
///
/// # Errors
/// An invalid configuration, no runtime, a list that failed.
pub fn run(global: &Global, args: &cli::Snapshot) -> Result<(), Failure> {
    let settings = settings(global)?.settings;
    let confirmed = args.source.confirm_deleted;
    let (snapshot, problems) = on_crew(global, settings, confirmed, async |crew, runtime| {
        let problem = sync_pods(crew).await;
        let (observation, problems) = observe_all(crew).await?;
        let problems: Vec<String> =
            problem.into_iter().chain(problems.iter().map(ToString::to_string)).collect();
        Ok((Snapshot::new(observation, runtime.name, runtime.version), problems))
    })?;
    print(match args.output {
        DataForm::Json => json(&snapshot)?,
        DataForm::Yaml => yaml(&snapshot)?,
    })?;
    problems.iter().for_each(|problem| error(problem));
    Failure::partly_unless(problems.is_empty())
}

/// Observes the node, also the finish times of containers that would be removed, so that a plan on the snapshot keeps what has
/// finished a moment ago, as a plan on the node does.
async fn observe_all(crew: &Crew) -> Result<(Observation, Vec<PassError>), Failure> {
    let Whole { mut observation, mut problems, verdict, .. } = observe_node(crew).await?;
    let policy = crew.settings.policy();
    problems.extend(planning::finish_times(&crew.tools, &mut observation, &policy, &verdict.finished).await);
    // A plan on the snapshot can't ask the containers any more.
    if let Err(error) = observe::image_volumes(&crew.tools, &mut observation).await {
        problems.push(error.into());
    }
    Ok((observation, problems))
}
