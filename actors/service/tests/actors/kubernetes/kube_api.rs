//! The source `kube-api`.

use std::time::Duration;

use cri_gc_config::PodSource;
use cri_gc_policy::PodState::{Active, Deleted, Evicted, Unknown};
use cri_gc_sim::ContainerSpec;
use cri_gc_test_support::kubernetes::{FakeApi, Fault, On, PodObject};

use super::{NODE, evidence, kubelet_directories, pod, read_twice, state, states};
use crate::bed::{BOOT, Bed, HOUR, kept_for, uid};

/// A node whose pods are reported by the API server.
pub fn by_api(api: &FakeApi) -> Bed {
    let mut bed = Bed::new();
    bed.settings.pods.source = PodSource::KubeApi;
    bed.settings.node_name = Some(NODE.to_owned());
    bed.settings.pods.kube_api.kubeconfig = Some(api.write_kubeconfig(&bed.sim.paths().root));
    kubelet_directories(&bed, &[1]);
    api.set_node(NODE, BOOT);
    bed
}

#[test]
fn with_source_kube_api_a_pod_that_is_neither_listed_nor_there_is_deleted() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    api.apply(pod(3).phase("Failed").reason("Evicted"));
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.dead_pod(3);
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
        let by = evidence(crew, 2).await;
        assert!(by.contains("the API server did not have it"), "{by}");
        assert_eq!(state(&bed, crew, 3).await, Evicted);
        assert_eq!(state(&bed, crew, 1).await, Active);
    });
    assert!(
        api.requests().iter().all(|request| request.parameter("resourceVersion").is_none_or(|v| v != "0"))
    );
}

#[test]
fn with_source_kube_api_the_live_question_decides() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    api.freeze_lists();
    // It is there, only not listed.
    api.apply(pod(2));
    // One of its name is there, and is another.
    api.apply(PodObject::new("ns", "pod-3", &uid(33)));
    // The mirror of a static pod.
    api.apply(PodObject::new("ns", "pod-4", &uid(44)).mirror_of(&uid(4)));
    bed.living_pod(1);
    for number in 2..=4 {
        bed.dead_pod(number);
    }
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        let all = states(&bed, crew).await;
        let state = |number: usize| all.get(&uid(number)).copied().unwrap_or(Unknown);
        assert_eq!([2, 3, 4].map(state), [Unknown, Deleted, Unknown]);
        assert!(evidence(crew, 2).await.contains("the API server has it"));
    });
}

#[test]
fn with_source_kube_api_only_the_servers_own_not_found_counts() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        for fault in [
            Fault::PlainText(404, "404 page not found".to_owned()),
            Fault::Status(500),
            Fault::Garbage("{}".to_owned()),
            Fault::CutBody(10),
        ] {
            api.fail_next(On::Get, fault.clone());
            assert_eq!(state(&bed, crew, 2).await, Unknown, "{fault:?}");
            assert!(evidence(crew, 2).await.contains("could not be asked for"), "{fault:?}");
        }
        assert_eq!(state(&bed, crew, 2).await, Deleted);
    });
}

#[test]
fn with_source_kube_api_the_node_has_to_be_this_machine() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    bed.dead_pod(2);
    bed.run(async |crew| {
        api.set_node(NODE, "another boot");
        let refused = crew.tools.pods.resync().await.unwrap_err().to_string();
        assert!(refused.contains("node_name") && refused.contains("another boot"), "{refused}");
        api.remove_node(NODE);
        let refused = crew.tools.pods.resync().await.unwrap_err().to_string();
        assert!(refused.contains("there is no node \"node-1\""), "{refused}");
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        assert_eq!(api.count(On::List), 0);
    });
}

#[test]
fn with_source_kube_api_a_list_of_many_pages_is_read_completely_or_not_at_all() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    for number in 1..=7 {
        api.apply(pod(number));
    }
    api.set_max_page(2);
    bed.living_pod(1);
    bed.dead_pod(7);
    bed.dead_pod(8);
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        assert_eq!(api.count(On::List), 8);
        assert_eq!([state(&bed, crew, 7).await, state(&bed, crew, 8).await], [Active, Deleted]);
        api.fail_next(On::List, Fault::Delay(Duration::ZERO));
        api.fail_next(On::List, Fault::Status(410));
        assert!(crew.tools.pods.resync().await.is_err());
        assert_eq!(state(&bed, crew, 8).await, Unknown);
    });
}

#[test]
fn what_runs_is_active_although_the_api_says_it_failed() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1).phase("Failed").reason("Evicted"));
    let sandbox = bed.living_pod(1);
    let dead = bed.ended(&sandbox, "app", 0);
    bed.sim.add_container(ContainerSpec::new(&sandbox, "side").created_at(bed.sim.ago(HOUR))).unwrap();
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        let report = crew.containers().await;
        assert_eq!(kept_for(&report, &dead).as_deref(), Some("within_limits"), "{report:?}");
    });
}
