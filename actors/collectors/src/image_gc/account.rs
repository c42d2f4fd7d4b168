//! The account of a full disk: what holds the bytes that no image that may go could free (behaviour: Image disk space).

use std::cell::Cell;
use std::fmt;

use bytesize::ByteSize;
use cri_gc_policy::images::Missing;
use cri_gc_policy::text::counted;
use cri_gc_policy::{Decision, FileSystem, Image, ImagePlan, Observation, Reason};

use cri_gc_gateway::FsPlaces;

/// What holds a filesystem. What an image holds is known by what the runtime tells only, so the account is an estimate.
#[derive(Debug, Default)]
pub struct Account {
    missing: Missing,
    mountpoints: Vec<String>,
    in_use: u64,
    protected: u64,
    too_young: u64,
    /// What was to go, and is still there.
    stayed: Cell<u64>,
    /// What could go, and was not tried any more.
    untried: u64,
    untried_count: usize,
    other: u64,
}

impl Account {
    /// Begun before anything goes: what belongs to no image then does not change by what goes.
    pub fn new(observation: &Observation, places: &FsPlaces) -> Self {
        let sizes = observation.images.iter().fold(0u64, |sum, image| sum.saturating_add(image.size_bytes));
        let holding = observation.filesystems.iter().filter(|fs| fs.holds_images);
        let used = |fs: &FileSystem| fs.stats.capacity_bytes.saturating_sub(fs.stats.available_bytes);
        let used = holding.clone().map(used).fold(0, u64::saturating_add);
        Self {
            mountpoints: holding.map(|fs| fs.mountpoint.clone()).collect(),
            other: used.saturating_sub(places.held_by_images(sizes)),
            ..Self::default()
        }
    }

    /// This one was to go, and is still there.
    pub fn stayed(&self, image: &Image) {
        self.stayed.set(self.stayed.get().saturating_add(image.size_bytes));
    }

    /// Adds up what the last plan leaves.
    pub fn close(&mut self, observation: &Observation, plan: &ImagePlan) {
        self.missing = plan.missing;
        let size =
            |decision: &Decision| observation.images.get(decision.index).map_or(0, |image| image.size_bytes);
        for decision in &plan.section.keep {
            let sum = match decision.reason {
                Reason::InUse | Reason::NamedByPod | Reason::InUseElsewhere => &mut self.in_use,
                Reason::Pinned | Reason::Protected | Reason::SandboxImage => &mut self.protected,
                Reason::TooYoung => &mut self.too_young,
                _ => continue,
            };
            *sum = sum.saturating_add(size(decision));
        }
        self.untried_count = plan.in_line().count();
        self.untried = plan.in_line().map(size).fold(0, u64::saturating_add);
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FreeDiskSpaceFailed: image filesystem {} needs ", self.mountpoints.join(", "))?;
        if self.missing.bytes > 0 {
            write!(f, "{} more free space; ", ByteSize(self.missing.bytes))?;
        } else {
            write!(f, "{} more free inodes; ", self.missing.inodes)?;
        }
        match self.untried_count {
            0 => write!(f, "no removable image is left. ")?,
            count => write!(
                f,
                "the last removed images freed no space, so {} ({}) {} left for a later pass. ",
                counted(count, "image"),
                ByteSize(self.untried),
                if count == 1 { "is" } else { "are" }
            )?,
        }
        write!(
            f,
            "Used by: images in use {}, protected images {}, images younger than min_age {}, images that could not be removed \
             {}, other data about {}; look for logs, volumes and container layers",
            ByteSize(self.in_use),
            ByteSize(self.protected),
            ByteSize(self.too_young),
            ByteSize(self.stayed.get()),
            ByteSize(self.other)
        )
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::{FsStats, Reclaiming, Section};
    use jiff::Timestamp;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn image(id: &str, size: u64) -> Image {
        Image {
            id: id.to_owned(),
            runtime_handler: String::new(),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            size_bytes: size,
            pinned: false,
            first_detected: None,
            last_used: None,
            in_use_elsewhere: false,
        }
    }

    #[test]
    fn every_byte_that_is_used_is_accounted_for() {
        let stats = FsStats { capacity_bytes: 100 * GIB, available_bytes: 10 * GIB, ..FsStats::default() };
        let observation = Observation {
            images: [7, 5, 3, 2, 1].iter().map(|size| image(&size.to_string(), size * GIB)).collect(),
            filesystems: vec![FileSystem {
                mountpoint: "/var/lib/x".to_owned(),
                holds_images: true,
                holds_containers: true,
                stats,
                reclaiming: Reclaiming::default(),
            }],
            ..Observation::empty(Timestamp::UNIX_EPOCH)
        };
        let places = FsPlaces { used_bytes: 20 * GIB, beside_content: true, ..FsPlaces::default() };
        let mut account = Account::new(&observation, &places);
        account.stayed(&image("6", 6 * GIB));
        let keep = [Reason::InUse, Reason::Protected, Reason::TooYoung, Reason::Pinned];
        let keep = keep.into_iter().enumerate().map(|(index, reason)| Decision::new(index, reason)).collect();
        let mut plan = ImagePlan {
            section: Section { remove: Vec::new(), keep },
            missing: Missing { bytes: 4 * GIB, ..Missing::default() },
            problems: Vec::new(),
        };
        account.close(&observation, &plan);
        assert_eq!(
            account.to_string(),
            "FreeDiskSpaceFailed: image filesystem /var/lib/x needs 4.0 GiB more free space; no removable image is left. \
             Used by: images in use 7.0 GiB, protected images 7.0 GiB, images younger than min_age 3.0 GiB, images that \
             could not be removed 6.0 GiB, other data about 52.0 GiB; look for logs, volumes and container layers",
            "90 GiB are used: 18 GiB by the content of images, 20 GiB by what is unpacked of them"
        );
        let mut account = Account::new(&observation, &places);
        plan.section.remove.push(Decision::new(4, Reason::DiskPressure));
        account.close(&observation, &plan);
        let text = account.to_string();
        assert!(text.contains("freed no space, so 1 image (1.0 GiB) is left for a later pass. "), "{text}");
    }
}
