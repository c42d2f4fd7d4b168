//! Images in use by whatever field of a container names them, and as image volumes, on each flavour.

use std::time::Duration;

use cri_gc_collectors::report::PassReport;
use cri_gc_sim::{ContainerSpec, ImageSpec, Method, Options};
use cri_gc_test_support::flavours::{flavour, options};
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, MIB, kept_for, removed};

on_each_flavour!(
    an_image_that_any_field_of_a_container_names_is_in_use,
    an_image_that_is_mounted_into_a_container_is_in_use_though_its_tag_moved_on,
);

/// A node of which all images that may be removed have to, one after the other.
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

/// An image whose id is above those of all others, which is therefore removed last.
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
        // A digest that no image is listed with any more; the requested name still names one.
        let asked = if by_id { &used } else { "r.example/web:v2" };
        let gone = format!("r.example/web@sha256:{}", "a".repeat(64));
        bed.sim
            .add_container(
                ContainerSpec::new(&pod, "app")
                    .image(asked)
                    .with(|spec| spec.image_ref = Some(gone.to_owned())),
            )
            .unwrap();
        let report = images(&bed);
        assert_eq!(kept_for(&report, &used).as_deref(), Some("in_use"), "{report:?}");
        assert_eq!(removed(&report), [free]);
    }
}

fn an_image_that_is_mounted_into_a_container_is_in_use_though_its_tag_moved_on() {
    if !flavour().has_image_volumes() {
        return;
    }
    let bed = full();
    let (app, model) = (bed.image("app:1", 100), bed.image("model:1", 100));
    let free = last_in_line(&bed);
    let pod = bed.living_pod(1);
    // As a kubelet asks: by id.
    let spec = || ContainerSpec::new(&pod, "app").image("app:1").image_volume(&model);
    bed.sim.add_container(spec()).unwrap();
    bed.sim.with(|node| node.move_tag("model:1", "app:1")).unwrap();
    let report = images(&bed);
    for id in [&app, &model] {
        assert_eq!(kept_for(&report, id).as_deref(), Some("in_use"), "{report:?}");
        assert!(!bed.calls(Method::RemoveImage).contains(id));
    }
    assert_eq!(removed(&report), [free]);
    bed.sim.add_container(spec().attempt(1)).unwrap();
}
