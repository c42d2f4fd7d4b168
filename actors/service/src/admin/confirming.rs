//! `run-now --confirm-deleted`: confirms the pods that are missing, and makes passes until nothing of those is left that are
//! proved deleted by then.

use std::collections::HashSet;

use cri_gc_policy::{Pod, PodState};

use super::Subjects;
use super::actor::{Ended, Updates, generation, restarting, run_all};
use super::answers;
use cri_gc_collectors::collector::LoopHandle;
use cri_gc_collectors::observe;

/// How often it goes through the loops, at most.
const MOST_ROUNDS: usize = 5;

/// Confirms, and runs these loops.
pub(super) async fn run(subjects: &Subjects, loops: &[LoopHandle], updates: &Updates) -> Result<(), Ended> {
    // An observation first: what has vanished since the last pass is meant as well.
    deleted(subjects).await;
    // An order that was taken back confirms nothing.
    if updates.is_closed() {
        return Ok(());
    }
    let confirmed = subjects.tools.pods.confirm().await.map(answers::confirmed);
    let is_confirmed = confirmed.is_some();
    updates.send(confirmed.ok_or_else(|| restarting("pod-state provider"))).await?;
    if !is_confirmed {
        return Ok(());
    }
    // A proof that comes between two passes leaves a pod half removed: the chain begins again for it.
    let mut before = deleted(subjects).await;
    for _ in 0..MOST_ROUNDS {
        run_all(loops, updates).await?;
        let after = deleted(subjects).await;
        if after.is_subset(&before) {
            break;
        }
        before = after;
    }
    Ok(())
}

/// The pods of which something is left and that are deleted. None where the node can't be observed: the passes say why.
async fn deleted(subjects: &Subjects) -> HashSet<String> {
    let Ok(state) = generation(subjects).await else { return HashSet::new() };
    let Ok(view) = observe::pods(&subjects.tools, &state.generation.settings).await else {
        return HashSet::new();
    };
    let pods = view.verdict.pods;
    let is_deleted = |pod: &Pod| pods.synced && pod.state == PodState::Deleted;
    pods.pods.iter().filter(|pod| is_deleted(pod)).map(|pod| pod.uid.clone()).collect()
}
