//! What uses the disk: the sums of an observation, of which each object is in exactly one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: failing loudly is its job")]

use std::sync::Arc;
use std::time::Duration;

use cri_gc_policy::usage::{Decided, Disk, Layer, Sizes, Sum, Usage, UsedBy};
use cri_gc_policy::{
    Container, ContainerPolicy, ContainerState, FileSystem, FsStats, Image, ImagePolicy, Observation,
    PlanReport, Policy, SandboxPolicy, Thresholds, Unmanaged, decide,
};
use jiff::{SignedDuration, Timestamp};

const GIB: u64 = 1 << 30;
const UID: &str = "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5";

fn at(hours_ago: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() - SignedDuration::from_hours(hours_ago)
}

fn container(id: &str, state: ContainerState, image: &str) -> Arc<Container> {
    Arc::new(Container {
        id: id.into(),
        pod_uid: UID.into(),
        name: "web".into(),
        attempt: id.bytes().map(u32::from).sum(),
        state,
        created_at: Some(at(10 - i64::from(id.as_bytes()[0] - b'a'))),
        image_id: image.into(),
        ..Container::default()
    })
}

fn image(id: &str, gib: u64, pinned: bool) -> Image {
    Image {
        id: id.to_owned(),
        size_bytes: gib * GIB,
        pinned,
        first_detected: Some(at(20)),
        ..Image::default()
    }
}

fn disk(mountpoint: &str, used: u64, (images, containers, logs): (bool, bool, bool)) -> Disk {
    Disk {
        fs: FileSystem {
            mountpoint: mountpoint.to_owned(),
            holds_images: images,
            holds_containers: containers,
            stats: FsStats {
                capacity_bytes: 100 * GIB,
                available_bytes: (95 - used) * GIB,
                inodes: 10,
                inodes_free: 4,
            },
            reserved_bytes: 5 * GIB,
            ..FileSystem::default()
        },
        holds_logs: logs,
    }
}

fn observation() -> Observation {
    Observation {
        containers: vec![
            container("a", ContainerState::Exited, "used"),
            container("b", ContainerState::Exited, "used"),
            container("c", ContainerState::Running, "used"),
            container("d", ContainerState::Created, "used"),
        ]
        .into(),
        images: vec![
            image("used", 3, false),
            image("spare", 7, false),
            image("kept", 1, true),
            // A runtime that reports no size.
            image("unsized", 0, false),
        ],
        log_dirs: vec![format!("shop_web-0_{UID}"), "lost+found".to_owned()],
        ..Observation::empty(at(0))
    }
}

fn policy() -> Policy {
    let off = Thresholds { high_percent: 100, low_percent: 100 };
    Policy {
        unmanaged: Unmanaged::Keep,
        containers: ContainerPolicy {
            min_age: Duration::ZERO,
            min_dead_age: Duration::ZERO,
            created_grace: Duration::ZERO,
            max_per_pod_container: Some(1),
            max_containers: None,
            evict_terminated_pods: false,
        },
        sandboxes: SandboxPolicy { min_age: Duration::ZERO, evict_terminated_pods: false },
        images: ImagePolicy {
            bytes: off,
            inodes: off,
            min_age: Duration::ZERO,
            max_age: Duration::ZERO,
            protect: Vec::new(),
        },
    }
}

fn usage(observation: &Observation, sizes: &Sizes) -> Usage {
    let policy = policy();
    Usage::new(PlanReport::new(&decide(observation, &policy), observation, &policy), observation, sizes)
}

fn sum(usage: &Usage, kind: UsedBy) -> &Sum {
    usage.usage.iter().find(|sum| sum.kind == kind).unwrap()
}

fn sizes(disks: Vec<Disk>) -> Sizes {
    let layer = |gib: u64, inodes| Layer { bytes: gib * GIB, inodes };
    Sizes {
        layers: [("a", layer(2, 9)), ("c", layer(4, 100)), ("d", layer(0, 0))]
            .map(|(id, layer)| (id.to_owned(), layer))
            .into_iter()
            .collect(),
        log_dirs: [(format!("shop_web-0_{UID}"), 5 * GIB)].into_iter().collect(),
        snapshots: None,
        disks,
    }
}

