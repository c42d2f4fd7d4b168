//! One small snapshot for every rule of docs/behaviour.md that a plan follows, with the plan that it has to give.
//!
//! `snapshots/<rule>.json` is a snapshot as `cri-gc plan --snapshot` reads it, `snapshots/<rule>.plan.json` the plan:
//! ids, reasons, order. A new rule is two files and a line in [`RULES`]; the settings are the defaults, changed as the
//! line says. The words next to a reason are for people and may change, so they are not compared.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code: failing loudly is its job"
)]

mod nodes;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use cri_gc_policy::Reason;
use nodes::Settings;
use serde_json::Value;

/// What a case changes in the default settings.
type Change = fn(&mut Settings);

const DEFAULTS: Change = |_| {};
const COLLECT: Change = |s| s.collect_unmanaged = true;
const AN_HOUR_UNUSED: Change = |s| s.image_max_age = 3_600_000;

/// Each rule with its settings. Behind some stands whose complaint it answers.
const RULES: &[(&str, Change)] = &[
    // behaviour: Pods
    ("pods-what-runs-is-active", DEFAULTS),
    ("pods-unsynced-confirms-nothing", |s| {
        s.evict_terminated_pods = true;
    }),
    ("pods-listed-as-active-are-so-without-a-sync", DEFAULTS),
    ("pods-absent-is-deleted", DEFAULTS),
    ("pods-absent-is-unknown", DEFAULTS),
    ("pods-evicted-are-removed-whole", DEFAULTS),
    ("pods-terminated-are-kept", DEFAULTS),
    ("pods-terminated-are-removed-if-set-but-not-their-logs", |s| {
        s.evict_terminated_pods = true;
    }),
    ("pods-uid-comes-from-the-sandbox", DEFAULTS),
    ("pods-unmanaged-are-kept-and-do-not-count", |s| {
        s.max_per_pod_container = 1;
        s.max_containers = 1;
    }),
    ("pods-unmanaged-are-collected-if-set", COLLECT),
    ("pods-unmanaged-wait-for-the-sync", COLLECT),
    // behaviour: Dead containers
    ("containers-running-are-kept", COLLECT),
    ("containers-min-age", |s| s.min_age = 600_000),
    ("containers-min-dead-age", DEFAULTS),
    ("containers-created-grace", DEFAULTS),
    ("containers-of-unknown-age-are-kept", DEFAULTS),
    ("containers-in-state-unknown-are-dead", DEFAULTS),
    ("containers-each-unit-keeps-its-newest", DEFAULTS),
    ("containers-a-limit-of-0-keeps-none", |s| s.max_per_pod_container = 0),
    ("containers-no-limit-keeps-all", |s| s.max_per_pod_container = -1),
    ("containers-a-unit-is-of-evictable-ones", DEFAULTS),
    ("containers-ties-are-ordered-by-attempt-then-id", |s| s.max_per_pod_container = 2),
    ("containers-the-node-limit-is-shared-by-the-units", |s| {
        s.max_per_pod_container = -1;
        s.max_containers = 7;
    }),
    ("containers-the-node-limit-takes-the-oldest-of-all", |s| {
        s.max_per_pod_container = -1;
        s.max_containers = 1;
    }),
    ("containers-a-node-limit-of-0-keeps-none", |s| {
        s.max_per_pod_container = -1;
        s.max_containers = 0;
    }),
    ("containers-units-that-are-removed-whole-do-not-count", |s| {
        s.max_per_pod_container = 3;
        s.max_containers = 4;
    }),
    // kubernetes 90271, 86531, 51142: init containers and finished jobs ran again.
    ("containers-of-a-living-pod-keep-their-last-record", DEFAULTS),
    ("containers-are-removed-oldest-first-across-rules", DEFAULTS),
    // behaviour: Sandboxes
    ("sandboxes-all-but-the-newest-are-removed", DEFAULTS),
    ("sandboxes-newest-counts-those-in-use", DEFAULTS),
    ("sandboxes-with-a-container-are-kept", DEFAULTS),
    ("sandboxes-that-are-not-all-listed-are-kept", DEFAULTS),
    ("sandboxes-min-age", |s| s.sandbox_min_age = 600_000),
    ("sandboxes-ties-are-ordered-by-attempt-then-id", DEFAULTS),
    ("sandboxes-of-unknown-age-make-no-other-old", DEFAULTS),
    ("sandboxes-in-no-known-state-are-kept", DEFAULTS),
    // behaviour: Log directories
    ("log-dirs-of-both-forms-and-both-kinds-of-uid-are-removed", DEFAULTS),
    ("log-dirs-of-foreign-names-are-never-touched", DEFAULTS),
    ("log-dirs-are-removed-only-with-their-pod", |s| s.evict_terminated_pods = true),
    ("log-dirs-of-what-is-still-known-are-kept", DEFAULTS),
    // behaviour: Plans: what the plan's own removals make removable.
    ("follow-what-is-empty-once-containers-are-removed", DEFAULTS),
    ("follow-of-a-living-pod-all-sandboxes-but-the-newest", DEFAULTS),
    ("follow-no-sandbox-that-is-kept-when-empty", |s| s.max_per_pod_container = 0),
    ("follow-images-are-the-last-in-line", DEFAULTS),
    ("follow-no-image-where-others-free-enough", DEFAULTS),
    ("follow-no-image-for-its-age", AN_HOUR_UNUSED),
    // behaviour: Images
    ("images-in-use-by-a-field-behind-one-that-resolves-to-nothing", DEFAULTS),
    ("images-mounted-as-volumes-are-kept", DEFAULTS),
    ("images-are-kept-where-it-is-not-known-which-are-in-use", DEFAULTS),
    ("images-that-the-runtime-refuses-to-remove-wait", DEFAULTS),
    ("images-young-ones-are-too-young-only-where-the-disk-is-full", DEFAULTS),
    ("images-removed-for-their-age-may-not-be-enough", AN_HOUR_UNUSED),
    ("images-in-use-are-kept", DEFAULTS),
    ("images-in-use-are-kept-in-whatever-form-they-are-named", DEFAULTS),
    ("images-a-tag-that-moved-on-uses-nothing", DEFAULTS),
    ("images-that-an-active-pod-names-are-kept", DEFAULTS),
    ("images-pinned-are-kept", DEFAULTS),
    // kubernetes 81756, rke2 1830, eraser 1107: no pod could start any more.
    ("images-the-sandbox-image-is-kept", DEFAULTS),
    // kubernetes 68930, 66221, 109936, k3s 8781, containerd 6930: side-loaded images of an air-gapped node.
    ("images-protected-are-kept", |s| {
        s.protect = [
            "registry.example/team/tools",
            "registry.example/team/app:k*p",
            "registry.example/team/db@sha256:*",
            "airgap.local/*",
            "sha256:6666666666666666666666666666666666666666666666666666666666666666",
            "localhost:5000/cache",
        ]
        .map(str::to_owned)
        .to_vec();
    }),
    ("images-below-the-high-threshold-are-kept", DEFAULTS),
    ("images-are-removed-at-the-high-threshold", DEFAULTS),
    ("images-usage-is-rounded-up", DEFAULTS),
    ("images-high-and-low-alike-may-free-nothing", |s| s.low = 85),
    ("images-are-removed-in-order-of-use", DEFAULTS),
    // kubernetes 120659, 92925, 68203, 130663: far more images were removed than needed.
    ("images-only-as-many-as-needed-are-removed", DEFAULTS),
    // kubernetes 119642, 119711; docuum 177, 320: what is new, or of which nothing is remembered, was removed at once.
    ("images-too-young-are-passed-over", DEFAULTS),
    ("images-unused-too-long-are-removed-whatever-the-disk-usage", AN_HOUR_UNUSED),
    ("images-min-age-applies-to-the-unused-too", |s| {
        s.image_max_age = 3_600_000;
        s.image_min_age = 7_200_000;
    }),
    ("images-unused-too-long-need-no-filesystem", AN_HOUR_UNUSED),
    ("images-removed-for-their-age-count-for-space", AN_HOUR_UNUSED),
    ("images-a-high-threshold-of-100-never-triggers", |s| {
        s.high = 100;
        s.image_max_age = 3_600_000;
    }),
    ("images-gc-is-off", |s| s.high = 100),
    ("images-a-capacity-of-0-is-no-measure", DEFAULTS),
    ("images-one-filesystem-without-capacity-spoils-no-other", DEFAULTS),
    ("images-without-a-filesystem-are-kept", DEFAULTS),
    ("images-more-available-than-there-is-counts-as-all", DEFAULTS),
    ("images-are-not-removed-for-the-containers-filesystem", DEFAULTS),
    ("images-each-filesystem-is-judged-by-itself", DEFAULTS),
    ("images-a-filesystem-named-twice-counts-once", DEFAULTS),
    // kubernetes 41033: inodes ran out, and were not checked.
    ("images-inodes-run-out", |s| {
        (s.inode_high, s.inode_low) = (90, 80);
    }),
    ("images-what-protects-one-copy-protects-all", DEFAULTS),
    ("images-inodes-are-not-checked-by-default", DEFAULTS),
    ("images-without-inodes-know-no-such-pressure", |s| {
        (s.inode_high, s.inode_low) = (90, 80);
    }),
    // kubernetes 71869: the disk is full of something else; the plan reports why each image is kept.
    ("images-nothing-is-left-to-remove", |s| {
        s.protect = vec!["registry.example/team/tools".to_owned()];
    }),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The plan that a rule has to give.
fn expected(rule: &str) -> Value {
    serde_json::from_str(&read(&format!("{rule}.plan.json"))).unwrap_or_else(|e| panic!("{rule}: {e}"))
}

/// The plan that it gives, by what is a contract: other fields of an object and of a section may be added.
fn planned(rule: &str, change: Change) -> Value {
    let node = serde_json::from_str(&read(&format!("{rule}.json"))).unwrap_or_else(|e| panic!("{rule}: {e}"));
    let mut settings = Settings::default();
    change(&mut settings);
    let mut plan = serde_json::to_value(nodes::report(&node, &settings)).unwrap();
    for item in items(&mut plan) {
        let words = item.as_object_mut().unwrap().remove("detail").unwrap();
        assert!(!words.as_str().unwrap().is_empty(), "{rule}: a reason without words: {item}");
        item.as_object_mut().unwrap().retain(|key, _| ["id", "reason"].contains(&key.as_str()));
    }
    for section in plan.as_object_mut().unwrap().values_mut() {
        let contract = ["remove", "follow", "keep", "bytes_to_free"];
        section.as_object_mut().unwrap().retain(|key, _| contract.contains(&key.as_str()));
    }
    plan
}

/// All decisions of a plan.
fn items(plan: &mut Value) -> impl Iterator<Item = &mut Value> {
    plan.as_object_mut().unwrap().values_mut().flat_map(|section| {
        let lists = section.as_object_mut().unwrap().iter_mut();
        let lists = lists.filter(|(key, _)| ["remove", "follow", "keep"].contains(&key.as_str()));
        lists.filter_map(|(_, list)| list.as_array_mut()).flatten()
    })
}

#[test]
fn every_rule_gives_its_plan() {
    let wrong: Vec<String> = RULES
        .iter()
        .filter_map(|&(rule, change)| {
            let (planned, expected) = (planned(rule, change), expected(rule));
            (planned != expected).then(|| format!("{rule}\n  expected {expected}\n  planned  {planned}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_forgotten_and_no_rule_stands_twice() {
    let listed: BTreeSet<String> =
        RULES.iter().flat_map(|(rule, _)| [format!("{rule}.json"), format!("{rule}.plan.json")]).collect();
    assert_eq!(listed.len(), 2 * RULES.len());
    let there: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn every_reason_occurs_in_some_rule() {
    // Those of links whose target is missing are no part of a plan.
    let of_links = [Reason::TargetMissing, Reason::TargetMissingOnce];
    let mut seen = BTreeSet::new();
    for (rule, _) in RULES {
        for item in items(&mut expected(rule)) {
            seen.insert(item["reason"].as_str().unwrap().to_owned());
        }
    }
    let all: BTreeSet<String> =
        Reason::ALL.iter().filter(|reason| !of_links.contains(reason)).map(ToString::to_string).collect();
    assert_eq!(seen, all);
}
