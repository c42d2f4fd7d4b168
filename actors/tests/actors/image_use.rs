//! Images in use that no single field of a list tells: by whatever field names them, as image volumes, by another program of
//! the same store; and images whose removal is answered with OK and is none.

use std::time::Duration;

use cri_gc_actors::collector::{Outcome, PassReport};
use cri_gc_sim::{ContainerSpec, ImageSpec, Method, Options};
use cri_gc_test_support::flavours::{Flavour, flavour, options};
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, HOUR, MIB, kept_for, removed};

on_each_flavour!(
    an_image_that_any_field_of_a_container_names_is_in_use,
    an_image_that_is_mounted_into_a_container_is_in_use,
    an_artifact_that_is_not_removed_by_its_id_is_removed_by_a_name,
    artifacts_in_front_of_the_line_do_not_hold_up_the_others,
    an_image_that_another_program_uses_is_kept_and_is_no_failure,
    an_old_sandbox_image_is_kept_while_sandboxes_use_it_and_is_no_failure,
);

/// A node of which all images that may go have to, one after the other.
fn full_with(options: Options) -> Bed {
    let mut bed = Bed::with(Options { capacity_bytes: 10_000 * MIB, ..options });
    bed.settings.image_gc.min_age = Duration::ZERO;
    bed.settings.image_gc.parallel_removals = 1;
    bed
}

fn full() -> Bed {
    full_with(options())
}

fn fill(bed: &Bed) {
    bed.sim.with(|node| node.fill_to_percent(95));
}

fn images(bed: &Bed) -> PassReport {
    fill(bed);
    bed.run(async |crew| crew.images().await)
}

/// An image whose id is above those of all others, which therefore goes last.
fn last_in_line(bed: &Bed) -> String {
    bed.sim
        .add_image(ImageSpec::single("last:1", 100 * MIB, 100 * MIB).id(format!("sha256:{}", "f".repeat(64))))
}

fn an_image_that_any_field_of_a_container_names_is_in_use() {
    for by_id in [true, false] {
        let bed = full_with(Options { container_image_ids: false, ..options() });
        let used = bed.image("r.example/web:v2", 100);
        let free = last_in_line(&bed);
        let pod = bed.living_pod(1);
        // A digest that no image is listed with any more; what was asked for still names one.
        let asked = if by_id { &used } else { "r.example/web:v2" };
        let gone = format!("r.example/web@sha256:{}", "a".repeat(64));
        bed.sim.add_container(ContainerSpec::new(&pod, "app").image(asked).image_ref(gone)).unwrap();
        let report = images(&bed);
        assert_eq!(kept_for(&report, &used).as_deref(), Some("in_use"), "{report:?}");
        assert_eq!(removed(&report), [free]);
    }
}

fn an_image_that_is_mounted_into_a_container_is_in_use() {
    if !flavour().has_image_volumes() {
        return;
    }
    let bed = full();
    let (app, model) = (bed.image("app:1", 100), bed.image("model:1", 100));
    let free = last_in_line(&bed);
    let pod = bed.living_pod(1);
    let spec = || ContainerSpec::new(&pod, "app").image("app:1").image_volume("model:1");
    bed.sim.add_container(spec()).unwrap();
    // The tag may move on: the container has what it was made with.
    bed.sim.move_tag("model:1", "app:1").unwrap();
    let report = images(&bed);
    for id in [&app, &model] {
        assert_eq!(kept_for(&report, id).as_deref(), Some("in_use"), "{report:?}");
        assert!(!bed.asked(Method::RemoveImage).contains(id));
    }
    assert_eq!(removed(&report), [free]);
    bed.sim.add_container(spec().attempt(1)).unwrap();
}

fn an_artifact_that_is_not_removed_by_its_id_is_removed_by_a_name() {
    let mut bed = full();
    bed.settings.image_gc.max_age = HOUR;
    let artifact = bed.sim.add_image(ImageSpec::single("r.example/model:1", MIB, MIB).artifact());
    bed.run(async |crew| {
        crew.look_at_images().await;
        bed.sim.advance(2 * HOUR);
        let report = crew.images().await;
        assert_eq!(removed(&report), std::slice::from_ref(&artifact), "{report:?}");
        assert!(!bed.sim.image_ids().contains(&artifact), "it is still listed");
        assert!(crew.images().await.removals.is_empty());
    });
}

fn artifacts_in_front_of_the_line_do_not_hold_up_the_others() {
    let mut bed = full();
    for number in 0..6 {
        let id = format!("sha256:{number:064}");
        // Each of them more than a quarter of what is missing: they are tried one by one.
        let spec = ImageSpec::single(format!("r.example/a:{number}"), 1_000 * MIB, 0);
        bed.sim.add_image(spec.id(id).artifact());
    }
    let last = last_in_line(&bed);
    // Even without the artifacts there is too little room.
    bed.settings.image_gc.low_threshold_percent = 30;
    fill(&bed);
    let report = bed.run(async |crew| crew.images().await);
    assert!(removed(&report).contains(&last), "{report:?}");
}

fn an_image_that_another_program_uses_is_kept_and_is_no_failure() {
    let mut bed = full();
    bed.settings.image_gc.max_age = HOUR;
    bed.settings.image_gc.high_threshold_percent = 100;
    let (held, free) = (bed.image("build:1", 100), bed.image("free:1", 100));
    bed.sim.with(|node| node.hold_image("build:1")).unwrap();
    bed.run(async |crew| {
        crew.look_at_images().await;
        bed.sim.advance(2 * HOUR);
        let report = crew.images().await;
        assert!(report.is_good(), "{report:?}");
        assert!(removed(&report).contains(&free));
        if flavour() == Flavour::CriO {
            assert_eq!(kept_for(&report, &held).as_deref(), Some("in_use_elsewhere"), "{report:?}");
            assert_eq!(report.count(|outcome| matches!(outcome, Outcome::Failed { .. })), 0, "{report:?}");
        } else {
            // containerd shares its images with no other program.
            assert!(removed(&report).contains(&held));
        }
    });
}

fn an_old_sandbox_image_is_kept_while_sandboxes_use_it_and_is_no_failure() {
    let mut bed = full();
    bed.settings.image_gc.max_age = HOUR;
    bed.settings.image_gc.high_threshold_percent = 100;
    bed.living_pod(1);
    let old = bed.sim.image_ids().remove(0);
    let new = bed.image("reg.example/pause:9", 1);
    bed.sim.with(|node| node.set_sandbox_image("reg.example/pause:9"));
    bed.run(async |crew| {
        crew.look_at_images().await;
        bed.sim.advance(2 * HOUR);
        let report = crew.images().await;
        assert!(report.is_good(), "{report:?}");
        assert!(bed.sim.image_ids().contains(&new));
        match flavour() {
            // It does not need the image of a sandbox that runs.
            Flavour::Containerd16 => assert_eq!(removed(&report), [old]),
            // It keeps the pin.
            Flavour::Containerd21 => assert_eq!(kept_for(&report, &old).as_deref(), Some("pinned")),
            Flavour::CriO => assert_eq!(kept_for(&report, &old).as_deref(), Some("in_use_elsewhere")),
        }
    });
}
