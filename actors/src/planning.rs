//! Plans that come true (spec 10): what a plan of this moment needs beside an observation.
//!
//! A list does not report when a container finished, so a pass decides without it, and the check right before a removal
//! refuses what finished a moment ago. Whoever only says what would be removed asks for it beforehand. And what follows from
//! a plan's removals depends on which loops remove, and in a dry run on what the passes before would have removed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cri_gc_config::{Mode, Settings};
use cri_gc_policy::containers::{self, Status};
use cri_gc_policy::follow::Removed;
use cri_gc_policy::{
    Enforcing, ImagePlan, ImagePolicy, Now, Observation, Plan, PodTable, Policy, Section, complete,
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::collector::{Kind, Loop, PassError, PassReport, Tools};
use crate::gateway::calls::ContainerStatus;
use crate::gateway::{ContainerFacts, CriError, ErrorClass};
use crate::observe;
use crate::pod_state::Verdict;

/// Questions in flight: as many as the gateway sends at a time.
const PARALLEL: usize = 32;

/// How long all questions of one plan may take; what was not answered by then counts as not readable.
const ASK_WITHIN: Duration = Duration::from_secs(60);

impl From<&ContainerFacts> for Status {
    fn from(facts: &ContainerFacts) -> Self {
        Self { state: facts.state, created_at: facts.created_at, finished_at: facts.finished_at }
    }
}

/// Keeps what the check right before its removal would refuse: asks the runtime for the status of each container that the
/// section removes. Gives back what could not be read; those containers are kept.
pub async fn settle(
    tools: &Tools,
    observation: &Observation,
    section: &mut Section,
    policy: &Policy,
) -> Option<PassError> {
    let wanted: Vec<(usize, String)> = section
        .remove
        .iter()
        .filter_map(|decision| {
            let container = observation.containers.get(decision.index)?;
            Some((decision.index, container.id.clone()))
        })
        .collect();
    let (statuses, failures) = ask(tools, wanted).await;
    let now = Now { at: tools.clock.now(), clock_set: observation.clock_set };
    let status = |index: usize| statuses.get(&index).copied();
    containers::settle(section, &observation.containers, status, &policy.containers, now);
    failures
}

/// The statuses of these containers, and why some could not be read.
async fn ask(tools: &Tools, wanted: Vec<(usize, String)>) -> (HashMap<usize, Status>, Option<PassError>) {
    let count = wanted.len();
    let mut statuses = HashMap::with_capacity(count);
    let (mut gone, mut first_error) = (0, None::<CriError>);
    let mut answers = futures_util::stream::iter(wanted)
        .map(|(index, id)| async move { (index, tools.gateway.call(ContainerStatus { id }).await) })
        .buffer_unordered(PARALLEL);
    let until = Instant::now() + ASK_WITHIN;
    while let Ok(Some((index, answer))) = timeout_at(until, answers.next()).await {
        match answer {
            Ok(facts) => drop(statuses.insert(index, Status::from(&facts))),
            // Somebody removed it since it was listed. It is kept from this plan, and nothing is wrong.
            Err(error) if error.class == ErrorClass::NotFound => gone += 1,
            Err(error) => {
                // Where nobody answers in time, the others would be waited for as well.
                let is_last = error.is_away() || error.class == ErrorClass::DeadlineExceeded;
                first_error.get_or_insert(error);
                if is_last {
                    break;
                }
            }
        }
    }
    let unread = count - statuses.len() - gone;
    let failures = (unread > 0).then(|| PassError::Statuses {
        unread,
        error: first_error.unwrap_or_else(|| CriError::deadline("ContainerStatus", ASK_WITHIN)),
    });
    (statuses, failures)
}

/// The plan of this moment for a live node, and what it could not take into account.
pub async fn plan(
    tools: &Tools,
    observation: &mut Observation,
    policy: &Policy,
    enforcing: Enforcing,
) -> (Plan, Vec<PassError>) {
    let mut section = containers::decide(observation, &PodTable::new(observation), policy);
    let mut problems: Vec<PassError> =
        settle(tools, observation, &mut section, policy).await.into_iter().collect();
    let complete = |observation: &Observation, section: Section| {
        complete(observation, &PodTable::new(observation), policy, section, enforcing)
    };
    let plan = complete(observation, section.clone());
    if plan.images.section.remove.is_empty() && plan.follow.images.is_empty() {
        return (plan, problems);
    }
    if let Err(error) = observe::image_volumes(tools, observation).await {
        // Any image may be mounted.
        observation.images.clear();
        problems.push(error.into());
    }
    (complete(observation, section), problems)
}

/// What would become of the images of a live node. Where it can't be told which images are mounted, none would be removed.
pub async fn images(tools: &Tools, observation: &mut Observation, policy: &ImagePolicy) -> ImagePlan {
    let decide = |observation: &Observation| {
        cri_gc_policy::images::decide(observation, &PodTable::new(observation), policy)
    };
    let plan = decide(observation);
    if plan.section.remove.is_empty() {
        return plan;
    }
    if observe::image_volumes(tools, observation).await.is_err() {
        observation.images.clear();
    }
    decide(observation)
}

/// Which loops remove what they plan, by the settings and by what the pod-state provider says.
#[must_use]
pub fn enforcing(settings: &Settings, verdict: &Verdict) -> Enforcing {
    let enforces = |of: Loop| of.mode(settings) == Mode::Enforce && verdict.report_only.is_none();
    Enforcing { containers: enforces(Loop::ContainerGc), sandboxes: enforces(Loop::SandboxGc) }
}

/// What the passes of a dry run before this one would have removed, by id. To every other pass nothing is foreseen: it sees
/// what earlier ones left.
#[derive(Debug, Clone, Default)]
pub struct Foreseen {
    containers: HashSet<String>,
    sandboxes: HashSet<String>,
}

impl Foreseen {
    /// Takes in what a pass would have removed.
    pub fn add(&mut self, report: &PassReport) {
        for removal in report.removals.iter().chain(&report.follow) {
            match removal.kind {
                Kind::Container => drop(self.containers.insert(removal.id.clone())),
                Kind::Sandbox => drop(self.sandboxes.insert(removal.id.clone())),
                Kind::LogDir | Kind::LogLink | Kind::Image => {}
            }
        }
    }

    /// The same by position in an observation.
    #[must_use]
    pub fn of(&self, observation: &Observation) -> Removed {
        let containers = observation.containers.iter().enumerate();
        let sandboxes = observation.sandboxes.iter().enumerate();
        Removed {
            containers: containers
                .filter(|(_, c)| self.containers.contains(&c.id))
                .map(|(at, _)| at)
                .collect(),
            sandboxes: sandboxes.filter(|(_, s)| self.sandboxes.contains(&s.id)).map(|(at, _)| at).collect(),
        }
    }
}
