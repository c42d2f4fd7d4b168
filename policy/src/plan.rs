//! What a plan is made of: one decision for each object, and a section for each kind.

use jiff::Timestamp;

use crate::reason::Reason;

/// What becomes of one object, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Position of the object in its list of the observation.
    pub index: usize,
    /// Why it goes or stays.
    pub reason: Reason,
    /// What a reader needs beside the reason; [`crate::report`] puts it into words.
    pub detail: Detail,
}

/// What a reader needs beside the reason, in so far as it cannot be read off the object and the policy again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// So many newer ones of its unit (or of the node, or of its pod) stand before it.
    Newer(usize),
    /// Position, in its own list, of what holds the object: a container that uses an image, a pattern that protects
    /// it, a pod whose spec names it.
    Holder(usize),
    /// Position of the container that has an image mounted as an image volume.
    Mount(usize),
    /// The time that decided, where the observation does not have it: when a container was created or finished, as the
    /// runtime reported it for this container alone.
    At(Timestamp),
}

impl Decision {
    /// A decision that its reason explains fully.
    #[must_use]
    pub fn new(index: usize, reason: Reason) -> Self {
        Self { index, reason, detail: Detail::None }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }
}

/// The decisions on all objects of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// What goes, in the order of removal.
    pub remove: Vec<Decision>,
    /// What stays, in no particular order.
    pub keep: Vec<Decision>,
}

impl Section {
    /// Files a decision where its reason says. Removals have to be put in order afterwards.
    pub(crate) fn push(&mut self, decision: Decision) {
        if decision.reason.removes() {
            self.remove.push(decision);
        } else {
            self.keep.push(decision);
        }
    }
}
