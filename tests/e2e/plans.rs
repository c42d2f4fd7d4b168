//! `plan` says what a sweep then does, on the node and on a snapshot of it.

use std::collections::BTreeSet;
use std::fs;

use cri_gc_test_support::fresh_uid;
use serde_json::Value;

use crate::node::Node;

on_both!(a_plan_names_what_the_sweep_removes);

const SECTIONS: [&str; 4] = ["containers", "sandboxes", "images", "log_dirs"];

/// Ids and reasons of a list of a plan, in order.
fn items(plan: &Value, section: &str, list: &str) -> Vec<(String, String)> {
    let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
    // A section in which nothing follows has no such list.
    let items = plan[section][list].as_array().into_iter().flatten();
    items.map(|item| (text(item, "id"), text(item, "reason"))).collect()
}

async fn a_plan_names_what_the_sweep_removes(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.dead(&web, "job", 0..3).await;
    node.ended_pod("gone", &["job", "init"]).await;
    node.ended_pod("empty", &[]).await;
    node.log_dir(&format!("default_lost_{}", fresh_uid()));
    node.log_dir("lost+found");
    for image in ["unused:1", "unused:2", "kept:1"] {
        node.runtime.add_image(&[image], 0);
    }
    node.set("container_gc.parallel_removals", 1).set("sandbox_gc.parallel_removals", 1);
    node.set("image_gc.mode", "enforce")
        .set("image_gc.min_age", "0s")
        .set("image_gc.protect", "cri-gc.test/kept:*");
    node.set("image_gc.high_threshold_percent", 0).set("image_gc.low_threshold_percent", 0);

    let before = node.inventory().await;
    let plan = node.run_program(&["plan", "--output", "json"], None);
    assert_eq!((plan.code, plan.stderr.as_str()), (0, ""), "{plan:?}");
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();

    // A snapshot of the same node, planned on without it.
    let snapshot = node.run_program(&["snapshot"], None);
    assert_eq!((snapshot.code, snapshot.stderr.as_str()), (0, ""), "{snapshot:?}");
    let file = node.path("snapshot.json");
    fs::write(&file, &snapshot.stdout).unwrap();
    let again = node.run_program(&["plan", "--snapshot", "-", "--output", "json"], Some(&file));
    assert_eq!((again.code, again.stderr.as_str()), (0, ""), "{again:?}");
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    for section in SECTIONS {
        for list in ["remove", "follow"] {
            assert_eq!(items(&plan, section, list), items(&again, section, list), "{section}: {list}");
        }
        let kept = |plan: &Value| items(plan, section, "keep").into_iter().collect::<BTreeSet<_>>();
        assert_eq!(kept(&plan), kept(&again), "{section}");
    }
    assert!(before.removed_in(&node.inventory().await).is_empty(), "neither removes anything");

    let report = node.sweep(&[]).await;
    let list = |section: &str, list: &str| -> Vec<String> {
        items(&plan, section, list).iter().map(|(id, _)| before.name_of(id)).collect()
    };
    let named = |section: &str| [list(section, "remove"), list(section, "follow")].concat();
    let removed = |kind: &str| -> Vec<&str> {
        report.with_result("removed").into_iter().filter(|name| name.starts_with(kind)).collect()
    };
    // The pod that is gone is removed as a whole, at the same time as the others.
    let of_living = |names: Vec<String>| {
        names.into_iter().filter(|name| !name.starts_with("container gone/")).collect::<Vec<_>>()
    };
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(of_living(owned(removed("container "))), of_living(named("containers")), "in this order");
    // Only after other removals the sandbox of the pod that is gone is empty.
    assert_eq!(list("sandboxes", "remove"), ["sandbox empty#0"]);
    assert_eq!(list("sandboxes", "follow"), ["sandbox gone#0"]);
    assert_eq!(removed("sandbox "), ["sandbox gone#0", "sandbox empty#0"]);
    assert_eq!(list("log_dirs", "follow").len(), 2);
    let sorted = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    for (kind, section) in [("container ", "containers"), ("image ", "images"), ("log ", "log_dirs")] {
        assert_eq!(sorted(removed(kind)), named(section).into_iter().collect(), "{section}");
    }
    assert_eq!(removed("image ").len(), 2);
    assert_eq!(removed("log ").len(), 3);
}
