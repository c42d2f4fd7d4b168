//! What changes between the plan of container GC and a removal: the re-check sees it.

use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_sim::{ContainerSpec, ContainerState, Method, Node};
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, MINUTE, SECOND, kept_for, outcome};

on_each_flavour!(
    one_that_runs_again_is_kept,
    one_that_was_started_and_has_ended_since_is_kept_until_it_is_dead_for_long_enough,
    one_that_is_removed_by_then_is_no_failure,
    a_created_one_that_was_started_after_the_plan_is_not_stopped,
    one_that_finished_just_now_is_kept_though_the_list_did_not_say_so,
    what_the_recheck_refuses_is_made_up_for_by_nothing_else,
    the_check_of_one_removal_says_nothing_of_the_next,
);

/// One container that is to be removed, and what happens to it right before the re-check that begins its removal.
fn raced(change: impl FnOnce(&mut Node, &str) + Send + 'static) -> (Bed, String, PassReport) {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.living_pod(1);
    let id = bed.ended(&pod, "app", 0);
    bed.sim.before_next(Method::ContainerStatus, change);
    let report = bed.run(async |crew| crew.containers().await);
    (bed, id, report)
}

fn one_that_runs_again_is_kept() {
    let (bed, id, report) = raced(|node, id| node.set_container_state(id, ContainerState::Running).unwrap());
    assert_eq!(kept_for(&report, &id).as_deref(), Some("running"));
    assert_eq!(bed.harmful_calls(), 0);
    assert!(report.is_good());
}

fn one_that_was_started_and_has_ended_since_is_kept_until_it_is_dead_for_long_enough() {
    let (bed, id, report) = raced(|node, id| {
        node.set_container_state(id, ContainerState::Running).unwrap();
        node.advance(10 * SECOND);
        node.set_container_state(id, ContainerState::Exited).unwrap();
    });
    assert_eq!(kept_for(&report, &id).as_deref(), Some("finished_recently"));
    assert_eq!(bed.harmful_calls(), 0);
}

fn one_that_is_removed_by_then_is_no_failure() {
    let (bed, id, report) = raced(|node, id| node.remove_container(id).unwrap());
    assert_eq!(outcome(&report, &id), Some(Outcome::AlreadyGone));
    assert_eq!(bed.harmful_calls(), 0);
    assert!(report.is_good());
}

fn a_created_one_that_was_started_after_the_plan_is_not_stopped() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.living_pod(1);
    let made = bed.sim.ago(10 * MINUTE);
    let spec = ContainerSpec::new(&pod, "app").state(ContainerState::Created).created_at(made).no_log();
    let id = bed.sim.add_container(spec).unwrap();
    bed.sim.before_next(Method::ContainerStatus, |node, id| node.start_container(id).unwrap());
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(kept_for(&report, &id).as_deref(), Some("running"));
    assert_eq!(bed.harmful_calls(), 0);
    assert_eq!(bed.sim.with(|node| node.container(&id).unwrap().spec.state), ContainerState::Running);
}

fn one_that_finished_just_now_is_kept_though_the_list_did_not_say_so() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.living_pod(1);
    let (made, ended) = (bed.sim.ago(30 * MINUTE), bed.sim.ago(59 * SECOND));
    let id = bed.sim.add_container(ContainerSpec::new(&pod, "app").exited(made, ended)).unwrap();
    bed.run(async |crew| {
        let report = crew.containers().await;
        assert_eq!(kept_for(&report, &id).as_deref(), Some("finished_recently"));
        assert_eq!(bed.harmful_calls(), 0);
        bed.sim.advance(SECOND);
        assert_eq!(outcome(&crew.containers().await, &id), Some(Outcome::Removed));
    });
}

fn what_the_recheck_refuses_is_made_up_for_by_nothing_else() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    let ids: Vec<String> = (0..3).map(|n| bed.ended(&pod, "app", n)).collect();
    let saved = ids[0].clone();
    bed.sim.before(Method::ContainerStatus, move |node, id| {
        if id == saved {
            node.set_container_state(id, ContainerState::Running).unwrap();
        }
    });
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(kept_for(&report, &ids[0]).as_deref(), Some("running"));
    assert_eq!(bed.calls(Method::RemoveContainer), [ids[1].clone()]);
    assert_eq!(kept_for(&report, &ids[2]).as_deref(), Some("within_limits"));
}

fn the_check_of_one_removal_says_nothing_of_the_next() {
    // The second is started right before the first one is removed: only a check of its own can see that.
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    bed.settings.container_gc.parallel_removals = 1;
    let pod = bed.living_pod(1);
    let (first, second) = (bed.ended(&pod, "app", 0), bed.ended(&pod, "app", 1));
    let started = second.clone();
    bed.sim.before_next(Method::RemoveContainer, move |node, _| {
        node.set_container_state(&started, ContainerState::Running).unwrap();
    });
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(outcome(&report, &first), Some(Outcome::Removed));
    assert_eq!(kept_for(&report, &second).as_deref(), Some("running"));
    assert_eq!(bed.calls(Method::RemoveContainer), [first]);
}
