//! Deleted pods that container GC removes as a whole, and those whose containers it removes one by one after all.

use std::time::Duration;

use actix_rt::Arbiter;
use cri_gc_collectors::collector::Collector;
use cri_gc_collectors::collector::messages::RunPass;
use cri_gc_collectors::container_gc::ContainerGc;
use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_config::Mode;
use cri_gc_kit::supervision::threads::Lease;
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Fault, Method, PodSpec, Scope};
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, HOUR, MINUTE, outcome, removed, uid};

on_each_flavour!(
    a_deleted_pod_is_removed_by_one_list_a_stop_and_a_removal,
    both_sandboxes_of_a_deleted_pod_are_removed_with_what_is_in_them,
    what_the_sandbox_or_log_loop_may_not_remove_is_removed_one_by_one,
    a_container_that_may_not_have_ended_long_ago_keeps_the_pod_from_being_removed_as_a_whole,
    a_pod_that_comes_up_again_or_gets_a_container_keeps_everything,
    after_a_failure_the_containers_are_removed_one_by_one_and_no_other_pod_is_tried,
    a_pause_of_the_sandbox_loop_is_seen_between_stop_and_removal,
    a_pod_of_which_anything_is_kept_is_removed_one_by_one,
    a_stop_that_hangs_keeps_no_container,
);

/// A node on which what has ended is seen dead for long enough at once.
fn bed() -> Bed {
    let mut bed = Bed::new();
    bed.settings.container_gc.min_dead_age = Duration::ZERO;
    bed
}

/// A deleted pod with three containers that have ended: the sandbox and these.
fn pod(bed: &Bed, number: usize) -> (String, [String; 3]) {
    let sandbox = bed.dead_pod(number);
    let containers = [("app", 0), ("app", 1), ("sidecar", 0)];
    let containers = containers.map(|(name, attempt)| bed.ended(&sandbox, name, attempt));
    (sandbox, containers)
}

fn pass(bed: &Bed) -> PassReport {
    bed.run(async |crew| crew.containers().await)
}

fn counts<const N: usize>(bed: &Bed, methods: [Method; N]) -> [usize; N] {
    methods.map(|method| bed.sim.count(method))
}

/// The calls that remove containers one by one, and those that remove pods.
fn removals(bed: &Bed) -> [usize; 3] {
    counts(bed, [Method::RemoveContainer, Method::StopPodSandbox, Method::RemovePodSandbox])
}

fn a_deleted_pod_is_removed_by_one_list_a_stop_and_a_removal() {
    let bed = bed();
    let living = bed.living_pod(9);
    let (_, kept) = (bed.ended(&living, "app", 0), bed.ended(&living, "app", 1));
    let pods = [1, 2, 3].map(|number| pod(&bed, number));
    let directories = || std::fs::read_dir(&bed.settings.log_gc.pod_logs_root).unwrap().count();
    assert_eq!(directories(), 4);
    bed.run(async |crew| {
        let report = crew.containers().await;
        assert!(report.is_good(), "{:?}", report.errors);
        for (sandbox, containers) in &pods {
            assert_eq!(outcome(&report, sandbox), Some(Outcome::Removed));
            for id in containers {
                assert_eq!(outcome(&report, id), Some(Outcome::Removed));
            }
        }
        assert_eq!((report.counts.removed, bed.sim.container_ids()), (3 * 4 + 1, vec![kept]));
        assert_eq!(removals(&bed), [1, 3, 3]);
        // All sandboxes, and those that are ready; all containers, those of each pod, those of the living one.
        assert_eq!(counts(&bed, [Method::ListPodSandbox, Method::ListContainers]), [2, 5]);
        // Only the pod source has asked when each finished.
        assert_eq!(bed.sim.count(Method::ContainerStatus), 9);
        // Their logs are removed with their directories.
        assert_eq!(directories(), 4);
        assert_eq!(removed(&crew.sandboxes().await), Vec::<String>::new());
        assert_eq!(crew.logs().await.counts.removed, 3);
        assert_eq!(directories(), 1);
    });
}

