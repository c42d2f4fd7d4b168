//! The modelled clocks: a wall clock that tests may step, and the time that passed, which only grows.
//!
//! Nothing here reads a real clock.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

/// Both clocks of a node. They have a lock of their own, so that reading the time never waits for the model.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<(Timestamp, Duration)>);

impl Clock {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self(Mutex::new((start, Duration::ZERO)))
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.lock().0
    }

    /// Modelled time since the start; a step of the wall clock does not change it.
    pub(crate) fn uptime(&self) -> Duration {
        self.0.lock().1
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut both = self.0.lock();
        *both = (later(both.0, by), both.1.saturating_add(by));
    }

    /// Steps the wall clock alone.
    pub(crate) fn set_wall(&self, to: Timestamp) {
        self.0.lock().0 = to;
    }
}

/// `at` plus `by`, or the last possible time.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `at` minus `by`, or the first possible time.
pub(crate) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
