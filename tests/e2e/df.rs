//! `df` shows what was written where, and what the next pass frees: on sizes that the tests know.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use cri_gc_test_support::{ContainerSpec, Pod, until_async};
use serde_json::Value;

use crate::node::{APP, Node, image};

on_both!(
    known_sizes_are_found_and_the_next_pass_frees_what_it_says,
    a_new_container_has_a_size_once_the_runtime_has_counted,
);

const MIB: u64 = 1 << 20;

/// What a filesystem may add to a file: its blocks, directories, and what a runtime writes itself.
const SLACK: u64 = MIB / 2;

/// A container that has written so many MiB to its layer; it runs on, or has ended.
async fn written(node: &Node, pod: &Pod, name: &str, mib: u64, runs: bool) -> String {
    let then = if runs { "; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done" } else { "" };
    let script = format!("head -c {} /dev/zero > /written{then}", mib * MIB);
    let id = node.run(pod, &ContainerSpec::shell(name, &image(APP), &script)).await;
    if !runs {
        node.runtime.end(&id);
        node.cri.wait_exited(&id).await.unwrap();
    }
    node.runtime.wrote(&id, mib);
    id
}

/// What `df` finds, once it knows what `is_counted` asks for.
async fn df(node: &Node, is_counted: impl Fn(&Value) -> bool) -> Value {
    let found = async || {
        let ended = node.run_program(&["df", "-o", "json"], None);
        assert_eq!(ended.code, 0, "{ended:?}");
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        is_counted(&found).then_some(found)
    };
    until_async(Duration::from_secs(60), found).await.expect("the runtime counts every 10 s")
}

fn sum<'v>(found: &'v Value, kind: &str) -> &'v Value {
    found["usage"].as_array().unwrap().iter().find(|sum| sum["kind"] == kind).unwrap()
}

fn object<'v>(found: &'v Value, list: &str, id: &str) -> &'v Value {
    let objects = found[list].as_array().unwrap();
    objects.iter().find(|object| object["id"] == id).unwrap_or_else(|| panic!("no {id} in {objects:#?}"))
}

fn is_about(bytes: &Value, mib: u64) -> bool {
    bytes.as_u64().is_some_and(|bytes| (mib * MIB..mib * MIB + SLACK).contains(&bytes))
}

async fn known_sizes_are_found_and_the_next_pass_frees_what_it_says(node: &mut Node) {
    let state = node.path("records");
    node.set("container_gc.max_per_pod_container", 0).set("image_gc.min_age", "0s");
    node.set("state.dir", state.display());
    node.runtime.add_image(&["spare:1"], 7);
    node.cri.wait_image(&image("spare:1")).await.unwrap();
    let web = node.pod("web").await;
    let running = written(node, &web, "main", 5, true).await;
    let dead = written(node, &web, "job", 3, false).await;
    fs::write(node.log(&web, "main", "0.log.20260101-000000"), vec![b'x'; (4 * MIB) as usize]).unwrap();
    let gone = node.log_dir("default_gone_1f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5");
    fs::write(gone.join("main/0.log.1"), vec![b'x'; (2 * MIB) as usize]).unwrap();
    for path in [gone.join("main/0.log.1"), gone.join("main"), gone.clone()] {
        crate::node::set_age(&path, Duration::from_secs(180));
    }

    let before = node.inventory().await;
    // CRI-O reports nothing of a container that has exited.
    let reports_dead = node.runtime.reports_layers_of_dead_containers();
    let found = df(node, |found| {
        let is_known = |id: &str| {
            is_about(&object(found, "containers", id)["size_bytes"], if id == dead { 3 } else { 5 })
        };
        is_known(&running) && (!reports_dead || is_known(&dead))
    })
    .await;
    assert_eq!(before, node.inventory().await, "nothing has changed");
    assert!(!state.exists(), "nothing is written");

    let (layers, dead_layers) = (sum(&found, "running_containers"), sum(&found, "dead_containers"));
    assert!(is_about(&layers["size_bytes"], 5) && layers["count"] == 1, "{found:#}");
    assert!(layers["inodes"].as_u64().unwrap() >= 1, "{found:#}");
    assert_eq!((&layers["reclaimable_bytes"], &dead_layers["reclaimable_count"]), (&0.into(), &1.into()));
    if reports_dead {
        assert!(is_about(&dead_layers["size_bytes"], 3), "{found:#}");
        assert_eq!(dead_layers["reclaimable_bytes"], dead_layers["size_bytes"]);
    } else {
        assert_eq!((&dead_layers["size_bytes"], &dead_layers["unknown_count"]), (&Value::Null, &1.into()));
    }

    let of_gone = object(&found, "log_dirs", gone.file_name().unwrap().to_str().unwrap());
    assert!(is_about(&of_gone["size_bytes"], 2) && of_gone["pod_state"] == "deleted", "{of_gone:#}");
    assert_eq!(of_gone["decision"], "remove");
    let logs = sum(&found, "logs");
    assert!(is_about(&logs["size_bytes"], 6), "4 MiB and 2 MiB: {logs:#}");
    assert_eq!(logs["reclaimable_bytes"], of_gone["size_bytes"]);
    assert_eq!(found["log_dirs"][0]["pod_state"], "active", "the largest is first");

    let unused = sum(&found, "images_unused");
    assert_eq!(unused["count"], 1, "{found:#}");
    assert!(unused["size_bytes"].as_u64().unwrap() >= 7 * MIB, "{unused:#}");
    for disk in found["filesystems"].as_array().unwrap() {
        let number = |field: &str| disk[field].as_u64().unwrap();
        assert_eq!(number("known_bytes") + number("other_bytes"), number("used_bytes"), "{disk:#}");
    }

    // The same plan as that of `plan`, and what a sweep then does.
    let plan: Value = serde_json::from_str(&node.run_program(&["plan", "-o", "json"], None).stdout).unwrap();
    for section in ["containers", "log_dirs", "images"] {
        let ids = |objects: &Value, of: &dyn Fn(&Value) -> bool| -> BTreeSet<String> {
            let objects = objects.as_array().into_iter().flatten().filter(|object| of(object));
            objects.map(|object| object["id"].to_string()).collect()
        };
        let mut planned = ids(&plan[section]["remove"], &|_| true);
        planned.extend(ids(&plan[section]["follow"], &|_| true));
        assert_eq!(ids(&found[section], &|object| object["decision"] != "keep"), planned, "{section}");
    }
    node.loses(&["container web/job#0", "log gone/*"]).await.is_good();
    let after = df(node, |_| true).await;
    assert_eq!(sum(&after, "dead_containers")["count"], 0);
    assert!(is_about(&sum(&after, "logs")["size_bytes"], 4), "{after:#}");
}

async fn a_new_container_has_a_size_once_the_runtime_has_counted(node: &mut Node) {
    let web = node.pod("web").await;
    let id = node.run(&web, &ContainerSpec::sleeper("main", &image(APP))).await;
    let known = |found: &Value| {
        let size = &object(found, "containers", &id)["size_bytes"];
        let sum = sum(found, "running_containers");
        assert_eq!(size.is_null(), sum["unknown_count"] == 1, "a size that is not known is not 0: {found:#}");
        !size.is_null()
    };
    let ended = node.run_program(&["df", "-o", "json"], None);
    let is_known = known(&serde_json::from_str(&ended.stdout).unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.stderr.contains("has not counted the writable layers of 1 container yet"),
        !is_known,
        "{ended:?}"
    );
    node.runtime.wrote(&id, 0);
    df(node, known).await;
}
