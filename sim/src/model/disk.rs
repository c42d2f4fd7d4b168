//! The disk under the node: layers stored once and counted by who needs them, writable layers, whatever else lies
//! there, and space that was given back but does not show yet. It knows sizes only, no images or containers.

use std::collections::BTreeMap;
use std::time::Duration;

use cri_gc_policy::FsStats;

use crate::options::Options;
use crate::spec::LayerSpec;

/// What lies on the node's disk, in bytes and inodes. Layers count once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Compressed layers of the images on the node.
    pub content_bytes: u64,
    /// Unpacked layers of the images, and of containers and sandboxes whose image is gone.
    pub snapshot_bytes: u64,
    /// Inodes of those snapshots.
    pub snapshot_inodes: u64,
    /// Writable layers of containers.
    pub writable_bytes: u64,
    /// Inodes of writable layers.
    pub writable_inodes: u64,
    /// Bytes that belong to nothing the runtime knows.
    pub other_bytes: u64,
    /// Inodes that belong to nothing the runtime knows.
    pub other_inodes: u64,
    /// Bytes that removals gave back and that do not show as free yet.
    pub unreleased_bytes: u64,
    /// Inodes of the same kind.
    pub unreleased_inodes: u64,
}

impl Usage {
    /// All bytes that the file systems of the node count as used.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        [
            self.content_bytes,
            self.snapshot_bytes,
            self.writable_bytes,
            self.other_bytes,
            self.unreleased_bytes,
        ]
        .iter()
        .fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

#[derive(Debug)]
struct Layer {
    compressed: u64,
    unpacked: u64,
    files: u64,
    /// Images that have it: they hold the compressed form and the snapshot.
    images: u64,
    /// Containers and sandboxes that were made from it: they hold the snapshot.
    users: u64,
}

/// A file system as its statistics see it.
#[derive(Debug)]
struct Volume {
    capacity: u64,
    inodes: u64,
    /// What was given back: when it shows (in uptime), bytes, inodes.
    unreleased: Vec<(Duration, u64, u64)>,
}

impl Volume {
    fn unreleased(&self, uptime: Duration) -> (u64, u64) {
        let still = self.unreleased.iter().filter(|(due, ..)| *due > uptime);
        still.fold((0, 0), |(bytes, inodes), (_, b, i)| (bytes + b, inodes + i))
    }

    fn stats(&self, used_bytes: u64, used_inodes: u64, uptime: Duration) -> FsStats {
        let (bytes, inodes) = self.unreleased(uptime);
        FsStats {
            capacity_bytes: self.capacity,
            available_bytes: self.capacity.saturating_sub(used_bytes.saturating_add(bytes)),
            inodes: self.inodes,
            inodes_free: self.inodes.saturating_sub(used_inodes.saturating_add(inodes)),
        }
    }
}

/// Which file system something lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Images,
    Containers,
}

#[derive(Debug)]
pub(crate) struct Disk {
    layers: BTreeMap<String, Layer>,
    images: Volume,
    /// Where writable layers lie, if not with the images.
    containers: Option<Volume>,
    release_delay: Duration,
    /// Sums of what is stored now; `unreleased_*` are not kept here.
    stored: Usage,
}

impl Disk {
    pub(crate) fn new(options: &Options) -> Self {
        let volume = |capacity, inodes| Volume { capacity, inodes, unreleased: Vec::new() };
        Self {
            layers: BTreeMap::new(),
            images: volume(options.capacity_bytes, options.inodes),
            containers: options
                .separate_container_fs
                .then(|| volume(options.container_capacity_bytes, options.container_inodes)),
            release_delay: options.release_delay,
            stored: Usage::default(),
        }
    }

    /// An image with these layers comes.
    pub(crate) fn store_image(&mut self, layers: &[LayerSpec]) {
        for spec in layers {
            let layer = self.layers.entry(spec.name.clone()).or_insert(Layer {
                compressed: spec.compressed_bytes,
                unpacked: spec.unpacked_bytes,
                files: spec.files,
                images: 0,
                users: 0,
            });
            if layer.images == 0 {
                self.stored.content_bytes += layer.compressed;
                if layer.users == 0 {
                    self.stored.snapshot_bytes += layer.unpacked;
                    self.stored.snapshot_inodes += layer.files;
                }
            }
            layer.images += 1;
        }
    }

    /// An image with these layers goes.
    pub(crate) fn drop_image(&mut self, layers: &[String], uptime: Duration) {
        self.release(layers, uptime, |layer| layer.images = layer.images.saturating_sub(1));
    }

    /// A container or sandbox is made from these layers, which are stored.
    pub(crate) fn use_layers(&mut self, layers: &[String]) {
        for name in layers {
            if let Some(layer) = self.layers.get_mut(name) {
                layer.users += 1;
            }
        }
    }

