//! What uses the disk: sums of the sizes that were reported and measured, by what a plan decides on each object. It decides nothing
//! itself.
//!
//! A runtime reports the size of each image with all its layers, so layers that images share are in the sum once for each of them.

use std::collections::BTreeMap;

use foldhash::HashMap;
use jiff::Timestamp;
use serde::Serialize;
use strum::IntoStaticStr;

use crate::images::space::usage_percent;
use crate::observation::{ContainerState, FileSystem, Observation, PodState};
use crate::pods::PodTable;
use crate::reason::Reason;
use crate::report::{Item, PlanReport, SectionReport};

/// The writable layer of a container, as the runtime counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layer {
    /// Bytes.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// A filesystem, and what lies on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// What was measured of it, and whether images and writable layers are on it.
    pub fs: FileSystem,
    /// Whether the log directories of pods are on it.
    pub holds_logs: bool,
}

/// What was measured and reported, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Sizes {
    /// The writable layers, by id of the container.
    pub layers: HashMap<String, Layer>,
    /// The log directories, by name.
    pub log_dirs: HashMap<String, u64>,
    /// Bytes that the runtime counts for unpacked images and writable layers, where it stores the content of images in addition
    /// (containerd).
    pub snapshots: Option<u64>,
    /// The filesystems, each once.
    pub disks: Vec<Disk>,
}

/// What uses the disks of a node: the form that `df --output json` prints. Sizes are bytes; what is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// When the node was observed.
    pub taken_at: Timestamp,
    /// The filesystems of images, writable layers and logs, each once.
    pub filesystems: Vec<FileSystemUsage>,
    /// Sums.
    pub usage: Vec<Sum>,
    /// The images, largest first.
    pub images: Vec<Object>,
    /// The containers, those with the largest writable layers first.
    pub containers: Vec<Object>,
    /// The log directories, largest first.
    pub log_dirs: Vec<Object>,
}

/// How full a filesystem is, and how much of that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileSystemUsage {
    /// A directory on it.
    pub mountpoint: String,
    /// What lies on it: `images`, `containers` (their writable layers), `logs`.
    pub holds: Vec<&'static str>,
    /// Its size.
    pub capacity_bytes: u64,
    /// What is used.
    pub used_bytes: u64,
    /// What is free and can be used by root only.
    pub reserved_bytes: u64,
    /// What can still be written.
    pub available_bytes: u64,
    /// Percent in use, as for the thresholds: all that is not available counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<u8>,
    /// Its inodes; 0 where it has no fixed number of them.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
    /// The sum of what is known to lie on it. Left out where images lie on several filesystems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_bytes: Option<u64>,
    /// What is used and not known. Left out where more is known than is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_bytes: Option<u64>,
}

/// What a sum is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum UsedBy {
    /// Images that a container or the spec of a pod uses.
    ImagesInUse,
    /// Images that may be removed, now or once the disk is full.
    ImagesUnused,
    /// Images that are not used and kept all the same.
    ImagesKept,
    /// Layers of images that are unpacked, where these are not part of the sizes of images.
    ImageLayers,
    /// Writable layers of running containers.
    RunningContainers,
    /// Writable layers of all other containers.
    DeadContainers,
    /// Log directories of pods.
    Logs,
}

/// The sum of one kind of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Which kind.
    pub kind: UsedBy,
    /// How many objects; left out where they are not known one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// How many of them have no known size.
    pub unknown_count: usize,
    /// The sum of the known sizes; left out if none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Inodes of writable layers; left out for everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// How many the next pass would remove.
    pub reclaimable_count: usize,
    /// The sum of their known sizes.
    pub reclaimable_bytes: u64,
    /// How many for which reason they are removed or kept.
    pub reasons: BTreeMap<String, usize>,
}

/// What a plan decides on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// The next pass would remove it.
    Remove,
    /// The next pass would remove it after other objects.
    Follow,
    /// It is kept.
    Keep,
}

/// One object that uses space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// What the plan decides on it.
    pub decision: Decided,
    /// As in the plan. The size of a container is that of its writable layer.
    #[serde(flatten)]
    pub item: Item,
    /// Inodes of a writable layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// State of a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ContainerState>,
    /// State of the pod of a log directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_state: Option<PodState>,
}

