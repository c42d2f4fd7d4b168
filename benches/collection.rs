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

mod dead_node;
mod service;

use std::process::{Command, Stdio};
use std::time::Duration;

use cri_gc_test_support::{Containerd, OciImage, Options};
use dead_node::{IMAGE, NAMES, Node};

const ATTEMPTS: u32 = 5;

/// Rounds of each; the median counts.
const ROUNDS: usize = 3;

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
        let node = Node::make(&containerd, 2 * round, pods, ATTEMPTS).await;
        least.push(measured(&node, std::process::id(), async || node.collect_least().await).await);
        node.clear().await;
        let node = Node::make(&containerd, 2 * round + 1, pods, ATTEMPTS).await;
        let watched = node.watched().await;
        let cost = measured(&node, watched.service.0.id(), async || watched.collect().await).await;
        ours.push(Cost { megabytes: watched.service.megabytes("VmHWM:"), ..cost });
        drop(watched);
        node.clear().await;
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

/// Measures what that process has collected.
async fn measured(node: &Node<'_>, collector: u32, collect: impl AsyncFn() -> usize) -> Cost {
    let mut events = Command::new("ctr")
        .arg("--address")
        .arg(node.containerd.socket())
        .args(["--namespace", "k8s.io", "events"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let times = || [node.containerd.pid(), collector].map(processor_time);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = times();
    let requests = collect().await;
    let after = times();
    tokio::time::sleep(Duration::from_millis(500)).await;
    events.kill().unwrap();
    let output = events.wait_with_output().unwrap();
    let seconds = span(&String::from_utf8_lossy(&output.stdout));
    let [runtime, own] = [after[0] - before[0], after[1] - before[1]];
    Cost { seconds, requests, runtime, own, megabytes: 0.0 }
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
