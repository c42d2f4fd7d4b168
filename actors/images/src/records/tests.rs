//! What is remembered of images, with times in seconds.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A moment of a clock that is never set.
fn moment(second: i64) -> Moment {
    Moment::new(at(second), SignedDuration::from_secs(second))
}

/// A moment of a clock that was set by so many seconds.
fn set_by(step: i64, second: i64) -> Moment {
    Moment::new(at(second + step), SignedDuration::from_secs(second))
}

fn image(id: &str) -> Image {
    Image {
        id: id.to_owned(),
        runtime_handler: String::new(),
        repo_tags: vec![format!("r.io/{id}:1")],
        repo_digests: Vec::new(),
        size_bytes: 1,
        pinned: false,
        first_detected: None,
        last_used: None,
        in_use_elsewhere: false,
    }
}

fn use_of(records: &mut Records, ids: &[&str], second: i64) {
    records.used(ids.iter().map(|id| ((*id).to_owned(), at(second))), moment(second));
}

/// First detected and last used of each.
type Seen = Vec<(i64, Option<i64>)>;

fn list_at(records: &mut Records, ids: &[&str], now: Moment) -> Seen {
    let mut images: Vec<Image> = ids.iter().map(|id| image(id)).collect();
    records.list(&mut images, now);
    let seconds =
        |image: &Image| (image.first_detected.unwrap().as_second(), image.last_used.map(|t| t.as_second()));
    images.iter().map(seconds).collect()
}

fn list(records: &mut Records, ids: &[&str], used: &[&str], second: i64) -> Seen {
    use_of(records, used, second);
    list_at(records, ids, moment(second))
}

/// What a store holds once it has all that is known.
fn write(store: &mut Content, records: &mut Records) {
    if let Some(content) = records.unsaved() {
        *store = content;
    }
}

fn begun_with(store: &Content, now: Moment) -> Records {
    let mut records = Records::new("boot".to_owned());
    records.load(store.clone(), now);
    records
}

#[test]
fn ages_count_from_the_first_list_and_uses_from_the_last() {
    let records = &mut Records::default();
    assert_eq!(list(records, &["a", "b"], &["a"], 10), [(10, Some(10)), (10, None)]);
    assert_eq!(list(records, &["a", "b", "c"], &["b"], 20), [(10, Some(10)), (10, Some(20)), (20, None)]);
}

#[test]
fn an_image_that_was_removed_and_pulled_again_is_new() {
    let records = &mut Records::default();
    list(records, &["a"], &["a"], 10);
    list(records, &[], &[], 20);
    assert_eq!(list(records, &["a"], &[], 30), [(30, None)]);
}

#[test]
fn by_a_clock_that_was_set_no_image_is_old() {
    let year = 365 * 86_400;
    for step in [year, -year] {
        let records = &mut Records::default();
        list(records, &["a", "b"], &["a"], 2 * year);
        let (now, after) = (2 * year + 10 + step, set_by(step, 2 * year + 10));
        assert_eq!(list_at(records, &["a", "b"], after), [(now, Some(now)), (now, None)], "from the step on");
        let (later, next) = (now + 60, set_by(step, 2 * year + 70));
        assert_eq!(list_at(records, &["b", "c"], next), [(now, None), (later, None)]);
    }
}

#[test]
fn a_removed_container_has_used_its_image_and_times_never_decrease() {
    let records = &mut Records::default();
    list(records, &["a", "b"], &["b"], 10);
    for used in ["r.io/a:1", "b", "gone", ""] {
        records.used([(used.to_owned(), at(5))], moment(15));
    }
    assert_eq!(list(records, &["a", "b"], &[], 20), [(10, Some(5)), (10, Some(10))]);
}

#[test]
fn nothing_was_used_in_the_future() {
    let records = &mut Records::default();
    records.used([("a".to_owned(), at(1_000_000))], moment(5));
    assert_eq!(list(records, &["a"], &[], 20), [(20, Some(5))]);
}

#[test]
fn what_was_written_is_known_to_the_next() {
    let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
    list(records, &["a", "b", "gone"], &["a"], 10);
    write(store, records);
    list(records, &["a", "b"], &[], 20);
    use_of(records, &["b"], 25);
    write(store, records);
    assert_eq!(records.unsaved(), None, "all is written");
    for again in [24, 35] {
        records.used([("b".to_owned(), at(again))], moment(36));
        assert_eq!(records.unsaved(), None, "that is known");
    }
    let next = &mut begun_with(store, moment(100));
    assert_eq!(list(next, &["a", "b", "c"], &[], 110), [(10, Some(10)), (10, Some(25)), (110, None)]);
}

#[test]
fn a_clock_that_was_set_while_no_service_ran_makes_no_image_old() {
    let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
    list(records, &["a"], &["a"], 100_000);
    write(store, records);
    let first = |boot: &str, now: Moment| {
        let mut records = Records::new(boot.to_owned());
        records.load(store.clone(), now);
        list_at(&mut records, &["a"], now)
    };
    assert_eq!(first("boot", moment(300_000)), [(100_000, Some(100_000))], "it was not set");
    assert_eq!(first("boot", set_by(3_600, 100_100)), [(103_700, Some(103_700))]);
    assert_eq!(first("boot", set_by(-3_600, 100_100)), [(96_500, Some(96_500))]);
    // Whether the machine was off or its clock was set can't be distinguished, except by a difference of more than a day.
    assert_eq!(first("next", set_by(180_000, 50)), [(100_000, Some(100_000))]);
    assert_eq!(first("next", set_by(190_000, 50)), [(190_050, Some(190_050))], "a year or the true time");
    assert_eq!(first("next", set_by(0, 50)), [(50, Some(50))], "1970: the machine has no clock of its own");
}

