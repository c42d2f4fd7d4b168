//! What it takes until a deleted pod is removed: a new list without it, then a 404 of the server for it. What
//! changes after that is reported by the watch alone.

use cri_gc_policy::PodState::{Active, Deleted, Evicted, Terminated, Unknown};
use cri_gc_sim::Method;
use cri_gc_test_support::kubernetes::{Fault, On, PodObject};

use super::{
    ALL, Before, NOTHING, REMOVED_WITHIN, confirmed_but_refused, dead_pod, ended, left_of, living_pod, pod,
};
use crate::stage::{HOUR, PERIOD, SECOND, uid};

#[actix_rt::test]
async fn a_deleted_pod_is_removed_after_a_new_list_and_a_get_and_not_before() {
    let before = Before::new();
    before.api.set_max_page(2);
    (1..=7).for_each(|number| before.living(number));
    dead_pod(&before.setup.sim, 8);
    before.api.apply(pod(8));
    let world = before.start().await;
    assert_eq!(world.api.count(On::List), 4, "eight pods by pages of two");
    world.pass_time(2 * PERIOD).await;
    assert_eq!(world.evidence(8).await, "the pod source lists it");
    assert_eq!((world.state(8).await, world.state(1).await), (Active, Active));
    // The watch reports that it is gone. No new list can be read: it is kept.
    world.api.fail(On::Get, Some(Fault::Status(503)));
    world.api.fail_next(On::List, Fault::Stall);
    world.api.delete("ns", "pod-8");
    world.step(PERIOD).await;
    assert!(
        world.evidence(8).await.starts_with(
            "not confirmed deleted: it is missing from the last list, but not from the one before"
        )
    );
    world.step(SECOND).await;
    world.requested(On::List, 5).await;
    world.requested(On::Get, 0).await;
    world.has_all(&[8], "the list has not been answered");
    // A list is read, but no get says that the pod is not there.
    world.api.release_stalled();
    // All its pages.
    world.requested(On::List, 8).await;
    world.pass_time(3 * PERIOD).await;
    assert!(
        world.evidence(8).await.contains("could not be asked for by name"),
        "{}",
        world.evidence(8).await
    );
    assert_eq!(world.state(8).await, Unknown);
    world.has_all(&[8], "the question has not been answered");
    // Now it is said.
    world.api.fail(On::Get, None);
    let asked = world.api.count(On::Get);
    world.pass_time(PERIOD).await;
    assert_eq!(left_of(world.sim(), 8), NOTHING);
    let log = world.api.requests();
    let last = |what: &str| log.iter().rposition(|request| request.path.ends_with(what)).unwrap();
    assert!(last("/api/v1/pods") > 0 && world.api.count(On::Get) > asked);
    assert!(
        log.iter().filter(|request| request.path.ends_with("/pods/pod-8")).count()
            == world.api.count(On::Get),
        "no other pod was requested"
    );
    world.has_all(&[1, 2, 3, 4, 5, 6, 7], "they live");
    let removed = world.stage.lines.all().iter().filter(|line| line.contains("removed")).count();
    assert_eq!(removed, 3, "{:#?}", world.stage.lines.all());
}

#[actix_rt::test]
async fn what_the_watch_reports_changes_states_without_a_new_list() {
    let before = Before::new().set("container_gc.evict_terminated_pods", "true");
    before.living(1);
    for number in 2..=4 {
        dead_pod(&before.setup.sim, number);
        before.api.apply(pod(number));
    }
    let world = before.start().await;
    world.pass_time(2 * PERIOD).await;
    world.has_all(&[1, 2, 3, 4], "all are active");
    let since = world.facts(2).await.since;
    world.api.apply(pod(2).phase("Succeeded"));
    world.api.apply(pod(3).phase("Failed").reason("Evicted"));
    world.api.apply(pod(4).phase("Failed"));
    dead_pod(world.sim(), 5);
    world.api.apply(pod(5));
    world.refuse_removals();
    world.pass_time(PERIOD).await;
    for (number, state) in [(1, Active), (2, Terminated), (3, Evicted), (4, Terminated), (5, Active)] {
        assert_eq!(world.state(number).await, state, "{number}");
    }
    assert!(world.facts(2).await.since > since, "since it finished");
    assert_eq!((world.api.count(On::List), world.api.count(On::Get)), (1, 0));
    world.allow_removals();
    world.pass_time(3 * PERIOD).await;
    assert_eq!([2, 3, 4].map(|number| left_of(world.sim(), number)), [[0, 0, 1], NOTHING, [0, 0, 1]]);
    world.has_all(&[1, 5], "they live");
}

