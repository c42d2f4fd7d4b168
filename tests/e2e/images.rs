//! behaviour: Images: which images are always kept. Which of the others are removed: [`super::disk_pressure`].

use std::time::Duration;

use cri_gc_sim::{Code, ContainerSpec as SimContainer, Fault, Flavour, Method, Options, Scope};
use cri_gc_test_support::{ContainerSpec, flavours::options, fresh_uid, on_each_flavour};
use serde_json::json;

use crate::embedded::node_and_sim;
use crate::node::{Node, image};

on_each_flavour!(
    #[tokio::test] async:
    an_image_that_gets_a_container_meanwhile_is_kept,
);

on_both!(
    only_unused_and_unprotected_images_are_removed,
    young_images_are_kept_and_image_gc_can_be_off,
    an_image_is_removed_when_it_is_unused_for_too_long,
    an_image_that_an_active_pod_names_is_kept,
);

/// Every image that may be removed has to be: the disk is never empty enough.
fn want_all(node: &mut Node) {
    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s");
    node.set("image_gc.high_threshold_percent", 0).set("image_gc.low_threshold_percent", 0);
}

async fn only_unused_and_unprotected_images_are_removed(node: &mut Node) {
    for names in [
        &["running:1"][..],
        &["dead:1"],
        &["created:1"],
        &["moved:1"],
        &["team/edge:1"],
        &["team/edge:2"],
        &["exact:1"],
        &["exact:2"],
        &["byid:1"],
        &["unused:1"],
        &["many:1", "many:2", "other/many:3"],
    ] {
        node.runtime.add_image(names, 0);
    }
    let web = node.pod("web").await;
    node.run(&web, &ContainerSpec::sleeper("main", &image("running:1"))).await;
    node.dead_of(&web, "job", "dead:1", 0..1).await;
    node.created(&web, &ContainerSpec::sleeper("next", &image("created:1"))).await;
    // Its tag has moved on to another image, which no container uses; the container keeps the one that it was made from.
    node.run(&web, &ContainerSpec::sleeper("old", &image("moved:1"))).await;
    let kept = node.inventory().await.id("image moved:1").to_owned();
    node.runtime.add_image(&["moved:2"], 0);
    node.runtime.tag("moved:2", "moved:1");
    let by_id = node.inventory().await.id("image byid:1").to_owned();
    // No image of its own, except the pause image of its sandbox.
    node.set("container_gc.mode", "off");
    node.set("image_gc.protect", format!("cri-gc.test/team/*,cri-gc.test/exact:1,{}", &by_id[..20]));
    want_all(node);

    let before = node.inventory().await;
    let report = node
        .loses(&[
            "image app:1",
            "image exact:2",
            "image unused:1",
            "image many:1,many:2,other/many:3",
            "image moved:1,moved:2",
        ])
        .await;
    assert_eq!(report.removal("image unused:1"), "disk_pressure: removed");
    let sandbox_image = if node.runtime.names_the_sandbox_image() { "sandbox_image" } else { "pinned" };
    for (image, reason) in [
        ("image running:1", "in_use"),
        ("image dead:1", "in_use"),
        ("image created:1", "in_use"),
        (&before.name_of(&kept), "in_use"),
        ("image team/edge:2", "protected"),
        ("image exact:1", "protected"),
        ("image byid:1", "protected"),
        ("image pause:1", sandbox_image),
    ] {
        assert_eq!(report.kept(image), reason, "{image}");
    }
    // All that may be removed is removed, and it is not enough: that is reported, with why the others are kept.
    assert_eq!((report.code, report.errors().len()), (3, 1), "{report:#?}");
    assert!(report.errors()[0].starts_with("FreeDiskSpaceFailed: "), "{:?}", report.errors());
    let again = node.loses(&[]).await;
    assert_eq!(again.pass("image_gc")["removals"], json!([]));
}

async fn young_images_are_kept_and_image_gc_can_be_off(node: &mut Node) {
    node.runtime.add_image(&["unused:1"], 0);
    want_all(node);
    node.set("image_gc.min_age", "1h");
    let report = node.loses(&[]).await;
    assert_eq!((report.kept("image unused:1"), report.code), ("too_young", 3));
    node.set("image_gc.min_age", "0s").set("image_gc.high_threshold_percent", 100);
    assert_eq!(node.loses(&[]).await.is_good().kept("image unused:1"), "image_gc_off");
    node.set("image_gc.mode", "off").is_settled().await;
}

