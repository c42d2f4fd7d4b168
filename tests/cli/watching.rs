//! `status --watch` in a pipe: one block after the other, while the service is restarted.

use std::process::Child;

use cri_gc_proto::admin::StatusResponse;
use rustix::process::{Pid, Signal, kill_process};

use super::fake::{Answers, Fake};
use super::program::{Bench, ended, next_line, started};

/// What the service answers.
pub fn status() -> Answers {
    let status = StatusResponse {
        version: "0.1.0".to_owned(),
        node_name: "edge-7".to_owned(),
        log_level: "debug".to_owned(),
        ..StatusResponse::default()
    };
    Answers { status: Some(Ok(status)), ..Answers::default() }
}

/// Reads lines until one begins like that.
fn until(child: &mut Child, begin: &str) {
    while !next_line(child).starts_with(begin) {}
}

#[test]
fn a_watch_continues_over_a_restart_of_the_service_and_ctrl_c_ends_it() {
    let bench = Bench::new();
    let fake = Fake::start(&bench, status());
    let args = ["status", "--watch", "--interval", "1s", "--socket", fake.socket()];
    let mut watch = started(bench.command(&args));
    until(&mut watch, "cri-gc 0.1.0 on edge-7");
    drop(fake);
    until(&mut watch, "service        UNREACHABLE for ");
    let _fake = Fake::start(&bench, status());
    until(&mut watch, "cri-gc 0.1.0 on edge-7");
    kill_process(Pid::from_child(&watch), Signal::INT).unwrap();
    ended(watch).succeeded();
}

#[test]
fn a_watch_as_data_is_one_line_for_each_answer() {
    let bench = Bench::new();
    let fake = Fake::start(&bench, status());
    let args = ["status", "--watch", "--interval", "1s", "-o", "json", "--socket", fake.socket()];
    let mut watch = started(bench.command(&args));
    for _ in 0..2 {
        let line: serde_json::Value = serde_json::from_str(&next_line(&mut watch)).unwrap();
        assert_eq!(line["node_name"], "edge-7");
    }
    // A reader that is gone ends it.
    drop(watch.stdout.take());
    let status = watch.wait().unwrap();
    assert!(status.success(), "{status}");
}

/// Waiting does not help where the service refuses.
#[test]
fn a_watch_that_is_refused_ends() {
    let bench = Bench::new();
    let denied = tonic::Status::permission_denied("uid 7 is not in the group");
    let fake = Fake::start(&bench, Answers { status: Some(Err(denied)), ..Answers::default() });
    bench.run(&["status", "--watch", "--socket", fake.socket()]).refused(1, &["refuses this user"]);
}
