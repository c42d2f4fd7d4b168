//! A deleted pod whose containers have all ended is removed as a whole: its sandbox with all that is in it (behaviour: Whole pods). What
//! can't be removed so is removed one by one.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cri_gc_config::Mode;
use cri_gc_gateway::{CriError, CriResult, ErrorClass, Owner};
use cri_gc_kit::parallel;
use cri_gc_kit::seams::Moment;
use cri_gc_kit::supervision::threads::Lease;
use cri_gc_policy::containers::{Status, recheck};
use cri_gc_policy::naming;
use cri_gc_policy::sandboxes::{WholePod, whole_pods};
use cri_gc_policy::{
    ContainerState, Decision, Kind, Observation, PodTable, Policy, Reason, Sandbox, Section,
};
use ecow::EcoString;
use jiff::SignedDuration;
use slog::debug;
use tokio::time::Instant;

use super::removals::{Removals, ToRemove, remove_logs};
use crate::collector::{Pass, Target};
use crate::recent::USED_FOR;
use crate::report::Outcome;

/// After a sandbox could not be removed so, the containers are removed one by one for this long: a network that can't be torn down must
/// not keep them.
const NOT_AFTER_FAILURE: SignedDuration = SignedDuration::from_mins(10);

/// How long the stop and the removal of a sandbox are waited for, each.
const WITHIN: Duration = Duration::from_secs(30);

const STOP: &str = "StopPodSandbox";
const REMOVE: &str = "RemovePodSandbox";

/// The right to remove whole pods.
#[derive(Debug, Default)]
pub struct WholePods {
    /// That of the sandbox loop to remove things, which this loop does in its name.
    sandboxes: Lease,
    /// When a sandbox could not be removed so.
    failed: Cell<Option<Moment>>,
}

impl WholePods {
    pub fn new(sandboxes: Lease) -> Self {
        Self { sandboxes, failed: Cell::new(None) }
    }

    /// Whether pods may be removed as a whole now: sandbox GC enforces as well, and log GC takes their logs.
    fn may_remove(&self, pass: &Pass) -> bool {
        let settings = pass.live.settings();
        pass.may_remove()
            && settings.sandbox_gc.mode == Mode::Enforce
            && settings.log_gc.mode == Mode::Enforce
            && !self.sandboxes.is_suspended()
    }

    /// Whether that failed within [`NOT_AFTER_FAILURE`].
    fn has_failed(&self, pass: &Pass) -> bool {
        let now = pass.tools.clock.moment();
        self.failed.get().is_some_and(|at| now.boot().saturating_sub(at.boot()) < NOT_AFTER_FAILURE)
    }
}

/// Where the logs of containers are, by their ids, below the root of the pod logs.
type Logs = HashMap<EcoString, String>;

/// Takes the pods that can be removed as a whole out of what is removed.
pub fn take(
    section: &mut Section,
    observation: &Observation,
    pods: &PodTable<'_>,
    policy: &Policy,
) -> Vec<WholePod> {
    let whole = whole_pods(observation, pods, policy, section);
    let taken: HashSet<usize> = whole.iter().flat_map(|pod| &pod.containers).copied().collect();
    section.remove.retain(|decision| !taken.contains(&decision.index));
    whole
}

impl WholePods {
    /// Removes whole pods, and returns the containers that have to be removed one by one after all.
    pub async fn remove(&self, removals: &Removals<'_>, pods: Vec<WholePod>) -> Vec<Decision> {
        let parallel = removals.pass.settings.sandbox_gc.parallel_removals.into();
        let left = RefCell::new(Vec::new());
        parallel::for_each(pods, parallel, async |pod: WholePod| {
            let _removing = removals.pass.removing();
            let decisions = || pod.containers.iter().map(|index| Decision::new(*index, Reason::PodDeleted));
            let targets = decisions().filter_map(|decision| removals.target(decision)).collect();
            let sandbox = removals.observation.sandboxes.get(pod.sandbox);
            let is_removed = match sandbox {
                Some(sandbox) => self.remove_pod(removals, sandbox, targets).await,
                None => false,
            };
            if !is_removed {
                left.borrow_mut().extend(decisions());
            }
        })
        .await;
        left.into_inner()
    }

