//! What passes by itself is no error: an API server that has just started, and a directory that the kubelet has not removed
//! yet. What lasts is reported, once.

use cri_gc_policy::PodState::{Deleted, Unknown};
use cri_gc_test_support::kubernetes::{Fault, On};

use super::{Before, NODE, World, pod};
use crate::stage::{PERIOD, SECOND};

/// Lines above INFO since they were taken last. That images have to wait for the first list is image GC's matter.
fn loud(world: &World) -> Vec<String> {
    let is_loud =
        |line: &String| !line.starts_with("INFO") && !line.contains("not known which images pods use");
    world.stage.lines.take().into_iter().filter(is_loud).collect()
}

/// Lets time pass in small steps, and gives what is in progress the real time that it needs although the source is not synced.
async fn pass_slowly(world: &World, seconds: u64) {
    for _ in 0..seconds / 2 {
        world.was_followed.set(true);
        world.settle().await;
        world.stage.step(2 * SECOND).await;
    }
    world.was_followed.set(true);
    world.settle().await;
}

fn about(lines: &[String], what: &str) -> usize {
    lines.iter().filter(|line| line.contains(what)).count()
}

/// Lets time pass until a line is logged, and returns the first.
async fn until_logged(world: &World, what: &str) -> String {
    for _ in 0..60 {
        if let Some(line) = loud(world).into_iter().find(|line| line.contains(what)) {
            return line;
        }
        pass_slowly(world, 2).await;
    }
    panic!("{what:?} is not logged: {:?}", world.source().await);
}

#[actix_rt::test]
async fn an_api_server_that_has_just_started_is_no_error_for_half_a_minute() {
    let before = Before::new();
    before.living(1);
    before.api.fail(On::Any, Some(Fault::Status(403)));
    let world = before.set("pods.source", "kube-api").start_as_it_is().await;
    for code in [403, 401, 429, 500, 503] {
        world.api.fail(On::Any, Some(Fault::Status(code)));
        world.api.cut_watches();
        pass_slowly(&world, 14).await;
        // `status` reports it at once.
        world.fails_with(&code.to_string()).await;
        world.api.clear_faults();
        world.recovers("its roles are loaded").await;
        world.step(2 * SECOND).await;
        assert_eq!(world.source().await.problem, None);
        let lines = world.stage.lines.all();
        assert_eq!(about(&lines, "INFO - pod source kube-api not ready yet"), 1, "{code}: {lines:#?}");
        assert_eq!(about(&lines, "INFO - pod source kube-api synced"), 1, "{code}: {lines:#?}");
        assert_eq!(loud(&world), Vec::<String>::new(), "{code}");
        world.pass_time(2 * PERIOD).await;
    }
}

#[actix_rt::test]
async fn rights_that_are_missing_are_an_error_after_half_a_minute() {
    let before = Before::new();
    before.living(1);
    before.api.fail(On::Any, Some(Fault::Status(403)));
    let world = before.set("pods.source", "kube-api").start_as_it_is().await;
    pass_slowly(&world, 28).await;
    assert_eq!(loud(&world), Vec::<String>::new());
    let line = until_logged(&world, "pod source kube-api failed").await;
    assert!(line.starts_with("ERRO") && line.contains("rbac.yaml"), "{line}");
}

#[actix_rt::test]
async fn a_node_that_its_kubelet_has_not_reported_since_the_boot_is_no_error_for_half_a_minute() {
    let before = Before::new();
    before.living(1);
    before.api.set_node(NODE, "the boot before");
    let world = before.set("pods.source", "kube-api").start_as_it_is().await;
    pass_slowly(&world, 20).await;
    world.fails_with("the boot before").await;
    assert_eq!(loud(&world), Vec::<String>::new());
    let line = until_logged(&world, "pod source kube-api failed").await;
    assert!(line.starts_with("ERRO") && line.contains("check node_name"), "{line}");
}

