//! The disk under the node: layers stored once and counted by what needs them, writable layers, whatever else is there, and
//! freed space that is not reported yet. It knows sizes only, no images or containers.

use std::collections::BTreeMap;
use std::time::Duration;

use cri_gc_policy::FsStats;

use crate::options::Options;
use crate::space::Space;
use crate::spec::LayerSpec;

/// What is on the node's disk. Layers count once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Compressed layers of the images on the node.
    pub content: Space,
    /// Unpacked layers of the images, and of containers and sandboxes whose image was removed.
    pub snapshots: Space,
    /// Writable layers of containers.
    pub writable: Space,
    /// What belongs to nothing that the runtime knows.
    pub other: Space,
    /// What removals freed and the filesystems do not report as free yet.
    pub unreleased: Space,
}

impl Usage {
    /// All bytes that the filesystems of the node count as used.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        (self.content + self.snapshots + self.writable + self.other + self.unreleased).bytes
    }
}

#[derive(Debug)]
struct Layer {
    compressed: Space,
    unpacked: Space,
    /// Images that have it: they need the compressed form and the snapshot.
    images: u64,
    /// Containers and sandboxes that were made from it: they need the snapshot.
    users: u64,
}

/// A filesystem as its statistics see it.
#[derive(Debug)]
pub struct Volume {
    /// Its size; without inodes where it has no fixed number of them.
    pub size: Space,
    /// What was freed, and at which uptime that is reported.
    unreleased: Vec<(Duration, Space)>,
}

impl Volume {
    fn unreleased(&self, uptime: Duration) -> Space {
        self.unreleased.iter().filter(|(due, _)| *due > uptime).map(|(_, space)| *space).sum()
    }

    fn stats(&self, used: Space, uptime: Duration) -> FsStats {
        let free = self.size - used - self.unreleased(uptime);
        FsStats {
            capacity_bytes: self.size.bytes,
            available_bytes: free.bytes,
            inodes: self.size.inodes,
            inodes_free: free.inodes,
        }
    }

    fn give_back(&mut self, freed: Space, uptime: Duration, delay: Duration) {
        self.unreleased.retain(|(due, _)| *due > uptime);
        if !delay.is_zero() && freed != Space::default() {
            self.unreleased.push((uptime.saturating_add(delay), freed));
        }
    }
}

/// The disk of a node.
#[derive(Debug)]
pub struct Disk {
    layers: BTreeMap<String, Layer>,
    /// The filesystem of the images.
    pub images: Volume,
    /// Where writable layers are, if not with the images.
    containers: Option<Volume>,
    /// After which time freed space is reported, for removals from now on.
    pub release_delay: Duration,
    /// What is stored now; `unreleased` is not kept here. A change of `other` is reported at once.
    pub stored: Usage,
}

impl Disk {
    pub(crate) fn new(options: &Options) -> Self {
        let volume = |bytes, inodes| Volume { size: Space { bytes, inodes }, unreleased: Vec::new() };
        Self {
            layers: BTreeMap::new(),
            images: volume(options.capacity_bytes, options.inodes),
            containers: options
                .separate_container_fs
                .then(|| volume(options.container_capacity_bytes, options.container_inodes)),
            release_delay: Duration::ZERO,
            stored: Usage::default(),
        }
    }

    /// An image with these layers is added.
    pub(crate) fn store_image(&mut self, layers: &[LayerSpec]) {
        for spec in layers {
            let layer = self.layers.entry(spec.name.clone()).or_insert(Layer {
                compressed: Space { bytes: spec.compressed_bytes, inodes: 0 },
                unpacked: Space { bytes: spec.unpacked_bytes, inodes: spec.files },
                images: 0,
                users: 0,
            });
            if layer.images == 0 {
                self.stored.content = self.stored.content + layer.compressed;
                if layer.users == 0 {
                    self.stored.snapshots = self.stored.snapshots + layer.unpacked;
                }
            }
            layer.images += 1;
        }
    }

    /// An image with these layers is removed.
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

    /// A container or sandbox that was made from these layers is removed.
    pub(crate) fn release_layers(&mut self, layers: &[String], uptime: Duration) {
        self.release(layers, uptime, |layer| layer.users = layer.users.saturating_sub(1));
    }

    fn release(&mut self, layers: &[String], uptime: Duration, less: impl Fn(&mut Layer)) {
        let mut freed = Space::default();
        for name in layers {
            let Some(layer) = self.layers.get_mut(name) else {
                continue;
            };
            let had_content = layer.images > 0;
            less(layer);
            if had_content && layer.images == 0 {
                freed = freed + layer.compressed;
                self.stored.content = self.stored.content - layer.compressed;
            }
            if layer.images == 0 && layer.users == 0 {
                freed = freed + layer.unpacked;
                self.stored.snapshots = self.stored.snapshots - layer.unpacked;
                self.layers.remove(name);
            }
        }
        self.images.give_back(freed, uptime, self.release_delay);
    }

    /// A writable layer changes its size.
    pub(crate) fn resize_writable(&mut self, from: Space, to: Space, uptime: Duration) {
        self.stored.writable = self.stored.writable + to - from;
        let volume = self.containers.as_mut().unwrap_or(&mut self.images);
        volume.give_back(from - to, uptime, self.release_delay);
    }

    pub(crate) fn usage(&self, uptime: Duration) -> Usage {
        let volumes = std::iter::once(&self.images).chain(&self.containers);
        Usage { unreleased: volumes.map(|volume| volume.unreleased(uptime)).sum(), ..self.stored }
    }

    /// The statistics of the images' filesystem.
    pub(crate) fn image_stats(&self, uptime: Duration) -> FsStats {
        let Usage { content, snapshots, writable, other, .. } = self.stored;
        let shared = if self.containers.is_some() { Space::default() } else { writable };
        self.images.stats(content + snapshots + other + shared, uptime)
    }

    /// The statistics of the containers' filesystem, if they have one of their own.
    pub(crate) fn container_stats(&self, uptime: Duration) -> Option<FsStats> {
        self.containers.as_ref().map(|volume| volume.stats(self.stored.writable, uptime))
    }

    /// What the runtime itself counts for images and for containers: snapshots, not the content store (as containerd's
    /// snapshotter).
    pub(crate) fn counted_by_runtime(&self) -> (Space, Space) {
        let Usage { snapshots, writable, .. } = self.stored;
        let images = if self.containers.is_some() { snapshots } else { snapshots + writable };
        (images, writable)
    }

    /// Sum of the compressed sizes of these layers, one that is named twice counted twice.
    pub(crate) fn compressed_size(&self, layers: &[String]) -> u64 {
        layers.iter().filter_map(|name| self.layers.get(name)).map(|layer| layer.compressed.bytes).sum()
    }
}
