//! The released program as a service on an embedded node, for benchmarks: a process of its own, and what the kernel counts of it.

#![allow(dead_code, reason = "not every benchmark needs all of it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(word)).expect("it is there");
        line.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
    }

    /// The same of a number of KiB, in MB.
    pub fn megabytes(&self, word: &str) -> f64 {
        self.status(word) as f64 * 1024.0 / 1e6
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where it shows its metrics.
pub const METRICS: &str = "127.0.0.1:19110";

/// The sum of all metrics that begin so, and have that in their line. 0 while it shows none.
pub fn metric(begin: &str, label: &str) -> f64 {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(METRICS)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    let lines = answer.lines().filter(|line| line.starts_with(begin) && line.contains(label));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// Settings with which it has to do with that node only, and keeps its own files in `folder`. Each line has a whole key, so that
/// others can follow.
pub fn settings(sim: &Sim, folder: &Path) -> String {
    let paths = sim.paths();
    format!(
        "runtime.endpoint = {:?}\npods.kubelet_root = {:?}\nlog_gc.pod_logs_root = {:?}\n\
         log_gc.legacy_container_logs_root = {:?}\nadmin.socket = {:?}\nstate.dir = {:?}\n",
        sim.endpoint(),
        folder.join("kubelet"),
        paths.pod_logs_root,
        paths.legacy_root,
        folder.join("admin.sock"),
        folder.join("state"),
    )
}

/// The UID of the pod of that number.
pub fn uid(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-{number:012x}")
}
