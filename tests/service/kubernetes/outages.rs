//! All that can go wrong between the service and the server. Nothing is removed meanwhile, little is logged, and once the server is
//! complete again, what was deleted is removed in bounded time.

use std::time::Duration;

use cri_gc_test_support::kubernetes::{Fault, On};

use super::{BOOT, Before, NODE, NOTHING, World, confirmed_but_refused, dead_pod, left_of, pod};
use crate::stage::{PERIOD, SECOND};

/// How an outage begins and ends.
struct Outage {
    name: &'static str,
    begins: fn(&World),
    ends: fn(&World),
    /// Whether it is an outage of the source, or of a single question only.
    of_source: bool,
    /// Whether it is what a server does for a moment that has just started: an error only once it has lasted.
    may_pass: bool,
}

fn fails(world: &World, on: On, fault: Fault) {
    world.api.fail(on, Some(fault));
    // What was seen is too old to continue from, so that lists are made.
    world.api.compact();
    world.api.apply(pod(1));
    world.api.compact();
    world.api.cut_watches();
}

fn end_all_faults(world: &World) {
    world.api.clear_faults();
    world.api.set_node(NODE, BOOT);
    world.api.expired_watch_as_http(false);
    world.api.listen_again();
}

const fn outage(name: &'static str, begins: fn(&World)) -> Outage {
    Outage { name, begins, ends: end_all_faults, of_source: true, may_pass: false }
}

