//! Passes that a client requests, with what it gets while they are in progress.

use std::collections::HashSet;

use cri_gc_collectors::collector::LoopHandle;
use cri_gc_collectors::observe;
use cri_gc_policy::{Pod, PodState};
use cri_gc_proto::admin as api;
use tokio::sync::mpsc::unbounded_channel;
use tonic::Status;

use super::answers;
use super::messages::Updates;
use super::subjects::{Subjects, restarting};

/// The client has gone, or its stream has ended with an error.
pub(super) struct Ended;

async fn update(updates: &Updates, update: Result<api::PassUpdate, Status>) -> Result<(), Ended> {
    updates.send(update).await.map_err(|_| Ended)
}

/// A pass of each, in this order.
pub(super) async fn run_all(loops: &[LoopHandle], updates: &Updates) -> Result<(), Ended> {
    for next in loops {
        // Where the client is gone, nothing more is begun: the loops make their passes by themselves.
        if updates.is_closed() {
            return Ok(());
        }
        run(next, updates).await?;
    }
    Ok(())
}

/// One pass, told as it goes on.
async fn run(of: &LoopHandle, updates: &Updates) -> Result<(), Ended> {
    let (progress, mut told) = unbounded_channel();
    let telling = async {
        // It ends with the pass, which holds the sender.
        while let Some(progress) = told.recv().await {
            update(updates, Ok(answers::update(&progress))).await?;
        }
        Ok(())
    };
    let (report, told) = futures_util::join!(of.run(Some(progress)), telling);
    told?;
    match report {
        Ok(report) => update(updates, Ok(answers::ended(&report))).await,
        Err(declined) => {
            update(updates, Err(Status::failed_precondition(declined.to_string()))).await?;
            Err(Ended)
        }
    }
}

/// How often it goes through the loops, at most.
const MOST_ROUNDS: usize = 5;

/// Confirms the pods that are missing from the source, and makes passes until no more of them are confirmed deleted.
pub(super) async fn confirm_and_run(
    subjects: &Subjects,
    loops: &[LoopHandle],
    updates: &Updates,
) -> Result<(), Ended> {
    // An observation first: what has vanished since the last pass is meant as well.
    deleted(subjects).await;
    // An order that was taken back confirms nothing.
    if updates.is_closed() {
        return Ok(());
    }
    let confirmed = subjects.tools.pods.confirm().await.map(answers::confirmed);
    let is_confirmed = confirmed.is_some();
    update(updates, confirmed.ok_or_else(|| restarting("pod tracking"))).await?;
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
    let Ok(state) = subjects.settings().await else { return HashSet::new() };
    let Ok(view) = observe::pods(&subjects.tools, &state.generation.settings).await else {
        return HashSet::new();
    };
    let pods = view.verdict.pods;
    let is_deleted = |pod: &Pod| pods.synced && pod.state == PodState::Deleted;
    pods.pods.iter().filter(|pod| is_deleted(pod)).map(|pod| pod.uid.clone()).collect()
}
