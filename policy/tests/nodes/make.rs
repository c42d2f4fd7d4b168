//! How a random number becomes an object.

use cri_gc_policy::snapshot::{Holds, Runtime, Snapshot, SnapshotFileSystem, VERSION};
use cri_gc_policy::{Absent, Container, ContainerState, Image, Pod, PodState, Pods, Sandbox, SandboxState};
use jiff::{SignedDuration, Timestamp};

use super::Settings;

/// One number for each object of a node.
pub struct Dice {
    pub pods: Vec<u64>,
    pub containers: Vec<u64>,
    pub sandboxes: Vec<u64>,
    pub images: Vec<u64>,
    pub filesystems: Vec<u64>,
    pub log_dirs: Vec<u64>,
}

/// Takes one choice after the other out of a random number.
struct Digits(u64);

impl Digits {
    fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        let digit = self.0 % n;
        self.0 /= n;
        usize::try_from(digit).unwrap()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// UIDs of both forms; the last is of no form that a log directory has, and stands in no list of pods.
const UIDS: [&str; 5] = [
    "11111111-2222-3333-4444-555555555555",
    "abcdef0123456789abcdef0123456789",
    "22222222-aaaa-bbbb-cccc-dddddddddddd",
    "99999999-9999-9999-9999-999999999999",
    "made-by-hand",
];

/// Ages in milliseconds: on, just under and just over the limits in [`LIMITS`], and one in the future.
const AGES: [i64; 14] = [
    600_000, 60_000, 59_999, 60_001, 300_000, 299_999, 600_001, 0, 1, 3_600_000, 400_000, 500_000, 120_000,
    -30_000,
];

const LIMITS: [i64; 5] = [0, 60_000, 300_000, 600_000, 1_000];

/// Names in full, so that the completion of short ones doesn't matter here.
const TAGS: [&str; 6] = [
    "registry.local/team/app:v1",
    "registry.local/team/app:v2",
    "registry.local:5000/base:latest",
    "docker.io/library/busybox:1.36",
    "registry.k8s.io/pause:3.10",
    "registry.local/team/app-extra:v1",
];

const DIGESTS: [&str; 4] = [
    "registry.local/team/app@sha256:00000000000000000000000000000000000000000000000000000000000000d0",
    "registry.local:5000/base@sha256:00000000000000000000000000000000000000000000000000000000000000d1",
    "docker.io/library/busybox@sha256:00000000000000000000000000000000000000000000000000000000000000d2",
    "registry.k8s.io/pause@sha256:00000000000000000000000000000000000000000000000000000000000000d3",
];

const PATTERNS: [&str; 12] = [
    "registry.local/team/app",
    "registry.local/team/app:v2",
    "registry.local/*",
    "registry.local:5000/base",
    "registry.local/team/app:*",
    "docker.io/library/busybox@*",
    "registry.k8s.io/pause@sha256:00000000000000000000000000000000000000000000000000000000000000d3",
    "*:v1",
    "*/pause",
    "registry.local/*/app*",
    "sha256:0000000000000000000000000000000000000000000000000000000000000001",
    "nowhere.example/*",
];

fn image_id(n: usize) -> String {
    format!("sha256:{n:064x}")
}

fn now() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

fn ago(dice: &mut Digits) -> Timestamp {
    // Half of all are old enough for the rules that come after those on ages.
    let age = if dice.below(2) == 0 {
        3_600_000 + 1_000 * dice.pick(&[0, 1, 1, 2, 3, 4])
    } else {
        dice.pick(&AGES)
    };
    now() - SignedDuration::from_millis(age)
}

/// A time, or nothing once in `n` times.
fn time(dice: &mut Digits, n: usize) -> Option<Timestamp> {
    if dice.once_in(n) { None } else { Some(ago(dice)) }
}

/// What a container or a setting may call an image by: an id, a name, or something that is not there.
fn any_image(dice: &mut Digits) -> String {
    match dice.below(4) {
        0 => image_id(dice.below(5)),
        1 => dice.pick(&TAGS).to_owned(),
        2 => dice.pick(&DIGESTS).to_owned(),
        _ => "nowhere.example/gone:v0".to_owned(),
    }
}

pub fn snapshot(node: u64, dice: &Dice) -> Snapshot {
    let mut of_node = Digits(node);
    // Three quarters are synced: most rules need that.
    let synced = !of_node.once_in(4);
    let absent = if of_node.once_in(3) { Absent::Unknown } else { Absent::Deleted };
    let sandbox_image = match of_node.below(3) {
        0 => String::new(),
        _ => any_image(&mut of_node),
    };
    let image_uses_unknown = if of_node.once_in(20) { "boom".to_owned() } else { String::new() };
    let mut pods: Vec<Pod> = Vec::new();
    for made in dice.pods.iter().map(|&n| pod(Digits(n))) {
        if pods.iter().all(|pod| pod.uid != made.uid) {
            pods.push(made);
        }
    }
    let mut images: Vec<Image> = Vec::new();
    for made in dice.images.iter().map(|&n| image(Digits(n))) {
        let same = |image: &Image| (&image.id, &image.runtime_handler) == (&made.id, &made.runtime_handler);
        if !images.iter().any(same) {
            images.push(made);
        }
    }
    let mut log_dirs: Vec<String> = dice.log_dirs.iter().map(|&n| log_dir(Digits(n))).collect();
    log_dirs.sort();
    log_dirs.dedup();
    // Sorted input would hide a plan that forgets to sort.
    log_dirs.reverse();
    Snapshot {
        version: VERSION,
        taken_at: now(),
        runtime: Runtime { sandbox_image, ..Runtime::default() },
        pods: Pods { synced, pods, absent },
        containers: (0..).zip(&dice.containers).map(|(i, &n)| container(i, Digits(n))).collect(),
        sandboxes: (0..).zip(&dice.sandboxes).map(|(i, &n)| sandbox(i, Digits(n))).collect(),
        images,
        image_uses_unknown,
        filesystems: filesystems(&dice.filesystems),
        log_dirs,
    }
}

fn pod(mut dice: Digits) -> Pod {
    use PodState::{Active, Deleted, Evicted, Terminated, Unknown};
    Pod {
        uid: dice.pick(&UIDS[..4]).into(),
        state: dice.pick(&[Active, Terminated, Evicted, Deleted, Unknown, Terminated]),
        images: (0..dice.below(3)).map(|_| any_image(&mut dice)).collect(),
    }
}

fn container(i: usize, mut dice: Digits) -> Container {
    use ContainerState::{Created, Exited, Running, Unknown};
    let state =
        dice.pick(&[Exited, Exited, Exited, Exited, Created, Unknown, Running, Exited, Created, Exited]);
    let pod_uid = if dice.below(3) == 2 { "" } else { dice.pick(&UIDS) };
    let name = dice.pick(&["app", "app", "init", ""]);
    let created_at = time(&mut dice, 12);
    let pod_sandbox_id = match dice.below(4) {
        0 => String::new(),
        1 | 2 => format!("s{}", dice.below(10)),
        _ => "gone".to_owned(),
    };
    // The id begins with a random digit, so that its order is not the order of the list.
    let id = format!("{}-c{i}", dice.below(4));
    let finished_at = if dice.below(2) == 0 { None } else { time(&mut dice, 4) };
    Container {
        id: id.into(),
        pod_uid: pod_uid.into(),
        pod_sandbox_id: pod_sandbox_id.into(),
        name: name.into(),
        attempt: dice.pick(&[0, 1, 2]),
        state,
        created_at,
        finished_at,
        image_id: if dice.below(2) == 0 { "".into() } else { any_image(&mut dice).into() },
        image_ref: if dice.below(2) == 0 { "".into() } else { any_image(&mut dice).into() },
        image: any_image(&mut dice).into(),
        image_volumes: if dice.once_in(6) { vec![any_image(&mut dice).into()] } else { Vec::new() },
        log_path: "".into(),
    }
}

fn sandbox(i: usize, mut dice: Digits) -> Sandbox {
    use SandboxState::{NotReady, Ready, Unknown};
    Sandbox {
        id: format!("s{i}").into(),
        pod_uid: if dice.once_in(6) { "".into() } else { dice.pick(&UIDS).into() },
        state: dice
            .pick(&[NotReady, NotReady, NotReady, NotReady, NotReady, NotReady, NotReady, Ready, Unknown]),
        created_at: time(&mut dice, 10),
        attempt: dice.pick(&[0, 1]),
        namespace: "default".into(),
        name: "web".into(),
        unlisted: dice.once_in(12),
    }
}

fn image(mut dice: Digits) -> Image {
    Image {
        id: image_id(dice.below(7)),
        runtime_handler: dice.pick(&["", "", "kata", "wasm"]).to_owned(),
        repo_tags: (0..dice.pick(&[0, 1, 0, 2])).map(|_| dice.pick(&TAGS).to_owned()).collect(),
        repo_digests: (0..dice.pick(&[0, 1, 0])).map(|_| dice.pick(&DIGESTS).to_owned()).collect(),
        size_bytes: dice.pick(&[0, 1, 10, 50, 100, 300, 7]),
        pinned: dice.once_in(9),
        first_detected: time(&mut dice, 8),
        last_used: if dice.below(2) == 0 { None } else { Some(ago(&mut dice)) },
        in_use_elsewhere: dice.once_in(11),
    }
}

fn filesystems(dice: &[u64]) -> Vec<SnapshotFileSystem> {
    let mut all: Vec<SnapshotFileSystem> = Vec::new();
    for &n in dice {
        let mut made = filesystem(Digits(n));
        // A mountpoint named twice is the same filesystem: it is as full in both entries.
        if let Some(same) = all.iter().find(|fs| fs.mountpoint == made.mountpoint) {
            made = SnapshotFileSystem { holds: made.holds, ..same.clone() };
        }
        all.push(made);
    }
    all
}

fn filesystem(mut dice: Digits) -> SnapshotFileSystem {
    let mountpoint = dice.pick(&["/var/lib/images", "/var/lib/containers", "/var/lib/kata"]);
    let holds: &[Holds] = match dice.below(5) {
        0 | 1 => &[Holds::Images],
        2 => &[Holds::Images, Holds::Containers],
        3 => &[Holds::Containers],
        _ => &[],
    };
    let mut amount = |odd: u64| {
        let capacity: u64 = dice.pick(&[1000, 0, 100, 999, 1 << 40, 7, 1000, 1000, odd]);
        let percent = dice.pick(&[0, 14, 15, 16, 20, 5, 99, 100, 1, 200, 10, 0]);
        let exact = u64::try_from(u128::from(capacity) * percent / 100).unwrap_or(u64::MAX);
        let free = match dice.below(3) {
            0 => exact,
            1 => exact.saturating_sub(1),
            _ => exact.saturating_add(1),
        };
        (capacity, free)
    };
    let (capacity_bytes, available_bytes) = amount(u64::MAX);
    let (inodes, inodes_free) = amount(64);
    SnapshotFileSystem {
        mountpoint: mountpoint.to_owned(),
        holds: holds.to_vec(),
        capacity_bytes,
        available_bytes,
        inodes,
        inodes_free,
    }
}

fn log_dir(mut dice: Digits) -> String {
    let uid = dice.pick(&UIDS);
    match dice.below(8) {
        0..=3 => format!("default_web_{uid}"),
        4 => uid.to_owned(),
        5 => format!("default_{uid}"),
        6 => format!("default_web_{uid}.old"),
        _ => format!("__{uid}"),
    }
}

pub fn settings(a: u64, b: u64) -> Settings {
    const PERCENT: [u8; 8] = [85, 80, 50, 100, 0, 84, 86, 1];
    let (mut a, mut b) = (Digits(a), Digits(b));
    let pair = |dice: &mut Digits| {
        let (x, y) = (dice.pick(&PERCENT), dice.pick(&PERCENT));
        (x.max(y), x.min(y))
    };
    let (high, low) = pair(&mut b);
    let (inode_high, inode_low) = match b.below(4) {
        0 | 1 => (100, 100),
        _ => pair(&mut b),
    };
    Settings {
        collect_unmanaged: a.below(2) == 1,
        min_age: a.pick(&LIMITS),
        min_dead_age: a.pick(&LIMITS),
        created_grace: a.pick(&LIMITS),
        max_per_pod_container: a.pick(&[1, -1, 0, 2, 3]),
        max_containers: a.pick(&[-1, 0, 1, 2, 3, 4, 5, 7, -1]),
        evict_terminated_pods: a.below(2) == 1,
        sandbox_min_age: a.pick(&LIMITS),
        high,
        low,
        inode_high,
        inode_low,
        image_min_age: b.pick(&LIMITS),
        image_max_age: b.pick(&[0, 0, 60_000, 300_000, 600_000, 1_000, 0]),
        protect: (0..b.pick(&[0, 0, 1, 2, 1])).map(|_| b.pick(&PATTERNS).to_owned()).collect(),
    }
}
