//! The modelled clocks: a wall clock that tests may step, and the time that passed, which only grows.
//!
//! Nothing here reads a real clock; in a simulation, time passes with the one of the tokio runtime that the node is on, which is paused.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// Both clocks of a node. They have a lock of their own, so that reading the time never waits for the model.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<Clocks>);

#[derive(Debug)]
struct Clocks {
    wall: Timestamp,
    uptime: Duration,
    /// Until when the time of a tokio runtime has been counted, while they follow one.
    follows: Option<Instant>,
}

impl Clock {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self(Mutex::new(Clocks { wall: start, uptime: Duration::ZERO, follows: None }))
    }

    /// Both, as of now.
    fn clocks(&self) -> MutexGuard<'_, Clocks> {
        let mut clocks = self.0.lock();
        if let Some(until) = clocks.follows {
            let now = Instant::now();
            clocks.pass(now.saturating_duration_since(until));
            clocks.follows = Some(now);
        }
        clocks
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clocks().wall
    }

    /// Modelled time since the start; a step of the wall clock does not change it.
    pub(crate) fn uptime(&self) -> Duration {
        self.clocks().uptime
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clocks().pass(by);
    }

    /// Follows the time of the tokio runtime that this is called on, or no longer.
    pub(crate) fn follow(&self, follows: bool) {
        self.clocks().follows = follows.then(Instant::now);
    }

    /// Steps the wall clock alone.
    pub(crate) fn set_wall(&self, to: Timestamp) {
        self.clocks().wall = to;
    }
}

impl Clocks {
    fn pass(&mut self, by: Duration) {
        self.wall = later(self.wall, by);
        self.uptime = self.uptime.saturating_add(by);
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
