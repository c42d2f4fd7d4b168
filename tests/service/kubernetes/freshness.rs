//! What keeps the source fresh, and what follows when nothing does.

use cri_gc_policy::PodState::{Active, Deleted, Unknown};
use cri_gc_test_support::kubernetes::{Fault, On};

use super::{Before, NOTHING, RECOVERS_WITHIN, World, confirmed_but_refused, left_of};
use crate::stage::{PERIOD, SECOND};

/// Lets time pass by steps of ten seconds, and checks that the source is always synced.
async fn remains_synced(world: &World, minutes: u32, mut each_minute: impl FnMut()) {
    for step in 0..minutes * 6 {
        if step % 6 == 5 {
            each_minute();
            world.exchange().await;
        }
        world.step(10 * SECOND).await;
        let source = world.source().await;
        assert!(
            source.synced && source.problem.is_none() && source.notes.is_empty(),
            "step {step}: {source:?}"
        );
        let age = world.sim().now().duration_since(source.synced_at.unwrap());
        assert!(age.as_secs() <= 200, "step {step}: {source:?}");
        assert_eq!((world.state(1).await, world.state(2).await), (Active, Deleted), "step {step}");
    }
}

#[actix_rt::test]
async fn bookmarks_keep_it_fresh_without_a_new_list() {
    let world = confirmed_but_refused().await;
    let lists = world.api.count(On::List);
    remains_synced(&world, 20, || world.api.bookmark()).await;
    assert_eq!(world.api.count(On::List), lists);
}

#[actix_rt::test]
async fn without_bookmarks_a_list_is_read_before_it_is_stale() {
    let world = confirmed_but_refused().await;
    let lists = world.api.count(On::List);
    remains_synced(&world, 20, || ()).await;
    let read = world.api.count(On::List) - lists;
    assert!((4..=10).contains(&read), "{read}");
}

/// As by a proxy that ends what is idle for a minute.
#[actix_rt::test]
async fn watches_that_end_every_minute_without_events_keep_nothing_synced() {
    let world = confirmed_but_refused().await;
    let lists = world.api.count(On::List);
    remains_synced(&world, 20, || world.api.close_watches()).await;
    let read = world.api.count(On::List) - lists;
    assert!((4..=10).contains(&read), "{read}");
}

/// Only a list that is not older than the operator allows confirms anything.
#[actix_rt::test]
async fn a_short_max_staleness_is_kept_to() {
    let before = Before::new().set("pods.max_staleness", "30s");
    before.living(1);
    let world = before.start().await;
    for _ in 0..60 {
        world.step(2 * SECOND).await;
        assert!(world.source().await.synced);
    }
    world.api.fail(On::List, Some(Fault::Stall));
    world.pass_time(35 * SECOND).await;
    assert!(!world.source().await.synced);
}

/// A server that takes every request and answers none, and a network that swallows all of it.
#[actix_rt::test]
async fn when_the_server_is_silent_all_becomes_unknown_in_time_and_nothing_is_removed() {
    let world = confirmed_but_refused().await;
    world.api.fail(On::Any, Some(Fault::Stall));
    let mut stale = false;
    for step in 1..=60 {
        world.step(10 * SECOND).await;
        let source = world.source().await;
        stale |= !source.synced;
        assert!(stale || step <= 30, "it counts no longer than pods.max_staleness: {source:?}");
    }
    assert_eq!(world.state(2).await, Unknown);
    assert_eq!(world.evidence(2).await, "the pod source is not synced, so nothing is known about it");
    world.allow_removals();
    world.pass_time(5 * PERIOD).await;
    world.has_all(&[1, 2], "confirmed by a source that is not synced");
    let lines = world.lines_of_source();
    let first = lines.first().unwrap();
    assert!(first.starts_with("ERRO") && first.contains("has not answered within"), "{lines:#?}");
    assert!(lines[1..].iter().all(|line| line.starts_with("WARN")), "{lines:#?}");
    world.api.fail(On::Any, None);
    world.api.release_stalled();
    world.recovers("it answers again").await;
    world.step(2 * SECOND).await;
    let lines = world.lines_of_source();
    assert!(
        lines.last().is_some_and(|line| line.starts_with("INFO - pod source kube-api synced again")),
        "{lines:#?}"
    );
    world.is_removed(2, "it answers again").await;
    world.has_all(&[1], "it lives");
}

/// The loops ask, each for itself, while the list is young, old, missing and there again: none of it delays a pass.
#[actix_rt::test]
async fn passes_continue_while_the_server_is_silent() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    world.pass_time(PERIOD).await;
    world.api.fail(On::Any, Some(Fault::Stall));
    let passes = world.stage.passes().await;
    world.pass_time(10 * PERIOD).await;
    let after = world.stage.passes().await;
    assert!(after.iter().zip(passes).all(|(after, before)| after - before >= 10), "{passes:?} {after:?}");
    for handle in &world.stage.service.loops {
        assert_eq!(world.stage.state(handle.of).await.failures, 0);
    }
    assert!(RECOVERS_WITHIN > PERIOD && left_of(world.sim(), 1) != NOTHING);
}
