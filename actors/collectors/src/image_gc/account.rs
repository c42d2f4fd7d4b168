//! The account of a full disk: what uses the bytes that no removable image could free (behaviour: Image disk space).

use bytesize::ByteSize;
use cri_gc_policy::text::counted;
use cri_gc_policy::{Decision, FileSystem, Image, ImagePlan, Observation, Reason};

use cri_gc_gateway::FsPlaces;

/// What uses the space of a filesystem. The space of an image is known only as the runtime reports it, so the account is an estimate.
#[derive(Debug)]
pub struct Account {
    mountpoints: Vec<String>,
    /// Images that could not be removed.
    not_removed: u64,
    /// Free, but for root only.
    reserved: u64,
    /// What belongs to no image.
    other: u64,
}

impl Account {
    /// Begun before anything is removed: what belongs to no image then does not change by removals.
    pub fn new(observation: &Observation, places: &FsPlaces) -> Self {
        let sizes = observation.images.iter().fold(0u64, |sum, image| sum.saturating_add(image.size_bytes));
        let holding = observation.filesystems.iter().filter(|fs| fs.holds_images);
        let used = |fs: &FileSystem| fs.stats.capacity_bytes.saturating_sub(fs.stats.available_bytes);
        let used = holding.clone().map(used).fold(0, u64::saturating_add);
        let reserved = holding.clone().map(|fs| fs.reserved_bytes).fold(0, u64::saturating_add);
        Self {
            mountpoints: holding.map(|fs| fs.mountpoint.clone()).collect(),
            not_removed: 0,
            reserved,
            other: used.saturating_sub(reserved).saturating_sub(places.held_by_images(sizes)),
        }
    }

    /// This one was tried, and is still there.
    pub fn not_removed(&mut self, image: &Image) {
        self.not_removed = self.not_removed.saturating_add(image.size_bytes);
    }

    /// Why too little is free, by what the last plan leaves.
    pub fn text(&self, observation: &Observation, plan: &ImagePlan) -> String {
        let size =
            |decision: &Decision| observation.images.get(decision.index).map_or(0, |image| image.size_bytes);
        let (mut in_use, mut protected, mut too_young) = (0u64, 0u64, 0u64);
        for decision in &plan.section.keep {
            let sum = match decision.reason {
                Reason::InUse | Reason::NamedByPod | Reason::InUseElsewhere => &mut in_use,
                Reason::Pinned | Reason::Protected | Reason::SandboxImage => &mut protected,
                Reason::TooYoung => &mut too_young,
                _ => continue,
            };
            *sum = sum.saturating_add(size(decision));
        }
        let missing = match plan.missing.bytes {
            0 => format!("{} more free inodes", plan.missing.inodes),
            bytes => format!("{} more free space", ByteSize(bytes)),
        };
        let untried = match plan.in_line().count() {
            0 => "no removable image is left".to_owned(),
            count => format!(
                "the last removed images freed no space, so {} ({}) {} left for a later pass",
                counted(count, "image"),
                ByteSize(plan.in_line().map(size).fold(0, u64::saturating_add)),
                if count == 1 { "is" } else { "are" }
            ),
        };
        let reserved = match self.reserved {
            0 => String::new(),
            bytes => format!("reserved for root {}, ", ByteSize(bytes)),
        };
        format!(
            "FreeDiskSpaceFailed: image filesystem {} needs {missing}; {untried}. Used by: images in use {}, protected images \
             {}, images younger than min_age {}, images that could not be removed {}, {reserved}other data about {}; look for \
             logs, volumes and container layers",
            self.mountpoints.join(", "),
            ByteSize(in_use),
            ByteSize(protected),
            ByteSize(too_young),
            ByteSize(self.not_removed),
            ByteSize(self.other)
        )
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::images::Missing;
    use cri_gc_policy::{FsStats, Section};
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
                reserved_bytes: 5 * GIB,
                ..FileSystem::default()
            }],
            ..Observation::empty(Timestamp::UNIX_EPOCH)
        };
        let places = FsPlaces { used_bytes: 20 * GIB, excludes_content: true, ..FsPlaces::default() };
        let mut account = Account::new(&observation, &places);
        account.not_removed(&image("6", 6 * GIB));
        let keep = [Reason::InUse, Reason::Protected, Reason::TooYoung, Reason::Pinned];
        let keep = keep.into_iter().enumerate().map(|(index, reason)| Decision::new(index, reason)).collect();
        let mut plan = ImagePlan {
            section: Section { keep, ..Section::default() },
            missing: Missing { bytes: 4 * GIB, ..Missing::default() },
            problems: Vec::new(),
        };
        assert_eq!(
            account.text(&observation, &plan),
            "FreeDiskSpaceFailed: image filesystem /var/lib/x needs 4.0 GiB more free space; no removable image is left. \
             Used by: images in use 7.0 GiB, protected images 7.0 GiB, images younger than min_age 3.0 GiB, images that \
             could not be removed 6.0 GiB, reserved for root 5.0 GiB, other data about 47.0 GiB; look for logs, volumes and \
             container layers",
            "90 GiB are not available: 18 GiB are used by the content of images, 20 GiB by what is unpacked of them"
        );
        plan.section.remove.push(Decision::new(4, Reason::DiskPressure));
        let text = account.text(&observation, &plan);
        assert!(text.contains("freed no space, so 1 image (1.0 GiB) is left for a later pass. "), "{text}");
    }
}
