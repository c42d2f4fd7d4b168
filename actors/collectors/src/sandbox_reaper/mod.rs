//! The sandbox reaper: removes sandboxes that are not ready and empty (behaviour: Sandboxes).

use std::sync::Arc;

use cri_gc_policy::report::Words;
use cri_gc_policy::sandboxes::has_newer;
use cri_gc_policy::{Decision, Kind, PodTable, Reason, Sandbox, SandboxState, sandboxes};
use ecow::EcoString;

use crate::collector::{Collect, Pass, Removed, Target};
use crate::report::{Outcome, PassError};
use crate::tools::Tools;
use cri_gc_gateway::{CriResult, Freshness, Owner};
use cri_gc_kit::words::Loop;
use tokio::time::Instant;

/// The collector of sandboxes.
#[derive(Debug, Default)]
pub struct SandboxReaper;

impl Collect for SandboxReaper {
    const LOOP: Loop = Loop::SandboxGc;

    async fn pass(&self, pass: &Pass) -> Result<(), PassError> {
        let view = pass.pods().await?;
        let observation = &view.observation;
        pass.there_are(Kind::Sandbox, observation.sandboxes.iter().map(|sandbox| sandbox.id.as_str()));
        let policy = pass.settings.policy();
        let pods = PodTable::new(observation);
        let mut section = sandboxes::decide(observation, &pods, &policy);
        sandboxes::follow(&mut section, observation, &pods, &policy, &pass.foreseen.of(observation));
        let words = Words::new(observation, &pods, &policy);
        let words = |decisions: &[Decision]| words.items(Kind::Sandbox, decisions);
        let pod_uid = |index: usize| observation.sandboxes.get(index).map(|sandbox| sandbox.pod_uid.clone());
        let parallel = pass.settings.sandbox_gc.parallel_removals.into();
        pass.carry_out(Kind::Sandbox, &section, words, pod_uid, parallel, async |target| {
            remove(&pass.tools, target).await
        })
        .await;
        Ok(())
    }
}

/// Stops, then removes. A stop kills what runs and a removal takes whatever is in the sandbox along, so the runtime is
/// asked before both: the stop may take long (a network to tear down).
async fn remove(tools: &Tools, target: &Target<EcoString>) -> Removed {
    let kept = |reason| Ok((Outcome::refused(reason), 0));
    let id = target.id.as_str();
    let mut siblings = match target.object.as_str() {
        "" => Vec::new(),
        uid => tools.gateway.sandboxes_of(uid).await?,
    };
    let state = match siblings.iter().find(|sandbox| sandbox.id == id) {
        Some(listed) => listed.state,
        // Without the labels of a kubelet it is in no list of its pod.
        None => {
            if target.reason == Reason::OlderSandbox {
                // Should a newer one be missing, this one is kept.
                siblings = tools.gateway.list_most::<Sandbox>(Freshness::Fresh).await?.objects.to_vec();
            }
            tools.gateway.sandbox_status(id).await?
        }
    };
    // A pod that has a ready sandbox again keeps what belongs to it.
    let is_ready = |sandbox: &Arc<Sandbox>| sandbox.id != id && sandbox.state == SandboxState::Ready;
    if target.reason.is_for_pod() && !target.object.is_empty() && siblings.iter().any(is_ready) {
        return kept(Reason::PodActive);
    }
    // The newest of a living pod is kept, also where a newer one was removed meanwhile.
    if target.reason == Reason::OlderSandbox && !has_newer(&siblings, id) {
        return kept(Reason::NewestSandbox);
    }
    match state {
        SandboxState::NotReady => {}
        SandboxState::Ready => return kept(Reason::SandboxReady),
        SandboxState::Unknown => return kept(Reason::StateUnknown),
    }
    let mut checked = Instant::now();
    if is_occupied(tools, id).await? {
        return kept(Reason::HasContainers);
    }
    tools.gateway.stop_sandbox(id, checked).await?;
    checked = Instant::now();
    if is_occupied(tools, id).await? {
        return kept(Reason::HasContainers);
    }
    tools.gateway.remove_sandbox(id, checked).await?;
    Ok((Outcome::Removed, 0))
}

async fn is_occupied(tools: &Tools, id: &str) -> CriResult<bool> {
    Ok(!tools.gateway.containers_of(&Owner::Sandbox(id.into())).await?.is_empty())
}
