//! Images and the disk, as with containerd where CRI-O ([`super::crio`]) differs: removal, shared layers, sizes that are hints,
//! freed space that is reported late.

use std::path::Path;
use std::time::Duration;

use crate::bed::{Bed, MIB, code};
use cri_gc_sim::{Code, ContainerSpec, ImageSpec, LayerSpec, Options, Space};
use cri_gc_test_support::{flavours::options, on_each_flavour};

on_each_flavour!(
    #[tokio::test] async:
    reported_sizes_count_shared_layers_in_every_image_and_the_disk_stores_them_once,
    removing_an_image_frees_only_what_no_other_has,
    freed_space_is_reported_after_the_release_delay,
    writable_layers_are_on_the_file_system_of_containers_if_there_is_one,
    other_bytes_and_writable_layers_take_space_on_the_images_file_system,
);

/// Two images on a common base: 30/80 MiB shared, 10/20 and 5/12 of their own.
fn shared(bed: &Bed) -> (String, String) {
    let base = LayerSpec::new("base", 30 * MIB, 80 * MIB).files(1000);
    let one =
        ImageSpec::new("one:1").layer(base.clone()).layer(LayerSpec::new("x", 10 * MIB, 20 * MIB).files(10));
    let two = ImageSpec::new("two:1").layer(base).layer(LayerSpec::new("y", 5 * MIB, 12 * MIB).files(20));
    (bed.sim.add_image(one), bed.sim.add_image(two))
}

/// A node whose only images are those of the test.
fn bare(options: Options) -> Bed {
    Bed::with(Options { sandbox_image_present: false, ..options })
}

async fn reported_sizes_count_shared_layers_in_every_image_and_the_disk_stores_them_once() {
    let mut bed = bare(options());
    let (one, two) = shared(&bed);
    let images = bed.list_images().await;
    let size = |id: &str| images.iter().find(|image| image.id == id).unwrap().size;
    assert_eq!((size(&one), size(&two)), (40 * MIB, 35 * MIB));
    let usage = bed.sim.usage();
    assert_eq!((usage.content.bytes, usage.snapshots.bytes), (45 * MIB, 112 * MIB));
    assert_eq!(usage.snapshots.inodes, 1030);
    assert_eq!(bed.available(), 40 * 1024 * MIB - 157 * MIB);
}

async fn removing_an_image_frees_only_what_no_other_has() {
    let mut bed = bare(options());
    let (one, two) = shared(&bed);
    let full = bed.available();
    bed.remove_image(&one).await.unwrap();
    assert_eq!(bed.available() - full, 30 * MIB, "its own layer, packed and unpacked");
    bed.remove_image(&two).await.unwrap();
    assert_eq!(bed.available(), 40 * 1024 * MIB);
    assert_eq!(bed.sim.usage(), Default::default());
}

#[tokio::test]
async fn a_container_keeps_the_snapshots_of_its_removed_image() {
    let mut bed = bare(options());
    let (one, two) = shared(&bed);
    let pod = bed.pod("a");
    let spec = ContainerSpec::new(&pod, "app")
        .image("one:1")
        .with(|spec| spec.writable = Space { bytes: 3 * MIB, inodes: 7 });
    let container = bed.sim.add_container(spec).unwrap();
    bed.remove_image(&one).await.unwrap();
    let usage = bed.sim.usage();
    assert_eq!(
        (usage.content.bytes, usage.snapshots.bytes),
        (35 * MIB, 112 * MIB),
        "only packed bytes are freed"
    );
    bed.remove_image(&two).await.unwrap();
    assert_eq!(bed.sim.usage().snapshots.bytes, 100 * MIB, "base and x, for the container");
    assert_eq!(bed.list_all().await.remove(0).image_ref, one, "it still names the image");
    bed.remove(&container).await.unwrap();
    assert_eq!(bed.sim.usage(), Default::default());
}

