//! Whole texts: of a service that is well, and of one of which everything is broken.

use cri_gc_proto::admin::{
    Candidate, Configuration, FileSystem, ImageSum, Images, LoopStatus, Pass, Pod, PodSource, PodSum, Recent,
    Removal, RemovedSum, Runtime, StatusResponse, Stuck,
};

use super::super::fit::Fit;
use super::{screen, text};

const GIB: u64 = 1 << 30;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn pass(of: &str, mode: &str, started_at: &str) -> Pass {
    Pass {
        r#loop: of.to_owned(),
        trigger: "period".to_owned(),
        started_at: started_at.to_owned(),
        took_seconds: 0.4,
        mode: mode.to_owned(),
        kept: 31,
        ..Pass::default()
    }
}

fn looped(of: &str, mode: &str, last_pass: Pass) -> LoopStatus {
    LoopStatus {
        r#loop: of.to_owned(),
        mode: mode.to_owned(),
        state: "waiting".to_owned(),
        state_since: "2026-01-31T11:59:48Z".to_owned(),
        generation: 3,
        period_seconds: 60.0,
        next_pass_at: "2026-01-31T12:00:48.7Z".to_owned(),
        last_pass: Some(last_pass),
        passes: 4720,
        ..LoopStatus::default()
    }
}

fn well() -> StatusResponse {
    let ended = "2026-01-31T11:59:47.6Z";
    StatusResponse {
        version: "0.1.0".to_owned(),
        pid: 4711,
        node_name: "edge-7".to_owned(),
        started_at: "2026-01-28T08:00:00Z".to_owned(),
        now: "2026-01-31T12:00:00Z".to_owned(),
        configuration: Some(Configuration {
            generation: 3,
            loaded_at: "2026-01-31T09:55:00Z".to_owned(),
            file: "/etc/cri-gc/config.toml".to_owned(),
            trigger: "signal".to_owned(),
            ..Configuration::default()
        }),
        log_level: "info".to_owned(),
        runtime: Some(Runtime {
            endpoint: "/run/containerd/containerd.sock".to_owned(),
            name: "containerd".to_owned(),
            version: "2.1.4".to_owned(),
            reachable: true,
            since: "2026-01-28T08:00:01Z".to_owned(),
            ..Runtime::default()
        }),
        pods: Some(PodSource {
            source: "file".to_owned(),
            synced: true,
            synced_at: "2026-01-31T11:59:52Z".to_owned(),
            ..PodSource::default()
        }),
        loops: vec![
            LoopStatus {
                removed: 132,
                ..looped(
                    "container_gc",
                    "enforce",
                    Pass { removed: 2, gone: 1, ..pass("container_gc", "enforce", ended) },
                )
            },
            LoopStatus {
                state: "running".to_owned(),
                state_since: "2026-01-31T11:59:57Z".to_owned(),
                next_pass_at: String::new(),
                last_pass: None,
                ..looped("sandbox_gc", "enforce", Pass::default())
            },
            looped("log_gc", "report", Pass { would_remove: 3, ..pass("log_gc", "report", ended) }),
            LoopStatus {
                removed: 40,
                freed_bytes: 60 * GIB,
                next_pass_at: "2026-01-31T12:03:20Z".to_owned(),
                ..looped(
                    "image_gc",
                    "enforce",
                    Pass {
                        removed: 5,
                        freed_bytes: 2 * GIB,
                        ..pass("image_gc", "enforce", "2026-01-31T11:57:00Z")
                    },
                )
            },
        ],
        filesystems: vec![
            FileSystem {
                mountpoint: "/var/lib/containerd".to_owned(),
                holds_images: true,
                holds_containers: true,
                capacity_bytes: 100 * GIB,
                available_bytes: 26 * GIB,
                inodes: 1000,
                inodes_free: 880,
                used_percent: Some(74),
                high_threshold_percent: 85,
                low_threshold_percent: 80,
            },
            FileSystem {
                mountpoint: "/".to_owned(),
                holds_containers: true,
                capacity_bytes: 10 * GIB,
                available_bytes: GIB,
                used_percent: Some(90),
                high_threshold_percent: 85,
                low_threshold_percent: 80,
                ..FileSystem::default()
            },
        ],
        problems: Vec::new(),
        images: Some(images()),
        recent: Some(Recent {
            since: "2026-01-31T11:00:00Z".to_owned(),
            removed: [("container", 12, 3 << 20), ("image", 1, 2 * GIB)]
                .map(|(kind, count, bytes)| RemovedSum { kind: kind.to_owned(), count, bytes })
                .to_vec(),
            ..Recent::default()
        }),
    }
}

