//! The proof of absence where the second observation is a query for the pod itself, and a watch keeps the list up to date.

use super::*;
use ecow::EcoString;

const ASKING: Rules = Rules { source: PodSource::KubeApi, ..RULES };

fn named(id: &str, created: i64) -> Evidence<'static> {
    Evidence { names: vec![("shop", "web-0")], ..evidence(id, created) }
}

fn listing(uids: &[&str]) -> Listing {
    sync(0, uids, &[]).listing
}

fn gone(second: i64) -> Answer {
    Answer::Gone { at: at(second) }
}

/// A list at 100 from which the pod is missing, whose object was there by then.
fn listed() -> Proof {
    let mut absence = Proof::default();
    absence.listed(sync(100, &["v"], &["c"]));
    absence
}

fn questions(absence: &mut Proof, now: i64) -> Vec<EcoString> {
    absence.questions(&HashMap::from([("u", named("c", 0))]), &nothing_kept(), &ASKING, at(now))
}

fn judge_by(absence: &mut Proof, evidence: Evidence<'_>, kept: &Kept, rules: &Rules, now: i64) -> Judgement {
    absence.judge(&HashMap::from([("u", evidence)]), kept, rules, at(now))
}

fn stands(judged: &Judgement) -> (PodState, Standing) {
    let (_, state, standing) = judged.standings.iter().find(|(uid, ..)| uid == "u").unwrap();
    (*state, standing.clone())
}

fn judge(absence: &mut Proof, now: i64) -> (PodState, Standing) {
    stands(&judge_by(absence, named("c", 0), &nothing_kept(), &ASKING, now))
}

fn proved(second: i64) -> (PodState, Standing) {
    let proved = Standing::MissingWhenAsked { first: at(100), second: at(second) };
    (PodState::Deleted, proved)
}

fn unknown(standing: Standing) -> (PodState, Standing) {
    (PodState::Unknown, standing)
}

#[test]
fn a_pod_missing_from_a_list_and_then_from_an_answer_is_deleted() {
    let absence = &mut listed();
    assert_eq!(judge(absence, 110), unknown(Standing::NotAsked));
    assert_eq!(questions(absence, 110), ["u"]);
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 111), proved(110));
    assert_eq!(questions(absence, 112), Vec::<String>::new(), "it is proved");
    assert_eq!(judge(absence, 113), proved(110));
}

#[test]
fn a_pod_that_exists_or_whose_query_failed_is_queried_again() {
    let absence = &mut listed();
    for (answer, standing) in [
        (Answer::There, Standing::StillThere),
        (Answer::Failed("no".to_owned()), Standing::AskFailed("no".to_owned())),
    ] {
        assert_eq!(questions(absence, 110), ["u"]);
        absence.answered("u".into(), answer);
        assert_eq!(judge(absence, 111), unknown(standing));
    }
    assert_eq!(questions(absence, 112), ["u"]);
    absence.answered("u".into(), gone(112));
    assert_eq!(judge(absence, 113), proved(112));
}

#[test]
fn no_pod_is_queried_right_after_the_list() {
    let absence = &mut listed();
    assert_eq!(questions(absence, 101), Vec::<String>::new());
    assert_eq!(judge(absence, 101), unknown(Standing::NotAsked));
    assert_eq!(questions(absence, 102), ["u"]);
}

#[test]
fn an_answer_without_a_question_or_older_than_the_question_is_ignored() {
    let absence = &mut listed();
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 111), unknown(Standing::NotAsked));
    assert_eq!(questions(absence, 120), ["u"]);
    absence.answered("u".into(), gone(119));
    assert_eq!(judge(absence, 121), unknown(Standing::NotAsked));
    absence.answered("u".into(), gone(120));
    assert_eq!(judge(absence, 122), proved(120), "the answer to the question counts");
}

#[test]
fn an_event_that_lists_it_voids_answer_and_proof() {
    let absence = &mut listed();
    questions(absence, 110);
    absence.watched(Some(listing(&["u", "v"])), at(111));
    absence.watched(Some(listing(&["v"])), at(112));
    absence.answered("u".into(), gone(110));
    assert_eq!(
        judge(absence, 113),
        unknown(Standing::ListedLately),
        "it was sighted after the first observation"
    );

    let absence = &mut listed();
    questions(absence, 110);
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 111), proved(110));
    absence.watched(Some(listing(&["u", "v"])), at(112));
    assert_eq!(judge(absence, 113), (PodState::Active, Standing::Listed));
    absence.watched(Some(listing(&["v"])), at(114));
    assert_eq!(judge(absence, 115), unknown(Standing::ListedLately));
    absence.listed(sync(120, &["v"], &["c"]));
    questions(absence, 122);
    absence.answered("u".into(), gone(122));
    assert_eq!(judge(absence, 123).0, PodState::Deleted);
}