#[actix_rt::test]
async fn an_event_that_a_starting_api_server_refuses_is_sent_a_moment_later() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    world.api.fail(On::Events, Some(Fault::Status(403)));
    world.sim().kill();
    for _ in 0..12 {
        if world.api.count(On::Events) < 2 {
            pass_slowly(&world, 2).await;
        }
    }
    world.api.fail(On::Events, None);
    world.sim().restart().unwrap();
    for _ in 0..30 {
        if world.api.events().len() < 2 {
            world.step(3 * SECOND).await;
        }
    }
    let reasons: Vec<_> = world.api.events().iter().map(|event| event["reason"].clone()).collect();
    assert_eq!(reasons, ["RuntimeLost", "RuntimeReturned"]);
    assert_eq!(about(&loud(&world), "answered 403"), 0);
}

#[actix_rt::test]
async fn a_question_that_fails_for_a_moment_is_no_warning() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    world.dead_but_listed(2);
    world.pass_time(PERIOD).await;
    world.api.fail(On::Get, Some(Fault::Status(500)));
    world.api.delete("ns", "pod-2");
    let why = "could not be asked for by name";
    for _ in 0..20 {
        if world.evidence(2).await.contains(why) {
            break;
        }
        world.step(5 * SECOND).await;
    }
    let notes = world.source().await.notes;
    assert_eq!(about(&notes, why), 1, "{notes:?}");
    assert_eq!(about(&loud(&world), why), 0);
    world.pass_time(3 * PERIOD).await;
    assert!(about(&loud(&world), why) > 0, "it lasts");
}

#[actix_rt::test]
async fn a_directory_of_a_deleted_pod_is_reported_after_five_minutes_and_once() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    (2..=3).for_each(|number| {
        world.dead_but_listed(number);
        std::fs::create_dir(world.kubelet_directory(number)).unwrap();
    });
    world.pass_time(2 * PERIOD).await;
    (2..=3).for_each(|number| assert!(world.api.delete("ns", &pod_name(number))));
    world.step(2 * SECOND).await;
    world.pass_time(PERIOD).await;
    // `explain` reports at once why they are kept.
    let keeps = "the kubelet still has a directory of";
    assert_eq!((world.state(2).await, world.state(3).await), (Unknown, Unknown));
    assert!(world.evidence(2).await.contains(keeps));
    let notes = world.source().await.notes;
    assert!(about(&notes, keeps) == 1 && about(&notes, "orphan") == 0, "{notes:?}");
    // The kubelet removes the one, and never the other.
    std::fs::remove_dir(world.kubelet_directory(2)).unwrap();
    world.pass_time(2 * PERIOD).await;
    assert_eq!(loud(&world), Vec::<String>::new());
    // The source is unreachable meanwhile, and reachable again.
    let lose = async || {
        world.api.fail(On::Any, Some(Fault::Status(503)));
        world.api.cut_watches();
        world.pass_time(PERIOD).await;
        world.api.clear_faults();
        world.recovers("it is reachable again").await;
        world.pass_time(PERIOD).await;
    };
    lose().await;
    world.pass_time(PERIOD).await;
    let lines = loud(&world);
    assert_eq!(about(&lines, keeps), 1, "{lines:#?}");
    let line = lines.iter().find(|line| line.contains(keeps)).unwrap();
    assert!(line.starts_with("WARN") && line.contains(&crate::stage::uid(3)), "{line}");
    assert!(!line.contains(&crate::stage::uid(2)), "{line}");
    lose().await;
    world.pass_time(3 * PERIOD).await;
    assert_eq!(about(&loud(&world), keeps), 0, "it was reported");
    let notes = world.source().await.notes;
    assert_eq!(about(&notes, "orphaned"), 1, "{notes:?}");
    std::fs::remove_dir(world.kubelet_directory(3)).unwrap();
    world.is_removed(3, "its directory is removed").await;
    world.is_removed(2, "its directory was removed").await;
    assert_ne!(world.state(1).await, Deleted);
}

fn pod_name(number: usize) -> String {
    let name = pod(number).to_json();
    name["metadata"]["name"].as_str().unwrap().to_owned()
}
