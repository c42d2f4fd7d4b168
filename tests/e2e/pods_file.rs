//! behaviour: Pod sources: the pod source `file`, and what proves a pod deleted.

use std::fs;
use std::time::Duration;

use cri_gc_proto::admin::StatusResponse;
use cri_gc_sim::{Method, Options};
use cri_gc_test_support::{Pod, fresh_uid};
use serde_json::{Value, json};

use crate::embedded::node_and_sim;
use crate::node::{Node, set_age};
use crate::program;
use crate::running_service::{status, well};
use crate::service_commands::{ask, succeeded};

on_both!(
    each_state_of_a_listed_pod_allows_its_removals,
    a_file_that_is_stale_broken_of_another_node_or_too_old_confirms_nothing,
    a_directory_of_the_kubelet_keeps_its_pod,
    many_pods_are_not_believed_to_be_deleted_at_once_until_confirmed,
);

/// Writes the list, as of now.
fn write(node: &mut Node, list: &Value) {
    let file = node.path("pods.json");
    fs::write(&file, list.to_string()).unwrap();
    // The kernel's own stamp is a few milliseconds behind the times of the objects that were just made.
    set_age(&file, Duration::ZERO);
    node.set("pods.source", "file").set("pods.file", file.display());
}

/// A `PodList` of these pods, each with its phase and the reason for it.
fn pod_list(pods: &[(&Pod, &str, &str)]) -> Value {
    let item = |(pod, phase, reason): &(&Pod, &str, &str)| {
        json!({"metadata": {"uid": pod.spec.uid, "name": pod.spec.name}, "spec": {"containers": []},
               "status": {"phase": phase, "reason": reason}})
    };
    json!({"kind": "PodList", "items": pods.iter().map(item).collect::<Vec<_>>()})
}

async fn each_state_of_a_listed_pod_allows_its_removals(node: &mut Node) {
    let live = node.pod("live").await;
    node.running(&live, "main").await;
    node.dead(&live, "job", 0..1).await;
    // It runs, whatever the list says.
    let stray = node.pod("stray").await;
    node.running(&stray, "main").await;
    let waiting = node.ended_pod("waiting", &["job"]).await;
    let finished = node.ended_pod("finished", &["job"]).await;
    let evicted = node.ended_pod("evicted", &["job"]).await;
    node.ended_pod("deleted", &["job"]).await;
    node.log_dir(&format!("default_lost_{}", fresh_uid()));
    let list = [
        (&live, "Running", ""),
        (&waiting, "Pending", ""),
        (&finished, "Succeeded", ""),
        (&evicted, "Failed", "Evicted"),
    ];
    write(node, &pod_list(&list));
    let report = node
        .loses(&[
            "container evicted/*",
            "sandbox evicted#0",
            "log evicted/*",
            "container deleted/*",
            "sandbox deleted#0",
            "log deleted/*",
            "log lost/*",
        ])
        .await;
    report.is_good();
    assert_eq!(report.removal("container evicted/job#0"), "pod_evicted: removed");
    assert_eq!(report.removal("sandbox deleted#0"), "pod_deleted: removed");
    assert_eq!(report.removal("log lost/"), "pod_deleted: removed");
    for (object, reason) in [
        ("container waiting/job#0", "within_limits"),
        ("log waiting/", "pod_active"),
        ("sandbox stray#0", "sandbox_ready"),
        ("log finished/", "pod_finished"),
    ] {
        assert_eq!(report.kept(object), reason, "{object}");
    }
    node.is_settled().await;

    // Its logs can still be read.
    node.set("container_gc.evict_terminated_pods", true);
    let report = node.loses(&["container finished/job#0", "sandbox finished#0"]).await;
    assert_eq!(report.is_good().removal("container finished/job#0"), "pod_terminated: removed");
    node.is_settled().await;
}

async fn a_file_that_is_stale_broken_of_another_node_or_too_old_confirms_nothing(node: &mut Node) {
    let live = node.pod("live").await;
    node.dead(&live, "job", 0..2).await;
    node.ended_pod("deleted", &["job"]).await;
    let good = json!([{"uid": live.spec.uid, "state": "active"}]);
    let file = node.path("pods.json");

    // What is over the limits of living pods is removed all the same, once.
    write(node, &good);
    set_age(&file, Duration::from_secs(600));
    let report = node.loses(&["container live/job#0", "log live/job/0.log"]).await;
    assert_eq!(report.code, 0, "{report:#?}");
    assert_eq!(report.kept("log deleted/"), "pod_unknown");
    assert!(
        report.notes().iter().any(|note| note.contains("older than pods.max_staleness")),
        "{:?}",
        report.notes()
    );

    // Fresh enough, but the pod's objects were made after it was written.
    set_age(&file, Duration::from_secs(240));
    let report = node.loses(&[]).await;
    assert_eq!(report.is_good().kept("container deleted/job#0"), "within_limits");

    for (text, complaint) in [
        ("[{\"uid\": \"cut off".to_owned(), "is not a list of pods"),
        (String::new(), "is empty"),
        (json!([{"uid": fresh_uid(), "state": "active"}]).to_string(), "another node"),
        (json!([]).to_string(), "another node"),
    ] {
        write(node, &good);
        fs::write(&file, &text).unwrap();
        let report = node.loses(&[]).await;
        assert_eq!(report.code, 3, "{text}");
        assert!(report.stderr.contains(complaint), "{text}: {}", report.stderr);
        assert_eq!(report.kept("log deleted/"), "pod_unknown", "{text}");
    }
    fs::remove_file(&file).unwrap();
    let report = node.loses(&[]).await;
    assert_eq!(report.code, 3);
    assert!(report.stderr.contains("check the path"), "{}", report.stderr);

    write(node, &good);
    node.loses(&["container deleted/*", "sandbox deleted#0", "log deleted/*"]).await.is_good();
}

