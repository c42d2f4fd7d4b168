//! The proof of absence, case by case.

use std::ops::{Deref, DerefMut};

use ecow::EcoString;

use super::*;

mod asking;
mod model;

pub(super) const RULES: Rules = Rules {
    max_staleness: Duration::from_secs(300),
    max_newly_deleted_percent: 50,
    runtime_grace: Duration::from_secs(600),
    confirmed: false,
    source: PodSource::File,
    clock_set: None,
};

/// The proof, with the questions of the next judgement.
#[derive(Default)]
struct Proof {
    absence: Absence,
    asked: Questions,
}

impl Deref for Proof {
    type Target = Absence;

    fn deref(&self) -> &Absence {
        &self.absence
    }
}

impl DerefMut for Proof {
    fn deref_mut(&mut self) -> &mut Absence {
        &mut self.absence
    }
}

impl Proof {
    fn questions(
        &mut self,
        pods: &HashMap<&str, Evidence<'_>>,
        kept: &Kept,
        rules: &Rules,
        now: Timestamp,
    ) -> Vec<EcoString> {
        self.asked = self.absence.questions(Case { pods, kept, rules, now });
        self.asked.uids.clone()
    }

    fn answered(&mut self, uid: EcoString, answer: Answer) {
        self.asked.answers.insert(uid, answer);
    }

    /// Answers count for one judgement.
    fn judge(
        &mut self,
        pods: &HashMap<&str, Evidence<'_>>,
        kept: &Kept,
        rules: &Rules,
        now: Timestamp,
    ) -> Judgement {
        let judged = self.absence.judge(Case { pods, kept, rules, now }, &self.asked);
        self.asked.answers.clear();
        judged
    }
}

fn nothing_kept() -> Kept {
    Kept::Of(HashSet::new())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn sync(second: i64, listed: &[&str], objects: &[&str]) -> Reading {
    let pods = listed.iter().map(|uid| (EcoString::from(*uid), (PodState::Active, Vec::new()))).collect();
    Reading {
        at: at(second),
        listing: Listing { pods, ..Listing::default() },
        objects: objects.iter().map(|id| EcoString::from(*id)).collect(),
    }
}

fn evidence(id: &str, created: i64) -> Evidence<'static> {
    let id = Box::leak(Box::new(id.into()));
    Evidence { objects: vec![id], newest: Some(at(created)), ..Evidence::default() }
}

fn state(absence: &mut Proof, evidence: Evidence<'_>, now: i64) -> PodState {
    let pods = HashMap::from([("u", evidence)]);
    let judged = absence.judge(&pods, &nothing_kept(), &RULES, at(now)).verdict.pods;
    if !judged.synced {
        return PodState::Unknown;
    }
    let absent = match judged.absent {
        cri_gc_policy::Absent::Deleted => PodState::Deleted,
        cri_gc_policy::Absent::Unknown => PodState::Unknown,
    };
    judged.pods.iter().find(|pod| pod.uid == "u").map_or(absent, |pod| pod.state)
}

#[test]
fn two_good_syncs_without_it_prove_a_pod_deleted() {
    let absence = &mut Proof::default();
    assert_eq!(state(absence, evidence("c", 0), 100), PodState::Unknown, "no sync");
    absence.read(sync(100, &[], &["c"]));
    assert_eq!(state(absence, evidence("c", 0), 100), PodState::Unknown, "one sync");
    absence.read(sync(100, &[], &["c"]));
    assert_eq!(state(absence, evidence("c", 0), 100), PodState::Deleted);
}

#[test]
fn it_must_be_missing_from_both_syncs() {
    for (first, last) in [(&["u"][..], &[][..]), (&[], &["u"])] {
        let absence = &mut Proof::default();
        absence.read(sync(100, first, &["c"]));
        absence.read(sync(102, last, &["c"]));
        assert_ne!(state(absence, evidence("c", 0), 103), PodState::Deleted);
    }
}

fn proved() -> Proof {
    let mut absence = Proof::default();
    absence.read(sync(100, &[], &["c"]));
    absence.read(sync(102, &[], &["c"]));
    absence
}

