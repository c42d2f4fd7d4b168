//! `cri-gc-sim`: runs seeds, and prints the story of one that failed.
#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use std::process::ExitCode;

use clap::Parser;
use cri_gc_simulation::{Outcome, Tally, run_all};

/// Runs the whole service of cri-gc against a node on which everything happens, of one seed or of many.
#[derive(Parser)]
struct Arguments {
    /// Runs this seed, and prints its story.
    #[arg(long)]
    seed: Option<u64>,
    /// With the RPCs that reached the runtime.
    #[arg(long, requires = "seed")]
    calls: bool,
    /// Runs so many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

fn main() -> ExitCode {
    let Arguments { seed, calls, seeds, from } = Arguments::parse();
    let only = seed.map(|seed| seed..seed.saturating_add(1));
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    run_all(only.unwrap_or(from..from.saturating_add(seeds)), |outcome| {
        tally.add(&outcome.tally);
        if seed.is_some() {
            print(&outcome, calls);
        }
        for violation in &outcome.violations {
            println!("seed {}: {violation}", outcome.seed);
        }
        if !outcome.violations.is_empty() {
            failed.push(outcome.seed);
        }
    });
    failed.sort_unstable();
    println!("{tally:?}");
    println!("seeds that failed: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(outcome: &Outcome, with_calls: bool) {
    for line in outcome.story.iter().filter(|line| with_calls || !line.is_call) {
        println!("{}", line.text);
    }
    println!("digest {:016x}", outcome.digest);
}
