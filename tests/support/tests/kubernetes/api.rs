//! Lists, pages, single objects, events, and who is let in.

use cri_gc_test_support::kubernetes::{FakeApi, FakeServer, On, PodObject};
use serde_json::{Value, json};

use crate::client::{Ask, PODS, get, get_json, send};

pub fn pod(name: &str) -> PodObject {
    PodObject::new("default", name, &format!("uid-{name}")).phase("Running").image("app:1")
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap()).collect()
}

async fn list(server: &FakeServer, parameters: &str) -> Value {
    let (code, list) = get_json(server, &format!("{PODS}{parameters}")).await;
    assert_eq!(code, 200, "{list}");
    list
}

#[tokio::test]
async fn a_list_has_the_pods_of_one_node() {
    let api = FakeApi::start("node-1");
    let empty = list(&api, "").await;
    assert_eq!((&empty["kind"], &empty["items"]), (&json!("PodList"), &json!([])));

    api.apply(pod("web-0"));
    api.apply(pod("elsewhere").node("node-2"));
    api.apply(pod("static").mirror_of("hash").reason("Evicted").deleting());
    let answer = list(&api, "").await;
    assert_eq!(names(&answer), ["static", "web-0"]);
    assert_eq!(answer["metadata"], json!({"resourceVersion": "1003"}));
    let mirror = &answer["items"][0];
    assert!(mirror.get("kind").is_none(), "the list says it for all");
    assert_eq!(mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"], "hash");
    assert!(mirror["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(mirror["status"], json!({"phase": "Running", "reason": "Evicted"}));
    assert_eq!(answer["items"][1]["spec"]["containers"][0]["image"], "app:1");

    let (code, refusal) = get_json(&api, "/api/v1/pods?fieldSelector=spec.colour%3Dred").await;
    assert_eq!((code, &refusal["reason"]), (400, &json!("BadRequest")));
    let (_, all) = get_json(&api, "/api/v1/pods?limit=1").await;
    assert_eq!(all["metadata"]["remainingItemCount"], 2, "it is set only where there is no selector");
}

#[tokio::test]
async fn pages_are_of_one_snapshot_until_it_is_compacted() {
    let api = FakeApi::start("node-1");
    ["a", "b", "c", "d", "e"].iter().for_each(|name| api.apply(pod(name)));
    let first = list(&api, "&limit=2").await;
    assert_eq!(names(&first), ["a", "b"]);
    assert!(api.delete("default", "c"));
    api.apply(pod("f"));

    api.set_max_page(1);
    let rest = |page: &Value| format!("&limit=2&continue={}", page["metadata"]["continue"].as_str().unwrap());
    let second = list(&api, &rest(&first)).await;
    assert_eq!(names(&second), ["c"], "at most one, and the pod that was there then");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    api.set_max_page(100);
    let third = list(&api, &rest(&second)).await;
    assert_eq!(names(&third), ["d", "e"]);
    assert!(third["metadata"].get("continue").is_none());

    api.compact();
    let (code, expired) = get_json(&api, &format!("{PODS}{}", rest(&first))).await;
    assert_eq!((code, &expired["kind"], &expired["reason"]), (410, &json!("Status"), &json!("Expired")));
    assert_eq!(get(&api, &format!("{PODS}&continue=nonsense")).await.0, 400);
    assert_eq!(names(&list(&api, "").await), ["a", "b", "d", "e", "f"]);
}

#[tokio::test]
async fn a_list_can_lag_or_refuse_a_version_it_has_not_reached() {
    let api = FakeApi::start("node-1");
    api.apply(pod("old"));
    api.freeze_lists();
    api.apply(pod("new"));
    assert_eq!(names(&list(&api, "").await), ["old"]);
    assert_eq!(get(&api, "/api/v1/namespaces/default/pods/new").await.0, 200);
    api.thaw_lists();
    assert_eq!(names(&list(&api, "&resourceVersion=0").await), ["new", "old"]);
    assert_eq!(api.requests().last().unwrap().parameter("resourceVersion").as_deref(), Some("0"));

    api.wipe();
    let fresh = list(&api, "").await;
    assert_eq!((names(&fresh).len(), &fresh["metadata"]["resourceVersion"]), (0, &json!("1")));
    let (code, refusal) = get_json(&api, &format!("{PODS}&resourceVersion=1002")).await;
    assert_eq!(code, 504);
    assert_eq!(refusal["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn one_object_is_answered_with_its_kind_or_not_found() {
    let api = FakeApi::start("node-1");
    api.apply(pod("web-0"));
    let (code, found) = get_json(&api, "/api/v1/namespaces/default/pods/web-0").await;
    assert_eq!((code, &found["kind"], &found["apiVersion"]), (200, &json!("Pod"), &json!("v1")));
    let (code, missing) = get_json(&api, "/api/v1/namespaces/default/pods/web-1").await;
    assert_eq!(code, 404);
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "pods \"web-1\" not found", "reason": "NotFound",
        "details": {"name": "web-1", "kind": "pods"}, "code": 404,
    });
    assert_eq!(missing, expected);

    let (code, missing) = get_json(&api, "/api/v1/nodes/node-1").await;
    assert_eq!((code, &missing["details"]["kind"]), (404, &json!("nodes")));
    api.set_node("node-1", "boot-1");
    let (_, first) = get_json(&api, "/api/v1/nodes/node-1").await;
    api.set_node("node-1", "boot-2");
    let (_, second) = get_json(&api, "/api/v1/nodes/node-1").await;
    assert_eq!(second["status"]["nodeInfo"]["bootID"], "boot-2");
    assert_eq!(first["metadata"], second["metadata"]);
    api.remove_node("node-1");
    api.set_node("node-1", "boot-2");
    let (_, third) = get_json(&api, "/api/v1/nodes/node-1").await;
    assert_ne!(second["metadata"]["uid"], third["metadata"]["uid"]);

    assert_eq!(get_json(&api, "/version").await.1["gitVersion"], "v1.34.0");
    assert_eq!(get(&api, "/apis/none").await, (404, "404 page not found\n".to_owned()));
    assert_eq!([On::Get, On::Node, On::List, On::Any].map(|on| api.count(on)), [2, 4, 0, 8]);
}

#[tokio::test]
async fn events_are_kept_and_patched() {
    let api = FakeApi::start("node-1");
    let path = "/api/v1/namespaces/default/events";
    let event = json!({"metadata": {"name": "e.1", "namespace": "default"}, "reason": "Swept", "count": 1});
    let post = |body: &Value| Ask { method: Some("POST"), body: body.to_string(), ..Ask::default() };
    let (code, stored) = send(&api, path, post(&event)).await;
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!((code, &stored["reason"], &stored["kind"]), (201, &json!("Swept"), &json!("Event")));
    assert_eq!(send(&api, path, post(&event)).await.0, 409);
    assert_eq!(send(&api, "/api/v1/namespaces/other/events", post(&event)).await.0, 400);
    assert_eq!(send(&api, path, post(&json!("none"))).await.0, 400);

    let patch = |content_type| Ask {
        method: Some("PATCH"),
        content_type: Some(content_type),
        body: json!({"count": 2, "reason": null}).to_string(),
        ..Ask::default()
    };
    let merge = "application/strategic-merge-patch+json";
    assert_eq!(send(&api, &format!("{path}/e.1"), patch(merge)).await.0, 200);
    assert_eq!(send(&api, &format!("{path}/e.2"), patch(merge)).await.0, 404);
    assert_eq!(send(&api, &format!("{path}/e.1"), patch("application/json")).await.0, 415);
    let events = api.events();
    assert_eq!((events.len(), &events[0]["count"], events[0].get("reason")), (1, &json!(2), None));
    assert_eq!(api.count(On::Events), 7);
}

#[tokio::test]
async fn a_token_is_demanded_and_stands_in_the_kubeconfig() {
    let api = FakeApi::start("node-1");
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::read_to_string(api.write_kubeconfig(folder.path())).unwrap();
    assert!(open.contains("user: {}\n"), "{open}");
    api.set_token(Some("secret"));
    let closed = std::fs::read_to_string(api.write_kubeconfig(folder.path())).unwrap();
    assert!(closed.contains("user: {token: \"secret\"}\n"), "{closed}");
    assert!(closed.contains(&format!("server: {}\n", api.url())), "{closed}");

    let with = |token| Ask { token: Some(token), ..Ask::default() };
    let (code, refusal) = get_json(&api, PODS).await;
    assert_eq!((code, &refusal["reason"]), (401, &json!("Unauthorized")));
    assert_eq!(send(&api, PODS, with("wrong")).await.0, 401);
    assert_eq!(send(&api, PODS, with("secret")).await.0, 200);
    assert_eq!(api.requests()[2].token.as_deref(), Some("secret"));
}