#[test]
fn everything_of_it_must_be_older_than_the_first_sync() {
    assert_eq!(state(&mut proved(), evidence("c", 100), 103), PodState::Unknown, "created at the first sync");
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
    absence.void_lists();
    assert_eq!(state(&mut absence, evidence("c", 0), 103), PodState::Unknown);
}

/// What is said of the pods that only a directory keeps.
fn leftover_note(judged: &Judgement, second: i64) -> String {
    let mut leftovers = crate::leftovers::Leftovers::default();
    leftovers.note(&judged.standings, at(second));
    leftovers.notes(at(second)).concat()
}

#[test]
fn a_kubelet_directory_keeps_its_pod_and_is_named() {
    let pods = HashMap::from([("u", evidence("c", 0))]);
    let judged = proved().judge(&pods, &Kept::Of(HashSet::from(["u".into()])), &RULES, at(103));
    assert_eq!(judged.verdict.pods.pods, []);
    assert!(leftover_note(&judged, 103).contains("pod u is not listed"));
}

#[test]
fn a_proof_outlives_the_removals_it_led_to_and_nothing_new() {
    let mut absence = proved();
    let with_logs = Evidence { logs_changed: Some(at(1)), ..evidence("c", 0) };
    assert_eq!(state(&mut absence, with_logs, 103), PodState::Deleted);
    let logs = Evidence { logs_changed: Some(at(104)), ..Evidence::default() };
    assert_eq!(state(&mut absence, logs, 105), PodState::Deleted);
    assert_eq!(state(&mut absence, evidence("new", 104), 105), PodState::Unknown);
    absence.read(sync(106, &["u"], &["c"]));
    absence.read(sync(107, &[], &["c"]));
    assert_eq!(state(&mut absence, evidence("c", 0), 108), PodState::Unknown, "it was sighted");
}

#[test]
fn many_at_once_are_not_believed_until_confirmed() {
    let ids: Vec<EcoString> = (0..10).map(|n| format!("c{n}").into()).collect();
    let uids: Vec<EcoString> = (0..10).map(|n| format!("u{n}").into()).collect();
    let deleted = |gone: usize, rules: &Rules| {
        let objects: Vec<&str> = ids.iter().map(EcoString::as_str).collect();
        let listed: Vec<&str> = uids[gone..].iter().map(EcoString::as_str).collect();
        let mut absence = Proof::default();
        absence.read(sync(100, &listed, &objects));
        absence.read(sync(102, &listed, &objects));
        let pods = uids.iter().zip(&ids).map(|(uid, id)| (uid.as_str(), evidence(id, 0))).collect();
        let judged = absence.judge(&pods, &nothing_kept(), rules, at(103));
        let deleted = judged.verdict.pods.pods.iter().filter(|pod| pod.state == PodState::Deleted).count();
        (deleted, judged.verdict.notes.len())
    };
    assert_eq!(deleted(5, &RULES), (5, 0), "half of them is not more than half");
    assert_eq!(deleted(6, &RULES), (0, 1));
    assert_eq!(deleted(6, &Rules { confirmed: true, ..RULES }), (6, 0));
    assert_eq!(deleted(10, &Rules { max_newly_deleted_percent: 100, ..RULES }), (10, 0));
    assert_eq!(deleted(4, &Rules { max_newly_deleted_percent: 0, ..RULES }), (4, 0), "fewer than five");
}

/// Ten pods, all of which vanish from the list between the first sync and the next.
struct Node {
    absence: Proof,
    uids: Vec<EcoString>,
    ids: Vec<EcoString>,
}

impl Node {
    fn new() -> Self {
        let name = |lead: &str| (0..10).map(|n| format!("{lead}{n}").into()).collect();
        Self { absence: Proof::default(), uids: name("u"), ids: name("c") }
    }

    fn sync(&mut self, second: i64, listed: &[&str]) {
        let objects: Vec<&str> = self.ids.iter().map(EcoString::as_str).collect();
        self.absence.read(sync(second, listed, &objects));
    }

