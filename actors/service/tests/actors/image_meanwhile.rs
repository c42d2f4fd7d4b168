//! Image GC between its questions: what appears, disappears and is pulled again while images are checked, removed and confirmed.

use std::time::Duration;

use cri_gc_collectors::report::Outcome;
use cri_gc_collectors::whole;
use cri_gc_policy::report::Item;
use cri_gc_sim::{Code, ContainerSpec, Fault, Flavour, ImageSpec, LayerSpec, Method, Options, Scope};

use super::bed::{Bed, HOUR, MIB, MINUTE, kept_for, outcome, removed};
use super::image_removed::{bed, fill};
use super::plans::plan;

fn ids(items: &[Item]) -> Vec<String> {
    items.iter().map(|item| item.id.to_string()).collect()
}

fn id_of(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

#[test]
fn what_only_happens_to_say_in_use_by_is_a_failure() {
    for text in [
        "acquiring lock /var/lib/containers/storage/storage.lock: it is in use by process 17",
        "deleting layer 5a0d: layer is in use by an image",
        "unmounting: device /dev/mapper/thin-5 is in use by the kernel",
    ] {
        let bed = bed(Flavour::CriO);
        let a = bed.image("a:1", 100);
        fill(&bed, 95);
        bed.sim.fault(Method::RemoveImage, Fault::error(Code::Unknown, text), Scope::Always);
        let report = bed.run(async |crew| crew.images().await);
        assert!(
            matches!(outcome(&report, &a), Some(Outcome::Failed { .. })),
            "{text}: {:?}",
            outcome(&report, &a)
        );
    }
}

#[test]
fn what_is_kept_keeps_its_record_where_it_cannot_be_read() {
    let bed = bed(Flavour::CriO);
    let a = bed.image("a:1", 100);
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(HOUR);
        fill(&bed, 95);
        bed.sim.with(|node| node.image_mut(&a).unwrap().kept_on_removal = true);
        bed.sim.fault(Method::ImageStatus, Fault::error(Code::Unknown, "boom"), Scope::Always);
        crew.images().await;
        let seen = whole::look(&crew.tools, &bed.settings).await.unwrap().observation;
        let image = seen.images.iter().find(|image| image.id == a).unwrap();
        let age = seen.taken_at.duration_since(image.first_detected.unwrap());
        assert!(age.as_hours() >= 1, "age {age:?}");
    });
}

#[test]
fn a_name_of_two_images_is_not_removed_for_one_of_them() {
    let bed = bed(Flavour::CriO);
    // The embedded runtime gives a tag to one image only, so the artifact lists it among its digests. CRI-O has a store for each.
    let shared = "r.example/x:1".to_owned();
    let pinned = ImageSpec::single("r.example/x:1", 50 * MIB, 50 * MIB)
        .id(id_of('0'))
        .with(|image| image.pinned = true);
    let pinned = bed.sim.add_image(pinned);
    let mut artifact = ImageSpec::single("r.example/y:1", 50 * MIB, 50 * MIB)
        .id(id_of('f'))
        .with(|image| image.digests = Some(vec![shared.clone()]))
        .with(|image| image.artifact = true);
    artifact.tags.clear();
    let artifact = bed.sim.add_image(artifact);
    fill(&bed, 95);
    let report = bed.run(async |crew| crew.images().await);
    assert!(
        bed.sim.image_ids().contains(&pinned),
        "the pinned one is removed: {:?}",
        bed.calls(Method::RemoveImage)
    );
    assert!(matches!(outcome(&report, &artifact), Some(Outcome::Failed { .. })), "{report:?}");
}

#[test]
fn a_copy_pulled_right_after_the_removal_is_not_removed_by_its_names() {
    // On CRI-O it can't be distinguished from an artifact that its id does not remove.
    for flavour in [Flavour::Containerd16, Flavour::Containerd21] {
        let mut bed = bed(flavour);
        bed.settings.image_gc.min_age = 2 * MINUTE;
        let spec = || ImageSpec::single("a:1", 50 * MIB, 50 * MIB).id(id_of('a'));
        let a = bed.sim.add_image(spec());
        bed.run(async |crew| {
            crew.observe_images().await;
            bed.sim.advance(HOUR);
            fill(&bed, 95);
            bed.sim.before_next(Method::ImageStatus, move |node, _| drop(node.add_image(spec())));
            let report = crew.images().await;
            assert!(bed.sim.image_ids().contains(&a), "{flavour:?}: {:?}", outcome(&report, &a));
        });
    }
}