fn outages() -> Vec<Outage> {
    let single = |name, begins| Outage { of_source: false, ..outage(name, begins) };
    let passing = |name, begins| Outage { may_pass: true, ..outage(name, begins) };
    vec![
        outage("the server is down", |world| world.api.stop_listening()),
        passing("500 for all", |world| fails(world, On::Any, Fault::Status(500))),
        passing("401 for all", |world| fails(world, On::Any, Fault::Status(401))),
        passing("403 for lists", |world| fails(world, On::List, Fault::Status(403))),
        passing("429 for all", |world| fails(world, On::Any, Fault::Status(429))),
        passing("403 for watches", |world| fails(world, On::Watch, Fault::Status(403))),
        outage("a page of a proxy", |world| {
            fails(world, On::List, Fault::PlainText(200, "<html>".to_owned()))
        }),
        outage("a list of a proxy", |world| {
            fails(world, On::List, Fault::Garbage(r#"{"kind":"PodList","items":[]}"#.to_owned()));
        }),
        outage("another kind of list", |world| {
            let list = r#"{"kind":"NodeList","metadata":{"resourceVersion":"9999"},"items":[]}"#;
            fails(world, On::List, Fault::Garbage(list.to_owned()));
        }),
        outage("lists that end in the middle", |world| fails(world, On::List, Fault::CutBody(60))),
        outage("lists that never end", |world| fails(world, On::List, Fault::Stall)),
        passing("watches of garbage", |world| {
            fails(world, On::Watch, Fault::Garbage("{\"type\":7}\n".to_owned()))
        }),
        passing("there is no such node", |world| {
            world.api.remove_node(NODE);
            fails(world, On::Events, Fault::Status(403));
        }),
        passing("the node is another machine", |world| {
            world.api.set_node(NODE, "another boot");
            fails(world, On::Events, Fault::Status(403));
        }),
        single("500 for questions", |world| fails(world, On::Get, Fault::Status(500))),
        single("404 of a proxy for questions", |world| {
            fails(world, On::Get, Fault::PlainText(404, "404 page not found\n".to_owned()));
        }),
        single("404 of another kind for questions", |world| fails(world, On::Get, Fault::Status(404))),
        single("answers of nothing for questions", |world| {
            fails(world, On::Get, Fault::Garbage("{}".to_owned()))
        }),
        single("questions that are cut off", |world| fails(world, On::Get, Fault::CutBody(20))),
    ]
}

#[actix_rt::test]
async fn nothing_is_removed_in_any_outage_and_all_that_was_deleted_is_removed_after_it() {
    let before = Before::new().set("supervision.stuck_backoff_max", "1s");
    before.api.set_max_page(2);
    (1..=3).for_each(|number| before.living(number));
    let world = before.start().await;
    for (place, outage) in outages().into_iter().enumerate() {
        let name = outage.name;
        // One is confirmed deleted before, one is deleted meanwhile, one lives.
        let [confirmed, deleted, lives] = [0, 1, 2].map(|offset| 100 + 3 * place + offset);
        [confirmed, deleted, lives].iter().for_each(|number| world.dead_but_listed(*number));
        world.pass_time(2 * PERIOD).await;
        world.refuse_removals();
        world.api.delete("ns", &format!("pod-{confirmed}"));
        world.pass_time(3 * PERIOD).await;
        assert_eq!(world.state(confirmed).await, cri_gc_policy::PodState::Deleted, "{name}");
        world.stage.lines.take();

        (outage.begins)(&world);
        world.exchange().await;
        world.api.delete("ns", &format!("pod-{deleted}"));
        if outage.of_source {
            world.becomes_unsynced(name).await;
            world.allow_removals();
            world.pass_time(3 * PERIOD).await;
            world.has_all(&[confirmed, deleted, lives], name);
        } else {
            world.allow_removals();
            world.pass_time(3 * PERIOD).await;
            world.has_all(&[deleted, lives], name);
        }
        let mut lines = world.lines_of_source();
        if outage.of_source {
            // On a busy machine an attempt takes longer than the time that is driven meanwhile.
            for _ in 0..20 {
                if lines.iter().all(|line| !line.starts_with("ERRO")) {
                    world.pass_time(PERIOD / 2).await;
                    lines.extend(world.lines_of_source());
                }
            }
            let errors = lines.iter().filter(|line| line.starts_with("ERRO")).count();
            // The two of a restart of a whole cluster: the watch, then the list.
            let not_ready =
                lines.iter().filter(|line| line.contains("pod source kube-api not ready yet")).count();
            assert_eq!(not_ready, usize::from(outage.may_pass), "{name}: {lines:#?}");
            assert!((1..=2).contains(&errors) && lines[not_ready].starts_with("ERRO"), "{name}: {lines:#?}");
            assert!((1..=12).contains(&lines.len()), "{name}: {lines:#?}");
            assert!(!lines.iter().any(|line| line.contains("synced again")), "{name}: {lines:#?}");
        }
        (outage.ends)(&world);
        world.recovers(name).await;
        world.step(2 * SECOND).await;
        if outage.of_source {
            let lines = world.lines_of_source();
            let recoveries = lines
                .iter()
                .filter(|line| line.starts_with("INFO - pod source kube-api synced again"))
                .count();
            assert_eq!(recoveries, 1, "{name}: {lines:#?}");
        }
        world.is_removed(deleted, name).await;
        assert_eq!(left_of(world.sim(), confirmed), NOTHING, "{name}");
        world.has_all(&[1, 2, 3, lives], name);
        // A node on which most is dead would not believe the next one.
        world.api.delete("ns", &format!("pod-{lives}"));
    }
    world.is_removed(102, "the last of the first outage").await;
}

/// Each pass waits for its own question, and only for that.
#[actix_rt::test]
async fn a_question_that_is_not_answered_takes_nothing_and_ends() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    world.dead_but_listed(2);
    world.pass_time(PERIOD).await;
    world.api.fail(On::Get, Some(Fault::Stall));
    world.api.delete("ns", "pod-2");
    let passes = world.stage.passes().await;
    for _ in 0..200 {
        world.stage.step_without_waiting(3 * SECOND).await;
        world.exchange().await;
    }
    world.has_all(&[1, 2], "no answer is none");
    let after = world.stage.passes().await;
    assert!(after.iter().zip(passes).all(|(after, before)| after - before >= 3), "{passes:?} {after:?}");
    world.api.fail(On::Get, None);
    world.api.release_stalled();
    world.recovers("it answers").await;
    world.is_removed(2, "it answers").await;
}

/// A gap in what the watch reports begins with a new list, and is no error.
#[actix_rt::test]
async fn an_expired_version_is_no_error() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    world.dead_but_listed(2);
    world.pass_time(PERIOD).await;
    for as_http in [false, true] {
        for _ in 0..3 {
            let lists = world.api.count(On::List);
            world.api.expired_watch_as_http(as_http);
            world.api.close_watches();
            // It happens while there is no watch, and is forgotten.
            world.api.apply(pod(3));
            world.api.delete("ns", "pod-3");
            world.api.compact();
            world.recovers("after 410").await;
            world.pass_time(PERIOD).await;
            assert!(world.api.count(On::List) > lists, "as HTTP: {as_http}");
            assert!(world.source().await.synced && world.source().await.problem.is_none());
        }
    }
    // In the middle of the pages of a list, too.
    world.api.set_max_page(1);
    world.api.fail_next(On::List, Fault::Delay(Duration::ZERO));
    world.api.fail_next(On::List, Fault::Status(410));
    world.api.close_watches();
    world.api.apply(pod(1));
    world.api.compact();
    world.recovers("after 410 for a page").await;
    assert_eq!(world.stage.lines.take().iter().filter(|line| !line.starts_with("INFO")).count(), 0);
    world.has_all(&[1, 2], "they live");
    world.api.delete("ns", "pod-2");
    world.is_removed(2, "after all").await;
}

