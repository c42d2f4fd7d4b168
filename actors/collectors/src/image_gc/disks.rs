//! The filesystems of images during one pass: what was measured last of each.
//!
//! One that can't be measured any more keeps its last measurement for the rest of the pass: nothing is removed to free its space, and
//! nothing counts as freed there, also when it can be measured again.

use cri_gc_policy::images::space;
use cri_gc_policy::{FileSystem, FsProblem, ImagePolicy};

use crate::collector::Pass;
use crate::observe;
use crate::report::PassError;
use cri_gc_gateway::FsPlaces;

/// The filesystems of a pass.
#[derive(Debug, Default)]
pub struct Disks {
    /// Those that can be measured.
    pub measurable: Vec<FileSystem>,
    unmeasurable: Vec<FileSystem>,
}

impl Disks {
    /// Those that could be measured when the pass began.
    pub fn new(measurable: Vec<FileSystem>) -> Self {
        Self { measurable, unmeasurable: Vec::new() }
    }

    /// Measures them again. What fails is an error of the pass.
    pub async fn measure(&mut self, pass: &Pass, places: &FsPlaces) {
        let (measured, problems) = observe::measure(&pass.tools, places).await;
        problems.into_iter().for_each(|problem| pass.error(problem));
        self.update(&measured).into_iter().for_each(|problem| pass.error(PassError::Disk(problem)));
    }

    /// Takes over what was measured. Returns those that suddenly report a capacity of 0.
    fn update(&mut self, measured: &[FileSystem]) -> Vec<FsProblem> {
        let mut problems = Vec::new();
        for known in std::mem::take(&mut self.measurable) {
            match measured.iter().find(|fs| fs.is_same(&known)).map(|fs| fs.stats) {
                Some(stats) if stats.capacity_bytes > 0 || known.stats.capacity_bytes == 0 => {
                    self.measurable.push(FileSystem { stats, ..known });
                    continue;
                }
                Some(_) => problems.push(FsProblem { mountpoint: known.mountpoint.clone() }),
                None => {}
            }
            self.unmeasurable.push(known);
        }
        problems
    }

    /// What is at its high threshold now is freed to the low one, even when that is crossed in between.
    pub fn begin_reclaiming(&mut self, policy: &ImagePolicy) {
        for fs in self.measurable.iter_mut().chain(&mut self.unmeasurable) {
            fs.reclaiming = space::reclaiming(fs, policy);
        }
    }

    /// Whether one of them is short of space, as it was measured last.
    pub fn is_short(&self, policy: &ImagePolicy) -> bool {
        let is_short = |all: &[FileSystem]| !space::missing(all, policy, 0).0.is_none();
        is_short(&self.measurable) || is_short(&self.unmeasurable)
    }

    /// Bytes available on all of them.
    pub fn available(&self) -> u64 {
        let holding = self.measurable.iter().chain(&self.unmeasurable).filter(|fs| fs.holds_images);
        holding.fold(0, |sum, fs| sum.saturating_add(fs.stats.available_bytes))
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::FsStats;

    use super::*;

    fn disk(mountpoint: &str, device: u64, capacity_bytes: u64, available_bytes: u64) -> FileSystem {
        FileSystem {
            mountpoint: mountpoint.to_owned(),
            device: Some(device),
            holds_images: true,
            holds_containers: true,
            stats: FsStats { capacity_bytes, available_bytes, ..FsStats::default() },
            ..FileSystem::default()
        }
    }

    fn policy() -> ImagePolicy {
        cri_gc_config::Settings::default().policy().images
    }

    fn available(disks: &Disks) -> Vec<(String, u64)> {
        let measurable = disks.measurable.iter();
        measurable.map(|fs| (fs.mountpoint.clone(), fs.stats.available_bytes)).collect()
    }

    #[test]
    fn an_unmeasurable_disk_frees_nothing_even_when_it_is_measured_again_and_the_other_continues() {
        let mut disks = Disks::new(vec![disk("/a", 1, 1000, 50), disk("/b", 2, 1000, 50)]);
        disks.begin_reclaiming(&policy());
        assert_eq!(disks.available(), 100);
        assert_eq!(disks.update(&[disk("/b", 2, 1000, 60)]), []);
        assert_eq!((available(&disks), disks.available()), (vec![("/b".to_owned(), 60)], 110));
        assert_eq!(disks.update(&[disk("/a", 1, 1000, 900), disk("/b", 2, 1000, 300)]), []);
        assert_eq!((available(&disks), disks.available()), (vec![("/b".to_owned(), 300)], 350));
        assert!(disks.is_short(&policy()), "the unmeasurable one counts as full as before");
    }

    #[test]
    fn a_disk_that_suddenly_reports_no_capacity_is_unmeasurable() {
        let mut disks = Disks::new(vec![disk("/a", 1, 1000, 50)]);
        let unmeasurable = FsProblem { mountpoint: "/a".to_owned() };
        assert_eq!(disks.update(&[disk("/a", 1, 0, 0)]), [unmeasurable]);
        assert_eq!((available(&disks), disks.available()), (vec![], 50));
    }

    #[test]
    fn another_directory_of_the_same_device_is_the_same_file_system() {
        let mut disks = Disks::new(vec![disk("/a", 1, 1000, 50)]);
        disks.update(&[disk("/other", 1, 1000, 70)]);
        assert_eq!(available(&disks), [("/a".to_owned(), 70)]);
    }
}
