//! The proof of absence (spec 2) for sources that list pods: what two good syncs in a row allow to be called deleted.
//!
//! Pure: the provider gives it the syncs, the evidence and the time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cri_gc_policy::{Pod, PodState, Pods};
use jiff::{SignedDuration, Timestamp};

use super::evidence::Evidence;
use super::listing::Listing;
use super::proofs::Proofs;

/// One good reading of the source.
#[derive(Debug, Clone)]
pub struct Sync {
    /// As of when it counts: a file, as of its modification time.
    pub at: Timestamp,
    /// What it listed.
    pub listing: Listing,
    /// Ids of all containers and sandboxes that the runtime listed right before it.
    pub objects: HashSet<String>,
}

/// What the operator asks of a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How old the last sync may be.
    pub max_staleness: Duration,
    /// More than this share of the node's pods are not believed to be deleted all at once; 100 believes it.
    pub max_newly_deleted_percent: u8,
    /// The administrator has confirmed that many are deleted at once.
    pub confirmed: bool,
}

/// The brake takes hold from this many pods on.
const BRAKE_FROM: usize = 5;

/// For so long all syncs have to lack the pods that the brake holds, before they count as deleted.
const BRAKE_LETS_GO: SignedDuration = SignedDuration::from_mins(10);

/// The last two good syncs, and what they proved.
#[derive(Debug, Default)]
pub struct Absence {
    syncs: Option<(Option<Sync>, Sync)>,
    proofs: Proofs,
    /// Pods that would count as deleted but for the brake, and since when all syncs have lacked them.
    braked: HashMap<String, Timestamp>,
    listed: bool,
    /// The pods of the last good sync that name images: these count as used even while the source is away.
    named: Vec<Pod>,
}

/// What the source says, and what an operator should know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The states.
    pub pods: Pods,
    /// Why less is collected than could be expected.
    pub notes: Vec<String>,
}

impl Absence {
    /// A good sync.
    pub fn synced(&mut self, sync: Sync) {
        for uid in sync.listing.pods.keys() {
            self.proofs.void(uid);
            self.braked.remove(uid);
        }
        self.listed = true;
        let naming = sync.listing.pods.iter().filter(|(_, (_, images))| !images.is_empty());
        self.named = naming
            .map(|(uid, (_, images))| Pod {
                uid: uid.clone(),
                state: PodState::Unknown,
                images: images.clone(),
            })
            .collect();
        self.syncs = Some((self.syncs.take().map(|(_, last)| last), sync));
    }

    /// The images that pods name which are not finished, by the last good sync; while the source is away, all that pods named.
    #[must_use]
    pub fn named(&self) -> Vec<String> {
        let Some((_, last)) = &self.syncs else {
            return self.named.iter().flat_map(|pod| pod.images.iter().cloned()).collect();
        };
        let living = last.listing.pods.values();
        let living = living.filter(|(state, _)| matches!(state, PodState::Active | PodState::Unknown));
        living.flat_map(|(_, images)| images.iter().cloned()).collect()
    }

    /// Whether the source was ever read.
    #[must_use]
    pub fn has_listing(&self) -> bool {
        self.listed
    }

    /// Whether two good syncs in a row hold now, and as of when the last good one counts.
    #[must_use]
    pub fn synced_at(&self, max_staleness: Duration, now: Timestamp) -> (bool, Option<Timestamp>) {
        let Some((first, last)) = &self.syncs else { return (false, None) };
        (first.is_some() && !is_stale(last, max_staleness, now), Some(last.at))
    }

    /// A sync failed: two in a row have to be made anew.
    pub fn failed(&mut self) {
        self.syncs = None;
        self.void_all();
    }

    fn void_all(&mut self) {
        self.proofs.void_all();
        self.braked.clear();
    }

    /// UIDs that both syncs lack.
    fn absent<'a>(&self, pods: &HashMap<&'a str, Evidence<'_>>) -> Vec<&'a str> {
        let Some((Some(first), last)) = &self.syncs else { return Vec::new() };
        let lacks = |sync: &Sync, uid: &str| !sync.listing.pods.contains_key(uid);
        pods.keys().copied().filter(|uid| lacks(first, uid) && lacks(last, uid)).collect()
    }

