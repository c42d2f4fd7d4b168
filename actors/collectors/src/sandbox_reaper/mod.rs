//! The sandbox reaper: removes sandboxes that are not ready and empty (behaviour: Sandboxes).

use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_policy::sandboxes::has_newer;
use cri_gc_policy::{Follow, Plan, PlanReport, PodTable, Reason, Sandbox, SandboxState, sandboxes};

use crate::collector::{Collect, Pass, Removed, Target};
use crate::report::Outcome;
use crate::tools::Tools;
use cri_gc_gateway::{CriResult, Freshness};
use cri_gc_kit::words::{Kind, Loop};

/// The collector of sandboxes.
#[derive(Debug, Default)]
pub struct SandboxReaper;

impl Collect for SandboxReaper {
    const LOOP: Loop = Loop::SandboxGc;

    fn period(settings: &Settings) -> Duration {
        settings.sandbox_gc.period
    }

    fn deadline(settings: &Settings) -> Duration {
        settings.sandbox_gc.deadline
    }

    async fn pass(&self, tools: &Tools, pass: &Pass) {
        let view = match pass.pods(tools).await {
            Ok(view) => view,
            Err(error) => return pass.error(error),
        };
        let observation = &view.observation;
        let policy = pass.settings.policy();
        let pods = PodTable::new(observation);
        let mut section = sandboxes::decide(observation, &pods, &policy);
        let removed = pass.foreseen.of(observation);
        let following = sandboxes::follow(&mut section, observation, &pods, &policy, &removed);
        let follow = Follow { sandboxes: following, ..Follow::default() };
        let plan = Plan { sandboxes: section, follow, ..Plan::default() };
        let report = PlanReport::new(&plan, observation, &policy).sandboxes;
        let pod_uid = |index: usize| observation.sandboxes.get(index).map(|sandbox| sandbox.pod_uid.clone());
        let parallel = pass.settings.sandbox_gc.parallel_removals.into();
        pass.carry_out(Kind::Sandbox, report, &plan.sandboxes.remove, pod_uid, parallel, async |target| {
            remove(tools, target).await
        })
        .await;
    }
}

/// Stops, then removes. A stop kills what runs and a removal takes whatever is in the sandbox along, so the runtime is
/// asked before both: the stop may take long (a network to tear down).
async fn remove(tools: &Tools, target: &Target<String>) -> Removed {
    let id = target.id.as_str();
    // A pod that is there again keeps what is its own.
    let uid = target.object.as_str();
    if target.reason.is_for_pod() && tools.gateway.has_ready_sandbox(uid).await? {
        return Ok((Outcome::refused(Reason::PodActive), 0));
    }
    // The newest of a living pod stays, also where a newer one went meanwhile.
    if target.reason == Reason::OlderSandbox {
        let all = tools.gateway.list::<Sandbox>(Freshness::Fresh).await?;
        if !has_newer(&all, id) {
            return Ok((Outcome::refused(Reason::NewestSandbox), 0));
        }
    }
    let state = tools.gateway.sandbox_status(id).await?;
    match state {
        SandboxState::NotReady => {}
        SandboxState::Ready => return Ok((Outcome::refused(Reason::SandboxReady), 0)),
        SandboxState::Unknown => return Ok((Outcome::refused(Reason::StateUnknown), 0)),
    }
    if is_occupied(tools, id).await? {
        return Ok((Outcome::refused(Reason::HasContainers), 0));
    }
    tools.gateway.stop_sandbox(id).await?;
    if is_occupied(tools, id).await? {
        return Ok((Outcome::refused(Reason::HasContainers), 0));
    }
    tools.gateway.remove_sandbox(id).await?;
    Ok((Outcome::Removed, 0))
}

async fn is_occupied(tools: &Tools, id: &str) -> CriResult<bool> {
    Ok(!tools.gateway.containers_in(id).await?.is_empty())
}
