//! The released program as a service on an embedded node, for benchmarks: a process of its own, and what the kernel counts of it.

#![allow(dead_code, reason = "not every benchmark needs all of it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cri_gc_sim::Sim;

/// The process, which ends with this.
pub struct Service(pub Child);

impl Service {
    /// Starts it with that configuration file.
    pub fn start(config: &Path) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_cri-gc"));
        Self(program.arg("run").arg("--config").arg(config).stdin(Stdio::null()).spawn().unwrap())
    }

    /// The number behind that word of /proc/PID/status.
    pub fn status(&self, word: &str) -> u64 {
        status(self.0.id(), word)
    }

    /// The same of a number of KiB, in MB.
    pub fn megabytes(&self, word: &str) -> f64 {
        megabytes(self.0.id(), word)
    }
}

fn status(pid: u32, word: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(word)).expect("it is there");
    line.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
}

/// The number of KiB behind that word of /proc/PID/status, in MB.
pub fn megabytes(pid: u32, word: &str) -> f64 {
    status(pid, word) as f64 * 1024.0 / 1e6
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where it shows its metrics.
pub const METRICS: &str = "127.0.0.1:19110";

/// Its metrics; nothing while it shows none.
pub fn metrics() -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(METRICS)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}

/// The sum of all metrics that begin so, and have that in their line. 0 while it shows none.
pub fn metric(begin: &str, label: &str) -> f64 {
    let answer = metrics();
    let lines = answer.lines().filter(|line| line.starts_with(begin) && line.contains(label));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// How many requests of each method were sent.
pub type Requests = BTreeMap<String, usize>;

/// The counts of the metrics that begin so, by the value of that label.
pub fn counts(metrics: &str, begin: &str, label: &str) -> Requests {
    let mut counts = Requests::new();
    let label = format!("{label}=\"");
    for line in metrics.lines().filter(|line| line.starts_with(begin)) {
        let value = line.split_once(&label).unwrap().1.split('"').next().unwrap();
        *counts.entry(value.to_owned()).or_default() +=
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as usize;
    }
    counts
}

/// Settings with which it has to do with that node only, and keeps its own files in `folder`. Each line has a whole key, so that
/// others can follow.
pub fn settings(sim: &Sim, folder: &Path) -> String {
    let paths = sim.paths();
    settings_on(&sim.endpoint(), &paths.pod_logs_root, &paths.legacy_root, folder)
}

/// The same on any runtime.
pub fn settings_on(endpoint: &str, pod_logs: &Path, container_logs: &Path, folder: &Path) -> String {
    format!(
        "runtime.endpoint = {:?}\npods.kubelet_root = {:?}\nlog_gc.pod_logs_root = {:?}\n\
         log_gc.legacy_container_logs_root = {:?}\nadmin.socket = {:?}\nstate.dir = {:?}\n",
        endpoint,
        folder.join("kubelet"),
        pod_logs,
        container_logs,
        folder.join("admin.sock"),
        folder.join("state"),
    )
}

/// Its configuration file in that folder.
pub fn config(folder: &Path) -> PathBuf {
    folder.join("config.toml")
}

/// Writes that file at once, as a running service wants it.
pub fn configure(folder: &Path, settings: &str) {
    let new = folder.join("config.new");
    std::fs::write(&new, settings).unwrap();
    std::fs::rename(new, config(folder)).unwrap();
}

/// The time within which that percentage of them is, which are in order; 0 of none.
pub fn within(percent: usize, times: &[Duration]) -> Duration {
    times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}
