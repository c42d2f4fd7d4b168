//! Passes of image GC: what is never removed, what is removed for its age, and what a failure does.

use std::time::Duration;

use cri_gc_collectors::report::Outcome;
use cri_gc_config::Mode;
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Fault, Flavour, ImageSpec, Method, Options, Scope};
use cri_gc_test_support::{
    flavours::{flavour, options},
    on_each_flavour,
};

use super::bed::{Bed, HOUR, MIB, MINUTE, SECOND, errors, kept_for, outcome, removed};

on_each_flavour!(
    what_is_used_pinned_protected_or_the_sandbox_image_is_never_removed,
    a_container_made_from_an_image_between_plan_and_removal_saves_the_image,
    the_containers_are_listed_again_before_every_removal,
    without_what_the_decision_needs_no_image_is_removed,
    where_the_check_fails_its_image_is_kept,
    a_capacity_of_nothing_is_named_and_removes_nothing,
    statistics_that_are_not_ready_are_named_and_remove_nothing,
    a_mountpoint_that_vanished_is_named_and_removes_nothing,
    an_image_unused_for_too_long_is_removed_whatever_the_disk_usage,
    an_image_younger_than_min_age_is_passed_over,
    in_report_mode_no_image_is_removed,
    next_to_a_kubelet_images_are_still_collected,
    an_image_is_removed_by_its_full_id_with_all_its_names,
);

/// A full node whose images may be removed at once, one after the other.
fn full() -> Bed {
    let mut bed = Bed::with(Options { capacity_bytes: 10_000 * MIB, ..options() });
    bed.settings.image_gc.min_age = Duration::ZERO;
    bed.settings.image_gc.parallel_removals = 1;
    bed
}

fn fill(bed: &Bed) {
    bed.sim.with(|node| node.fill_to_percent(95));
}

fn what_is_used_pinned_protected_or_the_sandbox_image_is_never_removed() {
    let mut bed = full();
    bed.settings.image_gc.protect = vec!["registry.example.com/edge/*".parse().unwrap()];
    let used = bed.image("used:1", 100);
    let by_dead = bed.image("dead:1", 100);
    let pinned = bed.sim.add_image(ImageSpec::single("pinned:1", MIB, MIB).with(|image| image.pinned = true));
    let protected = bed.image("registry.example.com/edge/modem:7", 100);
    let free = bed.image("free:1", 100);
    let pod = bed.living_pod(1);
    bed.sim.add_container(ContainerSpec::new(&pod, "app").image("used:1")).unwrap();
    bed.sim.add_container(bed.ended_spec(&pod, "job", 0).image("dead:1")).unwrap();
    fill(&bed);
    let report = bed.run(async |crew| crew.images().await);
    // containerd 1.6 pins nothing.
    let (pinned_is_removed, mut gone) = (!flavour().pins_images(), removed(&report));
    gone.sort();
    let mut expected = if pinned_is_removed { vec![free, pinned.clone()] } else { vec![free] };
    expected.sort();
    assert_eq!(gone, expected);
    assert_eq!(bed.sim.count(Method::RemoveImage), expected.len());
    assert_eq!(kept_for(&report, &used).as_deref(), Some("in_use"));
    assert_eq!(kept_for(&report, &by_dead).as_deref(), Some("in_use"));
    if !pinned_is_removed {
        assert_eq!(kept_for(&report, &pinned).as_deref(), Some("pinned"));
    }
    assert_eq!(kept_for(&report, &protected).as_deref(), Some("protected"));
    assert_eq!(bed.sim.image_ids().len(), 6 - expected.len(), "the sandbox image is one of them");
}

#[test]
fn the_sandbox_image_is_kept_where_the_runtime_pins_none() {
    for flavour in [Flavour::Containerd16, Flavour::CriO] {
        let options = Options { flavour, pin_sandbox_image: false, ..Options::default() };
        let mut bed = Bed::with(Options { capacity_bytes: 10_000 * MIB, ..options });
        bed.settings.image_gc.min_age = Duration::ZERO;
        fill(&bed);
        let report = bed.run(async |crew| crew.images().await);
        assert_eq!(bed.harmful_calls(), 0, "{flavour:?}");
        assert!(report.kept.iter().any(|kept| kept.item.reason == "sandbox_image"), "{report:?}");
    }
}

