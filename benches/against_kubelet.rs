//! What the collection of dead containers costs on a real containerd: time, requests, processor time and memory, of the service, of a real
//! kubelet, and of the least that does it, in turns. Needs root and containerd; the kubelet is one of Kubernetes 1.20 in the
//! folder that `CRI_GC_TEST_KUBERNETES` names, and is left out without one.
//!
//! `cargo bench --bench against_kubelet`, with the numbers of pods as arguments if they should not be 30 and 150. Half of the pods are
//! deleted; each has ten dead containers (two names, five attempts), and the newest of each name of a living pod is kept.

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

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use cri_gc_test_support::{Containerd, Kubelet, OciImage, Options};
use dead_node::{IMAGE, NAMES, Node};
use service::{Requests, megabytes};

const ATTEMPTS: u32 = 5;

/// Rounds of each; the median counts.
const ROUNDS: usize = 3;

/// A collector that removes nothing for so long, in seconds, waits for its next pass: that is no part of its time.
const BETWEEN_PASSES: f64 = 5.0;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let numbers = if numbers.is_empty() { vec![30, 150] } else { numbers };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for pods in numbers {
        runtime.block_on(compare(pods));
    }
}

/// What one collection cost.
struct Cost {
    /// From the first removal to the last, as containerd reports them, without the waits between passes.
    seconds: f64,
    requests: Requests,
    /// Processor time of containerd, and of who collects, in seconds.
    runtime: f64,
    own: f64,
    /// Of who collects, at most.
    megabytes: f64,
}

async fn compare(pods: usize) {
    let containerd = Containerd::start(Options::default()).unwrap();
    containerd.import(&OciImage::new(IMAGE));
    let mut kubelet = containerd.kubelet_or_skip("of the kubelet");
    let (mut least, mut ours, mut kubelets) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let node = Node::make(&containerd, 3 * round, pods, ATTEMPTS).await;
        least.push(measured(&node, std::process::id(), async || node.collect_least().await).await);
        node.clear().await;
        let node = Node::make(&containerd, 3 * round + 1, pods, ATTEMPTS).await;
        let watched = node.watched().await;
        ours.push(measured(&node, watched.service.0.id(), async || watched.collect().await).await);
        drop(watched);
        node.clear().await;
        if let Some(kubelet) = &mut kubelet {
            let node = Node::make(&containerd, 3 * round + 2, pods, ATTEMPTS).await;
            kubelets.push(by_kubelet(&node, kubelet).await);
            node.clear().await;
        }
    }
    let containers = pods * NAMES.len() * ATTEMPTS as usize;
    println!(
        "containerd {}, {containers} dead containers of {pods} pods, medians of {ROUNDS}:",
        containerd.version()
    );
    print("the least", &least);
    print("cri-gc", &ours);
    print("kubelet", &kubelets);
    let ratio = |to: &[Cost]| median(&ours, |cost| cost.seconds) / median(to, |cost| cost.seconds);
    println!("cri-gc takes {:.2} of the time of the least", ratio(&least));
    if !kubelets.is_empty() {
        println!("cri-gc takes {:.2} of the time of the kubelet", ratio(&kubelets));
    }
}

/// A kubelet collects it: it knows the pods that are not deleted, whose containers have ended for good.
async fn by_kubelet(node: &Node<'_>, kubelet: &mut Kubelet) -> Cost {
    node.living().for_each(|pod| kubelet.know_ended_pod(&pod, IMAGE, &NAMES));
    kubelet.start();
    let cost = measured(node, kubelet.pid(), async || {
        node.is_collected().await;
        let metrics = kubelet.metrics().expect("a kubelet shows its metrics");
        service::counts(&metrics, "kubelet_runtime_operations_total{", "operation_type")
    });
    let cost = cost.await;
    kubelet.stop();
    cost
}

fn median(costs: &[Cost], figure: impl Fn(&Cost) -> f64) -> f64 {
    let mut figures: Vec<f64> = costs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn print(who: &str, costs: &[Cost]) {
    let Some(one) = costs.first() else { return };
    println!(
        "{who:>10}: {:.2} s, {:.0} requests, containerd {:.2} s, own {:.2} s of a processor, {:.1} MB at most",
        median(costs, |cost| cost.seconds),
        median(costs, |cost| cost.requests.values().sum::<usize>() as f64),
        median(costs, |cost| cost.runtime),
        median(costs, |cost| cost.own),
        median(costs, |cost| cost.megabytes),
    );
    let of =
        |method: &str| median(costs, |cost| cost.requests.get(method).copied().unwrap_or_default() as f64);
    let methods: BTreeMap<_, _> = one.requests.keys().map(|method| (method, of(method))).collect();
    let methods: Vec<String> = methods.iter().map(|(method, count)| format!("{method} {count}")).collect();
    println!("            {}", methods.join(", "));
}

/// Measures what that process has collected.
async fn measured(node: &Node<'_>, collector: u32, collect: impl AsyncFn() -> Requests) -> Cost {
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
    Cost { seconds, requests, runtime, own, megabytes: megabytes(collector, "VmHWM:") }
}

/// Seconds in which containers were deleted, by the events of containerd.
fn span(events: &str) -> f64 {
    let deleted = events.lines().filter(|line| line.contains("/containers/delete"));
    let at = deleted.map(|line| {
        let time = line.split_whitespace().nth(1).expect("day, time, zone");
        let mut parts = time.split(':').map(|part| part.parse::<f64>().expect("a number"));
        let mut next = || parts.next().expect("hours, minutes, seconds");
        next() * 3_600.0 + next() * 60.0 + next()
    });
    let mut at: Vec<f64> = at.collect();
    at.sort_by(f64::total_cmp);
    let gaps = at.iter().zip(at.iter().skip(1)).map(|(before, after)| after - before);
    gaps.filter(|gap| *gap < BETWEEN_PASSES).sum()
}

/// Seconds of processor time of a process so far.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}
