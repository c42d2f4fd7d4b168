//! `demo`: it tells the whole story, ends well, and leaves nothing behind.

use std::path::Path;
use std::process::Command;

use cri_gc_sim::{Options, Sim};

use super::program::{Bench, said, text};

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
fn row(story: &str, name: &str) -> (u64, u64) {
    let ending = story.split("What it brought").nth(1).unwrap();
    let row = ending.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {story}"));
    let words = row.strip_prefix(name).unwrap().split_whitespace();
    let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[test]
fn it_tells_what_was_there_what_goes_what_stays_and_what_it_brought() {
    let bench = Bench::new();
    let story = said(demo(&bench, &[]), "").good();
    for part in [
        "the disk is 91 % full; image GC starts at 85 % and stops at 80 %",
        "What goes, and why",
        "What stays, and why",
        "What it brought",
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
        assert!(story.contains(part), "{part:?} is not in\n{story}");
    }
    assert!(!story.contains("failed") && !story.contains("error"), "{story}");
    assert!(is_empty(&bench.path("tmp")), "it leaves nothing behind");
}

#[test]
fn it_ends_at_or_below_the_low_threshold_and_nothing_that_runs_is_gone() {
    let bench = Bench::new();
    let story = said(demo(&bench, &[]), "").good();
    let disk = row(&story, "disk");
    assert!(disk.0 >= 85 && disk.1 <= 80 && disk.1 >= 75, "{disk:?}\n{story}");
    let running = row(&story, "running containers");
    assert!(running.0 == running.1 && running.0 > 0, "{running:?}");
    for less in ["dead containers", "sandboxes", "log directories", "images"] {
        let (before, after) = row(&story, less);
        assert!(after < before && after > 0, "{less}: {before}, {after}");
    }
}

#[test]
fn with_all_every_object_is_told_of_once() {
    let bench = Bench::new();
    let story = said(demo(&bench, &["--all"]), "").good();
    assert!(!story.contains("more  "), "{story}");
    let goes = story.split("What goes, and why").nth(1).unwrap().split("What stays, and why").next().unwrap();
    let images: Vec<&str> = goes
        .lines()
        .filter(|l| l.starts_with("image "))
        .filter_map(|l| l.split_whitespace().nth(1))
        .collect();
    let (before, after) = row(&story, "images");
    assert_eq!(images.len() as u64, before - after, "{story}");
    let stays = story.split("What stays, and why").nth(1).unwrap().split("What it brought").next().unwrap();
    for image in images {
        assert!(!stays.contains(&format!("{image},")), "{image} goes and stays:\n{story}");
    }
}

#[test]
fn it_needs_no_home_and_no_folder_that_it_may_write_to_but_the_temporary_one() {
    let bench = Bench::new();
    let mut command = demo(&bench, &[]);
    // Nobody, not even root, can make a file here.
    command.env_remove("HOME").current_dir("/proc");
    said(command, "").good();
    assert!(is_empty(&bench.path("tmp")));
}

#[test]
fn without_a_temporary_folder_it_says_so() {
    let bench = Bench::new();
    let mut command = demo(&bench, &[]);
    command.env("TMPDIR", "/nonexistent/tmp");
    said(command, "").refused(1, &["/nonexistent/tmp"]);
}

#[test]
fn settings_hold_in_it_but_for_those_that_name_its_node() {
    let bench = Bench::new();
    let story = said(demo(&bench, &["--set", "image_gc.mode=off"]), "").good();
    assert_eq!(row(&story, "images").0, row(&story, "images").1);
    said(demo(&bench, &["--set", "image_gc.mode=of"]), "").refused(64, &["image_gc.mode"]);
    assert!(is_empty(&bench.path("tmp")));
}

/// A demo that could be pointed at a real node would sweep it in earnest, by a clock that is two days ahead.
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
    // Of the environment nothing holds at all.
    let mut command = demo(&bench, &[]);
    command.env("CRI_GC__RUNTIME__ENDPOINT", sim.endpoint());
    said(command, "").good();
    assert_eq!(sim.calls(), []);
}
