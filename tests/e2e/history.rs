//! What was removed is known afterwards, also to a service that was killed and started again.

use rustix::process::Signal;
use serde_json::Value;

use crate::node::Node;
use crate::running_service::{serve, status};
use crate::service_commands::{ask, json, succeeded};

on_both!(what_was_removed_is_known_after_the_service_was_killed);

/// The events that a command prints.
fn events(node: &Node, command: &[&str]) -> Vec<Value> {
    let said = succeeded(ask(node, &[command, &["-o", "json"]].concat()));
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn what_was_removed_is_known_after_the_service_was_killed(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let jobs = node.dead(&web, "job", 0..2).await;
    let running = serve(node);
    status(node, |s| s.loops[0].removed == 1).await;
    succeeded(ask(node, &["pause", "images"]));
    let removals = events(node, &["history", "--kind", "removed"]);
    assert_eq!(removals.len(), 1, "{removals:#?}");
    let removed = &removals[0];
    for (key, value) in [
        ("kind", "Removed"),
        ("loop", "container_gc"),
        ("object_kind", "container"),
        ("object_id", &jobs[0]),
        ("object_name", "default/web/job#0"),
        ("reason", "over_pod_container_limit"),
        ("trigger", "start"),
    ] {
        assert_eq!(removed[key], value, "{key} of {removed:#}");
    }
    assert!(!removed["pod_uid"].as_str().unwrap().is_empty(), "{removed:#}");

    // Whatever was shown is there afterwards.
    let before = events(node, &["history"]);
    running.signal(Signal::KILL);
    running.wait();
    let _again = serve(node);
    // Its first pass would come after four seconds.
    let now = status(node, |s| s.loops[0].passes > 6 && s.loops[3].state == "paused").await;
    assert_eq!((now.loops[3].passes, now.loops[0].state == "paused"), (0, false), "the pause holds");
    let said = succeeded(ask(node, &["pause", "images", "--for", "1h"])).stdout;
    assert_eq!(said, "Paused: image_gc\n", "no pause makes another one shorter");
    succeeded(ask(node, &["resume"]));
    let said = succeeded(ask(node, &["pause", "images", "--for", "1h"])).stdout;
    assert!(said.starts_with("Paused: image_gc (until 20"), "{said}");
    let said = succeeded(ask(node, &["status"])).stdout;
    assert!(said.contains(", ends in 59m") && said.contains("`cri-gc resume image_gc` ends that"), "{said}");
    succeeded(ask(node, &["resume"]));
    status(node, |s| s.loops[3].passes > 0).await;
    let after = events(node, &["history"]);
    assert_eq!(after[..before.len()], before);
    let numbers: Vec<u64> = after.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
    let paused = events(node, &["history", "--kind", "Paused", "--loop", "images", "--since", "10m"]);
    let by = &paused[0]["requested_by"];
    assert_eq!(by["uid"], rustix::process::getuid().as_raw(), "{paused:#?}");
    assert!(by["pid"].as_i64().unwrap() > 1, "{paused:#?}");

    // Of what is gone it is known when and why it went, by any of its names.
    for object in [&jobs[0][..12], "web/job", "default/web/job#0"] {
        let said = json(&succeeded(ask(node, &["explain", object, "-o", "json"])));
        let found = said["objects"].as_array().unwrap();
        // By its name it is the one that is still there.
        let decision = if object == "web/job" { "keep" } else { "removed" };
        assert_eq!((found.len(), &found[0]["decision"]), (1, &decision.into()), "{object}: {said:#}");
    }
    let text = succeeded(ask(node, &["explain", &jobs[0]])).stdout;
    assert!(text.contains("was removed at 20") && text.contains(": over_pod_container_limit"), "{text}");
    assert!(text.contains("container_gc, in a pass begun by start"), "{text}");
    let nothing = ask(node, &["history", "--kind", "Gone"]);
    assert_eq!(nothing.code, 2, "{nothing:?}");
    assert!(nothing.stderr.contains("there is no kind of event \"Gone\"; there are Started"), "{nothing:?}");
    assert_eq!(succeeded(ask(node, &["history", "--until", "2001-01-01T00:00:00Z"])).stdout, "");
}
