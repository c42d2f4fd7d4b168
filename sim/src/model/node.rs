//! The state of the node, and what concerns all of it: its places, its clock, its disk. What is done with objects of each kind
//! is in the file of that kind.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri_gc_policy::FsStats;
use cri_gc_proto::POD_UID_LABEL;
use jiff::Timestamp;

use super::disk::{Disk, Usage};
use super::logs;
use super::objects::{Container, Image, Sandbox};
use crate::clock::{Clock, earlier};
use crate::error::SimError;
use crate::ids::Ids;
use crate::options::{Flavour, Options};
use crate::space::Space;
use crate::spec::{ImageSpec, LayerSpec};

/// How often containerd counts what its snapshots take, in modelled time.
const STATS_PERIOD: Duration = Duration::from_secs(10);

/// Where a node's real files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The folder that everything else is in.
    pub root: PathBuf,
    /// The socket that the runtime serves on.
    pub socket: PathBuf,
    /// Log directories of pods.
    pub pod_logs_root: PathBuf,
    /// The kubelet's links to the logs of containers.
    pub legacy_root: PathBuf,
    /// What ImageFsInfo reports as the mountpoint of the images' filesystem.
    pub images: PathBuf,
    /// The same for containers; reported only if they have a filesystem of their own.
    pub containers_fs: PathBuf,
    /// Where CRI-O writes the logs of containers whose pod has no log directory. Outside the log roots.
    pub runtime_logs: PathBuf,
}

impl Paths {
    pub(crate) fn beneath(root: PathBuf, options: &Options) -> Self {
        let (images, containers_fs) = match (options.flavour, options.separate_container_fs) {
            // As containerd does, which names its snapshotter there, and counts what is unpacked only.
            (Flavour::Containerd16 | Flavour::Containerd21, _) => ("snapshotter", "container-fs"),
            (Flavour::CriO, false) => ("storage/overlay-images", "storage/overlay-containers"),
            (Flavour::CriO, true) => ("imagestore/overlay-images", "storage/overlay-containers"),
        };
        Self {
            socket: root.join("cri.sock"),
            pod_logs_root: root.join("pods"),
            legacy_root: root.join("containers"),
            images: root.join(images),
            containers_fs: root.join(containers_fs),
            runtime_logs: root.join("runtime-logs"),
            root,
        }
    }
}

/// What the runtime counted last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) at: Timestamp,
    pub(crate) images: Space,
    pub(crate) containers: Space,
    /// The writable layers, by id of the container.
    pub(crate) layers: BTreeMap<String, Space>,
}

/// The metadata of so many images or containers in CRI-O's store.
fn metadata(objects: usize) -> Space {
    let objects = u64::try_from(objects).unwrap_or(u64::MAX);
    Space { bytes: objects.saturating_mul(4096), inodes: objects.saturating_mul(3) }
}

/// The state of a node. Reached through [`crate::Sim::with`], or from a hook.
#[derive(Debug)]
pub struct Node {
    /// What it is like.
    pub options: Options,
    /// Where its real files are.
    pub paths: Paths,
    pub(super) clock: Arc<Clock>,
    pub(super) ids: Ids,
    pub(super) sandboxes: BTreeMap<String, Sandbox>,
    pub(super) containers: BTreeMap<String, Container>,
    /// Sandbox and container, for every container: the most frequent lookups, on nodes with very many containers.
    pub(super) by_sandbox: BTreeSet<(String, String)>,
    /// UID label and id, for every container and every sandbox that has one.
    pub(super) by_uid: BTreeSet<(String, String)>,
    pub(super) images: BTreeMap<String, Image>,
    /// How often the runtime was restarted.
    pub(super) restarts: u32,
    /// Its disk.
    pub disk: Disk,
    pub(crate) counted: Counted,
    /// What the file-system probe fails with.
    pub probe_error: Option<io::ErrorKind>,
    /// What makes answers odd, while they are.
    odd: Cell<Option<u64>>,
}

impl Node {
    pub(crate) fn new(options: Options, paths: Paths, clock: Arc<Clock>) -> Self {
        let disk = Disk::new(&options);
        let (images, containers) = Default::default();
        let counted = Counted { at: clock.now(), images, containers, layers: BTreeMap::new() };
        let mut node = Self {
            ids: Ids::new(options.seed),
            options,
            paths,
            clock,
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            by_sandbox: BTreeSet::new(),
            by_uid: BTreeSet::new(),
            images: BTreeMap::new(),
            restarts: 0,
            disk,
            counted,
            probe_error: None,
            odd: Cell::new(None),
        };
        if node.options.sandbox_image_present {
            let layer = LayerSpec::new("the sandbox image", 310_000, 750_000);
            let image = ImageSpec::new(node.options.sandbox_image.clone()).layer(layer);
            node.add_image(if node.pins_sandbox_image() {
                image.with(|image| image.pinned = true)
            } else {
                image
            });
        }
        node.count_usage();
        node
    }

    /// The modelled wall clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// That long ago by the modelled wall clock.
    #[must_use]
    pub fn ago(&self, by: Duration) -> Timestamp {
        earlier(self.now(), by)
    }

