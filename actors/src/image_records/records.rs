//! What is remembered of images (spec 6): when each was first seen, when it was last seen used, its size. Pure: it is told
//! what was seen and when, and says what of it is not in the store yet.

use std::collections::{HashMap, HashSet};

use cri_gc_policy::Image;
use cri_gc_policy::images::{ImageUse, Names};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::merging::{merge_images, merge_uses};
use crate::seams::{Moment, STEP};

/// An image is remembered by its id and the handler whose copy it is.
pub type Key = (String, String);

/// What is remembered of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was first seen; never earlier than it came.
    pub first_detected: Timestamp,
    /// When it was last seen used; `None` is never.
    pub last_used: Option<Timestamp>,
    /// Bytes, as the runtime tells them.
    pub size_bytes: u64,
    /// Whether the runtime pins it.
    pub pinned: bool,
    /// A complete list of this time did not have it, or had an earlier copy that was removed since: what was recorded up to then
    /// says nothing of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_at: Option<Timestamp>,
}

/// When something was observed, in a form that another process understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// By the wall clock.
    pub wall: Timestamp,
    /// By the boot clock.
    pub boot: SignedDuration,
    /// Of which boot.
    pub boot_id: String,
}

/// All that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The images that were there at the last look.
    pub images: HashMap<Key, Record>,
    /// References that were seen used and that no look at the images has resolved yet.
    pub uses: HashMap<String, Timestamp>,
    /// When the newest of all was observed.
    pub observed: Option<Observed>,
    /// When a complete list of the images was seen last: an image that is missing here was missing in that list.
    pub listed: Option<Timestamp>,
}

/// What is to be written to the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// What the store holds is not known: it is to be read before, and to be merged in.
    pub unsure: bool,
    /// It is all there is: what the store holds beside it goes.
    pub whole: bool,
    /// Images, with `None` for one that is gone.
    pub images: Vec<(Key, Option<Record>)>,
    /// References, with `None` for one that was resolved.
    pub uses: Vec<(String, Option<Timestamp>)>,
    /// When that was.
    pub observed: Option<Observed>,
    /// When a complete list of the images was seen last.
    pub listed: Option<Timestamp>,
    /// The clock was set since the store was last written: what it holds is by another clock.
    pub(super) other_clock: bool,
    pub(super) steps: u64,
}

/// A machine that was off for longer than this might as well have had its clock set.
const OFF: SignedDuration = SignedDuration::from_hours(24);

/// A use is not noted again within this time.
const CLOSE: SignedDuration = SignedDuration::from_secs(10);

/// References that are remembered at most: were nobody to look at the images for years, they would fill the memory.
const USES: usize = 10_000;

/// What is remembered, and what of it the store does not hold yet.
#[derive(Debug, Default)]
pub struct Records {
    images: HashMap<Key, Record>,
    uses: HashMap<String, Timestamp>,
    /// When the newest of all was observed.
    observed: Option<Moment>,
    boot_id: String,
    changed_images: HashSet<Key>,
    changed_uses: HashSet<String>,
    /// What the store holds is not known.
    unsure: bool,
    /// When a complete list of the images was seen last: those that are not known were not there.
    listed: Option<Timestamp>,
    /// How often the clock was set, and how many of these the store knows of.
    steps: u64,
    steps_stored: u64,
}

impl Records {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(boot_id: String) -> Self {
        Self { boot_id, ..Self::default() }
    }

    /// Takes in what a store holds, at the start or when it can be read at last.
    pub fn load(&mut self, mut store: Content, now: Moment) {
        if store.observed.as_ref().is_some_and(|then| then.clock_was_set(now, &self.boot_id)) {
            // What was observed by this clock meanwhile is none the worse for it.
            store.start_over(now.wall());
            self.changed_images.extend(store.images.keys().cloned());
            self.changed_uses.extend(store.uses.keys().cloned());
            self.steps += 1;
        }
        merge_images(&mut self.images, store.images, self.listed);
        merge_uses(&mut self.uses, store.uses);
        self.listed = self.listed.max(store.listed);
        self.observed.get_or_insert(now);
    }

