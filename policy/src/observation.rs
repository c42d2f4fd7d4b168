//! What one look at a node saw: the facts that decisions rest on, and nothing of what is wanted.
//!
//! An observation is plain data. Who fills it (the collectors from a runtime, `snapshot` from a file) must leave out
//! what it could not learn rather than guess: every `Option` here means "not known" when empty.

use jiff::Timestamp;

use crate::age::Now;

/// State of a container (CRI `ContainerState`). Every state but `Running` is *dead* (behaviour: Words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerState {
    /// Made but not started; it may be about to start.
    Created,
    /// Its process runs.
    Running,
    /// Its process has ended.
    Exited,
    /// The runtime cannot tell.
    Unknown,
}

/// One container, as a list of the runtime tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Whole id; never empty.
    pub id: String,
    /// UID from the label `io.kubernetes.pod.uid`; empty without that label.
    pub pod_uid: String,
    /// Id of the sandbox it lives in.
    pub pod_sandbox_id: String,
    /// Name within its pod.
    pub name: String,
    /// Number of restarts of that name before it.
    pub attempt: u32,
    /// State when listed.
    pub state: ContainerState,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its process ended. Lists do not tell it, so it is rarely known.
    pub finished_at: Option<Timestamp>,
    /// The image as its creator named it; a tag in it may have moved on.
    pub image: String,
    /// The image as the runtime resolved it.
    pub image_ref: String,
    /// Id of the image.
    pub image_id: String,
    /// Images mounted into it as image volumes (CRI `ContainerStatus.mounts[].image`). No list reports them, so they are filled
    /// in only where images are about to be removed; empty if not known or none.
    pub image_volumes: Vec<String>,
    /// Absolute path of its log file; empty if not known or none.
    pub log_path: String,
}

/// State of a sandbox (CRI `PodSandboxState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SandboxState {
    /// It serves its pod.
    Ready,
    /// It was stopped or died.
    NotReady,
    /// Not known. Treated as ready wherever that keeps more.
    Unknown,
}

/// One pod sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Whole id; never empty.
    pub id: String,
    /// UID of its pod; empty if it was made without one.
    pub pod_uid: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Name of its pod.
    pub name: String,
    /// Number of sandboxes its pod had before it.
    pub attempt: u32,
    /// State when listed.
    pub state: SandboxState,
    /// When it was created.
    pub created_at: Option<Timestamp>,
}

/// One image together with what is remembered of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Whole id; never empty.
    pub id: String,
    /// Handler whose copy of the image this is; empty is the default one.
    pub runtime_handler: String,
    /// Names with a tag.
    pub repo_tags: Vec<String>,
    /// Names with a digest.
    pub repo_digests: Vec<String>,
    /// Bytes as the runtime tells them: a hint (compressed, shared layers counted in each image); 0 if not told.
    pub size_bytes: u64,
    /// The runtime asks that nobody collects it.
    pub pinned: bool,
    /// When it was first seen; unknown counts as now.
    pub first_detected: Option<Timestamp>,
    /// When it was last seen used; `None` is never.
    pub last_used: Option<Timestamp>,
    /// The runtime refused to remove it because something uses it that is no container of the CRI, and it is too early to try
    /// again.
    pub in_use_elsewhere: bool,
}

impl Image {
    /// All its names: tags, then digests.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().chain(&self.repo_digests).map(String::as_str)
    }
}

/// Statistics of one file system, as statvfs tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FsStats {
    /// `f_blocks * f_frsize`.
    pub capacity_bytes: u64,
    /// `f_bavail * f_frsize`: what an ordinary user may still write.
    pub available_bytes: u64,
    /// `f_files`; 0 where the file system has no fixed number of inodes.
    pub inodes: u64,
    /// `f_favail`.
    pub inodes_free: u64,
}

/// A file system that images or containers lie on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// A directory on it, as the runtime named it.
    pub mountpoint: String,
    /// Whether images lie on it.
    pub holds_images: bool,
    /// Whether the writable layers of containers lie on it.
    pub holds_containers: bool,
    /// How full it is.
    pub stats: FsStats,
    /// What is being reclaimed on it by a pass under way: that goes on to the low threshold, while a pass begins at the
    /// high one only. Nothing in an observation that no pass has acted on yet.
    pub reclaiming: Reclaiming,
}

/// What a pass has begun to reclaim on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaiming {
    /// Bytes.
    pub bytes: bool,
    /// Inodes.
    pub inodes: bool,
}

/// State of a pod as its source tells it (behaviour: Pods).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PodState {
    /// Known to the source and not finished, or something of it runs.
    Active,
    /// Finished: phase Succeeded or Failed.
    Terminated,
    /// Failed with reason Evicted.
    Evicted,
    /// Proved absent.
    Deleted,
    /// Nothing is proved.
    Unknown,
}

/// One pod as its source tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// UID.
    pub uid: String,
    /// State, before what runs is looked at.
    pub state: PodState,
    /// Images that its spec names, where the source tells: they count as used while the pod is active (behaviour: Images in use).
    pub images: Vec<String>,
}

/// What is known of the pods of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// Whether the source is synced. While it is not, every state but active is unknown.
    pub synced: bool,
    /// The pods that are known by UID.
    pub pods: Vec<Pod>,
    /// State of a UID that is not listed.
    pub absent: PodState,
}

impl Default for Pods {
    /// Nothing is known.
    fn default() -> Self {
        Self { synced: false, pods: Vec::new(), absent: PodState::Unknown }
    }
}

/// What one look at a node saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// When: the "now" of every decision on it.
    pub taken_at: Timestamp,
    /// When the clock was set last, if that was seen: ages count from then at the earliest (behaviour: Clock changes).
    pub clock_set: Option<Timestamp>,
    /// Image that the runtime makes sandboxes of, as it names it; empty if it does not tell.
    pub sandbox_image: String,
    /// Pods by their source.
    pub pods: Pods,
    /// Every container, in any state.
    pub containers: Vec<Container>,
    /// Every sandbox.
    pub sandboxes: Vec<Sandbox>,
    /// Every image.
    pub images: Vec<Image>,
    /// Why it isn't known which images are in use, where it isn't: then no image is removed.
    pub uses_unknown: Option<String>,
    /// File systems that images and containers lie on.
    pub filesystems: Vec<FileSystem>,
    /// Names in the root of the pods' log directories.
    pub log_dirs: Vec<String>,
}

impl Observation {
    /// The time by which all ages are told.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { at: self.taken_at, clock_set: self.clock_set }
    }

    /// It isn't known which images are in use, for this reason. The first reason counts.
    pub fn lose_uses(&mut self, why: impl FnOnce() -> String) {
        self.uses_unknown.get_or_insert_with(why);
    }

    /// A look that saw nothing.
    #[must_use]
    pub fn empty(taken_at: Timestamp) -> Self {
        Self {
            taken_at,
            clock_set: None,
            sandbox_image: String::new(),
            pods: Pods::default(),
            containers: Vec::new(),
            sandboxes: Vec::new(),
            images: Vec::new(),
            uses_unknown: None,
            filesystems: Vec::new(),
            log_dirs: Vec::new(),
        }
    }
}
