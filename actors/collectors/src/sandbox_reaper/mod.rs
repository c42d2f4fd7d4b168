//! The sandbox reaper: removes sandboxes that are not ready and empty (behaviour: Sandboxes).

use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_policy::sandboxes::has_newer;
use cri_gc_policy::{Decision, Plan, PlanReport, PodTable, Reason, Sandbox, SandboxState};
use cri_gc_policy::{follow, naming};

use crate::collector::{Collect, Pass, Removed, Target};
use crate::report::Outcome;
use crate::tools::Tools;
use cri_gc_gateway::calls::{
    HasReadySandbox, ListContainers, PodSandboxStatus, RemovePodSandbox, StopPodSandbox,
};
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
        let mut section = cri_gc_policy::sandboxes::decide(observation, &pods, &policy);
        let removed = pass.foreseen.of(observation);
        let following = follow::of_sandboxes(&mut section, observation, &pods, &policy, &removed);
        let plan = Plan { sandboxes: section, ..Plan::default() };
        pass.kept(Kind::Sandbox, PlanReport::new(&plan, observation, &policy).sandboxes.keep);
        let target = |decision: &Decision| {
            let sandbox: &Sandbox = observation.sandboxes.get(decision.index)?;
            Some(Target {
                kind: Kind::Sandbox,
                id: sandbox.id.clone(),
                name: naming::sandbox(sandbox),
                reason: decision.reason,
                object: sandbox.pod_uid.clone(),
            })
        };
        let targets: Vec<Target<String>> = plan.sandboxes.remove.iter().filter_map(target).collect();
        pass.planned(targets.len());
        pass.follow(following.iter().filter_map(target));
        let parallel = pass.settings.sandbox_gc.parallel_removals.into();
        pass.act(targets, parallel, async |target| remove(tools, target).await).await;
    }
}

/// Stops, then removes. A stop kills what runs and a removal takes whatever is in the sandbox along, so the runtime is
/// asked before both: the stop may take long (a network to tear down).
async fn remove(tools: &Tools, target: &Target<String>) -> Removed {
    let id = target.id.as_str();
    // A pod that is there again keeps what is its own.
    let uid = target.object.as_str();
    if target.reason.is_for_pod() && tools.gateway.call(HasReadySandbox { uid: uid.to_owned() }).await? {
        return Ok((Outcome::refused(Reason::PodActive), 0));
    }
    // The newest of a living pod stays, also where a newer one went meanwhile.
    if target.reason == Reason::OlderSandbox {
        let all = tools.gateway.list::<Sandbox>(Freshness::Fresh).await?;
        if !has_newer(&all, id) {
            return Ok((Outcome::refused(Reason::NewestSandbox), 0));
        }
    }
    let state = tools.gateway.call(PodSandboxStatus { id: id.to_owned() }).await?;
    match state {
        SandboxState::NotReady => {}
        SandboxState::Ready => return Ok((Outcome::refused(Reason::SandboxReady), 0)),
        SandboxState::Unknown => return Ok((Outcome::refused(Reason::StateUnknown), 0)),
    }
    if is_occupied(tools, id).await? {
        return Ok((Outcome::refused(Reason::HasContainers), 0));
    }
    tools.gateway.call(StopPodSandbox { id: id.to_owned() }).await?;
    if is_occupied(tools, id).await? {
        return Ok((Outcome::refused(Reason::HasContainers), 0));
    }
    tools.gateway.call(RemovePodSandbox { id: id.to_owned() }).await?;
    Ok((Outcome::Removed, 0))
}

async fn is_occupied(tools: &Tools, id: &str) -> CriResult<bool> {
    Ok(!tools.gateway.call(ListContainers { sandbox: id.to_owned() }).await?.is_empty())
}
