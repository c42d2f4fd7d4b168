//! `cri-gc plan`: what would be removed now and why, on a runtime or on a snapshot.

use cri_gc_collectors::planning;
use cri_gc_collectors::whole::Whole;
use cri_gc_config::{Mode, Settings};
use cri_gc_gateway::FsPlaces;
use cri_gc_kit::words::Loop;
use cri_gc_policy::images::unmatched;
use cri_gc_policy::snapshot::{self, SnapshotError};
use cri_gc_policy::{Kind, Observation, Plan, PlanReport, Policy, Snapshot, decide};
use std::io::{self, Read};
use std::path::Path;

use super::selection::Selection;
use super::setup::{observe_node, on_crew, settings, sync_pods};
use crate::cli::{self, Form, Global, PlanForm};
use crate::failure::Failure;
use crate::output::fit::Fit;
use crate::output::plan::{Extent, View};
use crate::output::text::{Paint, Style};
use crate::output::{self, show_by};
use crate::wiring::Crew;

/// Plans and prints.
///
/// # Errors
/// An invalid configuration, an invalid snapshot, no runtime.
pub fn run(global: &Global, args: &cli::Plan) -> Result<(), Failure> {
    if args.snapshot.is_some() {
        refuse_what_a_snapshot_has(global, args)?;
    }
    let loaded = settings(global)?;
    let policy = loaded.settings.policy();
    let (mut report, problems) = match &args.snapshot {
        Some(path) => {
            let observation = read_snapshot(path)?;
            let plan = decide(&observation, &policy);
            note(unmatched(&observation.images, &policy.images));
            (PlanReport::new(&plan, &observation, &policy), of_images(&plan).collect())
        }
        None => {
            let confirmed = args.source.confirm_deleted;
            on_crew(global, loaded.settings, confirmed, async |crew, _| plan(crew, &policy).await)?
        }
    };
    let selection = Selection::of(args);
    selection.apply(&mut report);
    let (form, fit) = match args.output {
        PlanForm::Table => (Form::Table, Fit::of_stdout()),
        PlanForm::Wide => (Form::Table, Fit::Whole),
        PlanForm::Name => (Form::Table, Fit::Any),
        PlanForm::Json => (Form::Json, Fit::Any),
        PlanForm::Yaml => (Form::Yaml, Fit::Any),
    };
    // Of a reason to keep objects nothing else would be listed.
    let extent = match (args.all || fit == Fit::Whole, selection.is_by_reason(), fit) {
        (true, ..) => Extent::AllAndKept,
        // A person reads it: 100,000 rows would hide the rest.
        (false, false, Fit::Columns(_)) => Extent::Examples,
        (false, true, Fit::Columns(_)) => Extent::ExamplesAndKept,
        (false, false, _) => Extent::Removed,
        (false, true, _) => Extent::AllAndKept,
    };
    let (kinds, only) = (selection.kinds(), selection.words());
    show_by(form, &report, |report, out| {
        if args.output == PlanForm::Name {
            return output::plan::write_names(report, out);
        }
        if !problems.is_empty() {
            write_incomplete(out)?;
        }
        let view = View { extent, fit, kinds: &kinds, only: only.as_deref() };
        output::plan::write(report, view, out)
    })?;
    problems.iter().for_each(|problem| output::error(problem));
    Failure::partly_unless(problems.is_empty())
}

/// Refuses flags that say how a node is observed: a snapshot was taken before.
fn refuse_what_a_snapshot_has(global: &Global, args: &cli::Plan) -> Result<(), Failure> {
    let useless = match (&global.endpoint, args.source.confirm_deleted) {
        (Some(_), _) => "--endpoint",
        (None, true) => "--confirm-deleted",
        (None, false) => return Ok(()),
    };
    Err(Failure::usage(format_args!(
        "{useless} has no effect on a snapshot, which contains the objects of a node and the states of its pods\n  use it with \
         `cri-gc snapshot`, when the snapshot is taken"
    )))
}

/// The plan for the node, and what could not be observed or decided.
async fn plan(crew: &Crew, policy: &Policy) -> Result<(PlanReport, Vec<String>), Failure> {
    let Planned { observation, plan, notes, problems, unseen, .. } = plan_node(crew, policy).await?;
    let mut report = planning::report(&crew.tools, &crew.settings, &plan, &observation).await;
    note(notes.into_iter().chain(modes(&plan, &crew.settings)));
    report.unseen = unseen;
    Ok((report, problems))
}

