//! Image GC: which images a container uses, what counts as removed, and what one failure hides.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cri_gc_collectors::report::Outcome;
use cri_gc_collectors::whole;
use cri_gc_kit::seams::FsProbe;
use cri_gc_sim::{Code, ContainerSpec, Fault, Flavour, ImageSpec, LayerSpec, Method, Options, Scope};

use super::bed::{Bed, HOUR, MIB, MINUTE, SECOND, errors, kept_for, outcome, removed};
use super::plans::plan_and_problems;

/// A node of that runtime on which one image of the tests uses one percent of the disk.
pub fn bed(flavour: Flavour) -> Bed {
    let mut bed = Bed::with(Options { capacity_bytes: 10_000 * MIB, flavour, ..Options::default() });
    bed.settings.image_gc.min_age = Duration::ZERO;
    bed.settings.image_gc.parallel_removals = 1;
    bed
}

pub fn fill(bed: &Bed, percent: u64) {
    bed.sim.with(|node| node.fill_to_percent(percent));
}

fn with_volumes() -> impl Iterator<Item = Flavour> {
    Flavour::ALL.into_iter().filter(|flavour| flavour.has_image_volumes())
}

// ---- What is in use ----

#[test]
fn an_image_that_is_mounted_as_a_volume_is_kept_and_each_container_is_read_once() {
    for flavour in with_volumes() {
        let mut bed = bed(flavour);
        let (used, model) = (bed.image("app:1", 100), bed.image("model:1", 100));
        let pod = bed.living_pod(1);
        let app = ContainerSpec::new(&pod, "app").image("app:1").image_volume("model:1");
        bed.sim.add_container(app).unwrap();
        bed.sim.add_container(ContainerSpec::new(&pod, "other").image("app:1")).unwrap();
        bed.settings.image_gc.low_threshold_percent = 1;
        fill(&bed, 95);
        bed.run(async |crew| {
            for _ in 0..3 {
                bed.image("free:1", 100);
                let report = crew.images().await;
                assert_eq!(removed(&report).len(), 1, "{flavour:?}: {report:?}");
                for id in [&used, &model] {
                    assert_eq!(kept_for(&report, id).as_deref(), Some("in_use"), "{flavour:?}");
                }
            }
        });
        assert_eq!(bed.sim.count(Method::ContainerStatus), 2, "once for each container");
    }
}

#[test]
fn while_nothing_is_to_be_removed_no_container_is_read() {
    for flavour in Flavour::ALL {
        let bed = bed(flavour);
        bed.image("app:1", 100);
        let pod = bed.living_pod(1);
        bed.sim.add_container(ContainerSpec::new(&pod, "app")).unwrap();
        bed.run(async |crew| assert!(crew.images().await.is_good()));
        assert_eq!(bed.sim.count(Method::ContainerStatus), 0);
    }
}

#[test]
fn a_volume_that_comes_between_plan_and_removal_saves_its_image() {
    for flavour in with_volumes() {
        let bed = bed(flavour);
        let model = bed.image("model:1", 100);
        let pod = bed.living_pod(1);
        fill(&bed, 95);
        // The first list of containers is that of the plan.
        bed.sim.before_nth(Method::ListContainers, 2, move |node, _| {
            node.add_container(ContainerSpec::new(&pod, "app").image_volume("model:1")).unwrap();
        });
        let report = bed.run(async |crew| crew.images().await);
        bed.sim.clear_hooks();
        assert_eq!(kept_for(&report, &model).as_deref(), Some("in_use"), "{flavour:?}: {report:?}");
        assert_eq!(bed.harmful_calls(), 0);
    }
}