    fn deleted(&mut self, now: i64) -> usize {
        let pods = self.uids.iter().zip(&self.ids);
        let pods = pods.map(|(uid, id)| (uid.as_str(), evidence(id, 0))).collect();
        let judged = self.absence.judge(&pods, &nothing_kept(), &RULES, at(now)).verdict.pods;
        judged.pods.iter().filter(|pod| pod.state == PodState::Deleted).count()
    }
}

#[test]
fn the_brake_releases_pods_that_were_missing_from_all_syncs_of_ten_minutes() {
    let node = &mut Node::new();
    for second in (100..=690).step_by(10) {
        node.sync(second, &[]);
        assert_eq!(node.deleted(second), 0, "{second}");
    }
    node.sync(710, &[]);
    assert_eq!(node.deleted(710), 10);
}

#[test]
fn a_confirmation_applies_to_later_and_repeated_proofs_until_the_pod_is_listed_again() {
    let node = &mut Node::new();
    let missing = |uids: std::ops::Range<usize>| uids.map(|n| format!("u{n}").into()).collect::<Vec<_>>();
    node.sync(100, &[]);
    node.sync(110, &[]);
    assert_eq!(node.deleted(110), 0);
    // The ninth is confirmed as well, and is not proved yet.
    assert_eq!(node.absence.confirm(missing(8..9)), 10);
    assert_eq!(node.deleted(111), 10);
    node.absence.void_lists();
    node.sync(120, &[]);
    assert_eq!(node.deleted(120), 0, "one list");
    node.sync(130, &[]);
    assert_eq!(node.deleted(130), 10, "proved again");
    let all: Vec<EcoString> = node.uids.clone();
    node.sync(140, &all.iter().map(EcoString::as_str).collect::<Vec<_>>());
    node.sync(150, &[]);
    node.sync(160, &[]);
    assert_eq!(node.deleted(160), 0, "they were there again");
    node.absence.confirm(missing(0..6));
    assert_eq!(node.deleted(161), 10, "the brake held all ten");
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
    assert_eq!(node.deleted(710), 10, "the one that was listed again is not too many by itself");
    let node = &mut Node::new();
    for second in (100..=600).step_by(10) {
        node.sync(second, &[]);
        node.deleted(second);
    }
    node.absence.void_lists();
    for second in (610..=1200).step_by(10) {
        node.sync(second, &[]);
        assert_eq!(node.deleted(second), 0, "{second}");
    }
    node.sync(1230, &[]);
    assert_eq!(node.deleted(1230), 10);
}

// ---- What an attack found ----

const ASK: Rules = Rules { source: PodSource::KubeApi, ..RULES };

fn named(id: &str, created: i64) -> Evidence<'static> {
    Evidence { names: vec![("ns", "u")], ..evidence(id, created) }
}

fn standing(absence: &mut Proof, evidence: Evidence<'_>, now: i64) -> Standing {
    let pods = HashMap::from([("u", evidence)]);
    let judged = absence.judge(&pods, &nothing_kept(), &ASK, at(now));
    judged.standings.into_iter().find(|(uid, _, _)| uid == "u").unwrap().2
}

#[test]
fn attack_an_answer_to_a_question_from_before_the_list_is_no_second_observation() {
    let absence = &mut Proof::default();
    let pods = HashMap::from([("u", named("c", 0))]);
    absence.listed(sync(100, &[], &["c"]));
    // One judgement asks at 110, and the answer takes its time.
    assert_eq!(absence.questions(&pods, &nothing_kept(), &ASK, at(110)), ["u"]);
    // Meanwhile a new list comes, and another judgement asks by it.
    absence.listed(sync(130, &[], &["c"]));
    assert_eq!(absence.questions(&pods, &nothing_kept(), &ASK, at(133)), ["u"]);
    absence.answered("u".into(), Answer::Gone { at: at(110) });
    let found = standing(absence, named("c", 0), 134);
    assert_eq!(found, Standing::NotAsked, "the second observation was made 20 s before the first");
}

