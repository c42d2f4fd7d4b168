//! The removal of one container with its log, after the check right before it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use cri_gc_files::links;
use cri_gc_files::root::FileError;
use cri_gc_gateway::{ContainerFacts, CriResult, Sibling};
use cri_gc_kit::workers::WorkerGone;
use cri_gc_policy::containers::{Status, has_newer, recheck};
use cri_gc_policy::images::ImageUse;
use cri_gc_policy::report::Words;
use cri_gc_policy::{Container, ContainerState, Decision, Kind, Now, Observation, PodTable, Reason};
use ecow::EcoString;
use jiff::Timestamp;
use tokio::time::Instant;

use super::check::{self, Checks};
use super::dead::SeenDead;
use super::logs::LogKeeper;
use crate::collector::{Pass, Removed, Target};
use crate::observe;
use crate::recent::USED_FOR;
use crate::report::{Outcome, files_done};

/// How long the log of a container may take to be removed. A rotated log of many GiB takes a while.
const LOG_WITHIN: Duration = Duration::from_secs(60);

/// A container to remove, with the UID of its pod.
pub type ToRemove<'a> = Target<(&'a Container, &'a EcoString)>;

/// What the removals of a pass share.
pub struct Removals<'a> {
    pub pass: &'a Pass,
    pub seen_dead: &'a SeenDead,
    pub clock_set: Option<Timestamp>,
    pub checks: Checks<'a>,
    pub keeper: LogKeeper<'a>,
    /// Names of the legacy links, by the id of the container.
    pub links: HashMap<String, Vec<String>>,
    pub observation: &'a Observation,
    pub pods: &'a PodTable<'a>,
    pub words: &'a Words<'a>,
}

