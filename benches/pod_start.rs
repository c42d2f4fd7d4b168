//! How much longer a pod takes to start while dead containers are collected on a real containerd: by no program, by the service, and as a kubelet
//! does it. Needs root and containerd.
//!
//! `cargo bench --bench pod_start`, with the number of pods as an argument if it should not be 150; each has 20 dead containers.

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

use std::time::{Duration, Instant};

use cri_gc_test_support::{ContainerSpec, Containerd, OciImage, Options, PodSpec};
use dead_node::{IMAGE, Node};

const ATTEMPTS: u32 = 10;

/// Between the end of a pod and the start of the next one.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the starts are measured while nothing is collected.
const QUIET: Duration = Duration::from_secs(20);

fn main() {
    let pods = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(150);
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure(pods));
}

async fn measure(pods: usize) {
    let containerd = Containerd::start(Options::default()).unwrap();
    containerd.import(&OciImage::new(IMAGE));
    let node = Node::make(&containerd, 0, pods, ATTEMPTS).await;
    let nothing = async {
        tokio::time::sleep(QUIET).await;
        0
    };
    during(&node, "nothing", nothing).await;
    let watched = node.watched().await;
    during(&node, "cri-gc", async { watched.collect().await.values().sum() }).await;
    drop(watched);
    node.clear().await;
    let node = Node::make(&containerd, 1, pods, ATTEMPTS).await;
    during(&node, "one by one", node.collect_one_by_one()).await;
}

/// Starts one pod after the other during that, and prints how long they took.
async fn during(node: &Node<'_>, who: &str, collection: impl Future<Output = usize>) {
    let began = Instant::now();
    let mut starts = Vec::new();
    let pods = async {
        for number in 0.. {
            let started = Instant::now();
            let spec = PodSpec::new("bench", "new").uid(&dead_node::running()).attempt(number);
            let spec = spec.logs(node.containerd.pod_logs());
            let pod = node.cri.run_pod(spec).await.unwrap();
            let container = node.cri.run(&pod, &ContainerSpec::exits("app", IMAGE)).await.unwrap();
            starts.push(started.elapsed());
            // Stopped while it ends, containerd may not find its process.
            node.cri.wait_exited(&container).await.unwrap();
            node.cri.stop_pod(&pod.id).await.unwrap();
            node.cri.remove_pod(&pod.id).await.unwrap();
            tokio::time::sleep(PAUSE).await;
        }
    };
    let requests = tokio::select! {
        requests = collection => requests,
        () = pods => 0,
    };
    let took = began.elapsed();
    starts.sort_unstable();
    let at = |percent| service::within(percent, &starts).as_millis();
    println!(
        "{who:>10}: {:.1} s, {requests} requests, in which {} pods have started, half of them within {} ms, nine of ten within {} ms",
        took.as_secs_f64(),
        starts.len(),
        at(50),
        at(90),
    );
}
