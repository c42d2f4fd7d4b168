//! Passes that a client requests, with what it gets while they are in progress.

use std::collections::HashSet;

use cri_gc_collectors::collector::LoopHandle;
use cri_gc_collectors::observe;
use cri_gc_policy::{Pod, PodState};
use cri_gc_proto::admin as api;
use ecow::EcoString;
use tokio::sync::mpsc::{Sender, unbounded_channel};
use tonic::Status;

use super::answers;
use super::subjects::{Subjects, restarting};

/// Where the client gets its updates. A function that returns `None` has found that the client is gone, or has ended its stream
/// with an error.
type Updates = Sender<Result<api::PassUpdate, Status>>;

/// A pass of each, in this order.
pub(super) async fn run_all(loops: &[LoopHandle], updates: &Updates) -> Option<()> {
    for next in loops {
        // Where the client is gone, nothing more is begun: the loops make their passes by themselves.
        if updates.is_closed() {
            return None;
        }
        run(next, updates).await?;
    }
    Some(())
}

/// One pass, whose progress is sent to the client.
async fn run(of: &LoopHandle, updates: &Updates) -> Option<()> {
    let (progress, mut received) = unbounded_channel();
    let sending = async {
        // It ends with the pass, which has the sender.
        while let Some(progress) = received.recv().await {
            updates.send(Ok(answers::progress(&progress))).await.ok()?;
        }
        Some(())
    };
    let (report, sent) = futures_util::join!(of.run(Some(progress)), sending);
    sent?;
    match report {
        Ok(report) => updates.send(Ok(answers::ended(&report))).await.ok(),
        Err(declined) => {
            let _ = updates.send(Err(Status::failed_precondition(declined.to_string()))).await;
            None
        }
    }
}

/// How often it makes a pass of each loop, at most.
const MOST_ROUNDS: usize = 5;

/// Confirms the pods that are missing from the source, and makes passes until no more of them are confirmed deleted.
pub(super) async fn confirm_and_run(
    subjects: &Subjects,
    loops: &[LoopHandle],
    updates: &Updates,
) -> Option<()> {
    // An observation first: what has vanished since the last pass is meant as well.
    deleted(subjects).await;
    // A client that gave up confirms nothing.
    if updates.is_closed() {
        return None;
    }
    let confirmed = subjects.tools.pods.confirm().await.map(answers::confirmed);
    let is_confirmed = confirmed.is_some();
    updates.send(confirmed.ok_or_else(|| restarting("pod tracking"))).await.ok()?;
    if !is_confirmed {
        return None;
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
    Some(())
}

/// The pods of which something is left and that are deleted. Empty where the node can't be observed: the passes report why.
async fn deleted(subjects: &Subjects) -> HashSet<EcoString> {
    let Ok(state) = subjects.settings().await else { return HashSet::new() };
    let Ok(view) = observe::pods(&subjects.tools, &state.generation.settings).await else {
        return HashSet::new();
    };
    let pods = view.verdict.pods;
    let is_deleted = |pod: &Pod| pods.synced && pod.state == PodState::Deleted;
    pods.pods.iter().filter(|pod| is_deleted(pod)).map(|pod| pod.uid.clone()).collect()
}
