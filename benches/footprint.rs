//! What the idle service costs: resident memory and processor time of the released program, as a process of its own, on
//! the embedded runtime with a node of ordinary size on which nothing happens.
//!
//! `cargo bench --bench footprint`, with the seconds to measure for as an argument if they should not be 60. It ends with
//! an error when a limit is passed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails loudly, and waits in earnest"
)]

mod service;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cri_gc_sim::{ContainerSpec, ImageSpec, Options, PodSpec, Sim, uid};
use service::Service;

/// Resident memory, in bytes: nearly all of it is the program's own text, so each dependency shows.
const MEMORY: u64 = 15_100_000;

/// Processor time, in percent of one core.
const PERCENT: f64 = 0.1;

/// The first passes, and what the start has left to do.
const SETTLE: Duration = Duration::from_secs(15);

/// What a kubelet runs at most by default.
const PODS: usize = 110;

fn main() -> ExitCode {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(60);
    let folder = tempfile::tempdir().unwrap();
    let sim = node(folder.path());
    let service = serve(folder.path(), &sim);
    let pid = service.0.id();
    std::thread::sleep(SETTLE);
    let (before, began) = (processor_time(pid), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, lasted) = (processor_time(pid), began.elapsed());
    let (memory, threads) = (service.status("VmRSS:") * 1024, service.status("Threads:"));
    let heap = service.megabytes("RssAnon:");
    drop(service);

    let percent = 100.0 * (after - before).as_secs_f64() / lasted.as_secs_f64();
    println!("resident memory  {:.1} MB (at most {:.1})", memory as f64 / 1e6, MEMORY as f64 / 1e6);
    println!("processor time   {percent:.3} % of a core over {seconds} s (at most {PERCENT})");
    println!("of that no file  {heap:.1} MB");
    println!("threads          {threads}");
    if memory <= MEMORY && percent < PERCENT { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A node on which nothing happens: every pod runs, and nothing is to be removed.
fn node(folder: &Path) -> Sim {
    let sim = Sim::start(&folder.join("node"), Options::default()).unwrap();
    for number in 0..PODS {
        let pod = PodSpec::new("ns", format!("pod-{number}"), uid(number));
        let sandbox = sim.add_pod(pod).unwrap();
        for name in ["app", "proxy"] {
            sim.add_container(ContainerSpec::new(&sandbox, name)).unwrap();
        }
        sim.add_image(ImageSpec::single(format!("r.io/image-{number}:1"), 1 << 20, 1 << 20));
    }
    sim
}

fn serve(folder: &Path, sim: &Sim) -> Service {
    let metrics = "metrics.listen = \"127.0.0.1:19477\"\n";
    service::configure(folder, &(service::settings(sim, folder) + metrics));
    Service::start(&service::config(folder))
}

/// Time that all threads of the process have run for.
fn processor_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = tasks.map(|task| -> u64 {
        let schedstat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        schedstat.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
    });
    Duration::from_nanos(nanoseconds.sum())
}
