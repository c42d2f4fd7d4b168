//! The container GC supervisor: removes dead containers with their logs (behaviour: Dead containers).
//!
//! - here: observe, plan, re-check, act. `logs`: which logs are removed with their containers.

mod logs;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use cri_gc_policy::containers::{self, recheck};
use cri_gc_policy::images::ImageUse;
use cri_gc_policy::report::Words;
use cri_gc_policy::{Container, ContainerState, Kind, Now, PodTable, Reason};
use jiff::Timestamp;

use crate::collector::{Collect, Pass, Removed, Target};
use crate::observe;
use crate::planning::settle;
use crate::report::{Outcome, PassError, files_done};
use cri_gc_files::links;
use cri_gc_files::root::FileError;
use cri_gc_kit::words::Loop;
use cri_gc_kit::workers::WorkerGone;
use cri_gc_pods::FinishTimes;
use logs::LogKeeper;

/// How long the log of a container may take to be removed. A rotated log of many GiB takes a while.
const LOG_WITHIN: Duration = Duration::from_secs(60);

/// The collector of dead containers.
#[derive(Debug, Default)]
pub struct ContainerGc;

impl Collect for ContainerGc {
    const LOOP: Loop = Loop::ContainerGc;

    async fn pass(&self, pass: &Pass) -> Result<(), PassError> {
        let view = pass.pods().await?;
        let observation = &view.observation;
        let policy = pass.settings.policy();
        let pods = PodTable::new(observation);
        let mut section = containers::decide(observation, &pods, &policy);
        if !pass.enforces() {
            // No check is made right before the removals, so it is made here.
            let settled = settle(&pass.tools, observation, &mut section, &policy, &FinishTimes::new()).await;
            settled.into_iter().for_each(|problem| pass.error(problem));
        }
        let report = Words::new(observation, &policy).section(Kind::Container, &section);
        let keeper = LogKeeper::new(observation, &pods);
        let links = if section.remove.is_empty() { HashMap::new() } else { link_names(pass, &keeper).await };
        let object = |index: usize| {
            let container = observation.containers.get(index)?;
            Some((container, pods.uid_of_container(container)))
        };
        let parallel = pass.settings.container_gc.parallel_removals.into();
        pass.carry_out(Kind::Container, report, &section, object, parallel, async |target| {
            remove(pass, target, observation.clock_set, &keeper, &links).await
        })
        .await;
        Ok(())
    }
}

/// Asks once more, and removes the container with its log. A runtime kills a running one without a word.
async fn remove<'a>(
    pass: &Pass,
    target: &Target<(&'a Container, &'a str)>,
    clock_set: Option<Timestamp>,
    keeper: &LogKeeper<'a>,
    links: &HashMap<String, Vec<String>>,
) -> Removed {
    let Pass { tools, settings, .. } = pass;
    let (container, uid) = target.object;
    let kept = |reason| Ok((Outcome::refused(reason), 0));
    let mut facts = tools.gateway.container_status(&container.id).await?;
    // Rule 1 once more (behaviour: Dead containers). Lists do not report when a container finished, so this is where
    // `min_dead_age` takes effect.
    let now = Now { at: tools.clock.now(), clock_set };
    if let Err(reason) = recheck(container, Some(facts.status), &settings.policy().containers, now) {
        return kept(reason);
    }
    if facts.status.state == ContainerState::Unknown {
        // It may still run: if it can't be stopped, it is kept.
        let timeout = settings.container_gc.stop_timeout;
        tools.gateway.stop_container(&container.id, timeout).await?;
        // Only now the runtime reports how it ended, and where its log is.
        facts = tools.gateway.container_status(&container.id).await?;
        if facts.status.state != ContainerState::Exited {
            return kept(Reason::StateUnknown);
        }
    }
    // A pod that has a ready sandbox again keeps what belongs to it.
    if target.reason.is_for_pod() && !uid.is_empty() && tools.gateway.has_ready_sandbox(uid).await? {
        return kept(Reason::PodActive);
    }
    // One that was never started has written nothing, and may be started at any moment: nothing comes between the
    // status above and its removal.
    // Before its log: the gateway would withhold the removal of the container, and the log would be gone.
    if !pass.may_remove() {
        return Ok((Outcome::halted(), 0));
    }
    let has_log = facts.status.state != ContainerState::Created && keeper.may_go(container);
    let bytes = if has_log && !keeper.is_stuck.get() {
        let names = links.get(&container.id).cloned().unwrap_or_default();
        remove_logs(pass, keeper, uid.to_owned(), facts.log_path, names).await
    } else {
        0
    };
    tools.gateway.remove_container(&container.id).await?;
    keeper.gone(container);
    // A job that came and ended between two observations has used its image all the same.
    if let Some(at) = facts.status.finished_at.or(container.created_at) {
        tools.images.were_used(ImageUse::of_container(container), at, tools.clock.moment());
    }
    // What it has mounted was seen in use just now: no list reports that, so no observation has recorded it.
    let volumes = facts.image_volumes.iter().map(|volume| ImageUse::named(volume));
    tools.images.seen(volumes, tools.clock.moment());
    Ok((Outcome::Removed, bytes))
}

/// Removes the log of a container, and returns how many bytes that freed. If it fails the container is removed all the same:
/// its log is left for the log-directory reaper.
async fn remove_logs(
    pass: &Pass,
    keeper: &LogKeeper<'_>,
    uid: String,
    log_path: String,
    links: Vec<String>,
) -> u64 {
    let roots = &pass.settings.log_gc;
    let (pods, legacy) = (roots.pod_logs_root.clone(), roots.legacy_container_logs_root.clone());
    let log = log_path.clone();
    let job = move || cri_gc_files::logs::remove(&pods, &legacy, &uid, &log_path, &links);
    let removed = pass.tools.files.run_within(LOG_WITHIN, job).await;
    let removed = on_files(pass, keeper, "could not remove the log of a container", Path::new(&log), removed);
    removed.map_or(0, |removed| removed.bytes)
}

/// The legacy links by the id of their container. Without them the containers are removed all the same: a link that is left
/// points to nothing then, and the log-directory reaper removes it.
async fn link_names(pass: &Pass, keeper: &LogKeeper<'_>) -> HashMap<String, Vec<String>> {
    let root = &pass.settings.log_gc.legacy_container_logs_root;
    let scanned = root.clone();
    let found = pass.tools.files.run_within(observe::SCAN_WITHIN, move || links::scan(&scanned)).await;
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    for link in on_files(pass, keeper, "could not list log links", root, found).into_iter().flatten() {
        if let Some(id) = links::container_id(&link.name) {
            names.entry(id.to_owned()).or_default().push(link.name.clone());
        }
    }
    names
}

/// The result of work on log files; if it failed, that is an error of the pass.
fn on_files<T>(
    pass: &Pass,
    keeper: &LogKeeper<'_>,
    step: &'static str,
    place: &Path,
    done: Result<Result<T, FileError>, WorkerGone>,
) -> Option<T> {
    if done.is_err() {
        // The work on the logs of all others would not be done either.
        keeper.is_stuck.set(true);
    }
    files_done(step, place, done).map_err(|error| pass.error(error)).ok()
}