#[test]
fn a_store_that_is_read_late_restores_older_records() {
    let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
    list(records, &["a", "b"], &["a"], 10);
    write(store, records);
    // It can't be read: all is new.
    let next = &mut Records::new("boot".to_owned());
    use_of(next, &["b"], 30);
    let early = next.unsaved().unwrap().joined_with(store.clone());
    assert_eq!(early.images, store.images, "before the first list, what is not known may be there");
    assert_eq!(list(next, &["a", "b"], &["b"], 50), [(50, None), (50, Some(50))]);
    let content = next.unsaved().unwrap().joined_with(store.clone());
    let old = |id: &str| {
        let record = &content.images[&(id.to_owned(), String::new())];
        (record.first_detected.as_second(), record.last_used.map(Timestamp::as_second))
    };
    assert_eq!((old("a"), old("b")), ((10, Some(10)), (10, Some(50))));
    next.load(store.clone(), moment(60));
    assert_eq!(list(next, &["a", "b"], &[], 70), [(10, Some(10)), (10, Some(50))]);
}

#[test]
fn records_of_another_clock_are_not_restored() {
    let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
    list(records, &["a"], &["a"], 1_000);
    write(store, records);
    list_at(records, &["a"], set_by(86_400, 1_060));
    let content = records.unsaved().unwrap().joined_with(store.clone());
    let record = content.images.values().next().unwrap();
    assert_eq!((record.first_detected, record.last_used), (at(87_460), Some(at(87_460))));
}

#[test]
fn an_image_that_was_removed_is_new_if_it_is_pulled_again() {
    let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
    list(records, &["a", "b"], &["a"], 10);
    write(store, records);
    records.forget("a");
    write(store, records);
    assert_eq!(store.images.len(), 1);
    assert_eq!(list(records, &["a", "b"], &[], 20), [(20, None), (10, None)]);
}

#[test]
fn what_was_reported_since_the_last_list_is_known_at_once() {
    let records = &mut Records::default();
    list(records, &["a"], &["a"], 10);
    assert_eq!(records.used_since(None), [""; 0]);
    use_of(records, &["r.io/a:1"], 15);
    use_of(records, &["a"], 12);
    assert_eq!(records.used_since(Some(at(12))), ["r.io/a:1"]);
    assert_eq!(records.used_since(Some(at(15))), [""; 0]);
}

#[test]
fn references_that_are_never_resolved_do_not_fill_the_memory() {
    let records = &mut Records::default();
    for number in 0..2 * USES as i64 {
        records.used([(format!("job-{number}"), at(number))], moment(number));
    }
    assert_eq!(records.known.uses.len(), USES);
    let newest = format!("job-{}", 2 * USES - 1);
    assert_eq!(list(records, &[&newest], &[], 50_000), [(50_000, Some(2 * USES as i64 - 1))]);
}
#[test]
fn a_use_of_a_copy_that_was_removed_is_no_use_of_the_one_that_was_pulled_later() {
    // The store could not be written since 15: the use is still in it, and the list of 20 is not.
    let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
    list(records, &["a", "b"], &[], 10);
    use_of(records, &["a"], 15);
    write(store, records);
    assert_eq!(list(records, &["b"], &[], 20), [(10, None)]);
    assert_eq!(list(records, &["a", "b"], &[], 30), [(30, None), (10, None)]);
    records.load(store.clone(), moment(40));
    assert_eq!(list(records, &["a", "b"], &["b"], 50), [(30, None), (10, Some(50))]);
    // And the next one that the list of 30 was not written for.
    records.load(store.clone(), moment(55));
    assert_eq!(list(records, &["a", "b"], &["a"], 70), [(30, Some(70)), (10, Some(50))]);
}

#[test]
fn an_image_that_was_removed_since_the_last_list_is_new_whatever_the_store_has() {
    let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
    list(records, &["a"], &["a"], 10);
    write(store, records);
    records.forget("a");
    records.load(store.clone(), moment(15));
    assert_eq!(list(records, &["a"], &[], 20), [(20, None)]);
    records.load(store.clone(), moment(25));
    assert_eq!(list(records, &["a"], &[], 30), [(20, None)]);
}

#[test]
fn a_recall_answers_what_a_list_would_and_changes_nothing() {
    for step in [0, 3_600, -3_600] {
        let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
        list(records, &["a", "b", "gone"], &["gone"], 10_000);
        use_of(records, &["b"], 10_020);
        write(store, records);
        let before = format!("{records:?}");
        let now = set_by(step, 10_040);
        let uses = [("r.io/a:1".to_owned(), now.wall())];
        let mut images: Vec<Image> = ["a", "b", "new"].map(image).into();
        for _ in 0..100 {
            records.recall(&mut images, &uses, now);
        }
        assert_eq!(format!("{records:?}"), before);
        assert_eq!(records.unsaved(), None, "there is nothing to be written");
        let mut listed: Vec<Image> = ["a", "b", "new"].map(image).into();
        records.used(uses, now);
        records.list(&mut listed, now);
        assert_eq!(images, listed, "step {step}");
        assert!(images.iter().all(|image| image.first_detected.is_some()));
    }
}

#[test]
fn changes_do_not_fill_the_memory_while_nothing_can_be_written() {
    let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
    list(records, &["a", "old"], &[], 10);
    write(store, records);
    for number in 0..20_000 {
        list(records, &["a", &format!("build-{number}")], &[], 20 + number);
    }
    let content = records.unsaved().unwrap().joined_with(store.clone());
    let written: Vec<&str> = content.images.keys().map(|key| key.0.as_str()).collect();
    assert_eq!(written, ["a", "build-19999"], "all there is");
}