fn images() -> Images {
    let sum = |reason: &str, may_go, count, gib| ImageSum {
        reason: reason.to_owned(),
        may_go,
        count,
        size_bytes: gib * GIB,
    };
    let candidate = |names: &[&str], last_used: &str| Candidate {
        id: format!("sha256:{}", "a3".repeat(32)),
        names: texts(names),
        size_bytes: GIB / 2,
        first_detected: "2026-01-30T12:00:00Z".to_owned(),
        last_used: last_used.to_owned(),
        ..Candidate::default()
    };
    Images {
        sums: vec![
            sum("below_threshold", true, 2, 1),
            sum("in_use", false, 12, 30),
            sum("protected", false, 3, 4),
        ],
        next: vec![
            candidate(&["registry.example.com/old:1", "registry.example.com/old:latest"], ""),
            candidate(&["registry.example.com/job:7"], "2026-01-31T09:00:00Z"),
        ],
        ..Images::default()
    }
}

fn broken() -> StatusResponse {
    let mut status = well();
    status.configuration = Some(Configuration {
        waiting_for_restart: texts(&["log.format", "runtime.endpoint"]),
        refused: "config.toml:3:1: there is no image_gc.high_treshold_percent\n  did you mean high_threshold_percent?"
            .to_owned(),
        refused_at: "2026-01-31T11:55:00Z".to_owned(),
        file: String::new(),
        trigger: "start".to_owned(),
        ..status.configuration.unwrap()
    });
    status.runtime = Some(Runtime {
        reachable: false,
        since: "2026-01-31T11:47:57Z".to_owned(),
        error: "Connection refused\n(os error 111)".to_owned(),
        returns: 2,
        ..status.runtime.unwrap()
    });
    status.pods = Some(PodSource {
        source: "file".to_owned(),
        synced: false,
        synced_at: "2026-01-31T11:00:00Z".to_owned(),
        problem: "/run/pods.json: the file does not exist".to_owned(),
        notes: texts(&["/var/lib/kubelet/pods is not empty"]),
        sums: [("active", 12), ("unknown", 1)]
            .map(|(state, count)| PodSum { state: state.to_owned(), count })
            .to_vec(),
        pods: vec![Pod {
            uid: "0f6c8d3e".to_owned(),
            name: "shop/web-0".to_owned(),
            state: "unknown".to_owned(),
            since: "2026-01-31T11:00:00Z".to_owned(),
            evidence: "the kubelet still has a directory of it".to_owned(),
        }],
    });
    let [containers, sandboxes, logs, images] = status.loops.as_mut_slice() else { panic!("four loops") };
    containers.failures = 7;
    containers.failing_since = "2026-01-31T11:47:57Z".to_owned();
    let errors = ["ListContainers: the runtime does not answer", "second", "third", "fourth", "fifth"];
    let failed = containers.last_pass.as_mut().unwrap();
    (failed.removed, failed.failed, failed.errors) = (0, 1, texts(&errors));
    failed.notes = texts(&["a kubelet runs here"]);
    let stuck = |id: usize| Stuck {
        removal: Some(Removal {
            kind: "container".to_owned(),
            id: format!("{id:064x}"),
            name: format!("shop/web-{id}/web#0"),
            reason: "pod_deleted".to_owned(),
            result: "failed".to_owned(),
            detail: "device or resource busy".to_owned(),
            bytes: 0,
        }),
        since: "2026-01-31T11:00:00Z".to_owned(),
        attempts: 7,
        next_try_at: "2026-01-31T12:30:00Z".to_owned(),
    };
    containers.stuck = (0..10).map(stuck).collect();
    containers.stuck_count = 10;
    sandboxes.state = "hung".to_owned();
    sandboxes.state_since = "2026-01-31T11:49:00Z".to_owned();
    sandboxes.generation = 2;
    sandboxes.restarts = 2;
    sandboxes.last_restart = "it panicked: index out of bounds".to_owned();
    logs.state = "paused".to_owned();
    logs.next_pass_at = String::new();
    logs.last_pass.as_mut().unwrap().notes = texts(&["a kubelet runs here"]);
    images.failures = 1;
    images.restarts = 1;
    images.failing_since = "2026-01-31T11:57:00Z".to_owned();
    images.next_pass_at = "2026-01-31T11:59:59Z".to_owned();
    images.last_restart = "hung".to_owned();
    status.filesystems[0].high_threshold_percent = 100;
    status.filesystems[1] = FileSystem { mountpoint: "/mnt".to_owned(), ..FileSystem::default() };
    let images = status.images.as_mut().unwrap();
    (images.bytes_to_free, images.inodes_to_free) = (3 * GIB, 700);
    images.next.truncate(0);
    status.recent = Some(Recent {
        since: "2026-01-31T11:48:00Z".to_owned(),
        failures: [("ImageGCFailed", 4), ("RuntimeLost", 1)]
            .map(|(kind, count)| (kind.to_owned(), count))
            .into(),
        problem: "the disk of state.dir does not answer".to_owned(),
        ..Recent::default()
    });
    status.problems = texts(&["/mnt: Input/output error"]);
    status
}

