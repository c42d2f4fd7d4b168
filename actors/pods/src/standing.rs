//! By which evidence a pod is in its state: why something is kept or removed, in words. Decided in `absence` and
//! `runtime_source`.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use cri_gc_kit::text::duration;
use cri_gc_policy::PodState;
use jiff::Timestamp;

/// By which evidence a pod is in its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Something of it runs, or may run: no source can say otherwise.
    Runs,
    /// The source lists it.
    Listed,
    /// The source can't be relied on now.
    NoSource,
    /// It is missing from only one list so far.
    OnlyOneList,
    /// The first of the last two lists still had it.
    ListedLately,
    /// Something of it was not there yet when the first list was made.
    TooNew,
    /// Something of it has a timestamp in the future.
    FromTheFuture,
    /// When something of it was created is not known.
    Undated,
    /// A kubelet still has a directory of it.
    Orphaned,
    /// It is not known whether a kubelet has a directory of it.
    RootUnreadable,
    /// The source lists nothing of what runs on this node.
    ListsNoneThatRun,
    /// Too many pods vanished at once.
    Braked {
        /// Since when it has been missing from all lists.
        since: Timestamp,
    },
    /// Its namespace and name are not known, so it can't be asked for.
    Nameless,
    /// It was not asked for by name yet.
    NotAsked,
    /// It is missing from the list, and yet it exists when asked for by name.
    StillThere,
    /// It could not be asked for.
    AskFailed(String),
    /// It is missing from two observations in a row.
    ProvedAbsent {
        /// When the first was made.
        first: Timestamp,
        /// When the second was.
        second: Timestamp,
        /// Whether the second was a question for the pod itself.
        asked: bool,
    },
    /// Source `runtime`: nothing of it has run for long enough.
    Idle {
        /// Since when.
        since: Timestamp,
    },
    /// Source `runtime`: nothing of it runs, but not for long enough yet; `None` if it is not known since when.
    Waiting {
        /// Since when.
        since: Option<Timestamp>,
        /// How long it has to be idle.
        grace: Duration,
    },
}

impl Standing {
    /// Whether a newer list could prove more.
    #[must_use]
    pub fn wants_list(&self) -> bool {
        matches!(
            self,
            Self::OnlyOneList | Self::ListedLately | Self::TooNew | Self::ListsNoneThatRun | Self::StillThere
        )
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs => f.write_str("a container of it runs, or a sandbox of it is ready"),
            Self::Listed => f.write_str("the pod source lists it"),
            Self::NoSource => f.write_str("the pod source is not synced, so nothing is known about it"),
            Self::OnlyOneList => f.write_str("not confirmed deleted: it is missing from one list so far; waits for the next list"),
            Self::ListedLately => f.write_str("not confirmed deleted: it is missing from the last list, but not from the one before; waits for the next list"),
            Self::TooNew => f.write_str(
                "not confirmed deleted: an object of it is newer than the lists that it is missing from; waits for the next list",
            ),
            Self::FromTheFuture => f.write_str(
                "not confirmed deleted: it is not listed, but an object of it has a timestamp in the future; the clock was put back, or is wrong",
            ),
            Self::Undated => {
                f.write_str("not confirmed deleted: it is not listed, but the creation time of an object of it is not known")
            }
            Self::Orphaned => f.write_str("it is not listed, but the kubelet still has a directory of it"),
            Self::RootUnreadable => f.write_str(
                "not confirmed deleted: it is not listed, but it is not known whether the kubelet has a directory of it",
            ),
            Self::ListsNoneThatRun => f.write_str("not confirmed deleted: the list contains none of the pods that run here, so it is not used"),
            Self::Braked { since } => {
                write!(
                    f,
                    "not confirmed deleted: not listed since {since:.0}, but too many pods disappeared at once \
                     (pods.max_newly_deleted_percent); wait 10m, or confirm with `cri-gc run-now --confirm-deleted`"
                )
            }
            Self::Nameless => {
                f.write_str("not confirmed deleted: it is not listed, and its name is not known, so the API server cannot be asked for it")
            }
            Self::NotAsked => {
                f.write_str("not confirmed deleted: it is not listed, but the API server has not been asked for it by name yet")
            }
            Self::StillThere => f.write_str("it is not listed, but the API server has it"),
            Self::AskFailed(error) => {
                write!(f, "not confirmed deleted: it is not listed, and could not be asked for by name: {error}")
            }
            Self::ProvedAbsent { first, second, asked: true } => {
                write!(f, "it is missing from the list of {first:.0}, and the API server did not have it at {second:.0}")
            }
            Self::ProvedAbsent { first, second, asked: false } => {
                write!(f, "it is missing from the lists of {first:.0} and {second:.0}")
            }
            Self::Idle { since } => write!(f, "nothing of it has run since {since:.0}"),
            Self::Waiting { since: Some(since), grace } => write!(
                f,
                "not confirmed deleted: idle since {since:.0}, deleted after {} (pods.runtime_grace)",
                duration(*grace)
            ),
            Self::Waiting { since: None, .. } => {
                f.write_str("not confirmed deleted: it is not known since when nothing of it has run")
            }
        }
    }
}

