//! `metrics.listen` of the program itself: what it says at the start, and that it answers (behaviour: Metrics). What it answers is tested
//! in `tests/service`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use cri_gc_sim::Options;
use cri_gc_test_support::until;

use crate::embedded::node_and_sim;
use crate::program;
use crate::running_service::serve;

const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_port_that_another_program_uses_is_an_error_at_the_start_with_cause_and_remedy() {
    let (mut node, _sim) = node_and_sim(Options::default());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    node.set("metrics.listen", address);
    let ended = program::start(&node.arguments(&["run"]), None).wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    for part in [
        &format!("metrics.listen = \"{address}\""),
        "Address already in use",
        "set metrics.listen to another port",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    assert!(!ended.stderr.contains("started"), "{ended:?}");
}

#[tokio::test]
async fn the_program_is_ready_and_serves_its_version() {
    let (mut node, _sim) = node_and_sim(Options::default());
    node.set("metrics.listen", "127.0.0.1:0");
    let running = serve(&mut node);
    let address = until(PATIENCE, "the address is logged", || {
        let log = running.stderr();
        let line = log.lines().find(|line| line.contains("serving metrics"))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line["address"].as_str().unwrap().to_owned())
    });
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    until(PATIENCE, "it is ready", || get("/readyz").starts_with("HTTP/1.1 200 OK").then_some(()));
    assert!(get("/healthz").ends_with("\r\n\r\nok\n"));
    let version = concat!("cri_gc_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n");
    assert!(get("/metrics").contains(version));
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
}
