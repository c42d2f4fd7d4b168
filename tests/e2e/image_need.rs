//! behaviour: Image disk space: of the images that may be removed, no more are removed than the filesystem needs, whatever their
//! reported sizes promise; and a node that was cleaned to the last image can still start a pod.
//!
//! Sizes are wrong both ways: they promise too little where an image lies on the disk packed and unpacked, and too much
//! where images share layers. Every test measures first, and asserts that its sizes are as wrong as it says.

use cri_gc_policy::FsStats;
use cri_gc_policy::images::space::usage_percent;
use cri_gc_sim::{Flavour, Options};
use cri_gc_test_support::{ContainerSpec, TmpfsSize, flavours::options, on_each_flavour};
use serde_json::{Value, json};

use crate::cluster::succeeded_with_notes;
use crate::embedded::{node_and_sim, node_on_disk};
use crate::node::{APP, Node, image};
use crate::program;
use crate::running_service::status;
use crate::service_commands::{ask, json as answer, succeeded};

on_each_flavour!(
    #[tokio::test] async:
    on_the_embedded_runtime_one_image_is_removed_where_one_is_enough,
    on_the_embedded_runtime_it_continues_where_images_share_layers,
);

const MIB: u64 = 1 << 20;

/// Capacity of the disk in MiB: one percent of it is little compared with an image.
const DISK: u64 = 200;

/// What the filesystem of the images says of itself.
fn measure(node: &Node) -> FsStats {
    node.runtime.seams().probe.stats(&node.runtime.image_root()).unwrap().stats
}

fn used_percent(node: &Node) -> u8 {
    let stats = measure(node);
    usage_percent(stats.capacity_bytes, stats.available_bytes).unwrap()
}

/// By how many bytes a filesystem has more room than before.
fn freed(before: FsStats, after: FsStats) -> u64 {
    after.available_bytes.saturating_sub(before.available_bytes)
}

/// How many bytes are missing to a low threshold.
fn missing(stats: FsStats, low: u8) -> u64 {
    let wanted = stats.capacity_bytes * u64::from(100 - low) / 100;
    wanted.saturating_sub(stats.available_bytes)
}

/// The low threshold to which about so many bytes are missing: to no other are nearly as many.
fn low_for(stats: FsStats, bytes: u64) -> u8 {
    (0..100).min_by_key(|low| missing(stats, *low).abs_diff(bytes)).unwrap()
}

/// The size of an image as the runtime reports it.
async fn reported_size(node: &Node, name: &str) -> u64 {
    let images = node.cri.list_images().await.unwrap();
    let named = images.iter().find(|known| known.repo_tags.contains(&image(name)));
    named.unwrap_or_else(|| panic!("no {name} in {images:#?}")).size
}

/// A full disk starts a pass now, and has to have so much room again; no image is too young.
fn want(node: &mut Node, low: u8) {
    let full = used_percent(node);
    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s").set("image_gc.settle", "1s");
    node.set("image_gc.high_threshold_percent", full).set("image_gc.low_threshold_percent", low);
}

/// The images of a pile in the order of their removal: none was ever seen in use, so their ids decide.
async fn in_line(node: &Node, pile: &[&str]) -> Vec<String> {
    let there = node.inventory().await;
    let mut line: Vec<String> = pile.iter().map(|name| format!("image {name}")).collect();
    line.sort_by(|a, b| there.id(a).cmp(there.id(b)));
    line
}

/// A pod that runs: its images are in use.
async fn in_use(node: &Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
}

// ---- Sizes that promise too little ----

#[tokio::test]
async fn on_containerd_one_image_is_removed_where_one_is_enough() {
    let name = "on_containerd_one_image_is_removed_where_one_is_enough";
    if let Some(mut node) = crate::containerd::node_on_tmpfs(name, TmpfsSize::mib(DISK)) {
        one_image_is_removed_where_one_is_enough(&mut node, true).await;
    }
}

async fn on_the_embedded_runtime_one_image_is_removed_where_one_is_enough() {
    // The binary would plan on the disk of this machine.
    one_image_is_removed_where_one_is_enough(&mut node_on_disk(TmpfsSize::mib(DISK)), false).await;
}

