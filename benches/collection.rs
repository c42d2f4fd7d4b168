//! What the collection of dead containers costs on a real containerd: time, requests, processor time and memory, of the service and of the
//! least that does it, in turns. Needs root and containerd.
//!
//! `cargo bench --bench collection`, with the numbers of pods as arguments if they should not be 30. Half of the pods are deleted; each has
//! ten dead containers (two names, five attempts), and the newest of each name of a living pod is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails loudly, and waits in earnest"
)]

mod service;

use std::cell::Cell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cri_gc_proto::cri::{Container, ContainerState, PodSandbox};
use cri_gc_test_support::{ContainerSpec, Containerd, Cri, OciImage, Options, PodSpec, pod_log_dir};
use futures_util::StreamExt;
use service::{METRICS, Service};

const IMAGE: &str = "registry.example/bench/app:1";
const NAMES: [&str; 2] = ["app", "sidecar"];
const ATTEMPTS: u32 = 5;

/// Rounds of each; the median counts.
const ROUNDS: usize = 3;

/// Removals in flight, as the service has them.
const IN_FLIGHT: usize = 8;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let numbers = if numbers.is_empty() { vec![30] } else { numbers };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for pods in numbers {
        runtime.block_on(compare(pods));
    }
}

/// What one collection cost.
struct Cost {
    /// From the first removal to the last, as containerd reports them.
    seconds: f64,
    requests: usize,
    /// Processor time of containerd, and of who collects, in seconds.
    runtime: f64,
    own: f64,
    /// Of who collects, at most.
    megabytes: f64,
}

async fn compare(pods: usize) {
    let containerd = Containerd::start(Options::default()).unwrap();
    containerd.import(&OciImage::new(IMAGE));
    let (mut least, mut ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let node = Node::make(&containerd, pods, 2 * round).await;
        least.push(node.measured(async || node.collect_least().await).await);
        let node = Node::make(&containerd, pods, 2 * round + 1).await;
        ours.push(node.collect_by_service().await);
    }
    let containers = pods * NAMES.len() * ATTEMPTS as usize;
    println!(
        "containerd {}, {containers} dead containers of {pods} pods, medians of {ROUNDS}:",
        containerd.version()
    );
    let median = |costs: &[Cost], figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = costs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    for (who, costs) in [("the least", &least), ("cri-gc", &ours)] {
        println!(
            "{who:>10}: {:.2} s, {:.0} requests, containerd {:.2} s, own {:.2} s of a processor, {:.1} MB at most",
            median(costs, |cost| cost.seconds),
            median(costs, |cost| cost.requests as f64),
            median(costs, |cost| cost.runtime),
            median(costs, |cost| cost.own),
            median(costs, |cost| cost.megabytes),
        );
    }
    let seconds = |cost: &Cost| cost.seconds;
    println!("     ratio: {:.2} of the time", median(&ours, seconds) / median(&least, seconds));
}

/// A node full of dead containers.
struct Node<'a> {
    containerd: &'a Containerd,
    cri: Cri,
    round: usize,
    pods: usize,
}

impl<'a> Node<'a> {
    async fn make(containerd: &'a Containerd, pods: usize, round: usize) -> Self {
        let node = Self { containerd, cri: containerd.cri(), round, pods };
        let made = futures_util::stream::iter(0..pods).map(|number| node.pod(number));
        made.buffer_unordered(4).collect::<Vec<()>>().await;
        node
    }

    fn uid(&self, number: usize) -> String {
        service::uid(self.round * 10_000 + number)
    }

    /// Whether the pod of that UID is deleted: every second one is.
    fn is_deleted(&self, uid: &str) -> bool {
        (0..self.pods).step_by(2).any(|number| self.uid(number) == uid)
    }

    fn spec(&self, number: usize) -> PodSpec {
        let spec = PodSpec::new("bench", &format!("pod-{number}")).uid(&self.uid(number));
        spec.logs(self.containerd.pod_logs())
    }

    async fn pod(&self, number: usize) {
        let pod = self.cri.run_pod(self.spec(number)).await.unwrap();
        for name in NAMES {
            let spec = ContainerSpec::exits(name, IMAGE);
            self.cri.run_dead(&pod, &spec, 0..ATTEMPTS).await.unwrap();
        }
        self.cri.stop_pod(&pod.id).await.unwrap();
    }

    /// What a collection has to remove.
    async fn to_remove(&self) -> (Vec<Container>, Vec<PodSandbox>) {
        let newest = |container: &Container| {
            container.metadata.as_ref().is_some_and(|metadata| metadata.attempt == ATTEMPTS - 1)
        };
        let uid = |container: &Container| {
            container
                .labels
                .iter()
                .find(|pair| pair.key == cri_gc_proto::POD_UID_LABEL)
                .unwrap()
                .value
                .clone()
        };
        let mut containers = self.cri.list_containers().await.unwrap();
        containers.retain(|container| {
            container.state() == ContainerState::ContainerExited
                && !newest(container)
                && !self.is_deleted(&uid(container))
        });
        let mut sandboxes = self.cri.list_sandboxes().await.unwrap();
        sandboxes.retain(|sandbox| self.is_deleted(&sandbox.metadata.as_ref().unwrap().uid));
        (containers, sandboxes)
    }