#[test]
fn a_container_whose_volumes_cannot_be_read_keeps_all_images() {
    for flavour in Flavour::ALL {
        let bed = bed(flavour);
        let free = bed.image("free:1", 100);
        let pod = bed.living_pod(1);
        let id = bed.sim.add_container(ContainerSpec::new(&pod, "app")).unwrap();
        fill(&bed, 95);
        bed.sim.fault(Method::ContainerStatus, Fault::error(Code::Unknown, "boom"), Scope::Always);
        bed.run(async |crew| {
            let report = crew.images().await;
            assert!(errors(&report).iter().any(|e| e.contains(&id) && e.contains("boom")), "{report:?}");
            assert_eq!(kept_for(&report, &free).as_deref(), Some("use_unknown"), "{report:?}");
            assert_eq!(bed.harmful_calls(), 0);
            bed.sim.clear_faults();
            assert_eq!(removed(&crew.images().await).len(), 1);
        });
    }
}

#[test]
fn after_a_restart_of_cri_o_a_container_is_known_by_what_is_left_of_its_names() {
    for image_ids in [true, false] {
        let options = Options { container_image_ids: image_ids, ..Options::default() };
        let mut bed = Bed::with(Options { capacity_bytes: 10_000 * MIB, flavour: Flavour::CriO, ..options });
        bed.settings.image_gc.min_age = Duration::ZERO;
        let web = bed.image("web:1", 100);
        let pod = bed.living_pod(1);
        // Asked for by its id, as after a pull by a kubelet.
        bed.sim.add_container(ContainerSpec::new(&pod, "web").image(&web)).unwrap();
        // The digest by which the container names it is listed no more.
        bed.sim.with(|node| node.image_mut("web:1").unwrap().digests.clear());
        fill(&bed, 95);
        let report = bed.run(async |crew| crew.images().await);
        assert_eq!(kept_for(&report, &web).as_deref(), Some("in_use"), "{report:?}");
        assert_eq!(bed.harmful_calls(), 0);
    }
}

// ---- What counts as removed ----

/// Six artifacts, which are first in line, and an image behind them.
fn artifacts(bed: &Bed) -> (Vec<String>, String) {
    let spec = |n| {
        ImageSpec::single(format!("artifact:{n}"), 50 * MIB, 50 * MIB).with(|image| image.artifact = true)
    };
    let artifacts = (0..6).map(|n| bed.sim.add_image(spec(n))).collect();
    (artifacts, bed.image("zzz:1", 100))
}

#[test]
fn an_artifact_that_its_id_does_not_remove_is_removed_by_its_digest() {
    let mut bed = bed(Flavour::CriO);
    let (artifacts, image) = artifacts(&bed);
    bed.settings.image_gc.low_threshold_percent = 1;
    fill(&bed, 95);
    let report = bed.run(async |crew| crew.images().await);
    let gone = removed(&report);
    assert!(artifacts.iter().chain([&image]).all(|id| gone.contains(id)), "{report:?}");
    assert_eq!(bed.sim.image_ids().len(), 1, "the sandbox image");
}

#[test]
fn an_image_is_tried_by_its_other_names_where_one_is_not_understood_or_cannot_be_read() {
    for status_fails in [false, true] {
        let mut bed = bed(Flavour::CriO);
        let (artifacts, image) = artifacts(&bed);
        bed.settings.image_gc.low_threshold_percent = 1;
        fill(&bed, 95);
        let digest = bed.sim.with(|node| node.image("artifact:0").unwrap().digests[0].clone());
        bed.sim.fault(Method::RemoveImage, Fault::error(Code::Unknown, "boom"), Scope::ForId(digest));
        if status_fails {
            bed.sim.fault(Method::ImageStatus, Fault::error(Code::Unknown, "boom"), Scope::Always);
        }
        let report = bed.run(async |crew| crew.images().await);
        let gone = removed(&report);
        assert!(artifacts.iter().chain([&image]).all(|id| gone.contains(id)), "{report:?}");
    }
}

