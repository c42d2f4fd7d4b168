//! Passes of the sandbox reaper, and what changes between its plan, its stop and its removal.

use std::sync::Arc;

use actix_rt::Arbiter;
use cri_gc_collectors::collector::Collector;
use cri_gc_collectors::collector::messages::{Handed, RunPass};
use cri_gc_collectors::observe;
use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_collectors::sandbox_reaper::SandboxReaper;
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Fault, Method, PodSpec, SandboxState, Scope};
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, HOUR, MINUTE, SECOND, errors, kept_for, outcome, removed, uid};

on_each_flavour!(
    an_empty_sandbox_of_a_deleted_pod_is_stopped_then_removed,
    of_a_living_pod_all_but_the_newest_are_removed_oldest_first,
    one_that_is_ready_again_is_kept,
    a_container_made_between_plan_and_stop_saves_it,
    a_container_made_between_stop_and_removal_saves_it,
    where_the_stop_fails_the_sandbox_is_kept_and_the_others_are_removed,
    a_recheck_that_fails_removes_nothing,
    one_that_another_client_removed_is_no_failure,
    without_a_complete_list_nothing_is_removed,
    a_sandbox_whose_containers_were_removed_a_pass_before_can_be_removed,
    what_another_loop_has_seen_counts_only_under_the_same_settings_and_for_a_moment,
);

fn what_another_loop_has_seen_counts_only_under_the_same_settings_and_for_a_moment() {
    let bed = Bed::new();
    bed.living_pod(1);
    bed.run(async |crew| {
        let settings = Arc::new(bed.settings.clone());
        let tools = crew.tools.clone();
        let arbiter = Arbiter::current();
        let reaper = Collector::start(&arbiter, tools, Arc::clone(&settings), SandboxReaper::default);
        let seen = Arc::new(observe::pods(&crew.tools, &settings).await.unwrap());
        // How many lists a pass makes that gets this.
        let lists = async |settings: &Arc<_>| {
            let before = bed.sim.count(Method::ListPodSandbox);
            let handed = Handed { view: Arc::clone(&seen), settings: Arc::clone(settings) };
            let run = RunPass { seen: Some(handed), ..RunPass::default() };
            let report = reaper.send(run).await.unwrap().unwrap();
            assert_eq!((report.errors.len(), report.kept.len()), (0, 1));
            bed.sim.count(Method::ListPodSandbox) - before
        };
        assert_eq!(lists(&settings).await, 0);
        assert_eq!(
            lists(&Arc::new(bed.settings.clone())).await,
            1,
            "the pods may be judged by another source"
        );
        bed.sim.advance(6 * SECOND);
        assert_eq!(lists(&settings).await, 1, "it is old");
    });
}

async fn pass(bed: &Bed) -> PassReport {
    bed.crew().sandboxes().await
}

/// The list of sandboxes that is the check of the first removal: the one before is that of the pass.
const CHECK: usize = 2;

fn reap(bed: &Bed) -> PassReport {
    bed.run(async |crew| crew.sandboxes().await)
}

/// Calls that name that sandbox, but for lists of everything.
fn calls_about(bed: &Bed, id: &str) -> Vec<Method> {
    bed.sim.calls().into_iter().filter(|call| call.id == id).map(|call| call.method).collect()
}

fn an_empty_sandbox_of_a_deleted_pod_is_stopped_then_removed() {
    let bed = Bed::new();
    let id = bed.dead_pod(1);
    let report = reap(&bed);
    assert_eq!(outcome(&report, &id), Some(Outcome::Removed));
    let expected =
        [Method::ListContainers, Method::StopPodSandbox, Method::ListContainers, Method::RemovePodSandbox];
    assert_eq!(calls_about(&bed, &id), expected);
    assert_eq!(bed.sim.sandbox_ids(), Vec::<String>::new());
}

fn of_a_living_pod_all_but_the_newest_are_removed_oldest_first() {
    let mut bed = Bed::new();
    bed.settings.sandbox_gc.parallel_removals = 1;
    let add = |attempt: u32, ready: bool| {
        let made = bed.sim.ago(HOUR - attempt * MINUTE);
        let pod = PodSpec::new("ns", "pod", uid(1)).attempt(attempt).created_at(made);
        bed.sim.add_pod(if ready { pod } else { pod.not_ready() }).unwrap()
    };
    let (ready, first, second) = (add(3, true), add(0, false), add(1, false));
    let full = add(2, false);
    bed.sim
        .add_container(ContainerSpec::new(&full, "app").exited(bed.sim.ago(HOUR), bed.sim.ago(HOUR)))
        .unwrap();
    let report = reap(&bed);
    assert_eq!(removed(&report), [first, second]);
    assert_eq!(kept_for(&report, &ready).as_deref(), Some("sandbox_ready"));
    assert_eq!(kept_for(&report, &full).as_deref(), Some("has_containers"));
    assert!(reap(&bed).removals.is_empty(), "a second pass finds nothing");
}