    /// What was seen used, and when each was last: containers that are there are in use now, one that is removed was until
    /// it finished.
    pub fn used(&mut self, uses: impl IntoIterator<Item = (String, Timestamp)>, now: Moment) {
        self.at(now);
        for (reference, at) in uses.into_iter().filter(|(reference, _)| !reference.is_empty()) {
            // The clock of whoever says so may go wrong; nothing was used in the future.
            let at = at.min(now.wall());
            // The loops look one after the other, and a removal tells what the list before it has told: that costs no commit.
            if self.uses.get(&reference).is_none_or(|known| at.duration_since(*known) > CLOSE) {
                self.uses.insert(reference.clone(), at);
                self.changed_uses.insert(reference);
            }
        }
        while self.uses.len() > USES {
            let Some((oldest, _)) = self.uses.iter().min_by_key(|(_, at)| **at) else { break };
            let oldest = oldest.clone();
            self.uses.remove(&oldest);
            self.changed_uses.insert(oldest);
        }
    }

    /// Takes in a complete list of images and fills in what is remembered. Records of images that are no longer there go.
    pub fn look(&mut self, images: &mut [Image], now: Moment) {
        self.at(now);
        self.recall(images, &[], now);
        self.changed_uses.extend(self.uses.drain().map(|(reference, _)| reference));
        let mut next = HashMap::with_capacity(images.len());
        for image in images.iter() {
            let key = key_of(image);
            let old = self.images.get(&key);
            let record = Record {
                first_detected: image.first_detected.unwrap_or(now.wall()),
                last_used: image.last_used,
                size_bytes: image.size_bytes,
                pinned: image.pinned,
                absent_at: self.absent_at(&key),
            };
            if old != Some(&record) {
                self.changed_images.insert(key.clone());
            }
            next.insert(key, record);
        }
        let old = std::mem::replace(&mut self.images, next);
        self.changed_images.extend(old.into_keys().filter(|key| !self.images.contains_key(key)));
        self.listed = Some(now.wall());
    }

    /// Fills into a complete list of images what is remembered of them, and changes nothing: for a question, which has seen
    /// these references used. An image that is not known counts as first seen now.
    pub fn recall(&self, images: &mut [Image], uses: &[(String, Timestamp)], now: Moment) {
        let set = self.observed.is_some_and(|before| now.was_set_since(&before));
        let by_this_clock = |at: Timestamp| if set { now.wall() } else { at };
        let keys: Vec<Key> = images.iter().map(key_of).collect();
        let absent: Vec<Option<Timestamp>> = keys.iter().map(|key| self.absent_at(key)).collect();
        let mut last_used: HashMap<usize, Timestamp> = HashMap::new();
        let names = Names::new(images);
        let known = self.uses.iter().map(|(reference, at)| (reference, *at));
        for (reference, at) in known.chain(uses.iter().map(|(reference, at)| (reference, *at))) {
            for index in names.used(ImageUse::from_text(reference)) {
                // A use of an earlier copy is none of this one.
                if absent.get(index).is_some_and(|absent| absent.is_none_or(|absent| absent <= at)) {
                    let latest = last_used.entry(index).or_insert(at);
                    *latest = (*latest).max(at);
                }
            }
        }
        drop(names);
        for (index, (image, key)) in images.iter_mut().zip(&keys).enumerate() {
            let old = self.images.get(key);
            let used = old.and_then(|old| old.last_used).max(last_used.get(&index).copied());
            image.first_detected = Some(by_this_clock(old.map_or(now.wall(), |old| old.first_detected)));
            image.last_used = used.map(by_this_clock);
        }
    }

    /// When this copy of the image was certainly not there: one that is not known, or was removed, comes after the last list.
    fn absent_at(&self, key: &Key) -> Option<Timestamp> {
        self.images.get(key).map_or(self.listed, |record| record.absent_at)
    }

    /// What the store does not hold yet; `None` if it holds all.
    pub fn batch(&mut self) -> Option<Batch> {
        let unsure = std::mem::take(&mut self.unsure);
        if !unsure && self.changed_images.is_empty() && self.changed_uses.is_empty() {
            return None;
        }
        let (mut images, mut uses) =
            (std::mem::take(&mut self.changed_images), std::mem::take(&mut self.changed_uses));
        if unsure {
            images = self.images.keys().cloned().collect();
            uses = self.uses.keys().cloned().collect();
        }
        let image = |key: Key| {
            let record = self.images.get(&key).cloned();
            (key, record)
        };
        let reference = |reference: String| {
            let at = self.uses.get(&reference).copied();
            (reference, at)
        };
        Some(Batch {
            unsure,
            // What is not known yet may be in the store.
            whole: unsure && self.listed.is_some(),
            images: images.into_iter().map(image).collect(),
            uses: uses.into_iter().map(reference).collect(),
            observed: self.observed.map(|at| Observed {
                wall: at.wall(),
                boot: at.boot(),
                boot_id: self.boot_id.clone(),
            }),
            listed: self.listed,
            other_clock: self.steps > self.steps_stored,
            steps: self.steps,
        })
    }

