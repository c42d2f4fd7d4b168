//! Faults: each is what its name says, once or until it is cancelled.

use std::time::{Duration, Instant};

use cri_gc_test_support::kubernetes::{FakeApi, Fault, On};
use cri_gc_test_support::until_async;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::pod;
use crate::client::{Ask, Lines, PODS, SOON, get, get_json, open, over, read};

const POD: &str = "/api/v1/namespaces/default/pods/a";

fn api() -> FakeApi {
    let api = FakeApi::start("node-1");
    api.apply(pod("a"));
    api
}

async fn arrived(api: &FakeApi, requests: usize) {
    let arrived = until_async(SOON, async || (api.count(On::Any) >= requests).then_some(())).await;
    assert!(arrived.is_some());
}

#[tokio::test]
async fn a_queued_fault_is_used_before_a_standing_one() {
    let api = api();
    api.fail(On::Get, Some(Fault::Status(500)));
    api.fail_next(On::Get, Fault::Status(503));
    api.fail_next(On::Any, Fault::Garbage("{\"kind\":".to_owned()));
    assert_eq!(get(&api, PODS).await, (200, "{\"kind\":".to_owned()));
    let (code, status) = get_json(&api, POD).await;
    assert_eq!((code, &status["reason"], &status["code"]), (503, &json!("ServiceUnavailable"), &json!(503)));
    assert_eq!((get(&api, POD).await.0, get(&api, POD).await.0), (500, 500));
    assert_eq!(get(&api, PODS).await.0, 200);
    api.fail(On::Get, None);
    assert_eq!(get(&api, POD).await.0, 200);
}

#[tokio::test]
async fn a_proxy_answers_with_a_page() {
    let api = api();
    api.fail_next(On::List, Fault::PlainText(502, "<html>Bad Gateway</html>".to_owned()));
    let response = open(api.address(), PODS).await;
    assert_eq!(response.headers()["content-type"], "text/html");
    let (code, body, _) = read(response).await;
    assert_eq!((code, body.as_str()), (502, "<html>Bad Gateway</html>"));

    api.fail_next(On::List, Fault::Status(429));
    assert_eq!(open(api.address(), PODS).await.headers()["retry-after"], "1");
}

#[tokio::test]
async fn an_answer_is_delayed() {
    let api = api();
    api.fail_next(On::Get, Fault::Delay(Duration::from_millis(50)));
    let started = Instant::now();
    assert_eq!(get(&api, POD).await.0, 200);
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_body_is_cut() {
    let api = api();
    api.fail_next(On::List, Fault::CutBody(10));
    let (code, body, end) = read(open(api.address(), PODS).await).await;
    assert_eq!((code, body.len(), end.is_err()), (200, 10, true));

    // Of a watch: in the middle of an event, without waiting for another one.
    api.fail_next(On::Watch, Fault::CutBody(30));
    let (code, body, end) =
        read(open(api.address(), &format!("{PODS}&watch=1&resourceVersion=1000")).await).await;
    assert_eq!((code, body.len(), end.is_err()), (200, 30, true));
}

#[tokio::test]
async fn a_body_stalls_until_it_is_released() {
    let api = api();
    api.fail_next(On::Get, Fault::Stall);
    let mut stalled = Lines::open(&api, POD).await;
    stalled.more().await.unwrap().unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&stalled.text).is_err());
    let silent = tokio::time::timeout(Duration::from_millis(50), stalled.more()).await;
    assert!(silent.is_err());
    api.release_stalled();
    stalled.more().await.unwrap().unwrap();
    serde_json::from_str::<serde_json::Value>(&stalled.text).unwrap();

    api.fail_next(On::Watch, Fault::Stall);
    let mut watch = Lines::open(&api, &format!("{PODS}&watch=1&resourceVersion=1000")).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), watch.more()).await.is_err());
    api.release_stalled();
    assert_eq!(watch.event().await.unwrap().0, "ADDED");
}

#[tokio::test]
async fn a_server_stops_and_restarts_on_its_port() {
    let api = api();
    let mut watch = Lines::open(&api, &format!("{PODS}&watch=1&resourceVersion=1001")).await;
    let mut idle = TcpStream::connect(api.address()).await.unwrap();
    api.fail_next(On::Get, Fault::Delay(Duration::from_secs(3600)));
    let held = over(TcpStream::connect(api.address()).await.unwrap(), POD, Ask::default());
    let held = tokio::spawn(async move { held.await.is_err() });
    arrived(&api, 2).await;

    api.stop_listening();
    assert_eq!(api.open_watches(), 0);
    assert!(watch.more().await.unwrap().is_err());
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(held.await.unwrap());
    let refused = TcpStream::connect(api.address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    api.listen_again();
    assert_eq!(get(&api, POD).await.0, 200);
    assert_eq!(api.requests().last().unwrap().path, POD);
}

#[tokio::test]
async fn requests_of_one_connection_have_an_order() {
    let (api, other) = (api(), FakeApi::start("node-2"));
    let mut stream = TcpStream::connect(api.address()).await.unwrap();
    let request = format!("GET {POD} HTTP/1.1\r\nHost: node\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut some = [0; 64];
    let read = stream.read(&mut some).await.unwrap();
    assert!(some[..read].starts_with(b"HTTP/1.1 200 OK\r\n"));
    get(&other, "/version").await;
    stream.write_all(request.as_bytes()).await.unwrap();
    arrived(&api, 2).await;
    let (ours, others) = (api.requests(), other.requests());
    assert!(ours[0].at_sequence < others[0].at_sequence && others[0].at_sequence < ours[1].at_sequence);
}
