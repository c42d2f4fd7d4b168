//! The container GC supervisor: removes dead containers with their logs (behaviour: Dead containers).
//!
//! - here: observe, plan, act. `recheck`: what is asked right before a removal. `logs`: which logs go with it.

mod logs;
mod recheck;

use std::collections::HashMap;
use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_policy::images::ImageUse;
use cri_gc_policy::{Container, ContainerState, Plan, PlanReport, PodTable, Reason};
use jiff::Timestamp;

use crate::collector::{Collect, Pass, Removed, Target};
use crate::report::{Outcome, PassError};
use crate::tools::Tools;
use crate::{observe, planning};
use cri_gc_files::links;
use cri_gc_gateway::CriResult;
use cri_gc_kit::words::{Kind, Loop};
use cri_gc_pods::FinishTimes;
use logs::LogKeeper;
use recheck::{Recheck, recheck};

/// How long the log of a container may take to go. A rotated log of many GiB takes a while.
const LOG_WITHIN: Duration = Duration::from_secs(60);

/// The collector of dead containers.
#[derive(Debug, Default)]
pub struct ContainerGc;

impl Collect for ContainerGc {
    const LOOP: Loop = Loop::ContainerGc;

    fn period(settings: &Settings) -> Duration {
        settings.container_gc.period
    }

    fn deadline(settings: &Settings) -> Duration {
        settings.container_gc.deadline
    }

    async fn pass(&self, tools: &Tools, pass: &Pass) {
        let view = match pass.pods(tools).await {
            Ok(view) => view,
            Err(error) => return pass.error(error),
        };
        let observation = &view.observation;
        let policy = pass.settings.policy();
        let pods = PodTable::new(observation);
        let mut section = cri_gc_policy::containers::decide(observation, &pods, &policy);
        if !pass.enforces() {
            // Nobody asks right before the removals, so that is done here.
            let problem =
                planning::settle(tools, observation, &mut section, &policy, &FinishTimes::new()).await;
            problem.into_iter().for_each(|problem| pass.error(problem));
        }
        let plan = Plan { containers: section, ..Plan::default() };
        let report = PlanReport::new(&plan, observation, &policy).containers;
        let remove_any = !plan.containers.remove.is_empty();
        let keeper = LogKeeper::new(observation, &pods);
        let links = if remove_any { link_names(tools, pass, &keeper).await } else { HashMap::new() };
        let object = |index: usize| {
            let container = observation.containers.get(index)?;
            Some((container, pods.uid_of_container(container)))
        };
        let parallel = pass.settings.container_gc.parallel_removals.into();
        pass.carry_out(Kind::Container, report, &plan.containers.remove, object, parallel, async |target| {
            remove(tools, pass, target, observation.clock_set, &keeper, &links).await
        })
        .await;
    }
}

/// Asks once more, and removes the container with its log.
async fn remove<'a>(
    tools: &Tools,
    pass: &Pass,
    target: &Target<(&'a Container, &'a str)>,
    clock_set: Option<Timestamp>,
    keeper: &LogKeeper<'a>,
    links: &HashMap<String, Vec<String>>,
) -> Removed {
    let (settings, reason, (container, uid)) = (&pass.settings, target.reason, target.object);
    let mut facts = match recheck(tools, container, &settings.policy().containers, clock_set).await? {
        Recheck::Go(facts) => facts,
        Recheck::Stay(reason) => return Ok((Outcome::refused(reason), 0)),
    };
    if facts.status.state == ContainerState::Unknown {
        // It may still run: if it can't be stopped, it stays.
        let timeout = settings.container_gc.stop_timeout;
        tools.gateway.stop_container(&container.id, timeout).await?;
        // Only now the runtime tells what became of it, and where its log is.
        facts = tools.gateway.container_status(&container.id).await?;
        if facts.status.state != ContainerState::Exited {
            return Ok((Outcome::refused(Reason::StateUnknown), 0));
        }
    }
    if reason.is_for_pod() && is_pod_ready(tools, uid).await? {
        return Ok((Outcome::refused(Reason::PodActive), 0));
    }
    // One that was never started has written nothing, and may be started at any moment: nothing comes between the
    // status above and its removal.
    // Before its log: the gateway would withhold the removal of the container, and the log would be gone.
    if !pass.may_remove() {
        return Ok((Outcome::halted(), 0));
    }
    let has_log = facts.status.state != ContainerState::Created && keeper.may_go(container);
    let bytes = if has_log && !keeper.is_stuck() {
        let names = links.get(&container.id).cloned().unwrap_or_default();
        remove_logs(tools, pass, keeper, uid.to_owned(), facts.log_path, names).await
    } else {
        0
    };
    tools.gateway.remove_container(&container.id).await?;
    keeper.gone(container);
    // A job that came and went between two looks has used its image all the same.
    if let Some(at) = facts.status.finished_at.or(container.created_at) {
        tools.images.were_used(ImageUse::of_container(container), at, tools.clock.moment());
    }
    // What it has mounted was seen in use just now: no list reports that, so no observation has recorded it.
    let volumes = facts.image_volumes.iter().map(|volume| ImageUse::named(volume));
    tools.images.seen(volumes, tools.clock.moment());
    Ok((Outcome::Removed, bytes))
}

/// Whether a sandbox of the pod is ready at this moment: a pod that is there again keeps what is its own.
async fn is_pod_ready(tools: &Tools, uid: &str) -> CriResult<bool> {
    if uid.is_empty() {
        return Ok(false);
    }
    tools.gateway.has_ready_sandbox(uid).await
}

/// Removes the log of a container and says how many bytes that brought. If it fails the container goes all the same: its
/// log is left for the log-directory reaper.
async fn remove_logs(
    tools: &Tools,
    pass: &Pass,
    keeper: &LogKeeper<'_>,
    uid: String,
    log_path: String,
    links: Vec<String>,
) -> u64 {
    let roots = &pass.settings.log_gc;
    let (pods, legacy) = (roots.pod_logs_root.clone(), roots.legacy_container_logs_root.clone());
    let job = move || cri_gc_files::logs::remove(&pods, &legacy, &uid, &log_path, &links);
    let step = "removing the log of a container";
    let error = match tools.files.run_within(LOG_WITHIN, job).await {
        Ok(Ok(removed)) => return removed.bytes,
        Ok(Err(error)) => error.to_string(),
        Err(gone) => {
            // The logs of all others would be waited for in vain.
            keeper.stuck();
            gone.to_string()
        }
    };
    pass.error(PassError::File { step, error });
    0
}

/// The legacy links by the id of their container. Without them the containers go all the same: a link that is left
/// points to nothing then, and the log-directory reaper takes it.
async fn link_names(tools: &Tools, pass: &Pass, keeper: &LogKeeper<'_>) -> HashMap<String, Vec<String>> {
    let root = pass.settings.log_gc.legacy_container_logs_root.clone();
    let step = "looking for log links";
    let found = match tools.files.run_within(observe::SCAN_WITHIN, move || links::scan(&root)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            pass.error(PassError::File { step, error: error.to_string() });
            Vec::new()
        }
        Err(gone) => {
            keeper.stuck();
            pass.error(PassError::File { step, error: gone.to_string() });
            Vec::new()
        }
    };
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    for link in found {
        if let Some(id) = links::container_id(&link.name) {
            names.entry(id.to_owned()).or_default().push(link.name.clone());
        }
    }
    names
}
