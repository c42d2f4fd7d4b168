//! What the gateway merges, and what it bounds.

use std::sync::Arc;

use cri_gc_gateway::{CriResult, Freshness, Gateway};
use cri_gc_policy::{Container, Image, Sandbox};
use cri_gc_sim::{Fault, Method, Scope};
use cri_gc_test_support::on_each_flavour;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::bed::{Bed, PATIENCE, begun};

on_each_flavour!(
    equal_lists_in_flight_are_one_call,
    a_merged_list_outlives_its_first_caller,
    a_fresh_list_never_joins_an_older_one,
    fresh_lists_do_not_join_each_other,
    removals_in_flight_never_exceed_their_limit_and_stops_count_as_removals,
    a_limit_applies_through_a_whole_pass,
);

type Waiting<'a, T> = futures_util::future::LocalBoxFuture<'a, CriResult<T>>;

/// Begins to wait: the question is on its way to the gateway.
async fn begin<'a, T>(call: impl Future<Output = CriResult<T>> + 'a) -> Waiting<'a, T> {
    let mut call = call.boxed_local();
    assert!(begun(call.as_mut()).await);
    call
}

/// Returns once the gateway has taken up every earlier request, and the runtime has what was sent then.
async fn barrier(gateway: &Gateway) {
    gateway.version().await.unwrap();
    gateway.version().await.unwrap();
}

fn equal_lists_in_flight_are_one_call() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    bed.ended(&pod, "app", 0);
    for method in [Method::ListContainers, Method::ListPodSandbox, Method::ListImages] {
        bed.sim.fault(method, Fault::Hang, Scope::Always);
    }
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        let (mut containers, mut sandboxes, mut images) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..8 {
            containers.push(begin(gateway.list::<Container>(Freshness::Shared)).await);
            sandboxes.push(begin(gateway.list::<Sandbox>(Freshness::Shared)).await);
            images.push(begin(gateway.list::<Image>(Freshness::Shared)).await);
        }
        barrier(gateway).await;
        bed.sim.clear_faults();
        let containers: Vec<_> = join_all(containers).await.into_iter().map(Result::unwrap).collect();
        assert!(containers.iter().all(|answer| Arc::ptr_eq(answer, &containers[0])));
        assert_eq!(containers[0].len(), 1);
        assert!(join_all(sandboxes).await.iter().all(Result::is_ok));
        assert!(join_all(images).await.iter().all(Result::is_ok));
        for method in [Method::ListContainers, Method::ListPodSandbox, Method::ListImages] {
            assert_eq!(bed.sim.count(method), 1, "{method}");
        }
        gateway.list::<Container>(Freshness::Shared).await.unwrap();
        assert_eq!(bed.sim.count(Method::ListContainers), 2, "an answer is not kept");
    });
}

fn a_merged_list_outlives_its_first_caller() {
    let bed = Bed::new();
    bed.sim.fault(Method::ListContainers, Fault::Hang, Scope::Always);
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        let first = begin(gateway.list::<Container>(Freshness::Shared)).await;
        let second = begin(gateway.list::<Container>(Freshness::Shared)).await;
        assert!(bed.sim.wait_for_calls(Method::ListContainers, 1, PATIENCE));
        drop(first);
        barrier(gateway).await;
        bed.sim.clear_faults();
        assert!(second.await.is_ok());
        assert_eq!(bed.sim.count(Method::ListContainers), 1);
    });
}

fn a_fresh_list_never_joins_an_older_one() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    bed.ended(&pod, "app", 0);
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        // Before it is known how long a list is, one follows the other.
        gateway.list::<Container>(Freshness::Fresh).await.unwrap();
        bed.sim.clear_calls();
        // The older one is answered, with what was so then, only at the end.
        bed.sim.fault(Method::ListContainers, Fault::Hang.after(), Scope::Times(1));
        let older = begin(gateway.list::<Container>(Freshness::Shared)).await;
        assert!(bed.sim.wait_for_calls(Method::ListContainers, 1, PATIENCE));
        barrier(gateway).await;
        bed.ended(&pod, "app", 1);
        assert_eq!(gateway.list::<Container>(Freshness::Fresh).await.unwrap().len(), 2);
        assert_eq!(bed.sim.count(Method::ListContainers), 2);
        bed.sim.clear_faults();
        assert_eq!(older.await.unwrap().len(), 1);
    });
}

