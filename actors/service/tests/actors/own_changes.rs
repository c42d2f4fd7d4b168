//! What cri-gc itself changes on the node is no sign that a pod lives: neither for the pass after, nor for the next start or
//! the next one-shot command.

use std::path::PathBuf;

use cri_gc_policy::PodState::{Deleted, Unknown};
use cri_gc_sim::LogSpec;

use super::bed::{Bed, Crew, SECOND, removed};
use super::kubernetes::{evidence, read_twice, state};
use super::pod_states::{by_file, list};

/// Pod 1 lives. Pod 2 is dead, with two containers of one name that have logs, rotated ones and legacy links. Returns
/// the older container and the directory of their logs.
fn pods(bed: &Bed) -> (String, PathBuf) {
    bed.living_pod(1);
    let sandbox = bed.dead_pod(2);
    let ids = [0, 1].map(|attempt| {
        let log = LogSpec { rotated: 2, legacy_link: true, ..LogSpec::default() };
        bed.sim.add_container(bed.ended_spec(&sandbox, "app", attempt).log(log)).unwrap()
    });
    let log = bed.sim.with(|node| node.container(&ids[0]).unwrap().log_path.clone());
    let [older, _] = ids;
    (older, log.parent().unwrap().to_owned())
}

fn names(bed: &Bed, logs: &PathBuf) -> [usize; 2] {
    [logs, &bed.sim.paths().legacy_root].map(|path| std::fs::read_dir(path).unwrap().count())
}

/// A container pass removes the older container of pod 2 with all its logs, before the pod is confirmed deleted.
async fn remove_the_older(bed: &Bed, crew: &Crew, (older, logs): &(String, PathBuf)) {
    assert_eq!(names(bed, logs), [6, 2]);
    assert_eq!(&removed(&crew.containers().await), std::slice::from_ref(older));
    assert_eq!(names(bed, logs), [3, 1]);
}

#[test]
fn with_source_file_a_removed_log_does_not_make_a_pod_newer_than_a_list_that_is_not_written_again() {
    let bed = by_file();
    let before = pods(&bed);
    list(&bed, &[1]);
    bed.run(async |crew| {
        remove_the_older(&bed, crew, &before).await;
        read_twice(&bed, crew).await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted, "{}", evidence(crew, 2).await);
    });
    // The next command, or the service after a restart.
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted, "{}", evidence(crew, 2).await);
        assert_eq!(removed(&crew.containers().await).len(), 1);
        assert_eq!(removed(&crew.sandboxes().await).len(), 1);
    });
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        assert_eq!(removed(&crew.logs().await).len(), 1, "{}", evidence(crew, 2).await);
    });
}

#[test]
fn with_source_file_what_another_process_writes_after_a_removal_still_keeps_the_pod() {
    let bed = by_file();
    let before = pods(&bed);
    list(&bed, &[1]);
    bed.run(async |crew| {
        remove_the_older(&bed, crew, &before).await;
        std::fs::write(before.1.join("2.log"), "x").unwrap();
        read_twice(&bed, crew).await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Unknown, "{}", evidence(crew, 2).await);
    });
}

#[test]
fn with_source_runtime_a_removed_log_does_not_start_the_grace_again() {
    let bed = Bed::new();
    pods(&bed);
    bed.run(async |crew| {
        assert_eq!(removed(&crew.containers().await).len(), 2);
        assert_eq!(removed(&crew.sandboxes().await).len(), 1);
    });
    bed.run(async |crew| {
        assert_eq!(state(&bed, crew, 2).await, Deleted, "{}", evidence(crew, 2).await);
        assert_eq!(removed(&crew.logs().await).len(), 1);
    });
}

#[test]
fn with_source_kubelet_a_removed_log_needs_no_later_lists() {
    use super::kubernetes::{kubelet::by_kubelet, pod};
    let kubelet = cri_gc_test_support::kubernetes::FakeKubelet::start(super::kubernetes::NODE);
    let bed = by_kubelet(&kubelet);
    kubelet.set_pods(vec![pod(1)]);
    let before = pods(&bed);
    bed.run(async |crew| {
        crew.tools.pods.resync().await.unwrap();
        remove_the_older(&bed, crew, &before).await;
        bed.sim.advance(2 * SECOND);
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted, "{}", evidence(crew, 2).await);
    });
}

#[cfg(feature = "kubernetes")]
#[test]
fn with_source_kube_api_a_removed_log_does_not_ask_for_later_lists() {
    use super::bed::MINUTE;
    use super::kubernetes::{kube_api::by_api, pod};
    let api = cri_gc_test_support::kubernetes::FakeApi::start(super::kubernetes::NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    let before = pods(&bed);
    bed.run(async |crew| {
        crew.tools.pods.resync().await.unwrap();
        remove_the_older(&bed, crew, &before).await;
        bed.sim.advance(MINUTE);
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted, "{}", evidence(crew, 2).await);
    });
}
