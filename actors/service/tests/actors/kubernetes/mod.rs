//! The pod sources `kubelet` and `kube-api`, as a one-shot command uses them: read twice, then judged.

#[cfg(feature = "kubernetes")]
pub mod kube_api;
pub mod kubelet;

use std::collections::HashMap;

use cri_gc_collectors::observe;
use cri_gc_pods::{SourceError, Verdict};
use cri_gc_policy::PodState::{self, Unknown};
use cri_gc_test_support::kubernetes::PodObject;

use super::bed::{Bed, Crew, SECOND, uid};

pub const NODE: &str = "node-1";

/// A pod as Kubernetes knows the bed's pod of that number.
pub fn pod(number: usize) -> PodObject {
    PodObject::new("ns", &format!("pod-{number}"), &uid(number)).phase("Running")
}

pub async fn verdict(bed: &Bed, crew: &Crew) -> Verdict {
    observe::pods(&crew.tools, &bed.settings).await.unwrap().verdict
}

pub async fn states(bed: &Bed, crew: &Crew) -> HashMap<String, PodState> {
    let pods = verdict(bed, crew).await.pods;
    let state = |state| if pods.synced { state } else { Unknown };
    pods.pods.iter().map(|pod| (pod.uid.to_string(), state(pod.state))).collect()
}

pub async fn state(bed: &Bed, crew: &Crew, number: usize) -> PodState {
    states(bed, crew).await.get(&uid(number)).copied().unwrap_or(Unknown)
}

/// By which evidence.
pub async fn evidence(crew: &Crew, number: usize) -> String {
    let facts = crew.tools.pods.source().await.unwrap().pods;
    facts.into_iter().find(|pod| pod.uid == uid(number)).unwrap().standing.to_string()
}

/// Two readings, as a one-shot command makes them.
pub async fn read_twice(bed: &Bed, crew: &Crew) -> Result<(), SourceError> {
    crew.tools.pods.resync().await?;
    bed.sim.advance(2 * SECOND);
    crew.tools.pods.resync().await
}

pub fn kubelet_directories(bed: &Bed, numbers: &[usize]) {
    let root = bed.settings.pods.kubelet_root.join("pods");
    std::fs::create_dir_all(&root).unwrap();
    for number in numbers {
        std::fs::create_dir_all(root.join(uid(*number))).unwrap();
    }
}