#[test]
fn a_pod_that_exists_is_kept_whichever_collector_queried_it() {
    let absence = &mut listed();
    questions(absence, 110);
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 111), proved(110));
    // Another collector asked as well, and is answered later.
    absence.answered("u".into(), Answer::There);
    assert_eq!(judge(absence, 112), unknown(Standing::StillThere));
    assert_eq!(questions(absence, 113), ["u"]);
    absence.answered("u".into(), gone(111));
    assert_eq!(judge(absence, 114).0, PodState::Unknown, "queried before it was there");
}

#[test]
fn a_new_list_voids_answers_but_no_proof() {
    let absence = &mut listed();
    questions(absence, 110);
    absence.listed(sync(111, &["v"], &["c"]));
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 113), unknown(Standing::NotAsked), "in flight when the list came");
    questions(absence, 114);
    absence.answered("u".into(), gone(110));
    assert_eq!(
        judge(absence, 115),
        unknown(Standing::NotAsked),
        "asked again since, but that is not its answer"
    );

    let absence = &mut listed();
    questions(absence, 110);
    absence.answered("u".into(), gone(110));
    absence.listed(sync(111, &["v"], &["c"]));
    assert_eq!(judge(absence, 113), unknown(Standing::NotAsked), "answered before the list");

    let absence = &mut listed();
    questions(absence, 110);
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 111), proved(110));
    absence.listed(sync(120, &["v"], &["c"]));
    assert_eq!(judge(absence, 121), proved(110));
}

#[test]
fn an_unreachable_source_voids_answers_and_proofs() {
    let absence = &mut listed();
    questions(absence, 110);
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 111), proved(110));
    absence.void_lists();
    absence.watched(Some(listing(&["v"])), at(112));
    assert_eq!(judge(absence, 112), unknown(Standing::NoSource), "what is heard without a list is no list");
    absence.answered("u".into(), gone(112));
    absence.listed(sync(120, &["v"], &["c"]));
    assert_eq!(judge(absence, 123), unknown(Standing::NotAsked));
}

#[test]
fn a_pod_without_a_name_is_not_queried() {
    let absence = &mut listed();
    let pods = HashMap::from([("u", evidence("c", 0))]);
    assert_eq!(absence.questions(&pods, &nothing_kept(), &ASKING, at(110)), Vec::<String>::new());
    let judged = judge_by(absence, evidence("c", 0), &nothing_kept(), &ASKING, 110);
    assert_eq!(stands(&judged), unknown(Standing::Nameless));
}

#[test]
fn what_is_newer_than_the_list_needs_another_one() {
    let absence = &mut listed();
    for evidence in [named("c", 100), named("new", 0)] {
        let judged = judge_by(absence, evidence, &nothing_kept(), &ASKING, 110);
        assert_eq!(stands(&judged), unknown(Standing::TooNew));
        assert!(judged.wants_list);
    }
}

#[test]
fn a_list_that_misses_all_running_pods_proves_nothing() {
    let absence = &mut listed();
    let runs = Evidence { runs: true, ..named("w", 0) };
    let pods = HashMap::from([("u", named("c", 0)), ("v", runs)]);
    assert_eq!(absence.questions(&pods, &nothing_kept(), &ASKING, at(110)), ["u"]);
    absence.answered("u".into(), gone(110));
    absence.watched(Some(listing(&[])), at(111));
    let judged = absence.judge(&pods, &nothing_kept(), &ASKING, at(112));
    assert_eq!(stands(&judged), unknown(Standing::ListsNoneThatRun));
    assert!(judged.wants_list);
    assert_eq!(absence.questions(&pods, &nothing_kept(), &ASKING, at(113)), Vec::<String>::new());
    absence.watched(Some(listing(&["v"])), at(114));
    // An answer counts for one judgement.
    let judged = absence.judge(&pods, &nothing_kept(), &ASKING, at(115));
    assert_eq!(stands(&judged), unknown(Standing::NotAsked));
    assert_eq!(absence.questions(&pods, &nothing_kept(), &ASKING, at(116)), ["u"]);
    absence.answered("u".into(), gone(116));
    assert_eq!(stands(&absence.judge(&pods, &nothing_kept(), &ASKING, at(117))).0, PodState::Deleted);
}

