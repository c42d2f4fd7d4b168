//! `sweep`, `plan` and `snapshot` against a runtime: the forms of their output, and exit codes of passes that fail.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::time::Duration;

use cri_gc_sim::{Code, ContainerSpec, Fault, Method, Options, PodSpec, Scope, Sim};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::expected::is_as_expected;
use super::program::{Bench, Said, ended, said, started, text};

const MINUTE: Duration = Duration::from_secs(60);
const UID: &str = "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5";

/// A node with one living pod, two of whose three dead containers are removed.
struct Node {
    sim: Sim,
    bench: Bench,
    _folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { start_time: jiff::Timestamp::now(), ..Options::default() };
        let sim = Sim::start(folder.path(), options).unwrap();
        let pod = sim.add_pod(PodSpec::new("shop", "web-0", UID).created_at(sim.ago(60 * MINUTE))).unwrap();
        for attempt in 0..3 {
            let made = sim.ago((50 - attempt) * MINUTE);
            let container = ContainerSpec::new(&pod, "web").attempt(attempt).exited(made, made);
            sim.add_container(container.no_log()).unwrap();
        }
        Self { sim, bench: Bench::new(), _folder: folder }
    }

    fn run(&self, args: &[&str]) -> Said {
        said(self.command(args), "")
    }

    fn command(&self, args: &[&str]) -> Command {
        // How full the disk of this machine is does not matter here.
        self.bench.command_on(&self.sim, args, &["image_gc.high_threshold_percent=100"])
    }

    fn harmful_calls(&self) -> usize {
        use Method::{RemoveContainer, RemoveImage, RemovePodSandbox, StopContainer, StopPodSandbox};
        let harmful = [StopContainer, RemoveContainer, StopPodSandbox, RemovePodSandbox, RemoveImage];
        harmful.into_iter().map(|method| self.sim.count(method)).sum()
    }
}

/// Without what differs from run to run: how long it took.
fn timeless(table: &str) -> String {
    let took = |word: &str| {
        word.strip_suffix("ms")
            .or_else(|| word.strip_suffix("µs"))
            .or_else(|| word.strip_suffix('s'))
            .is_some_and(|number| number.parse::<f64>().is_ok())
    };
    let line = |line: &str| {
        line.split_whitespace()
            .map(|word| if took(word) { "TOOK" } else { word })
            .collect::<Vec<_>>()
            .join(" ")
    };
    table.lines().map(|l| line(l) + "\n").collect()
}

#[test]
fn a_sweep_reports_what_was_removed_and_what_was_kept() {
    let node = Node::new();
    is_as_expected("sweep-table", &timeless(&node.run(&["sweep"]).succeeded()));
    assert_eq!(node.sim.container_ids().len(), 1);
    assert_eq!(node.sim.count(Method::RemoveContainer), 2);
}

#[test]
fn a_dry_run_removes_nothing() {
    let node = Node::new();
    is_as_expected("sweep-dry-run", &timeless(&node.run(&["sweep", "--dry-run"]).succeeded()));
    assert_eq!(node.harmful_calls(), 0);
    assert_eq!(node.sim.container_ids().len(), 3);
}

/// A sweep that is stopped by `signals`, one after the other as soon as it has said something; `release` lets the removals
/// in progress be done then.
fn stopped(node: &Node, signals: &[Signal], release: bool) -> Said {
    node.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
    let mut child = started(node.command(&["sweep", "--set", "container_gc.parallel_removals=1"]));
    assert!(node.sim.wait_for_calls(Method::RemoveContainer, 1, MINUTE));
    let process = Pid::from_child(&child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    for signal in signals {
        kill_process(process, *signal).unwrap();
        if said.is_empty() {
            stderr.read_line(&mut said).unwrap();
        }
    }
    if release {
        node.sim.clear_faults();
    }
    let mut rest = ended(child);
    stderr.read_to_string(&mut said).unwrap();
    rest.err = said;
    rest
}

#[test]
fn a_sweep_that_is_stopped_waits_for_what_was_sent_and_says_what_it_did() {
    for (signal, name, code) in [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143)] {
        let node = Node::new();
        let said = stopped(&node, &[signal], true);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(
            said.err.contains("stopping after the removals in progress") && said.err.contains(name),
            "{said:?}"
        );
        assert_eq!(node.sim.count(Method::RemoveContainer), 1, "no other is begun");
        assert_eq!(node.sim.container_ids().len(), 2);
        assert_eq!(said.out.matches("removed ").count(), 1, "{said:?}");
        // The next one may have been checked by then; it was not sent.
        let next = said.out.contains("1 removal was not started") || said.out.contains("kept: halted");
        assert!(said.out.contains("shop/web-0/web#0") && next, "{said:?}");
        assert!(!said.out.contains("sandbox_gc"), "no other pass is begun: {said:?}");
    }
}