async fn a_directory_of_the_kubelet_keeps_its_pod(node: &mut Node) {
    let live = node.pod("live").await;
    let orphaned = node.ended_pod("orphaned", &["job"]).await;
    node.ended_pod("deleted", &["job"]).await;
    let directory = node.path("kubelet/pods").join(&orphaned.spec.uid);
    fs::create_dir_all(&directory).unwrap();
    write(node, &pod_list(&[(&live, "Running", "")]));
    let report = node.loses(&["container deleted/*", "sandbox deleted#0", "log deleted/*"]).await;
    let named = |note: &String| note.contains(&orphaned.spec.uid);
    assert!(report.is_good().notes().iter().any(named), "{:?}", report.notes());
    assert_eq!(report.kept("log orphaned/"), "pod_unknown");

    fs::remove_dir(directory).unwrap();
    node.loses(&["container orphaned/*", "sandbox orphaned#0", "log orphaned/*"]).await.is_good();
    node.is_settled().await;
}

async fn many_pods_are_not_believed_to_be_deleted_at_once_until_confirmed(node: &mut Node) {
    let live = node.pod("live").await;
    node.ended_pod("deleted", &["job"]).await;
    let orphan = || format!("default_lost{}_{}", fresh_uid(), fresh_uid());
    (0..4).for_each(|_| drop(node.log_dir(&orphan())));
    write(node, &pod_list(&[(&live, "Running", "")]));
    let report = node.loses(&[]).await;
    assert_eq!(report.code, 0, "{report:#?}");
    let said =
        |note: &String| note.contains("5 of 6 pods") && note.contains("pods.max_newly_deleted_percent");
    assert!(report.notes().iter().any(said), "{:?}", report.notes());

    node.loses_with(
        &["--confirm-deleted"],
        &["container deleted/*", "sandbox deleted#0", "log deleted/*", "log lost*"],
    )
    .await
    .is_good();
    // Four are few, though they are more than half.
    (0..4).for_each(|_| drop(node.log_dir(&orphan())));
    node.loses(&["log lost*"]).await.is_good();
    // And a setting believes any number.
    (0..5).for_each(|_| drop(node.log_dir(&orphan())));
    node.is_settled().await;
    node.set("pods.max_newly_deleted_percent", 100);
    node.loses(&["log lost*"]).await.is_good();
}

// What no real runtime does to order.

#[tokio::test]
async fn what_is_confirmed_is_removed_in_one_command_though_some_is_confirmed_only_during_it() {
    let (mut node, sim) = node_and_sim(Options::default());
    let live = node.pod("live").await;
    node.running(&live, "main").await;
    let mut directories = Vec::new();
    for number in 0..12 {
        let gone = node.ended_pod(&format!("gone{number}"), &["job"]).await;
        let directory = node.path("kubelet/pods").join(&gone.spec.uid);
        // The kubelet has not come to all of them yet.
        if number < 5 {
            fs::create_dir_all(&directory).unwrap();
            directories.push(directory);
        }
    }
    write(&mut node, &pod_list(&[(&live, "Running", "")]));
    // No pass is made by itself but the first.
    for section in ["container_gc", "sandbox_gc", "log_gc", "image_gc"] {
        node.set(&format!("{section}.period"), "1h");
    }
    node.set("image_gc.mode", "report").set("pods.max_staleness", "1h");
    let running = program::start(&node.arguments(&["run"]), None);
    let postponed = |s: &StatusResponse| {
        let notes = s.pods.iter().flat_map(|pods| &pods.notes);
        well(s) && notes.into_iter().any(|note| note.starts_with("7 of 13 pods disappeared at once"))
    };
    status(&node, postponed).await;
    let before = node.inventory().await;
    // It comes to the others while the first ones are removed.
    sim.before_next(Method::StopPodSandbox, move |_, _| {
        directories.iter().for_each(|directory| fs::remove_dir(directory).unwrap());
    });
    let run = succeeded(ask(&node, &["run-now", "--confirm-deleted", "-o", "json"]));
    assert!(run.stdout.contains("7 pods are confirmed"), "{run:?}");
    let removed = before.removed_in(&node.inventory().await);
    assert_eq!(removed, before.meant(&["container gone*", "sandbox gone*", "log gone*"]), "{run:?}");
    running.terminate();
    assert_eq!(running.wait().code, 0);
}