async fn one_image_is_removed_where_one_is_enough(node: &mut Node, plans: bool) {
    in_use(node).await;
    let pile = ["pile:1", "pile:2", "pile:3"];
    let mut sizes = Vec::new();
    for name in pile {
        let before = measure(node);
        node.runtime.add_image(&[name], 12);
        sizes.push(freed(measure(node), before));
    }
    let reported = reported_size(node, pile[0]).await;
    let one = *sizes.iter().min().unwrap();
    let stats = measure(node);
    let low = low_for(stats, u64::midpoint(reported, one));
    let missing = missing(stats, low);
    // The premise: by the sizes it would take two, by the measure one is enough.
    assert!(
        reported < missing && missing <= 2 * reported,
        "{missing} bytes are missing, one is reported as {reported}"
    );
    assert!(one >= missing, "{missing} bytes are missing, one uses {one}");

    want(node, low);
    let line = in_line(node, &pile).await;
    if plans {
        // The plan can only use the sizes.
        let plan = succeeded_with_notes(node.run_program(&["plan", "--output", "json"], None));
        assert_eq!(plan["images"]["remove"].as_array().unwrap().len(), 2, "{plan:#}");
    }
    let report = node.loses(&[&line[0]]).await;
    assert_eq!(report.is_good().removal(&line[0]), "disk_pressure: removed");
    assert_eq!(report.kept(&line[1]), "below_threshold");
    let freed_bytes = freed(stats, measure(node));
    eprintln!("one image: {missing} bytes missing, {reported} reported, {one} used, {freed_bytes} freed");
    assert!(used_percent(node) <= low && freed_bytes >= missing, "{freed_bytes} bytes were freed");
    let counted = report.pass("image_gc")["freed_bytes"].as_u64().unwrap();
    assert!(counted.abs_diff(freed_bytes) < MIB, "{counted} bytes are reported, {freed_bytes} measured");
    node.is_settled().await;
}

// ---- Sizes that promise too much ----

/// MiB of the layer that all images of a pile share, and of the one that each has for itself.
const SHARED: u64 = 24;
const OWN: u64 = 5;

#[tokio::test]
async fn on_containerd_it_continues_where_images_share_layers() {
    let name = "on_containerd_it_continues_where_images_share_layers";
    if let Some(mut node) = crate::containerd::node_on_tmpfs(name, TmpfsSize::mib(DISK)) {
        it_continues_where_images_share_layers(&mut node).await;
    }
}

async fn on_the_embedded_runtime_it_continues_where_images_share_layers() {
    it_continues_where_images_share_layers(&mut node_on_disk(TmpfsSize::mib(DISK))).await;
}

async fn it_continues_where_images_share_layers(node: &mut Node) {
    in_use(node).await;
    let pile = ["pile:1", "pile:2", "pile:3", "pile:4", "pile:5", "pile:6"];
    let mut sizes = Vec::new();
    for name in pile {
        let before = measure(node);
        node.runtime.add_layered_image(name, &[("shared", SHARED), (name, OWN)]);
        sizes.push(freed(measure(node), before));
    }
    let reported = reported_size(node, pile[0]).await;
    // The first one had the shared layer. It remains as long as one of them does.
    let own = sizes[1..].iter().sum::<u64>() / 5;
    let stats = measure(node);
    let low = low_for(stats, own * 5 / 2);
    let missing = missing(stats, low);
    // The premise: by the sizes one would do, by the measure it takes three.
    assert!(reported >= missing, "{missing} bytes are missing, one is reported as {reported}");
    assert!(2 * own < missing && missing <= 3 * own, "{missing} bytes are missing, each uses {own}");

    want(node, low);
    let line = in_line(node, &pile).await;
    let gone: Vec<&str> = line[..3].iter().map(String::as_str).collect();
    let report = node.loses(&gone).await;
    report.is_good();
    let freed_bytes = freed(stats, measure(node));
    eprintln!(
        "shared layers: {missing} bytes missing, {reported} reported, {own} own, {freed_bytes} freed by three"
    );
    assert!(used_percent(node) <= low, "{freed_bytes} bytes were freed, {missing} were missing");
    node.is_settled().await;
}

