//! What two stores of this node, or a store and the memory, know of the same images becomes one. Pure.
//!
//! No record goes back in time: the earlier first sight and the later use count. And no image becomes older than it is: what
//! is recorded of a copy that was removed says nothing of the copy that was pulled later.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;

use super::records::{Batch, Content, Key, Record};
use cri_gc_kit::seams::Moment;

impl Content {
    /// One content out of those of two stores of this node, of which this one was written last. An image of the older store
    /// is taken over unless a list that came later did not have it, and nothing is taken over across a step of the clock.
    #[must_use]
    pub fn joined_with(mut self, older: Self) -> Self {
        if let (Some(now), Some(then)) = (&self.observed, &older.observed)
            && then.clock_was_set(Moment::new(now.wall, now.boot), &now.boot_id)
        {
            return self;
        }
        merge_images(&mut self.images, older.images, self.listed);
        merge_uses(&mut self.uses, older.uses);
        self.listed = self.listed.max(older.listed);
        self.observed = self.observed.or(older.observed);
        self
    }
}

impl Content {
    /// The clock was set: all ages count from now on.
    pub(super) fn start_over(&mut self, now: Timestamp) {
        self.images.values_mut().for_each(|record| record.start_over(now));
        self.uses.values_mut().for_each(|used| *used = now);
        self.listed = self.listed.map(|_| now);
    }
}

impl Batch {
    /// A batch that makes a store hold that content and nothing else.
    #[must_use]
    pub fn replacing(content: &Content) -> Self {
        Self {
            whole: true,
            images: content.images.iter().map(|(key, record)| (key.clone(), Some(record.clone()))).collect(),
            uses: content.uses.iter().map(|(reference, at)| (reference.clone(), Some(*at))).collect(),
            observed: content.observed.clone(),
            listed: content.listed,
            ..Self::default()
        }
    }

    /// Takes in what a store holds that could not be read before: no record goes back in time.
    pub fn merge(&mut self, store: &Content) {
        if self.other_clock {
            return;
        }
        for (key, record) in &mut self.images {
            if let (Some(record), Some(old)) = (record, store.images.get(key)) {
                record.merge(old);
            }
        }
        // Later ones replace earlier ones, so the newest of a reference comes last.
        let mut uses: Vec<(String, Option<Timestamp>)> =
            store.uses.iter().map(|(reference, at)| (reference.clone(), Some(*at))).collect();
        for (reference, at) in &mut self.uses {
            if let (Some(at), Some(old)) = (at, store.uses.get(reference)) {
                *at = (*at).max(*old);
            }
        }
        uses.append(&mut self.uses);
        self.uses = uses;
    }
}

impl Record {
    /// The clock was set: its ages count from now on.
    pub(super) fn start_over(&mut self, now: Timestamp) {
        self.first_detected = now;
        self.last_used = self.last_used.map(|_| now);
        self.absent_at = self.absent_at.map(|_| now);
    }

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

/// Takes in images of another store. Those that are missing in a list that was seen since are not there any more.
pub(super) fn merge_images(
    images: &mut HashMap<Key, Record>,
    others: HashMap<Key, Record>,
    listed: Option<Timestamp>,
) {
    for (key, other) in others {
        match images.entry(key) {
            Entry::Occupied(mut record) => record.get_mut().merge(&other),
            Entry::Vacant(place) if listed.is_none() => drop(place.insert(other)),
            Entry::Vacant(_) => {}
        }
    }
}

pub(super) fn merge_uses(uses: &mut HashMap<String, Timestamp>, others: HashMap<String, Timestamp>) {
    for (reference, at) in others {
        let latest = uses.entry(reference).or_insert(at);
        *latest = (*latest).max(at);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::records::Observed;

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
            uses: HashMap::new(),
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
    fn what_a_list_since_did_not_have_is_gone_and_a_copy_that_came_later_is_as_young_as_it_is() {
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
