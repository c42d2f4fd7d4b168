//! Endpoints at which no runtime can be: each is refused with what to do, by every command that needs one.

use std::os::unix::net::UnixListener;

use super::program::{Bench, Said, text};

/// The commands that need a runtime.
const COMMANDS: [&[&str]; 4] = [&["plan"], &["snapshot"], &["sweep"], &["sweep", "--dry-run"]];

fn at(bench: &Bench, command: &[&str], endpoint: &str) -> Said {
    bench.run(&[command, &["--endpoint", endpoint]].concat())
}

#[test]
fn without_a_socket_nothing_is_reachable() {
    let bench = Bench::new();
    let missing = bench.path("missing.sock");
    for command in COMMANDS {
        let parts = [text(&missing), "it does not exist", "check that the runtime is running", "--endpoint"];
        at(&bench, command, text(&missing)).refused(4, &parts);
        at(&bench, command, &format!("unix://{}", text(&missing))).refused(4, &parts);
    }
}

#[test]
fn a_socket_without_a_listener_is_not_reachable() {
    let bench = Bench::new();
    let stale = bench.path("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    for command in COMMANDS {
        at(&bench, command, text(&stale)).refused(4, &[text(&stale), "check that the runtime is running"]);
    }
}

#[test]
fn a_file_or_a_directory_is_no_socket() {
    let bench = Bench::new();
    let file = bench.file("file.sock", "x");
    let directory = bench.path("directory.sock");
    std::fs::create_dir(&directory).unwrap();
    for command in COMMANDS {
        at(&bench, command, &file).refused(4, &[&file, "check"]);
        at(&bench, command, text(&directory)).refused(4, &[text(&directory), "check"]);
    }
    at(&bench, &["plan"], &format!("{file}/below")).refused(4, &["below"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
}

#[test]
fn an_endpoint_that_is_no_unix_socket_is_a_bad_configuration() {
    let bench = Bench::new();
    for (endpoint, what) in [
        ("tcp://127.0.0.1:1234", "not over tcp://"),
        ("http://localhost/", "not over http://"),
        ("run/containerd.sock", "not absolute"),
        ("unix://run/containerd.sock", "not absolute"),
        ("", "it is empty"),
        ("unix://", "it is empty"),
        ("/run/", "names no file"),
    ] {
        for command in COMMANDS {
            at(&bench, command, endpoint).refused(64, &["runtime.endpoint", "command line", what]);
        }
    }
    let long = format!("/{}", "x".repeat(107));
    at(&bench, &["plan"], &long).refused(64, &["108 bytes"]);
}

#[test]
fn an_invalid_endpoint_is_reported_with_its_source() {
    let bench = Bench::new();
    let file = bench.file("bad.toml", "[runtime]\nendpoint = \"tcp://1.2.3.4\"\n");
    let command = bench.bare(&["plan", "--config", &file]);
    super::program::said(command, "").refused(64, &["bad.toml:2:12", "runtime.endpoint", "tcp"]);
    let mut command = bench.command(&["plan"]);
    command.env("CRI_GC__RUNTIME__ENDPOINT", "tcp://1.2.3.4");
    super::program::said(command, "").refused(64, &["CRI_GC__RUNTIME__ENDPOINT", "tcp"]);
}