#[test]
fn a_second_signal_ends_a_sweep_at_once() {
    let node = Node::new();
    let said = stopped(&node, &[Signal::INT, Signal::TERM], false);
    assert_eq!((said.code, said.out.as_str()), (Some(143), ""), "{said:?}");
    node.sim.clear_faults();
}

#[test]
fn a_sweep_that_is_stopped_before_it_begins_removes_nothing() {
    let node = Node::new();
    node.sim.fault(Method::Version, Fault::Hang, Scope::Always);
    let child = started(node.command(&["sweep", "-o", "json"]));
    assert!(node.sim.wait_for_calls(Method::Version, 1, MINUTE));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let said = ended(child);
    assert_eq!((said.code, said.out.trim()), (Some(143), "[]"), "{said:?}");
    assert_eq!(node.harmful_calls(), 0);
    node.sim.clear_faults();
}

#[test]
fn what_is_only_reported_is_noted_next_to_a_plan() {
    let node = Node::new();
    let said = node.run(&["plan", "--set", "container_gc.mode=report", "--set", "sandbox_gc.mode=off"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.err, "cri-gc: note: container_gc.mode is \"report\", so a sweep removes nothing of that kind\n",
        "sandbox_gc has nothing to remove"
    );
}

#[test]
fn a_status_that_cannot_be_read_is_reported_next_to_the_plan_of_the_others() {
    let node = Node::new();
    let id = node.sim.container_ids()[0].clone();
    node.sim.fault(Method::ContainerStatus, Fault::error(Code::Unknown, "boom"), Scope::ForId(id.clone()));
    for command in [&["plan", "-o", "json"][..], &["sweep", "--dry-run", "-o", "json"]] {
        let said = node.run(command);
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(
            said.err.contains("the status of 1 container ")
                || said.out.contains("the status of 1 container ")
        );
        assert!(said.out.contains("state_unknown"), "{said:?}");
    }
}

#[test]
fn a_sweep_as_json_and_as_yaml_has_one_report_for_each_loop() {
    for form in ["json", "yaml"] {
        let node = Node::new();
        let out = node.run(&["sweep", "-o", form]).succeeded();
        let reports: serde_json::Value = if form == "json" {
            serde_json::from_str(&out).unwrap()
        } else {
            serde_saphyr::from_str(&out).unwrap()
        };
        let loops: Vec<&str> =
            reports.as_array().unwrap().iter().map(|r| r["loop"].as_str().unwrap()).collect();
        assert_eq!(loops, ["container_gc", "sandbox_gc", "log_gc", "image_gc"], "{form}");
        let removals = reports[0]["removals"].as_array().unwrap();
        assert_eq!(removals.len(), 2);
        assert_eq!(removals[0]["result"], "removed");
        assert_eq!(removals[0]["reason"], "over_pod_container_limit");
    }
}

#[test]
fn a_sweep_that_fails_in_part_says_so_and_ends_with_3() {
    let node = Node::new();
    node.sim.fault(Method::RemoveContainer, Fault::error(Code::Unknown, "device busy"), Scope::Times(1));
    let said = node.run(&["sweep"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("device busy"), "{said:?}");
    let node = Node::new();
    node.sim.fault(Method::Status, Fault::error(Code::Unknown, "no status"), Scope::Always);
    let said = node.run(&["sweep"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("error (image_gc)") && said.out.contains("no status"), "{said:?}");
}

#[test]
fn a_snapshot_of_a_node_plans_as_the_node_does() {
    let node = Node::new();
    let plan: serde_json::Value =
        serde_json::from_str(&node.run(&["plan", "-o", "json"]).succeeded()).unwrap();
    for form in ["json", "yaml"] {
        let snapshot = node.run(&["snapshot", "-o", form]).succeeded();
        let snapshot: serde_json::Value = if form == "json" {
            serde_json::from_str(&snapshot).unwrap()
        } else {
            serde_saphyr::from_str(&snapshot).unwrap()
        };
        assert_eq!(snapshot["version"], 1);
        assert_eq!(snapshot["runtime"]["name"], "containerd");
        let file = node.bench.file("snapshot.json", snapshot.to_string());
        let again = node.run(&["plan", "--snapshot", &file, "-o", "json"]).succeeded();
        let again: serde_json::Value = serde_json::from_str(&again).unwrap();
        for section in ["containers", "sandboxes", "log_dirs"] {
            assert_eq!(again[section], plan[section], "{form}: {section}");
        }
    }
    assert_eq!(plan["containers"]["remove"].as_array().unwrap().len(), 2);
    assert_eq!(node.harmful_calls(), 0);
}

#[test]
fn a_snapshot_knows_what_has_finished_a_moment_ago() {
    let node = Node::new();
    let pod = node.sim.sandbox_ids()[0].clone();
    let (made, now) =
        (node.sim.ago(49 * MINUTE + Duration::from_secs(30)), node.sim.ago(Duration::from_secs(10)));
    let fresh = ContainerSpec::new(&pod, "web").attempt(7).exited(made, now).no_log();
    let fresh = node.sim.add_container(fresh).unwrap();
    let file = node.bench.file("snapshot.json", node.run(&["snapshot"]).succeeded());
    for args in [&["plan", "-o", "json"][..], &["plan", "-o", "json", "--snapshot", &file]] {
        let plan: serde_json::Value = serde_json::from_str(&node.run(args).succeeded()).unwrap();
        let containers = &plan["containers"];
        assert_eq!(containers["remove"].as_array().unwrap().len(), 2, "{containers}");
        let kept = containers["keep"].as_array().unwrap().iter().find(|item| item["id"] == *fresh).unwrap();
        assert_eq!(kept["reason"], "finished_recently");
    }
}

#[test]
fn a_list_that_fails_hides_only_what_cannot_be_decided_without_it() {
    for method in [Method::ListContainers, Method::ListPodSandbox, Method::ListImages, Method::ImageFsInfo] {
        let node = Node::new();
        node.sim.fault(method, Fault::error(Code::Unknown, "boom"), Scope::Always);
        for command in ["plan", "snapshot"] {
            let said = node.run(&[command, "-o", "json"]);
            assert_eq!(said.code, Some(3), "{method}, {command}: {said:?}");
            assert!(said.err.contains("boom"), "{method}, {command}: {said:?}");
            let report: Value = serde_json::from_str(&said.out).unwrap();
            let knows_pods = matches!(method, Method::ListImages | Method::ImageFsInfo);
            let containers = &report["containers"];
            let count = containers["keep"].as_array().or(containers.as_array()).unwrap().len();
            assert_eq!(count > 0, knows_pods, "{method}, {command}: {said:?}");
        }
        assert_eq!(node.harmful_calls(), 0);
    }
}

#[test]
fn invalid_settings_are_found_before_any_call_of_the_runtime() {
    let node = Node::new();
    let bad = ["--set", "container_gc.min_age=soon"];
    for command in ["plan", "snapshot", "sweep"] {
        node.run(&[&[command][..], &bad].concat()).refused(64, &["container_gc.min_age"]);
    }
    assert_eq!(node.sim.calls(), []);
}

#[test]
fn a_pod_source_that_cannot_be_read_removes_no_pod_and_is_reported() {
    let node = Node::new();
    for (name, content) in [("missing.json", None), ("broken.json", Some("{")), ("empty.json", Some(""))] {
        let path = node.bench.path(name);
        content.into_iter().for_each(|content| drop(node.bench.file(name, content)));
        let file = format!("pods.file={}", text(&path));
        let said = node.run(&["sweep", "--set", "pods.source=file", "--set", &file, "--dry-run"]);
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(said.err.contains(text(&path)), "{said:?}");
        assert!(!said.out.contains("pod_deleted"), "{said:?}");
    }
    assert_eq!(node.harmful_calls(), 0);
}

#[test]
fn patterns_that_match_no_image_are_named_before_anything_is_removed() {
    use std::io::BufRead;
    let node = Node::new();
    node.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
    let mut child = started(node.command(&["sweep", "--set", "image_gc.protect=no.example/*"]));
    let mut line = String::new();
    std::io::BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        line.starts_with("cri-gc: note: these patterns of image_gc.protect match no image")
            && line.contains("no.example/*"),
        "{line}"
    );
}
