//! How much memory a plan takes: `cargo bench --bench plan_memory [-- CONTAINERS]`.
//!
//! Tells, for each container, the bytes of the observation and the bytes by which the peak of the process grew while it
//! was planned. A counting allocator would be exact but needs unsafe code; the kernel's peak is what an operator pays.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

mod big_node;

use std::hint::black_box;
use std::process::ExitCode;

use cri_gc_config::Settings;
use cri_gc_policy::decide;

fn main() -> ExitCode {
    // cargo adds flags of its own.
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let count = asked.map_or(Some(1_000_000), |text| text.parse().ok());
    let Some(count) = count.filter(|&count| count > 0) else {
        eprintln!("the number of containers has to be a positive number");
        return ExitCode::from(2);
    };
    let bytes_each = |kib: u64| kib * 1024 / count;

    let start = status("VmRSS");
    let observation =
        big_node::containers(usize::try_from(count).unwrap_or(usize::MAX), big_node::Units::OfFive);
    // What building it took for a moment must not hide what planning takes.
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        eprintln!("the peak can't be reset, so the figures are lower bounds: {error}");
    }
    let observed = status("VmRSS");
    let plan = black_box(decide(black_box(&observation), &Settings::default().policy()));
    let (peak, after) = (status("VmHWM"), status("VmRSS"));

    println!("containers       {count}");
    println!("removed          {}", plan.containers.remove.len());
    println!("observation      {} bytes each", bytes_each(observed.saturating_sub(start)));
    println!("planning, peak   {} bytes each", bytes_each(peak.saturating_sub(observed)));
    println!("plan, kept       {} bytes each", bytes_each(after.saturating_sub(observed)));
    ExitCode::SUCCESS
}

/// A figure in KiB from the kernel's status of this process; 0 if it has none.
fn status(field: &str) -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            line.strip_prefix(field)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse().ok()
        })
        .unwrap_or_default()
}