#[test]
fn attack_an_answer_from_before_a_sighting_is_no_second_observation() {
    let absence = &mut Proof::default();
    let pods = HashMap::from([("u", named("c", 0))]);
    absence.listed(sync(100, &[], &["c"]));
    assert_eq!(absence.questions(&pods, &nothing_kept(), &ASK, at(110)), ["u"]);
    // The mirror is made, is deleted, and another judgement asks again.
    absence.watched(Some(sync(0, &["u"], &[]).listing), at(111));
    absence.watched(Some(sync(0, &[], &[]).listing), at(112));
    absence.questions(&pods, &nothing_kept(), &ASK, at(113));
    absence.answered("u".into(), Answer::Gone { at: at(110) });
    assert!(!standing(absence, named("c", 0), 114).is_proof());
}

#[test]
fn attack_a_sighting_by_the_watch_voids_the_first_observation() {
    let absence = &mut Proof::default();
    let pods = HashMap::from([("u", named("c", 0))]);
    absence.listed(sync(100, &[], &["c"]));
    // A mirror pod is made, and deleted by hand (its kubelet makes it again at once).
    absence.watched(Some(sync(0, &["u"], &[]).listing), at(200));
    absence.watched(Some(sync(0, &[], &[]).listing), at(201));
    for uid in absence.questions(&pods, &nothing_kept(), &ASK, at(202)) {
        absence.answered(uid, Answer::Gone { at: at(202) });
    }
    let found = standing(absence, named("c", 0), 202);
    assert!(!found.is_proof(), "seen 2 s ago, by a list of 100 s before that: {found:?}");
}

#[test]
fn attack_a_list_that_cannot_help_is_not_wanted_for_ever() {
    let absence = &mut Proof::default();
    let wants = |absence: &mut Proof, now| {
        let pods = HashMap::from([("u", named("c", 1_000_000_000))]);
        absence.judge(&pods, &nothing_kept(), &ASK, at(now)).wants_list
    };
    absence.listed(sync(100, &[], &["c"]));
    let mut lists = 0;
    for minute in 2..62 {
        absence.watched(None, at(minute * 60));
        if wants(absence, minute * 60) {
            absence.listed(sync(minute * 60 + 10, &[], &["c"]));
            lists += 1;
        }
    }
    assert!(lists < 10, "{lists} lists in an hour for one pod that has a timestamp in the future");
}

#[test]
fn attack_what_was_proved_deleted_before_is_no_measure_for_the_brake() {
    let old: Vec<EcoString> = (0..100).map(|n| format!("old{n:03}").into()).collect();
    let new: Vec<EcoString> = (0..20).map(|n| format!("new{n:03}").into()).collect();
    let all: Vec<&str> = old.iter().chain(&new).map(EcoString::as_str).collect();
    let living: Vec<&str> = new.iter().map(EcoString::as_str).collect();
    let pods: HashMap<&str, Evidence<'_>> = all.iter().map(|id| (*id, evidence(id, 0))).collect();
    let rules = Rules { max_newly_deleted_percent: 50, ..RULES };
    let absence = &mut Proof::default();
    // A node in mode `report`, as the shipped manifests are: what was found is still there, believed or confirmed long ago.
    absence.read(sync(100, &living, &all));
    absence.read(sync(110, &living, &all));
    let confirmed = Rules { confirmed: true, ..rules.clone() };
    assert_eq!(deleted(absence, &pods, &confirmed, 111), 100);
    // The source loses all pods that are left.
    absence.read(sync(120, &[], &all));
    absence.read(sync(130, &[], &all));
    assert_eq!(deleted(absence, &pods, &rules, 131), 100, "all of the 20 living pods at once");
}

fn deleted(absence: &mut Proof, pods: &HashMap<&str, Evidence<'_>>, rules: &Rules, now: i64) -> usize {
    let judged = absence.judge(pods, &nothing_kept(), rules, at(now)).verdict.pods.pods;
    judged.iter().filter(|pod| pod.state == PodState::Deleted).count()
}