#[test]
fn a_proof_is_void_once_a_list_misses_all_running_pods() {
    let absence = &mut listed();
    questions(absence, 110);
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 111), proved(110));
    let runs = Evidence { runs: true, ..named("w", 0) };
    let pods = HashMap::from([("u", named("c", 0)), ("w", runs)]);
    let judged = absence.judge(&pods, &nothing_kept(), &ASKING, at(112));
    assert_eq!(stands(&judged), unknown(Standing::ListsNoneThatRun));
}

#[test]
fn without_the_directories_of_the_kubelet_nothing_is_proved() {
    let absence = &mut listed();
    questions(absence, 110);
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 111), proved(110));
    let unreadable = Kept::Unreadable("no such directory".to_owned());
    let judged = judge_by(absence, named("c", 0), &unreadable, &ASKING, 112);
    assert_eq!(stands(&judged), unknown(Standing::RootUnreadable));
    assert_eq!(judged.verdict.notes, ["no such directory"]);
    let kept = Kept::Of(HashSet::from(["u".into()]));
    let judged = judge_by(absence, named("c", 0), &kept, &ASKING, 113);
    assert_eq!(stands(&judged), unknown(Standing::Orphaned));
    assert!(leftover_note(&judged, 113).contains("pod u "));
    assert!(absence.proofs.hold("u", &named("c", 0)).is_none(), "the proof is void");
}

#[test]
fn a_silent_watch_is_stale() {
    let absence = &mut listed();
    questions(absence, 110);
    absence.answered("u".into(), gone(110));
    assert_eq!(judge(absence, 400), proved(110));
    absence.watched(None, at(395));
    assert_eq!(judge(absence, 695), proved(110), "a bookmark is enough");
    assert_eq!(absence.synced_at(&ASKING, at(695)), (true, Some(at(395))));
    let judged = judge_by(absence, named("c", 0), &nothing_kept(), &ASKING, 696);
    assert_eq!((stands(&judged), judged.verdict.pods.synced), (unknown(Standing::NoSource), false));
    assert!(judged.wants_list && !judged.verdict.notes.is_empty());
    absence.watched(None, at(697));
    assert_eq!(judge(absence, 698), unknown(Standing::NotAsked), "what was proved before is void");
}

#[test]
fn an_object_with_a_timestamp_in_the_future_is_from_before_the_clock_was_put_back() {
    let ask = |rules: &Rules, created: i64, now: i64| {
        let absence = &mut listed();
        let pods = HashMap::from([("u", named("c", created))]);
        let asked = absence.questions(&pods, &nothing_kept(), rules, at(now));
        asked.into_iter().for_each(|uid| absence.answered(uid, gone(now)));
        stands(&absence.judge(&pods, &nothing_kept(), rules, at(now)))
    };
    let set = Rules { clock_set: Some(at(90)), ..ASKING };
    assert_eq!(ask(&ASKING, 5000, 110), proved(110), "the runtime listed it before the source was asked");
    let written = Rules { source: PodSource::File, ..ASKING };
    let in_future = unknown(Standing::InFuture);
    assert_eq!(
        ask(&written, 5000, 110),
        in_future,
        "the service did not see the clock being set, and the list may have been written before"
    );
    assert_eq!(ask(&set, 5000, 110), proved(110));
    assert_eq!(ask(&set, 105, 110), unknown(Standing::TooNew), "created since");
    assert_eq!(ask(&Rules { clock_set: Some(at(100)), ..written }, 5000, 110), unknown(Standing::TooNew));
    // Put forward, what was created before it seems older than it is, and what comes after it does not.
    assert_eq!(ask(&set, -5000, 110), proved(110));
}

#[test]
fn where_each_pod_is_queried_the_brake_holds_20_and_not_5() {
    let vanish = |count: usize, confirmed: bool| {
        let (uids, ids): (Vec<EcoString>, Vec<EcoString>) =
            (0..count).map(|n| (format!("u{n}").into(), format!("c{n}").into())).unzip();
        let objects: Vec<&str> = ids.iter().map(EcoString::as_str).collect();
        let mut absence = Proof::default();
        absence.listed(sync(100, &["v"], &objects));
        let pods = uids.iter().zip(&ids).map(|(uid, id)| (uid.as_str(), named(id, 0))).collect();
        if confirmed {
            absence.judge(&pods, &nothing_kept(), &ASKING, at(110));
            assert_eq!(absence.confirm([]), count);
        }
        absence.questions(&pods, &nothing_kept(), &ASKING, at(110)).len()
    };
    assert_eq!([5, 9, 19, 20, 40].map(|count| vanish(count, false)), [5, 9, 19, 0, 0]);
    assert_eq!(vanish(40, true), 40);
}