#[test]
fn what_the_runtime_has_removed_is_forgotten_also_where_no_list_confirms_it() {
    for flavour in Flavour::ALL {
        let bed = bed(flavour);
        // The same content, so that the copy which is pulled later has the same id.
        let spec = || ImageSpec::single("a:1", 50 * MIB, 50 * MIB).id(format!("sha256:{}", "a".repeat(64)));
        let first = bed.sim.add_image(spec());
        bed.run(async |crew| {
            crew.observe_images().await;
            bed.sim.advance(HOUR);
            fill(&bed, 86);
            let sim = bed.sim.clone();
            bed.sim.before_next(Method::ImageStatus, move |_, _| {
                sim.fault(Method::ListImages, Fault::error(Code::Unknown, "boom"), Scope::Times(1));
            });
            let report = crew.images().await;
            assert_eq!(errors(&report)[0], "ListImages: boom", "{flavour:?}");
            bed.sim.clear_hooks();
            // Pulled again before anybody listed the images: it is another copy, and as young as that.
            let again = bed.sim.add_image(spec());
            assert_eq!(again, first);
            let seen = whole::look(&crew.tools, &bed.settings).await.unwrap().observation;
            let image = seen.images.iter().find(|image| image.id == again).unwrap();
            let first_detected = image.first_detected.unwrap_or(seen.taken_at);
            assert!(seen.taken_at.duration_since(first_detected).as_secs() < 60, "{flavour:?}: {image:?}");
        });
    }
}

#[test]
fn what_the_runtime_claims_to_have_removed_and_lists_has_failed_and_the_next_ones_are_removed() {
    for flavour in Flavour::ALL {
        let bed = bed(flavour);
        let stubborn: Vec<String> = (0..6).map(|n| bed.image(&format!("a:{n}"), 100)).collect();
        bed.run(async |crew| {
            crew.observe_images().await;
            bed.sim.advance(HOUR);
            let free = bed.image("b:1", 100);
            fill(&bed, 95);
            bed.sim.with(|node| {
                stubborn.iter().for_each(|id| node.image_mut(id).unwrap().kept_on_removal = true)
            });
            let report = crew.images().await;
            assert_eq!(removed(&report), [free], "{flavour:?}");
            for id in &stubborn {
                let Some(Outcome::Failed { error }) = outcome(&report, id) else { panic!("{report:?}") };
                assert!(error.contains("still lists it"), "{error}");
            }
            let freed = report.removals.iter().map(|removal| removal.bytes).sum::<u64>();
            assert_eq!(freed, 100 * MIB / 3, "only what is removed is counted");
            // It keeps its record: it is as old as before.
            let seen = whole::look(&crew.tools, &bed.settings).await.unwrap().observation;
            let age = |id: &String| {
                let image = seen.images.iter().find(|image| image.id == *id).unwrap();
                seen.taken_at.duration_since(image.first_detected.unwrap())
            };
            assert!(stubborn.iter().all(|id| age(id).as_hours() >= 1));
        });
    }
}

#[test]
fn an_image_that_something_else_uses_is_kept_and_tried_again_after_growing_pauses() {
    let mut bed = bed(Flavour::CriO);
    bed.settings.image_gc.period = HOUR / 60;
    let (used, free) = (bed.image("a:1", 100), bed.image("b:1", 100));
    bed.sim.with(|node| node.image_mut("a:1").unwrap().held_by = Some("another".to_owned()));
    fill(&bed, 95);
    bed.run(async |crew| {
        let report = crew.images().await;
        assert_eq!(kept_for(&report, &used).as_deref(), Some("in_use_elsewhere"), "{report:?}");
        assert_eq!(removed(&report), [free]);
        assert_eq!(report.counts.failed, 0);
        let mut tries = Vec::new();
        for minute in 1..30 {
            bed.sim.advance(HOUR / 60);
            let before = bed.sim.count(Method::RemoveImage);
            let report = crew.images().await;
            assert_eq!(kept_for(&report, &used).as_deref(), Some("in_use_elsewhere"), "{report:?}");
            if bed.sim.count(Method::RemoveImage) > before {
                tries.push(minute);
            }
        }
        assert_eq!(tries, [1, 3, 7, 15]);
        bed.sim.with(|node| node.image_mut("a:1").unwrap().held_by = None);
        bed.sim.advance(HOUR);
        assert_eq!(removed(&crew.images().await), [used]);
    });
}

