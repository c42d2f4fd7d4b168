//! How often the runtime became reachable again, and the bell for those who wait for that. They are woken in the order in which they began
//! to wait, so that the same node gives the same order of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Returns {
    count: Arc<AtomicU64>,
    bell: Arc<Notify>,
}

impl Returns {
    /// How many there were.
    pub fn get(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Counts one without waking those who wait for one.
    pub fn count_silently(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Wakes all who wait.
    pub fn ring(&self) {
        self.bell.notify_waiters();
    }

    /// The next ring, counted from this call on.
    pub fn next_ring(&self) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.bell).notified_owned()
    }
}
