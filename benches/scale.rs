//! What a clean-up costs as a node grows: time, requests to the runtime, memory. The released program as a process of its own, on the
//! embedded runtime.
//!
//! `cargo bench --bench scale`, with the numbers of containers as arguments if they should not be 1,000 and 10,000; from about 20,000 on
//! no answer holds them all. `living`, `deleted`, `logs` and `images` choose a part of it. It ends with an error when a limit on the requests is passed; times are for comparison.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails loudly, and waits in earnest"
)]

mod service;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cri_gc_sim::{ContainerSpec, ImageSpec, Method, Options, PodSpec, Sim, uid};
use service::{METRICS, Service};

/// What can be chosen by arguments.
const PARTS: [&str; 4] = ["living", "deleted", "logs", "images"];

/// Containers of a pod: attempts of one name, of which one is kept while the pod lives.
const OF_A_POD: usize = 5;

/// Requests for each removed container of living pods: its removal, and its part of one list.
const OF_A_CONTAINER: f64 = 1.3;

/// Requests for each deleted pod: its part of a list that is made in parts, the list of its containers, its stop and its removal.
const OF_A_DELETED_POD: f64 = 4.1;

/// Log directories whose pods are deleted.
const DIRECTORIES: usize = 10_000;

/// Images that nothing uses.
const IMAGES: usize = 2_270;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

