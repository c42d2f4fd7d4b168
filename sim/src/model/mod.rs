//! The modelled node: sandboxes, containers, images, the disk and the log files, with the rules of containerd; [`crio`] has
//! what CRI-O does differently.
//!
//! The server and the tests act on the same [`Node`], through the same methods, under one lock; so a test can do
//! between two RPCs, or just before one, whatever could happen on a node. Nothing here speaks gRPC or knows of faults.

mod containers;
mod crio;
mod disk;
mod images;
mod logs;
mod names;
mod object;
mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri_gc_policy::FsStats;
use jiff::Timestamp;

pub(crate) use containers::NewContainer;
pub use containers::{Container, ImageVolume};
pub use disk::Usage;
use disk::{Disk, Which};
pub use images::Image;
pub(crate) use pods::NewSandbox;
pub use pods::Sandbox;

use crate::clock::{Clock, earlier};
use crate::error::SimError;
use crate::ids::Ids;
use crate::options::{Flavour, Options};
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
    /// What ImageFsInfo tells as the mountpoint of the images' file system.
    pub images: PathBuf,
    /// The same for containers; told only if they have a file system of their own.
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

/// Bytes and inodes as the runtime counted them last: images, then containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) at: Timestamp,
    pub(crate) images: (u64, u64),
    pub(crate) containers: (u64, u64),
}

/// Bytes and inodes of the metadata of so many images or containers in CRI-O's store.
fn metadata(objects: usize) -> (u64, u64) {
    let objects = u64::try_from(objects).unwrap_or(u64::MAX);
    (objects.saturating_mul(4096), objects.saturating_mul(3))
}

/// The state of a node. Reached through [`crate::Sim::with`], or from a hook.
#[derive(Debug)]
pub struct Node {
    options: Options,
    paths: Paths,
    clock: Arc<Clock>,
    ids: Ids,
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, Container>,
    /// Sandbox and container, for every container: what is asked most, on nodes with very many containers.
    by_sandbox: BTreeSet<(String, String)>,
    images: BTreeMap<String, Image>,
    /// Images of which another program of the same store has a container, and the id of that container.
    held_images: BTreeMap<String, String>,
    /// Ids of images that RemoveImage does not remove though it answers OK.
    stubborn_images: BTreeSet<String>,
    /// How often the runtime was restarted.
    restarts: u32,
    disk: Disk,
    counted: Counted,
    probe_error: Option<io::ErrorKind>,
}

impl Node {
    pub(crate) fn new(options: Options, paths: Paths, clock: Arc<Clock>) -> Self {
        let disk = Disk::new(&options);
        let counted = Counted { at: clock.now(), images: (0, 0), containers: (0, 0) };
        let mut node = Self {
            ids: Ids::new(options.seed),
            options,
            paths,
            clock,
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            by_sandbox: BTreeSet::new(),
            images: BTreeMap::new(),
            held_images: BTreeMap::new(),
            stubborn_images: BTreeSet::new(),
            restarts: 0,
            disk,
            counted,
            probe_error: None,
        };
        if node.options.sandbox_image_present {
            let layer = LayerSpec::new("the sandbox image", 310_000, 750_000);
            let image = ImageSpec::new(node.options.sandbox_image.clone()).layer(layer);
            node.add_image(if node.pins_sandbox_image() { image.pinned() } else { image });
        }
        node.count_usage();
        node
    }

    /// How the node was started.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where its real files are.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
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

    /// Has the runtime count at once what ImageFsInfo tells, as it does when it starts and then every 10 s.
    pub fn count_usage(&mut self) {
        let (images, containers) = match self.options.flavour {
            Flavour::Containerd16 | Flavour::Containerd21 => {
                (self.disk.counted_by_runtime(Which::Images), self.disk.counted_by_runtime(Which::Containers))
            }
            // CRI-O counts the folders of its metadata: a few kB for each object.
            Flavour::CriO => (metadata(self.images.len()), metadata(self.containers.len())),
        };
        self.counted = Counted { at: self.clock.now(), images, containers };
    }

    pub(crate) fn pins_sandbox_image(&self) -> bool {
        match self.options.flavour {
            Flavour::Containerd16 => false,
            Flavour::Containerd21 => true,
            Flavour::CriO => self.options.pin_sandbox_image,
        }
    }

    /// The runtime comes back after a death.
    pub(crate) fn restarted(&mut self) {
        self.restarts = self.restarts.saturating_add(1);
        self.count_usage();
    }

    pub(crate) fn counted(&self) -> Counted {
        self.counted
    }

    /// What lies on the disk now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.disk.usage(self.clock.uptime())
    }

    /// Sets the bytes on the images' file system that belong to nothing the runtime knows.
    pub fn set_other_bytes(&mut self, bytes: u64) {
        self.disk.set_other(bytes, self.usage().other_inodes);
    }

    /// Sets the inodes on the images' file system that belong to nothing the runtime knows.
    pub fn set_other_inodes(&mut self, inodes: u64) {
        self.disk.set_other(self.usage().other_bytes, inodes);
    }

    /// Sets `other_bytes` so that just `percent` of the images' file system is used (as far as that takes no less
    /// than nothing).
    pub fn fill_to_percent(&mut self, percent: u64) {
        self.set_other_bytes(0);
        let Some(stats) = self.disk.stats(Which::Images, self.clock.uptime()) else {
            return;
        };
        let wanted = u128::from(stats.capacity_bytes) * u128::from(percent) / 100;
        let used = u128::from(stats.capacity_bytes - stats.available_bytes);
        self.set_other_bytes(u64::try_from(wanted.saturating_sub(used)).unwrap_or(u64::MAX));
    }

    /// Sets the size of the images' file system.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.disk.set_capacity(bytes);
    }

    /// Sets how long space that a removal gives back takes to show, for removals from now on.
    pub fn set_release_delay(&mut self, delay: Duration) {
        self.disk.set_release_delay(delay);
    }

    /// Makes the file-system probe fail with this error, or work again.
    pub fn set_probe_error(&mut self, error: Option<io::ErrorKind>) {
        self.probe_error = error;
    }

    /// What statvfs of a path on one of the node's file systems says.
    ///
    /// # Errors
    /// The path is on none of them (`NotFound`), or the error that was asked for by [`Node::set_probe_error`].
    pub fn statvfs(&self, path: &Path) -> io::Result<FsStats> {
        if let Some(kind) = self.probe_error {
            return Err(kind.into());
        }
        let which = if path.starts_with(&self.paths.images) {
            Some(Which::Images)
        } else if path.starts_with(&self.paths.containers_fs) {
            Some(Which::Containers)
        } else {
            None
        };
        which
            .and_then(|which| self.disk.stats(which, self.clock.uptime()))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not a file system of the modelled node"))
    }

    /// Makes `<pod_logs_root>/<name>` for real, with that modification time, and returns its path: a log directory
    /// that no pod on the node has.
    ///
    /// # Errors
    /// The real file system fails.
    pub fn add_log_dir(&self, name: &str, modified: Timestamp) -> Result<PathBuf, SimError> {
        let path = self.paths.pod_logs_root.join(name);
        logs::make_dir(&path, modified)?;
        Ok(path)
    }
}
