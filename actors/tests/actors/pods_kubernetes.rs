//! The pod sources `kubelet` and `kube-api`, asked as a one-shot command asks them: read twice, then judged.

use std::collections::HashMap;
use std::time::Duration;

use cri_gc_actors::observe;
use cri_gc_actors::pod_state::{SyncError, Verdict};
use cri_gc_config::PodSource;
use cri_gc_policy::PodState::{self, Active, Deleted, Evicted, Terminated, Unknown};
use cri_gc_test_support::kubernetes::{FakeApi, FakeKubelet, Fault, On, PodObject};

use super::bed::{BOOT, Bed, Crew, HOUR, MINUTE, SECOND, uid};

const NODE: &str = "node-1";

/// A pod as Kubernetes knows the bed's pod of that number.
fn pod(number: usize) -> PodObject {
    PodObject::new("ns", &format!("pod-{number}"), &uid(number)).phase("Running")
}

async fn verdict(bed: &Bed, crew: &Crew) -> Verdict {
    observe::pods(&crew.tools, &bed.settings).await.unwrap().verdict
}

async fn states(bed: &Bed, crew: &Crew) -> HashMap<String, PodState> {
    let pods = verdict(bed, crew).await.pods;
    let state = |state| if pods.synced { state } else { Unknown };
    pods.pods.iter().map(|pod| (pod.uid.clone(), state(pod.state))).collect()
}

async fn state(bed: &Bed, crew: &Crew, number: usize) -> PodState {
    states(bed, crew).await.get(&uid(number)).copied().unwrap_or(Unknown)
}

/// By which evidence.
async fn evidence(crew: &Crew, number: usize) -> String {
    let facts = crew.tools.pods.pods().await.unwrap();
    facts.into_iter().find(|pod| pod.uid == uid(number)).unwrap().standing.to_string()
}

/// Two readings, as a one-shot command makes them.
async fn read_twice(bed: &Bed, crew: &Crew) -> Result<(), SyncError> {
    crew.tools.pods.resync().await?;
    bed.sim.advance(2 * SECOND);
    crew.tools.pods.resync().await
}

fn kubelet_directories(bed: &Bed, numbers: &[usize]) {
    let root = bed.settings.pods.kubelet_root.join("pods");
    std::fs::create_dir_all(&root).unwrap();
    for number in numbers {
        std::fs::create_dir_all(root.join(uid(*number))).unwrap();
    }
}

// ---- The source `kubelet` ----

fn by_kubelet(kubelet: &FakeKubelet) -> Bed {
    let mut bed = Bed::new();
    bed.settings.pods.source = PodSource::Kubelet;
    bed.settings.pods.kubelet.url = kubelet.url() + "/pods";
    kubelet_directories(&bed, &[]);
    bed
}

#[test]
fn with_source_kubelet_a_pod_that_two_lists_lack_is_deleted() {
    let kubelet = FakeKubelet::start(NODE);
    let bed = by_kubelet(&kubelet);
    kubelet.set_pods(vec![pod(1), pod(3).phase("Failed").reason("Evicted"), pod(4).phase("Succeeded")]);
    bed.living_pod(1);
    for number in 2..=4 {
        bed.dead_pod(number);
    }
    bed.run(async |crew| {
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Unknown, "one list");
        bed.sim.advance(2 * SECOND);
        crew.tools.pods.resync().await.unwrap();
        let all = states(&bed, crew).await;
        let state = |number: usize| all.get(&uid(number)).copied();
        assert_eq!([1, 2, 3, 4].map(state), [Some(Active), Some(Deleted), Some(Evicted), Some(Terminated)]);
        assert!(evidence(crew, 2).await.starts_with("the lists of "), "{}", evidence(crew, 2).await);
    });
    assert!(kubelet.requests().iter().all(|request| request.token.is_none()), "no token in the clear");
}

#[test]
fn with_source_kubelet_a_directory_or_a_root_that_cannot_be_read_keeps_the_pod() {
    let kubelet = FakeKubelet::start(NODE);
    let bed = by_kubelet(&kubelet);
    kubelet.set_pods(vec![pod(1)]);
    bed.living_pod(1);
    bed.dead_pod(2);
    kubelet_directories(&bed, &[2]);
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        let told = verdict(&bed, crew).await;
        assert!(
            told.notes.iter().any(|note| note.contains(&uid(2)) && note.contains("directory")),
            "{told:?}"
        );
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        let root = bed.settings.pods.kubelet_root.join("pods");
        std::fs::remove_dir(root.join(uid(2))).unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
        std::fs::remove_dir(&root).unwrap();
        let told = verdict(&bed, crew).await;
        assert!(told.notes.iter().any(|note| note.contains("pods.kubelet_root")), "{told:?}");
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        std::fs::create_dir(&root).unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
    });
}

#[test]
fn with_source_kubelet_one_that_has_just_started_proves_nothing() {
    let kubelet = FakeKubelet::start(NODE);
    let bed = by_kubelet(&kubelet);
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        for pods in [vec![pod(1).from_file()], Vec::new()] {
            kubelet.set_pods(pods);
            crew.tools.pods.resync().await.unwrap_err();
            assert_eq!(state(&bed, crew, 2).await, Unknown);
        }
        kubelet.set_pods(vec![pod(1).from_file()]);
        bed.sim.advance(10 * MINUTE);
        read_twice(&bed, crew).await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted, "it has said so for long");
    });
}

