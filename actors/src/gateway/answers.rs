//! What the runtime answers, as far as it is no list of objects.

use cri_gc_policy::ContainerState;
use jiff::Timestamp;

/// Name and version of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// E.g. "containerd".
    pub name: String,
    /// As the runtime numbers itself.
    pub version: String,
}

/// The state of one container, as `ContainerStatus` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// State at that moment.
    pub state: ContainerState,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its process ended.
    pub finished_at: Option<Timestamp>,
    /// Absolute path of its log file; empty if it has none.
    pub log_path: String,
}

/// Directories on the file systems that images and containers lie on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsPlaces {
    /// Those of images.
    pub images: Vec<String>,
    /// Those of writable layers; the same as those of images where the runtime names none.
    pub containers: Vec<String>,
}
