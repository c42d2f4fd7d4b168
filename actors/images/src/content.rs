//! What is remembered of images, as values: one record per image, and the uses that are not assigned to an image yet. Pure.
//!
//! What two stores of this node, or a store and the memory, know of the same images is merged here. The earlier first
//! sight and the later use count. And no image becomes older than it is: what is recorded of a copy
//! that was removed says nothing about the copy that was pulled later.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cri_gc_kit::seams::{Moment, STEP};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Identifies an image: its id, and the runtime handler whose copy it is.
pub type Key = (String, String);

/// What is remembered of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was first seen; never earlier than it came.
    pub first_detected: Timestamp,
    /// When it was last seen in use; `None` is never.
    pub last_used: Option<Timestamp>,
    /// Bytes, as the runtime reports them.
    pub size_bytes: u64,
    /// Whether the runtime pins it.
    pub pinned: bool,
    /// A complete list of this time did not have it, or had an earlier copy that was removed since: what was recorded up to then
    /// says nothing about this one.
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

/// All that is remembered. The order of the maps makes the bytes of a store reproducible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The images of the last complete list.
    pub images: BTreeMap<Key, Record>,
    /// References that were seen in use and that no list of images has resolved yet.
    pub uses: BTreeMap<String, Timestamp>,
    /// When the newest of all was observed.
    pub observed: Option<Observed>,
    /// When a complete list of the images was seen last: an image that is missing here was missing in that list.
    pub listed: Option<Timestamp>,
}

/// A machine that was off for longer than this might as well have had its clock set.
const OFF: SignedDuration = SignedDuration::from_hours(24);

impl Observed {
    /// That moment of that boot.
    #[must_use]
    pub fn new(at: Moment, boot_id: &str) -> Self {
        Self { wall: at.wall(), boot: at.boot(), boot_id: boot_id.to_owned() }
    }

    /// The same without the boot.
    pub(crate) fn moment(&self) -> Moment {
        Moment::new(self.wall, self.boot)
    }

    /// Whether the clock was set between then and now. Between two boots this looks the same as a machine that was off: a
    /// clock that jumped back was set, and so was, as far as can be known, one that jumped forward by more than a day.
    pub(crate) fn clock_was_set(&self, now: Moment, boot_id: &str) -> bool {
        if self.boot_id == boot_id {
            return now.was_set_since(&self.moment());
        }
        let off = now.wall().duration_since(self.wall).saturating_sub(now.boot());
        off < -STEP || off > OFF
    }
}

impl Content {
    /// One content out of those of two stores of this node, of which this one was written last. Nothing is taken over across a
    /// step of the clock.
    #[must_use]
    pub fn joined_with(mut self, older: Self) -> Self {
        if let (Some(now), Some(then)) = (&self.observed, &older.observed)
            && then.clock_was_set(now.moment(), &now.boot_id)
        {
            return self;
        }
        let observed = self.observed.take().or_else(|| older.observed.clone());
        self.take_over(older);
        Self { observed, ..self }
    }

    /// Takes over what an older content has. An image that is missing here is taken over unless a later list did not have it.
    pub(crate) fn take_over(&mut self, older: Self) {
        for (key, other) in older.images {
            match self.images.entry(key) {
                Entry::Occupied(mut record) => record.get_mut().merge(&other),
                Entry::Vacant(place) if self.listed.is_none() => drop(place.insert(other)),
                Entry::Vacant(_) => {}
            }
        }
        for (reference, at) in older.uses {
            let latest = self.uses.entry(reference).or_insert(at);
            *latest = (*latest).max(at);
        }
        self.listed = self.listed.max(older.listed);
    }

    /// The clock was set: all ages count from now on.
    pub(crate) fn start_over(&mut self, now: Timestamp) {
        for record in self.images.values_mut() {
            record.first_detected = now;
            record.last_used = record.last_used.map(|_| now);
            record.absent_at = record.absent_at.map(|_| now);
        }
        self.uses.values_mut().for_each(|used| *used = now);
        self.listed = self.listed.map(|_| now);
    }
}

impl Record {
    /// Takes in another record of the same image: the earlier first sight, the later use. Records of two copies, one of which
    /// was removed before the other came, are not merged: the later copy has the record.
    fn merge(&mut self, other: &Self) {
        let came_after =
            |one: &Self, other: &Self| one.absent_at.is_some_and(|at| other.first_detected <= at);
        if came_after(self, other) {
            return;
        }
        if came_after(other, self) {
            *self = other.clone();
            return;
        }
        self.first_detected = self.first_detected.min(other.first_detected);
        self.last_used = self.last_used.max(other.last_used);
        self.absent_at = self.absent_at.max(other.absent_at);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn record(first_detected: i64, last_used: Option<i64>, absent_at: Option<i64>) -> Record {
        Record {
            first_detected: at(first_detected),
            last_used: last_used.map(at),
            size_bytes: 1,
            pinned: false,
            absent_at: absent_at.map(at),
        }
    }

    fn content(observed: i64, listed: Option<i64>, images: &[(&str, Record)]) -> Content {
        let images = images.iter().map(|(id, record)| (((*id).to_owned(), String::new()), record.clone()));
        let (wall, boot) = (at(observed), SignedDuration::from_secs(observed));
        Content {
            images: images.collect(),
            uses: BTreeMap::new(),
            observed: Some(Observed { wall, boot, boot_id: "boot".to_owned() }),
            listed: listed.map(at),
        }
    }

    #[test]
    fn of_one_copy_the_earlier_first_sight_and_the_later_use_count() {
        let older = content(50, None, &[("a", record(10, Some(40), None)), ("b", record(20, None, None))]);
        let newer = content(90, None, &[("a", record(60, Some(80), None)), ("c", record(60, None, None))]);
        let joined = newer.joined_with(older);
        let expected =
            [("a", record(10, Some(80), None)), ("b", record(20, None, None)), ("c", record(60, None, None))];
        assert_eq!(joined, content(90, None, &expected));
    }

    #[test]
    fn an_image_missing_from_a_later_list_is_forgotten_and_a_later_copy_is_new() {
        let older =
            content(50, Some(50), &[("gone", record(10, None, None)), ("again", record(10, Some(40), None))]);
        let newer = content(90, Some(90), &[("again", record(80, None, Some(70)))]);
        let expected = content(90, Some(90), &[("again", record(80, None, Some(70)))]);
        assert_eq!(newer.clone().joined_with(older.clone()), expected);
        // Whichever way round they are merged.
        let key = ("again".to_owned(), String::new());
        let mut record = older.images[&key].clone();
        record.merge(&newer.images[&key]);
        assert_eq!(record, newer.images[&key]);
    }
}
