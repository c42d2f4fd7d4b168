//! behaviour: Image disk space: a disk that is full, of bytes or of files. No more is removed than the measurement requires.

use cri_gc_policy::FsStats;
use cri_gc_policy::images::space::usage_percent;
use cri_gc_test_support::{ContainerSpec, TmpfsSize, on_each_flavour};

use crate::node::{Node, image};

on_each_flavour!(
    #[tokio::test] async:
    on_the_embedded_runtime_only_as_many_images_as_needed_are_removed,
    on_the_embedded_runtime_images_are_removed_when_inodes_run_out,
);

/// Capacity of the disk in MiB, and what each image takes up of it (its layer compressed, and once more unpacked).
const DISK: u64 = 160;
const IMAGE: u64 = 16;
/// Inodes of the disk, and of each image.
const INODES: u64 = 8000;
const FILES: u64 = 600;
/// The low threshold, in percent.
const LOW: u8 = 45;

#[tokio::test]
async fn on_containerd_only_as_many_images_as_needed_are_removed() {
    let name = "on_containerd_only_as_many_images_as_needed_are_removed";
    if let Some(mut node) = crate::containerd::node_on_tmpfs(name, TmpfsSize::mib(DISK)) {
        only_as_many_images_as_needed_are_removed(&mut node).await;
    }
}

async fn on_the_embedded_runtime_only_as_many_images_as_needed_are_removed() {
    only_as_many_images_as_needed_are_removed(&mut crate::embedded::node_on_disk(TmpfsSize::mib(DISK))).await;
}

#[tokio::test]
async fn on_containerd_images_are_removed_when_inodes_run_out() {
    let size = TmpfsSize { mib: DISK, inodes: Some(INODES) };
    if let Some(mut node) =
        crate::containerd::node_on_tmpfs("on_containerd_images_are_removed_when_inodes_run_out", size)
    {
        images_are_removed_when_inodes_run_out(&mut node).await;
    }
}

async fn on_the_embedded_runtime_images_are_removed_when_inodes_run_out() {
    let size = TmpfsSize { mib: DISK, inodes: Some(INODES) };
    images_are_removed_when_inodes_run_out(&mut crate::embedded::node_on_disk(size)).await;
}

fn measure(node: &Node) -> FsStats {
    node.runtime.seams().probe.stats(&node.runtime.image_root()).unwrap().stats
}

fn used_bytes(node: &Node) -> u8 {
    let stats = measure(node);
    usage_percent(stats.capacity_bytes, stats.available_bytes).unwrap()
}

fn used_inodes(node: &Node) -> u8 {
    let stats = measure(node);
    usage_percent(stats.inodes, stats.inodes_free).unwrap()
}

async fn only_as_many_images_as_needed_are_removed(node: &mut Node) {
    let names: Vec<String> = (0..7).map(|number| format!("pile:{number}")).collect();
    for name in &names {
        node.runtime.add_image(&[name], IMAGE / 2);
    }
    // Of images never seen in use, the ids decide. The first two in that order are not removed: one is in use, the
    // other was, until a moment ago, by a container that is removed in the same sweep.
    let there = node.inventory().await;
    let mut line: Vec<&str> = names.iter().map(String::as_str).collect();
    line.sort_by_key(|name| there.id(&format!("image {name}")));
    let (used, running) = (line[0], line[1]);
    let web = node.pod("web").await;
    node.run(&web, &ContainerSpec::sleeper("main", &image(running))).await;
    let gone = node.pod("gone").await;
    node.dead_of(&gone, "job", used, 0..1).await;
    node.stop(&gone).await;
    let full = used_bytes(node);
    assert!((70..100).contains(&full), "{full} % full");

    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s").set("image_gc.settle", "2s");
    node.set("image_gc.high_threshold_percent", full + 2).set("image_gc.low_threshold_percent", LOW);
    let report = node.loses(&["container gone/*", "sandbox gone#0", "log gone/*"]).await;
    assert_eq!(report.is_good().kept(&format!("image {used}")), "below_threshold");

    // Once more, so that the use is known to the collectors that see the disk full.
    let gone = node.pod("gone").await;
    node.dead_of(&gone, "job", used, 0..1).await;
    node.stop(&gone).await;
    node.set("image_gc.high_threshold_percent", used_bytes(node) - 2).set("image_gc.parallel_removals", 1);
    let before = node.inventory().await;
    let report = node.sweep(&[]).await;
    let after = node.inventory().await;
    let removed = before.removed_in(&after);
    report.is_good().reports_exactly(&removed);
    let left = used_bytes(node);
    assert!(left <= LOW, "{left} % are left of {full} %");
    // One image less would not have been enough.
    let capacity = measure(node).capacity_bytes;
    let one = usage_percent(capacity, capacity - (IMAGE << 20)).unwrap();
    assert!(
        left + one > LOW,
        "{left} % are left of {full} %: one image more was removed than needed: {removed:?}"
    );
    assert!(after.has(&format!("image {running}")), "it is in use");
    assert!(after.has(&format!("image {used}")), "others were unused for longer");
    let order: Vec<&str> =
        report.with_result("removed").into_iter().filter(|name| name.starts_with("image ")).collect();
    let mut by_id = order.clone();
    by_id.sort_by_key(|name| before.id(name));
    assert_eq!(order, by_id);
    // The sizes that the runtime reported are half of it.
    let piles = order.iter().filter(|name| name.starts_with("image pile:")).count() as u64;
    let freed = report.pass("image_gc")["freed_bytes"].as_u64().unwrap();
    assert!(freed >= piles * (IMAGE << 20) * 9 / 10, "{freed} bytes by {piles} images");
    node.is_settled().await;
}

async fn images_are_removed_when_inodes_run_out(node: &mut Node) {
    for number in 0..8 {
        node.runtime.add_image_of_files(&format!("files:{number}"), FILES);
    }
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let full = used_inodes(node);
    assert!((60..100).contains(&full), "{full} % full");

    // Off by default, and bytes are no matter here.
    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s").set("image_gc.settle", "2s");
    node.is_settled().await;
    node.set("image_gc.inode_high_threshold_percent", full).set("image_gc.inode_low_threshold_percent", LOW);
    let before = node.inventory().await;
    let report = node.sweep(&[]).await;
    let removed = before.removed_in(&node.inventory().await);
    report.is_good().reports_exactly(&removed);
    let left = used_inodes(node);
    let one = usage_percent(INODES, INODES - FILES).unwrap();
    assert!(left <= LOW && left + one > LOW, "{left} % are left of {full} %: {removed:?}");
    for image in &removed {
        assert_eq!(report.removal(image), "inode_pressure: removed");
    }
    node.is_settled().await;
}
