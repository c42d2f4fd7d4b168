//! Snapshots that cannot be planned on, and snapshots that only seem invalid.

use super::program::{Bench, Said, said};

fn plan(bench: &Bench, snapshot: &str) -> Said {
    let file = bench.file("snapshot.json", snapshot);
    bench.run(&["plan", "--snapshot", &file, "--output", "json"])
}

/// A snapshot with this in it.
fn with(fields: &str) -> String {
    format!("{{\"version\": 1, \"taken_at\": \"2026-01-31T12:00:00Z\", {fields}}}")
}

#[test]
fn the_smallest_snapshot_is_valid() {
    let bench = Bench::new();
    let json = plan(&bench, r#"{"version": 1, "taken_at": "2026-01-31T12:00:00Z"}"#).succeeded();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let empty = serde_json::json!({"remove": [], "keep": []});
    assert_eq!(json["containers"], empty);
    assert_eq!(json["images"]["bytes_to_free"], 0);
}

#[test]
fn the_error_of_a_broken_snapshot_says_what_is_wrong_and_where() {
    let bench = Bench::new();
    let cases: [(&str, String, &[&str]); 17] = [
        ("no JSON", "hello".to_owned(), &["expected value", "line 1 column 1"]),
        ("empty", String::new(), &["EOF", "line 1 column 0"]),
        (
            "truncated",
            "{\"version\": 1,\n\"taken_at\": \"2026-01-31T12:00".to_owned(),
            &["EOF", "line 2 column 29"],
        ),
        ("a list", "[]".to_owned(), &["line 1 column"]),
        (
            "wrong type",
            with(r#""containers": [{"id": "a"}, {"id": 7}]"#),
            &["containers[1].id", "expected a string"],
        ),
        ("wrong type deep down", with(r#""pods": {"pods": [{"uid": []}]}"#), &["pods.pods[0].uid"]),
        (
            "unknown key",
            with(r#""containers": [{"id": "a", "nmae": "x"}]"#),
            &["containers[0].nmae", "unknown field", "`name`"],
        ),
        ("unknown section", with(r#""pod": []"#), &["unknown field `pod`"]),
        (
            "unknown state",
            with(r#""containers": [{"id": "a", "state": "dead"}]"#),
            &["containers[0].state", "`dead`", "`exited`"],
        ),
        (
            "unknown state of a sandbox",
            with(r#""sandboxes": [{"id": "a", "state": "gone"}]"#),
            &["sandboxes[0].state", "`not_ready`"],
        ),
        (
            "bad time",
            with(r#""containers": [{"id": "a", "created_at": "yesterday"}]"#),
            &["containers[0].created_at", "RFC 3339"],
        ),
        ("bad time of the whole", r#"{"version": 1, "taken_at": "noon"}"#.to_owned(), &["taken_at"]),
        ("no time", r#"{"version": 1}"#.to_owned(), &["missing field `taken_at`"]),
        ("negative size", with(r#""images": [{"id": "a", "size_bytes": -1}]"#), &["images[0].size_bytes"]),
        (
            "huge number",
            with(r#""images": [{"id": "a", "size_bytes": 99999999999999999999999}]"#),
            &["images[0].size_bytes"],
        ),
        ("fraction", with(r#""filesystems": [{"capacity_bytes": 1.5}]"#), &["filesystems[0].capacity_bytes"]),
        ("null list", with(r#""containers": null"#), &["containers"]),
    ];
    for (what, snapshot, parts) in cases {
        let said = plan(&bench, &snapshot);
        assert_eq!(said.code, Some(1), "{what}: {said:?}");
        said.refused(1, &[&["snapshot.json is invalid", "fix it there"], parts].concat());
    }
}

#[test]
fn a_snapshot_of_another_version_is_refused() {
    let bench = Bench::new();
    let snapshot = r#"{"version": 2, "taken_at": "2026-01-31T12:00:00Z"}"#;
    plan(&bench, snapshot).refused(1, &["version is 2", "reads version 1", "use the release"]);
    // Whatever else is new in it.
    let snapshot = r#"{"version": 2, "when": 0, "containers": {}}"#;
    plan(&bench, snapshot).refused(1, &["version is 2", "reads version 1", "use the release"]);
}

#[test]
fn objects_that_cannot_be_distinguished_are_refused() {
    let bench = Bench::new();
    for list in ["containers", "sandboxes", "images"] {
        let place = format!("{list}[1].id is empty");
        plan(&bench, &with(&format!(r#""{list}": [{{"id": "a"}}, {{"id": ""}}]"#))).refused(1, &[&place]);
        let twice = format!("{list} contains \"a\" twice");
        plan(&bench, &with(&format!(r#""{list}": [{{"id": "a"}}, {{"id": "a"}}]"#))).refused(1, &[&twice]);
    }
    let copies = r#""images": [{"id": "a"}, {"id": "a", "runtime_handler": "kata"}]"#;
    plan(&bench, &with(copies)).succeeded();
}

#[test]
fn there_is_one_snapshot_in_a_file() {
    let bench = Bench::new();
    let two = format!("{}\n{}", with(r#""log_dirs": []"#), with(r#""log_dirs": []"#));
    plan(&bench, &two).refused(1, &["trailing characters", "line 2 column 1", "exactly one snapshot"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let bench = Bench::new();
    bench
        .run(&["plan", "--snapshot", "/nonexistent/s.json"])
        .refused(1, &["/nonexistent/s.json", "No such file"]);
    bench.run(&["plan", "--snapshot", "/proc"]).refused(1, &["/proc", "directory"]);
    let file = bench.file("binary.json", [0xff, 0xfe, 0x00]);
    bench.run(&["plan", "--snapshot", &file]).refused(1, &[&file, "UTF-8"]);
}

#[test]
fn nesting_however_deep_is_an_error_and_no_crash() {
    let bench = Bench::new();
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(200_000);
        plan(&bench, &deep).refused(1, &["is invalid"]);
        plan(&bench, &with(&format!("\"containers\": {deep}"))).refused(1, &["is invalid"]);
    }
}

#[test]
fn numbers_and_times_at_their_ends_are_planned_on() {
    let bench = Bench::new();
    let most = u64::MAX;
    let snapshot = with(&format!(
        r#""containers": [
            {{"id": "first", "state": "exited", "created_at": "-009999-01-03T00:00:00Z", "attempt": {attempt}}},
            {{"id": "last", "state": "exited", "created_at": "9999-12-30T00:00:00Z",
              "finished_at": "-009999-01-03T00:00:00Z"}}],
           "images": [{{"id": "a", "size_bytes": {most}, "first_detected": "1970-01-01T00:00:00Z"}},
                      {{"id": "b", "size_bytes": {most}, "last_used": "9999-12-30T00:00:00Z"}}],
           "filesystems": [{{"mountpoint": "/", "holds": ["images"], "capacity_bytes": {most}, "available_bytes": 0,
                             "inodes": {most}, "inodes_free": {most}}},
                           {{"mountpoint": "/x", "holds": ["images"], "capacity_bytes": 1, "available_bytes": {most}}}]"#,
        attempt = u32::MAX
    ));
    for form in ["json", "yaml", "table"] {
        let file = bench.file("snapshot.json", &snapshot);
        bench.run(&["plan", "--snapshot", &file, "--all", "--output", form]).succeeded();
    }
}

#[test]
fn a_snapshot_can_come_through_standard_input() {
    let bench = Bench::new();
    let snapshot = with(r#""log_dirs": ["lost+found"]"#);
    let json = said(bench.command(&["plan", "--snapshot", "-", "--output", "json"]), &snapshot).succeeded();
    assert!(json.contains("foreign_name"));
    said(bench.command(&["plan", "--snapshot", "-"]), "{")
        .refused(1, &["standard input is invalid", "line 1"]);
}

#[test]
fn flags_about_the_observation_of_a_node_are_refused() {
    let bench = Bench::new();
    let file = bench.file("snapshot.json", with(r#""log_dirs": []"#));
    for flag in [&["--endpoint", "/run/x.sock"][..], &["--confirm-deleted"]] {
        let said = bench.run(&[&["plan", "--snapshot", &file], flag].concat());
        said.refused(2, &[flag[0], "no effect on a snapshot", "cri-gc snapshot"]);
    }
}

#[test]
fn what_could_not_be_judged_makes_the_plan_a_part() {
    let bench = Bench::new();
    let said = plan(&bench, &with(r#""filesystems": [{"mountpoint": "/i", "holds": ["images"]}]"#));
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.err.contains("InvalidDiskCapacity") && said.err.contains("/i"), "{said:?}");
    assert!(serde_json::from_str::<serde_json::Value>(&said.out).is_ok());
}