#[test]
fn all_is_well() {
    assert_eq!(
        text(&well(), Fit::Any).to_string(),
        "\
cri-gc 0.1.0 on edge-7, pid 4711, running for 3d 4h (since 2026-01-28T08:00:00Z)

configuration  generation 3, loaded 2h 5m ago (signal) from /etc/cri-gc/config.toml
log level      info
runtime        containerd 2.1.4 at /run/containerd/containerd.sock, reachable for 3d 3h
pod source     file, synced 8s ago

LOOP          MODE     STATE       LAST PASS                      NEXT  REMOVED  FAILED PASSES  RESTARTS
container_gc  enforce  waiting     12s ago: 3 removed           in 48s      132              0         0
sandbox_gc    enforce  running 3s  none yet                          -        0              0         0
log_gc        report   waiting     12s ago: 3 would be removed  in 48s        0              0         0
image_gc      enforce  waiting     2m ago: 5 removed (2.0 GiB)   in 3m       40              0         0

last hour      removed 12 containers (3.0 MiB of logs), 1 image (size 2.0 GiB)

FILESYSTEM           HOLDS               USED  HIGH  LOW              AVAILABLE  INODES
/var/lib/containerd  images, containers   74%   85%  80%  26.0 GiB of 100.0 GiB     12%
/                    containers           90%     -    -    1.0 GiB of 10.0 GiB       -

IMAGES           COUNT      SIZE
below_threshold      2   1.0 GiB  removable
in_use              12  30.0 GiB
protected            3   4.0 GiB

NEXT TO BE REMOVED                    SIZE  FIRST SEEN  LAST USED  ID
registry.example.com/old:1 (+1)  512.0 MiB      1d ago      never  a3a3a3a3a3a3a
registry.example.com/job:7       512.0 MiB      1d ago     3h ago  a3a3a3a3a3a3a
"
    );
}