impl Usage {
    /// Adds up what is known. `plan` is the plan for this observation.
    #[must_use]
    pub fn new(plan: PlanReport, observation: &Observation, sizes: &Sizes) -> Self {
        let pods = PodTable::new(observation);
        let states: HashMap<&str, ContainerState> =
            observation.containers.iter().map(|container| (container.id.as_str(), container.state)).collect();
        let images = objects(plan.images.section, |_| {});
        let containers = objects(plan.containers, |object| {
            let layer = sizes.layers.get(object.item.id.as_str());
            object.item.size_bytes = layer.map(|layer| layer.bytes);
            object.inodes = layer.map(|layer| layer.inodes);
            object.state = states.get(object.item.id.as_str()).copied();
        });
        let log_dirs = objects(plan.log_dirs, |object| {
            object.item.size_bytes = sizes.log_dirs.get(object.item.id.as_str()).copied();
            let uid = &object.item.pod_uid;
            object.pod_state = (!uid.is_empty()).then(|| pods.state(uid));
        });
        let mut usage = Self {
            taken_at: observation.taken_at,
            filesystems: Vec::new(),
            usage: sums(&images, &containers, &log_dirs),
            images,
            containers,
            log_dirs,
        };
        if let Some(snapshots) = sizes.snapshots {
            let is_shared = sizes.disks.iter().any(|disk| disk.fs.holds_images && disk.fs.holds_containers);
            let writable =
                if is_shared { usage.of(&[UsedBy::RunningContainers, UsedBy::DeadContainers]) } else { 0 };
            let layers =
                Sum { size_bytes: Some(snapshots.saturating_sub(writable)), ..Sum::new(UsedBy::ImageLayers) };
            usage.usage.insert(3, layers);
        }
        let is_split = sizes.disks.iter().filter(|disk| disk.fs.holds_images).count() > 1;
        usage.filesystems = sizes.disks.iter().map(|disk| usage.filesystem(disk, is_split)).collect();
        usage
    }

    /// The known bytes of these kinds.
    fn of(&self, kinds: &[UsedBy]) -> u64 {
        let sums = self.usage.iter().filter(|sum| kinds.contains(&sum.kind));
        sums.filter_map(|sum| sum.size_bytes).fold(0, u64::saturating_add)
    }

    /// One filesystem; `is_split` if the images lie on several, so that it is not known how much of them lies on which.
    fn filesystem(&self, disk: &Disk, is_split: bool) -> FileSystemUsage {
        let Disk { fs, holds_logs } = disk;
        let stats = fs.stats;
        let on_it: [(bool, &str, &[UsedBy]); 3] = [
            (
                fs.holds_images,
                "images",
                &[UsedBy::ImagesInUse, UsedBy::ImagesUnused, UsedBy::ImagesKept, UsedBy::ImageLayers],
            ),
            (fs.holds_containers, "containers", &[UsedBy::RunningContainers, UsedBy::DeadContainers]),
            (*holds_logs, "logs", &[UsedBy::Logs]),
        ];
        let on_it = on_it.into_iter().filter(|(is_on_it, ..)| *is_on_it);
        let known = on_it.clone().map(|(_, _, kinds)| self.of(kinds)).fold(0, u64::saturating_add);
        let known = (!is_split || !fs.holds_images).then_some(known);
        let free = stats.available_bytes.saturating_add(fs.reserved_bytes);
        let used_bytes = stats.capacity_bytes.saturating_sub(free);
        FileSystemUsage {
            mountpoint: fs.mountpoint.clone(),
            holds: on_it.map(|(_, what, _)| what).collect(),
            capacity_bytes: stats.capacity_bytes,
            used_bytes,
            reserved_bytes: fs.reserved_bytes,
            available_bytes: stats.available_bytes,
            used_percent: usage_percent(stats.capacity_bytes, stats.available_bytes),
            inodes: stats.inodes,
            inodes_free: stats.inodes_free,
            known_bytes: known,
            other_bytes: known.and_then(|known| used_bytes.checked_sub(known)),
        }
    }
}

