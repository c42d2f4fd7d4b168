//! What `status` of a real service has of the time before it started: what happened in the last hour, and pauses that can't be read.

use std::process::Child;
use std::time::{Duration, Instant};

use cri_gc_sim::{ContainerSpec, Options, PodSpec, Sim};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::program::{Bench, Said, ended, said, started, text};

const MINUTE: Duration = Duration::from_secs(60);

/// A node with three dead containers, one of which is kept.
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
        let uid = "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5";
        let pod = sim.add_pod(PodSpec::new("shop", "web-0", uid).created_at(sim.ago(60 * MINUTE))).unwrap();
        for attempt in 0..3 {
            let made = sim.ago((50 - attempt) * MINUTE);
            sim.add_container(ContainerSpec::new(&pod, "web").attempt(attempt).exited(made, made)).unwrap();
        }
        Self { sim, bench: Bench::new(), _folder: folder }
    }

    /// The service, with one more setting.
    fn service(&self, setting: &str) -> Child {
        let places = [("state.dir", "state"), ("state.runtime_dir", "run"), ("admin.socket", "admin.sock")]
            .map(|(key, name)| format!("{key}={}", text(&self.bench.path(name))));
        let mut settings: Vec<&str> = places.iter().map(String::as_str).collect();
        settings.push(setting);
        started(self.bench.command_on(&self.sim, &["run"], &settings))
    }

    fn sweep(&self, flags: &[&str]) -> Said {
        // How full the disk of this machine is does not matter here.
        let settings = ["image_gc.high_threshold_percent=100"];
        said(self.bench.command_on(&self.sim, &[&["sweep"], flags].concat(), &settings), "")
    }

    /// The status, once that is so.
    fn status(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + 2 * MINUTE;
        loop {
            let socket = self.bench.path("admin.sock");
            let asked = said(self.bench.bare(&["status", "-o", "json", "--socket", text(&socket)]), "");
            let status = serde_json::from_str::<Value>(&asked.out).unwrap_or_default();
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{asked:?}");
        }
    }
}

fn stop(service: Child) {
    kill_process(Pid::from_child(&service), Signal::TERM).unwrap();
    assert_eq!(ended(service).code, Some(0));
}

fn containers(status: &Value) -> u64 {
    let removed = status["recent"]["removed"].as_array().cloned().unwrap_or_default();
    let of = removed.iter().find(|sum| sum["kind"] == "container");
    of.map_or(0, |sum| sum["count"].as_u64().unwrap())
}

#[test]
fn what_was_removed_counts_after_a_restart_too() {
    let node = Node::new();
    let service = node.service("state.history_max_events=1000");
    let status = node.status(|status| containers(status) >= 2);
    assert_eq!(containers(&status), 2, "{status}");
    assert!(status["recent"]["removed"][0]["bytes"].as_u64().unwrap() > 0, "{status}");
    assert_eq!((&status["recent"]["failures"], &status["recent"]["problem"]), (&json!({}), &"".into()));
    stop(service);
    let service = node.service("state.history_max_events=1000");
    let status = node.status(|status| status["loops"].is_array());
    assert_eq!((containers(&status), &status["loops"][0]["removed"]), (2, &json!(0)), "{status}");
    stop(service);
}

#[test]
fn what_a_sweep_removed_is_in_the_history_of_the_service_that_follows() {
    let node = Node::new();
    let sweep =
        |flags: &[&str]| said(node.bench.command_on(&node.sim, &[&["sweep"], flags].concat(), &[]), "");
    sweep(&["--dry-run"]).succeeded();
    assert!(!node.bench.path("state/history.redb").exists(), "a dry run writes nothing");
    let ids = node.sim.container_ids();
    assert_eq!(node.sweep(&[]).succeeded().matches("over_pod_container_limit").count(), 2);
    let left = node.sim.container_ids();
    let gone = ids.iter().find(|id| !left.contains(id)).unwrap();
    let service = node.service("state.history_max_events=1000");
    let status = node.status(|status| containers(status) >= 2);
    assert_eq!(containers(&status), 2, "{status}");
    let socket = node.bench.path("admin.sock");
    let ask =
        |args: &[&str]| said(node.bench.bare(&[args, &["--socket", text(&socket)]].concat()), "").succeeded();
    let events: Vec<Value> = ask(&["history", "-o", "json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .take_while(|event: &Value| event["kind"] != "Started")
        .collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["PassRequested", "Removed", "Removed"]);
    assert_eq!(events[0]["requested_by"]["uid"], rustix::process::geteuid().as_raw(), "{events:?}");
    assert_eq!((&events[1]["trigger"], &events[0]["message"]), (&"admin".into(), &"sweep".into()));
    let explained = ask(&["explain", gone]);
    assert!(explained.contains("was removed at 20"), "{explained}");
    stop(service);
}

#[test]
fn a_sweep_whose_history_can_not_be_written_removes_all_the_same_and_says_so() {
    let node = Node::new();
    std::fs::create_dir_all(node.bench.path("state/history.redb")).unwrap();
    let sweep = node.sweep(&[]);
    assert!(sweep.err.contains("is missing from the history: check the disk"), "{sweep:?}");
    assert_eq!(node.sim.container_ids().len(), 1);
    assert_eq!(sweep.code, Some(0), "{sweep:?}");
}

#[test]
fn without_a_history_only_what_this_process_did_is_known() {
    let node = Node::new();
    let service = node.service("state.history_max_events=0");
    let status = node.status(|status| containers(status) >= 2);
    assert_eq!(containers(&status), 2, "{status}");
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let known = time(&status["now"]).duration_since(time(&status["recent"]["since"]));
    assert!(known.as_secs() < 10 * 60, "since its start: {status}");
    stop(service);
}

#[test]
fn why_all_loops_are_paused_is_said_until_they_are_resumed() {
    let node = Node::new();
    std::fs::create_dir_all(node.bench.path("state")).unwrap();
    node.bench.file("state/pauses.json", "{");
    let service = node.service("state.history_max_events=1000");
    let says_why = |status: &Value| status["problems"].to_string().contains("pauses.json can't be read");
    let status = node.status(|status| status["loops"].is_array());
    assert!(says_why(&status), "{status}");
    assert!(status["loops"].as_array().unwrap().iter().all(|of| of["state"] == "paused"), "{status}");
    let socket = node.bench.path("admin.sock");
    said(node.bench.bare(&["resume", "--socket", text(&socket)]), "").succeeded();
    let status = node.status(|status| status["loops"].is_array());
    assert!(!says_why(&status), "{status}");
    stop(service);
}