#[test]
fn an_old_pause_image_that_cri_o_still_uses_is_no_failure() {
    let bed = bed(Flavour::CriO);
    bed.living_pod(1);
    let old = bed.sim.with(|node| node.image("registry.k8s.io/pause:3.10").unwrap().id.clone());
    bed.sim.add_image(ImageSpec::single("registry.k8s.io/pause:3.11", MIB, MIB));
    bed.sim.with(|node| node.set_sandbox_image("registry.k8s.io/pause:3.11"));
    fill(&bed, 95);
    let report = bed.run(async |crew| crew.images().await);
    assert_eq!(kept_for(&report, &old).as_deref(), Some("in_use_elsewhere"), "{report:?}");
}

// ---- One failure hides nothing else ----

#[test]
fn without_knowing_where_images_lie_they_are_removed_for_their_age() {
    for flavour in Flavour::ALL {
        let mut bed = bed(flavour);
        bed.settings.image_gc.max_age = 3 * SECOND;
        let old = bed.image("old:1", 100);
        fill(&bed, 95);
        bed.run(async |crew| {
            crew.observe_images().await;
            bed.sim.advance(HOUR);
            let young = bed.image("young:1", 100);
            bed.sim.fault(Method::ImageFsInfo, Fault::error(Code::Unknown, "boom"), Scope::Always);
            let report = crew.images().await;
            assert_eq!(removed(&report), std::slice::from_ref(&old), "{flavour:?}: {report:?}");
            assert_eq!(kept_for(&report, &young).as_deref(), Some("usage_unknown"), "{report:?}");
            assert!(errors(&report).join("; ").contains("boom"), "{report:?}");
        });
    }
}

#[test]
fn one_failing_call_hides_nothing_that_can_be_known_without_its_answer() {
    let calls = |method| {
        let bed = bed(Flavour::CriO);
        bed.image("a:1", 100);
        bed.living_pod(1);
        bed.sim.fault(method, Fault::error(Code::Unknown, "boom"), Scope::Always);
        let seen = bed.run(async |crew| whole::look(&crew.tools, &bed.settings).await.unwrap());
        assert_eq!(seen.problems.len(), 1, "{method}: {:?}", seen.problems);
        let seen = seen.observation;
        (seen.sandboxes.len(), seen.images.len(), seen.filesystems.len())
    };
    assert_eq!(calls(Method::ImageFsInfo), (1, 2, 0));
    assert_eq!(calls(Method::Status), (1, 2, 1));
    assert_eq!(calls(Method::ListImages), (1, 0, 1));
    assert_eq!(calls(Method::ListContainers), (0, 2, 1));
}

#[test]
fn where_a_used_image_would_seem_unused_none_is_removed() {
    for method in [Method::Status, Method::ListContainers, Method::ListPodSandbox, Method::ContainerStatus] {
        let bed = bed(Flavour::Containerd21);
        let free = bed.image("free:1", 100);
        let pod = bed.living_pod(1);
        bed.sim.add_container(ContainerSpec::new(&pod, "app")).unwrap();
        fill(&bed, 95);
        bed.sim.fault(method, Fault::error(Code::Unknown, "boom"), Scope::Always);
        let (plan, problems) = bed.run(async |crew| plan_and_problems(&bed, crew).await);
        assert_eq!(problems.len(), 1, "{method}: {problems:?}");
        assert!(plan.images.section.remove.is_empty(), "{method}: {plan:?}");
        let kept = plan.images.section.keep.iter().find(|item| item.id == free).unwrap();
        assert_eq!(kept.reason, "use_unknown", "{method}: {kept:?}");
    }
}

/// Has the disks fail from the measurement of that number on, counted from 1, for so many.
fn fails(bed: &mut Bed, mountpoint: &'static str, from: usize, count: usize) {
    let (probe, measured) = (bed.sim.fs_probe(), Arc::new(AtomicUsize::new(0)));
    bed.probe = FsProbe::new(move |path| {
        let number = if path.ends_with(mountpoint) { measured.fetch_add(1, SeqCst) + 1 } else { 0 };
        if number >= from && number < from + count { Err(io::Error::other("boom")) } else { probe(path) }
    });
}

