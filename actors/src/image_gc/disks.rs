//! The file systems of images during one pass: what was measured last of each.
//!
//! One that can't be measured any more keeps its last measurement for the rest of the pass: nothing is removed for its sake, and
//! nothing counts as freed there, also should it come back.

use cri_gc_policy::images::space;
use cri_gc_policy::{FileSystem, FsProblem, ImagePolicy};

use crate::collector::{Pass, PassError, Tools};
use crate::gateway::FsPlaces;
use crate::observe::{self, Disk};

/// The file systems of a pass.
#[derive(Debug, Default)]
pub struct Disks(Vec<Tracked>);

#[derive(Debug)]
struct Tracked {
    disk: Disk,
    is_lost: bool,
}

impl Disks {
    /// Those that could be measured when the pass began.
    pub fn new(disks: Vec<Disk>) -> Self {
        Self(disks.into_iter().map(|disk| Tracked { disk, is_lost: false }).collect())
    }

    /// Measures them again. What goes wrong is an error of the pass.
    pub async fn measure(&mut self, tools: &Tools, pass: &Pass, places: &FsPlaces) {
        let (measured, problems) = observe::measure(tools, places).await;
        problems.into_iter().for_each(|problem| pass.error(problem));
        for known in self.0.iter_mut().filter(|known| !known.is_lost) {
            match measured.iter().find(|disk| disk.is_same(&known.disk)) {
                Some(now) if now.fs.stats.capacity_bytes > 0 => known.disk.fs.stats = now.fs.stats,
                Some(_) if known.disk.fs.stats.capacity_bytes == 0 => {}
                found => {
                    known.is_lost = true;
                    if found.is_some() {
                        let mountpoint = known.disk.fs.mountpoint.clone();
                        pass.error(PassError::Disk(FsProblem { mountpoint }));
                    }
                }
            }
        }
    }

    /// What is at its high threshold now is freed to the low one, even when that is crossed in between.
    pub fn begin_reclaiming(&mut self, policy: &ImagePolicy) {
        for known in &mut self.0 {
            known.disk.fs.reclaiming = space::reclaiming(&known.disk.fs, policy);
        }
    }

    /// Those that can be measured.
    pub fn measurable(&self) -> Vec<FileSystem> {
        self.0.iter().filter(|known| !known.is_lost).map(|known| known.disk.fs.clone()).collect()
    }

    /// Whether one of them is short of space, as it was measured last.
    pub fn is_short(&self, policy: &ImagePolicy) -> bool {
        let all: Vec<FileSystem> = self.0.iter().map(|known| known.disk.fs.clone()).collect();
        !space::missing(&all, policy, 0).0.is_none()
    }

    /// Bytes available on all of them.
    pub fn available(&self) -> u64 {
        let holding = self.0.iter().map(|known| &known.disk.fs).filter(|fs| fs.holds_images);
        holding.fold(0, |sum, fs| sum.saturating_add(fs.stats.available_bytes))
    }
}
