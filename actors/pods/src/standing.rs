//! By which evidence a pod is in its state: why something is kept or removed, in words. Decided in `absence` and
//! `runtime_source`.

use std::collections::BTreeMap;

use cri_gc_policy::PodState;
use ecow::EcoString;
use jiff::Timestamp;

/// By which evidence a pod is in its state. Its `Display` is what an operator reads.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display)]
pub enum Standing {
    /// Something of it runs, or may run: no source can say otherwise.
    #[strum(to_string = "a container of it runs, or a sandbox of it is ready")]
    Runs,
    /// The source lists it.
    #[strum(to_string = "the pod source lists it")]
    Listed,
    /// The source can't be relied on now.
    #[strum(to_string = "the pod source is not synced, so nothing is known about it")]
    NoSource,
    /// It is missing from only one list so far.
    #[strum(to_string = "not confirmed deleted: it is missing from one list so far; waits for the next list")]
    OnlyOneList,
    /// The first of the last two lists still had it.
    #[strum(
        to_string = "not confirmed deleted: it is missing from the last list, but not from the one before; waits for the next list"
    )]
    ListedLately,
    /// Something of it was not there yet when the first list was made.
    #[strum(
        to_string = "not confirmed deleted: an object of it is newer than the lists that it is missing from; waits for the next list"
    )]
    TooNew,
    /// Something of it has a timestamp in the future.
    #[strum(
        to_string = "not confirmed deleted: it is not listed, but an object of it has a timestamp in the future; the clock was put back, or is wrong"
    )]
    InFuture,
    /// When something of it was created is not known.
    #[strum(
        to_string = "not confirmed deleted: it is not listed, but the creation time of an object of it is not known"
    )]
    Undated,
    /// A kubelet still has a directory of it.
    #[strum(to_string = "it is not listed, but the kubelet still has a directory of it")]
    Orphaned,
    /// It is not known whether a kubelet has a directory of it.
    #[strum(
        to_string = "not confirmed deleted: it is not listed, but it is not known whether the kubelet has a directory of it"
    )]
    RootUnreadable,
    /// The source lists nothing of what runs on this node.
    #[strum(
        to_string = "not confirmed deleted: the list contains none of the pods that run here, so it is not used"
    )]
    ListsNoneThatRun,
    /// Too many pods vanished at once.
    #[strum(
        to_string = "not confirmed deleted: not listed since {since:.0}, but too many pods disappeared at once (pods.max_newly_deleted_percent); wait 10m, or confirm with `cri-gc run-now --confirm-deleted`"
    )]
    Braked {
        /// Since when it has been missing from all lists.
        since: Timestamp,
    },
    /// Its namespace and name are not known, so it can't be queried.
    #[strum(
        to_string = "not confirmed deleted: it is not listed, and its name is not known, so the API server cannot be asked for it"
    )]
    Nameless,
    /// It was not queried by name yet.
    #[strum(
        to_string = "not confirmed deleted: it is not listed, but the API server has not been asked for it by name yet"
    )]
    NotAsked,
    /// It is missing from the list, and yet it exists when queried by name.
    #[strum(to_string = "it is not listed, but the API server has it")]
    StillThere,
    /// The query for it failed.
    #[strum(to_string = "not confirmed deleted: it is not listed, and could not be asked for by name: {0}")]
    AskFailed(String),
    /// It is missing from two lists in a row.
    #[strum(to_string = "it is missing from the lists of {first:.0} and {second:.0}")]
    MissingTwice {
        /// When the first was made.
        first: Timestamp,
        /// When the second was.
        second: Timestamp,
    },
    /// It is missing from a list, and then it did not exist when queried by name.
    #[strum(
        to_string = "it is missing from the list of {first:.0}, and the API server did not have it at {second:.0}"
    )]
    MissingWhenAsked {
        /// When the list was made.
        first: Timestamp,
        /// When it was queried.
        second: Timestamp,
    },
    /// Source `runtime`: nothing of it has run for long enough.
    #[strum(to_string = "nothing of it has run since {since:.0}")]
    Idle {
        /// Since when.
        since: Timestamp,
    },
    /// Source `runtime`: nothing of it runs, but not for long enough yet.
    #[strum(
        to_string = "not confirmed deleted: idle since {since:.0}, deleted after {grace} (pods.runtime_grace)"
    )]
    Waiting {
        /// Since when.
        since: Timestamp,
        /// How long it has to be idle, as an operator writes it.
        grace: String,
    },
    /// Source `runtime`: nothing of it runs, but it is not known since when.
    #[strum(to_string = "not confirmed deleted: it is not known since when nothing of it has run")]
    IdleSinceUnknown,
}

impl Standing {
    /// Whether it proves the pod deleted, by what a source lists.
    #[must_use]
    pub fn is_proof(&self) -> bool {
        matches!(self, Self::MissingTwice { .. } | Self::MissingWhenAsked { .. })
    }

    /// Whether a newer list could prove more.
    #[must_use]
    pub fn wants_list(&self) -> bool {
        matches!(
            self,
            Self::OnlyOneList | Self::ListedLately | Self::TooNew | Self::ListsNoneThatRun | Self::StillThere
        )
    }
}

/// The UID of a pod, its state, and by which evidence.
pub type PodStanding = (EcoString, PodState, Standing);

/// What is known of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// Its UID.
    pub uid: EcoString,
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
    pods: BTreeMap<EcoString, PodFacts>,
}

impl Chronicle {
    /// Notes how all pods stand. One that is not among them is forgotten.
    pub fn note(&mut self, all: &[PodStanding], now: Timestamp) {
        let mut before = std::mem::take(&mut self.pods);
        self.pods = all
            .iter()
            .map(|(uid, state, standing)| {
                let known = before.remove(uid).filter(|known| known.state == *state);
                let since = known.map_or(now, |known| known.since);
                (uid.clone(), PodFacts { uid: uid.clone(), state: *state, since, standing: standing.clone() })
            })
            .collect();
    }

    /// The pods that count as deleted, or would without a directory, an answer or the brake. Not those that are
    /// missing from one list only, or that are newer than the lists: these may be wrong. With `by_no_source` also those of
    /// which nothing is known while the source is doubted.
    pub fn missing(&self, by_no_source: bool) -> impl Iterator<Item = EcoString> {
        let is_missing = move |standing: &Standing| match standing {
            Standing::MissingTwice { .. }
            | Standing::MissingWhenAsked { .. }
            | Standing::Braked { .. }
            | Standing::Orphaned
            | Standing::NotAsked
            | Standing::AskFailed(_) => true,
            Standing::NoSource => by_no_source,
            _ => false,
        };
        let missing = self.pods.values().filter(move |pod| is_missing(&pod.standing));
        missing.map(|pod| pod.uid.clone())
    }

    /// What is known of all pods, by UID.
    #[must_use]
    pub fn facts(&self) -> Vec<PodFacts> {
        self.pods.values().cloned().collect()
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
            chronicle.note(&[("u".into(), state, Standing::Listed)], at(now));
            chronicle.facts().into_iter().map(|facts| (facts.state, facts.since)).collect::<Vec<_>>()
        };
        assert_eq!(note(PodState::Active, 1), [(PodState::Active, at(1))]);
        assert_eq!(note(PodState::Active, 2), [(PodState::Active, at(1))]);
        assert_eq!(note(PodState::Unknown, 3), [(PodState::Unknown, at(3))]);
        assert_eq!(note(PodState::Active, 4), [(PodState::Active, at(4))]);
        chronicle.note(&[], at(5));
        assert_eq!(chronicle.facts(), []);
    }
}
