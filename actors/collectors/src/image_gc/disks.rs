//! The filesystems of images during one pass: what was measured last of each.
//!
//! One that can't be measured any more keeps its last measurement for the rest of the pass: nothing is removed for its sake, and
//! nothing counts as freed there, also should it come back.

use cri_gc_policy::images::space;
use cri_gc_policy::{FileSystem, FsProblem, ImagePolicy};

use crate::collector::Pass;
use crate::observe::{self, Disk};
use crate::report::PassError;
use crate::tools::Tools;
use cri_gc_gateway::FsPlaces;

/// The filesystems of a pass.
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
        self.update(&measured).into_iter().for_each(|problem| pass.error(PassError::Disk(problem)));
    }

    /// Takes in what could be measured. Gives back those that report a capacity of 0 all of a sudden.
    fn update(&mut self, measured: &[Disk]) -> Vec<FsProblem> {
        let mut problems = Vec::new();
        for known in self.0.iter_mut().filter(|known| !known.is_lost) {
            let stats = measured.iter().find(|disk| disk.is_same(&known.disk)).map(|disk| disk.fs.stats);
            let before = known.disk.fs.stats.capacity_bytes;
            known.is_lost = stats.is_none_or(|stats| stats.capacity_bytes == 0 && before > 0);
            match stats {
                Some(stats) if !known.is_lost => known.disk.fs.stats = stats,
                Some(_) => problems.push(FsProblem { mountpoint: known.disk.fs.mountpoint.clone() }),
                None => {}
            }
        }
        problems
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

#[cfg(test)]
mod tests {
    use cri_gc_policy::{FileSystem, FsStats, Reclaiming};

    use super::*;

    fn disk(mountpoint: &str, device: u64, capacity_bytes: u64, available_bytes: u64) -> Disk {
        let fs = FileSystem {
            mountpoint: mountpoint.to_owned(),
            holds_images: true,
            holds_containers: true,
            stats: FsStats { capacity_bytes, available_bytes, ..FsStats::default() },
            reclaiming: Reclaiming::default(),
        };
        Disk::new(fs, Some(device))
    }

    fn available(disks: &Disks) -> Vec<(String, u64)> {
        let measurable = disks.measurable().into_iter();
        measurable.map(|fs| (fs.mountpoint, fs.stats.available_bytes)).collect()
    }

    #[test]
    fn one_that_is_lost_frees_nothing_also_when_it_is_back_and_the_other_goes_on() {
        let mut disks = Disks::new(vec![disk("/a", 1, 1000, 50), disk("/b", 2, 1000, 50)]);
        disks.begin_reclaiming(&ImagePolicy::default());
        assert_eq!(disks.available(), 100);
        assert_eq!(disks.update(&[disk("/b", 2, 1000, 60)]), []);
        assert_eq!((available(&disks), disks.available()), (vec![("/b".to_owned(), 60)], 110));
        assert_eq!(disks.update(&[disk("/a", 1, 1000, 900), disk("/b", 2, 1000, 300)]), []);
        assert_eq!((available(&disks), disks.available()), (vec![("/b".to_owned(), 300)], 350));
        assert!(
            disks.is_short(&ImagePolicy::default()),
            "for all that is known, the lost one is as full as before"
        );
    }

    #[test]
    fn one_that_reports_no_capacity_all_of_a_sudden_is_lost() {
        let mut disks = Disks::new(vec![disk("/a", 1, 1000, 50)]);
        let lost = FsProblem { mountpoint: "/a".to_owned() };
        assert_eq!(disks.update(&[disk("/a", 1, 0, 0)]), [lost]);
        assert_eq!((available(&disks), disks.available()), (vec![], 50));
    }

    #[test]
    fn another_directory_of_the_same_device_is_the_same_file_system() {
        let mut disks = Disks::new(vec![disk("/a", 1, 1000, 50)]);
        disks.update(&[disk("/other", 1, 1000, 70)]);
        assert_eq!(available(&disks), [("/a".to_owned(), 70)]);
    }
}