    /// That batch is in the store.
    pub fn stored(&mut self, batch: &Batch) {
        self.steps_stored = batch.steps;
    }

    /// What the store holds is not known any more.
    pub fn unsure(&mut self) {
        self.unsure = true;
    }

    /// The images of that id were removed, or may have been: should they be seen again, they are new.
    pub fn forget(&mut self, id: &str) {
        let gone: Vec<Key> = self.images.keys().filter(|(known, _)| known == id).cloned().collect();
        for key in gone {
            self.images.remove(&key);
            self.changed_images.insert(key);
        }
    }

    /// What was seen used later than that, as far as it was reported since the last look at the images.
    #[must_use]
    pub fn used_since(&self, since: Option<Timestamp>) -> Vec<String> {
        let later = self.uses.iter().filter(|(_, at)| Some(**at) > since);
        later.map(|(used, _)| used.clone()).collect()
    }

    /// By a clock that was set meanwhile all of them would be old, or from the future: ages count from the step (spec 2).
    fn at(&mut self, now: Moment) {
        match self.observed {
            Some(before) if now.was_set_since(&before) => self.start_over(now.wall()),
            // Loops on several threads do not tell in order.
            Some(before) if before.boot() > now.boot() => return,
            _ => {}
        }
        self.observed = Some(now);
    }

    fn start_over(&mut self, now: Timestamp) {
        self.images.values_mut().for_each(|record| record.start_over(now));
        self.listed = self.listed.map(|_| now);
        self.uses.values_mut().for_each(|used| *used = now);
        self.changed_images.extend(self.images.keys().cloned());
        self.changed_uses.extend(self.uses.keys().cloned());
        self.steps += 1;
    }
}

fn key_of(image: &Image) -> Key {
    (image.id.clone(), image.runtime_handler.clone())
}

impl Observed {
    /// Whether the clock was set between then and now. Between two boots that can't be told from a machine that was off: a
    /// clock that went back was set, and so was, for all that is known, one that went on for long.
    pub(super) fn clock_was_set(&self, now: Moment, boot_id: &str) -> bool {
        if self.boot_id == boot_id {
            return now.was_set_since(&Moment::new(self.wall, self.boot));
        }
        let off = now.wall().duration_since(self.wall).saturating_sub(now.boot());
        off < -STEP || off > OFF
    }
}

#[cfg(test)]
mod tests {
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

    fn look_at(records: &mut Records, ids: &[&str], now: Moment) -> Seen {
        let mut images: Vec<Image> = ids.iter().map(|id| image(id)).collect();
        records.look(&mut images, now);
        let seconds = |image: &Image| {
            (image.first_detected.unwrap().as_second(), image.last_used.map(|t| t.as_second()))
        };
        images.iter().map(seconds).collect()
    }

    fn look(records: &mut Records, ids: &[&str], used: &[&str], second: i64) -> Seen {
        use_of(records, used, second);
        look_at(records, ids, moment(second))
    }

    /// What a store would hold that began empty and got all batches.
    fn write(store: &mut Content, records: &mut Records) {
        let Some(batch) = records.batch() else { return };
        if batch.whole {
            store.images.clear();
            store.uses.clear();
        }
        for (key, record) in batch.images.iter().cloned() {
            match record {
                Some(record) => store.images.insert(key, record),
                None => store.images.remove(&key),
            };
        }
        for (reference, at) in batch.uses.iter().cloned() {
            match at {
                Some(at) => store.uses.insert(reference, at),
                None => store.uses.remove(&reference),
            };
        }
        store.observed = batch.observed.clone();
        records.stored(&batch);
    }

    fn begun_with(store: &Content, now: Moment) -> Records {
        let mut records = Records::new("boot".to_owned());
        records.load(store.clone(), now);
        records
    }

