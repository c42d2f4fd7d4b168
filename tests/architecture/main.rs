//! Holds the invariants of ARCHITECTURE.md that are about the shape of the code: who may depend on whom, who may speak
//! CRI, who may remove files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job"
)]

mod modules;

use std::fs;
use std::path::{Path, PathBuf};

use modules::{Crate, between_rooms, circles};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                // What tests do to the filesystem of their own is their matter.
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                found.push((path, code));
            }
        }
    }
    assert!(!found.is_empty(), "no source below {folder}");
    found
}

/// Files below `folder`, outside `but`, whose code has one of `words`.
fn files_with(folder: &str, but: &[&str], words: &[&str]) -> Vec<String> {
    files_among(sources(folder), but, words)
}

fn files_among(files: Vec<(PathBuf, String)>, but: &[&str], words: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    files
        .into_iter()
        .filter(|(path, _)| !but.iter().any(|inside| path.starts_with(root.join(inside))))
        .flat_map(|(path, code)| {
            let hits = words.iter().filter(|word| code.contains(**word)).map(ToString::to_string);
            hits.map(|word| format!("{}: {word}", path.display())).collect::<Vec<_>>()
        })
        .collect()
}

fn dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest)).unwrap();
    let of_the_crate = text.split("\n[dependencies]").nth(1).unwrap().split("\n[").next().unwrap().to_owned();
    of_the_crate
        .lines()
        .filter_map(|line| line.split(['.', ' ']).next())
        .map(ToOwned::to_owned)
        .filter(|d| !d.is_empty())
        .collect()
}

const NONE: Vec<String> = Vec::new();

#[test]
fn policy_depends_on_no_runtime_no_file_system_and_no_clock() {
    assert_eq!(
        dependencies("policy/Cargo.toml"),
        ["ecow", "foldhash", "jiff", "serde", "strum", "thiserror"]
    );
    let words =
        ["std::fs", "std::net", "std::time::Instant", "SystemTime", "Timestamp::now", "async fn", "std::env"];
    assert_eq!(files_with("policy/src", &[], &words), NONE);
}

/// What is left of the wire types once those of the admin API are set aside.
fn without_admin(files: Vec<(PathBuf, String)>) -> Vec<(PathBuf, String)> {
    files.into_iter().map(|(path, code)| (path, code.replace("cri_gc_proto::admin", ""))).collect()
}

#[test]
fn only_the_gateway_speaks_cri() {
    // Whichever way the module is written, in braces too: all but `cri_gc_proto::admin` is CRI.
    let words = ["cri_gc_proto", "runtime_service_client", "image_service_client"];
    let actors = without_admin(sources("actors"));
    assert_eq!(files_among(actors, &["actors/gateway/src", "actors/service/tests"], &words), NONE);
    assert_eq!(files_among(without_admin(sources("src")), &[], &words), NONE);
}

#[test]
fn only_the_two_ends_of_the_admin_socket_speak_its_api() {
    let ours = ["cri_gc_proto", "admin_client", "admin_server"];
    // The history keeps events in the form in which the socket answers them.
    let server = [
        "actors/gateway/src",
        "actors/service/src/admin",
        "actors/service/src/history",
        "actors/service/tests",
    ];
    assert_eq!(files_with("actors", &server, &ours), NONE);
    assert_eq!(
        files_with("src", &["src/client.rs", "src/commands", "src/output", "src/demo/watch"], &ours),
        NONE
    );
    // Connections are made in one place of each.
    assert_eq!(files_with("actors", &server, &["tonic::transport"]), NONE);
    assert_eq!(files_with("src", &["src/client.rs"], &["tonic::transport", "admin_client"]), NONE);
}

#[test]
fn only_the_file_workers_and_the_store_of_image_records_remove_files() {
    let words = ["remove_file", "remove_dir", "unlink", "fs::rename", ".set_len(", "fs::write"];
    let places = [
        "actors/files/src",
        "actors/images/src/store.rs",
        "actors/images/src/store",
        "actors/service/src/history/tests.rs",
        "actors/service/tests",
    ];
    assert_eq!(files_with("actors", &places, &words), NONE);
    assert_eq!(files_with("src", &[], &words), NONE);
}

#[test]
fn the_collector_never_makes_pods() {
    let words = ["run_pod_sandbox", "create_container(", "start_container(", "pull_image("];
    assert_eq!(files_with("actors", &["actors/service/tests"], &words), NONE);
    assert_eq!(files_with("src", &[], &words), NONE);
}

#[test]
fn clock_and_disk_are_reached_through_their_seams_only() {
    let words = ["Timestamp::now", "SystemTime::now", "statvfs"];
    assert_eq!(files_with("actors", &["actors/kit/src/seams.rs", "actors/service/tests"], &words), NONE);
    // The embedded node of the demo begins today, and a log record has the time of this machine.
    assert_eq!(files_with("src", &["src/demo/node.rs", "src/logging.rs"], &words), NONE);
}

#[test]
fn rooms_depend_downwards_only() {
    let own = |manifest: &str| -> Vec<String> {
        dependencies(manifest).into_iter().filter(|dependency| dependency.starts_with("cri-gc")).collect()
    };
    assert_eq!(own("policy/Cargo.toml"), NONE);
    assert_eq!(own("proto/Cargo.toml"), NONE);
    // The picture of ARCHITECTURE.md has each arrow of Cargo's, and no other; each room uses only those below it.
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let arrows: Vec<(&str, Vec<&str>)> = document
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once("──>"))
        .filter(|(room, _)| !room.trim().contains(' '))
        .map(|(room, uses)| (room, uses.split(", ").map(|used| used.split_whitespace().next().unwrap())))
        .map(|(room, uses)| (room.trim(), uses.collect()))
        .collect();
    let rooms: Vec<&str> = arrows.iter().map(|(room, _)| *room).chain(["policy", "proto"]).collect();
    assert_eq!(arrows.len(), 10);
    for (place, (room, uses)) in arrows.iter().enumerate() {
        let manifest = match *room {
            "src" => "Cargo.toml".to_owned(),
            "config" | "sim" => format!("{room}/Cargo.toml"),
            actors => format!("actors/{actors}/Cargo.toml"),
        };
        let uses: Vec<String> = uses.iter().map(|used| format!("cri-gc-{used}")).collect();
        assert_eq!(own(&manifest), uses, "{room}");
        for used in &rooms[..=place] {
            assert!(!uses.contains(&format!("cri-gc-{used}")), "{room} uses {used}, which is above it");
        }
    }
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let mut found = Vec::new();
    for root in [
        "actors/collectors/src/lib.rs",
        "actors/files/src/lib.rs",
        "actors/gateway/src/lib.rs",
        "actors/images/src/lib.rs",
        "actors/kit/src/lib.rs",
        "actors/pods/src/lib.rs",
        "actors/service/src/lib.rs",
        "config/src/lib.rs",
        "policy/src/lib.rs",
        "sim/src/lib.rs",
        "src/lib.rs",
    ] {
        let arrows = Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root)).arrows();
        for circle in circles(&arrows).into_iter().chain(circles(&between_rooms(&arrows))) {
            found.push(format!("{root}: {circle}"));
        }
    }
    assert_eq!(found, NONE);
}

#[test]
fn every_module_says_what_it_is_for() {
    for folder in ["src", "actors", "config/src", "policy/src", "proto/src", "sim/src", "tests"] {
        for (path, code) in sources(folder) {
            assert!(code.starts_with("//!"), "{} has no header", path.display());
            assert!(code.lines().count() <= 600, "{} is too long to be read at once", path.display());
        }
    }
}
