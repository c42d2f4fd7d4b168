//! `plan --snapshot` in its three forms, on a node that has something of everything.

use cri_gc_sim::{Code, Fault, Method, Options, Scope, Sim};

use super::expected::is_as_expected;
use super::program::{Bench, said};

/// Every kind of object, some that are removed, some that follow and some that are kept.
const NODE: &str = r#"{
  "version": 1, "taken_at": "2026-01-31T12:00:00Z",
  "runtime": {"name": "containerd", "version": "2.1.4", "sandbox_image": "registry.k8s.io/pause:3.10"},
  "pods": {"synced": true, "absent": "deleted",
           "pods": [{"uid": "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "state": "active"},
                    {"uid": "1f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "state": "terminated"}]},
  "containers": [
    {"id": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "name": "web", "attempt": 3,
     "pod_uid": "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "pod_sandbox_id": "s0", "state": "running",
     "created_at": "2026-01-31T11:00:00Z", "image_ref": "registry.example.com/web:1"},
    {"id": "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1", "name": "web", "attempt": 2,
     "pod_uid": "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "pod_sandbox_id": "s0", "state": "exited",
     "created_at": "2026-01-31T10:00:00Z", "finished_at": "2026-01-31T10:59:00Z"},
    {"id": "c2", "name": "web", "attempt": 1, "pod_uid": "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5",
     "pod_sandbox_id": "s0", "state": "exited", "created_at": "2026-01-31T09:00:00Z",
     "finished_at": "2026-01-31T09:59:00Z"},
    {"id": "c3", "name": "job", "pod_uid": "2f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "pod_sandbox_id": "s2",
     "state": "exited", "created_at": "2026-01-30T09:00:00Z", "finished_at": "2026-01-30T09:30:00Z"},
    {"id": "c4", "name": "job", "pod_uid": "1f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "pod_sandbox_id": "s1",
     "state": "exited", "created_at": "2026-01-31T11:59:00Z", "finished_at": "2026-01-31T11:59:30Z"}],
  "sandboxes": [
    {"id": "s0", "pod_uid": "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "namespace": "shop", "name": "web-0",
     "state": "ready", "created_at": "2026-01-31T09:00:00Z"},
    {"id": "s1", "pod_uid": "1f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "namespace": "ci", "name": "job-1",
     "state": "not_ready", "created_at": "2026-01-31T11:58:00Z"},
    {"id": "s2", "pod_uid": "2f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "namespace": "ci", "name": "job-2",
     "state": "not_ready", "created_at": "2026-01-30T08:59:00Z"},
    {"id": "s3", "pod_uid": "3f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "namespace": "ci", "name": "job-3",
     "state": "not_ready", "created_at": "2026-01-29T11:58:00Z"}],
  "images": [
    {"id": "sha256:a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0", "size_bytes": 500000000,
     "repo_tags": ["registry.example.com/web:1"], "first_detected": "2026-01-01T00:00:00Z"},
    {"id": "sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "size_bytes": 700000000,
     "repo_tags": ["registry.example.com/web:0", "registry.example.com/web:old"],
     "first_detected": "2026-01-01T00:00:00Z", "last_used": "2026-01-20T00:00:00Z"},
    {"id": "sha256:a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2", "size_bytes": 700000000,
     "repo_digests": ["registry.example.com/db@sha256:12"], "first_detected": "2026-01-01T00:00:00Z"},
    {"id": "sha256:a3", "size_bytes": 310000, "repo_tags": ["registry.k8s.io/pause:3.10"], "pinned": true},
    {"id": "sha256:a4", "size_bytes": 90000000, "repo_tags": ["new:1"], "first_detected": "2026-01-31T11:59:00Z"}],
  "filesystems": [{"mountpoint": "/var/lib/containerd", "holds": ["images", "containers"],
                   "capacity_bytes": 10000000000, "available_bytes": 1000000000,
                   "inodes": 655360, "inodes_free": 500000}],
  "log_dirs": ["shop_web-0_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "ci_job-3_3f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5",
               "ci_job-2_2f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "ci_old_4f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5",
               "lost+found"]
}"#;

fn plan(args: &[&str]) -> String {
    let bench = Bench::new();
    let file = bench.file("node.json", NODE);
    bench.run(&[&["plan", "--snapshot", &file], args].concat()).succeeded()
}

#[test]
fn as_a_table() {
    is_as_expected("plan-table", &plan(&[]));
    is_as_expected("plan-table", &plan(&["--output", "table"]));
    is_as_expected("plan-table-all", &plan(&["--all"]));
}

#[test]
fn as_json_and_yaml_it_is_the_same_plan() {
    let json = plan(&["-o", "json"]);
    is_as_expected("plan-json", &json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&plan(&["-o", "yaml"])).unwrap();
    assert_eq!(json, yaml);
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["containers", "images", "log_dirs", "sandboxes"]);
}

#[test]
fn as_names_for_scripts() {
    assert_eq!(
        plan(&["-o", "name"]),
        format!(
            "container/c3\ncontainer/c2\nsandbox/s3\nlog_dir/ci_old_4f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5\n\
             image/sha256:{}\nimage/sha256:{}\nsandbox/s2\n\
             log_dir/ci_job-2_2f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5\n\
             log_dir/ci_job-3_3f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5\n",
            "a2".repeat(32),
            "a1".repeat(32)
        )
    );
    assert_eq!(
        plan(&["-o", "name", "--loop", "containers", "--sort", "name"]),
        "container/c3\ncontainer/c2\n"
    );
    assert_eq!(
        plan(&["-o", "name", "--loop", "containers", "--sort", "age"]),
        "container/c3\ncontainer/c2\n"
    );
}

#[test]
fn wide_it_shortens_nothing_and_has_all_names() {
    is_as_expected("plan-wide", &plan(&["-o", "wide", "--all"]));
}

#[test]
fn only_what_is_meant_is_listed_and_counted_in_every_form() {
    is_as_expected(
        "plan-selected",
        &plan(&["--all", "-n", "ci", "--reason", "pod_deleted", "--reason", "has_containers"]),
    );
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&plan(&[&["-o", "json"], args].concat())).unwrap()
    };
    let ids = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let shop = json(&["--namespace", "shop"]);
    assert_eq!(ids(&shop["containers"]["remove"]), ["c2"]);
    assert_eq!(ids(&shop["sandboxes"]["keep"]), ["s0"]);
    assert_eq!(ids(&shop["log_dirs"]["keep"]), ["shop_web-0_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5"]);
    assert_eq!(ids(&shop["images"]["remove"]), [""; 0], "images have no namespace");
    let both = json(&["--loop", "logs", "--loop", "image_gc", "--reason", "disk_pressure"]);
    assert_eq!(ids(&both["images"]["remove"]).len(), 2);
    assert_eq!(both["images"]["would_free_bytes"], 1_400_000_000);
    assert_eq!(ids(&both["log_dirs"]["keep"]), [""; 0]);
    assert_eq!(json(&["--reason", "unused_too_long"])["images"].get("would_free_bytes"), None);
    let sorted = json(&["--sort", "name"]);
    assert_eq!(ids(&sorted["containers"]["keep"]).first().unwrap(), "c4");
    assert_eq!(sorted.get("only"), None, "all are listed");
    assert_eq!(
        both["only"],
        serde_json::json!({"loops": ["log_gc", "image_gc"], "reasons": ["disk_pressure"]}),
        "the reader of a file has to know that it is not all"
    );
    assert_eq!(shop["only"], serde_json::json!({"namespaces": ["shop"]}));
    let several = plan(&["-o", "json", "--loop", "logs,images", "--reason", "disk_pressure,in_use"]);
    assert_eq!(
        several,
        plan(&["-o", "json", "--loop=logs", "--loop=images", "--reason=disk_pressure", "--reason=in_use"])
    );
}