    /// The state of every pod. `kept` are the UIDs that a kubelet still has a directory of.
    pub fn judge(
        &mut self,
        pods: &HashMap<&str, Evidence<'_>>,
        kept: &HashSet<String>,
        rules: &Rules,
        now: Timestamp,
    ) -> Judgement {
        let mut notes = Vec::new();
        self.proofs.forget_all_but(pods);
        let Some((first, last)) = &self.syncs else {
            // What pods named when they were last listed is still held; of nothing else is anything known.
            return Judgement { pods: Pods { pods: self.named.clone(), ..Pods::default() }, notes };
        };
        let listed = last.listing.pods.iter();
        let mut judged: Vec<Pod> = listed
            .map(|(uid, (state, images))| Pod { uid: uid.clone(), state: *state, images: images.clone() })
            .collect();
        judged.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
        if is_stale(last, rules.max_staleness, now) {
            notes.push(format!(
                "the last good list of pods counts as of {}, too old for pods.max_staleness",
                last.at
            ));
            self.void_all();
            return Judgement {
                pods: Pods { synced: false, pods: judged, absent: PodState::Unknown },
                notes,
            };
        }

        let mut newly = Vec::new();
        for uid in self.absent(pods) {
            let Some(evidence) = pods.get(uid) else { continue };
            let orphaned = kept.contains(uid);
            if orphaned {
                notes.push(format!("pod {uid} is not listed, but the kubelet still has a directory of it"));
            }
            if evidence.runs || orphaned {
                self.proofs.void(uid);
            } else if self.proofs.hold(uid, evidence) {
                judged.push(Pod { uid: uid.to_owned(), state: PodState::Deleted, images: Vec::new() });
            } else if first.as_ref().is_some_and(|first| older_than(evidence, first)) {
                newly.push(uid);
            } else {
                self.proofs.void(uid);
            }
        }
        // What was never listed again for long enough is believed; the brake looks at the others.
        let (mut newly, sudden): (Vec<&str>, Vec<&str>) = newly.into_iter().partition(|uid| {
            self.braked.get(*uid).is_some_and(|since| now.duration_since(*since) >= BRAKE_LETS_GO)
        });
        let share = sudden.len().saturating_mul(100)
            > pods.len().saturating_mul(rules.max_newly_deleted_percent.into());
        if sudden.len() >= BRAKE_FROM && share && !rules.confirmed {
            notes.push(format!(
                "{} of {} pods would count as deleted all at once, more than pods.max_newly_deleted_percent = {} allows: \
                 none does before the source has lacked them for 10 minutes, or that is confirmed (--confirm-deleted)",
                sudden.len(),
                pods.len(),
                rules.max_newly_deleted_percent
            ));
            for uid in sudden {
                self.braked.entry(uid.to_owned()).or_insert(now);
            }
        } else {
            newly.extend(sudden);
        }
        self.braked.retain(|uid, _| pods.contains_key(uid.as_str()));
        newly.sort_unstable();
        for uid in newly {
            if let Some(evidence) = pods.get(uid) {
                self.proofs.add(uid, evidence);
            }
            judged.push(Pod { uid: uid.to_owned(), state: PodState::Deleted, images: Vec::new() });
        }
        // Whoever is not among them is not proved absent.
        Judgement { pods: Pods { synced: true, pods: judged, absent: PodState::Unknown }, notes }
    }
}

/// Whether a sync is too old to prove anything.
fn is_stale(sync: &Sync, max_staleness: Duration, now: Timestamp) -> bool {
    SignedDuration::try_from(max_staleness).is_ok_and(|limit| now.duration_since(sync.at) > limit)
}