const HOUR: Duration = Duration::from_secs(3_600);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let numbers = if numbers.is_empty() { vec![1_000, 10_000] } else { numbers };
    let names = |part: &str| arguments.iter().any(|argument| argument == part);
    let chooses = PARTS.into_iter().any(names);
    let is_chosen = |part: &str| !chooses || names(part);
    let mut good = true;
    if is_chosen("living") {
        numbers.iter().for_each(|number| good &= living_pods(*number));
    }
    if is_chosen("deleted") {
        numbers.iter().for_each(|number| good &= deleted_pods(*number));
    }
    if is_chosen("logs") {
        log_directories();
    }
    if is_chosen("images") {
        images();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A node, and the service on it.
struct Bench {
    folder: tempfile::TempDir,
    sim: Sim,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { start_time: jiff::Timestamp::now(), ..Options::default() };
        let sim = Sim::start(&folder.path().join("node"), options).unwrap();
        Self { folder, sim }
    }

    fn start(&self) -> Service {
        Service::start(&service::config(self.folder.path()))
    }

    /// Settings with which the loops of containers, sandboxes and logs do that. Further ones decide which pods live.
    fn set(&self, mode: &str, pods: &str) {
        self.set_with(mode, pods, "image_gc.mode = \"off\"");
    }

    /// The same, and what the loop of images does.
    fn set_with(&self, mode: &str, pods: &str, images: &str) {
        let folder = self.folder.path();
        let own = format!(
            "{pods}\n{images}\ncontainer_gc.mode = {mode:?}\ncontainer_gc.period = \"10s\"\n\
             container_gc.min_dead_age = \"1s\"\nsandbox_gc.mode = {mode:?}\nlog_gc.mode = {mode:?}\n\
             log.level = \"warning\"\nmetrics.listen = {METRICS:?}\n"
        );
        service::configure(folder, &(service::settings(&self.sim, folder) + &own));
    }

    /// A pod with dead containers, attempts of one name.
    fn pod(&self, number: usize) {
        let sim = &self.sim;
        let pod = PodSpec::new("ns", format!("pod-{number}"), uid(number)).created_at(sim.ago(2 * HOUR));
        let pod = sim.add_pod(pod.not_ready().with(|pod| pod.log_directory = false)).unwrap();
        for attempt in 0..OF_A_POD {
            let attempt = u32::try_from(attempt).unwrap();
            let made = sim.ago(HOUR - attempt * Duration::from_secs(60));
            let job = ContainerSpec::new(&pod, "job").attempt(attempt).exited(made, made).no_log();
            sim.add_container(job).unwrap();
        }
    }

    fn wait(&self, what: &str, check: impl Fn(&Sim) -> bool) {
        let began = Instant::now();
        while !check(&self.sim) {
            assert!(began.elapsed() < PATIENCE, "{what} takes too long");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Waits for that many more passes over containers.
fn passes(count: f64) {
    let passes = || service::metric("cri_gc_passes_total{", "loop=\"container_gc\"");
    let (began, wanted) = (Instant::now(), passes() + count);
    while passes() < wanted {
        assert!(began.elapsed() < PATIENCE, "passes take too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// By the runtime: a pod is deleted once nothing of it has run for so long.
const AT_ONCE: &str = "pods.runtime_grace = \"1s\"";
const NEVER: &str = "pods.runtime_grace = \"1000h\"";

/// Dead containers of living pods, which the service has watched for long enough. Whether the requests are within the limit.
fn living_pods(containers: usize) -> bool {
    let bench = Bench::new();
    let sim = &bench.sim;
    (0..containers / OF_A_POD).for_each(|number| bench.pod(number));
    bench.set("report", NEVER);
    let service = bench.start();
    passes(3.0);
    // From now on for nearly a period, nothing is listed.
    let kept = containers / OF_A_POD;
    sim.clear_calls();
    let before = service.megabytes("VmRSS:");
    bench.set("enforce", NEVER);
    bench.wait("the first removal", |sim| sim.count(Method::RemoveContainer) > 0);
    let began = Instant::now();
    bench.wait("the removals", |sim| sim.with(|node| node.containers().count()) == kept);
    let took = began.elapsed();
    let (removed, requests) = (containers - kept, sim.calls().len());
    let of_a_container = requests as f64 / removed as f64;
    println!(
        "{removed} containers of {kept} living pods: {:.2} s, {requests} requests ({of_a_container:.2} for each, at most {OF_A_CONTAINER}), \
         {before:.1} MB before, {:.1} MB at most",
        took.as_secs_f64(),
        service.megabytes("VmHWM:"),
    );
    of_a_container <= OF_A_CONTAINER
}

/// Pods that a list of the living ones does not contain, with dead containers. Whether the requests are within the limit.
fn deleted_pods(containers: usize) -> bool {
    let bench = Bench::new();
    let sim = &bench.sim;
    let pods = containers / OF_A_POD;
    (0..pods).for_each(|number| bench.pod(number));
    let living = uid(pods);
    sim.add_pod(PodSpec::new("ns", "living", living.clone())).unwrap();
    let list = bench.folder.path().join("pods.json");
    std::fs::write(&list, format!("[{{\"uid\": {living:?}, \"state\": \"active\"}}]")).unwrap();
    let by_file =
        format!("pods.source = \"file\"\npods.file = {list:?}\npods.max_newly_deleted_percent = 100");
    bench.set("report", &by_file);
    let service = bench.start();
    // The list is read every ten seconds, and a pod has to be missing twice.
    std::thread::sleep(Duration::from_secs(25));
    passes(2.0);
    sim.clear_calls();
    let before = service.megabytes("VmRSS:");
    bench.set("enforce", &by_file);
    bench.wait("the first removal", |sim| sim.count(Method::RemovePodSandbox) > 0);
    let began = Instant::now();
    bench.wait("the removals", |sim| sim.with(|node| node.containers().count()) == 0);
    let (took, requests) = (began.elapsed(), sim.calls().len());
    let (of_a_pod, most) = (requests as f64 / pods as f64, service.megabytes("VmHWM:"));
    std::thread::sleep(Duration::from_secs(10));
    println!(
        "{containers} containers of {pods} deleted pods: {:.2} s, {requests} requests ({of_a_pod:.2} for each pod, at most \
         {OF_A_DELETED_POD}), {before:.1} MB before, {most:.1} MB at most, {:.1} MB after",
        took.as_secs_f64(),
        service.megabytes("VmRSS:"),
    );
    of_a_pod <= OF_A_DELETED_POD
}

fn log_directories() {
    let bench = Bench::new();
    let root = bench.sim.paths().pod_logs_root.clone();
    let old = std::time::SystemTime::now() - HOUR;
    for number in 0..DIRECTORIES {
        make_directory(&root.join(format!("ns_pod-{number}_{}", uid(number))), old);
    }
    bench.set("enforce", AT_ONCE);
    let _service = bench.start();
    let left = || std::fs::read_dir(&root).unwrap();
    bench.wait("the first directory", |_| left().count() < DIRECTORIES);
    bench.sim.clear_calls();
    let began = Instant::now();
    bench.wait("the directories", |_| left().next().is_none());
    println!(
        "{DIRECTORIES} log directories: {:.2} s, {} lists",
        began.elapsed().as_secs_f64(),
        bench.sim.count(Method::ListContainers) + bench.sim.count(Method::ListPodSandbox),
    );
}

fn images() {
    let bench = Bench::new();
    for number in 0..IMAGES {
        bench.sim.add_image(ImageSpec::single(format!("r.io/image-{number}:1"), 1 << 20, 1 << 20));
    }
    let by_age = "image_gc.min_age = \"1s\"\nimage_gc.max_age = \"2s\"\nimage_gc.period = \"5s\"";
    bench.set_with("enforce", NEVER, by_age);
    let _service = bench.start();
    bench.wait("the first image", |sim| sim.count(Method::RemoveImage) > 0);
    bench.sim.clear_calls();
    let began = Instant::now();
    // The sandbox image is kept.
    bench.wait("the images", |sim| sim.with(|node| node.images().count()) == 1);
    println!(
        "{IMAGES} images: {:.2} s, {} lists, {} requests",
        began.elapsed().as_secs_f64(),
        bench.sim.count(Method::ListContainers) + bench.sim.count(Method::ListImages),
        bench.sim.calls().len(),
    );
}

/// A log directory as a kubelet leaves it, untouched since then.
fn make_directory(path: &Path, since: std::time::SystemTime) {
    let inner = path.join("app");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("0.log"), "log\n").unwrap();
    for each in [&inner.join("0.log"), &inner, &path.to_owned()] {
        std::fs::File::open(each).unwrap().set_modified(since).unwrap();
    }
}
