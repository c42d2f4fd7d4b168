//! Whole texts: of a demo in which all is well, and of one in which much is broken.

use std::sync::Arc;

use cri_gc_collectors::collector::LastPass;
use cri_gc_collectors::report::Trigger;
use cri_gc_config::Mode;
use cri_gc_gateway::RuntimeVersion;
use cri_gc_kit::recorder::{Event, EventKind, Object};

use super::*;

const GIB: u64 = 1 << 30;

fn at(second: i64) -> Timestamp {
    // 2026-01-31T12:00:00Z.
    Timestamp::from_second(1_769_860_800 + second).unwrap()
}

/// A loop that is well.
pub fn looped(of: Loop) -> LoopState {
    LoopState {
        of,
        mode: Mode::Enforce,
        doing: Doing::Waiting,
        since: at(28),
        paused_since: None,
        generation: 1,
        period: Duration::from_secs(2),
        next_pass_at: Some(at(31)),
        last: Some(LastPass {
            trigger: Trigger::Period,
            started_at: at(28),
            took: Duration::from_millis(300),
            mode: Mode::Enforce,
            removed: 3,
            would_remove: 0,
            gone: 0,
            refused: 0,
            failed: 0,
            kept: 9,
            freed_bytes: 0,
            errors: Vec::new(),
            notes: Vec::new(),
            stuck: Vec::new(),
        }),
        passes: 12,
        removed: 40,
        freed_bytes: 0,
        failures: 0,
        failing_since: None,
        restarts: 0,
        last_restart: None,
    }
}

fn removed(of: Loop, kind: Kind, id: &str, name: &str, times: u64) -> Line {
    let (id, name) = (id.to_owned(), name.to_owned());
    let object = Object { kind, id, name, reason: "pod_deleted".to_owned() };
    let event = Event { object: Some(Box::new(object)), ..Event::new(EventKind::Removed, Some(of), "") };
    Line { time: at(28), event: Arc::new(event), times, bytes: times * 2048 }
}

fn line(event: Event) -> Line {
    Line { time: at(29), event: Arc::new(event), times: 1, bytes: 0 }
}

fn well() -> Snapshot {
    let version = RuntimeVersion { name: "containerd".to_owned(), version: "v2.1.9".to_owned() };
    let mut images = looped(Loop::ImageGc);
    images.last.as_mut().unwrap().freed_bytes = 6 * GIB;
    Snapshot {
        now: at(30),
        lasted: Duration::from_millis(30_400),
        left: Some(Duration::from_millis(29_600)),
        keys: false,
        broken: Vec::new(),
        runtime: Some(RuntimeState {
            version: Some(version),
            reachable: Some(true),
            since: Some(at(0)),
            error: None,
            returns: 0,
        }),
        node: Tally {
            running: 11,
            dead: 14,
            sandboxes: 12,
            log_dirs: 13,
            images: 37,
            capacity: 40 * GIB,
            available: 10 * GIB,
        },
        thresholds: (85, 70),
        loops: vec![looped(Loop::ContainerGc), looped(Loop::SandboxGc), looped(Loop::LogGc), images],
        news: vec![
            removed(Loop::ContainerGc, Kind::Container, &"7e".repeat(32), "ci/job-4/test#0", 1),
            removed(Loop::SandboxGc, Kind::Sandbox, "s", "ci/job-4", 3),
            removed(Loop::LogGc, Kind::LogDir, "ci_job-4_0", "ci_job-4_0", 1),
            removed(Loop::ImageGc, Kind::Image, "i", "registry.example.com/build:1.4", 2),
        ],
    }
}