#[tokio::test]
async fn a_layer_that_a_container_kept_counts_once_when_its_image_returns() {
    let mut bed = bare(options());
    let image = || ImageSpec::single("app:1", 10, 100);
    bed.sim.add_image(image());
    let pod = bed.pod("a");
    let container = bed.sim.add_container(ContainerSpec::new(&pod, "app").image("app:1")).unwrap();
    bed.remove_image("app:1").await.unwrap();
    bed.sim.add_image(image());
    let usage = bed.sim.usage();
    assert_eq!((usage.content.bytes, usage.snapshots.bytes), (10, 100));
    bed.remove(&container).await.unwrap();
    assert_eq!(bed.sim.usage(), usage);
}

#[tokio::test]
async fn removal_ignores_use_and_pin_and_removes_all_tags() {
    for by_tag in [true, false] {
        let mut bed = Bed::new();
        let spec =
            ImageSpec::single("app:1", 1, 1).tag("quay.io/team/app:latest").with(|image| image.pinned = true);
        let id = bed.sim.add_image(spec);
        let pod = bed.pod("a");
        bed.sim.add_container(ContainerSpec::new(&pod, "app").image("app:1")).unwrap();
        assert!(bed.list_images().await.iter().any(|image| image.id == id && image.pinned));
        bed.remove_image(if by_tag { "quay.io/team/app:latest" } else { &id }).await.unwrap();
        assert!(bed.list_images().await.iter().all(|image| image.id != id));
        assert!(bed.sim.with(|node| node.image("app:1").is_none()));
        assert_eq!(bed.list_all().await.len(), 1, "the container is kept");
    }
}

#[tokio::test]
async fn an_image_is_found_by_short_names_digests_and_beginnings_of_its_id() {
    let hex = "ab".repeat(32);
    let digest = format!("docker.io/library/app@sha256:{}", "cd".repeat(32));
    for name in
        ["app:1", "docker.io/library/app:1", &digest, &hex, &hex[..5], &format!("sha256:{}", &hex[..5])]
    {
        let mut bed = bare(options());
        let spec = ImageSpec::single("app:1", 1, 1)
            .id(format!("sha256:{hex}"))
            .with(|image| image.digests = Some(vec![digest.clone()]));
        bed.sim.add_image(spec);
        bed.remove_image("app:2").await.unwrap();
        assert_eq!(bed.sim.image_ids().len(), 1);
        bed.remove_image(name).await.unwrap();
        assert!(bed.sim.image_ids().is_empty(), "{name}");
    }
    let mut bed = bare(options());
    bed.sim.add_image(ImageSpec::new("a:1").id(format!("sha256:aa{}", "0".repeat(62))));
    bed.sim.add_image(ImageSpec::new("b:1").id(format!("sha256:ab{}", "0".repeat(62))));
    assert_eq!(code(bed.remove_image("sha256:a").await), Code::Unknown);
    assert_eq!(bed.sim.image_ids().len(), 2);
}

async fn freed_space_is_reported_after_the_release_delay() {
    let delay = Duration::from_secs(7);
    let mut bed = bare(options());
    bed.sim.with(|node| node.disk.release_delay = delay);
    let (one, _) = shared(&bed);
    let before = bed.available();
    bed.remove_image(&one).await.unwrap();
    bed.sim.advance(Duration::from_secs(6));
    assert_eq!(bed.available(), before);
    assert_eq!(bed.sim.usage().unreleased.bytes, 30 * MIB);
    bed.sim.step_clock(bed.sim.ago(Duration::from_secs(3600)));
    bed.sim.advance(Duration::from_secs(1));
    assert_eq!(bed.available() - before, 30 * MIB, "a step of the wall clock is no passing of time");
    assert_eq!(bed.sim.usage().unreleased.bytes, 0);
}

#[tokio::test]
async fn the_runtimes_own_usage_is_up_to_10_s_old() {
    let mut bed = bare(options());
    let used = |info: &cri_gc_proto::cri::ImageFsInfoResponse| {
        info.image_filesystems[0].used_bytes.as_ref().unwrap().value
    };
    bed.sim.advance(Duration::from_secs(4));
    let (one, _) = shared(&bed);
    assert_eq!(used(&bed.fs_info().await), 0);
    bed.sim.advance(Duration::from_secs(5));
    assert_eq!(used(&bed.fs_info().await), 0);
    bed.sim.advance(Duration::from_secs(2));
    let info = bed.fs_info().await;
    assert_eq!(used(&info), 112 * MIB, "snapshots, not the content store");
    assert_eq!(info.image_filesystems[0].inodes_used.as_ref().unwrap().value, 1030);
    let counted_at = bed.sim.ago(Duration::from_secs(1)).as_nanosecond();
    assert_eq!(i128::from(info.image_filesystems[0].timestamp), counted_at);
    bed.remove_image(&one).await.unwrap();
    assert_eq!(used(&bed.fs_info().await), 112 * MIB);
    bed.sim.advance(Duration::from_secs(10));
    assert_eq!(used(&bed.fs_info().await), 92 * MIB);
}

