//! What happened since a point in time, in figures. It counts events; it knows nothing of files and asks nothing.

use std::collections::BTreeMap;

use cri_gc_kit::recorder::EventKind;
use cri_gc_policy::Kind;
use cri_gc_proto::admin as api;
use jiff::Timestamp;

/// The figures of a time.
#[derive(Debug)]
pub struct Sums {
    since: Timestamp,
    until: Timestamp,
    /// By kind of object, how many were removed, and their bytes.
    removed: [(u64, u64); Kind::ALL.len()],
    failures: BTreeMap<&'static str, u64>,
    /// The time of the last event that was counted, which is the oldest.
    oldest: Option<Timestamp>,
}

impl Sums {
    /// Those of this time, without any event yet.
    #[must_use]
    pub fn new(since: Timestamp, until: Timestamp) -> Self {
        Self { since, until, removed: Default::default(), failures: BTreeMap::new(), oldest: None }
    }

    /// Counts events, newest first, until one is older than the time that is meant. Returns whether there was one.
    ///
    /// # Errors
    /// The first error of an event.
    pub fn count<E>(
        &mut self,
        newest_first: impl IntoIterator<Item = Result<api::Event, E>>,
    ) -> Result<bool, E> {
        for event in newest_first {
            let event = event?;
            let Ok(time) = event.time.parse::<Timestamp>() else { continue };
            if time < self.since {
                return Ok(true);
            }
            // A clock that was set back leaves events in the future.
            if time <= self.until {
                self.oldest = Some(time);
                self.add(&event);
            }
        }
        Ok(false)
    }

    fn add(&mut self, event: &api::Event) {
        let Some(kind) = EventKind::ALL.iter().find(|kind| kind.as_str() == event.kind) else { return };
        let of = Kind::ALL.iter().position(|kind| kind.as_str() == event.object_kind);
        match of.and_then(|of| self.removed.get_mut(of)) {
            Some((count, bytes)) if *kind == EventKind::Removed => {
                *count += 1;
                *bytes = bytes.saturating_add(event.bytes);
            }
            _ if kind.is_failure() => *self.failures.entry(kind.as_str()).or_default() += 1,
            _ => {}
        }
    }

    /// Nothing is known of what was before the oldest event that was counted.
    pub fn begins_with_the_oldest(&mut self) {
        self.since = self.oldest.unwrap_or(self.until);
    }

    /// In the words of the API; `problem`: why events may be missing, if they may.
    #[must_use]
    pub fn answer(self, problem: String) -> api::Recent {
        let removed = Kind::ALL.iter().zip(self.removed).filter(|(_, (count, _))| *count > 0);
        api::Recent {
            since: self.since.to_string(),
            removed: removed
                .map(|(kind, (count, bytes))| api::RemovedSum {
                    kind: kind.as_str().to_owned(),
                    count,
                    bytes,
                })
                .collect(),
            failures: self.failures.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            problem,
        }
    }
}
