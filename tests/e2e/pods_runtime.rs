//! behaviour: Pod sources: the pod source `runtime`, and what belongs to no pod.

use std::fs;

use cri_gc_test_support::{ContainerSpec, PodSpec};

use crate::node::{APP, Node, image};

on_both!(
    next_to_a_kubelet_only_images_are_enforced,
    a_pod_is_found_by_the_sandbox_of_a_container_without_labels,
    what_belongs_to_no_pod_is_kept_unless_unmanaged_objects_are_collected,
);

async fn next_to_a_kubelet_only_images_are_enforced(node: &mut Node) {
    node.ended_pod("gone", &["job", "job2"]).await;
    let web = node.pod("web").await;
    node.dead(&web, "job", 0..2).await;
    node.runtime.add_image(&["unused:1"], 0);
    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s");
    node.set("image_gc.high_threshold_percent", 0).set("image_gc.low_threshold_percent", 0);

    let kubelet = node.path("kubelet");
    fs::create_dir_all(kubelet.join("pods/some-uid")).unwrap();
    let report = node.loses(&["image unused:1"]).await;
    let would = report.with_result("would_remove");
    assert_eq!(would.len(), 3, "{would:?}");
    for name in ["container gone/job#0", "container gone/job2#0", "container web/job#0"] {
        assert!(would.contains(&name), "{name}");
    }
    // The containers are only reported, so their pod's logs would be kept.
    assert_eq!(report.kept("log gone/"), "has_containers");
    let said = |note: &String| note.contains("kubelet") && note.contains("pods.runtime_beside_kubelet");
    assert!(report.notes().iter().any(said), "{:?}", report.notes());
    for (pass, mode) in
        [("container_gc", "report"), ("sandbox_gc", "report"), ("log_gc", "report"), ("image_gc", "enforce")]
    {
        assert_eq!(report.pass(pass)["mode"], mode, "{pass}");
    }

    node.set("image_gc.mode", "off").set("pods.runtime_beside_kubelet", true);
    let gone =
        ["container gone/*", "sandbox gone#0", "log gone/*", "container web/job#0", "log web/job/0.log"];
    node.loses(&gone).await.is_good();
    // An empty folder is no kubelet's.
    let again = node.ended_pod("gone", &["job"]).await;
    assert_eq!(again.spec.name, "gone");
    node.set("pods.runtime_beside_kubelet", false);
    fs::remove_dir(kubelet.join("pods/some-uid")).unwrap();
    node.loses(&["container gone/*", "sandbox gone#0", "log gone/*"]).await.is_good();
    node.is_settled().await;
}

async fn a_pod_is_found_by_the_sandbox_of_a_container_without_labels(node: &mut Node) {
    // The metadata of the sandbox names the UID; nothing else does.
    let spec = |name: &str| PodSpec::new("default", name).without_labels();
    let job = |attempt| ContainerSpec::exits("job", &image(APP)).without_labels().attempt(attempt);
    let (web, gone) = (node.run_pod(spec("web")).await, node.run_pod(spec("gone")).await);
    for (pod, attempt) in [(&web, 0), (&web, 1), (&gone, 0)] {
        let id = node.run(pod, &job(attempt)).await;
        node.runtime.end(&id);
        node.cri.wait_exited(&id).await.unwrap();
    }
    node.stop(&gone).await;
    let report = node.loses(&["container web/job#0", "container gone/job#0", "sandbox gone#0"]).await;
    assert_eq!(report.is_good().removal("container web/job#0"), "over_pod_container_limit: removed");
    assert_eq!(report.removal("container gone/job#0"), "pod_deleted: removed");
    node.is_settled().await;
}

async fn what_belongs_to_no_pod_is_kept_unless_unmanaged_objects_are_collected(node: &mut Node) {
    let spec = |name: &str| PodSpec::new("default", name).uid("").without_labels();
    if !node.runtime.takes_pods_without_uid() {
        assert!(node.cri.run_pod(spec("by-hand")).await.is_err());
        return;
    }
    let job = |attempt| ContainerSpec::exits("job", &image(APP)).without_labels().attempt(attempt);
    let (by_hand, ended, bare) = (
        node.run_pod(spec("by-hand")).await,
        node.run_pod(spec("ended")).await,
        node.run_pod(spec("bare")).await,
    );
    let sleeper = ContainerSpec::sleeper("main", &image(APP)).without_labels();
    node.run(&by_hand, &sleeper).await;
    for (pod, attempt) in [(&by_hand, 0), (&by_hand, 1), (&ended, 0)] {
        let id = node.run(pod, &job(attempt)).await;
        node.runtime.end(&id);
        node.cri.wait_exited(&id).await.unwrap();
    }
    node.stop(&ended).await;
    node.stop(&bare).await;

    // In no unit, and counted towards no limit.
    node.set("container_gc.max_per_pod_container", 0).set("container_gc.max_containers", 0);
    let report = node.loses(&[]).await;
    assert_eq!(report.is_good().kept("container by-hand/job#0"), "unmanaged");
    assert_eq!(report.kept("container by-hand/main#0"), "running");
    assert_eq!(report.kept("sandbox bare#0"), "unmanaged");
    node.is_settled().await;

    node.set("pods.unmanaged", "collect");
    let report = node
        .loses(&["container by-hand/job*", "container ended/*", "sandbox ended#0", "sandbox bare#0"])
        .await;
    assert_eq!(report.is_good().removal("container by-hand/job#1"), "unmanaged_collected: removed");
    assert_eq!(report.kept("sandbox by-hand#0"), "sandbox_ready");
    node.is_settled().await;
}
