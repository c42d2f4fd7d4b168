//! behaviour: Image disk space: a disk that fills up between two passes. A pass comes at once; where no image can help, that
//! is logged once, with what uses the disk, and not tried again and again; and when the disk has room, that is said too.
//!
//! The service is the program's own binary on a containerd whose root is a small tmpfs: of the embedded runtime's disk the
//! binary knows nothing (`tests/service` and `actors/tests` show the same there, with their time driven).
//!
//! No test here depends on how fast the machine is: what is counted are passes, against the passes of another loop.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use cri_gc_proto::admin::{LoopStatus, StatusResponse};
use cri_gc_test_support::{Space, TmpfsSize, space, until_async};
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::Value;

use crate::image_race::{Age, remember};
use crate::node::Node;
use crate::program;
use crate::running_service::status;
use crate::service_commands::{ask, json, succeeded};

const MIB: u64 = 1 << 20;
const DISK: TmpfsSize = TmpfsSize { mib: 256, inodes: None };

/// Longer than the longest pause of the alarm that can come up here, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(150);

/// A file that is no image, on the filesystem of the images. It is removed when the value is dropped.
struct Ballast(PathBuf);

impl Ballast {
    /// Leaves so many percent of the filesystem in use, from one moment to the next. Gives its size as well.
    fn fill(node: &Node, percent: u64) -> (Self, u64) {
        let Space { capacity, available, .. } = space(&node.runtime.image_root());
        let bytes = available - capacity * (100 - percent) / 100;
        let path = node.runtime.image_root().join("ballast");
        let file = File::create_new(&path).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, bytes).unwrap();
        (Self(path), bytes)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn used_percent(node: &Node) -> u64 {
    let Space { capacity, available, .. } = space(&node.runtime.image_root());
    100 - available * 100 / capacity
}

fn image_loop(status: &StatusResponse) -> &LoopStatus {
    status.loops.iter().find(|l| l.r#loop == "image_gc").unwrap()
}

/// Waits until the service says that of its image loop.
async fn images(node: &Node, suits: impl Fn(&LoopStatus) -> bool) -> LoopStatus {
    image_loop(&status(node, |s| s.loops.len() == 4 && suits(image_loop(s))).await).clone()
}

/// The other loops make their passes meanwhile, each a second after the one before.
async fn seconds(node: &Node, count: u64) {
    let now = status(node, |s| s.loops.len() == 4).await.loops[0].passes;
    status(node, |s| s.loops[0].passes >= now + count).await;
}

/// Messages of the events of a kind.
fn events(node: &Node, kind: &str) -> Vec<String> {
    let output = succeeded(ask(node, &["events", "-o", "json"])).stdout;
    let all = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let named = all.filter(|event| event["kind"] == kind);
    named.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Lines of a log at this level or above that have these words.
fn lines(log: &str, levels: &[&str], words: &str) -> usize {
    // The last line of a service that runs may not be complete yet.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let records = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .filter(|record| levels.iter().any(|level| record["level"] == *level))
        .filter(|record| record["msg"].as_str().unwrap().contains(words))
        .count()
}

/// What an account of a full disk says that no image accounts for.
fn no_image(account: &str) -> u64 {
    let end = account
        .strip_suffix("; look for logs, volumes and container layers")
        .unwrap_or_else(|| panic!("{account}"));
    end.rsplit(" about ").next().unwrap().parse::<ByteSize>().unwrap().as_u64()
}

async fn count(node: &Node) -> usize {
    node.cri.list_images().await.unwrap().len()
}

/// What `cri-gc status -o json` says of the image loop.
fn image_status(node: &Node) -> Value {
    let status = json(&succeeded(ask(node, &["status", "-o", "json"])));
    let loops = status["loops"].as_array().unwrap();
    loops.iter().find(|l| l["loop"] == "image_gc").unwrap().clone()
}

#[tokio::test]
async fn a_disk_full_of_other_files_is_logged_once_and_left_alone_until_it_has_room() {
    let name = "a_disk_full_of_other_files_is_logged_once_and_left_alone_until_it_has_room";
    let Some(mut node) = crate::containerd::node_on_tmpfs(name, DISK) else { return };
    for image in ["unused:1", "guarded:1"] {
        node.runtime.add_image(&[image], 4);
    }
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let (ballast, size) = Ballast::fill(&node, 95);

    // The thresholds and the period of image GC are the default ones; the other loops show how much time passes.
    for section in ["container_gc", "sandbox_gc", "log_gc"] {
        node.set(&format!("{section}.period"), "1s");
    }
    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s").set("image_gc.settle", "2s");
    node.set("image_gc.protect", "cri-gc.test/guarded").set("image_gc.pressure_poll", "1s");
    node.set("log.format", "json");
    let running = program::start(&node.arguments(&["run"]), None);
    images(&node, |l| l.failures > 0).await;
    seconds(&node, 15).await;
    let there = node.inventory().await;
    assert!(!there.has("image unused:1"), "an image that may be removed is kept: {there:#?}");
    for kept in ["image app:1", "image guarded:1", "image pause:1"] {
        assert!(there.has(kept), "{kept} was removed: {there:#?}");
    }
    let image_gc = image_status(&node);
    let passes = image_gc["passes"].as_u64().unwrap();
    eprintln!(
        "full disk: {passes} passes of images while others made 15: {}",
        image_gc["last_pass"]["trigger"]
    );
    // By the start; at once again, for that one has freed something; and perhaps once more on a very slow machine.
    assert!((1..=3).contains(&passes), "{image_gc:#}");
    let accounts = events(&node, "FreeDiskSpaceFailed");
    assert_eq!(accounts.len(), 1, "{accounts:#?}");
    let other = no_image(&accounts[0]);
    eprintln!("full disk: a file of {size} bytes, reported as {other}: {}", accounts[0]);
    assert!(other.abs_diff(size) <= size * 35 / 100, "{other} bytes are reported, the file has {size}");
    let log = running.stderr();
    assert_eq!(lines(&log, &["error", "warning"], "FreeDiskSpaceFailed"), 1, "{log}");
    assert_eq!(events(&node, "Recovered"), Vec::<String>::new());

    // The disk has room again: a measurement shows that, and a pass ends the failure. Then images come, and it fills up once more.
    drop(ballast);
    let well = images(&node, |l| l.failures == 0).await;
    assert_eq!(well.last_pass.as_ref().unwrap().trigger, "pressure");
    assert_eq!(events(&node, "Recovered").len(), 1);
    for number in 0..5 {
        node.runtime.add_image(&[&format!("late:{number}")], 6);
    }
    let all = count(&node).await;
    let (_ballast, _) = Ballast::fill(&node, 90);
    let gone = || async { (count(&node).await < all).then_some(()) };
    until_async(PATIENCE, gone).await.expect("an image is removed: the next crossing starts a pass");
    let enough = || async { (used_percent(&node) <= 80).then_some(()) };
    until_async(PATIENCE, enough).await.expect("it continues to the low threshold");
    let well = images(&node, |l| l.passes > well.passes).await;
    assert_eq!((well.last_pass.unwrap().trigger.as_str(), well.failures), ("pressure", 0));
    assert_eq!(events(&node, "FreeDiskSpaceFailed").len(), 1);
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(lines(&ended.stderr, &["info"], "the loop has recovered"), 1, "{}", ended.stderr);
}

#[tokio::test]
async fn a_disk_that_fills_up_between_two_passes_is_freed_at_once() {
    let name = "a_disk_that_fills_up_between_two_passes_is_freed_at_once";
    let Some(mut node) = crate::containerd::node_on_tmpfs(name, DISK) else { return };
    let pile: Vec<String> = (0..4).map(|n| format!("pile:{n}")).collect();
    for name in &pile {
        node.runtime.add_image(&[name], 8);
    }
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    // All settings of image GC are the default ones: the images are old because the records say so.
    let names: Vec<&str> = pile.iter().map(String::as_str).collect();
    remember(&node, &names, Age::hours(3, None)).await;
    node.set("image_gc.mode", "enforce").set("image_gc.settle", "2s").set("log.format", "json");
    let running = program::start(&node.arguments(&["run"]), None);
    let first = images(&node, |l| l.passes == 1).await;
    assert_eq!(first.last_pass.unwrap().removed, 0, "the disk has room");
    assert!(used_percent(&node) < 80);

    let all = count(&node).await;
    let crossed = Instant::now();
    let (_ballast, _) = Ballast::fill(&node, 90);
    let gone = || async { (count(&node).await < all).then_some(()) };
    until_async(PATIENCE, gone).await.expect("an image is removed");
    eprintln!("pressure: the first image is removed {} ms after the crossing", crossed.elapsed().as_millis());
    let second = images(&node, |l| l.passes == 2).await;
    let pass = second.last_pass.unwrap();
    assert_eq!((pass.trigger.as_str(), pass.errors.len()), ("pressure", 0), "{pass:#?}");
    assert!(used_percent(&node) <= 80, "{} percent are used", used_percent(&node));
    // 10 percent are missing, and each image uses 6 or 7 of them.
    assert_eq!(pass.removed, 2, "{pass:#?}");
    assert!(pass.freed_bytes >= 2 * 16 * MIB, "{pass:#?}");
    running.terminate();
    assert_eq!(running.wait().code, 0);
}
