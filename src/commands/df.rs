//! `cri-gc df`: what uses the disk of this node, and what of it the next pass would free.

use cri_gc_collectors::usage::{self, Found};
use cri_gc_policy::Usage;

use super::plan::{Planned, modes, note, plan_node, write_incomplete};
use super::setup::{on_crew, settings};
use crate::cli::{self, Global};
use crate::failure::Failure;
use crate::output::fit::Fit;
use crate::output::{self, show_by};
use crate::wiring::Crew;

/// Observes, adds up and prints.
///
/// # Errors
/// An invalid configuration, no runtime.
pub fn run(global: &Global, args: &cli::Df) -> Result<(), Failure> {
    let (settings, confirmed) = (settings(global)?.settings, args.source.confirm_deleted);
    let (usage, problems) = on_crew(global, settings, confirmed, async |crew, _| find(crew).await)?;
    show_by(args.output.output.into(), &usage, |usage, out| {
        if !problems.is_empty() {
            write_incomplete(out)?;
        }
        output::df::write(usage, args.verbose, Fit::of(args.output.output), out)
    })?;
    problems.iter().for_each(|problem| output::error(problem));
    Failure::partly_unless(problems.is_empty())
}

/// What uses the disk, and what could not be observed.
async fn find(crew: &Crew) -> Result<(Usage, Vec<String>), Failure> {
    let Planned { observation, plan, places, notes, mut problems, .. } =
        plan_node(crew, &crew.settings.policy()).await?;
    let Found { usage, notes: unreported, problems: unknown } =
        usage::find(&crew.tools, &crew.settings, &plan, &observation, places.as_ref()).await;
    note(notes.into_iter().chain(unreported).chain(modes(&plan, &crew.settings)));
    problems.extend(unknown.iter().map(ToString::to_string));
    Ok((usage, problems))
}
