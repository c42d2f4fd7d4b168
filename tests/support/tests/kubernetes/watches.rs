//! Watches: what they replay, what they report, and how they end.

use cri_gc_test_support::kubernetes::{FakeApi, PodObject};
use cri_gc_test_support::until_async;
use serde_json::{Value, json};

use crate::api::pod;
use crate::client::{Lines, PODS, SOON, get_json};

fn watch(after: &str) -> String {
    format!("{PODS}&watch=1&allowWatchBookmarks=true&resourceVersion={after}")
}

/// What an event is about: its type, the pod's name and uid, and its version.
fn summary(event: Option<(String, Value)>) -> (String, String, String) {
    let (kind, object) = event.expect("an event");
    assert_eq!((&object["kind"], &object["apiVersion"]), (&json!("Pod"), &json!("v1")));
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (kind, field("uid"), field("resourceVersion"))
}

fn event(kind: &str, uid: &str, version: &str) -> (String, String, String) {
    (kind.to_owned(), uid.to_owned(), version.to_owned())
}

#[tokio::test]
async fn a_watch_replays_what_came_after_a_version_and_continues() {
    let api = FakeApi::start("node-1");
    api.apply(pod("a"));
    let (_, list) = get_json(&api, PODS).await;
    api.apply(pod("b"));
    api.apply(pod("elsewhere").node("node-2"));
    api.delete("default", "a");

    let mut events = Lines::open(&api, &watch(list["metadata"]["resourceVersion"].as_str().unwrap())).await;
    assert_eq!(summary(events.event().await), event("ADDED", "uid-b", "1002"));
    assert_eq!(summary(events.event().await), event("DELETED", "uid-a", "1004"));
    assert_eq!(api.open_watches(), 1);

    api.apply(pod("b").phase("Succeeded"));
    assert_eq!(summary(events.event().await), event("MODIFIED", "uid-b", "1005"));
    api.apply(PodObject::new("default", "b", "uid-b2"));
    assert_eq!(summary(events.event().await), event("DELETED", "uid-b", "1006"));
    assert_eq!(summary(events.event().await), event("ADDED", "uid-b2", "1007"));
    api.compact();
    api.bookmark();
    let (kind, object) = events.event().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    let expected = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"resourceVersion": "1007", "creationTimestamp": null},
        "spec": {"containers": null}, "status": {},
    });
    assert_eq!(object, expected);

    api.close_watches();
    assert!(events.event().await.is_none(), "the end is a clean one");
    assert_eq!(api.open_watches(), 0);
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let api = FakeApi::start("node-1");
    api.apply(pod("a"));
    let mut events = Lines::open(&api, &format!("{PODS}&watch=true&timeoutSeconds=1")).await;
    assert_eq!(summary(events.event().await), event("ADDED", "uid-a", "1001"));
    api.bookmark();
    api.apply(pod("b"));
    assert_eq!(summary(events.event().await), event("ADDED", "uid-b", "1002"), "no bookmark was requested");
    assert!(events.event().await.is_none(), "its second is over");
    assert_eq!(api.open_watches(), 0);
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_expired() {
    let api = FakeApi::start("node-1");
    api.apply(pod("a"));
    api.compact();
    let mut events = Lines::open(&api, &watch("1000")).await;
    let (kind, status) = events.event().await.unwrap();
    assert_eq!((kind.as_str(), &status["kind"]), ("ERROR", &json!("Status")));
    assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")));
    assert!(events.event().await.is_none());

    api.expired_watch_as_http(true);
    let (code, status) = get_json(&api, &watch("1000")).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
    assert_eq!(api.open_watches(), 0);
    let _current = Lines::open(&api, &watch("1001")).await;
    assert_eq!(api.open_watches(), 1);
}

#[tokio::test]
async fn a_cut_watch_ends_in_the_middle_of_a_line() {
    let api = FakeApi::start("node-1");
    let mut events = Lines::open(&api, &watch("1000")).await;
    api.cut_watches();
    events.more().await.unwrap().unwrap();
    assert!(events.text.starts_with("{\"type\":") && !events.text.contains('\n'), "{}", events.text);
    assert!(events.more().await.unwrap().is_err());
}

#[tokio::test]
async fn a_wiped_server_says_nothing_to_a_watch_from_before() {
    let api = FakeApi::start("node-1");
    api.apply(pod("a"));
    let mut before = Lines::open(&api, &watch("1001")).await;
    api.wipe();
    before.more().await.unwrap().unwrap();
    assert!(before.more().await.unwrap().is_err());

    let mut ahead = Lines::open(&api, &format!("{}&timeoutSeconds=1", watch("1001"))).await;
    api.apply(pod("b"));
    assert!(ahead.event().await.is_none(), "its version is ahead of all that happens");
}

#[tokio::test]
async fn a_watch_whose_client_is_gone_is_closed() {
    let api = FakeApi::start("node-1");
    drop(Lines::open(&api, &watch("1000")).await);
    let gone = until_async(SOON, async || (api.open_watches() == 0).then_some(())).await;
    assert!(gone.is_some());
}