    /// A container or sandbox that was made from these layers goes.
    pub(crate) fn release_layers(&mut self, layers: &[String], uptime: Duration) {
        self.release(layers, uptime, |layer| layer.users = layer.users.saturating_sub(1));
    }

    fn release(&mut self, layers: &[String], uptime: Duration, less: impl Fn(&mut Layer)) {
        let (mut bytes, mut inodes) = (0, 0);
        for name in layers {
            let Some(layer) = self.layers.get_mut(name) else {
                continue;
            };
            let had_content = layer.images > 0;
            less(layer);
            if had_content && layer.images == 0 {
                bytes += layer.compressed;
                self.stored.content_bytes -= layer.compressed;
            }
            if layer.images == 0 && layer.users == 0 {
                bytes += layer.unpacked;
                inodes += layer.files;
                self.stored.snapshot_bytes -= layer.unpacked;
                self.stored.snapshot_inodes -= layer.files;
                self.layers.remove(name);
            }
        }
        self.give_back(Which::Images, bytes, inodes, uptime);
    }

    /// A writable layer changes from one size (bytes, inodes) to another.
    pub(crate) fn resize_writable(&mut self, from: (u64, u64), to: (u64, u64), uptime: Duration) {
        self.stored.writable_bytes = (self.stored.writable_bytes + to.0).saturating_sub(from.0);
        self.stored.writable_inodes = (self.stored.writable_inodes + to.1).saturating_sub(from.1);
        let freed = (from.0.saturating_sub(to.0), from.1.saturating_sub(to.1));
        self.give_back(Which::Containers, freed.0, freed.1, uptime);
    }

    /// Sets what lies on the images' file system and belongs to nothing the runtime knows. Shows at once.
    pub(crate) fn set_other(&mut self, bytes: u64, inodes: u64) {
        self.stored.other_bytes = bytes;
        self.stored.other_inodes = inodes;
    }

    pub(crate) fn set_release_delay(&mut self, delay: Duration) {
        self.release_delay = delay;
    }

    pub(crate) fn set_capacity(&mut self, bytes: u64) {
        self.images.capacity = bytes;
    }

    fn give_back(&mut self, which: Which, bytes: u64, inodes: u64, uptime: Duration) {
        let volume = match (which, &mut self.containers) {
            (Which::Containers, Some(volume)) => volume,
            _ => &mut self.images,
        };
        volume.unreleased.retain(|(due, ..)| *due > uptime);
        if !self.release_delay.is_zero() && (bytes > 0 || inodes > 0) {
            volume.unreleased.push((uptime.saturating_add(self.release_delay), bytes, inodes));
        }
    }

    pub(crate) fn usage(&self, uptime: Duration) -> Usage {
        let (mut unreleased_bytes, mut unreleased_inodes) = self.images.unreleased(uptime);
        if let Some(volume) = &self.containers {
            let (bytes, inodes) = volume.unreleased(uptime);
            unreleased_bytes += bytes;
            unreleased_inodes += inodes;
        }
        Usage { unreleased_bytes, unreleased_inodes, ..self.stored }
    }

    /// What statvfs says; `None` for a file system that the node does not have.
    pub(crate) fn stats(&self, which: Which, uptime: Duration) -> Option<FsStats> {
        let s = &self.stored;
        match which {
            Which::Images => {
                let (bytes, inodes) =
                    if self.containers.is_some() { (0, 0) } else { (s.writable_bytes, s.writable_inodes) };
                let used = s.content_bytes + s.snapshot_bytes + s.other_bytes + bytes;
                Some(self.images.stats(used, s.snapshot_inodes + s.other_inodes + inodes, uptime))
            }
            Which::Containers => {
                let volume = self.containers.as_ref()?;
                Some(volume.stats(s.writable_bytes, s.writable_inodes, uptime))
            }
        }
    }

    /// Bytes and inodes that the runtime itself counts: snapshots, not the content store (as containerd's snapshotter).
    pub(crate) fn counted_by_runtime(&self, which: Which) -> (u64, u64) {
        let s = &self.stored;
        let writable = (s.writable_bytes, s.writable_inodes);
        match (which, &self.containers) {
            (Which::Containers, _) => writable,
            (Which::Images, Some(_)) => (s.snapshot_bytes, s.snapshot_inodes),
            (Which::Images, None) => (s.snapshot_bytes + writable.0, s.snapshot_inodes + writable.1),
        }
    }

    /// Sum of the compressed sizes of these layers, one that is named twice counted twice.
    pub(crate) fn compressed_size(&self, layers: &[String]) -> u64 {
        layers.iter().filter_map(|name| self.layers.get(name)).map(|layer| layer.compressed).sum()
    }
}
