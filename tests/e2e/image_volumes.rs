//! Images that are mounted into containers as volumes: no list reports them, and a container whose volume's image is gone can't be
//! started again.

use cri_gc_test_support::ContainerSpec;

use crate::node::{Node, image};

on_both!(an_image_volume_survives_a_clean_up_to_1_percent_and_its_container_can_be_started_again);

/// Whether the runtime has image volumes; says so where it has none. containerd has them since 2.1.
async fn has_image_volumes(node: &Node) -> bool {
    let version = node.cri.version().await.unwrap();
    let number = version.runtime_version.trim_start_matches('v');
    let has = version.runtime_name != "containerd" || !number.starts_with("1.");
    if !has {
        let name = format!("{} {}", version.runtime_name, version.runtime_version);
        eprintln!("SKIPPED the test of image volumes: {name} has none");
    }
    has
}

async fn an_image_volume_survives_a_clean_up_to_1_percent_and_its_container_can_be_started_again(
    node: &mut Node,
) {
    if !has_image_volumes(node).await {
        return;
    }
    for name in ["model:1", "model:2", "byid:1", "free:1"] {
        node.runtime.add_image(&[name], 1);
    }
    let by_id = node.inventory().await.id("image byid:1").to_owned();
    let web = node.pod("web").await;
    // A kubelet asks by id, others by a name.
    let spec = |name: &str, volume: &str| ContainerSpec::sleeper(name, &image("app:1")).image_volume(volume);
    let containers = [("main", image("model:1")), ("other", by_id)];
    for (name, volume) in &containers {
        node.run(&web, &spec(name, volume)).await;
    }
    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s");
    node.set("image_gc.high_threshold_percent", 1).set("image_gc.low_threshold_percent", 1);

    let report = node.loses(&["image free:1", "image model:2"]).await;
    for name in ["image model:1", "image byid:1"] {
        assert_eq!(report.kept(name), "in_use", "{name}");
    }
    for (name, volume) in &containers {
        let id = node.inventory().await.id(&format!("container web/{name}#0")).to_owned();
        node.cri.stop(&id, 5).await.unwrap();
        node.run(&web, &spec(name, volume).attempt(1)).await;
    }
}
