//! What becomes removable by a plan's own removals: a sweep makes its passes in order, so the sandbox pass sees what the
//! container pass left, and so on.
//!
//! The sections of a plan never count on each other. What follows is taken out of what they keep, and listed next to them.

use foldhash::HashSet;

use crate::plan::Decision;

/// What becomes removable by removals of earlier sections, in the order of removal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Follow {
    /// Sandboxes that are empty once containers are removed.
    pub sandboxes: Vec<Decision>,
    /// Log directories whose pods have neither container nor sandbox any more.
    pub log_dirs: Vec<Decision>,
    /// Images that no container uses any more.
    pub images: Vec<Decision>,
}

/// Which loops remove what they plan. What a loop only reports is still there for the loops after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforcing {
    /// Container GC.
    pub containers: bool,
    /// Sandbox reaping.
    pub sandboxes: bool,
}

impl Enforcing {
    /// Both: a plan on a snapshot ignores modes.
    pub const ALL: Self = Self { containers: true, sandboxes: true };
}

/// What earlier passes of a sweep remove: positions in the lists of the observation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Containers.
    pub containers: HashSet<usize>,
    /// Sandboxes.
    pub sandboxes: HashSet<usize>,
}
