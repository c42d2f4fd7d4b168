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
    /// The time of the oldest event that was counted.
    oldest: Option<Timestamp>,
}

impl Sums {
    /// Those of this time, without any event yet.
    #[must_use]
    pub fn new(since: Timestamp, until: Timestamp) -> Self {
        Self { since, until, removed: Default::default(), failures: BTreeMap::new(), oldest: None }
    }

    /// Counts the events of the time that is meant, among all that are known. Where none of them is older, nothing is known of
    /// what was before the oldest that was counted: the figures begin with that one.
    ///
    /// # Errors
    /// The first error of an event.
    pub fn count<E>(&mut self, events: impl IntoIterator<Item = Result<api::Event, E>>) -> Result<(), E> {
        let mut reaches_back = false;
        // A clock that was set leaves them in another order than that of their times.
        for event in events {
            let event = event?;
            let Ok(time) = event.time.parse::<Timestamp>() else { continue };
            if time < self.since {
                reaches_back = true;
            } else if time <= self.until {
                self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
                self.add(&event);
            }
        }
        if !reaches_back {
            self.since = self.oldest.unwrap_or(self.until);
        }
        Ok(())
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
