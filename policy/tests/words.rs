//! What a plan says for people: names, reasons in words, totals. (Its contract is held by `rules`.)

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code: failing loudly is its job"
)]

mod nodes;

use cri_gc_policy::report::Item;
use cri_gc_policy::{PlanReport, Snapshot};
use nodes::Settings;

fn plan(rest: &str, settings: &Settings) -> PlanReport {
    let node = format!(
        r#"{{"version": 1, "taken_at": "2026-01-31T12:00:00Z",
            "pods": {{"synced": true, "absent": "deleted", "pods": [{{"uid": "u", "state": "active"}}]}}, {rest}}}"#
    );
    nodes::report(&serde_json::from_str::<Snapshot>(&node).unwrap(), settings)
}

fn details(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.detail.as_str()).collect()
}

#[test]
fn an_image_that_nothing_is_remembered_of_says_so_and_no_age() {
    let report = plan(
        r#""images": [{"id": "a"}, {"id": "b", "first_detected": "2026-01-31T12:00:00Z"},
                      {"id": "c", "first_detected": "2026-01-31T11:59:00Z"}]"#,
        &Settings::default(),
    );
    let no_records = "first seen now (no earlier record), min_age is 2m";
    assert_eq!(
        details(&report.images.section.keep),
        [no_records, no_records, "first seen 1m ago, min_age is 2m"]
    );
}

#[test]
fn a_time_in_the_future_is_named_as_such() {
    let report = plan(
        r#""containers": [{"id": "a", "pod_uid": "u", "pod_sandbox_id": "s", "name": "web", "state": "exited",
                           "created_at": "2026-02-10T12:00:00Z"}]"#,
        &Settings::default(),
    );
    assert_eq!(
        details(&report.containers.keep),
        ["created 10d in the future by the clock of this node, min_age is 0s"]
    );
}

#[test]
fn counts_agree_with_their_nouns() {
    let container = |id: u32| {
        format!(
            r#"{{"id": "{id}", "pod_uid": "u", "pod_sandbox_id": "s", "name": "web", "attempt": {id}, "state": "exited",
                "created_at": "2026-01-31T0{id}:00:00Z"}}"#
        )
    };
    let containers = format!(r#""containers": [{}]"#, [1, 2, 3].map(container).join(", "));
    let limits = |max_per_pod_container, max_containers| Settings {
        max_per_pod_container,
        max_containers,
        ..Settings::default()
    };
    let remove = |settings: &Settings| plan(&containers, settings).containers.remove;
    assert_eq!(
        details(&remove(&limits(1, -1))),
        [
            r#"2 newer containers "web" in its pod; max_per_pod_container keeps 1"#,
            r#"1 newer container "web" in its pod; max_per_pod_container keeps 1"#
        ]
    );
    assert_eq!(
        details(&remove(&limits(-1, 2))),
        [r#"2 newer containers "web" in its pod, which is the share of max_containers for that name"#]
    );
    assert_eq!(
        details(&remove(&limits(-1, 0))),
        [
            r#"2 newer containers "web" in its pod, which is the share of max_containers for that name"#,
            r#"1 newer container "web" in its pod, which is the share of max_containers for that name"#,
            "no newer dead container on the node; max_containers keeps 0",
        ]
    );
}

#[test]
fn objects_are_named_as_people_do_and_sizes_are_added_up() {
    let report = plan(
        r#""containers": [
             {"id": "c1", "pod_uid": "gone", "pod_sandbox_id": "s1", "name": "job", "attempt": 4, "state": "exited",
              "created_at": "2026-01-31T01:00:00Z", "image_id": "i1"},
             {"id": "c2", "pod_uid": "gone", "pod_sandbox_id": "lost", "name": "side", "state": "exited",
              "created_at": "2026-01-31T02:00:00Z"},
             {"id": "c3", "pod_uid": "nobody", "name": "alone", "state": "exited", "created_at": "2026-01-31T03:00:00Z"}],
           "sandboxes": [{"id": "s1", "pod_uid": "gone", "namespace": "ns", "name": "pod", "attempt": 2,
                          "state": "not_ready", "created_at": "2026-01-31T01:00:00Z"}],
           "images": [{"id": "i1", "repo_tags": ["r.example/a:1", "r.example/a:2"], "size_bytes": 40,
                       "first_detected": "2026-01-01T00:00:00Z"},
                      {"id": "i2", "size_bytes": 30, "first_detected": "2026-01-01T00:00:00Z"},
                      {"id": "i3", "first_detected": "2026-01-01T00:00:00Z", "runtime_handler": "kata"}],
           "filesystems": [{"mountpoint": "/i", "holds": ["images"], "capacity_bytes": 1000, "available_bytes": 100},
                           {"mountpoint": "/c", "holds": ["containers"], "capacity_bytes": 1, "available_bytes": 0}],
           "log_dirs": ["ns_pod_11111111-2222-3333-4444-555555555555", "lost+found"]"#,
        &Settings::default(),
    );
    let names = |items: &[Item]| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&report.containers.remove), ["ns/pod/job#4", "ns/pod/side#0", "alone#0"]);
    assert_eq!(report.containers.remove[1].pod_uid, "gone");
    assert_eq!(names(&report.sandboxes.follow), ["ns/pod#2"]);
    assert!(report.sandboxes.follow[0].detail.ends_with("; removed after other removals of this plan"));
    assert_eq!(names(&report.log_dirs.remove), ["ns/pod"]);
    assert_eq!(names(&report.log_dirs.keep), ["lost+found"]);
    let images = &report.images;
    assert_eq!(names(&images.section.remove), ["<none>", "<none>"]);
    assert_eq!(images.section.remove[1].runtime_handler, "kata");
    assert_eq!(images.section.remove[1].size_bytes, None, "it is not reported");
    assert_eq!(images.section.follow[0].names, ["r.example/a:1", "r.example/a:2"]);
    assert_eq!(images.section.would_free_bytes, Some(70));
    assert_eq!(report.containers.would_free_bytes, None);
    let [fs] = &*images.filesystems else { panic!("{:?}", images.filesystems) };
    assert_eq!((fs.mountpoint.as_str(), fs.used_percent), ("/i", Some(90)));
    assert_eq!((fs.high_threshold_percent, fs.low_threshold_percent), (85, 80));
}