#[test]
fn objects_that_are_kept_are_listed_where_their_reason_is_asked_for_or_all_are() {
    for args in [&["--reason", "foreign_name"][..], &["-o", "wide"]] {
        let table = plan(args);
        assert!(table.contains("KEEP") && table.contains("lost+found"), "{table}");
    }
    assert_eq!(plan(&["-o", "wide"]), plan(&["-o", "wide", "--all"]));
    assert!(!plan(&[]).contains("lost+found"));
}

#[test]
fn where_no_object_can_match_the_table_says_so() {
    assert_eq!(plan(&["-n", "ci", "--loop", "images"]), "Nothing matches.\n");
}

#[test]
fn where_nothing_is_removed_the_table_says_so() {
    let bench = Bench::new();
    let file = bench.file("empty.json", r#"{"version": 1, "taken_at": "2026-01-31T12:00:00Z"}"#);
    is_as_expected("plan-nothing", &bench.run(&["plan", "--snapshot", &file]).succeeded());
}

#[test]
fn settings_change_the_plan_and_modes_do_not() {
    let removed = |args: &[&str]| -> usize {
        let json: serde_json::Value = serde_json::from_str(&plan(&[&["-o", "json"], args].concat())).unwrap();
        json["containers"]["remove"].as_array().unwrap().len()
    };
    assert_eq!(removed(&[]), 2);
    assert_eq!(removed(&["--set", "container_gc.max_per_pod_container=0"]), 3);
    assert_eq!(removed(&["--set", "container_gc.mode=off"]), 2);
    assert_eq!(
        removed(&["--set", "pods.source=file", "--set", "pods.file=/nonexistent"]),
        2,
        "none is asked"
    );
}

#[test]
fn patterns_that_match_no_image_are_named_for_a_snapshot_too() {
    let bench = Bench::new();
    let file = bench.file("node.json", NODE);
    let set = "image_gc.protect=registry.example.com/*,registry.exmaple.com/*";
    let planned = bench.command(&["plan", "--snapshot", &file, "--set", set]).output().unwrap();
    let said = String::from_utf8(planned.stderr).unwrap();
    assert_eq!(
        said,
        "cri-gc: note: these patterns of image_gc.protect match no image on this node: registry.exmaple.com/*\n"
    );
}

#[test]
fn what_could_not_be_listed_is_not_counted_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start(folder.path(), Options::default()).unwrap();
    sim.fault(Method::ListImages, Fault::error(Code::Unknown, "boom"), Scope::Always);
    let bench = Bench::new();
    let planned = said(bench.command_on(&sim, &["plan"], &[]), "");
    assert_eq!(planned.code, Some(3), "{planned:?}");
    let row = |kind: &str| {
        let row = planned.out.lines().find(|line| line.starts_with(kind)).unwrap();
        row.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("images"), ["images", "?", "?", "?"]);
    assert_eq!(row("containers"), ["containers", "0", "0", "0"]);
}

#[test]
fn a_plan_on_a_snapshot_calls_no_runtime() {
    let bench = Bench::new();
    let file = bench.file("node.json", NODE);
    bench.run(&["plan", "--snapshot", &file, "--set", "runtime.endpoint=/nonexistent/cri.sock"]).succeeded();
}