/// Writes what a table begins with where something is missing from it.
///
/// # Errors
/// The error of `out`.
pub(super) fn write_incomplete(out: &mut dyn Paint) -> io::Result<()> {
    out.paint(Style::Bad, "INCOMPLETE:")?;
    writeln!(out, " not everything could be observed or decided; see the errors below.\n")
}

/// A plan for the node, and what it was made of.
pub(super) struct Planned {
    pub observation: Observation,
    pub plan: Plan,
    /// Where images and containers lie, if the runtime reports it.
    pub places: Option<FsPlaces>,
    /// What the operator should know of the pod source and the settings.
    pub notes: Vec<String>,
    /// What could not be observed or decided.
    pub problems: Vec<String>,
    /// The kinds of objects that could not be listed.
    pub unseen: Vec<Kind>,
}

/// Observes the node and decides.
pub(super) async fn plan_node(crew: &Crew, policy: &Policy) -> Result<Planned, Failure> {
    let problem = sync_pods(crew).await;
    let Whole { mut observation, verdict, places, problems, unseen } = observe_node(crew).await?;
    let enforcing = planning::enforcing(&crew.settings, &verdict);
    let (plan, unread) =
        planning::plan(&crew.tools, &mut observation, &verdict.finished, policy, enforcing).await;
    let unmatched = unmatched(&observation.images, &policy.images);
    let notes =
        verdict.notes.into_iter().chain(verdict.report_only).chain(verdict.images_unknown).chain(unmatched);
    let problems = problems.iter().chain(&unread).map(ToString::to_string);
    let problems = problem.into_iter().chain(problems).chain(of_images(&plan)).collect();
    Ok(Planned { notes: notes.collect(), observation, plan, places, problems, unseen })
}

pub(super) fn note(notes: impl IntoIterator<Item = String>) {
    notes.into_iter().for_each(|note| output::note(&note));
}

fn of_images(plan: &Plan) -> impl Iterator<Item = String> {
    plan.images.problems.iter().map(ToString::to_string)
}

/// Names the loops that do not remove what is planned for them.
pub(super) fn modes(plan: &Plan, settings: &Settings) -> impl Iterator<Item = String> {
    let sections = [
        (Loop::ContainerGc, &plan.containers),
        (Loop::SandboxGc, &plan.sandboxes),
        (Loop::LogGc, &plan.log_dirs),
        (Loop::ImageGc, &plan.images.section),
    ];
    let planned = sections.into_iter().filter(|(_, section)| section.remove.len() + section.follow.len() > 0);
    let idle = planned.map(|(of, _)| (of, of.mode(settings))).filter(|(_, mode)| *mode != Mode::Enforce);
    idle.map(|(of, mode)| {
        format!("{of}.mode is \"{}\", so a sweep removes nothing of that kind", mode.as_str())
    })
    .collect::<Vec<_>>()
    .into_iter()
}

/// Whether a text is a snapshot of the version that this program reads, or none at all.
fn check_version(text: &str) -> Result<(), SnapshotError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    match serde_json::from_str::<Versioned>(text) {
        Ok(Versioned { version }) if version != snapshot::VERSION => {
            Err(SnapshotError::Version { found: version })
        }
        _ => Ok(()),
    }
}

/// Reads a snapshot; errors have line and column.
fn read_snapshot(path: &Path) -> Result<Observation, Failure> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::failed(format_args!("could not read the snapshot {shown}: {error}")))?;
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let snapshot: Snapshot = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // The form of another version may be different.
        if let Err(other) = check_version(&text) {
            return Failure::failed(format_args!("could not plan on the snapshot {shown}: {other}"));
        }
        let place = match error.path().to_string().as_str() {
            "." | "?" => String::new(),
            key => format!(" (in {key})"),
        };
        let why = match error.inner() {
            inner if text.trim().is_empty() => format!("it is empty ({inner})"),
            inner if inner.is_eof() => format!("it is cut off ({inner})"),
            inner => inner.to_string(),
        };
        Failure::failed(format_args!(
            "the snapshot {shown} is invalid{place}: {why}\n  fix it there, or write a new one with `cri-gc snapshot`"
        ))
    })?;
    deserializer.end().map_err(|error| {
        Failure::failed(format_args!(
            "the snapshot {shown} is invalid: {error}\n  a file must contain exactly one snapshot"
        ))
    })?;
    Observation::try_from(snapshot)
        .map_err(|error| Failure::failed(format_args!("could not plan on the snapshot {shown}: {error}")))
}
