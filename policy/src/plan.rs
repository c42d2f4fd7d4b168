//! What a plan is made of: one decision for each object, and a section for each kind.

use jiff::Timestamp;

use crate::reason::Reason;

/// Whether one object is removed or kept, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Position of the object in its list of the observation.
    pub index: usize,
    /// Why it is removed or kept.
    pub reason: Reason,
    /// What a reader needs besides the reason; [`crate::report`] puts it into words.
    pub detail: Detail,
}

/// What a reader needs besides the reason, as far as it cannot be read off the object and the policy again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// How many newer ones of its evict unit, of the node, or of its pod there are.
    Newer(usize),
    /// Position, in its own list, of what keeps the object: a container that uses an image, a pattern that protects
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
    /// What is removed, in the order of removal.
    pub remove: Vec<Decision>,
    /// What becomes removable by removals of earlier sections, in the order of removal.
    pub follow: Vec<Decision>,
    /// What is kept, in no particular order.
    pub keep: Vec<Decision>,
}

impl Section {
    /// Whether anything is removed or follows.
    #[must_use]
    pub fn removes_any(&self) -> bool {
        !self.remove.is_empty() || !self.follow.is_empty()
    }

    /// Adds a decision to the list of its reason. Removals have to be put in order afterwards.
    pub(crate) fn push(&mut self, decision: Decision) {
        if decision.reason.removes() {
            self.remove.push(decision);
        } else {
            self.keep.push(decision);
        }
    }

    /// Has follow what is kept so far and `reason` gives a reason to remove.
    pub(crate) fn follow_kept(&mut self, reason: impl Fn(&Decision) -> Option<Reason>) {
        self.follow.extend(self.keep.extract_if(.., |decision| match reason(decision) {
            Some(reason) if reason.removes() => {
                *decision = Decision::new(decision.index, reason);
                true
            }
            _ => false,
        }));
    }
}
