//! What a modelled node is like, chosen once when it starts. Plain data; what changes later is changed through
//! [`crate::Node`].

use std::path::PathBuf;

use cri_gc_proto::RUNTIME_MESSAGE_LIMIT;
use jiff::Timestamp;

/// Which runtime the server behaves like, where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Flavour {
    /// containerd 1.6: stopping what is missing is NotFound, no image is ever pinned, and there are no image volumes.
    Containerd16,
    /// containerd 2.1: stopping what is missing succeeds, and the sandbox image is pinned.
    #[default]
    Containerd21,
    /// CRI-O 1.37: image ids without `sha256:`, containers that name their image by digest, and no removal of an image in
    /// use.
    CriO,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Containerd16, Self::Containerd21, Self::CriO];

    /// `runtime_name` in the answer to Version.
    #[must_use]
    pub fn runtime_name(self) -> &'static str {
        match self {
            Self::Containerd16 | Self::Containerd21 => "containerd",
            Self::CriO => "cri-o",
        }
    }

    /// `runtime_version` in the answer to Version.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Containerd16 => "1.6.20",
            Self::Containerd21 => "v2.1.9",
            Self::CriO => "1.37.0",
        }
    }

    /// Whether Status names the sandbox image; containerd 2.1 only pins it.
    #[must_use]
    pub fn names_the_sandbox_image(self) -> bool {
        self != Self::Containerd21
    }

    /// Whether it reports images as pinned: the label came after containerd 1.6.
    #[must_use]
    pub fn pins_images(self) -> bool {
        self != Self::Containerd16
    }

    /// Whether a container can have an image mounted as a volume.
    #[must_use]
    pub fn has_image_volumes(self) -> bool {
        self != Self::Containerd16
    }
}

/// How a modelled node begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which runtime to be.
    pub flavour: Flavour,
    /// What the modelled wall clock shows at first.
    pub start_time: Timestamp,
    /// Ids depend on this number and on the order of creation, on nothing else.
    pub seed: u64,
    /// Size in bytes of the filesystem that images are on.
    pub capacity_bytes: u64,
    /// Inodes of that filesystem; 0 for one that has no fixed number of them.
    pub inodes: u64,
    /// Image that sandboxes are made of, as Status names it.
    pub sandbox_image: String,
    /// Whether CRI-O pins that image; containerd 2.1 always does.
    pub pin_sandbox_image: bool,
    /// Whether that image is on the node at first. Without it no sandbox can be made over the socket.
    pub sandbox_image_present: bool,
    /// Largest answer in bytes; a larger one becomes ResourceExhausted. containerd's is 16 MiB.
    pub message_limit: usize,
    /// Whether writable layers of containers are on a filesystem of their own, which ImageFsInfo then reports. With CRI-O
    /// that is its option `imagestore`.
    pub separate_container_fs: bool,
    /// Size in bytes of that filesystem.
    pub container_capacity_bytes: u64,
    /// Inodes of that filesystem; 0 for one that has no fixed number of them.
    pub container_inodes: u64,
    /// Whether CRI-O reports `image_id` of containers; older releases do not.
    pub container_image_ids: bool,
    /// Whether the `created_at` that CRI-O lists for a container moves by 0.1 ms whenever the runtime restarts.
    pub list_times_move: bool,
    /// Further folders in which StartContainer may create log files; beneath the node's own folder it always may.
    /// Elsewhere a start fails: a client of a test server must not make it write wherever it likes.
    pub log_roots: Vec<PathBuf>,
}

impl Default for Options {
    /// containerd 2.1 with 40 GiB, 2,621,440 inodes and its sandbox image, on 1 June 2026 at noon (UTC).
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        /// 2026-06-01T12:00:00Z.
        const START: i64 = 1_780_315_200;
        Self {
            flavour: Flavour::default(),
            start_time: Timestamp::from_second(START).unwrap_or(Timestamp::UNIX_EPOCH),
            seed: 0,
            capacity_bytes: 40 * GIB,
            inodes: 2_621_440,
            sandbox_image: "registry.k8s.io/pause:3.10".to_owned(),
            pin_sandbox_image: true,
            sandbox_image_present: true,
            message_limit: RUNTIME_MESSAGE_LIMIT,
            separate_container_fs: false,
            container_capacity_bytes: 20 * GIB,
            container_inodes: 1_310_720,
            container_image_ids: true,
            list_times_move: true,
            log_roots: Vec::new(),
        }
    }
}