    #[test]
    fn ages_count_from_the_first_look_and_uses_from_the_last() {
        let records = &mut Records::default();
        assert_eq!(look(records, &["a", "b"], &["a"], 10), [(10, Some(10)), (10, None)]);
        assert_eq!(look(records, &["a", "b", "c"], &["b"], 20), [(10, Some(10)), (10, Some(20)), (20, None)]);
    }

    #[test]
    fn an_image_that_went_and_came_back_is_new() {
        let records = &mut Records::default();
        look(records, &["a"], &["a"], 10);
        look(records, &[], &[], 20);
        assert_eq!(look(records, &["a"], &[], 30), [(30, None)]);
    }

    #[test]
    fn by_a_clock_that_was_set_no_image_is_old() {
        let year = 365 * 86_400;
        for step in [year, -year] {
            let records = &mut Records::default();
            look(records, &["a", "b"], &["a"], 2 * year);
            let (now, after) = (2 * year + 10 + step, set_by(step, 2 * year + 10));
            assert_eq!(
                look_at(records, &["a", "b"], after),
                [(now, Some(now)), (now, None)],
                "from the step on"
            );
            let (later, next) = (now + 60, set_by(step, 2 * year + 70));
            assert_eq!(look_at(records, &["b", "c"], next), [(now, None), (later, None)]);
        }
    }

    #[test]
    fn a_removed_container_has_used_its_image_and_time_never_goes_back() {
        let records = &mut Records::default();
        look(records, &["a", "b"], &["b"], 10);
        for used in ["r.io/a:1", "b", "gone", ""] {
            records.used([(used.to_owned(), at(5))], moment(15));
        }
        assert_eq!(look(records, &["a", "b"], &[], 20), [(10, Some(5)), (10, Some(10))]);
    }

    #[test]
    fn nothing_was_used_in_the_future() {
        let records = &mut Records::default();
        records.used([("a".to_owned(), at(1_000_000))], moment(5));
        assert_eq!(look(records, &["a"], &[], 20), [(20, Some(5))]);
    }

    #[test]
    fn what_was_written_is_known_to_the_next() {
        let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
        look(records, &["a", "b", "gone"], &["a"], 10);
        write(store, records);
        look(records, &["a", "b"], &[], 20);
        use_of(records, &["b"], 25);
        write(store, records);
        assert_eq!(records.batch(), None, "all is written");
        for again in [24, 35] {
            records.used([("b".to_owned(), at(again))], moment(36));
            assert_eq!(records.batch(), None, "that is known");
        }
        let next = &mut begun_with(store, moment(100));
        assert_eq!(look(next, &["a", "b", "c"], &[], 110), [(10, Some(10)), (10, Some(25)), (110, None)]);
    }

    #[test]
    fn a_clock_that_was_set_while_nobody_watched_makes_no_image_old() {
        let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
        look(records, &["a"], &["a"], 100_000);
        write(store, records);
        let first = |boot: &str, now: Moment| {
            let mut records = Records::new(boot.to_owned());
            records.load(store.clone(), now);
            look_at(&mut records, &["a"], now)
        };
        assert_eq!(first("boot", moment(300_000)), [(100_000, Some(100_000))], "it was not set");
        assert_eq!(first("boot", set_by(3_600, 100_100)), [(103_700, Some(103_700))]);
        assert_eq!(first("boot", set_by(-3_600, 100_100)), [(96_500, Some(96_500))]);
        // Whether the machine was off or its clock was set can't be told, but for a day.
        assert_eq!(first("next", set_by(180_000, 50)), [(100_000, Some(100_000))]);
        assert_eq!(first("next", set_by(190_000, 50)), [(190_050, Some(190_050))], "a year or the true time");
        assert_eq!(
            first("next", set_by(0, 50)),
            [(50, Some(50))],
            "1970: the machine has no clock of its own"
        );
    }

    #[test]
    fn a_store_that_is_read_late_gives_back_what_was_older() {
        let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
        look(records, &["a", "b"], &["a"], 10);
        write(store, records);
        // It can't be read: all is new.
        let next = &mut Records::new("boot".to_owned());
        next.unsure();
        use_of(next, &["b"], 30);
        let early = next.batch().unwrap();
        assert!(early.unsure && !early.whole, "before the first look, what is not known may be there");
        next.unsure();
        assert_eq!(look(next, &["a", "b"], &["b"], 50), [(50, None), (50, Some(50))]);
        let mut batch = next.batch().unwrap();
        assert!(batch.unsure && batch.whole);
        batch.merge(store);
        let old = |id: &str| {
            let record = batch.images.iter().find(|(key, _)| key.0 == id).unwrap().1.clone().unwrap();
            (record.first_detected.as_second(), record.last_used.map(Timestamp::as_second))
        };
        assert_eq!((old("a"), old("b")), ((10, Some(10)), (10, Some(50))));
        next.load(store.clone(), moment(60));
        assert_eq!(look(next, &["a", "b"], &[], 70), [(10, Some(10)), (10, Some(50))]);
    }

