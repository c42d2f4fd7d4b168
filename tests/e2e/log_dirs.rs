//! behaviour: Log directories: log directories of deleted pods, and links that point to nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cri_gc_test_support::{fresh_uid, until};

use crate::node::Node;
use crate::program::{self, Report};

on_both!(
    directories_of_deleted_pods_are_removed_and_no_others,
    what_a_directory_links_to_is_left_alone,
    a_mount_point_saves_its_directory,
    broken_links_are_removed_unless_their_container_runs,
    a_link_whose_log_was_there_at_the_last_check_is_kept,
);

async fn directories_of_deleted_pods_are_removed_and_no_others(node: &mut Node) {
    node.log_dir(&format!("default_lost_{}", fresh_uid()));
    node.log_dir(&format!("kube-system_etcd-node1.example_{}", fresh_uid().replace('-', "")));
    let old_form = fresh_uid();
    node.log_dir(&old_form);
    let foreign = [
        "lost+found".to_owned(),
        "default_web".to_owned(),
        format!("default_upper_{}", fresh_uid().to_uppercase()),
        format!("default_backup_{}.bak", fresh_uid()),
        format!("a_b_c_{}", fresh_uid()),
    ];
    foreign.iter().for_each(|name| drop(node.log_dir(name)));
    fs::write(node.runtime.pod_logs().join(fresh_uid()), "a file, not a directory\n").unwrap();
    // A pod that lives and has never logged, and one that does not but is still in the runtime for a while.
    node.pod("web").await;
    node.ended_pod("done", &["job"]).await;

    node.set("pods.runtime_grace", "10m");
    assert_eq!(node.loses(&[]).await.is_good().kept("log lost/"), "pod_unknown");
    node.set("pods.runtime_grace", "0s").set("container_gc.min_dead_age", "1h");
    let report = node.loses(&["log lost/*", "log etcd-node1.example/*", &format!("log {old_form}/*")]).await;
    report.is_good();
    assert_eq!(report.removal("log lost/"), "pod_deleted: removed");
    // What the plan sees in the runtime, the check right before a removal need not refuse.
    assert_eq!(report.kept("log done/"), "has_containers");
    assert_eq!(report.kept("log web/"), "pod_active");
    for name in ["log lost+found/", "log default_web/"] {
        assert_eq!(report.kept(name), "foreign_name");
    }
    node.set("container_gc.min_dead_age", "0s");
    node.loses(&["container done/job#0", "sandbox done#0", "log done/*"]).await.is_good();
    node.is_settled().await;
}

async fn what_a_directory_links_to_is_left_alone(node: &mut Node) {
    let outside = node.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "data").unwrap();
    let dir = node.log_dir(&format!("default_lost_{}", fresh_uid()));
    symlink(&outside, dir.join("to-a-directory")).unwrap();
    symlink(outside.join("precious"), dir.join("to-a-file")).unwrap();
    // One that is itself a link is no directory.
    symlink(&outside, node.runtime.pod_logs().join(format!("default_link_{}", fresh_uid()))).unwrap();
    node.loses(&["log lost/*"]).await.is_good();
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "data");
    node.is_settled().await;
}

async fn a_mount_point_saves_its_directory(node: &mut Node) {
    let (outside, volume) =
        (node.path("outside"), node.log_dir(&format!("default_mounted_{}", fresh_uid())).join("volume"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "data").unwrap();
    fs::create_dir(&volume).unwrap();
    // A bind mount of the same filesystem: the device number alone would not show it.
    let Some(mount) = BindMount::new(&outside, &volume) else { return };
    node.log_dir(&format!("default_lost_{}", fresh_uid()));
    let report = node.loses(&["log lost/*"]).await;
    assert_eq!((report.code, report.with_result("failed")), (3, vec!["log mounted/"]));
    assert_eq!(fs::read_to_string(volume.join("precious")).unwrap(), "data");

    drop(mount);
    node.loses(&["log mounted/*"]).await.is_good();
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "data");
    node.is_settled().await;
}

async fn broken_links_are_removed_unless_their_container_runs(node: &mut Node) {
    let web = node.pod("web").await;
    let main = node.running(&web, "main").await;
    let job = node.dead(&web, "job", 0..1).await.remove(0);
    node.link(&web, "main", 0, &main);
    node.link(&web, "job", 0, &job);
    // A container that the runtime does not know, one whose log is there, and a name that ends in no complete id.
    node.link(&web, "unknown", 0, &"0".repeat(64));
    let kept = node.dead(&web, "kept", 0..1).await.remove(0);
    node.link(&web, "kept", 0, &kept);
    node.link(&web, "short", 0, &"0".repeat(63));
    for container in ["main", "job"] {
        fs::remove_file(node.log(&web, container, "0.log")).unwrap();
    }
    let report = node.loses(&["link web/job/0.log", "link web/unknown/0.log"]).await;
    report.is_good();
    assert_eq!(report.removal("link web/job/0.log"), "target_missing: removed");
    assert_eq!(report.kept("link web/main/0.log"), "running");
    assert_eq!(report.kept("link web/short/0.log"), "foreign_name");
    node.is_settled().await;
}

async fn a_link_whose_log_was_there_at_the_last_check_is_kept(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.dead(&web, "job", 0..2).await;
    let rotated = node.dead(&web, "rotated", 0..1).await.remove(0);
    node.link(&web, "rotated", 0, &rotated);
    // One that points to nothing all the time makes the sweep wait for the second check.
    node.link(&web, "unknown", 0, &"0".repeat(64));
    let before = node.inventory().await;
    let running = program::start(&node.arguments(&["sweep", "--output", "json"]), None);
    // Containers are removed between the two checks: then the other log is removed as well.
    let first = node.log(&web, "job", "0.log");
    until(Duration::from_secs(60), "the first container is removed", || (!first.exists()).then_some(()));
    fs::remove_file(node.log(&web, "rotated", "0.log")).unwrap();
    let report = Report::new(&running.wait(), &before);
    let gone =
        ["container web/job#0", "log web/job/0.log", "link web/unknown/0.log", "log web/rotated/0.log"];
    assert_eq!(before.removed_in(&node.inventory().await), before.meant(&gone), "{report:#?}");
    report.is_good();
    node.loses(&["link web/rotated/0.log"]).await.is_good();
}

/// A bind mount; undone on drop.
struct BindMount(PathBuf);

impl BindMount {
    /// `None`, said on stderr, where this process may not mount.
    fn new(from: &Path, to: &Path) -> Option<Self> {
        let run = Command::new("mount").arg("--bind").args([from, to]).output();
        if run.is_ok_and(|output| output.status.success()) {
            return Some(Self(to.to_owned()));
        }
        use std::io::Write as _;
        let _ =
            std::io::stderr().write_all(b"SKIPPED a_mount_point_saves_its_directory: needs root to mount\n");
        None
    }
}

impl Drop for BindMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