    /// Whether a sandbox was removed, with these containers in it.
    async fn remove_pod<'a>(
        &self,
        removals: &Removals<'a>,
        sandbox: &Sandbox,
        targets: Vec<ToRemove<'a>>,
    ) -> bool {
        let pass = removals.pass;
        let id = sandbox.id.as_str();
        let logs = match self.remove_whole(removals, id, &sandbox.pod_uid, &targets).await {
            Ok(Some(logs)) => logs,
            Ok(None) => return false,
            // The sandbox loop tries it too, and reports what fails.
            Err(error) => {
                let (tools, of) = (&pass.tools, Kind::Sandbox.as_str());
                debug!(tools.log, "not removed as a whole"; "kind" => of, "id" => id, "error" => %error);
                use ErrorClass::{AlreadyRemoving, NotFound, Withheld};
                let is_passing = matches!(error.class, AlreadyRemoving | NotFound | Withheld);
                let is_removal = [STOP, REMOVE].contains(&error.method);
                if is_removal && !error.is_unreachable() && !is_passing {
                    self.failed.set(Some(tools.clock.moment()));
                }
                return false;
            }
        };
        for target in &targets {
            let (container, uid) = target.object;
            let may_go = self.may_remove(pass) && removals.keeper.may_go(container);
            removals.gone(container, None);
            // Its log is removed with the directory of the pod, but nothing else removes a link at once.
            let bytes = match (removals.links.get(container.id.as_str()), logs.get(&container.id)) {
                (Some(names), Some(log)) if may_go && !removals.keeper.is_stuck.get() => {
                    let log = removals.kubelet_log(log);
                    remove_logs(pass, &removals.keeper, uid.to_string(), log, names.clone()).await
                }
                _ => 0,
            };
            pass.record(target, Ok((Outcome::Removed, bytes)));
        }
        let sandbox = Target {
            kind: Kind::Sandbox,
            id: sandbox.id.clone(),
            name: naming::sandbox(sandbox),
            reason: Reason::PodDeleted,
            pod_uid: sandbox.pod_uid.clone(),
            object: (),
        };
        pass.record(&sandbox, Ok((Outcome::Removed, 0)));
        true
    }

    /// Removes a sandbox with these containers, if nothing else is in it. Returns where their logs are if it did.
    async fn remove_whole(
        &self,
        removals: &Removals<'_>,
        id: &str,
        uid: &str,
        targets: &[ToRemove<'_>],
    ) -> CriResult<Option<Logs>> {
        let gateway = removals.pass.tools.gateway.also_under(&self.sandboxes);
        let check = async || match self.may_remove(removals.pass) {
            true => check(removals, id, uid, targets).await,
            false => Ok(None),
        };
        if self.has_failed(removals.pass) {
            return Ok(None);
        }
        let Some((mut checked, logs)) = check().await? else { return Ok(None) };
        within(STOP, gateway.stop_sandbox(id, checked)).await?;
        // A network may take long to be torn down.
        if checked.elapsed() >= USED_FOR {
            checked = match check().await? {
                Some((again, _)) => again,
                None => return Ok(None),
            };
        }
        if !self.may_remove(removals.pass) {
            return Ok(None);
        }
        within(REMOVE, gateway.remove_sandbox(id, checked)).await?;
        Ok(Some(logs))
    }
}

/// Waits no longer than [`WITHIN`]. The gateway waits for what it has sent all the same.
async fn within(method: &'static str, call: impl Future<Output = CriResult<()>>) -> CriResult<()> {
    tokio::time::timeout(WITHIN, call).await.unwrap_or_else(|_| Err(CriError::deadline(method, WITHIN)))
}

/// Since when it is known that the pod has no ready sandbox, in which something new could start, and that the sandbox has exactly these
/// containers, all of which may be removed; with where their logs are. `None` otherwise.
async fn check(
    removals: &Removals<'_>,
    id: &str,
    uid: &str,
    targets: &[ToRemove<'_>],
) -> CriResult<Option<(Instant, Logs)>> {
    let Removals { pass, checks, .. } = removals;
    let (ready, ready_at) = checks.ready().await?;
    if ready.iter().any(|sandbox| sandbox.id == id || sandbox.pod_uid == uid) {
        return Ok(None);
    }
    let listed_at = Instant::now();
    let inside = pass.tools.gateway.containers_of(&Owner::Sandbox(id.into())).await?;
    let planned: HashSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
    let (policy, now) = (pass.settings.policy().containers, removals.now());
    let may_go = inside.len() == planned.len()
        && inside.iter().all(|sibling| {
            let container = &sibling.container;
            planned.contains(container.id.as_str())
                    && container.state == ContainerState::Exited
                    // Its log is in the directory of the pod.
                    && sibling.kubelet_log.is_some()
                    && removals.seen_dead.is_long(pass, container)
                    && recheck(container, Some(Status::listed(container)), &policy, now).is_ok()
        });
    if !may_go {
        return Ok(None);
    }
    let logs = inside.into_iter().filter_map(|sibling| Some((sibling.container.id, sibling.kubelet_log?)));
    Ok(Some((listed_at.min(ready_at), logs.collect())))
}
