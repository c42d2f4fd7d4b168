//! The closed loop of image GC: it uses what it measures, not the reported sizes.

use std::time::Duration;

use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_sim::{Code, ContainerSpec, Fault, ImageSpec, LayerSpec, Method, Options, Scope};
use cri_gc_test_support::{flavours::options, on_each_flavour};

use super::bed::{Bed, MIB, SECOND, errors, outcome, removed};

on_each_flavour!(
    it_stops_at_the_low_threshold_though_the_sizes_promise_less_or_as_much,
    it_continues_where_the_removals_free_less_than_the_sizes,
    it_continues_though_the_first_ones_free_next_to_nothing,
    where_nothing_is_freed_it_stops_after_five_and_reports_what_is_left,
    below_the_high_threshold_it_removes_nothing_and_from_there_on_down_to_the_low_one,
    inodes_alone_can_start_it,
    what_uses_the_disk_is_reported_where_images_are_not_enough,
    an_image_that_cannot_be_removed_is_passed_over_and_tried_once,
    a_runtime_that_dies_ends_the_pass_and_is_reported_once,
    it_waits_for_a_runtime_that_frees_space_late,
    a_file_system_that_vanishes_in_between_ends_the_pass,
    every_image_is_reported_once,
);

const CAPACITY: u64 = 100_000 * MIB;

fn bed() -> Bed {
    let mut bed = Bed::with(Options { capacity_bytes: CAPACITY, ..options() });
    bed.settings.image_gc.min_age = Duration::ZERO;
    bed.settings.image_gc.parallel_removals = 1;
    bed
}

/// Images that each use one percent of the disk, of which the runtime reports `reported` thousandths.
fn one_percent_each(bed: &Bed, count: usize, reported: u64) {
    for number in 0..count {
        let (compressed, size) = (reported * MIB, 1000 * MIB);
        let image = ImageSpec::single(format!("app:{number}"), compressed, size - compressed);
        bed.sim.add_image(image);
    }
}

fn collect(bed: &Bed, percent: u64) -> PassReport {
    bed.sim.with(|node| node.fill_to_percent(percent));
    bed.run(async |crew| crew.images().await)
}

fn it_stops_at_the_low_threshold_though_the_sizes_promise_less_or_as_much() {
    for reported in [300, 500, 1000] {
        let bed = bed();
        one_percent_each(&bed, 40, reported);
        let report = collect(&bed, 90);
        assert!(report.is_good(), "{reported}: {report:?}");
        assert_eq!(bed.used_percent(), 80, "reported {reported}");
        assert_eq!(removed(&report).len(), 10, "reported {reported}: never more than the measure asks for");
        assert!(report.freed_bytes >= 9_900 * MIB, "{}", report.freed_bytes);
    }
}

fn it_continues_where_the_removals_free_less_than_the_sizes() {
    let bed = bed();
    // Of what is reported, nearly all is one layer that all of them share.
    for number in 0..20 {
        let own = LayerSpec::new(format!("own-{number}"), MIB, 999 * MIB);
        let shared = LayerSpec::new("shared", 5_000 * MIB, MIB);
        bed.sim.add_image(ImageSpec::new(format!("app:{number}")).layer(shared).layer(own));
    }
    let report = collect(&bed, 90);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(removed(&report).len(), 10);
    assert_eq!(bed.used_percent(), 80);
}

fn it_continues_though_the_first_ones_free_next_to_nothing() {
    let bed = bed();
    // The first nine to be removed share what is large with the tenth.
    for number in 0..10 {
        let shared = LayerSpec::new("shared", 4_000 * MIB, 8_000 * MIB);
        let own = LayerSpec::new(format!("own-{number}"), MIB, MIB);
        bed.sim.add_image(ImageSpec::new(format!("app:{number}")).layer(shared).layer(own));
    }
    let report = collect(&bed, 90);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(removed(&report).len(), 10);
    assert!(bed.used_percent() <= 80);
}

fn where_nothing_is_freed_it_stops_after_five_and_reports_what_is_left() {
    let bed = bed();
    for number in 0..10 {
        let layer = LayerSpec::new("shared", 4_000 * MIB, 8_000 * MIB);
        bed.sim.add_image(ImageSpec::new(format!("app:{number}")).layer(layer));
    }
    let report = collect(&bed, 90);
    assert_eq!(removed(&report).len(), 5);
    let said = errors(&report).join("; ");
    assert!(said.contains("freed no space, so 5 images (19.5 GiB) are left for a later pass"), "{said}");
    assert!(said.contains("protected images 302.7 KiB"), "{said}");
    // A new pass tries the others.
    assert!(collect(&bed, 90).is_good());
}

fn below_the_high_threshold_it_removes_nothing_and_from_there_on_down_to_the_low_one() {
    let bed = bed();
    one_percent_each(&bed, 40, 300);
    let report = collect(&bed, 84);
    assert!(report.removals.is_empty() && report.is_good());
    assert_eq!(bed.harmful_calls(), 0);
    let report = collect(&bed, 85);
    assert_eq!(removed(&report).len(), 5);
    assert_eq!(bed.used_percent(), 80);
}