impl<'a> Removals<'a> {
    /// What a decision removes.
    pub fn target(&self, decision: Decision) -> Option<ToRemove<'a>> {
        let container = self.observation.containers.get(decision.index)?.as_ref();
        let object = (container, self.pods.uid_of_container(container));
        Target::new(Kind::Container, decision, |one| self.words.items(Kind::Container, one), object)
    }

    /// Asks once more, and removes the container with its log. A runtime kills a running one without a word.
    pub async fn of(&self, target: &ToRemove<'a>) -> Removed {
        let Pass { tools, settings, .. } = self.pass;
        let (container, uid) = target.object;
        let (mut facts, mut checked) = match self.check(target).await? {
            Ok(checked) => checked,
            Err(outcome) => return Ok((outcome, 0)),
        };
        // Rule 1 once more (behaviour: Dead containers). Lists do not report when a container finished, so this is where
        // `min_dead_age` takes effect.
        let policy = settings.policy().containers;
        if let Err(reason) = recheck(container, Some(facts.status), &policy, self.now()) {
            return Ok((Outcome::refused(reason), 0));
        }
        if facts.status.state == ContainerState::Unknown {
            // It may still run: if it can't be stopped, it is kept.
            tools.gateway.stop_container(&container.id, settings.container_gc.stop_timeout).await?;
            // Only now the runtime reports how it ended, and where its log is. And the stop may have taken long.
            (facts, checked) = match self.check(target).await? {
                Ok(checked) => checked,
                Err(outcome) => return Ok((outcome, 0)),
            };
            if facts.status.state != ContainerState::Exited {
                return Ok((Outcome::refused(Reason::StateUnknown), 0));
            }
        }
        // One that was never started has written nothing, and may be started at any moment: nothing comes between the
        // status above and its removal.
        // Before its log: the gateway would withhold the removal of the container, and the log would be gone.
        if !self.pass.may_remove() {
            return Ok((Outcome::halted(), 0));
        }
        let mut bytes = 0;
        let has_log = facts.status.state != ContainerState::Created && self.keeper.may_go(container);
        if has_log && !self.keeper.is_stuck.get() {
            let names = self.links.get(container.id.as_str()).cloned().unwrap_or_default();
            bytes = remove_logs(self.pass, &self.keeper, uid.to_string(), facts.log_path, names).await;
            // A large log takes a while.
            if checked.elapsed() >= USED_FOR {
                checked = match self.check(target).await? {
                    Ok((again, at)) if again.status.state == ContainerState::Exited => at,
                    Ok(_) => return Ok((Outcome::refused(Reason::StateUnknown), bytes)),
                    Err(outcome) => return Ok((outcome, bytes)),
                };
            }
        }
        tools.gateway.remove_container(&container.id, checked).await?;
        self.gone(container, facts.status.finished_at);
        // What it has mounted was seen in use just now: no list reports that, so no observation has recorded it.
        let volumes = facts.image_volumes.iter().map(|volume| ImageUse::named(volume));
        tools.images.seen(volumes, tools.clock.moment());
        Ok((Outcome::Removed, bytes))
    }

    /// The container is removed.
    pub fn gone(&self, container: &'a Container, finished_at: Option<Timestamp>) {
        self.keeper.gone(container);
        // A job that came and ended between two observations has used its image all the same.
        if let Some(at) = finished_at.or(container.created_at) {
            let tools = &self.pass.tools;
            tools.images.were_used(ImageUse::of_container(container), at, tools.clock.moment());
        }
    }

    /// What is known of the container now, and since when; or why it stays. It is listed with those of its pod, and its own status is
    /// asked where that list does not say enough.
    async fn check(&self, target: &ToRemove<'a>) -> CriResult<Result<(ContainerFacts, Instant), Outcome>> {
        let Pass { tools, settings, .. } = self.pass;
        let (container, uid) = target.object;
        let mut listed = None;
        let owner = check::owner(container);
        if owner.is_known() {
            let (siblings, at) = self.checks.of(&owner, uid, target.reason.is_for_pod()).await?;
            // A pod that runs again keeps what belongs to it.
            if siblings.is_alive {
                return Ok(Err(Outcome::refused(Reason::PodActive)));
            }
            // The newest of a living pod is kept, also where a newer one was removed meanwhile. Without the label of a kubelet
            // a pod with two sandboxes is not listed as one.
            let policy = settings.policy().containers;
            let all = siblings.containers.values().map(|sibling| &sibling.container);
            if target.reason == Reason::OverPodContainerLimit
                && policy.max_per_pod_container != Some(0)
                && !container.pod_uid.is_empty()
                && !has_newer(all, container, &policy, self.now())
            {
                return Ok(Err(Outcome::refused(Reason::WithinLimits)));
            }
            listed = siblings.containers.get(&container.id).cloned().map(|sibling| (sibling, at));
        }
        if let Some((Sibling { container: now, kubelet_log: Some(log) }, at)) = listed
            && now.state == ContainerState::Exited
            && self.seen_dead.is_long(self.pass, container)
            && at.elapsed() < USED_FOR
        {
            let (status, log_path) = (Status::listed(&now), self.kubelet_log(&log));
            return Ok(Ok((ContainerFacts { status, log_path, image_volumes: Vec::new() }, at)));
        }
        let at = Instant::now();
        Ok(Ok((tools.gateway.container_status(&container.id).await?, at)))
    }

    pub fn now(&self) -> Now {
        Now { at: self.pass.tools.clock.now(), clock_set: self.clock_set }
    }

    /// The whole path of a log.
    pub fn kubelet_log(&self, below_root: &str) -> String {
        self.pass.settings.log_gc.pod_logs_root.join(below_root).to_string_lossy().into_owned()
    }
}

/// Removes the log of a container, and returns how many bytes that freed. If it fails the container is removed all the same:
/// its log is left for the log-directory reaper.
pub async fn remove_logs(
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
pub async fn link_names(pass: &Pass, keeper: &LogKeeper<'_>) -> HashMap<String, Vec<String>> {
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
