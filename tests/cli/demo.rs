//! `demo`: it prints what was removed and kept, succeeds, and leaves nothing behind. `demo --watch`: the loops continue next to
//! one that is broken, and it leaves nothing behind either.

use std::path::Path;
use std::process::Command;

use cri_gc_sim::{Options, Sim};
use rustix::process::{Pid, Signal, kill_process};

use super::program::{Bench, ended, next_line, said, started, text};

/// The demo, with a folder of its own for what is temporary.
fn demo(bench: &Bench, args: &[&str]) -> Command {
    let temporary = bench.path("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = bench.bare(&[&["demo"], args].concat());
    command.env("TMPDIR", temporary);
    command
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// Before and after, of the row of the last table that begins so.
fn row(output: &str, name: &str) -> (u64, u64) {
    let ending = output.split("Result\n").nth(1).unwrap();
    let row =
        ending.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {output}"));
    let words = row.strip_prefix(name).unwrap().split_whitespace();
    let numbers: Vec<u64> = words.filter_map(|word| word.trim_end_matches('%').parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[test]
fn it_prints_the_node_what_is_removed_what_is_kept_and_the_result() {
    let bench = Bench::new();
    let output = said(demo(&bench, &[]), "").succeeded();
    for part in [
        "the disk is 91% full; image GC starts at 85% and stops at 80%",
        "Removed\n",
        "Kept\n",
        "Result\n",
        "pod_deleted",
        "over_pod_container_limit",
        "disk_pressure",
        "running",
        "in_use",
        "protected",
        "too_young",
        "foreign_name",
        "unmanaged",
        "created_recently",
        "sandbox_ready",
        "cri-gc plan",
    ] {
        assert!(output.contains(part), "{part:?} is not in\n{output}");
    }
    assert!(!output.contains("failed") && !output.contains("error"), "{output}");
    assert!(is_empty(&bench.path("tmp")), "it leaves nothing behind");
}

#[test]
fn it_frees_space_to_the_low_threshold_and_removes_nothing_that_runs() {
    let bench = Bench::new();
    let output = said(demo(&bench, &[]), "").succeeded();
    let disk = row(&output, "disk");
    assert!(disk.0 >= 85 && disk.1 <= 80 && disk.1 >= 75, "{disk:?}\n{output}");
    let running = row(&output, "running containers");
    assert!(running.0 == running.1 && running.0 > 0, "{running:?}");
    for less in ["dead containers", "sandboxes", "log directories", "images"] {
        let (before, after) = row(&output, less);
        assert!(after < before && after > 0, "{less}: {before}, {after}");
    }
}

#[test]
fn with_all_every_object_is_printed_once() {
    let bench = Bench::new();
    let output = said(demo(&bench, &["--all"]), "").succeeded();
    assert!(!output.contains("more  "), "{output}");
    let removed = output.split("Removed\n").nth(1).unwrap().split("Kept\n").next().unwrap();
    let images: Vec<&str> = removed
        .lines()
        .filter(|l| l.starts_with("image "))
        .filter_map(|l| l.split_whitespace().nth(1))
        .collect();
    let (before, after) = row(&output, "images");
    assert_eq!(images.len() as u64, before - after, "{output}");
    let kept = output.split("Kept\n").nth(1).unwrap().split("Result\n").next().unwrap();
    for image in images {
        assert!(!kept.contains(&format!("{image},")), "{image} is removed and kept:\n{output}");
    }
}

#[test]
fn it_needs_no_home_and_writes_only_to_the_temporary_folder() {
    let bench = Bench::new();
    let mut command = demo(&bench, &[]);
    // Not even root can make a file here.
    command.env_remove("HOME").current_dir("/proc");
    said(command, "").succeeded();
    assert!(is_empty(&bench.path("tmp")));
}

#[test]
fn a_missing_temporary_folder_is_an_error() {
    let bench = Bench::new();
    let mut command = demo(&bench, &[]);
    command.env("TMPDIR", "/nonexistent/tmp");
    said(command, "").refused(1, &["/nonexistent/tmp"]);
}

#[test]
fn settings_apply_except_those_that_name_its_node() {
    let bench = Bench::new();
    let output = said(demo(&bench, &["--set", "image_gc.mode=off"]), "").succeeded();
    assert_eq!(row(&output, "images").0, row(&output, "images").1);
    said(demo(&bench, &["--set", "image_gc.mode=of"]), "").refused(64, &["image_gc.mode"]);
    assert!(is_empty(&bench.path("tmp")));
}

/// A demo that could be pointed at a real node would sweep it for real, by a clock that is two days ahead.
#[test]
fn it_never_touches_another_node() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start(folder.path(), Options::default()).unwrap();
    let logs = sim.with(|node| node.add_log_dir("0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", node.now())).unwrap();
    for (key, value) in [
        ("runtime.endpoint", sim.endpoint()),
        ("runtime.image_endpoint", sim.endpoint()),
        ("pods.kubelet_root", text(&sim.paths().root).to_owned()),
        ("log_gc.pod_logs_root", text(&sim.paths().pod_logs_root).to_owned()),
        ("log_gc.legacy_container_logs_root", text(&sim.paths().legacy_root).to_owned()),
    ] {
        said(demo(&bench, &["--set", &format!("{key}={value}")]), "")
            .refused(64, &[key, "a node of its own"]);
    }
    said(demo(&bench, &["--endpoint", &sim.endpoint()]), "").refused(64, &["runtime.endpoint"]);
    assert_eq!(sim.calls(), []);
    assert!(logs.exists());
    assert!(is_empty(&bench.path("tmp")));
    // The environment is ignored.
    let mut command = demo(&bench, &[]);
    command.env("CRI_GC__RUNTIME__ENDPOINT", sim.endpoint());
    said(command, "").succeeded();
    assert_eq!(sim.calls(), []);
}

/// The number in that column of the loop's row in the summary.
fn summed_up(said: &str, of: &str, column: usize) -> u64 {
    let summary = said.split("Watched for").nth(1).unwrap_or_else(|| panic!("no summary: {said}"));
    let row = summary.lines().find(|line| line.starts_with(of)).unwrap_or_else(|| panic!("{of}: {said}"));
    row.split_whitespace().nth(column).unwrap().parse().unwrap()
}

#[test]
fn the_loops_continue_while_others_are_broken() {
    let bench = Bench::new();
    // On a machine that is very busy, not every loop gets to a pass in the shortest time.
    let passed = ["4s", "20s", "80s"].into_iter().any(|length| {
        let args = ["--watch", "--for", length, "--break", "images", "--break", "panic"];
        let said = said(demo(&bench, &args), "").succeeded();
        for part in [
            "/snapshotter",
            "broken         nothing",
            "sandbox_gc    enforce",
            "Broken on purpose: the runtime answers requests about images with errors.",
            "Broken on purpose: container_gc panics.",
            "Nothing in use was removed",
        ] {
            assert!(said.contains(part), "{part:?} is not in\n{said}");
        }
        assert!(!said.contains('\u{1b}'), "no escape sequences without a terminal: {said:?}");
        assert!(!said.contains("UNEXPECTED"), "{said}");
        assert!(is_empty(&bench.path("tmp")), "it leaves nothing behind");
        let panicked = summed_up(&said, "container_gc", 4) > 0;
        panicked && ["sandbox_gc", "log_gc"].iter().all(|of| summed_up(&said, of, 1) > 0)
    });
    assert!(passed, "the loop that panics is never restarted, or those that are not broken make no passes");
}

/// It ends although the runtime is down, and calls and threads hang.
#[test]
fn it_ends_whatever_was_broken() {
    let bench = Bench::new();
    let breaks = ["images", "hang", "runtime", "panic", "thread"].map(|what| format!("--break={what}"));
    let mut command = demo(&bench, &["--watch", "--for=6s"]);
    command.args(&breaks);
    let said = said(command, "").succeeded();
    assert_eq!(said.matches("Broken on purpose: ").count(), breaks.len(), "{said}");
    assert!(is_empty(&bench.path("tmp")), "it leaves nothing behind");
}

#[test]
fn a_signal_ends_the_watch_and_the_summary_is_printed() {
    let bench = Bench::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut child = started(demo(&bench, &["--watch", "--for=1h"]));
        let first = next_line(&mut child);
        assert!(first.starts_with("A simulated node") && first.contains("left"), "{first}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let said = ended(child).succeeded();
        assert!(said.contains("Watched for"), "{said}");
        assert!(is_empty(&bench.path("tmp")), "it leaves nothing behind");
    }
}

/// At once, most likely before there is a folder; and once it has started, in the middle of the sweep or after its end.
#[test]
fn a_signal_ends_the_demo_and_nothing_is_left() {
    let bench = Bench::new();
    for started_before in [false, true] {
        let mut child = started(demo(&bench, &[]));
        if started_before {
            assert!(next_line(&mut child).starts_with("A simulated node"));
        }
        // It is not waited for yet, so this process id is not of another process.
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let said = ended(child);
        assert!(matches!(said.code, None | Some(0 | 1)), "{said:?}");
        assert!(is_empty(&bench.path("tmp")), "{said:?}");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    let bench = Bench::new();
    for (args, part) in [
        (&["--watch", "--for", "0s"][..], "1s to 24h"),
        (&["--watch", "--for=-3s"], "--for"),
        (&["--watch", "--for", "soon"], "30s"),
        (&["--watch", "--break", "everything"], "images, hang, runtime, panic, thread"),
        (&["--break", "images"], "--watch"),
        (&["--watch", "--all"], "--all"),
    ] {
        said(demo(&bench, args), "").refused(2, &[part]);
    }
    assert!(is_empty(&bench.path("tmp")));
}
