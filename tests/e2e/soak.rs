//! A service with a disk and a runtime that hang again and again, and ten status requests a second: what it uses of the
//! machine levels off. It lasts for `CRI_GC_SOAK_MINUTES` (30), so it is run by hand (CONTRIBUTING.md).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cri_gc_proto::admin::StatusRequest;
use cri_gc_proto::admin::admin_client::AdminClient;
use cri_gc_test_support::fresh_uid;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::transport::Endpoint;

use crate::node::Node;
use crate::running_service::{serve, status, well};

/// How long each part of a cycle lasts.
const PART: Duration = Duration::from_secs(20);

/// A filesystem in a file, which can be frozen: a writer then hangs.
struct Disk(PathBuf);

impl Disk {
    fn mount(node: &Node) -> Self {
        let (image, at) = (node.path("disk.img"), node.path("disk"));
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).args([&image, &at]));
        Self(at)
    }

    fn freeze(&self, frozen: bool) {
        run(Command::new("fsfreeze").arg(if frozen { "-f" } else { "-u" }).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may be frozen where the test fails.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).status();
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{command:?}: {ended:?}");
}

/// What a process takes of the machine.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    kib: u64,
    threads: u64,
    files: u64,
}

impl Taken {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        Self { kib: number("VmRSS:"), threads: number("Threads:"), files }
    }

    fn most(self, other: Self) -> Self {
        Self {
            kib: self.kib.max(other.kib),
            threads: self.threads.max(other.threads),
            files: self.files.max(other.files),
        }
    }
}

/// Asks for the status every 100 ms, whether the last one was answered or not, and gives up after 3 s.
async fn ask_all_the_time(socket: PathBuf, until: watch::Receiver<bool>) -> BTreeMap<&'static str, u64> {
    let mut asked = tokio::task::JoinSet::new();
    let mut counts = BTreeMap::new();
    let mut count = |answer: &'static str| *counts.entry(answer).or_default() += 1;
    while !*until.borrow() {
        let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap();
        asked.spawn(async move {
            let answer = async {
                let mut client = AdminClient::new(endpoint.connect().await.ok()?);
                client.status(StatusRequest::default()).await.ok()
            };
            match tokio::time::timeout(Duration::from_secs(3), answer).await {
                Ok(Some(_)) => "answered",
                Ok(None) => "refused",
                Err(_) => "given up",
            }
        });
        while let Some(answer) = asked.try_join_next() {
            count(answer.unwrap());
        }
        sleep(Duration::from_millis(100)).await;
    }
    while let Some(answer) = asked.join_next().await {
        count(answer.unwrap());
    }
    counts
}

/// Something to remove: dead containers, and log directories of pods that are gone.
async fn litter(node: &Node, logs: &Path) {
    let began = Instant::now();
    node.ended_pod("job", &["a", "b"]).await;
    while began.elapsed() < PART {
        fs::create_dir(logs.join(format!("default_lost_{}", fresh_uid()))).unwrap();
        sleep(PART / 10).await;
    }
}

#[tokio::test]
#[ignore = "it lasts for half an hour; CONTRIBUTING.md has the command"]
async fn memory_and_threads_level_off_while_disk_and_runtime_hang() {
    let minutes = std::env::var("CRI_GC_SOAK_MINUTES").map_or(30, |minutes| minutes.parse().unwrap());
    let Some(mut node) = crate::containerd::node("soak") else { return };
    let disk = Disk::mount(&node);
    let logs = disk.0.join("pods");
    fs::create_dir(&logs).unwrap();
    node.set("state.dir", disk.0.join("state").display()).set("log_gc.pod_logs_root", logs.display());
    node.set("runtime.request_timeout", "30s");
    let running = serve(&mut node);
    status(&node, well).await;
    let (end, ended) = watch::channel(false);
    let asking = tokio::spawn(ask_all_the_time(node.path("admin.sock"), ended));
    let began = Instant::now();
    let mut cycles = Vec::new();
    while began.elapsed() < Duration::from_secs(60 * minutes) {
        let mut most = Taken::default();
        for part in ["busy", "disk", "runtime", "idle"] {
            match part {
                "busy" => litter(&node, &logs).await,
                "disk" => disk.freeze(true),
                "runtime" => node.runtime.hang(),
                _ => {}
            }
            let until = Instant::now() + PART;
            while Instant::now() < until {
                most = most.most(Taken::of(running.id()));
                sleep(Duration::from_millis(500)).await;
            }
            disk_and_runtime_continue(&disk, &node, part);
        }
        eprintln!("{:>5} s: {most:?}, {:?} at the end", began.elapsed().as_secs(), Taken::of(running.id()));
        cycles.push(most);
    }
    end.send_replace(true);
    eprintln!("status: {:?}", asking.await.unwrap());
    // The service is well again, and what it took stopped growing long ago.
    status(&node, well).await;
    let third = cycles.len() / 3;
    let most = |cycles: &[Taken]| cycles.iter().copied().fold(Taken::default(), Taken::most);
    let (early, late) = (most(&cycles[..third.max(1)]), most(&cycles[cycles.len() - third.max(1)..]));
    assert!(late.kib <= early.kib + early.kib / 10, "memory: {early:?}, {late:?}");
    assert!(late.threads <= early.threads && late.files <= early.files + 8, "{early:?}, {late:?}");
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
}

fn disk_and_runtime_continue(disk: &Disk, node: &Node, part: &str) {
    match part {
        "disk" => disk.freeze(false),
        "runtime" => node.runtime.go_on(),
        _ => {}
    }
}
