//! What is remembered of images: when each was first seen, and when it was last seen used (spec 6).
//!
//! Kept in memory: whoever starts this program anew starts the ages anew, and that only keeps images. The store that
//! survives restarts belongs behind this same type.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cri_gc_policy::images::{reference_of, used_by};
use cri_gc_policy::{Container, Image};
use jiff::Timestamp;

use crate::seams::Moment;

/// An image is remembered by its id and the handler whose copy it is.
type Key = (String, String);

/// What is remembered of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    first_detected: Timestamp,
    last_used: Option<Timestamp>,
}

/// What is remembered of all images.
#[derive(Debug, Default)]
pub struct Records {
    records: HashMap<Key, Record>,
    /// Uses by containers that were removed before the images were looked at.
    uses: HashMap<String, Timestamp>,
    /// When the images were last looked at.
    at: Option<Moment>,
}

impl Records {
    /// A container that used the image of this reference until then is removed.
    pub fn used(&mut self, reference: String, at: Timestamp) {
        if !reference.is_empty() {
            let latest = self.uses.entry(reference).or_insert(at);
            *latest = (*latest).max(at);
        }
    }

    /// Takes in a complete list of images and containers, and fills in what is remembered. Records of images that are no
    /// longer there go.
    pub fn observe(&mut self, images: &mut [Image], containers: &[Container], at: Moment) {
        let now = at.wall();
        // By a clock that was set meanwhile all of them would be old, or from the future: ages count from the step (spec 2).
        if self.at.replace(at).is_some_and(|before| at.was_set_since(&before)) {
            for record in self.records.values_mut() {
                record.first_detected = now;
                record.last_used = record.last_used.map(|_| now);
            }
            self.uses.values_mut().for_each(|used| *used = now);
        }
        let used_now = used_by(images, containers.iter().map(reference_of));
        let mut last_used: HashMap<usize, Timestamp> =
            used_now.into_iter().map(|index| (index, now)).collect();
        for (reference, at) in self.uses.drain() {
            for index in used_by(images, [reference.as_str()]) {
                let latest = last_used.entry(index).or_insert(at);
                *latest = (*latest).max(at);
            }
        }
        let mut next = HashMap::with_capacity(images.len());
        for (index, image) in images.iter_mut().enumerate() {
            let key = (image.id.clone(), image.runtime_handler.clone());
            let mut record =
                self.records.remove(&key).unwrap_or(Record { first_detected: now, last_used: None });
            record.last_used = record.last_used.max(last_used.get(&index).copied());
            image.first_detected = Some(record.first_detected);
            image.last_used = record.last_used;
            next.insert(key, record);
        }
        self.records = next;
    }
}

/// The records of a node, which outlive the thread of whoever keeps them.
#[derive(Debug, Clone, Default)]
pub struct SharedRecords(Arc<Mutex<Records>>);

impl SharedRecords {
    /// For one look or one use: nothing that waits is done meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, Records> {
        // A panic in between leaves records of some images, which are as good as ever.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::ContainerState;
    use jiff::SignedDuration;

    use super::*;
    use crate::seams::Clock;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
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
        }
    }

    fn container(image_ref: &str) -> Container {
        Container {
            id: "c".to_owned(),
            pod_uid: String::new(),
            pod_sandbox_id: String::new(),
            name: String::new(),
            attempt: 0,
            state: ContainerState::Exited,
            created_at: None,
            finished_at: None,
            image: String::new(),
            image_ref: image_ref.to_owned(),
            image_id: String::new(),
            log_path: String::new(),
        }
    }

    fn look(records: &mut Records, ids: &[&str], used: &[&str], now: i64) -> Vec<(i64, Option<i64>)> {
        let mut images: Vec<Image> = ids.iter().map(|id| image(id)).collect();
        let containers: Vec<Container> = used.iter().map(|id| container(id)).collect();
        records.observe(&mut images, &containers, Clock::new(move || at(now)).moment());
        let seconds = |image: &Image| {
            (image.first_detected.unwrap().as_second(), image.last_used.map(|t| t.as_second()))
        };
        images.iter().map(seconds).collect()
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
        let records = &mut Records::default();
        look(records, &["a", "b"], &["a"], 10);
        let year = 365 * 86_400;
        let clock = Clock::with_boot(move || at(20 + year), || SignedDuration::from_secs(20));
        let mut images = vec![image("a"), image("b")];
        records.observe(&mut images, &[], clock.moment());
        let times: Vec<_> = images.iter().map(|image| (image.first_detected, image.last_used)).collect();
        let now = Some(at(20 + year));
        assert_eq!(times, [(now, now), (now, None)], "ages count from the step");
    }

    #[test]
    fn a_removed_container_has_used_its_image_and_time_never_goes_back() {
        let records = &mut Records::default();
        look(records, &["a", "b"], &["b"], 10);
        records.used("r.io/a:1".to_owned(), at(5));
        records.used("b".to_owned(), at(5));
        records.used("gone".to_owned(), at(5));
        assert_eq!(look(records, &["a", "b"], &[], 20), [(10, Some(5)), (10, Some(10))]);
    }
}