#[test]
fn every_object_is_in_one_sum() {
    let usage = usage(&observation(), &sizes(vec![disk("/all", 50, (true, true, true))]));
    let found: Vec<_> = usage
        .usage
        .iter()
        .map(|sum| {
            let bytes = sum.size_bytes.map(|bytes| bytes / GIB);
            (
                sum.kind,
                sum.count.unwrap(),
                sum.unknown_count,
                bytes,
                sum.reclaimable_count,
                sum.reclaimable_bytes / GIB,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (UsedBy::ImagesInUse, 1, 0, Some(3), 0, 0),
            (UsedBy::ImagesUnused, 2, 1, Some(7), 0, 0),
            (UsedBy::ImagesKept, 1, 0, Some(1), 0, 0),
            (UsedBy::RunningContainers, 1, 0, Some(4), 0, 0),
            // Of those of one name the newest is kept.
            (UsedBy::DeadContainers, 3, 1, Some(2), 2, 2),
            (UsedBy::Logs, 2, 1, Some(5), 0, 0),
        ]
    );
    assert_eq!(sum(&usage, UsedBy::RunningContainers).inodes, Some(100));
    assert_eq!(usage.containers[0].item.id, "c", "the largest is first");
    let removed = usage.containers.iter().find(|object| object.decision == Decided::Remove).unwrap();
    assert_eq!((removed.item.id.as_str(), removed.item.size_bytes), ("a", Some(2 * GIB)));
    let all = &usage.filesystems[0];
    assert_eq!((all.used_bytes / GIB, all.known_bytes.unwrap() / GIB), (50, 3 + 7 + 1 + 4 + 2 + 5));
    assert_eq!((all.other_bytes.unwrap() / GIB, all.reserved_bytes / GIB), (28, 5));
    assert_eq!(all.holds, ["images", "containers", "logs"]);
}

#[test]
fn what_lies_on_another_filesystem_is_counted_there() {
    let disks = vec![disk("/images", 20, (true, false, false)), disk("/rest", 15, (false, true, true))];
    let usage = usage(&observation(), &sizes(disks));
    let other = |at: usize| usage.filesystems[at].other_bytes.unwrap() / GIB;
    assert_eq!((other(0), other(1)), (20 - 11, 15 - 6 - 5));
}

#[test]
fn more_than_is_used_is_no_negative_number() {
    let usage = usage(&observation(), &sizes(vec![disk("/all", 20, (true, true, true))]));
    let all = &usage.filesystems[0];
    assert_eq!((all.known_bytes, all.other_bytes), (Some(22 * GIB), None), "images share layers");
}

#[test]
fn images_on_several_filesystems_leave_unknown_what_else_is_there() {
    let disks = vec![
        disk("/a", 20, (true, false, false)),
        disk("/b", 20, (true, true, false)),
        disk("/c", 9, (false, false, true)),
    ];
    let usage = usage(&observation(), &sizes(disks));
    let known: Vec<_> = usage.filesystems.iter().map(|fs| fs.known_bytes.map(|bytes| bytes / GIB)).collect();
    assert_eq!(known, [None, None, Some(5)]);
}

#[test]
fn unpacked_layers_are_what_the_runtime_counts_without_the_writable_ones() {
    let unpacked = |disks| {
        let usage = usage(&observation(), &Sizes { snapshots: Some(30 * GIB), ..sizes(disks) });
        let sum = sum(&usage, UsedBy::ImageLayers);
        (sum.size_bytes.unwrap() / GIB, usage.filesystems[0].known_bytes.unwrap() / GIB)
    };
    assert_eq!(unpacked(vec![disk("/all", 80, (true, true, false))]), (24, 11 + 24 + 6));
    let apart = vec![disk("/images", 80, (true, false, false)), disk("/rest", 50, (false, true, false))];
    assert_eq!(unpacked(apart), (30, 11 + 30));
}

#[test]
fn of_nothing_everything_is_known_and_of_something_unknown_nothing() {
    let empty = usage(&Observation::empty(at(0)), &Sizes::default());
    assert!(empty.usage.iter().all(|sum| sum.size_bytes == Some(0) && sum.count == Some(0)));
    let unknown = usage(&observation(), &Sizes::default());
    let dead = sum(&unknown, UsedBy::DeadContainers);
    assert_eq!((dead.size_bytes, dead.unknown_count, dead.reclaimable_count), (None, 3, 2));
}