#[test]
fn everything_is_broken() {
    assert_eq!(
        text(&broken(), Fit::Any).to_string(),
        "\
cri-gc 0.1.0 on edge-7, pid 4711, running for 3d 4h (since 2026-01-28T08:00:00Z)

configuration  generation 3, loaded 2h 5m ago (start) without a file
               these settings take effect after a restart of cri-gc: log.format, runtime.endpoint
               RELOAD REFUSED 5m ago, the previous configuration remains in force:
                 config.toml:3:1: there is no image_gc.high_treshold_percent
                 did you mean high_threshold_percent?
log level      info
runtime        UNREACHABLE for 12m 3s at /run/containerd/containerd.sock (containerd 2.1.4)
               Connection refused (os error 111)
pod source     file, NOT SYNCED (last 1h ago): no pod counts as deleted
               error: /run/pods.json: the file does not exist
               12 active, 1 unknown
               shop/web-0 (0f6c8d3e) unknown for 1h: the kubelet still has a directory of it
               note: /var/lib/kubelet/pods is not empty

LOOP          MODE     STATE    LAST PASS                       NEXT  REMOVED  FAILED PASSES  RESTARTS
container_gc  enforce  waiting  12s ago: 1 removed, 1 failed  in 48s      132              7         0
sandbox_gc    enforce  hung     none yet                           -        0              0         2
log_gc        report   paused   12s ago: 3 would be removed        -        0              0         0
image_gc      enforce  waiting  2m ago: 5 removed (2.0 GiB)      now       40              1         1

container_gc   FAILING for 12m 3s (7 passes):
                 ListContainers: the runtime does not answer
                 second
                 third
                 ... and 2 more; -o wide lists all
sandbox_gc     HUNG for 11m
               restarted 2 times, the last time for: it panicked: index out of bounds
               still uses generation 2 of the settings
log_gc         PAUSED for 12s; `cri-gc resume log_gc` ends that
image_gc       FAILING for 3m (1 pass)
               restarted once, the last time for: hung

STUCK      NAME              REASON       TRIED    NEXT    WHY                      ID
container  shop/web-0/web#0  pod_deleted  7 in 1h  in 30m  device or resource busy  0000000000000
container  shop/web-1/web#0  pod_deleted  7 in 1h  in 30m  device or resource busy  0000000000000
container  shop/web-2/web#0  pod_deleted  7 in 1h  in 30m  device or resource busy  0000000000000
container  shop/web-3/web#0  pod_deleted  7 in 1h  in 30m  device or resource busy  0000000000000
container  shop/web-4/web#0  pod_deleted  7 in 1h  in 30m  device or resource busy  0000000000000
... and 5 more; -o wide lists all

last hour      removed nothing; known for 12m only
               failures: 4 ImageGCFailed, 1 RuntimeLost; see `cri-gc history --since 1h`
               error: the disk of state.dir does not answer

FILESYSTEM           HOLDS               USED  HIGH  LOW              AVAILABLE  INODES
/var/lib/containerd  images, containers   74%   off  off  26.0 GiB of 100.0 GiB     12%
/mnt                                        ?     -    -                      ?       -

IMAGES           COUNT      SIZE
below_threshold      2   1.0 GiB  removable
in_use              12  30.0 GiB
protected            3   4.0 GiB
Image GC has to free 3.0 GiB to reach the low threshold.
Image GC has to free 700 inodes to reach the low threshold.

note (container_gc, log_gc): a kubelet runs here

problem: /mnt: Input/output error
"
    );
}

#[test]
fn a_runtime_that_is_connected_and_hangs_is_not_called_reachable() {
    let mut status = well();
    let runtime = status.runtime.as_mut().unwrap();
    runtime.error = "no answer within 2s".to_owned();
    let text = text(&status, Fit::Any).to_string();
    let runtime = "\
runtime        NOT ANSWERING at /run/containerd/containerd.sock (containerd 2.1.4), connected for 3d 3h
               no answer within 2s
";
    assert!(text.contains(runtime) && !text.contains("reachable"), "{text}");
}

/// A loop that fails for that only has its line in the table.
#[test]
fn that_the_runtime_is_unreachable_is_said_once() {
    let mut status = well();
    let error = "the runtime is unreachable: Connection refused";
    let runtime = status.runtime.as_mut().unwrap();
    (runtime.reachable, runtime.error) = (false, format!("ListContainers: {error}"));
    for of in &mut status.loops {
        of.failures = 3;
        of.last_pass = Some(Pass {
            errors: vec![format!("ListImages: {error}")],
            ..pass(&of.r#loop, "enforce", "2026-01-31T11:59:47Z")
        });
    }
    status.problems = vec![format!("the node could not be observed: ListPodSandbox: {error}")];
    let text = text(&status, Fit::Any).to_string();
    assert_eq!(text.matches("Connection refused").count(), 1, "{text}");
    assert_eq!(text.matches("FAILED\n").count() + text.matches("FAILED ").count(), 5, "{text}");
}

#[test]
fn a_screen_fits_80_columns_and_has_what_is_wrong() {
    for status in [well(), broken()] {
        let text = screen(&status, Fit::Columns(80)).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains("log level") && !text.contains("NEXT TO BE REMOVED"), "{text}");
    }
    let text = screen(&broken(), Fit::Columns(80)).to_string();
    for part in ["UNREACHABLE", "NOT SYNCED", "RELOAD REFUSED", "FAILING", "HUNG", "PAUSED", "problem:"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_service_that_reports_nothing_is_no_reason_to_fail() {
    assert_eq!(
        text(&StatusResponse::default(), Fit::Any).to_string(),
        "cri-gc  on , pid 0, running since an unknown time\n\nlog level\n"
    );
}