/// A list that lags behind: living pods are missing from it. Only a get of each of them shows that.
#[actix_rt::test]
async fn a_list_that_lags_behind_takes_nothing_from_a_pod_that_lives() {
    let before = Before::new();
    before.living(1);
    before.api.freeze_lists();
    // Nor does the watch report what was created since.
    before.api.fail(On::Watch, Some(Fault::Stall));
    for number in 2..=4 {
        dead_pod(&before.setup.sim, number);
        before.api.apply(pod(number));
    }
    let world = before.set("pods.source", "kube-api").start_as_it_is().await;
    world.pass_time(10 * PERIOD).await;
    // It asks again after each list.
    assert_eq!(world.state(2).await, Unknown);
    let evidence = world.evidence(2).await;
    let evidence = evidence.trim_start_matches("not confirmed deleted: ");
    assert!(evidence.starts_with("it is not listed"), "{evidence}");
    assert!(world.api.count(On::Get) > 3 && world.api.count(On::List) > 3, "newer lists were asked for");
    world.has_all(&[1, 2, 3, 4], "they live");
    world.api.delete("ns", "pod-2");
    world.api.thaw_lists();
    world.api.fail(On::Watch, None);
    world.api.cut_watches();
    world.api.release_stalled();
    world.recovers("the lists are true again").await;
    world.is_removed(2, "it was deleted").await;
    world.has_all(&[1, 3, 4], "they live");
}

#[actix_rt::test]
async fn a_static_pod_lives_while_its_mirror_is_deleted_and_made_again() {
    let before = Before::new();
    before.living(1);
    for number in 2..=4 {
        dead_pod(&before.setup.sim, number);
    }
    // The mirror has a UID of its own each time, and names that of the sandbox.
    let mirror = |life: usize, of: usize| {
        PodObject::new("ns", &format!("pod-{of}"), &uid(100 * life + of)).mirror_of(&uid(of)).phase("Running")
    };
    (2..=4).for_each(|of| before.api.apply(mirror(1, of)));
    let world = before.start().await;
    std::fs::create_dir(world.kubelet_directory(2)).unwrap();
    for life in 2..6 {
        for of in 2..=3 {
            assert!(world.api.delete("ns", &format!("pod-{of}")));
        }
        // The third one is made again at once, the second after passes in which only the kubelet's directory speaks for it.
        world.api.apply(mirror(life, 3));
        world.pass_time(2 * PERIOD).await;
        assert_eq!(world.evidence(2).await, "it is not listed, but the kubelet still has a directory of it");
        world.api.apply(mirror(life, 2));
        world.pass_time(PERIOD).await;
        assert_eq!(world.evidence(2).await, "the pod source lists it");
        world.has_all(&[1, 2, 3, 4], "static pods");
    }
    // Removed forever.
    world.api.delete("ns", "pod-2");
    std::fs::remove_dir(world.kubelet_directory(2)).unwrap();
    world.is_removed(2, "a static pod that was removed").await;
    world.has_all(&[1, 3, 4], "static pods");
}

#[actix_rt::test]
async fn a_uid_that_reappears_is_active_again() {
    let world = confirmed_but_refused().await;
    assert!(world.evidence(2).await.contains("the API server did not have it at"));
    // Its object is made again before anything of it was removed; only the watch reports that.
    world.api.apply(pod(2));
    world.exchange().await;
    world.allow_removals();
    world.pass_time(2 * PERIOD).await;
    assert_eq!(world.state(2).await, Active);
    world.has_all(&[2], "it is there again");
    // Deleted again, and confirmed, when something of it appears that was not there: no old confirmation covers that.
    world.refuse_removals();
    world.api.delete("ns", "pod-2");
    world.pass_time(REMOVED_WITHIN).await;
    assert_eq!(world.state(2).await, Deleted);
    let sandbox = world.sim().sandbox_ids().into_iter().find(|id| {
        world.sim().with(|node| node.sandbox(id).is_some_and(|sandbox| sandbox.spec.uid == uid(2)))
    });
    world.api.fail(On::Get, Some(Fault::Status(500)));
    world
        .sim()
        .add_container(ended(world.sim(), &sandbox.unwrap(), 1).created_at(world.sim().now()))
        .unwrap();
    world.allow_removals();
    world.pass_time(REMOVED_WITHIN).await;
    assert_eq!(left_of(world.sim(), 2), ALL, "the newest container, by the limits of a pod that may live");
    world.api.fail(On::Get, None);
    world.is_removed(2, "asked for once more").await;
}

#[actix_rt::test]
async fn a_uid_that_was_there_for_a_moment_has_to_be_confirmed_again() {
    let world = confirmed_but_refused().await;
    // Between two passes: none of them sees it listed.
    world.api.fail(On::Get, Some(Fault::Status(500)));
    world.api.apply(pod(2));
    world.exchange().await;
    world.api.delete("ns", "pod-2");
    world.exchange().await;
    world.allow_removals();
    world.pass_time(REMOVED_WITHIN).await;
    world.has_all(&[1, 2], "what was confirmed before it was seen again");
    world.api.fail(On::Get, None);
    world.is_removed(2, "asked for again").await;
}

