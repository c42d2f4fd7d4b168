//! Completions: what the scripts for shells get, with a service that answers and without one.

use std::process::{Command, Stdio};

use cri_gc_proto::admin::{ConfigResponse, Event, Item, LoopStatus, PlanResponse, Section, StatusResponse};

use super::fake::{Answers, Fake};
use super::program::{Bench, said, text};

/// What is offered for the last of these words, with a help text after a tab where there is one.
fn offered(bench: &Bench, words: &[&str]) -> Vec<String> {
    let mut command = bench.bare(&[&["--", "cri-gc"], words].concat());
    command.env("CRI_GC_COMPLETE", "fish");
    said(command, "").succeeded().lines().map(str::to_owned).collect()
}

fn item(id: &str, name: &str, names: &[&str], reason: &str) -> Item {
    Item {
        id: id.to_owned(),
        name: name.to_owned(),
        names: names.iter().map(ToString::to_string).collect(),
        reason: reason.to_owned(),
        ..Item::default()
    }
}

/// A service with a container, an image, an event, a paused loop and a setting.
fn service() -> Answers {
    let containers =
        Section { remove: vec![item("c1", "ci/job/step#0", &[], "pod_deleted")], ..Section::default() };
    let images = Section {
        keep: vec![
            item("sha256:12", "", &["registry.example/web:1.0"], "in_use"),
            item("sha256:34", "", &["x;reboot", "$(reboot)", "-rf", "a b"], "in_use"),
        ],
        ..Section::default()
    };
    let plan = PlanResponse { containers: Some(containers), images: Some(images), ..PlanResponse::default() };
    let looped = |name: &str, state: &str| LoopStatus {
        r#loop: name.to_owned(),
        state: state.to_owned(),
        ..LoopStatus::default()
    };
    let status = StatusResponse {
        log_level: "debug".to_owned(),
        loops: vec![looped("image_gc", "paused"), looped("log_gc", "waiting")],
        ..StatusResponse::default()
    };
    let config =
        ConfigResponse { json: r#"{"image_gc": {"min_age": "7m"}}"#.to_owned(), ..ConfigResponse::default() };
    let event = Event {
        kind: "Removed".to_owned(),
        object_kind: "sandbox".to_owned(),
        object_id: "s9".to_owned(),
        object_name: "ci/gone#0".to_owned(),
        ..Event::default()
    };
    Answers {
        plan: Some(Ok(plan)),
        status: Some(Ok(status)),
        config: Some(Ok(config)),
        follow: Some(Ok(vec![Ok(event)])),
        ..Answers::default()
    }
}

#[test]
fn what_the_running_service_knows_is_offered() {
    let bench = Bench::new();
    let fake = Fake::start(&bench, service());
    let offered =
        |words: &[&str]| offered(&bench, &[&words[..1], &["--socket", fake.socket()], &words[1..]].concat());
    assert_eq!(
        offered(&["explain", ""]).into_iter().filter(|line| !line.starts_with('-')).collect::<Vec<_>>(),
        [
            "ci/job/step#0\tcontainer, removed: pod_deleted",
            "c1\tcontainer, removed: pod_deleted",
            "sha256:12\timage, kept: in_use",
            "registry.example/web:1.0\timage, kept: in_use",
            "sha256:34\timage, kept: in_use",
        ],
        "what a shell would run is not offered"
    );
    assert_eq!(offered(&["explain", "ci/j"]), ["ci/job/step#0\tcontainer, removed: pod_deleted"]);
    assert_eq!(offered(&["history", "--object", "ci"]), ["ci/gone#0\tsandbox, Removed"]);
    assert_eq!(offered(&["resume", "i"]), ["image_gc\tpaused"]);
    assert!(offered(&["log-level", "d"]).contains(&"debug\tin force".to_owned()));
}

#[test]
fn settings_are_offered_with_the_values_in_force() {
    let bench = Bench::new();
    let fake = Fake::start(&bench, service());
    let config = bench.file("config.toml", format!("[admin]\nsocket = {:?}\n", fake.socket()));
    let offered = offered(&bench, &["plan", "--config", &config, "--set", "image_gc.min"]);
    assert_eq!(offered, ["image_gc.min_age=\tnow \"7m\""], "the socket is that of the configuration");
}

#[test]
fn without_a_service_the_words_of_the_program_are_offered() {
    let bench = Bench::new();
    let config = bench.file("config.toml", format!("[admin]\nsocket = {:?}\n", bench.path("none.sock")));
    let offered = |words: &[&str]| offered(&bench, &[&["--config", &config], words].concat());
    assert_eq!(offered(&["explain", "ci"]), [""; 0]);
    assert_eq!(offered(&["plan", "--set", "image_gc.min"]), ["image_gc.min_age="]);
    assert_eq!(offered(&["log-level", "w"]), ["warning"]);
    assert_eq!(offered(&["history", "--kind", "Rem"]), ["Removed", "RemovalFailed"]);
    assert_eq!(offered(&["history", "--reason", "over_pod_c"]), ["over_pod_container_limit"]);
    assert!(offered(&["pause", "con"])[0].starts_with("container_gc"));
    assert!(offered(&["pau"])[0].starts_with("pause\t"));
}

#[test]
fn a_command_that_inherits_the_variable_is_run() {
    let bench = Bench::new();
    let mut command = bench.bare(&["-V"]);
    command.env("CRI_GC_COMPLETE", "bash");
    assert!(said(command, "").succeeded().starts_with("cri-gc "));
}

#[test]
fn bash_completes_by_asking_the_program() {
    let bench = Bench::new();
    let script = said(bench.bare(&["completions", "bash"]), "").succeeded();
    // Where bash finds the program.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cri-gc"), bench.path("cri-gc")).unwrap();
    let tries = r#"
        try() {
            COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_TYPE=9; COMPREPLY=()
            _clap_complete_cri_gc cri-gc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            echo "${COMPREPLY[*]}"
        }
        try cri-gc pau; try cri-gc pause con; try cri-gc status --so
    "#;
    let mut bash = Command::new("bash");
    bash.arg("-c")
        .arg(format!("{script}\n{tries}"))
        .env("PATH", format!("{}:/usr/bin:/bin", text(&bench.path(""))));
    bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(said(bash, "").out, "pause\ncontainer_gc\n--socket\n");
}

#[test]
fn there_are_completions_for_every_shell() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(bench.bare(&["completions", shell]), "").succeeded();
        assert!(script.contains("CRI_GC_COMPLETE"), "{shell}: {script}");
    }
    bench.run(&["completions", "tcsh"]).refused(2, &["bash", "zsh", "fish"]);
}
