//! What becomes removable by a plan's own removals: a sweep makes its passes in order, so the sandbox pass sees what the
//! container pass left, and so on.
//!
//! The removals of a section never count on those of another. What follows is taken out of what a section keeps, and listed
//! next to it: sandboxes that are empty once containers are removed, log directories whose pods have neither container nor
//! sandbox any more, images that no container uses any more.

use foldhash::HashSet;

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