fn broken() -> Snapshot {
    let mut snapshot = well();
    snapshot.keys = true;
    snapshot.left = None;
    snapshot.broken = vec![
        (Breakage::Images, Duration::from_secs(3)),
        (Breakage::Runtime, Duration::from_secs(1)),
        (Breakage::Thread, Duration::from_secs(4)),
    ];
    let runtime = snapshot.runtime.as_mut().unwrap();
    (runtime.reachable, runtime.since) = (Some(false), Some(at(29)));
    runtime.error = Some("Connection refused\n(os error 111)".to_owned());
    snapshot.node.available = 0;
    let [containers, sandboxes, logs, images] = snapshot.loops.as_mut_slice() else { panic!("four loops") };
    (containers.doing, containers.restarts, containers.last) = (Doing::Restarting, 2, None);
    (sandboxes.doing, sandboxes.restarts) = (Doing::Hung, 1);
    logs.paused_since = Some(at(20));
    images.failures = 7;
    let last = images.last.as_mut().unwrap();
    (last.failed, last.removed, last.freed_bytes) = (2, 0, 0);
    last.errors = vec![format!("ListImages: {}", "locked and ".repeat(20))];
    snapshot.news = vec![
        line(Event {
            count: 4,
            ..Event::new(EventKind::ImageGcFailed, Some(Loop::ImageGc), "ListImages:\u{1b}[2J\nno")
        }),
        line(Event::new(EventKind::RuntimeLost, None, "Connection refused")),
        line(Event::new(EventKind::Paused, Some(Loop::LogGc), "")),
    ];
    snapshot
}

#[test]
fn all_is_well() {
    assert_eq!(
        text(&well()),
        "\
cri-gc at work on a modelled node under churn, for 30s, 30s left
broken   nothing

runtime  containerd v2.1.9, reachable for 30s
disk     [###################################|#-----|-------]  75%, 10.0 GiB of 40.0 GiB free; above 85% images go, down to 70%
node     11 containers run, 14 are dead; 12 sandboxes, 13 log directories, 37 images

LOOP          MODE     STATE       PASSES  REMOVED  FAILURES  RESTARTS  LAST PASS
container_gc  enforce  waiting         12       40         0         0  1s ago: 3 removed
sandbox_gc    enforce  waiting         12       40         0         0  1s ago: 3 removed
log_gc        enforce  waiting         12       40         0         0  1s ago: 3 removed
image_gc      enforce  waiting         12       40         0         0  1s ago: 3 removed (6.0 GiB)

12:00:28  container_gc  Removed              container 7e7e7e7e7e7e7 ci/job-4/test#0: pod_deleted, 2.0 KiB
12:00:28  sandbox_gc    Removed              3 sandboxes: pod_deleted, 6.0 KiB
12:00:28  log_gc        Removed              log directory ci_job-4_0: pod_deleted, 2.0 KiB
12:00:28  image_gc      Removed              2 images: pod_deleted
"
    );
}

#[test]
fn much_is_broken() {
    assert_eq!(
        text(&broken()),
        "\
cri-gc at work on a modelled node under churn, for 30s
keys     i images  h hang  r runtime  p panic  t thread  space pause  q quit
BROKEN   for 3s: the runtime answers with errors when it is asked for images
         for 1s: the runtime is gone
         for 4s: the thread of sandbox_gc hangs

runtime  AWAY for 1s: Connection refused (os error 111)
disk     [###################################|######|#######] 100%, 0 B of 40.0 GiB free; above 85% images go, down to 70%
node     11 containers run, 14 are dead; 12 sandboxes, 13 log directories, 37 images

LOOP          MODE     STATE       PASSES  REMOVED  FAILURES  RESTARTS  LAST PASS
container_gc  enforce  RESTARTING      12       40         0         2  none yet
sandbox_gc    enforce  HUNG            12       40         0         1  1s ago: 3 removed
log_gc        enforce  paused          12       40         0         0  1s ago: 3 removed
image_gc      enforce  waiting         12       40         7         0  1s ago: 0 removed, 2 failed, ERROR ListImages: locked and locked and locked and locked and locked and loc...

12:00:29  image_gc      ImageGCFailed        failure number 4: ListImages:\\u001b[2J no
12:00:29  -             RuntimeLost          Connection refused
12:00:29  log_gc        Paused
"
    );
}

#[test]
fn what_is_not_known_yet_is_no_reason_to_fail() {
    let mut loops = vec![looped(Loop::LogGc)];
    loops.iter_mut().for_each(|state| state.last = None);
    let node = Tally { capacity: 0, ..well().node };
    let text = text(&Snapshot { runtime: None, loops, node, news: Vec::new(), ..well() });
    assert!(text.contains("runtime  not asked yet") && text.contains("none yet"), "{text}");
}