/// One that runs is active although no source lists it, and one of a name that no path can have is never requested.
#[actix_rt::test]
async fn a_pod_whose_get_fails_delays_no_other() {
    let before = Before::new();
    before.living(1);
    let sim = &before.setup.sim;
    living_pod(sim, 2);
    let odd = cri_gc_sim::PodSpec::new("ns", "No_Name of Kubernetes", uid(3)).created_at(sim.ago(HOUR));
    sim.add_pod(odd.not_ready().with(|pod| pod.log_directory = false)).unwrap();
    for number in 4..=9 {
        dead_pod(sim, number);
    }
    let before = before.set("pods.max_newly_deleted_percent", "100");
    let world = before.start().await;
    world.pass_time(REMOVED_WITHIN).await;
    assert_eq!((world.state(2).await, world.state(3).await), (Active, Unknown));
    assert!(world.evidence(3).await.contains("is no name of Kubernetes"), "{}", world.evidence(3).await);
    for number in 4..=9 {
        assert_eq!(left_of(world.sim(), number), NOTHING, "{number}");
    }
    world.has_all(&[1, 2], "they run");
}

/// A small node: the API server itself says of each pod that it is not there.
#[actix_rt::test]
async fn nine_of_ten_pods_of_a_node_are_removed_without_waiting_for_ten_minutes() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    let many: Vec<usize> = (11..=19).collect();
    many.iter().for_each(|number| world.dead_but_listed(*number));
    world.pass_time(2 * PERIOD).await;
    many.iter().for_each(|number| assert!(world.api.delete("ns", &format!("pod-{number}"))));
    world.pass_time(REMOVED_WITHIN).await;
    for number in &many {
        assert_eq!(left_of(world.sim(), *number), NOTHING, "{number}");
    }
    assert!(world.api.count(On::Get) >= 9, "each was asked for");
}

/// What an administrator confirms applies to the pods, not to what is confirmed by then: the kubelet takes its time.
#[actix_rt::test]
async fn a_confirmed_pod_remains_deleted_although_its_directory_is_removed_later() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    let (postponed, later): (Vec<usize>, Vec<usize>) = ((11..=40).collect(), (41..=60).collect());
    postponed.iter().chain(&later).for_each(|number| world.dead_but_listed(*number));
    later.iter().for_each(|number| std::fs::create_dir(world.kubelet_directory(*number)).unwrap());
    world.pass_time(2 * PERIOD).await;
    for number in postponed.iter().chain(&later) {
        assert!(world.api.delete("ns", &format!("pod-{number}")));
    }
    world.pass_time(REMOVED_WITHIN).await;
    world.has_all(&postponed, "the brake");
    assert_eq!(world.stage.service.tools.pods.confirm().await, Some(30));
    world.pass_time(REMOVED_WITHIN).await;
    for number in &postponed {
        assert_eq!(left_of(world.sim(), *number), NOTHING, "{number}");
    }
    world.has_all(&later, "the directories of the kubelet");
    later.iter().for_each(|number| std::fs::remove_dir(world.kubelet_directory(*number)).unwrap());
    world.pass_time(REMOVED_WITHIN).await;
    for number in &later {
        assert_eq!(left_of(world.sim(), *number), NOTHING, "{number}: {}", world.evidence(*number).await);
    }
    world.has_all(&[1], "it lives");
}

#[actix_rt::test]
async fn many_that_vanish_at_once_wait_for_agreeing_lists_or_a_confirmation() {
    let before = Before::new();
    before.living(1);
    let world = before.start().await;
    let many: Vec<usize> = (11..=30).collect();
    many.iter().for_each(|number| world.dead_but_listed(*number));
    world.pass_time(2 * PERIOD).await;
    many.iter().for_each(|number| assert!(world.api.delete("ns", &format!("pod-{number}"))));
    world.pass_time(5 * PERIOD).await;
    world.has_all(&many, "the brake");
    assert!(world.evidence(11).await.contains("too many pods disappeared at once"));
    assert_eq!(world.api.count(On::Get), 0);
    let notes = world.source().await.notes;
    assert!(notes.iter().any(|note| note.starts_with("20 of 21 pods disappeared at once")), "{notes:?}");
    // The confirmation of an administrator allows a get of each, no more.
    world.api.apply(pod(30));
    world.api.delete("ns", "pod-30");
    world.api.freeze_lists();
    let confirmed = world.stage.service.tools.pods.confirm().await.unwrap();
    assert!((19..=20).contains(&confirmed), "{confirmed}");
    world.pass_time(REMOVED_WITHIN).await;
    for number in &many {
        assert_eq!(left_of(world.sim(), *number), NOTHING, "{number}");
    }
    assert!(world.api.count(On::Get) >= 20);
    assert_eq!(left_of(world.sim(), 1), ALL);
    assert_eq!(world.sim().count(Method::RemovePodSandbox), 20, "each as a whole");
}

#[actix_rt::test]
async fn a_page_of_pods_that_a_worker_parses_is_a_list_as_any_other() {
    let before = Before::new();
    // More than is parsed on the actor's thread.
    (1..=480).for_each(|number| before.api.apply(pod(number)));
    before.living(1);
    dead_pod(&before.setup.sim, 500);
    let world = before.start().await;
    assert_eq!(world.api.count(On::List), 1);
    world.pass_time(2 * PERIOD + REMOVED_WITHIN).await;
    assert_eq!((world.state(1).await, left_of(world.sim(), 500)), (Active, NOTHING));
}