/// Whether all there is of the pod was created before the first sync, and listed by the runtime before it.
fn older_than(evidence: &Evidence<'_>, first: &Sync) -> bool {
    let before = |time: Option<Timestamp>| time.is_none_or(|time| time < first.at);
    !evidence.undated
        && before(evidence.newest)
        && before(evidence.logs_changed)
        && evidence.objects.iter().all(|id| first.objects.contains(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { max_staleness: Duration::from_secs(300), max_newly_deleted_percent: 50, confirmed: false };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn sync(second: i64, listed: &[&str], objects: &[&str]) -> Sync {
        let pods = listed.iter().map(|uid| ((*uid).to_owned(), (PodState::Active, Vec::new()))).collect();
        Sync {
            at: at(second),
            listing: Listing { pods },
            objects: objects.iter().map(ToString::to_string).collect(),
        }
    }

    fn evidence(id: &str, created: i64) -> Evidence<'_> {
        Evidence { objects: vec![id], newest: Some(at(created)), ..Evidence::default() }
    }

    fn state(absence: &mut Absence, evidence: Evidence<'_>, now: i64) -> PodState {
        let pods = HashMap::from([("u", evidence)]);
        let judged = absence.judge(&pods, &HashSet::new(), &RULES, at(now)).pods;
        if !judged.synced {
            return PodState::Unknown;
        }
        judged.pods.iter().find(|pod| pod.uid == "u").map_or(judged.absent, |pod| pod.state)
    }

    #[test]
    fn two_good_syncs_without_it_prove_a_pod_deleted() {
        let absence = &mut Absence::default();
        assert_eq!(state(absence, evidence("c", 0), 100), PodState::Unknown, "no sync");
        absence.synced(sync(100, &[], &["c"]));
        assert_eq!(state(absence, evidence("c", 0), 100), PodState::Unknown, "one sync");
        absence.synced(sync(100, &[], &["c"]));
        assert_eq!(state(absence, evidence("c", 0), 100), PodState::Deleted);
    }

    #[test]
    fn both_syncs_must_lack_it() {
        for (first, last) in [(&["u"][..], &[][..]), (&[], &["u"])] {
            let absence = &mut Absence::default();
            absence.synced(sync(100, first, &["c"]));
            absence.synced(sync(102, last, &["c"]));
            assert_ne!(state(absence, evidence("c", 0), 103), PodState::Deleted);
        }
    }

    fn proved() -> Absence {
        let mut absence = Absence::default();
        absence.synced(sync(100, &[], &["c"]));
        absence.synced(sync(102, &[], &["c"]));
        absence
    }

    #[test]
    fn everything_of_it_must_be_older_than_the_first_sync() {
        assert_eq!(
            state(&mut proved(), evidence("c", 100), 103),
            PodState::Unknown,
            "created at the first sync"
        );
        assert_eq!(state(&mut proved(), evidence("new", 0), 103), PodState::Unknown, "not listed before it");
        let undated = Evidence { undated: true, ..evidence("c", 0) };
        assert_eq!(state(&mut proved(), undated, 103), PodState::Unknown);
        let logs = |changed| Evidence { logs_changed: Some(at(changed)), ..Evidence::default() };
        assert_eq!(state(&mut proved(), logs(101), 103), PodState::Unknown);
        assert_eq!(state(&mut proved(), logs(99), 103), PodState::Deleted);
    }

    #[test]
    fn a_stale_or_failed_source_proves_nothing() {
        assert_eq!(state(&mut proved(), evidence("c", 0), 402), PodState::Deleted);
        assert_eq!(state(&mut proved(), evidence("c", 0), 403), PodState::Unknown);
        let mut absence = proved();
        assert_eq!(state(&mut absence, evidence("c", 0), 103), PodState::Deleted);
        absence.failed();
        assert_eq!(state(&mut absence, evidence("c", 0), 103), PodState::Unknown);
    }

    #[test]
    fn a_kubelet_directory_keeps_its_pod_and_is_named() {
        let pods = HashMap::from([("u", evidence("c", 0))]);
        let judged = proved().judge(&pods, &HashSet::from(["u".to_owned()]), &RULES, at(103));
        assert_eq!(judged.pods.pods, []);
        assert!(judged.notes[0].contains("pod u is not listed"));
    }

    #[test]
    fn a_proof_outlives_the_removals_it_led_to_and_nothing_new() {
        let mut absence = proved();
        let with_logs = Evidence { logs_changed: Some(at(1)), ..evidence("c", 0) };
        assert_eq!(state(&mut absence, with_logs, 103), PodState::Deleted);
        let logs = Evidence { logs_changed: Some(at(104)), ..Evidence::default() };
        assert_eq!(state(&mut absence, logs, 105), PodState::Deleted);
        assert_eq!(state(&mut absence, evidence("new", 104), 105), PodState::Unknown);
        absence.synced(sync(106, &["u"], &["c"]));
        absence.synced(sync(107, &[], &["c"]));
        assert_eq!(state(&mut absence, evidence("c", 0), 108), PodState::Unknown, "it was sighted");
    }

    #[test]
    fn many_at_once_are_not_believed_until_confirmed() {
        let ids: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
        let uids: Vec<String> = (0..10).map(|n| format!("u{n}")).collect();
        let deleted = |gone: usize, rules: &Rules| {
            let objects: Vec<&str> = ids.iter().map(String::as_str).collect();
            let listed: Vec<&str> = uids[gone..].iter().map(String::as_str).collect();
            let mut absence = Absence::default();
            absence.synced(sync(100, &listed, &objects));
            absence.synced(sync(102, &listed, &objects));
            let pods = uids.iter().zip(&ids).map(|(uid, id)| (uid.as_str(), evidence(id, 0))).collect();
            let judged = absence.judge(&pods, &HashSet::new(), rules, at(103));
            let deleted = judged.pods.pods.iter().filter(|pod| pod.state == PodState::Deleted).count();
            (deleted, judged.notes.len())
        };
        assert_eq!(deleted(5, &RULES), (5, 0), "half of them is not more than half");
        assert_eq!(deleted(6, &RULES), (0, 1));
        assert_eq!(deleted(6, &Rules { confirmed: true, ..RULES }), (6, 0));
        assert_eq!(deleted(10, &Rules { max_newly_deleted_percent: 100, ..RULES }), (10, 0));
        assert_eq!(deleted(4, &Rules { max_newly_deleted_percent: 0, ..RULES }), (4, 0), "fewer than five");
    }

    /// Ten pods, all of which vanish from the list between the first sync and the next.
    struct Node {
        absence: Absence,
        uids: Vec<String>,
        ids: Vec<String>,
    }

    impl Node {
        fn new() -> Self {
            let name = |lead: &str| (0..10).map(|n| format!("{lead}{n}")).collect();
            Self { absence: Absence::default(), uids: name("u"), ids: name("c") }
        }

        fn sync(&mut self, second: i64, listed: &[&str]) {
            let objects: Vec<&str> = self.ids.iter().map(String::as_str).collect();
            self.absence.synced(sync(second, listed, &objects));
        }

        fn deleted(&mut self, now: i64) -> usize {
            let pods = self.uids.iter().zip(&self.ids);
            let pods = pods.map(|(uid, id)| (uid.as_str(), evidence(id, 0))).collect();
            let judged = self.absence.judge(&pods, &HashSet::new(), &RULES, at(now)).pods;
            judged.pods.iter().filter(|pod| pod.state == PodState::Deleted).count()
        }
    }

    #[test]
    fn the_brake_lets_go_once_all_syncs_of_ten_minutes_lacked_them() {
        let node = &mut Node::new();
        for second in (100..=690).step_by(10) {
            node.sync(second, &[]);
            assert_eq!(node.deleted(second), 0, "{second}");
        }
        node.sync(710, &[]);
        assert_eq!(node.deleted(710), 10);
    }

    #[test]
    fn a_pod_that_is_listed_again_or_a_sync_that_fails_starts_the_ten_minutes_over() {
        let node = &mut Node::new();
        for second in (100..=600).step_by(10) {
            node.sync(second, &[]);
            node.deleted(second);
        }
        node.sync(610, &["u3"]);
        node.sync(620, &[]);
        node.sync(630, &[]);
        node.deleted(630);
        node.sync(710, &[]);
        assert_eq!(node.deleted(710), 10, "the one that came back is not too many by itself");
        let node = &mut Node::new();
        for second in (100..=600).step_by(10) {
            node.sync(second, &[]);
            node.deleted(second);
        }
        node.absence.failed();
        for second in (610..=1200).step_by(10) {
            node.sync(second, &[]);
            assert_eq!(node.deleted(second), 0, "{second}");
        }
        node.sync(1230, &[]);
        assert_eq!(node.deleted(1230), 10);
    }
}