#[test]
fn a_copy_pulled_after_a_pass_that_was_cut_short_is_young() {
    let mut bed = bed(Flavour::Containerd21);
    bed.settings.image_gc.min_age = 2 * MINUTE;
    bed.settings.image_gc.deadline = Duration::from_secs(3);
    let spec = || ImageSpec::single("a:1", 50 * MIB, 50 * MIB).id(id_of('a'));
    let a = bed.sim.add_image(spec());
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(HOUR);
        fill(&bed, 95);
        bed.sim.fault(Method::ImageStatus, Fault::Hang, Scope::Always);
        let report = crew.images().await;
        assert_eq!(outcome(&report, &a), Some(Outcome::Removed), "{report:?}");
        bed.sim.clear_faults();
        assert!(!bed.sim.image_ids().contains(&a), "precondition: it is removed");
        bed.sim.add_image(spec());
        bed.sim.advance(10 * Duration::from_secs(1));
        fill(&bed, 95);
        let report = crew.images().await;
        assert_eq!(kept_for(&report, &a).as_deref(), Some("too_young"), "{:?}", outcome(&report, &a));
    });
}

#[test]
fn an_image_volume_of_a_removed_container_is_removed_as_planned_with_max_age() {
    let mut bed = bed(Flavour::Containerd21);
    bed.settings.image_gc.max_age = 20 * MINUTE;
    (bed.settings.image_gc.high_threshold_percent, bed.settings.image_gc.low_threshold_percent) = (100, 100);
    bed.settings.pods.runtime_grace = MINUTE;
    let (_app, model) = (bed.image("app:1", 100), bed.image("model:1", 100));
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(3 * HOUR);
        let sandbox = bed.dead_pod(1);
        let spec = bed.ended_spec(&sandbox, "job", 0).image("app:1").image_volume("model:1");
        let job = bed.sim.add_container(spec).unwrap();
        let plan = plan(&bed, crew).await;
        assert_eq!(ids(&plan.containers.remove), [job.as_str()]);
        let section = &plan.images.section;
        let mut listed = [ids(&section.remove), ids(&section.follow)].concat();
        assert_eq!(removed(&crew.containers().await), [job]);
        let report = crew.images().await;
        let mut swept = removed(&report);
        listed.sort();
        swept.sort();
        assert_eq!(swept, listed, "model {model}: {report:?}\n{:?}", section.keep);
    });
}

#[test]
fn an_image_volume_of_a_removed_container_is_removed_as_planned_for_lack_of_space() {
    let mut bed = bed(Flavour::Containerd21);
    bed.settings.pods.runtime_grace = MINUTE;
    bed.settings.image_gc.high_threshold_percent = 85;
    bed.settings.image_gc.low_threshold_percent = 84;
    let truthful =
        |tag: &str| bed.sim.add_image(ImageSpec::single(tag, 0, 0).layer(LayerSpec::new(tag, 100 * MIB, 0)));
    let (other, model) = (truthful("other:1"), truthful("model:1"));
    bed.image("app:1", 100);
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(3 * HOUR);
        // The other one was used ten minutes ago.
        let pod = bed.living_pod(2);
        let short = bed.sim.add_container(ContainerSpec::new(&pod, "short").image("other:1")).unwrap();
        crew.observe_images().await;
        bed.sim.with(|node| node.remove_container(&short).unwrap());
        bed.sim.advance(10 * MINUTE);
        let sandbox = bed.dead_pod(1);
        let spec = bed.ended_spec(&sandbox, "job", 0).image("app:1").image_volume("model:1");
        let job = bed.sim.add_container(spec).unwrap();
        fill(&bed, 85);
        let plan = plan(&bed, crew).await;
        assert_eq!(ids(&plan.containers.remove), [job.as_str()]);
        let section = &plan.images.section;
        let listed = [ids(&section.remove), ids(&section.follow)].concat();
        assert_eq!(removed(&crew.containers().await), [job]);
        let report = crew.images().await;
        assert_eq!(removed(&report), listed, "other {other} model {model}\n{:?}", section.keep);
    });
}

#[test]
fn a_name_that_the_image_gets_between_the_two_lists_of_the_check_counts() {
    let mut bed = Bed::with(Options {
        capacity_bytes: 10_000 * MIB,
        flavour: Flavour::CriO,
        container_image_ids: false,
        ..Options::default()
    });
    bed.settings.image_gc.min_age = Duration::ZERO;
    bed.settings.image_gc.parallel_removals = 1;
    let a = bed.sim.add_image(ImageSpec::single("old:1", 50 * MIB, 50 * MIB).id(id_of('a')));
    let pod = bed.living_pod(1);
    fill(&bed, 95);
    let digest = format!("r.example/new@sha256:{}", "e".repeat(64));
    bed.sim.before_nth(Method::ListContainers, 2, move |node, _| {
        // Pulled by another name, and a container made of it.
        node.add_image(
            ImageSpec::new("r.example/new:1")
                .id(id_of('a'))
                .with(|image| image.digests = Some(vec![digest.clone()])),
        );
        node.add_container(
            ContainerSpec::new(&pod, "app")
                .image("r.example/new:1")
                .with(|spec| spec.image_ref = Some(digest.clone())),
        )
        .unwrap();
    });
    let report = bed.run(async |crew| crew.images().await);
    bed.sim.clear_hooks();
    assert_eq!(kept_for(&report, &a).as_deref(), Some("in_use"), "{:?}", outcome(&report, &a));
}