async fn an_image_is_removed_when_it_is_unused_for_too_long(node: &mut Node) {
    for name in ["unused:1", "job:1", "kept:1"] {
        node.runtime.add_image(&[name], 0);
    }
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.dead_of(&web, "job", "job:1", 0..1).await;
    node.set("image_gc.mode", "enforce").set("image_gc.protect", "cri-gc.test/kept");
    // The disk says nothing: a high threshold of 100 never triggers.
    node.set("image_gc.high_threshold_percent", 100)
        .set("image_gc.max_age", "1h")
        .set("image_gc.min_age", "3h");
    node.inside().serve();

    node.is_settled().await;
    let pass = |by: Duration| node.runtime.advance(by);
    pass(Duration::from_secs(2 * 3600));
    assert_eq!(node.loses(&[]).await.is_good().kept("image unused:1"), "too_young");
    pass(Duration::from_secs(2 * 3600));
    let report = node.loses(&["image unused:1"]).await;
    assert_eq!(report.is_good().removal("image unused:1"), "unused_too_long: removed");
    assert_eq!(report.kept("image job:1"), "in_use");
    node.is_settled().await;

    // Its last container is removed: it was used until now.
    node.cri.remove(node.inventory().await.id("container web/job#0")).await.unwrap();
    pass(Duration::from_secs(1800));
    assert_eq!(node.loses(&[]).await.is_good().kept("image job:1"), "below_threshold");
    pass(Duration::from_secs(3600));
    node.loses(&["image job:1"]).await.is_good();
}

async fn an_image_that_an_active_pod_names_is_kept(node: &mut Node) {
    for name in ["next:1", "init:1", "data:1", "over:1"] {
        node.runtime.add_image(&[name], 0);
    }
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let item = |uid: &str, phase: &str, spec| json!({"metadata": {"uid": uid}, "spec": spec, "status": {"phase": phase}});
    let list = json!({"kind": "PodList", "items": [
        item(&web.spec.uid, "Running", json!({})),
        // About to start: its images were pulled just now.
        item(&fresh_uid(), "Pending", json!({
            "containers": [{"name": "main", "image": image("next:1")}],
            "initContainers": [{"name": "init", "image": image("init:1")}],
            "volumes": [{"name": "data", "image": {"reference": image("data:1")}}],
        })),
        item(&fresh_uid(), "Succeeded", json!({"containers": [{"name": "main", "image": image("over:1")}]})),
    ]});
    let file = node.path("pods.json");
    std::fs::write(&file, list.to_string()).unwrap();
    node.set("pods.source", "file").set("pods.file", file.display());
    want_all(node);
    let report = node.loses(&["image over:1"]).await;
    for name in ["image next:1", "image init:1", "image data:1"] {
        assert_eq!(report.kept(name), "named_by_pod", "{name}");
    }
}

// What no real runtime does to order.

async fn an_image_that_gets_a_container_meanwhile_is_kept() {
    let (mut node, sim) = node_and_sim(options());
    node.runtime.add_image(&["late:1"], 0);
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    for name in ["container_gc.mode", "sandbox_gc.mode", "log_gc.mode"] {
        node.set(name, "off");
    }
    want_all(&mut node);
    let before = node.inventory().await;
    // The plan uses the first list; the second one is requested right before the removal.
    let mut lists = 0;
    sim.before(Method::ListContainers, move |node, _| {
        lists += 1;
        if lists == 2 {
            node.add_container(SimContainer::new(&web.id, "late").image(image("late:1")).no_log()).unwrap();
        }
    });
    let command = node.run_program(&["sweep", "--output", "json"], None);
    let report = crate::program::Report::new(&command, &before);
    assert_eq!(report.removal("image late:1"), "disk_pressure: refused (in_use)");
    assert_eq!(sim.count(Method::RemoveImage), 0);
}

#[tokio::test]
async fn a_sandbox_image_that_is_not_pinned_is_known_by_status_and_without_it_no_image_is_removed() {
    let options = Options { flavour: Flavour::Containerd16, ..options() };
    let (mut node, sim) = node_and_sim(options);
    node.runtime.add_image(&["unused:1"], 0);
    want_all(&mut node);
    let broken = Fault::error(Code::Unknown, "not ready yet");
    sim.fault(Method::Status, broken, Scope::Always);
    assert_eq!(node.loses(&[]).await.code, 3);
    sim.clear_faults();
    let report = node.loses(&["image app:1", "image unused:1"]).await;
    assert_eq!(report.kept("image pause:1"), "sandbox_image");
}
