//! Random nodes and settings for property tests.
//!
//! Every object is made of one random number, taken apart digit by digit over small pools: few UIDs, names and times,
//! so that collisions, ties and ages exactly on a limit are frequent; and 0 is always the plainest choice, so that a
//! failing case shrinks to a readable one.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job, and not every test uses all of it"
)]

mod make;
mod settings;

use cri_gc_policy::snapshot::Snapshot;
use cri_gc_policy::{Observation, PlanReport, decide};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};

pub use settings::Settings;

/// How many objects of each kind a node has at most.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub pods: usize,
    pub containers: usize,
    pub sandboxes: usize,
    pub images: usize,
    pub filesystems: usize,
    pub log_dirs: usize,
}

impl Size {
    /// A bit of everything.
    pub const ALL: Self =
        Self { pods: 5, containers: 10, sandboxes: 6, images: 6, filesystems: 3, log_dirs: 5 };
    /// Many containers, sandboxes and log directories, no images.
    pub const RUNTIME: Self =
        Self { pods: 5, containers: 18, sandboxes: 9, images: 0, filesystems: 0, log_dirs: 6 };
    /// Many images.
    pub const IMAGES: Self =
        Self { pods: 3, containers: 4, sandboxes: 1, images: 10, filesystems: 3, log_dirs: 0 };
}

/// A random node.
pub fn node(size: Size) -> impl Strategy<Value = Snapshot> {
    let dice = |n: usize| vec(any::<u64>(), 0..=n);
    (
        any::<u64>(),
        dice(size.pods),
        dice(size.containers),
        dice(size.sandboxes),
        dice(size.images),
        dice(size.filesystems),
        dice(size.log_dirs),
    )
        .prop_map(|(node, pods, containers, sandboxes, images, filesystems, log_dirs)| {
            make::snapshot(node, &make::Dice { pods, containers, sandboxes, images, filesystems, log_dirs })
        })
}

/// Random settings.
pub fn settings() -> impl Strategy<Value = Settings> {
    (any::<u64>(), any::<u64>()).prop_map(|(a, b)| make::settings(a, b))
}

/// `cases`, unless `PROPTEST_CASES` asks for another number; failures are kept next to the test's source.
pub fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

/// What the crate sees of a snapshot.
pub fn observe(snapshot: &Snapshot) -> Observation {
    Observation::try_from(snapshot.clone()).unwrap()
}

/// The plan for a snapshot, in words.
pub fn report(snapshot: &Snapshot, settings: &Settings) -> PlanReport {
    let (observation, policy) = (observe(snapshot), settings.policy());
    PlanReport::new(&decide(&observation, &policy), &observation, &policy)
}