#[test]
fn with_source_kubelet_over_https_the_token_is_read_anew_and_the_certificate_is_checked() {
    let kubelet = FakeKubelet::start_https(NODE);
    let mut bed = by_kubelet(&kubelet);
    kubelet.set_token(Some("first"));
    kubelet.set_pods(vec![pod(1)]);
    bed.living_pod(1);
    let root = bed.sim.paths().root.clone();
    let put = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let settings = &mut bed.settings.pods.kubelet;
    settings.token_file = Some(put("token", "first\n"));
    settings.ca_file = None;
    let resync = |bed: &Bed| bed.run(async |crew| crew.tools.pods.resync().await.map_err(|e| e.to_string()));
    let untrusted = resync(&bed).unwrap_err();
    assert!(untrusted.contains("not trusted") && untrusted.contains("ca_file"), "{untrusted}");
    bed.settings.pods.kubelet.insecure_skip_verify = true;
    resync(&bed).unwrap();
    bed.settings.pods.kubelet.insecure_skip_verify = false;
    bed.settings.pods.kubelet.ca_file = Some(put("ca.pem", kubelet.ca_pem()));
    bed.run(async |crew| {
        crew.tools.pods.resync().await.unwrap();
        kubelet.set_token(Some("second"));
        let refused = crew.tools.pods.resync().await.unwrap_err().to_string();
        assert!(refused.contains("401") && refused.contains("token_file"), "{refused}");
        put("token", "second");
        crew.tools.pods.resync().await.unwrap();
    });
    kubelet.require_client_certificate(true);
    let settings = &mut bed.settings.pods.kubelet;
    settings.token_file = Some("/not/there".into());
    settings.client_cert_file = Some(put("client.pem", kubelet.client_cert_pem()));
    settings.client_key_file = Some(put("client.key", kubelet.client_key_pem()));
    resync(&bed).unwrap();
    bed.settings.pods.kubelet.client_key_file = None;
    assert!(resync(&bed).unwrap_err().contains("both or neither"));
}

#[test]
fn with_source_kubelet_whatever_else_it_answers_is_a_failure_that_loses_what_was_proved() {
    let kubelet = FakeKubelet::start(NODE);
    let bed = by_kubelet(&kubelet);
    kubelet.set_pods(vec![pod(1)]);
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        for fault in [
            Fault::Status(500),
            Fault::PlainText(200, "<html>".to_owned()),
            Fault::PlainText(302, String::new()),
            Fault::CutBody(40),
            Fault::Garbage("{}".to_owned()),
            Fault::Garbage(r#"{"kind":"Status","code":200}"#.to_owned()),
        ] {
            read_twice(&bed, crew).await.unwrap();
            assert_eq!(state(&bed, crew, 2).await, Deleted);
            kubelet.fail_next(On::Any, fault.clone());
            let failed = crew.tools.pods.resync().await.unwrap_err().to_string();
            assert!(failed.contains("kubelet"), "{fault:?}: {failed}");
            assert_eq!(state(&bed, crew, 2).await, Unknown, "{fault:?}");
        }
        // The list of another node, or one that is not whole yet.
        read_twice(&bed, crew).await.unwrap();
        kubelet.set_pods(vec![pod(9)]);
        let failed = crew.tools.pods.resync().await.unwrap_err();
        assert!(matches!(failed, SyncError::ListsNoneThatRun { ready: 1 }), "{failed}");
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        kubelet.stop_listening();
        let failed = crew.tools.pods.resync().await.unwrap_err().to_string();
        assert!(failed.contains("cannot be reached"), "{failed}");
    });
}

// ---- The source `kube-api` ----

#[cfg(feature = "kubernetes")]
fn by_api(api: &FakeApi) -> Bed {
    let mut bed = Bed::new();
    bed.settings.pods.source = PodSource::KubeApi;
    bed.settings.node_name = Some(NODE.to_owned());
    bed.settings.pods.kube_api.kubeconfig = Some(api.write_kubeconfig(&bed.sim.paths().root));
    kubelet_directories(&bed, &[]);
    api.set_node(NODE, BOOT);
    bed
}

#[cfg(feature = "kubernetes")]
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

#[cfg(feature = "kubernetes")]
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

#[cfg(feature = "kubernetes")]
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
            Fault::Status(403),
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

#[cfg(feature = "kubernetes")]
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

#[cfg(feature = "kubernetes")]
#[test]
fn with_source_kube_api_a_list_of_many_pages_is_read_whole_or_not_at_all() {
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

#[cfg(feature = "kubernetes")]
#[test]
fn what_runs_is_active_although_the_api_says_it_failed() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1).phase("Failed").reason("Evicted"));
    let sandbox = bed.living_pod(1);
    let dead = bed.ended(&sandbox, "app", 0);
    bed.sim
        .add_container(cri_gc_sim::ContainerSpec::new(&sandbox, "side").created_at(bed.sim.ago(HOUR)))
        .unwrap();
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        let report = crew.containers().await;
        assert_eq!(super::bed::kept_for(&report, &dead).as_deref(), Some("within_limits"), "{report:?}");
    });
}
