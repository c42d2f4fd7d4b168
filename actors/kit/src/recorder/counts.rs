//! How many events there were, for metrics. They are read while the recorder works, and outlive a restart of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::event::EventKind;

/// The counters. They order nothing.
#[derive(Debug, Default)]
pub struct Counts {
    /// By kind, in the order of [`EventKind::ALL`].
    pub(super) events: [AtomicU64; EventKind::ALL.len()],
    /// See [`super::HistoryLine::lost`].
    pub(super) lost: Arc<AtomicU64>,
}

impl Counts {
    pub(super) fn add(&self, kind: EventKind) {
        if let Some(count) = self.events.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events of each kind since the service started.
    pub fn events(&self) -> impl Iterator<Item = (EventKind, u64)> {
        EventKind::ALL.iter().zip(&self.events).map(|(kind, count)| (*kind, count.load(Ordering::Relaxed)))
    }

    /// Events that are missing from the history on disk since the service started.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