fn inodes_alone_can_start_it() {
    let mut bed = bed();
    bed.settings.image_gc.inode_high_threshold_percent = 85;
    bed.settings.image_gc.inode_low_threshold_percent = 80;
    let inodes = 2_621_440;
    for number in 0..20 {
        let layer = LayerSpec::new(format!("own-{number}"), MIB, MIB).files(inodes / 100 + 1);
        bed.sim.add_image(ImageSpec::new(format!("app:{number}")).layer(layer));
    }
    bed.sim.with(|node| node.disk.stored.other.inodes = inodes * 67 / 100);
    let report = bed.run(async |crew| crew.images().await);
    assert!(report.is_good(), "{report:?}");
    assert!(report.removals.iter().all(|removal| removal.reason == "inode_pressure"));
    let gone = removed(&report).len();
    assert!((6..=9).contains(&gone), "{gone} of 20");
}

fn what_uses_the_disk_is_reported_where_images_are_not_enough() {
    let mut bed = bed();
    bed.settings.image_gc.protect = vec!["kept".parse().unwrap()];
    one_percent_each(&bed, 3, 500);
    bed.image("used:1", 3000);
    bed.image("kept:1", 1500);
    let pod = bed.living_pod(1);
    bed.sim.add_container(ContainerSpec::new(&pod, "app").image("used:1")).unwrap();
    let report = collect(&bed, 95);
    assert_eq!(removed(&report).len(), 3);
    let errors = errors(&report);
    assert_eq!(errors.len(), 1, "{errors:?}");
    let said = &errors[0];
    assert!(said.starts_with("FreeDiskSpaceFailed"), "{said}");
    for part in ["in use 1000.0 MiB", "other data about ", bed.sim.paths().images.to_str().unwrap()] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!report.is_good());
}

fn an_image_that_cannot_be_removed_is_passed_over_and_tried_once() {
    let bed = bed();
    one_percent_each(&bed, 20, 500);
    let stuck =
        bed.sim.image_ids().into_iter().find(|id| bed.sim.with(|n| !n.image(id).unwrap().pinned)).unwrap();
    bed.sim.fault(
        Method::RemoveImage,
        Fault::error(Code::Unknown, "lease is held"),
        Scope::ForId(stuck.clone()),
    );
    let report = collect(&bed, 90);
    assert!(matches!(outcome(&report, &stuck), Some(Outcome::Failed { .. })), "{report:?}");
    assert_eq!(bed.used_percent(), 80, "others are removed in its place");
    assert_eq!(bed.calls(Method::RemoveImage).iter().filter(|id| **id == stuck).count(), 1);
}

fn a_runtime_that_dies_ends_the_pass_and_is_reported_once() {
    let bed = bed();
    one_percent_each(&bed, 20, 500);
    bed.sim.fault(Method::RemoveImage, Fault::Die, Scope::Times(1));
    let report = collect(&bed, 90);
    assert_eq!(report.removals.len(), 1, "{report:?}");
    let errors = errors(&report);
    let said = |text: &str| errors.iter().filter(|error| error.contains(text)).count();
    assert_eq!((said("the runtime is unreachable"), said("FreeDiskSpaceFailed")), (1, 0), "{errors:?}");
    assert_eq!(bed.sim.count(Method::RemoveImage), 1);
}

fn it_waits_for_a_runtime_that_frees_space_late() {
    let mut bed = bed();
    // Far longer than needed: a wait that works ends by itself.
    bed.settings.image_gc.settle = 8 * SECOND;
    one_percent_each(&bed, 40, 1000);
    bed.sim.with(|node| node.disk.release_delay = Duration::from_secs(5));
    bed.sim.with(|node| node.fill_to_percent(85));
    // Modelled time passes only at a measurement.
    let sim = bed.sim.clone();
    let report = bed.run(async |crew| {
        let pass = crew.images();
        let clock = async {
            loop {
                sim.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! { report = pass => report, () = clock => unreachable!() }
    });
    assert!(report.is_good(), "{report:?}");
    assert_eq!(removed(&report).len(), 5, "not one more for space that was only late");
    assert_eq!(bed.used_percent(), 80);
}

fn a_file_system_that_vanishes_in_between_ends_the_pass() {
    let bed = bed();
    one_percent_each(&bed, 40, 1000);
    bed.sim.before_next(Method::RemoveImage, |node, _| node.probe_error = Some(std::io::ErrorKind::NotFound));
    let report = collect(&bed, 85);
    assert_eq!(removed(&report).len(), 1, "{report:?}");
    assert!(errors(&report).iter().any(|error| error.contains("is it mounted")), "{report:?}");
}

fn every_image_is_reported_once() {
    for (reported, percent) in [(1000, 90), (100, 90), (300, 85), (300, 50)] {
        let bed = bed();
        one_percent_each(&bed, 20, reported);
        let report = collect(&bed, percent);
        let mut named: Vec<String> = report.removals.iter().map(|removal| removal.id.to_string()).collect();
        named.extend(report.kept.iter().map(|kept| kept.item.id.to_string()));
        named.sort();
        let mut all = bed.sim.image_ids();
        all.extend(removed(&report));
        all.sort();
        assert_eq!(named, all, "reported {reported}, {percent} percent");
    }
}
