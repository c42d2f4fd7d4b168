//! How long `cri-gc plan` takes on a node with 20,000 dead containers, finish times included: the released program as a
//! process of its own, on the embedded runtime.
//!
//! `cargo bench --bench plan_node`. It ends with an error when the limit is passed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails loudly, and measures in earnest"
)]

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use cri_gc_sim::{ContainerSpec, Options, PodSpec, Sim, uid};

/// How long a plan may take.
const LIMIT: Duration = Duration::from_secs(2);

const CONTAINERS: u32 = 20_000;
/// Containers in each pod.
const OF_A_POD: u32 = 20;

fn main() -> ExitCode {
    // Of pods that are gone, the source `runtime` asks for the finish times by itself as well.
    let took = [("living pods", true), ("deleted pods", false)].map(|(pods, live)| {
        let took = measure(live);
        println!(
            "{CONTAINERS} dead containers of {pods}: {:.2} s (at most {} s)",
            took.as_secs_f64(),
            LIMIT.as_secs()
        );
        took
    });
    if took.into_iter().all(|took| took <= LIMIT) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(live: bool) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { start_time: jiff::Timestamp::now(), ..Options::default() };
    let sim = Sim::start(&folder.path().join("node"), options).unwrap();
    let hour = Duration::from_secs(3_600);
    for number in 0..CONTAINERS / OF_A_POD {
        let pod = PodSpec::new("ns", format!("pod-{number}"), uid(number as usize))
            .created_at(sim.ago(2 * hour))
            .with(|pod| pod.log_directory = false);
        let pod = sim.add_pod(if live { pod } else { pod.not_ready() }).unwrap();
        for attempt in 0..OF_A_POD {
            let made = sim.ago(hour - attempt * Duration::from_secs(60));
            let job = ContainerSpec::new(&pod, "job").attempt(attempt).exited(made, made).no_log();
            sim.add_container(job).unwrap();
        }
    }
    let paths = sim.paths();
    let mut plan = Command::new(env!("CARGO_BIN_EXE_cri-gc"));
    plan.args(["plan", "--output", "json", "--config", "/dev/null", "--endpoint", &sim.endpoint()]);
    for (key, path) in [
        ("pods.kubelet_root", paths.root.join("kubelet")),
        ("log_gc.pod_logs_root", paths.pod_logs_root.clone()),
        ("log_gc.legacy_container_logs_root", paths.legacy_root.clone()),
        ("state.dir", folder.path().join("state")),
    ] {
        plan.arg("--set").arg(format!("{key}={}", path.display()));
    }
    let began = Instant::now();
    let output = plan.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success(), "{:?}", output.status);
    let planned = String::from_utf8(output.stdout).unwrap().matches("\"over_pod_container_limit\"").count();
    let deleted = if live { CONTAINERS - CONTAINERS / OF_A_POD } else { 0 };
    assert_eq!(planned, usize::try_from(deleted).unwrap());
    took
}
