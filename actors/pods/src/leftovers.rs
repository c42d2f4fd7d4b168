//! Pods that only a directory of the kubelet keeps: not listed any more, nothing of them runs, but `<kubelet_root>/pods/<uid>`
//! is there.
//!
//! For a pod that was just deleted this is ordinary: a kubelet removes the directory a second or a minute later. One that
//! lasts is orphaned and needs a person; that is logged once for each pod, however often the source becomes unreachable meanwhile.

use std::collections::HashMap;

use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};

use super::standing::{PodStanding, Standing};

/// How long a kubelet does not remove a directory before it counts as orphaned.
pub const ORPHANED_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// Pods that one text names.
const NAMED: usize = 5;

/// The pods that a directory keeps.
#[derive(Debug, Default)]
pub struct Leftovers {
    pods: HashMap<EcoString, Leftover>,
}

#[derive(Debug)]
struct Leftover {
    /// Since when the directory has been seen without the pod being listed.
    since: Timestamp,
    /// Whether it was there at the last judgement; else nothing was known of it.
    is_seen: bool,
    is_logged: bool,
}

impl Leftover {
    fn is_orphaned(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) >= ORPHANED_AFTER
    }
}

impl Leftovers {
    /// Takes over how all pods stand. Returns what is to be logged of those that are orphaned now and were not before.
    pub fn note(&mut self, all: &[PodStanding], now: Timestamp) -> Option<String> {
        let mut before = std::mem::take(&mut self.pods);
        for (uid, _, standing) in all {
            let known = before.remove(uid);
            let is_seen = *standing == Standing::Orphaned;
            let leftover = match standing {
                Standing::Orphaned => known.or(Some(Leftover { since: now, is_seen, is_logged: false })),
                // Nothing is known of it at the moment.
                Standing::NoSource | Standing::RootUnreadable | Standing::ListsNoneThatRun => known,
                _ => None,
            };
            if let Some(leftover) = leftover {
                self.pods.insert(uid.clone(), Leftover { is_seen, ..leftover });
            }
        }
        let is_due = |pod: &Leftover| pod.is_seen && !pod.is_logged && pod.is_orphaned(now);
        let due = self.pods.iter_mut().filter(|(_, pod)| is_due(pod));
        let due: Vec<&str> = due
            .map(|(uid, pod)| {
                pod.is_logged = true;
                uid.as_str()
            })
            .collect();
        orphaned(due)
    }

    /// What an operator should know of them now.
    #[must_use]
    pub fn notes(&self, now: Timestamp) -> Vec<String> {
        let uids = |old: bool| -> Vec<&str> {
            let of_age = self.pods.iter().filter(|(_, pod)| pod.is_seen && pod.is_orphaned(now) == old);
            of_age.map(|(uid, _)| uid.as_str()).collect()
        };
        orphaned(uids(true)).into_iter().chain(recent(uids(false))).collect()
    }

    /// The clock was set: the time counts from now on.
    pub fn count_from(&mut self, now: Timestamp) {
        self.pods.values_mut().for_each(|pod| pod.since = now);
    }
}

fn orphaned(uids: Vec<&str>) -> Option<String> {
    let (pods, are, them) = named(uids)?;
    Some(format!(
        "{pods} {are} orphaned: not listed for 5 minutes, but kept because the kubelet still has a directory of {them} \
         (pods/UID in pods.kubelet_root). Check the log of the kubelet; if nothing is mounted in that directory, remove it"
    ))
}

fn recent(uids: Vec<&str>) -> Option<String> {
    let (pods, are, them) = named(uids)?;
    Some(format!(
        "{pods} {are} not listed, but kept because the kubelet still has a directory of {them} (pods/UID in pods.kubelet_root)"
    ))
}

/// The pods by name, and the words that agree with their number. `None` if there are none.
fn named(mut uids: Vec<&str>) -> Option<(String, &'static str, &'static str)> {
    uids.sort_unstable();
    let (first, others) = uids.split_at(uids.len().min(NAMED));
    let first_named = first.join(", ");
    match (uids.len(), others.len()) {
        (0, _) => None,
        (1, _) => Some((format!("pod {first_named}"), "is", "it")),
        (_, 0) => Some((format!("pods {first_named}"), "are", "them")),
        (_, others) => Some((format!("pods {first_named} and {others} more"), "are", "them")),
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::PodState;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn note(leftovers: &mut Leftovers, standing: Standing, now: i64) -> Option<String> {
        leftovers.note(&[("u".into(), PodState::Unknown, standing)], at(now))
    }

    #[test]
    fn a_directory_is_reported_once_and_only_after_five_minutes() {
        let mut leftovers = Leftovers::default();
        assert_eq!(note(&mut leftovers, Standing::Orphaned, 0), None);
        assert!(leftovers.notes(at(0))[0].starts_with("pod u is not listed"));
        assert_eq!(note(&mut leftovers, Standing::Orphaned, 299), None);
        assert!(note(&mut leftovers, Standing::Orphaned, 300).unwrap().starts_with("pod u is orphaned"));
        assert_eq!(note(&mut leftovers, Standing::Orphaned, 301), None);
        assert!(leftovers.notes(at(301))[0].starts_with("pod u is orphaned"), "status still reports it");
    }

    #[test]
    fn an_unreachable_source_changes_nothing() {
        let mut leftovers = Leftovers::default();
        note(&mut leftovers, Standing::Orphaned, 0);
        assert_eq!(note(&mut leftovers, Standing::NoSource, 400), None, "nothing is known of it now");
        assert!(note(&mut leftovers, Standing::Orphaned, 401).is_some());
        for unknown in [Standing::NoSource, Standing::RootUnreadable, Standing::ListsNoneThatRun] {
            assert_eq!(note(&mut leftovers, unknown, 500), None);
            assert_eq!(note(&mut leftovers, Standing::Orphaned, 900), None);
        }
    }

    #[test]
    fn a_pod_that_is_listed_again_is_another_case() {
        let mut leftovers = Leftovers::default();
        for start in [0, 1000] {
            note(&mut leftovers, Standing::Orphaned, start);
            assert!(note(&mut leftovers, Standing::Orphaned, start + 300).is_some());
            assert_eq!(note(&mut leftovers, Standing::Listed, start + 400), None);
            assert!(leftovers.notes(at(start + 400)).is_empty());
        }
        note(&mut leftovers, Standing::Orphaned, 2000);
        leftovers.note(&[], at(2100));
        assert_eq!(note(&mut leftovers, Standing::Orphaned, 2300), None, "all of it was gone in between");
    }

    #[test]
    fn many_pods_are_one_text_that_names_five() {
        let mut leftovers = Leftovers::default();
        let all: Vec<_> =
            (0..7).map(|n| (format!("u{n}").into(), PodState::Unknown, Standing::Orphaned)).collect();
        leftovers.note(&all, at(0));
        let text = leftovers.note(&all, at(300)).unwrap();
        assert!(text.starts_with("pods u0, u1, u2, u3, u4 and 2 more are orphaned"), "{text}");
    }
}