#[test]
fn a_disk_that_cannot_be_measured_any_more_ends_the_removals_and_is_reported_once() {
    for failures in [1, 3, usize::MAX / 2] {
        let mut bed = bed(Flavour::Containerd21);
        // The first measurement is that of the plan, the second follows the first image.
        fails(&mut bed, "snapshotter", 2, failures);
        for number in 0..15 {
            // Of a size of which only one is removed before the next measurement.
            bed.sim.add_image(ImageSpec::single(format!("app:{number}"), 300 * MIB, MIB));
        }
        fill(&bed, 90);
        let report = bed.run(async |crew| crew.images().await);
        assert_eq!(removed(&report).len(), 1, "{report:?}");
        assert_eq!(errors(&report).iter().filter(|error| error.contains("boom")).count(), 1, "{report:?}");
        assert_eq!(report.freed_bytes, 0, "nothing is freed on paper");
    }
}

#[test]
fn the_images_of_rule_1_are_removed_before_the_disk_is_judged() {
    for flavour in Flavour::ALL {
        let mut bed = bed(flavour);
        bed.settings.image_gc.max_age = HOUR;
        let old: Vec<String> = (0..6).map(|n| bed.image(&format!("old:{n}"), 100)).collect();
        bed.run(async |crew| {
            crew.observe_images().await;
            bed.sim.advance(2 * HOUR);
            bed.image("young:1", 100);
            fill(&bed, 86);
            let report = crew.images().await;
            let mut gone = removed(&report);
            gone.sort();
            let mut old = old.clone();
            old.sort();
            assert_eq!(gone, old, "{flavour:?}: 80 percent after them: {report:?}");
        });
    }
}

#[test]
fn images_that_are_removed_for_their_age_count_only_as_far_as_they_free_something() {
    let mut bed = bed(Flavour::Containerd21);
    bed.settings.image_gc.max_age = HOUR;
    // It shares what is large with an image that is kept.
    let layer = || LayerSpec::new("shared", 500 * MIB, 500 * MIB);
    let old = bed.sim.add_image(ImageSpec::new("old:1").layer(layer()));
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(2 * HOUR);
        let pod = bed.living_pod(1);
        bed.sim.add_image(ImageSpec::new("used:1").layer(layer()));
        bed.sim.add_container(ContainerSpec::new(&pod, "app").image("used:1")).unwrap();
        let young: Vec<String> = (0..10).map(|n| bed.image(&format!("young:{n}"), 100)).collect();
        fill(&bed, 86);
        let report = crew.images().await;
        let gone = removed(&report);
        assert_eq!(gone[0], old, "{report:?}");
        // By the sizes the old one would have been enough; by the measure six more are needed.
        assert_eq!(gone.iter().filter(|id| young.contains(id)).count(), 6, "{report:?}");
        assert_eq!(bed.used_percent(), 80);
    });
}

#[test]
fn of_many_images_that_are_removed_together_few_lists_are_made() {
    const IMAGES: usize = 40;
    for flavour in Flavour::ALL {
        let mut bed = Bed::with(Options { flavour, ..Options::default() });
        (bed.settings.image_gc.min_age, bed.settings.image_gc.max_age) = (Duration::ZERO, SECOND);
        (0..IMAGES).for_each(|number| drop(bed.image(&format!("old-{number}:1"), 1)));
        bed.run(async |crew| {
            crew.observe_images().await;
            bed.sim.advance(MINUTE);
            bed.sim.clear_calls();
            let report = crew.images().await;
            assert_eq!(report.counts.removed, IMAGES as u64, "{flavour:?}");
            // Without any list that is used for two of them it would be more than one for each.
            let (lists, asked) = (bed.sim.count(Method::ListImages), bed.sim.count(Method::ImageStatus));
            assert!(lists < IMAGES, "{flavour:?}: {lists} lists");
            // What is not listed for an image is asked of it, as is whether it is gone.
            assert!(lists + asked >= 2 * IMAGES, "{flavour:?}: {lists} lists, {asked} questions");
        });
    }
}
