//! What is remembered of images (behaviour: Image ages): when each was first seen, when it was last seen used, its size. Pure: it is told
//! what was seen and when, and says what of it is not in the store yet.

use std::collections::{HashMap, HashSet};

use cri_gc_policy::Image;
use cri_gc_policy::images::{ImageUse, Names};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::merging::{merge_images, merge_uses};
use cri_gc_kit::seams::{Moment, STEP};

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

/// Changes that wait for the store at most. Should a disk hang for weeks, all there is is written instead.
const CHANGES: usize = 20_000;

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
        self.bound_changes();
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
        self.bound_changes();
    }

    fn bound_changes(&mut self) {
        if self.changed_images.len() + self.changed_uses.len() > CHANGES {
            self.unsure = true;
            self.changed_images = HashSet::new();
            self.changed_uses = HashSet::new();
        }
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

    /// By a clock that was set meanwhile all of them would be old, or from the future: ages count from the step (behaviour: Clock changes).
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
mod tests;