    /// Lets modelled time pass. What the runtime counts by itself every 10 s is counted on the way.
    pub fn advance(&mut self, by: Duration) {
        let periods = |uptime: Duration| uptime.as_secs() / STATS_PERIOD.as_secs();
        let before = periods(self.clock.uptime());
        self.clock.advance(by);
        let uptime = self.clock.uptime();
        if periods(uptime) > before {
            let since = uptime.saturating_sub(
                STATS_PERIOD.saturating_mul(u32::try_from(periods(uptime)).unwrap_or(u32::MAX)),
            );
            self.count_usage();
            self.counted.at = earlier(self.clock.now(), since);
        }
    }

    /// Has the runtime count at once what ImageFsInfo and, with containerd, ListContainerStats report, as it does when it starts and then every 10 s.
    pub(crate) fn count_usage(&mut self) {
        let (images, containers) = match self.options.flavour {
            Flavour::Containerd16 | Flavour::Containerd21 => self.disk.counted_by_runtime(),
            // CRI-O counts the folders of its metadata: a few kB for each object.
            Flavour::CriO => (metadata(self.images.len()), metadata(self.containers.len())),
        };
        let layers = self.containers.iter().map(|(id, container)| (id.clone(), container.spec.writable));
        self.counted = Counted { at: self.clock.now(), images, containers, layers: layers.collect() };
    }

    pub(crate) fn pins_sandbox_image(&self) -> bool {
        match self.options.flavour {
            Flavour::Containerd16 => false,
            Flavour::Containerd21 => true,
            Flavour::CriO => self.options.pin_sandbox_image,
        }
    }

    /// The runtime was restarted.
    pub(crate) fn restarted(&mut self) {
        self.restarts = self.restarts.saturating_add(1);
        self.count_usage();
    }

    /// From now on answers have something odd about them, which that number decides; `None` ends it.
    pub fn answer_oddly(&self, seed: Option<u64>) {
        self.odd.set(seed);
    }

    /// Whether they have.
    #[must_use]
    pub fn is_odd(&self) -> bool {
        self.odd.get().is_some()
    }

    pub(crate) fn odd(&self) -> Option<Odd<'_>> {
        self.odd.get().is_some().then_some(Odd(&self.odd))
    }

    /// What is on the disk now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.disk.usage(self.clock.uptime())
    }

    /// Sets the bytes that belong to nothing the runtime knows so that `percent` of the images' filesystem is used, or more where it is fuller without them.
    pub fn fill_to_percent(&mut self, percent: u64) {
        self.disk.stored.other.bytes = 0;
        let stats = self.disk.image_stats(self.clock.uptime());
        let wanted = u128::from(stats.capacity_bytes) * u128::from(percent) / 100;
        let used = u128::from(stats.capacity_bytes - stats.available_bytes);
        self.disk.stored.other.bytes = u64::try_from(wanted.saturating_sub(used)).unwrap_or(u64::MAX);
    }

    /// What statvfs reports for a path on one of the node's filesystems.
    ///
    /// # Errors
    /// The path is on none of them (`NotFound`), or `probe_error`.
    pub fn statvfs(&self, path: &Path) -> io::Result<FsStats> {
        if let Some(kind) = self.probe_error {
            return Err(kind.into());
        }
        let uptime = self.clock.uptime();
        let stats = if path.starts_with(&self.paths.images) {
            Some(self.disk.image_stats(uptime))
        } else if path.starts_with(&self.paths.containers_fs) {
            self.disk.container_stats(uptime)
        } else {
            None
        };
        stats.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not a filesystem of the modelled node"))
    }

    /// Makes `<pod_logs_root>/<name>` for real, with that modification time, and returns its path: a log directory
    /// that no pod on the node has.
    ///
    /// # Errors
    /// The real filesystem fails.
    pub fn add_log_dir(&self, name: &str, modified: Timestamp) -> Result<PathBuf, SimError> {
        let path = self.paths.pod_logs_root.join(name);
        logs::make_dir(&path, modified)?;
        Ok(path)
    }
}

/// What decides how odd an answer is.
#[derive(Clone, Copy)]
pub(crate) struct Odd<'a>(&'a Cell<Option<u64>>);

impl Odd<'_> {
    /// The next number below that.
    pub(crate) fn below(self, end: usize) -> usize {
        let state = self.0.get().unwrap_or_default().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0.set(Some(state));
        usize::try_from(state >> 33).unwrap_or_default().checked_rem(end).unwrap_or_default()
    }

    /// One of them.
    pub(crate) fn one_of<T: Clone + Default>(self, values: &[T]) -> T {
        values.get(self.below(values.len())).cloned().unwrap_or_default()
    }
}

/// The ids that an index has for that key.
pub(super) fn ids<'a>(
    index: &'a BTreeSet<(String, String)>,
    key: &'a str,
) -> impl Iterator<Item = &'a String> {
    let from = index.range((key.to_owned(), String::new())..);
    from.take_while(move |(of, _)| of == key).map(|(_, id)| id)
}

/// The UID of the pod in the label that a kubelet gives its objects.
pub(super) fn uid_label(labels: &BTreeMap<String, String>) -> Option<&String> {
    labels.get(POD_UID_LABEL)
}
