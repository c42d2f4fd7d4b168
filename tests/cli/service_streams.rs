//! `run-now` and `events`: what a service streams, and what happens when the stream ends.

use cri_gc_collectors::collector::messages::Declined;
use cri_gc_kit::words::Loop;
use cri_gc_proto::admin::pass_update::What;
use cri_gc_proto::admin::{Event, Pass, PassUpdate, Removal};
use tonic::Status;

use super::expected::is_as_expected;
use super::fake::{Answers, Fake};
use super::program::{Bench, Said, ended, next_line, started};

fn update(of: &str, what: What) -> Result<PassUpdate, Status> {
    Ok(PassUpdate { r#loop: of.to_owned(), what: Some(what) })
}

fn removal(id: &str, result: &str, detail: &str) -> What {
    What::Removal(Removal {
        kind: "container".to_owned(),
        id: id.to_owned(),
        name: format!("shop/web-0/{id}"),
        reason: "pod_deleted".to_owned(),
        result: result.to_owned(),
        detail: detail.to_owned(),
        bytes: 0,
    })
}

fn pass(of: &str, removed: u64, failed: u64) -> Result<PassUpdate, Status> {
    let pass = Pass {
        r#loop: of.to_owned(),
        trigger: "admin".to_owned(),
        started_at: "2026-01-31T12:00:00Z".to_owned(),
        took_seconds: 0.25,
        mode: "enforce".to_owned(),
        removed,
        failed,
        kept: 4,
        ..Pass::default()
    };
    update(of, What::Ended(pass))
}

/// Two passes, in the second of which nothing is to be done.
fn passes(result: &str, failed: u64) -> Vec<Result<PassUpdate, Status>> {
    vec![
        update("container_gc", What::Planned(2)),
        update("container_gc", removal("c1", "removed", "")),
        update("container_gc", removal("c2", result, "device busy")),
        pass("container_gc", 2 - failed, failed),
        update("sandbox_gc", What::Planned(0)),
        pass("sandbox_gc", 0, 0),
    ]
}

fn run_now(updates: Vec<Result<PassUpdate, Status>>, args: &[&str]) -> Said {
    let bench = Bench::new();
    let fake = Fake::start(&bench, Answers { run_now: Some(Ok(updates)), ..Answers::default() });
    bench.run(&[&["run-now", "--socket", fake.socket()], args].concat())
}

#[test]
fn passes_end_with_a_table() {
    is_as_expected("run-now", &run_now(passes("already_gone", 0), &[]).succeeded());
}

#[test]
fn a_pass_that_fails_in_part_ends_with_3() {
    let said = run_now(passes("failed", 1), &["containers", "sandboxes"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("failed: device busy"), "{said:?}");
    let mut updates = passes("removed", 0);
    let Ok(PassUpdate { what: Some(What::Ended(pass)), .. }) = &mut updates[5] else { panic!("a pass") };
    pass.errors.push("ListPodSandbox: boom".to_owned());
    let said = run_now(updates, &["-o", "json"]);
    assert_eq!((said.code, said.out.lines().count()), (Some(3), 6), "{said:?}");
}

#[test]
fn as_json_every_update_is_a_line_as_soon_as_it_is_there() {
    let bench = Bench::new();
    let answers = Answers { run_now: Some(Ok(passes("removed", 0))), stays_open: true, ..Answers::default() };
    let fake = Fake::start(&bench, answers);
    let mut child = started(bench.command(&["run-now", "-o", "json", "--socket", fake.socket()]));
    let mut updates = Vec::new();
    for _ in 0..6 {
        updates.push(serde_json::from_str::<serde_json::Value>(&next_line(&mut child)).unwrap());
    }
    assert_eq!(updates[0], serde_json::json!({"loop": "container_gc", "planned": 2}));
    assert_eq!(updates[2]["removal"]["id"], "c2");
    assert_eq!(updates[5]["ended"]["kept"], 4);
    // It waits for more, until the service dies.
    fake.die();
    ended(child).refused(4, &["ended early"]);
}

#[test]
fn as_yaml_every_update_is_a_document() {
    let out = run_now(passes("removed", 0), &["-o", "yaml"]).succeeded();
    let documents: Vec<&str> = out.split("---\n").skip(1).collect();
    assert_eq!(documents.len(), 6, "{out}");
    let first: serde_json::Value = serde_saphyr::from_str(documents[0]).unwrap();
    assert_eq!(first, serde_json::json!({"loop": "container_gc", "planned": 2}));
}

#[test]
fn what_was_reported_before_the_service_ended_is_shown() {
    for (updates, missing) in [
        (passes("removed", 0)[..3].to_vec(), "of container_gc"),
        (passes("removed", 0)[..4].to_vec(), "of image_gc"),
        (passes("removed", 0)[..5].to_vec(), "of image_gc"),
    ] {
        let said = run_now(updates, &["containers", "images"]);
        assert_eq!(said.code, Some(4), "{said:?}");
        assert!(said.out.contains("c2"), "{said:?}");
        assert!(
            said.err.contains("the pass of") && said.err.contains(&format!("{missing} has not ended")),
            "{said:?}"
        );
    }
    run_now(Vec::new(), &[]).refused(4, &["the pass of any loop has not ended"]);
}

#[test]
fn an_error_in_the_middle_is_reported_after_what_was_done() {
    let mut updates = passes("removed", 0);
    updates.truncate(4);
    updates.push(Err(Status::failed_precondition("sandbox_gc is paused")));
    let said = run_now(updates, &[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("container_gc") && said.err.contains("sandbox_gc is paused"), "{said:?}");
}

#[test]
fn a_paused_loop_is_reported_with_what_to_do() {
    let bench = Bench::new();
    let paused = Status::failed_precondition(Declined::Paused(Loop::ImageGc).to_string());
    let fake = Fake::start(&bench, Answers { run_now: Some(Err(paused)), ..Answers::default() });
    bench
        .run(&["run-now", "image_gc", "--socket", fake.socket()])
        .refused(1, &["image_gc is paused", "cri-gc resume image_gc"]);
}

#[test]
fn a_pass_that_reports_nothing_is_waited_for_until_the_timeout() {
    let bench = Bench::new();
    let planned = vec![update("container_gc", What::Planned(1))];
    let answers = Answers {
        run_now: Some(Ok(planned)),
        follow: Some(Ok(Vec::new())),
        stays_open: true,
        ..Answers::default()
    };
    let fake = Fake::start(&bench, answers);
    for command in [&["run-now"][..], &["events"], &["events", "--follow"]] {
        let args = [command, &["--timeout", "1s", "--socket", fake.socket()]].concat();
        bench.run(&args).refused(4, &[fake.socket(), "does not answer in time", "waited 1s", "--timeout"]);
    }
    bench.run(&["status", "--timeout", "1"]).refused(2, &["write a number with its unit"]);
}

#[test]
fn loops_are_named_as_in_the_configuration_or_by_what_they_remove() {
    let bench = Bench::new();
    let answers = Answers { run_now: Some(Ok(passes("removed", 0))), ..Answers::default() };
    let fake = Fake::start(&bench, answers);
    bench.run(&["run-now", "--socket", fake.socket()]).succeeded();
    bench.run(&["run-now", "sandboxes", "container_gc", "containers", "--socket", fake.socket()]).succeeded();
    assert_eq!(fake.calls(), ["run-now ", "run-now sandbox_gc,container_gc"]);
    let parts = ["container_gc or containers, sandbox_gc or sandboxes, log_gc or logs, image_gc or images"];
    bench.run(&["run-now", "pods", "--socket", fake.socket()]).refused(2, &parts);
}

fn event(sequence: u64, kind: &str) -> Result<Event, Status> {
    Ok(Event {
        sequence,
        time: "2026-01-31T12:00:00.25Z".to_owned(),
        r#loop: "container_gc".to_owned(),
        kind: kind.to_owned(),
        object_id: format!("c{sequence}"),
        ..Event::default()
    })
}

/// Two events of the past, and one of now.
fn events() -> Vec<Result<Event, Status>> {
    let now = Ok(Event { kind: "Now".to_owned(), ..Event::default() });
    vec![event(1, "Removed"), event(2, "RemovalFailed"), now, event(3, "Recovered")]
}

#[test]
fn without_follow_the_past_events_are_printed() {
    let bench = Bench::new();
    let answers = Answers { follow: Some(Ok(events())), stays_open: true, ..Answers::default() };
    let fake = Fake::start(&bench, answers);
    let out = bench.run(&["events", "--socket", fake.socket()]).succeeded();
    assert_eq!(
        out,
        "2026-01-31T12:00:00Z  container_gc  Removed              c1\n\
         2026-01-31T12:00:00Z  container_gc  RemovalFailed        c2\n"
    );
    let out = bench.run(&["events", "-o", "json", "--recent", "2", "--socket", fake.socket()]).succeeded();
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["kind"]), (2, &"RemovalFailed".into()));
    let out = bench.run(&["events", "-o", "yaml", "--socket", fake.socket()]).succeeded();
    assert_eq!(out.matches("---\n").count(), 2, "{out}");
    assert_eq!(fake.calls(), ["follow 20", "follow 2", "follow 20"]);
}

#[test]
fn with_follow_every_event_is_printed_as_it_comes() {
    for form in ["table", "json"] {
        let bench = Bench::new();
        let answers = Answers { follow: Some(Ok(events())), stays_open: true, ..Answers::default() };
        let fake = Fake::start(&bench, answers);
        let mut child = started(bench.command(&["events", "-f", "-o", form, "--socket", fake.socket()]));
        for id in ["c1", "c2", "c3"] {
            let line = next_line(&mut child);
            assert!(line.contains(id), "{line:?}");
        }
        fake.die();
        ended(child).refused(4, &["ended early"]);
    }
}

#[test]
fn a_service_that_ends_its_events_is_reported_as_stopped() {
    let bench = Bench::new();
    let fake = Fake::start(&bench, Answers { follow: Some(Ok(events())), ..Answers::default() });
    let said = bench.run(&["events", "-f", "--socket", fake.socket()]);
    assert_eq!((said.code, said.out.lines().count()), (Some(4), 3), "{said:?}");
    assert!(said.err.contains("it sends no more events"), "{said:?}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_although_nothing_happens_any_more() {
    for args in [&["events", "-f"][..], &["events", "-f", "-o", "json"], &["events", "-f", "-o", "yaml"]] {
        let bench = Bench::new();
        let answers = Answers { follow: Some(Ok(events())), stays_open: true, ..Answers::default() };
        let fake = Fake::start(&bench, answers);
        let mut child = started(bench.command(&[args, &["--socket", fake.socket()]].concat()));
        next_line(&mut child);
        drop(child.stdout.take());
        ended(child).succeeded();
    }
}

#[test]
fn a_reader_of_updates_that_has_seen_enough_ends_it_quietly() {
    // More than the buffer of any pipe.
    let mut updates = vec![update("container_gc", What::Planned(5000))];
    updates.extend((0..5000).map(|n| update("container_gc", removal(&format!("c{n}"), "removed", ""))));
    updates.push(pass("container_gc", 5000, 0));
    for form in ["table", "json", "yaml"] {
        let bench = Bench::new();
        let answers = Answers { run_now: Some(Ok(updates.clone())), ..Answers::default() };
        let fake = Fake::start(&bench, answers);
        let mut child = started(bench.command(&["run-now", "-o", form, "--socket", fake.socket()]));
        next_line(&mut child);
        drop(child.stdout.take());
        ended(child).succeeded();
    }
}
