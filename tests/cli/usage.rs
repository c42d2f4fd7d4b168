//! Help, version, wrong usage, and a reader that closes its end.

use std::io::Read;
use std::process::Stdio;

use super::program::{Bench, said};

const COMMANDS: &[&str] = &[
    "run",
    "plan",
    "snapshot",
    "sweep",
    #[cfg(feature = "demo")]
    "demo",
    "status",
    "explain",
    "run-now",
    "pause",
    "resume",
    "events",
    "config",
    "log-level",
    "completions",
];

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let bench = Bench::new();
    for help in ["--help", "help"] {
        let text = said(bench.bare(&[help]), "").succeeded();
        for part in COMMANDS.iter().chain(&["--config", "--endpoint", "Exit codes"]) {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    for command in COMMANDS {
        let text = said(bench.bare(&[command, "--help"]), "").succeeded();
        assert!(text.contains(&format!("cri-gc {command}")), "{text}");
    }
}

#[test]
fn the_version_is_that_of_the_package_and_the_long_one_names_commit_and_features() {
    let bench = Bench::new();
    let version = concat!("cri-gc ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(said(bench.bare(&["-V"]), "").succeeded(), version);
    let long = said(bench.bare(&["--version"]), "").succeeded();
    let features = [("demo", cfg!(feature = "demo")), ("kubernetes", cfg!(feature = "kubernetes"))];
    let on: Vec<&str> = features.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
    let on = if on.is_empty() { "none".to_owned() } else { on.join(", ") };
    let Some(commit) = long.strip_prefix(version).and_then(|rest| rest.strip_prefix("commit    ")) else {
        panic!("{long}");
    };
    assert!(commit.ends_with(&format!("\nfeatures  {on}\n")) && !commit.starts_with('\n'), "{long}");
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_there_is() {
    let bench = Bench::new();
    for (args, part) in [
        (&[][..], "Usage"),
        (&["plan", "--loop", "image"], "write one of container_gc or containers, "),
        (&["plann"], "plan"),
        (&["plan", "--ouput", "json"], "--output"),
        (&["plan", "--output", "xml"], "table, wide, name, json, yaml"),
        (&["status", "--output", "xml"], "table, wide, json, yaml"),
        (&["plan", "--reason", "old"], "pod_deleted, pod_evicted"),
        (&["plan", "--sort", "id"], "size, age, name, reason"),
        (&["status", "--interval", "5s"], "--watch"),
        (&["plan", "--color", "blue"], "auto, always, never"),
        (&["snapshot", "--output", "table"], "json, yaml"),
        (&["config"], "show"),
        (&["sweep", "now"], "unexpected argument"),
        (&["explain"], "<OBJECT>"),
        (&["events", "--recent=-1"], "--recent"),
        (
            &["pause", "everything"],
            "container_gc or containers, sandbox_gc or sandboxes, log_gc or logs, image_gc or images",
        ),
        (&["completions"], "<SHELL>"),
        (&["plan", "--log-level", "loud"], "error, warning, info, debug, trace"),
    ] {
        let said = said(bench.bare(args), "");
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{args:?}: {said:?}");
        assert!(said.err.contains(part), "{args:?}: {said:?}");
    }
}

/// A snapshot whose plan is longer than the buffer of any pipe.
fn long_snapshot(bench: &Bench) -> String {
    let dirs: Vec<String> = (0..20_000).map(|n| format!("\"foreign-{n}\"")).collect();
    let snapshot = format!(
        "{{\"version\": 1, \"taken_at\": \"2026-01-31T12:00:00Z\", \"log_dirs\": [{}]}}",
        dirs.join(",")
    );
    bench.file("long.json", snapshot)
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let bench = Bench::new();
    let file = long_snapshot(&bench);
    for args in [
        &["plan", "--snapshot", &file, "--output", "json"][..],
        &["plan", "--snapshot", &file, "--output", "yaml"],
        &["plan", "--snapshot", &file, "--all"],
    ] {
        let mut child = bench.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut few = [0; 10];
        stdout.read_exact(&mut few).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
        assert!(output.status.success(), "{args:?}: {}", output.status);
    }
}

#[test]
fn a_reader_that_never_was_there_changes_nothing() {
    let bench = Bench::new();
    for args in [&["--help"][..], &["--version"], &["config", "show"], &["config", "show", "-o", "table"]] {
        let mut child = bench.bare(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
        assert!(output.status.success(), "{args:?}: {}", output.status);
    }
}

#[test]
fn a_full_disk_is_reported() {
    let bench = Bench::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = bench.command(&["config", "show"]);
    let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("could not write the output"), "{error}");
}
