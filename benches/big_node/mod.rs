//! Nodes far larger than any in the field, to measure plans with.

use std::sync::Arc;

use cri_gc_policy::{
    Absent, Container, ContainerState, FileSystem, FsStats, Image, Observation, Pod, PodState, Sandbox,
    SandboxState,
};
use jiff::{SignedDuration, Timestamp};

/// How the containers of a node are spread.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "not every user of this file measures all of them")]
pub(crate) enum Units {
    /// Five attempts in each unit, one unit and one sandbox in each pod; half of the pods are deleted.
    OfFive,
    /// Each container in a unit and pod of its own; half of the pods are deleted.
    OfOne,
    /// All in one unit of a living pod.
    One,
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(490_000)
}

/// 64 hex digits that look random, so that neither sorting nor hashing has it easier than on a node.
fn hex(of: usize) -> String {
    let mut state = of as u64;
    (0..4)
        .map(|_| {
            // One step of splitmix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = state;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            format!("{:016x}", x ^ (x >> 31))
        })
        .collect()
}

fn uid(of: usize) -> String {
    let hex = hex(of.wrapping_mul(7_919));
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

/// Neither in the order of the list nor all different.
fn ago(of: usize) -> Timestamp {
    let seconds = 3_600 + (of.wrapping_mul(2_654_435_761) % 1_000_000);
    now() - SignedDuration::from_secs(i64::try_from(seconds).unwrap_or_default())
}

fn container(index: usize, pod: usize, attempt: u32, image: &str) -> Container {
    Container {
        id: hex(index).into(),
        pod_uid: uid(pod).into(),
        pod_sandbox_id: hex(pod ^ 0x00ff_0000_0000).into(),
        name: "app".into(),
        attempt,
        state: ContainerState::Exited,
        created_at: Some(ago(index)),
        finished_at: None,
        image: "registry.example/team/app:v1".into(),
        image_ref: image.into(),
        image_id: "".into(),
        image_volumes: Vec::new(),
        log_path: format!("/var/log/pods/default_web_{}/app/{attempt}.log", uid(pod)).into(),
    }
}

/// A node with that many containers, all dead.
#[allow(dead_code, reason = "not every user of this file measures all of them")]
pub(crate) fn containers(count: usize, units: Units) -> Observation {
    let size = match units {
        Units::OfFive => 5,
        Units::OfOne => 1,
        Units::One => count,
    };
    let pods = count.div_ceil(size);
    let mut seen = Observation::empty(now());
    seen.pods.synced = true;
    seen.pods.absent = Absent::Deleted;
    // Every other pod is known; the rest is deleted.
    seen.pods.pods = (0..pods)
        .step_by(2)
        .map(|pod| Pod { uid: uid(pod).into(), state: PodState::Active, images: Vec::new() })
        .collect();
    let one = |i| {
        // A runtime's list is in no order: those of one pod do not stand together.
        let (pod, attempt) = (i % pods, i / pods);
        container(i, pod, u32::try_from(attempt).unwrap_or_default(), "sha256:00")
    };
    seen.containers = Arc::new((0..count).map(one).map(Arc::new).collect());
    let sandboxes = (0..pods).map(|pod| Sandbox {
        id: hex(pod ^ 0x00ff_0000_0000).into(),
        pod_uid: uid(pod).into(),
        namespace: "default".into(),
        name: "web".into(),
        attempt: 0,
        unlisted: false,
        state: SandboxState::NotReady,
        created_at: Some(ago(pod)),
    });
    seen.sandboxes = Arc::new(sandboxes.map(Arc::new).collect());
    seen
}

/// A node with that many images, each with four names, and containers that use some of them; its disk is full.
#[allow(dead_code, reason = "not every user of this file measures all of them")]
pub(crate) fn images(count: usize, users: usize) -> Observation {
    let image_id = |i: usize| format!("sha256:{}", hex(i));
    let mut seen = Observation::empty(now());
    seen.images = (0..count)
        .map(|i| Image {
            id: image_id(i),
            runtime_handler: String::new(),
            repo_tags: (0..3).map(|tag| format!("registry{}.example/team/app-{i}:v{tag}", i % 50)).collect(),
            repo_digests: vec![format!("registry{}.example/team/app-{i}@sha256:{}", i % 50, hex(!i))],
            size_bytes: 100_000_000,
            pinned: false,
            first_detected: Some(now() - SignedDuration::from_hours(48)),
            last_used: (i % 3 > 0).then(|| {
                let ago = i.wrapping_mul(2_654_435_761) % 100_000;
                now() - SignedDuration::from_secs(i64::try_from(ago).unwrap_or_default())
            }),
            in_use_elsewhere: false,
        })
        .collect();
    let user = |i| container(i, i / 5, 0, &image_id(i.wrapping_mul(31) % count.max(1).saturating_mul(2)));
    seen.containers = Arc::new((0..users).map(user).map(Arc::new).collect());
    seen.filesystems = vec![FileSystem {
        mountpoint: "/var/lib/containerd".to_owned(),
        holds_images: true,
        holds_containers: true,
        stats: FsStats {
            capacity_bytes: 100_000_000_000_000,
            available_bytes: 1_000_000_000,
            inodes: 0,
            inodes_free: 0,
        },
        ..FileSystem::default()
    }];
    seen
}