fn both_sandboxes_of_a_deleted_pod_are_removed_with_what_is_in_them() {
    let bed = bed();
    let (first, _) = pod(&bed, 1);
    let made = bed.sim.ago(HOUR);
    let second = PodSpec::new("ns", "pod-1", uid(1)).attempt(1).created_at(made).not_ready();
    let second = bed.sim.add_pod(second).unwrap();
    bed.ended(&second, "app", 2);
    let report = pass(&bed);
    assert!([first, second].iter().all(|id| outcome(&report, id) == Some(Outcome::Removed)));
    assert_eq!((report.counts.removed, removals(&bed)), (6, [0, 2, 2]));
}

fn what_the_sandbox_or_log_loop_may_not_remove_is_removed_one_by_one() {
    for mode in [Mode::Report, Mode::Off] {
        let mut bed = bed();
        bed.settings.sandbox_gc.mode = mode;
        pod(&bed, 1);
        assert_eq!((pass(&bed).counts.removed, removals(&bed)), (3, [3, 0, 0]));
        let mut bed = self::bed();
        bed.settings.log_gc.mode = mode;
        pod(&bed, 1);
        assert_eq!((pass(&bed).counts.removed, removals(&bed)), (3, [3, 0, 0]));
    }
    let mut bed = bed();
    bed.settings.sandbox_gc.min_age = 3 * HOUR;
    pod(&bed, 1);
    assert_eq!((pass(&bed).counts.removed, removals(&bed)), (3, [3, 0, 0]));
}

fn a_container_that_may_not_have_ended_long_ago_keeps_the_pod_from_being_removed_as_a_whole() {
    let changes: [fn(ContainerSpec) -> ContainerSpec; 3] = [
        |spec| spec.state(ContainerState::Unknown),
        |spec| spec.state(ContainerState::Created).no_log(),
        // Where its log is, its labels don't show.
        |spec| spec.with(|spec| spec.kubelet_labels = false),
    ];
    for change in changes {
        let bed = bed();
        let (sandbox, _) = pod(&bed, 1);
        bed.sim.add_container(change(bed.ended_spec(&sandbox, "init", 0))).unwrap();
        pass(&bed);
        assert_eq!(counts(&bed, [Method::StopPodSandbox, Method::RemovePodSandbox]), [0, 0]);
    }
    // A pass that has not seen them dead for long enough asks each when it finished.
    let mut bed = bed();
    bed.settings.container_gc.min_dead_age = MINUTE;
    pod(&bed, 1);
    assert_eq!((pass(&bed).counts.removed, removals(&bed)), (3, [3, 0, 0]));
    assert_eq!(
        bed.sim.count(Method::ContainerStatus),
        3 + 3,
        "by the pod source, and right before the removal"
    );
}

fn a_pod_that_comes_up_again_or_gets_a_container_keeps_everything() {
    let bed = bed();
    let (sandbox, containers) = pod(&bed, 1);
    // The list of those that are ready is the first one after those of the pass.
    let mut lists = 0;
    bed.sim.before(Method::ListPodSandbox, move |node, id| {
        lists += usize::from(id.is_empty());
        if lists == 2 {
            drop(node.add_pod(PodSpec::new("ns", "pod-1", uid(1)).attempt(1)));
        }
    });
    let report = pass(&bed);
    assert_eq!((report.counts.refused, removals(&bed)), (3, [0, 0, 0]), "{:?}", report.removals);
    assert_eq!(bed.sim.container_ids().len(), containers.len());

    let bed = self::bed();
    let (other, _) = pod(&bed, 1);
    assert_eq!(other.len(), sandbox.len());
    let of = other.clone();
    bed.sim.before(Method::ListContainers, move |node, id| {
        if id == of && node.containers_in(id).count() == 3 {
            drop(node.add_container(ContainerSpec::new(id, "new").state(ContainerState::Created)));
        }
    });
    let report = pass(&bed);
    assert_eq!((report.counts.refused, removals(&bed)), (3, [0, 0, 0]), "{:?}", report.removals);
}