// ---- What a node needs to continue ----

#[tokio::test]
async fn on_containerd_a_node_cleaned_to_the_last_image_starts_a_pod() {
    if let Some(mut node) =
        crate::containerd::node("on_containerd_a_node_cleaned_to_the_last_image_starts_a_pod")
    {
        a_node_cleaned_to_the_last_image_starts_a_pod(&mut node).await;
    }
}

#[tokio::test]
async fn on_the_embedded_runtime_a_node_cleaned_to_the_last_image_starts_a_pod() {
    for flavour in Flavour::ALL {
        let (mut node, _sim) = node_and_sim(Options { flavour, ..options() });
        a_node_cleaned_to_the_last_image_starts_a_pod(&mut node).await;
    }
}

async fn a_node_cleaned_to_the_last_image_starts_a_pod(node: &mut Node) {
    for names in [&["twice:1", "other/twice:2"][..], &["unused:1"], &["unused:2"]] {
        node.runtime.add_image(names, 0);
    }
    let before = node.inventory().await;
    let (pause, twice) = ("image pause:1", "image other/twice:2,twice:1");
    let tags = [image("other/twice:2"), image("twice:1")];
    let reason = if node.runtime.names_the_sandbox_image() { "sandbox_image" } else { "pinned" };
    node.set("image_gc.mode", "report").set("image_gc.min_age", "0s").set("image_gc.max_age", "0s");
    node.set("image_gc.high_threshold_percent", 0).set("image_gc.low_threshold_percent", 0);
    node.set("log.format", "json");

    // It is said beforehand which rule keeps the sandbox image, and all names of an image.
    let plan = succeeded_with_notes(node.run_program(&["plan", "--output", "json"], None));
    let item = |list: &str, name: &str| -> Value {
        let items = plan["images"][list].as_array().unwrap();
        let found = items.iter().find(|item| item["id"] == before.id(name));
        found.unwrap_or_else(|| panic!("the plan does not {list} {name}: {plan:#}")).clone()
    };
    assert_eq!(item("keep", pause)["reason"], reason);
    let names = item("remove", twice)["names"].as_array().unwrap().clone();
    assert!(tags.iter().all(|tag| names.contains(&json!(tag))), "{names:?}");

    let running = program::start(&node.arguments(&["run"]), None);
    status(node, |s| s.loops.len() == 4 && s.loops[3].passes > 0).await;
    let explain = |name: &str| {
        let explained = answer(&succeeded(ask(node, &["explain", &image(name), "-o", "json"])));
        assert_eq!(explained["objects"].as_array().unwrap().len(), 1, "{explained:#}");
        explained["objects"][0].clone()
    };
    let explained = explain("pause:1");
    assert_eq!(
        (&explained["decision"], &explained["reason"]),
        (&json!("keep"), &json!(reason)),
        "{explained:#}"
    );
    // By either tag it is the same image, with both.
    for name in ["twice:1", "other/twice:2"] {
        let explained = explain(name);
        assert_eq!(explained["decision"], "remove", "{explained:#}");
        let names = explained["names"].as_array().unwrap();
        assert!(tags.iter().all(|tag| names.contains(&json!(tag))), "{explained:#}");
    }
    running.terminate();
    assert_eq!(running.wait().code, 0);
    assert!(before.removed_in(&node.inventory().await).is_empty(), "nothing was removed");

    node.set("image_gc.mode", "enforce");
    let report = node.loses(&["image app:1", "image unused:1", "image unused:2", twice]).await;
    assert_eq!(report.kept(pause), reason);

    // Nothing but the sandbox image is left. What a pod needs comes from a registry, the sandbox image does not.
    node.runtime.add_image(&[APP], 0);
    let web = node.pod("web").await;
    let main = node.run(&web, &ContainerSpec::sleeper("main", &image(APP))).await;
    let state = node.cri.status(&main).await.unwrap().state();
    assert_eq!(state, cri_gc_proto::cri::ContainerState::ContainerRunning);
}
