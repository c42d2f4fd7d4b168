//! Plans of which a sweep removes just what they list (behaviour: Plans): what a plan of this moment needs besides an observation.
//!
//! A list does not report when a container finished, so a pass decides without it, and the check right before a removal
//! refuses what finished a moment ago. Code that only reports what would be removed asks for it beforehand. And what follows from
//! a plan's removals depends on which loops remove, and in a dry run on what the passes before would have removed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::{Mode, Settings};
use cri_gc_policy::containers::{self, Status};
use cri_gc_policy::follow::Removed;
use cri_gc_policy::images;
use cri_gc_policy::{
    Container, ContainerState, Enforcing, ImagePlan, ImagePolicy, Now, Observation, Plan, PlanReport,
    PodTable, Policy, Section, complete,
};
use ecow::EcoString;
use tokio::time::Instant;

use crate::observe;
use crate::report::{PassError, PassReport};
use crate::tools::Tools;
use cri_gc_files::root::Root;
use cri_gc_files::tree;
use cri_gc_gateway::{CriError, ErrorClass};
use cri_gc_kit::words::{Kind, Loop};
use cri_gc_pods::{FinishTimes, Verdict};

/// How long all questions of one plan may take; what was not answered by then counts as not readable.
const ASK_WITHIN: Duration = Duration::from_secs(60);

/// Statuses that are asked for with one message: what was answered is not kept for all of 100,000 containers.
const AT_A_TIME: usize = 2_000;

/// Keeps what the check right before its removal would refuse: asks the runtime for the status of each container that the
/// section removes, except those of which enough is `known`. Returns what could not be read; those containers are kept.
pub async fn settle(
    tools: &Tools,
    observation: &Observation,
    section: &mut Section,
    policy: &Policy,
    known: impl Fn(&Container) -> Option<Status>,
) -> Option<PassError> {
    // What has ended never runs again.
    let known =
        |container: &Container| known(container).filter(|status| status.state == ContainerState::Exited);
    let (asked, problem) = ask(tools, observation, section, |container| known(container).is_some()).await;
    let now = Now { at: tools.clock.now(), clock_set: observation.clock_set };
    let status = |index: usize| match asked.get(&index) {
        Some(status) => Some(*status),
        None => known(observation.containers.get(index)?),
    };
    containers::settle(section, &observation.containers, status, &policy.containers, now);
    problem
}

/// Whether a list says enough of a container that is dead for long enough: where its log is, only a kubelet's labels show.
pub fn is_of_kubelet(container: &Container) -> bool {
    !container.pod_uid.is_empty()
}

/// What is known of the containers whose finish times these are.
fn by_times(finished: &FinishTimes) -> impl Fn(&Container) -> Option<Status> {
    |container| {
        let finished_at = Some(finished.get(&container.id).copied().flatten()?);
        Some(Status { finished_at, ..Status::listed(container) })
    }
}

/// The statuses of the containers that a section removes and that are not known, by position, and why some could not be read.
async fn ask(
    tools: &Tools,
    observation: &Observation,
    section: &Section,
    is_known: impl Fn(&Container) -> bool,
) -> (HashMap<usize, Status>, Option<PassError>) {
    let mut statuses = HashMap::new();
    let removed = section
        .remove
        .iter()
        .filter_map(|decision| Some((decision.index, observation.containers.get(decision.index)?)));
    let unknown = removed.filter(|(_, container)| !is_known(container));
    let (positions, ids): (Vec<usize>, Vec<EcoString>) =
        unknown.map(|(position, container)| (position, container.id.clone())).unzip();
    let until = Instant::now() + ASK_WITHIN;
    let (mut asked, mut unread, mut first) = (0, 0, None);
    for (chunk, ids) in positions.chunks(AT_A_TIME).zip(ids.chunks(AT_A_TIME)) {
        let (answers, failed_before) = (tools.gateway.statuses(ids.to_vec(), until).await, unread);
        for (position, answer) in chunk.iter().zip(answers) {
            match answer {
                Ok(facts) => drop(statuses.insert(*position, facts.status)),
                // Another program removed it since it was listed: the plan leaves it out, and nothing is wrong.
                Err(error) if error.class == ErrorClass::NotFound => {}
                Err(error) => {
                    unread += 1;
                    first.get_or_insert(error);
                }
            }
        }
        asked += chunk.len();
        if unread - failed_before == chunk.len() {
            // The others would not be answered either.
            unread += positions.len() - asked;
            break;
        }
    }
    (statuses, first.map(|error| PassError::Statuses { unread, error }))
}

/// The plan of this moment for a live node, and what it could not take into account.
pub async fn plan(
    tools: &Tools,
    observation: &mut Observation,
    finished: &FinishTimes,
    policy: &Policy,
    enforcing: Enforcing,
) -> (Plan, Vec<PassError>) {
    let mut section = containers::decide(observation, &PodTable::new(observation), policy);
    // Where any container is dead for long enough, no finish time is needed.
    let any_time = policy.containers.min_dead_age.is_zero();
    let by_times = by_times(finished);
    let known = |container: &Container| match any_time && is_of_kubelet(container) {
        true => Some(Status::listed(container)),
        false => by_times(container),
    };
    let mut problems: Vec<PassError> =
        settle(tools, observation, &mut section, policy, known).await.into_iter().collect();
    let complete = |observation: &Observation, section: Section| {
        complete(observation, &PodTable::new(observation), policy, section, enforcing)
    };
    let (plan, unread) = with_image_volumes(
        tools,
        observation,
        |observation| complete(observation, section.clone()),
        |plan| &plan.images.section,
    )
    .await;
    problems.extend(unread.map(PassError::from));
    (plan, problems)
}