    /// The least that does it; returns the number of requests.
    async fn collect_least(&self) -> usize {
        let (containers, sandboxes) = self.to_remove().await;
        let requests = Cell::new(0);
        let one = async || requests.set(requests.get() + 1);
        let of_pods =
            futures_util::stream::iter(&sandboxes).for_each_concurrent(IN_FLIGHT / 2, |sandbox| async {
                one().await;
                self.cri.stop_pod(&sandbox.id).await.unwrap();
                one().await;
                self.cri.remove_pod(&sandbox.id).await.unwrap();
            });
        let of_containers =
            futures_util::stream::iter(&containers).for_each_concurrent(IN_FLIGHT / 2, |container| async {
                one().await;
                self.cri.remove(&container.id).await.unwrap();
            });
        futures_util::join!(of_pods, of_containers);
        requests.get()
    }

    /// By the service, which has watched the node for long enough.
    async fn collect_by_service(&self) -> Cost {
        let folder = tempfile::tempdir().unwrap();
        let (config, list) = (folder.path().join("config.toml"), folder.path().join("pods.json"));
        let living = (1..self.pods)
            .step_by(2)
            .map(|number| format!("{{\"uid\": {:?}, \"state\": \"active\"}}", self.uid(number)));
        std::fs::write(&list, format!("[{}]", living.collect::<Vec<_>>().join(","))).unwrap();
        let set = |mode: &str| {
            let new = folder.path().join("new");
            std::fs::write(&new, self.settings(mode, folder.path(), &list)).unwrap();
            std::fs::rename(&new, &config).unwrap();
        };
        set("report");
        let service = Service::start(&config);
        // The list is read every ten seconds, a pod has to be missing twice, and a container seen dead.
        tokio::time::sleep(Duration::from_secs(28)).await;
        let collect = async || {
            let before = requests();
            set("enforce");
            let began = Instant::now();
            while self.left().await > 0 {
                assert!(began.elapsed() < PATIENCE, "the collection takes too long");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            requests() - before
        };
        let own = processor_time(service.0.id());
        let cost = self.measured(collect).await;
        Cost { own: processor_time(service.0.id()) - own, megabytes: service.megabytes("VmHWM:"), ..cost }
    }

    fn settings(&self, mode: &str, folder: &Path, list: &Path) -> String {
        format!(
            "runtime.endpoint = {:?}\npods.source = \"file\"\npods.file = {list:?}\n\
             pods.max_newly_deleted_percent = 100\npods.kubelet_root = {:?}\nlog_gc.pod_logs_root = {:?}\n\
             log_gc.legacy_container_logs_root = {:?}\nadmin.socket = {:?}\nstate.dir = {:?}\n\
             metrics.listen = {METRICS:?}\nlog.level = \"warning\"\ncontainer_gc.mode = {mode:?}\n\
             container_gc.period = \"5s\"\ncontainer_gc.min_dead_age = \"1s\"\nsandbox_gc.mode = {mode:?}\n\
             log_gc.mode = {mode:?}\nimage_gc.mode = \"off\"\n",
            self.containerd.endpoint(),
            folder.join("kubelet"),
            self.containerd.pod_logs(),
            self.containerd.container_logs(),
            folder.join("admin.sock"),
            folder.join("state"),
        )
    }

    /// What is left of that which a collection removes.
    async fn left(&self) -> usize {
        let (containers, sandboxes) = self.to_remove().await;
        containers.len() + sandboxes.len()
    }

    /// Measures a collection.
    async fn measured(&self, collect: impl AsyncFn() -> usize) -> Cost {
        let mut events = Command::new("ctr")
            .arg("--address")
            .arg(self.containerd.socket())
            .args(["--namespace", "k8s.io", "events"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let runtime = || processor_time(self.containerd.pid());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (before, own) = (runtime(), processor_time(std::process::id()));
        let requests = collect().await;
        let (runtime, own) = (runtime() - before, processor_time(std::process::id()) - own);
        tokio::time::sleep(Duration::from_millis(500)).await;
        events.kill().unwrap();
        let output = events.wait_with_output().unwrap();
        let seconds = span(&String::from_utf8_lossy(&output.stdout));
        for number in (0..self.pods).step_by(2) {
            let _ = std::fs::remove_dir_all(pod_log_dir(self.containerd.pod_logs(), &self.spec(number)));
        }
        // What a collection keeps is not in the way of the next one.
        for sandbox in self.cri.list_sandboxes().await.unwrap() {
            self.cri.remove_pod(&sandbox.id).await.unwrap();
        }
        Cost { seconds, requests, runtime, own, megabytes: 0.0 }
    }
}

/// Seconds from the first to the last container that was deleted, by the events of containerd.
fn span(events: &str) -> f64 {
    let deleted = events.lines().filter(|line| line.contains("/containers/delete"));
    let at = deleted.map(|line| {
        let time = line.split_whitespace().nth(1).expect("day, time, zone");
        let mut parts = time.split(':').map(|part| part.parse::<f64>().expect("a number"));
        let mut next = || parts.next().expect("hours, minutes, seconds");
        next() * 3_600.0 + next() * 60.0 + next()
    });
    let at: Vec<f64> = at.collect();
    let last = at.iter().copied().fold(0.0, f64::max);
    last - at.iter().copied().fold(f64::MAX, f64::min)
}

/// Seconds of processor time of a process so far.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// The requests that the service has made.
fn requests() -> usize {
    service::metric("cri_gc_rpc_duration_seconds_count{", "") as usize
}
