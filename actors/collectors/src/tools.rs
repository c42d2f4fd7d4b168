//! What every collector uses.

use cri_gc_gateway::Gateway;
use cri_gc_images::ImageRecords;
use cri_gc_kit::recorder::Recorder;
use cri_gc_kit::seams::{Clock, FsProbe};
use cri_gc_kit::workers::Workers;
use cri_gc_pods::PodStates;
use slog::Logger;

/// What every collector uses. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    /// The runtime.
    pub gateway: Gateway,
    /// Whose pods live.
    pub pods: PodStates,
    /// What is remembered of images.
    pub images: ImageRecords,
    /// The log directories.
    pub files: Workers,
    /// Measure the disks: a log root that hangs must not keep a full disk from being seen.
    pub disks: Workers,
    /// The time.
    pub clock: Clock,
    /// How full the disks are.
    pub probe: FsProbe,
    /// Records what happened.
    pub recorder: Recorder,
    /// Where to log.
    pub log: Logger,
}