/// The sums of all objects that have a size each.
fn sums(images: &[Object], containers: &[Object], log_dirs: &[Object]) -> Vec<Sum> {
    let mut sums = [
        UsedBy::ImagesInUse,
        UsedBy::ImagesUnused,
        UsedBy::ImagesKept,
        UsedBy::RunningContainers,
        UsedBy::DeadContainers,
        UsedBy::Logs,
    ]
    .map(Sum::new);
    let of_image = |image: &Object| kind_of_image(&image.item.reason);
    let of_container = |container: &Object| match container.state {
        Some(ContainerState::Running) => UsedBy::RunningContainers,
        _ => UsedBy::DeadContainers,
    };
    let all = images.iter().map(|image| (of_image(image), image));
    let all = all.chain(containers.iter().map(|container| (of_container(container), container)));
    let all = all.chain(log_dirs.iter().map(|log_dir| (UsedBy::Logs, log_dir)));
    for (kind, object) in all {
        if let Some(sum) = sums.iter_mut().find(|sum| sum.kind == kind) {
            sum.add(object);
        }
    }
    for sum in &mut sums {
        // Of nothing, everything is known.
        if sum.unknown_count == 0 {
            sum.size_bytes.get_or_insert(0);
        }
        sum.count.get_or_insert(0);
    }
    sums.into()
}

fn kind_of_image(reason: &str) -> UsedBy {
    let is_one_of = |reasons: &[Reason]| reasons.iter().any(|known| known.as_str() == reason);
    if is_one_of(&[Reason::InUse, Reason::NamedByPod, Reason::InUseElsewhere]) {
        UsedBy::ImagesInUse
    } else if is_one_of(&[
        Reason::Pinned,
        Reason::Protected,
        Reason::SandboxImage,
        Reason::TooYoung,
        Reason::UseUnknown,
    ]) {
        UsedBy::ImagesKept
    } else {
        UsedBy::ImagesUnused
    }
}

impl Sum {
    fn new(kind: UsedBy) -> Self {
        Self {
            kind,
            count: None,
            unknown_count: 0,
            size_bytes: None,
            inodes: None,
            reclaimable_count: 0,
            reclaimable_bytes: 0,
            reasons: BTreeMap::new(),
        }
    }

    fn add(&mut self, Object { decision, item, inodes, .. }: &Object) {
        *self.count.get_or_insert(0) += 1;
        *self.reasons.entry(item.reason.clone()).or_default() += 1;
        let size = item.size_bytes.unwrap_or_default();
        match item.size_bytes {
            Some(bytes) => self.size_bytes = Some(self.size_bytes.unwrap_or_default().saturating_add(bytes)),
            None => self.unknown_count += 1,
        }
        if let Some(inodes) = inodes {
            self.inodes = Some(self.inodes.unwrap_or_default().saturating_add(*inodes));
        }
        if *decision != Decided::Keep {
            self.reclaimable_count += 1;
            self.reclaimable_bytes = self.reclaimable_bytes.saturating_add(size);
        }
    }
}

/// The objects of a section of a plan with what `fill` knows of each, largest first.
fn objects(section: SectionReport, fill: impl Fn(&mut Object)) -> Vec<Object> {
    let SectionReport { remove, follow, keep, .. } = section;
    let decided = [(Decided::Remove, remove), (Decided::Follow, follow), (Decided::Keep, keep)];
    let object = |decision, item| {
        let mut object = Object { decision, item, inodes: None, state: None, pod_state: None };
        fill(&mut object);
        object
    };
    let objects =
        decided.into_iter().flat_map(|(decision, items)| items.into_iter().map(move |item| (decision, item)));
    let mut objects: Vec<Object> = objects.map(|(decision, item)| object(decision, item)).collect();
    objects.sort_by(|a, b| {
        b.item
            .size_bytes
            .cmp(&a.item.size_bytes)
            .then_with(|| (&a.item.name, &a.item.id).cmp(&(&b.item.name, &b.item.id)))
    });
    objects
}