#[test]
fn a_volume_by_a_name_that_the_image_gets_between_the_two_lists_of_the_check_counts() {
    let bed = bed(Flavour::Containerd21);
    let a = bed.sim.add_image(ImageSpec::single("model:1", 50 * MIB, 50 * MIB).id(id_of('a')));
    let pod = bed.living_pod(1);
    fill(&bed, 95);
    bed.sim.before_nth(Method::ListContainers, 2, move |node, _| {
        node.add_image(ImageSpec::new("model:2").id(id_of('a')));
        node.add_container(ContainerSpec::new(&pod, "app").image_volume("model:2")).unwrap();
    });
    let report = bed.run(async |crew| crew.images().await);
    bed.sim.clear_hooks();
    assert!(bed.sim.image_ids().contains(&a), "it is mounted: {:?}", outcome(&report, &a));
}

#[test]
fn a_tag_that_moves_to_the_image_while_a_new_container_is_read_counts() {
    let bed = bed(Flavour::Containerd21);
    let a = bed.sim.add_image(ImageSpec::single("model:1", 50 * MIB, 50 * MIB).id(id_of('a')));
    let pod = bed.living_pod(1);
    bed.sim
        .add_image(ImageSpec::single("other:1", MIB, MIB).id(id_of('b')).with(|image| image.pinned = true));
    fill(&bed, 95);
    let asked = pod.clone();
    bed.sim.before_nth(Method::ListContainers, 2, move |node, _| {
        node.add_container(ContainerSpec::new(&asked, "new")).unwrap();
    });
    bed.sim.before_nth(Method::ListContainers, 3, move |node, _| {
        node.move_tag("other:1", "model:1").unwrap();
        node.add_container(ContainerSpec::new(&pod, "app").image_volume("other:1")).unwrap();
    });
    let report = bed.run(async |crew| crew.images().await);
    bed.sim.clear_hooks();
    assert!(bed.sim.image_ids().contains(&a), "it is mounted: {:?}", outcome(&report, &a));
}

#[test]
fn an_image_that_is_pinned_between_plan_and_removal_is_kept() {
    let bed = bed(Flavour::Containerd21);
    let a = bed.image("a:1", 100);
    fill(&bed, 95);
    // The first list of images is that of the plan.
    bed.sim.before_nth(Method::ListImages, 2, move |node, _| {
        node.set_pinned("a:1", true);
    });
    let report = bed.run(async |crew| crew.images().await);
    bed.sim.clear_hooks();
    assert_eq!(kept_for(&report, &a).as_deref(), Some("pinned"), "{report:?}");
    assert_eq!(bed.harmful_calls(), 0);
}

#[test]
fn an_image_that_a_loop_saw_in_use_since_the_plan_is_kept() {
    for flavour in Flavour::ALL {
        let bed = bed(flavour);
        let a = bed.image("a:1", 100);
        fill(&bed, 95);
        let report = bed.run(async |crew| {
            // A job that has ended and is removed: no list has its container any more.
            let (images, clock) = (crew.tools.images.clone(), crew.tools.clock.clone());
            bed.sim.before_nth(Method::ListImages, 2, move |_, _| {
                images.seen(["a:1"], clock.moment());
            });
            let report = crew.images().await;
            bed.sim.clear_hooks();
            report
        });
        assert_eq!(kept_for(&report, &a).as_deref(), Some("in_use"), "{flavour:?}: {report:?}");
        assert_eq!(bed.harmful_calls(), 0);
    }
}

#[test]
fn an_image_that_the_confirming_list_has_again_is_young() {
    for flavour in Flavour::ALL {
        let bed = bed(flavour);
        let spec = || ImageSpec::single("a:1", 50 * MIB, 50 * MIB).id(id_of('a'));
        let a = bed.sim.add_image(spec());
        bed.run(async |crew| {
            crew.observe_images().await;
            bed.sim.advance(HOUR);
            fill(&bed, 95);
            // Those of the plan, of the check, and of the confirmation.
            bed.sim.before_nth(Method::ListImages, 3, move |node, _| {
                node.add_image(spec());
            });
            let report = crew.images().await;
            bed.sim.clear_hooks();
            assert!(matches!(outcome(&report, &a), Some(Outcome::Failed { .. })), "{flavour:?}: {report:?}");
            assert_eq!(report.freed_bytes, 0, "nothing is freed by what is there");
            let seen = whole::look(&crew.tools, &bed.settings).await.unwrap().observation;
            let image = seen.images.iter().find(|image| image.id == a).unwrap();
            let first_detected = image.first_detected.unwrap_or(seen.taken_at);
            assert!(seen.taken_at.duration_since(first_detected).as_secs() < 60, "{flavour:?}: {image:?}");
        });
    }
}