/// The plan for the images of a live node, and what could not be read of them.
pub async fn images(
    tools: &Tools,
    observation: &mut Observation,
    policy: &ImagePolicy,
) -> (ImagePlan, Option<CriError>) {
    let decide = |observation: &Observation| images::decide(observation, &PodTable::new(observation), policy);
    with_image_volumes(tools, observation, decide, |plan| &plan.section).await
}

/// Decides, and where images would be removed by that, reads which images are mounted into containers, and decides once more.
/// Returns why they could not be read: then no image is removed.
pub async fn with_image_volumes<P>(
    tools: &Tools,
    observation: &mut Observation,
    decide: impl Fn(&Observation) -> P,
    images: impl FnOnce(&P) -> &Section,
) -> (P, Option<CriError>) {
    let plan = decide(observation);
    if !images(&plan).removes_any() {
        return (plan, None);
    }
    let unread = observe::image_volumes(tools, observation).await.err();
    (decide(observation), unread)
}

/// The same in words, with the sizes of log directories as far as they can be measured in time.
pub async fn report(
    tools: &Tools,
    settings: &Settings,
    plan: &Plan,
    observation: &Observation,
) -> PlanReport {
    let mut report = PlanReport::new(plan, observation, &settings.policy());
    let section = &report.log_dirs;
    let names: Vec<String> =
        section.remove.iter().chain(&section.follow).map(|item| item.id.to_string()).collect();
    if !names.is_empty() {
        let root = settings.log_gc.pod_logs_root.clone();
        let measured = tools.files.run_within(observe::SCAN_WITHIN, move || {
            let root = Root::open(&root).ok().flatten()?;
            let size = |name: String| Some((tree::measure(&root, &name).ok()??, name));
            Some(names.into_iter().filter_map(size).map(|(size, name)| (name, size)).collect())
        });
        // Sizes are reported where they are known; a plan is made without them, too.
        let sizes: HashMap<String, u64> = measured.await.ok().flatten().unwrap_or_default();
        report.log_dirs.measured(|name| sizes.get(name).copied());
    }
    report
}

/// Fills in when containers finished that would be removed, for a snapshot to be planned on. Returns what could not be
/// read.
pub async fn finish_times(
    tools: &Tools,
    observation: &mut Observation,
    policy: &Policy,
    finished: &FinishTimes,
) -> Option<PassError> {
    let section = containers::decide(observation, &PodTable::new(observation), policy);
    let known = |container: &Container| match container.state {
        ContainerState::Exited => finished.get(&container.id).copied().flatten(),
        _ => None,
    };
    let (asked, problem) = ask(tools, observation, &section, |container| known(container).is_some()).await;
    let containers = Arc::make_mut(&mut observation.containers);
    for index in section.remove.iter().map(|decision| decision.index) {
        if let Some(container) = containers.get_mut(index) {
            let of_asked = asked.get(&index).and_then(|status| status.finished_at);
            Arc::make_mut(container).finished_at = of_asked.or_else(|| known(container));
        }
    }
    problem
}

/// Which loops remove what they plan, by the settings and by what the pod-state provider says.
#[must_use]
pub fn enforcing(settings: &Settings, verdict: &Verdict) -> Enforcing {
    let enforces = |of: Loop| of.mode(settings) == Mode::Enforce && verdict.report_only.is_none();
    Enforcing { containers: enforces(Loop::ContainerGc), sandboxes: enforces(Loop::SandboxGc) }
}

/// What the passes of a dry run before this one would have removed, by kind and id. For every other pass it is empty: that pass
/// sees what earlier ones left.
#[derive(Debug, Clone, Default)]
pub struct Foreseen(HashSet<(Kind, EcoString)>);

impl Foreseen {
    /// Adds what a pass would have removed.
    pub fn add(&mut self, report: &PassReport) {
        let removals = report.removals.iter().chain(&report.follow);
        self.0.extend(removals.map(|removal| (removal.kind, removal.id.clone())));
    }

    /// The same by position in an observation.
    #[must_use]
    pub fn of(&self, observation: &Observation) -> Removed {
        if self.0.is_empty() {
            return Removed::default();
        }
        let is_removed = |kind: Kind, id: &str| self.0.contains(&(kind, id.into()));
        let (containers, sandboxes) = (&observation.containers, &observation.sandboxes);
        Removed {
            containers: (0..)
                .zip(containers.iter())
                .filter(|(_, c)| is_removed(Kind::Container, &c.id))
                .map(|(at, _)| at)
                .collect(),
            sandboxes: (0..)
                .zip(sandboxes.iter())
                .filter(|(_, s)| is_removed(Kind::Sandbox, &s.id))
                .map(|(at, _)| at)
                .collect(),
        }
    }
}
