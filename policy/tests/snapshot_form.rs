//! The file form of a snapshot (behaviour: Snapshots): what may be left out, what is refused, and what an error says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: failing loudly is its job")]

mod nodes;

use cri_gc_policy::snapshot::SnapshotError;
use cri_gc_policy::{Absent, ContainerState, Observation, PodState, SandboxState, Snapshot};

fn read(rest: &str) -> Result<Snapshot, serde_json::Error> {
    serde_json::from_str(&format!(r#"{{"version": 1, "taken_at": "2026-01-31T12:00:00Z"{rest}}}"#))
}

fn observe(rest: &str) -> Result<Observation, SnapshotError> {
    Observation::try_from(read(rest).unwrap())
}

#[test]
fn what_is_left_out_is_unknown() {
    let seen = observe("").unwrap();
    assert!(!seen.pods.synced);
    assert_eq!(seen.pods.absent, Absent::Unknown);
    assert_eq!(seen, Observation::empty(seen.taken_at));

    let seen = observe(
        r#", "pods": {"synced": true, "pods": [{"uid": "u"}]},
           "containers": [{"id": "c"}], "sandboxes": [{"id": "s"}], "images": [{"id": "i"}]"#,
    )
    .unwrap();
    assert_eq!(seen.pods.pods[0].state, PodState::Unknown);
    assert_eq!(seen.containers[0].state, ContainerState::Unknown);
    assert_eq!(seen.containers[0].created_at, None);
    assert_eq!(seen.sandboxes[0].state, SandboxState::Unknown);
    assert_eq!(seen.images[0].last_used, None);
}

#[test]
fn an_empty_string_says_as_little_as_nothing() {
    let said = observe(
        r#", "pods": {"pods": [{"uid": "u", "state": ""}], "absent": ""},
           "containers": [{"id": "c", "pod_uid": "", "state": "", "created_at": "", "finished_at": ""}],
           "sandboxes": [{"id": "s", "state": "", "created_at": ""}],
           "images": [{"id": "i", "first_detected": "", "last_used": null}]"#,
    );
    let unsaid = observe(
        r#", "pods": {"pods": [{"uid": "u"}]}, "containers": [{"id": "c"}], "sandboxes": [{"id": "s"}],
           "images": [{"id": "i"}]"#,
    );
    assert_eq!(said.unwrap(), unsaid.unwrap());
}

#[test]
fn times_may_have_an_offset_and_fractions() {
    let seen =
        observe(r#", "containers": [{"id": "c", "created_at": "2026-01-31T13:00:00.000000001+02:00"}]"#);
    let created = seen.unwrap().containers[0].created_at.unwrap();
    assert_eq!(created.to_string(), "2026-01-31T11:00:00.000000001Z");
}

#[test]
fn another_version_is_refused() {
    let mut snapshot = read("").unwrap();
    snapshot.version = 2;
    let error = Observation::try_from(snapshot).unwrap_err();
    assert_eq!(error, SnapshotError::Version { found: 2 });
}

#[test]
fn an_object_that_could_not_be_named_is_refused() {
    for list in ["containers", "sandboxes", "images"] {
        let error = observe(&format!(r#", "{list}": [{{"id": "a"}}, {{"id": ""}}]"#)).unwrap_err();
        assert!(error.to_string().contains(&format!("{list}[1].id")), "{error}");
    }
}

#[test]
fn an_object_that_is_there_twice_is_refused() {
    for list in ["containers", "sandboxes", "images"] {
        let error = observe(&format!(r#", "{list}": [{{"id": "a"}}, {{"id": "a"}}]"#)).unwrap_err();
        assert!(error.to_string().contains(list) && error.to_string().contains("\"a\""), "{error}");
    }
}

#[test]
fn an_image_may_be_there_once_for_each_handler() {
    let seen = observe(r#", "images": [{"id": "a"}, {"id": "a", "runtime_handler": "kata"}]"#);
    assert_eq!(seen.unwrap().images.len(), 2);
}

#[test]
fn mistakes_are_refused_and_named() {
    for (rest, names) in [
        (r#", "containrs": []"#, "containrs"),
        (r#", "containers": [{"id": "c", "podUid": ""}]"#, "podUid"),
        (r#", "containers": [{"id": "c", "state": "dead"}]"#, "dead"),
        (r#", "containers": [{"id": "c", "created_at": "yesterday"}]"#, "yesterday"),
        (r#", "pods": {"absent": "active"}"#, "active"),
        (r#", "images": [{"id": "i", "size_bytes": -1}]"#, "-1"),
    ] {
        let error = read(rest).unwrap_err().to_string();
        assert!(error.contains(names), "{rest}: {error}");
    }
}

#[test]
fn a_pod_named_twice_is_in_the_state_that_keeps_more() {
    for order in [["deleted", "active"], ["active", "deleted"]] {
        let [a, b] = order;
        let seen = observe(&format!(
            r#", "pods": {{"synced": true, "pods": [{{"uid": "u", "state": "{a}"}}, {{"uid": "u", "state": "{b}"}}]}},
               "containers": [{{"id": "c", "pod_uid": "u", "state": "exited", "created_at": "2026-01-01T00:00:00Z"}}]"#
        ))
        .unwrap();
        let plan = cri_gc_policy::decide(&seen, &nodes::Settings::default().policy());
        assert!(plan.containers.remove.is_empty(), "{order:?}");
    }
}