#[tokio::test]
async fn one_file_system_of_images_is_reported_and_none_of_containers() {
    let mut bed = Bed::new();
    let info = bed.fs_info().await;
    assert!(info.container_filesystems.is_empty());
    let mountpoint = info.image_filesystems[0].fs_id.as_ref().unwrap().mountpoint.clone();
    assert_eq!((info.image_filesystems.len(), Path::new(&mountpoint)), (1, bed.sim.paths().images.as_path()));
    assert!(Path::new(&mountpoint).is_dir());
    let probe = bed.sim.fs_probe();
    assert_eq!(probe(Path::new(&mountpoint)).unwrap().capacity_bytes, 40 * 1024 * MIB);
    assert!(probe(&bed.sim.paths().containers_fs).is_err());
    assert!(probe(Path::new("/")).is_err());
}

async fn writable_layers_are_on_the_file_system_of_containers_if_there_is_one() {
    let mut bed = Bed::with(Options {
        separate_container_fs: true,
        container_capacity_bytes: 100 * MIB,
        container_inodes: 500,
        ..options()
    });
    let images_before = bed.available();
    let pod = bed.pod("a");
    let id = bed
        .sim
        .add_container(
            ContainerSpec::new(&pod, "app")
                .with(|spec| spec.writable = Space { bytes: 30 * MIB, inodes: 40 }),
        )
        .unwrap();
    assert_eq!(bed.available(), images_before);
    let info = bed.fs_info().await;
    let mountpoint = &info.container_filesystems[0].fs_id.as_ref().unwrap().mountpoint;
    let stats = || bed.sim.fs_probe()(Path::new(mountpoint)).unwrap();
    assert_eq!((stats().available_bytes, stats().inodes_free), (70 * MIB, 460));
    bed.sim.with(|node| node.set_writable(&id, 10 * MIB, 5)).unwrap();
    assert_eq!((stats().available_bytes, stats().inodes_free), (90 * MIB, 495));
}

async fn other_bytes_and_writable_layers_take_space_on_the_images_file_system() {
    let bed = bare(Options { capacity_bytes: 1000 * MIB, inodes: 5000, ..options() });
    shared(&bed);
    bed.sim.with(|node| node.disk.stored.other.bytes = 600 * MIB);
    bed.sim.with(|node| node.disk.stored.other.inodes = 70);
    let stats = bed.sim.fs_probe()(&bed.sim.paths().images).unwrap();
    assert_eq!((stats.available_bytes, stats.inodes_free), ((1000 - 600 - 157) * MIB, 5000 - 70 - 1030));
    bed.sim.with(|node| node.fill_to_percent(90));
    assert_eq!(bed.available(), 100 * MIB);
    bed.sim.with(|node| node.disk.stored.other.bytes = 2000 * MIB);
    assert_eq!(bed.available(), 0, "over-full is full");
    bed.sim.with(|node| node.probe_error = Some(std::io::ErrorKind::PermissionDenied));
    assert!(bed.sim.fs_probe()(&bed.sim.paths().images).is_err());
}

#[tokio::test]
async fn a_sandbox_keeps_the_snapshots_of_the_sandbox_image() {
    let mut bed = Bed::new();
    let pod = bed.pod("a");
    let image = bed.sim.image_ids().remove(0);
    bed.remove_image(&image).await.unwrap();
    let usage = bed.sim.usage();
    assert!(usage.content.bytes == 0 && usage.snapshots.bytes > 0, "{usage:?}");
    bed.remove_sandbox(&pod).await.unwrap();
    assert_eq!(bed.sim.usage(), Default::default());
}