/// The UID of a pod, its state, and by which evidence.
pub type PodStanding = (String, PodState, Standing);

/// What is known of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// Its UID.
    pub uid: String,
    /// Its state.
    pub state: PodState,
    /// Since when it has been seen in that state.
    pub since: Timestamp,
    /// By which evidence.
    pub standing: Standing,
}

/// What was known of each pod when last asked, and since when.
#[derive(Debug, Default)]
pub struct Chronicle {
    pods: HashMap<String, (PodState, Timestamp, Standing)>,
}

impl Chronicle {
    /// Notes how all pods stand. One that is not among them is forgotten.
    pub fn note(&mut self, all: Vec<PodStanding>, now: Timestamp) {
        let mut before = std::mem::take(&mut self.pods);
        self.pods = all
            .into_iter()
            .map(|(uid, state, standing)| {
                let since = match before.remove(&uid) {
                    Some((known, since, _)) if known == state => since,
                    _ => now,
                };
                (uid, (state, since, standing))
            })
            .collect();
    }

    /// The pods that count as deleted, or would but for a directory, an answer or the brake. Not those that are
    /// missing from one list only, or that are newer than the lists: these may be wrong. With `by_no_source` also those of
    /// which nothing is known while the source is doubted.
    pub fn missing(&self, by_no_source: bool) -> impl Iterator<Item = String> {
        let is_missing = move |standing: &Standing| match standing {
            Standing::ProvedAbsent { .. }
            | Standing::Braked { .. }
            | Standing::Orphaned
            | Standing::NotAsked
            | Standing::AskFailed(_) => true,
            Standing::NoSource => by_no_source,
            _ => false,
        };
        let missing = self.pods.iter().filter(move |(_, (_, _, standing))| is_missing(standing));
        missing.map(|(uid, _)| uid.clone())
    }

    /// What is known of all pods, by UID.
    #[must_use]
    pub fn facts(&self) -> Vec<PodFacts> {
        let facts = self.pods.iter().map(|(uid, (state, since, standing))| PodFacts {
            uid: uid.clone(),
            state: *state,
            since: *since,
            standing: standing.clone(),
        });
        let mut facts: Vec<PodFacts> = facts.collect();
        facts.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_counts_since_it_was_first_seen_in_a_row() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut chronicle = Chronicle::default();
        let mut note = |state, now| {
            chronicle.note(vec![("u".to_owned(), state, Standing::Listed)], at(now));
            chronicle.facts().into_iter().map(|facts| (facts.state, facts.since)).collect::<Vec<_>>()
        };
        assert_eq!(note(PodState::Active, 1), [(PodState::Active, at(1))]);
        assert_eq!(note(PodState::Active, 2), [(PodState::Active, at(1))]);
        assert_eq!(note(PodState::Unknown, 3), [(PodState::Unknown, at(3))]);
        assert_eq!(note(PodState::Active, 4), [(PodState::Active, at(4))]);
        chronicle.note(Vec::new(), at(5));
        assert_eq!(chronicle.facts(), []);
    }
}
