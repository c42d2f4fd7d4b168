//! Which legacy links are removed: `<legacy_container_logs_root>/*.log` without a target (behaviour: Log links).
//!
//! A log that is being rotated is missing for a moment, so a link is removed only if its target is missing on two passes in a
//! row, and only when its container cannot be writing.

use crate::plan::{Decision, Section};
use crate::reason::Reason;

/// What is known of the container that a link belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOwner {
    /// It has ended.
    Exited,
    /// The runtime does not know it.
    NotFound,
    /// It is running, or about to.
    Alive,
    /// Its status could not be read, or is unknown.
    Unreadable,
    /// The name of the link does not end in a whole container id.
    Nobody,
}

/// A link whose target is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DanglingLink {
    /// Its name.
    pub name: String,
    /// Whether its target was missing on the pass before as well.
    pub before: bool,
    /// Its container.
    pub owner: LinkOwner,
}

/// Decides on links whose target is missing; all others are kept and are not part of a plan.
#[must_use]
pub fn decide(links: &[DanglingLink]) -> Section {
    let mut section = Section::default();
    for (index, link) in links.iter().enumerate() {
        let reason = match (link.owner, link.before) {
            (LinkOwner::Nobody, _) => Reason::ForeignName,
            (_, false) => Reason::TargetMissingOnce,
            (LinkOwner::Exited | LinkOwner::NotFound, true) => Reason::TargetMissing,
            (LinkOwner::Alive, true) => Reason::Running,
            (LinkOwner::Unreadable, true) => Reason::StateUnknown,
        };
        section.push(Decision::new(index, reason));
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_of_ended_containers_are_removed_and_only_by_the_second_pass() {
        let reason = |owner, before| {
            let section = decide(&[DanglingLink { name: "x.log".to_owned(), before, owner }]);
            section.remove.first().or(section.keep.first()).map(|decision| decision.reason)
        };
        for owner in [LinkOwner::Exited, LinkOwner::NotFound] {
            assert_eq!(reason(owner, true), Some(Reason::TargetMissing));
            assert_eq!(reason(owner, false), Some(Reason::TargetMissingOnce));
        }
        assert_eq!(reason(LinkOwner::Alive, true), Some(Reason::Running));
        assert_eq!(reason(LinkOwner::Unreadable, true), Some(Reason::StateUnknown));
        assert_eq!(reason(LinkOwner::Nobody, true), Some(Reason::ForeignName));
    }
}