/// A watch that is cut in the middle of an event continues where it was, and so does one that is closed.
#[actix_rt::test]
async fn a_watch_that_is_cut_continues_without_a_new_list_and_misses_nothing() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    for number in 2..=4 {
        world.dead_but_listed(number);
    }
    world.pass_time(2 * PERIOD).await;
    let lists = world.api.count(On::List);
    for (round, cut) in [true, false, true, false].into_iter().enumerate() {
        let watches = world.api.count(On::Watch);
        if cut {
            world.api.cut_watches()
        } else {
            world.api.close_watches()
        }
        // A watch that continues from the version before receives what happened meanwhile.
        world.api.apply(pod(2).phase("Failed").reason(if round == 0 { "Error" } else { "Evicted" }));
        world.recovers("a watch that ended").await;
        assert_eq!(world.api.count(On::Watch), watches + 1);
    }
    world.pass_time(PERIOD).await;
    assert_eq!(world.api.count(On::List), lists);
    assert_eq!(left_of(world.sim(), 2), NOTHING, "it was evicted");
    world.has_all(&[1, 3, 4], "they live");
    assert!(
        world.stage.lines.all().iter().all(|line| line.starts_with("INFO")),
        "{:#?}",
        world.stage.lines.all()
    );
}

/// The store of the cluster was wiped. What runs shows that the list is wrong.
#[actix_rt::test]
async fn an_empty_list_while_something_runs_is_none() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    (2..=4).for_each(|number| world.dead_but_listed(number));
    world.pass_time(PERIOD).await;
    world.api.wipe();
    world.pass_time(30 * PERIOD).await;
    world.has_all(&[1, 2, 3, 4], "the store was wiped");
    world.fails_with("lists none of the pods that run here (1 with a ready sandbox)").await;
    (1..=3).for_each(|number| world.api.apply(pod(number)));
    world.recovers("it was restored").await;
    world.is_removed(4, "it was not restored").await;
    world.has_all(&[1, 2, 3], "they were restored");
}

/// The same while nothing runs: the kubelet's directories protect, then the brake, then the questions.
#[actix_rt::test]
async fn an_empty_list_while_nothing_runs_is_checked_by_a_get_of_each_pod() {
    let before = Before::new();
    (1..=22).for_each(|number| {
        dead_pod(&before.setup.sim, number);
        before.api.apply(pod(number));
    });
    let world = before.start().await;
    world.pass_time(2 * PERIOD).await;
    // Lists and watches know nothing, as from a cache that is being filled; the pods are there but for one.
    world.api.wipe();
    world.api.freeze_lists();
    world.api.fail(On::Watch, Some(Fault::Stall));
    (2..=21).for_each(|number| world.api.apply(pod(number)));
    world.recovers("it is synced, and knows nothing").await;
    let all: Vec<usize> = (1..=22).collect();
    for _ in 0..8 {
        world.pass_time(PERIOD).await;
        world.has_all(&all, "the brake");
    }
    assert_eq!(world.api.count(On::Get), 0);
    world.pass_time(10 * PERIOD).await;
    assert!(world.api.count(On::Get) >= 21, "{}", world.api.count(On::Get));
    world.has_all(&all[..21], "its directory, and the questions");
    assert_eq!(left_of(world.sim(), 22), NOTHING, "it is removed");
    assert!(world.source().await.notes.iter().any(|note| note.contains("the kubelet still has a directory")));
}

#[actix_rt::test]
async fn the_node_is_observed_before_each_list() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    world.dead_but_listed(2);
    world.pass_time(PERIOD).await;
    assert_eq!(world.api.count(On::Node), world.api.count(On::List));
    // Its name was given to another machine; the pods of that one are listed.
    world.api.set_node(NODE, "another boot");
    world.api.delete("ns", "pod-2");
    world.pass_time(10 * PERIOD).await;
    world.has_all(&[1, 2], "another machine");
    world.fails_with("another boot").await;
    let lines = world.lines_of_source();
    let first = [&lines[0][..4], &lines[1][..4]];
    assert!(lines.len() < 10 && first == ["INFO", "ERRO"], "it may not have been reported yet: {lines:#?}");
    world.api.set_node(NODE, BOOT);
    world.recovers("its own name").await;
    world.is_removed(2, "its own name").await;
}

/// A wall clock that is set, forward or back, by more than any age that counts.
#[actix_rt::test]
async fn a_clock_that_is_set_forward_restarts_all_confirmations() {
    is_set(true).await;
}

#[actix_rt::test]
async fn a_clock_that_is_set_back_restarts_all_confirmations() {
    is_set(false).await;
}

async fn is_set(forward: bool) {
    let world = confirmed_but_refused().await;
    let (now, hour) = (world.sim().now(), Duration::from_secs(3 * 3600));
    let lists = world.api.count(On::List);
    world.sim().step_clock(if forward { now + hour } else { now - hour });
    world.api.fail(On::Get, Some(Fault::Status(500)));
    world.allow_removals();
    world.pass_time(3 * PERIOD).await;
    world.has_all(&[1, 2], "what was confirmed by the other time");
    assert!(world.api.count(On::List) > lists);
    world.api.fail(On::Get, None);
    world.pass_time(PERIOD + SECOND).await;
    world.recovers("the clock was set").await;
    world.is_removed(2, "the clock was set").await;
    world.has_all(&[1], "it lives");
}