fn after_a_failure_the_containers_are_removed_one_by_one_and_no_other_pod_is_tried() {
    let mut bed = bed();
    bed.settings.sandbox_gc.parallel_removals = 1;
    bed.run(async |crew| {
        (1..=3).for_each(|number| drop(pod(&bed, number)));
        let fault = Fault::error(Code::Unknown, "the network can't be torn down");
        bed.sim.fault(Method::StopPodSandbox, fault, Scope::Always);
        let report = crew.containers().await;
        assert_eq!((report.counts.removed, removals(&bed)), (9, [9, 1, 0]), "{:?}", report.errors);
        // The sandbox loop reports it.
        assert!(report.is_good());
        assert_eq!(crew.sandboxes().await.counts.failed, 3);

        bed.sim.clear_faults();
        assert_eq!(crew.sandboxes().await.counts.removed, 3);
        bed.sim.clear_calls();
        pod(&bed, 4);
        bed.sim.advance(5 * MINUTE);
        crew.containers().await;
        assert_eq!(removals(&bed), [3, 0, 0]);
        crew.sandboxes().await;
        bed.sim.clear_calls();
        pod(&bed, 5);
        bed.sim.advance(6 * MINUTE);
        crew.containers().await;
        assert_eq!(removals(&bed), [0, 1, 1]);
        // What a removal has left is removed one by one.
        bed.sim.clear_calls();
        pod(&bed, 6);
        bed.sim.fault(Method::RemovePodSandbox, Fault::error(Code::Unknown, "busy").after(), Scope::Times(1));
        let report = crew.containers().await;
        assert_eq!(report.counts.gone, 3, "{:?}", report.removals);
    });
}

fn a_pause_of_the_sandbox_loop_is_seen_between_stop_and_removal() {
    let bed = bed();
    let standing = Lease::default();
    pod(&bed, 1);
    let paused = standing.clone();
    bed.sim.before_next(Method::StopPodSandbox, move |_, _| paused.pause(true));
    bed.run(async |crew| {
        let settings = std::sync::Arc::new(bed.settings.clone());
        let gc = Collector::start(&Arbiter::current(), crew.tools.clone(), settings, move || {
            ContainerGc::new(standing.clone())
        });
        let report = gc.send(RunPass::default()).await.unwrap().unwrap();
        assert_eq!((report.counts.removed, removals(&bed)), (3, [3, 1, 0]));
        // From the start on.
        bed.sim.clear_calls();
        pod(&bed, 2);
        gc.send(RunPass::default()).await.unwrap().unwrap();
        assert_eq!(removals(&bed), [3, 0, 0]);
    });
}

fn a_pod_of_which_anything_is_kept_is_removed_one_by_one() {
    let mut bed = bed();
    bed.settings.container_gc.min_age = 90 * MINUTE;
    let old = |spec: ContainerSpec| spec.exited(bed.sim.ago(2 * HOUR), bed.sim.ago(100 * MINUTE));
    let sandbox = bed.dead_pod(1);
    bed.sim.add_container(old(ContainerSpec::new(&sandbox, "app"))).unwrap();
    let made = bed.sim.ago(2 * HOUR);
    let second = PodSpec::new("ns", "pod-1", uid(1)).attempt(1).created_at(made).not_ready();
    let second = bed.sim.add_pod(second).unwrap();
    bed.sim.add_container(old(ContainerSpec::new(&second, "app").attempt(1))).unwrap();
    // Too young, in the other sandbox.
    let young = bed.ended(&second, "sidecar", 0);
    let report = pass(&bed);
    assert_eq!((report.counts.removed, removals(&bed)), (2, [2, 0, 0]));
    assert_eq!(bed.sim.container_ids(), [young]);
}

fn a_stop_that_hangs_keeps_no_container() {
    let mut bed = bed();
    bed.settings.sandbox_gc.parallel_removals = 1;
    bed.settings.runtime.request_timeout = Duration::from_secs(1);
    (1..=2).for_each(|number| drop(pod(&bed, number)));
    bed.sim.fault(Method::StopPodSandbox, Fault::Hang, Scope::Always);
    let report = pass(&bed);
    assert_eq!((report.counts.removed, removals(&bed)), (6, [6, 1, 0]), "{:?}", report.errors);
}