#[test]
fn a_status_with_nothing_in_it_says_nothing_of_the_sandbox_image() {
    let options = Options { flavour: Flavour::CriO, pin_sandbox_image: false, ..Options::default() };
    let mut bed = Bed::with(Options { capacity_bytes: 10_000 * MIB, ..options });
    bed.settings.image_gc.min_age = Duration::ZERO;
    fill(&bed);
    bed.sim.fault(Method::Status, Fault::Empty, Scope::Always);
    let report = bed.run(async |crew| crew.images().await);
    assert_eq!(bed.harmful_calls(), 0);
    assert!(
        errors(&report).iter().any(|error| error.contains("Status: the answer holds no status")),
        "{report:?}"
    );
}

fn a_container_made_from_an_image_between_plan_and_removal_saves_the_image() {
    for state in [ContainerState::Created, ContainerState::Running, ContainerState::Exited] {
        let bed = full();
        let (first, second) = (bed.image("a:1", 100), bed.image("b:1", 100));
        let pod = bed.living_pod(1);
        fill(&bed);
        // The first list of containers is that of the plan; each later one is a check.
        bed.sim.before_nth(Method::ListContainers, 2, move |node, _| {
            for image in ["a:1", "b:1"] {
                let container = ContainerSpec::new(&pod, image).image(image).state(state).no_log();
                node.add_container(container).unwrap();
            }
        });
        let report = bed.run(async |crew| crew.images().await);
        for id in [&first, &second] {
            assert_eq!(kept_for(&report, id).as_deref(), Some("in_use"), "{state:?}: {report:?}");
        }
        assert_eq!(bed.harmful_calls(), 0);
    }
}

fn the_containers_are_listed_again_before_every_removal() {
    let bed = full();
    (0..5).for_each(|n| drop(bed.image(&format!("app:{n}"), 100)));
    fill(&bed);
    bed.run(async |crew| crew.images().await);
    let calls = bed.sim.calls();
    let removals = calls.iter().enumerate().filter(|(_, call)| call.method == Method::RemoveImage);
    assert_eq!(removals.clone().count(), 5);
    for (at, _) in removals {
        assert_eq!(calls[at - 1].method, Method::ListContainers);
    }
}

fn without_what_the_decision_needs_no_image_is_removed() {
    for method in [Method::Status, Method::ListImages, Method::ListContainers, Method::ListPodSandbox] {
        let mut bed = full();
        // Neither for the space nor for their age.
        bed.settings.image_gc.max_age = SECOND;
        bed.image("free:1", 100);
        fill(&bed);
        bed.run(async |crew| {
            crew.observe_images().await;
            bed.sim.advance(HOUR);
            bed.sim.fault(method, Fault::error(Code::Unknown, "boom"), Scope::Always);
            let report = crew.images().await;
            assert!(report.removals.is_empty(), "{method}");
            let errors = errors(&report);
            assert!(errors.len() == 1 && errors[0].contains("boom"), "{method}: {errors:?}");
            assert_eq!(bed.harmful_calls(), 0, "{method}");
            bed.sim.clear_faults();
            assert_eq!(removed(&crew.images().await).len(), 1, "{method}: once it works again");
        });
    }
}

fn where_the_check_fails_its_image_is_kept() {
    let bed = full();
    let id = bed.image("free:1", 100);
    fill(&bed);
    let sim = bed.sim.clone();
    bed.sim.before_next(Method::ListContainers, move |_, _| {
        sim.fault(Method::ListContainers, Fault::error(Code::Unknown, "boom"), Scope::Always);
    });
    let report = bed.run(async |crew| crew.images().await);
    bed.sim.clear_hooks();
    assert!(matches!(outcome(&report, &id), Some(Outcome::Failed { .. })), "{report:?}");
    assert_eq!(bed.harmful_calls(), 0);
}

fn a_capacity_of_nothing_is_named_and_removes_nothing() {
    let bed = full();
    bed.image("free:1", 100);
    bed.sim.with(|node| node.disk.images.size.bytes = 0);
    let report = bed.run(async |crew| crew.images().await);
    let errors = errors(&report);
    assert!(errors.len() == 1 && errors[0].contains("InvalidDiskCapacity"), "{errors:?}");
    assert!(errors[0].contains(bed.sim.paths().images.to_str().unwrap()), "{errors:?}");
    assert_eq!(bed.harmful_calls(), 0);
}