    #[test]
    fn what_another_clock_wrote_is_not_given_back() {
        let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
        look(records, &["a"], &["a"], 1_000);
        write(store, records);
        records.unsure();
        look_at(records, &["a"], set_by(86_400, 1_060));
        let mut batch = records.batch().unwrap();
        batch.merge(store);
        let record = batch.images.first().and_then(|(_, record)| record.clone()).unwrap();
        assert_eq!((record.first_detected, record.last_used), (at(87_460), Some(at(87_460))));
    }

    #[test]
    fn an_image_that_was_removed_is_new_should_it_come_back() {
        let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
        look(records, &["a", "b"], &["a"], 10);
        write(store, records);
        records.forget("a");
        write(store, records);
        assert_eq!(store.images.len(), 1);
        assert_eq!(look(records, &["a", "b"], &[], 20), [(20, None), (10, None)]);
    }

    #[test]
    fn what_was_reported_since_the_last_look_is_known_at_once() {
        let records = &mut Records::default();
        look(records, &["a"], &["a"], 10);
        assert_eq!(records.used_since(None), [""; 0]);
        use_of(records, &["r.io/a:1"], 15);
        use_of(records, &["a"], 12);
        assert_eq!(records.used_since(Some(at(12))), ["r.io/a:1"]);
        assert_eq!(records.used_since(Some(at(15))), [""; 0]);
    }

    #[test]
    fn references_that_nobody_resolves_do_not_fill_the_memory() {
        let records = &mut Records::default();
        for number in 0..2 * USES as i64 {
            records.used([(format!("job-{number}"), at(number))], moment(number));
        }
        assert_eq!(records.uses.len(), USES);
        let newest = format!("job-{}", 2 * USES - 1);
        assert_eq!(look(records, &[&newest], &[], 50_000), [(50_000, Some(2 * USES as i64 - 1))]);
    }
    #[test]
    fn a_use_of_a_copy_that_was_removed_is_no_use_of_the_one_that_was_pulled_later() {
        // The store could not be written since 15: the use is still in it, and the list of 20 is not.
        let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
        look(records, &["a", "b"], &[], 10);
        use_of(records, &["a"], 15);
        write(store, records);
        assert_eq!(look(records, &["b"], &[], 20), [(10, None)]);
        assert_eq!(look(records, &["a", "b"], &[], 30), [(30, None), (10, None)]);
        records.load(store.clone(), moment(40));
        assert_eq!(look(records, &["a", "b"], &["b"], 50), [(30, None), (10, Some(50))]);
        // And the next one that the list of 30 was not written for.
        records.load(store.clone(), moment(55));
        assert_eq!(look(records, &["a", "b"], &["a"], 70), [(30, Some(70)), (10, Some(50))]);
    }

    #[test]
    fn an_image_that_was_removed_since_the_last_list_is_new_whatever_a_store_holds_of_it() {
        let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
        look(records, &["a"], &["a"], 10);
        write(store, records);
        records.forget("a");
        records.load(store.clone(), moment(15));
        assert_eq!(look(records, &["a"], &[], 20), [(20, None)]);
        records.load(store.clone(), moment(25));
        assert_eq!(look(records, &["a"], &[], 30), [(20, None)]);
    }

    #[test]
    fn a_question_is_told_what_a_look_would_tell_and_changes_nothing() {
        for step in [0, 3_600, -3_600] {
            let (store, records) = (&mut Content::default(), &mut Records::new("boot".to_owned()));
            look(records, &["a", "b", "gone"], &["gone"], 10_000);
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
            assert_eq!(records.batch(), None, "there is nothing to be written");
            let mut looked: Vec<Image> = ["a", "b", "new"].map(image).into();
            records.used(uses, now);
            records.look(&mut looked, now);
            assert_eq!(images, looked, "step {step}");
            assert!(images.iter().all(|image| image.first_detected.is_some()));
        }
    }
}
