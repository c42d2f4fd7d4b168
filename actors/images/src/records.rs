//! The records in memory: takes in what was seen and when, says what is remembered of an image, and whether something of it is not in
//! the store yet. Pure.

use std::collections::{BTreeMap, HashMap};

use cri_gc_kit::seams::Moment;
use cri_gc_policy::Image;
use cri_gc_policy::images::{ImageUse, Names};
use jiff::{SignedDuration, Timestamp};

use crate::content::{Content, Key, Observed, Record};

/// A use is not noted again within this time.
const CLOSE: SignedDuration = SignedDuration::from_secs(10);

/// References that are remembered at most: if no image GC resolves them for years, they would fill the memory.
const USES: usize = 10_000;

/// What is remembered, and whether the store has it.
#[derive(Debug, Default)]
pub struct Records {
    known: Content,
    boot_id: String,
    /// The store does not have all of it.
    unsaved: bool,
}

impl Records {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(boot_id: String) -> Self {
        Self { boot_id, ..Self::default() }
    }

    /// Takes in what a store holds, at the start or as soon as it can be read.
    pub fn load(&mut self, mut store: Content, now: Moment) {
        if store.observed.as_ref().is_some_and(|then| then.clock_was_set(now, &self.boot_id)) {
            // What was observed by this clock meanwhile is kept as it is.
            store.start_over(now.wall());
            self.unsaved = true;
        }
        self.known.take_over(store);
        self.known.observed.get_or_insert_with(|| Observed::new(now, &self.boot_id));
    }

    /// What was seen in use, and when each was last: containers that exist are in use now, one that is removed was until
    /// it finished.
    pub fn used(&mut self, uses: impl IntoIterator<Item = (String, Timestamp)>, now: Moment) {
        self.at(now);
        for (reference, at) in uses.into_iter().filter(|(reference, _)| !reference.is_empty()) {
            // The runtime's clock may be wrong; nothing was used in the future.
            let at = at.min(now.wall());
            // The loops list one after the other, and a removal reports what the list before it has reported: that costs no commit.
            if self.known.uses.get(&reference).is_none_or(|known| at.duration_since(*known) > CLOSE) {
                self.known.uses.insert(reference, at);
                self.unsaved = true;
            }
        }
        while self.known.uses.len() > USES {
            let Some((oldest, _)) = self.known.uses.iter().min_by_key(|(_, at)| **at) else { break };
            let oldest = oldest.clone();
            self.known.uses.remove(&oldest);
        }
    }

    /// Takes in a complete list of images and fills in what is remembered of them. Records of images that are not in it are
    /// dropped.
    pub fn list(&mut self, images: &mut [Image], now: Moment) {
        self.at(now);
        self.recall(images, &[], now);
        let record = |image: &Image| {
            let key = key_of(image);
            let record = Record {
                first_detected: image.first_detected.unwrap_or(now.wall()),
                last_used: image.last_used,
                size_bytes: image.size_bytes,
                pinned: image.pinned,
                absent_at: self.absent_at(&key),
            };
            (key, record)
        };
        let listed = images.iter().map(record).collect();
        self.unsaved |= listed != self.known.images || !self.known.uses.is_empty();
        self.known.images = listed;
        self.known.uses = BTreeMap::new();
        self.known.listed = Some(now.wall());
    }

    /// Fills into a complete list of images what is remembered of them, and changes nothing: for a question, which has seen
    /// these references in use. An image that is not known counts as first seen now.
    pub fn recall(&self, images: &mut [Image], uses: &[(String, Timestamp)], now: Moment) {
        let set = self.known.observed.as_ref().is_some_and(|before| now.was_set_since(&before.moment()));
        let by_this_clock = |at: Timestamp| if set { now.wall() } else { at };
        let keys: Vec<Key> = images.iter().map(key_of).collect();
        let absent: Vec<Option<Timestamp>> = keys.iter().map(|key| self.absent_at(key)).collect();
        let mut last_used: HashMap<usize, Timestamp> = HashMap::new();
        let names = Names::new(images);
        let known = self.known.uses.iter().map(|(reference, at)| (reference, *at));
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
            let old = self.known.images.get(key);
            let used = old.and_then(|old| old.last_used).max(last_used.get(&index).copied());
            image.first_detected = Some(by_this_clock(old.map_or(now.wall(), |old| old.first_detected)));
            image.last_used = used.map(by_this_clock);
        }
    }

    /// When this copy of the image was certainly missing: one that is not known, or was removed, comes after the last list.
    fn absent_at(&self, key: &Key) -> Option<Timestamp> {
        self.known.images.get(key).map_or(self.known.listed, |record| record.absent_at)
    }

    /// All that is known, if the store does not have all of it. From now on it counts as saved.
    pub fn unsaved(&mut self) -> Option<Content> {
        std::mem::take(&mut self.unsaved).then(|| self.known.clone())
    }

    /// The store may not have all of it.
    pub fn mark_unsaved(&mut self) {
        self.unsaved = true;
    }

    /// The images of that id were removed, or may have been: if they are seen again, they are new.
    pub fn forget(&mut self, id: &str) {
        let from = (id.to_owned(), String::new());
        let copies = self.known.images.range(from..).map(|(key, _)| key).take_while(|(known, _)| known == id);
        for copy in copies.cloned().collect::<Vec<_>>() {
            self.known.images.remove(&copy);
            self.unsaved = true;
        }
    }

    /// What was seen in use later than that, as far as it was reported since the last list of images.
    #[must_use]
    pub fn used_since(&self, since: Option<Timestamp>) -> Vec<String> {
        let later = self.known.uses.iter().filter(|(_, at)| Some(**at) > since);
        later.map(|(used, _)| used.clone()).collect()
    }

    /// By a clock that was set meanwhile all of them would be old, or in the future: ages count from the step.
    fn at(&mut self, now: Moment) {
        match &self.known.observed {
            Some(before) if now.was_set_since(&before.moment()) => {
                self.known.start_over(now.wall());
                self.unsaved = true;
            }
            // Loops on several threads do not report in order.
            Some(before) if before.boot > now.boot() => return,
            _ => {}
        }
        self.known.observed = Some(Observed::new(now, &self.boot_id));
    }
}

fn key_of(image: &Image) -> Key {
    (image.id.clone(), image.runtime_handler.clone())
}

#[cfg(test)]
mod tests;
