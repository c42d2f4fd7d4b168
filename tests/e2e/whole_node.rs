//! One node with everything on it: exactly what docs/behaviour.md says is removed, everything else is untouched, and a second sweep
//! does nothing.

use crate::node::Node;
use cri_gc_test_support::{TmpfsSize, fresh_uid, on_each_flavour};

on_each_flavour!(
    #[tokio::test] async:
    the_embedded_runtime_is_swept_as_the_contract_says,
);

/// Capacity of the disk, in MiB. The unused images take up 45 % of it, everything else less than 15 %.
const DISK: u64 = 160;

#[tokio::test]
async fn containerd_is_swept_as_the_contract_says() {
    if let Some(mut node) =
        crate::containerd::node_on_tmpfs("containerd_is_swept_as_the_contract_says", TmpfsSize::mib(DISK))
    {
        a_full_node_is_swept(&mut node).await;
    }
}

async fn the_embedded_runtime_is_swept_as_the_contract_says() {
    a_full_node_is_swept(&mut crate::embedded::node_on_disk(TmpfsSize::mib(DISK))).await;
}

async fn a_full_node_is_swept(node: &mut Node) {
    for (image, mib) in [("job:1", 1), ("kept:1", 1), ("gone:1", 18), ("unused:1", 18)] {
        node.runtime.add_image(&[image], mib);
    }
    // A service that was restarted once, crashes now and then, and runs.
    let first = node.pod("web").await;
    node.stop(&first).await;
    let web = node.again(&first).await;
    let main = node.running(&web, "main").await;
    node.link(&web, "main", 0, &main);
    for (attempt, id) in (0..).zip(node.dead_of(&web, "job", "job:1", 0..4).await) {
        node.link(&web, "job", attempt, &id);
    }
    node.write_log(&web, "job", "0.log.20240101-000000.gz");
    // Two deleted pods: one whose sandbox has dead containers, one with nothing but a sandbox.
    let gone = node.pod("gone").await;
    for (attempt, id) in (0..).zip(node.dead_of(&gone, "build", "gone:1", 0..2).await) {
        node.link(&gone, "build", attempt, &id);
    }
    node.dead(&gone, "publish", 0..1).await;
    node.stop(&gone).await;
    node.ended_pod("empty", &[]).await;
    // Logs of a pod that is unknown now, and a directory that is none of ours.
    node.log_dir(&format!("default_lost_{}", fresh_uid()));
    node.log_dir("lost+found");

    node.set("image_gc.mode", "enforce")
        .set("image_gc.min_age", "0s")
        .set("image_gc.protect", "cri-gc.test/kept");
    node.set("image_gc.high_threshold_percent", 40).set("image_gc.low_threshold_percent", 15);
    let report = node
        .loses(&[
            "container web/job#0",
            "container web/job#1",
            "container web/job#2",
            "log web/job/0.log*",
            "log web/job/1.log",
            "log web/job/2.log",
            "link web/job/0.log",
            "link web/job/1.log",
            "link web/job/2.log",
            "sandbox web#0",
            "container gone/*",
            "sandbox gone#0",
            "log gone/*",
            "link gone/*",
            "sandbox empty#0",
            "log empty/",
            "log lost/*",
            "image gone:1",
            "image unused:1",
        ])
        .await;
    report.is_good();
    for (object, removal) in [
        ("container web/job#0", "over_pod_container_limit: removed"),
        ("sandbox web#0", "older_sandbox: removed"),
        ("container gone/build#1", "pod_deleted: removed"),
        ("sandbox gone#0", "pod_deleted: removed"),
        ("log lost/", "pod_deleted: removed"),
        ("image unused:1", "disk_pressure: removed"),
    ] {
        assert_eq!(report.removal(object), removal, "{object}");
    }
    for (object, reason) in [
        ("container web/main#0", "running"),
        ("container web/job#3", "within_limits"),
        ("sandbox web#1", "sandbox_ready"),
        ("log web/", "pod_active"),
        ("log lost+found/", "foreign_name"),
        ("image app:1", "in_use"),
        ("image job:1", "in_use"),
        ("image kept:1", "protected"),
    ] {
        assert_eq!(report.kept(object), reason, "{object}");
    }
    node.is_settled().await;
}
