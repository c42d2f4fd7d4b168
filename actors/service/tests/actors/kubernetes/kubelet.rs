//! The source `kubelet`.

use cri_gc_config::PodSource;
use cri_gc_pods::SourceError;
use cri_gc_policy::PodState::{Active, Deleted, Evicted, Terminated, Unknown};
use cri_gc_test_support::kubernetes::{FakeKubelet, Fault, On};

use super::{NODE, evidence, kubelet_directories, pod, read_twice, state, states, verdict};
use crate::bed::{Bed, MINUTE, SECOND, uid};

pub fn by_kubelet(kubelet: &FakeKubelet) -> Bed {
    let mut bed = Bed::new();
    bed.settings.pods.source = PodSource::Kubelet;
    bed.settings.pods.kubelet.url = kubelet.url() + "/pods";
    kubelet_directories(&bed, &[1]);
    bed
}

#[test]
fn with_source_kubelet_a_pod_missing_from_two_lists_is_deleted() {
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
        assert!(
            evidence(crew, 2).await.starts_with("it is missing from the lists of "),
            "{}",
            evidence(crew, 2).await
        );
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
        let found = verdict(&bed, crew).await;
        assert!(
            found.notes.iter().any(|note| note.contains(&uid(2)) && note.contains("directory")),
            "{found:?}"
        );
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        let root = bed.settings.pods.kubelet_root.join("pods");
        std::fs::remove_dir(root.join(uid(2))).unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
        let elsewhere = root.with_file_name("elsewhere");
        std::fs::rename(&root, &elsewhere).unwrap();
        let found = verdict(&bed, crew).await;
        assert!(found.notes.iter().any(|note| note.contains("pods.kubelet_root")), "{found:?}");
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        // A directory that is not the kubelet's: there is none of what runs in it.
        std::fs::create_dir(&root).unwrap();
        let found = verdict(&bed, crew).await;
        assert!(found.notes.iter().any(|note| note.contains("none of the pods that run here")), "{found:?}");
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        std::fs::remove_dir(&root).unwrap();
        std::fs::rename(&elsewhere, &root).unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
    });
}

#[test]
fn with_source_kubelet_one_that_has_just_started_confirms_nothing() {
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
        crew.tools.pods.resync().await.unwrap_err();
        bed.sim.advance(10 * MINUTE);
        read_twice(&bed, crew).await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted, "it has said so for long");
    });
}

#[test]
fn with_source_kubelet_over_https_the_token_is_read_again_and_the_certificate_is_checked() {
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
fn with_source_kubelet_any_other_answer_is_a_failure_that_voids_all_confirmations() {
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
        // The list of another node, or one that is not complete yet.
        read_twice(&bed, crew).await.unwrap();
        kubelet.set_pods(vec![pod(9)]);
        let failed = crew.tools.pods.resync().await.unwrap_err();
        assert!(matches!(failed, SourceError::ListsNoneThatRun { ready: 1 }), "{failed}");
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        kubelet.stop_listening();
        let failed = crew.tools.pods.resync().await.unwrap_err().to_string();
        assert!(failed.contains("cannot be reached"), "{failed}");
    });
}