fn one_that_is_ready_again_is_kept() {
    let bed = Bed::new();
    let id = bed.dead_pod(1);
    let again = id.clone();
    bed.sim.before_nth(Method::ListPodSandbox, CHECK, move |node, _| {
        node.set_sandbox_state(&again, SandboxState::Ready).unwrap();
    });
    let report = reap(&bed);
    assert_eq!(kept_for(&report, &id).as_deref(), Some("sandbox_ready"));
    assert_eq!(bed.harmful_calls(), 0);
}

fn a_container_made_between_plan_and_stop_saves_it() {
    for state in [ContainerState::Created, ContainerState::Running, ContainerState::Exited] {
        let bed = Bed::new();
        let id = bed.dead_pod(1);
        let sandbox = id.clone();
        bed.sim.before_nth(Method::ListPodSandbox, CHECK, move |node, _| {
            node.add_container(ContainerSpec::new(&sandbox, "new").state(state)).unwrap();
        });
        let report = reap(&bed);
        assert_eq!(kept_for(&report, &id).as_deref(), Some("has_containers"), "{state:?}");
        assert_eq!(bed.harmful_calls(), 0);
        assert_eq!(bed.sim.container_ids().len(), 1);
    }
}

fn a_container_made_between_stop_and_removal_saves_it() {
    let bed = Bed::new();
    let id = bed.dead_pod(1);
    // While the network is torn down another client creates a container.
    bed.sim.before_next(Method::StopPodSandbox, |node, id| {
        node.add_container(ContainerSpec::new(id, "new").state(ContainerState::Created)).unwrap();
    });
    let report = reap(&bed);
    assert_eq!(kept_for(&report, &id).as_deref(), Some("has_containers"));
    assert_eq!(bed.sim.count(Method::RemovePodSandbox), 0);
    assert_eq!(bed.sim.container_ids().len(), 1);
}

fn where_the_stop_fails_the_sandbox_is_kept_and_the_others_are_removed() {
    let bed = Bed::new();
    let (stuck, other) = (bed.dead_pod(1), bed.dead_pod(2));
    let fault = Fault::error(Code::Unknown, "CNI teardown failed");
    bed.sim.fault(Method::StopPodSandbox, fault, Scope::ForId(stuck.clone()));
    let report = reap(&bed);
    let Some(Outcome::Failed { error }) = outcome(&report, &stuck) else { panic!("{report:?}") };
    assert!(error.contains("CNI teardown failed"), "{error}");
    assert_eq!(outcome(&report, &other), Some(Outcome::Removed));
    assert_eq!(bed.calls(Method::RemovePodSandbox), [other]);
}

fn a_recheck_that_fails_removes_nothing() {
    for method in [Method::ListPodSandbox, Method::ListContainers] {
        let bed = Bed::new();
        let id = bed.dead_pod(1);
        let sim = bed.sim.clone();
        // After the list that the plan rests on.
        bed.sim.before_next(method, move |_, _| {
            sim.fault(method, Fault::error(Code::Unknown, "boom"), Scope::Times(1));
        });
        let report = reap(&bed);
        assert!(matches!(outcome(&report, &id), Some(Outcome::Failed { .. })), "{method}: {report:?}");
        assert_eq!(bed.harmful_calls(), 0, "{method}");
    }
}

fn one_that_another_client_removed_is_no_failure() {
    let bed = Bed::new();
    let id = bed.dead_pod(1);
    let gone = id.clone();
    bed.sim.before_nth(Method::ListPodSandbox, CHECK, move |node, _| node.remove_sandbox(&gone).unwrap());
    let report = reap(&bed);
    assert_eq!(outcome(&report, &id), Some(Outcome::AlreadyGone));
    assert!(report.is_good());
}

fn without_a_complete_list_nothing_is_removed() {
    for method in [Method::ListPodSandbox, Method::ListContainers] {
        let bed = Bed::new();
        bed.dead_pod(1);
        let fault = Fault::error(Code::Unknown, "the metadata store is damaged");
        bed.sim.fault(method, fault, Scope::ForId(String::new()));
        let report = reap(&bed);
        assert!(report.removals.is_empty());
        let errors = errors(&report);
        assert!(errors.len() == 1 && errors[0].contains("is damaged"), "{errors:?}");
        assert_eq!(bed.harmful_calls(), 0, "{method}");
    }
}

fn a_sandbox_whose_containers_were_removed_a_pass_before_can_be_removed() {
    let bed = Bed::new();
    let id = bed.dead_pod(1);
    bed.ended(&id, "app", 0);
    bed.run(async |crew| {
        assert_eq!(kept_for(&crew.sandboxes().await, &id).as_deref(), Some("has_containers"));
        assert_eq!(removed(&crew.containers().await).len(), 1);
        assert_eq!(removed(&crew.sandboxes().await), [id]);
    });
    // A restarted service finds nothing more to remove.
    let report = actix::System::new().block_on(pass(&bed));
    assert!(report.removals.is_empty() && report.is_good());
}