fn fresh_lists_do_not_join_each_other() {
    let bed = Bed::new();
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        gateway.list::<Container>(Freshness::Fresh).await.unwrap();
        bed.sim.clear_calls();
        bed.sim.fault(Method::ListContainers, Fault::Hang, Scope::Always);
        let mut lists = Vec::new();
        for _ in 0..3 {
            lists.push(begin(gateway.list::<Container>(Freshness::Fresh)).await);
        }
        assert!(bed.sim.wait_for_calls(Method::ListContainers, 3, PATIENCE));
        bed.sim.clear_faults();
        assert!(join_all(lists).await.iter().all(Result::is_ok));
    });
}

fn removals_in_flight_never_exceed_their_limit_and_stops_count_as_removals() {
    let mut bed = Bed::new();
    bed.settings.container_gc.parallel_removals = 3;
    bed.settings.sandbox_gc.parallel_removals = 2;
    bed.settings.image_gc.parallel_removals = 1;
    let pod = bed.living_pod(1);
    let containers: Vec<String> = (0..10).map(|n| bed.ended(&pod, "app", n)).collect();
    let pods: Vec<String> = (10..18).map(|n| bed.dead_pod(n)).collect();
    let images: Vec<String> = (0..5).map(|n| bed.image(&format!("app:{n}"), 10)).collect();
    let (stops, removals) = (
        [Method::StopContainer, Method::StopPodSandbox],
        [Method::RemoveContainer, Method::RemovePodSandbox, Method::RemoveImage],
    );
    for method in stops.into_iter().chain(removals) {
        bed.sim.fault(method, Fault::Hang, Scope::Always);
    }
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        let mut all = Vec::new();
        for (number, id) in containers.iter().enumerate() {
            all.push(if number % 2 == 0 {
                begin(gateway.stop_container(id, PATIENCE)).await
            } else {
                begin(gateway.remove_container(id, tokio::time::Instant::now())).await
            });
        }
        for (number, id) in pods.iter().enumerate() {
            all.push(if number % 2 == 0 {
                begin(gateway.stop_sandbox(id, tokio::time::Instant::now())).await
            } else {
                begin(gateway.remove_sandbox(id, tokio::time::Instant::now())).await
            });
        }
        for id in &images {
            all.push(begin(gateway.remove_image(id, "")).await);
        }
        // Questions continue while all of this hangs.
        barrier(gateway).await;
        assert_eq!(gateway.list::<Container>(Freshness::Fresh).await.unwrap().len(), 10);
        let sent = |methods: &[Method]| methods.iter().map(|m| bed.sim.count(*m)).sum::<usize>();
        assert_eq!(sent(&[Method::StopContainer, Method::RemoveContainer]), 3);
        assert_eq!(sent(&[Method::StopPodSandbox, Method::RemovePodSandbox]), 2);
        assert_eq!(sent(&[Method::RemoveImage]), 1);
        bed.sim.clear_faults();
        assert!(join_all(all).await.iter().all(Result::is_ok));
        assert!(bed.sim.most_in_flight(Method::RemoveContainer) <= 3);
        assert!(bed.sim.most_in_flight(Method::RemovePodSandbox) <= 2);
        assert_eq!(bed.sim.most_in_flight(Method::RemoveImage), 1);
    });
}

fn a_limit_applies_through_a_whole_pass() {
    let mut bed = Bed::new();
    bed.settings.container_gc.parallel_removals = 2;
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.living_pod(1);
    (0..12).for_each(|n| drop(bed.ended(&pod, "app", n)));
    bed.sim.fault(Method::RemoveContainer, Fault::Delay(std::time::Duration::from_millis(20)), Scope::Always);
    bed.run(async |crew| assert!(crew.containers().await.is_good()));
    assert_eq!(bed.sim.container_ids(), Vec::<String>::new());
    assert_eq!(bed.sim.most_in_flight(Method::RemoveContainer), 2, "as many as allowed, and no more");
}
