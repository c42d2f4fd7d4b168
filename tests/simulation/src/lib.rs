//! The whole service on one thread and on paused time, against a modelled node on which everything happens that can happen to one,
//! all of it drawn from one seed: the same seed is the same run, to the last RPC.
//!
//! - `policy`: random settings. `world`: the node, its pods, and what is known of them elsewhere. `happenings`: what happens.
//! - `judge`: what must never be removed, at every RPC and for every log directory. `calm`: how a node has to be some time after
//!   all trouble has ended.
//! - `life`: one process of the service, from its start until it ends or is killed. `story`: what an operator would have seen.
//!
//! The judge knows the rules from the documentation (behaviour: Never removed) and the truth from the model: it uses nothing of what the
//! service decides with. Pod sources that are servers (`kubelet`, `kube-api`) are not in it, for their sockets do not run on modelled time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation: failing loudly is its job"
)]

mod calm;
mod happenings;
mod judge;
mod life;
mod policy;
mod story;
mod world;

use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use cri_gc_kit::supervision::panics::{catch, install};
use slog::{Discard, Logger, o};

use crate::life::{Next, live};
pub use crate::story::Line;
use crate::world::World;

/// What came of a seed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was wrong; empty if all was well.
    pub violations: Vec<String>,
    /// What happened, in the terms of an operator, the oldest first.
    pub story: Vec<Line>,
    /// How often each thing was removed, and what else happened often enough to count.
    pub tally: Tally,
    /// A number that is the same only for the same run.
    pub digest: u64,
}

/// What happened in a run: a run in which nothing happens shows nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Containers that the service had removed one by one.
    pub containers: u64,
    /// Sandboxes that it had removed, with what was in them.
    pub sandboxes: u64,
    /// Images that it had removed.
    pub images: u64,
    /// Log directories that are gone.
    pub log_directories: u64,
    /// RPCs that reached the runtime.
    pub rpcs: u64,
    /// Processes of the service.
    pub lives: u64,
    /// Generations of settings that were put in force.
    pub reloads: u64,
    /// Panics that were ordered.
    pub panics: u64,
}

impl Tally {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        let Self { containers, sandboxes, images, log_directories, rpcs, lives, reloads, panics } = other;
        self.containers += containers;
        self.sandboxes += sandboxes;
        self.images += images;
        self.log_directories += log_directories;
        self.rpcs += rpcs;
        self.lives += lives;
        self.reloads += reloads;
        self.panics += panics;
    }
}

/// Runs a seed, with the files of its node in the empty folder `dir`.
#[must_use]
pub fn run(seed: u64, dir: &Path) -> Outcome {
    let mut world = World::new(seed, dir);
    while live(&mut world) == Next::Again {}
    world.outcome()
}

/// Runs all of these seeds, one on each core at a time, each with its files in a folder of its own. What came of each is handed on as
/// soon as it is known.
///
/// # Panics
/// No folder can be made.
pub fn run_all(seeds: Range<u64>, each: impl FnMut(Outcome) + Send) {
    // Those that a supervisor catches are in the story.
    install(Logger::root(Discard, o!()));
    let (seeds, each) = (Mutex::new(seeds), Mutex::new(each));
    let next = || seeds.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let dir = tempfile::tempdir().unwrap();
                    let outcome = catch(|| run(seed, dir.path())).unwrap_or_else(|panic| Outcome {
                        seed,
                        violations: vec![format!("the run has no end: {panic}")],
                        ..Outcome::default()
                    });
                    (each.lock().unwrap())(outcome);
                }
            });
        }
    });
}