fn statistics_that_are_not_ready_are_named_and_remove_nothing() {
    let bed = full();
    bed.image("free:1", 100);
    fill(&bed);
    bed.sim.fault(Method::ImageFsInfo, Fault::Empty, Scope::Times(1));
    let (first, second) = bed.run(async |crew| (crew.images().await, crew.images().await));
    let errors = errors(&first);
    assert!(errors.len() == 1 && errors[0].contains("may not be ready yet"), "{errors:?}");
    assert!(first.removals.is_empty());
    assert_eq!(removed(&second).len(), 1, "{second:?}");
}

fn a_mountpoint_that_vanished_is_named_and_removes_nothing() {
    let bed = full();
    let id = bed.image("free:1", 100);
    fill(&bed);
    bed.sim.with(|node| node.probe_error = Some(std::io::ErrorKind::NotFound));
    let report = bed.run(async |crew| crew.images().await);
    let errors = errors(&report);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains(bed.sim.paths().images.to_str().unwrap()) && errors[0].contains("mounted"));
    assert_eq!(kept_for(&report, &id).as_deref(), Some("usage_unknown"));
    assert_eq!(bed.harmful_calls(), 0);
}

fn an_image_unused_for_too_long_is_removed_whatever_the_disk_usage() {
    for measurable in [true, false] {
        let mut bed = full();
        bed.settings.image_gc.max_age = HOUR;
        let (old, used) = (bed.image("old:1", 100), bed.image("used:1", 100));
        let pod = bed.living_pod(1);
        bed.sim.add_container(ContainerSpec::new(&pod, "app").image("used:1")).unwrap();
        bed.run(async |crew| {
            assert!(crew.images().await.removals.is_empty());
            bed.sim.advance(HOUR);
            assert!(crew.images().await.removals.is_empty(), "not for longer than max_age yet");
            bed.sim.advance(SECOND);
            let young = bed.image("young:1", 100);
            if !measurable {
                bed.sim.with(|node| node.probe_error = Some(std::io::ErrorKind::NotFound));
            }
            let report = crew.images().await;
            assert_eq!(removed(&report), std::slice::from_ref(&old), "measurable: {measurable}");
            assert_eq!(report.removals[0].reason, "unused_too_long");
            assert!(bed.sim.image_ids().contains(&used) && bed.sim.image_ids().contains(&young));
        });
    }
}

fn an_image_younger_than_min_age_is_passed_over() {
    let mut bed = full();
    bed.settings.image_gc.min_age = 2 * MINUTE;
    let old = bed.image("old:1", 100);
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(2 * MINUTE);
        let young = bed.image("young:1", 100);
        fill(&bed);
        let report = crew.images().await;
        assert_eq!(removed(&report), [old]);
        assert_eq!(kept_for(&report, &young).as_deref(), Some("too_young"));
    });
}

fn in_report_mode_no_image_is_removed() {
    let mut bed = full();
    bed.settings.image_gc.mode = Mode::Report;
    let ids: Vec<String> = (0..3).map(|n| bed.image(&format!("app:{n}"), 1000)).collect();
    fill(&bed);
    let report = bed.run(async |crew| crew.images().await);
    assert!(ids.iter().any(|id| outcome(&report, id) == Some(Outcome::WouldRemove)), "{report:?}");
    assert!(report.removals.iter().all(|removal| removal.outcome == Outcome::WouldRemove));
    assert_eq!(bed.harmful_calls(), 0);
    assert_eq!(bed.sim.image_ids().len(), 4);
}

fn next_to_a_kubelet_images_are_still_collected() {
    let bed = full();
    let id = bed.image("free:1", 100);
    std::fs::create_dir_all(bed.settings.pods.kubelet_root.join("pods/some-pod")).unwrap();
    fill(&bed);
    let report = bed.run(async |crew| crew.images().await);
    assert_eq!(removed(&report), [id]);
}

fn an_image_is_removed_by_its_full_id_with_all_its_names() {
    let bed = full();
    let id = bed.sim.add_image(ImageSpec::single("app:1", MIB, MIB).tag("app:2").tag("other:3"));
    fill(&bed);
    let report = bed.run(async |crew| crew.images().await);
    assert_eq!(bed.calls(Method::RemoveImage), std::slice::from_ref(&id));
    assert!(!bed.sim.image_ids().contains(&id));
    assert!(report.removals[0].name.contains("app:1"), "{report:?}");
}
