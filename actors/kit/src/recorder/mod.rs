//! The event recorder: every removal, failure, recovery, reload, and loss or return of the runtime is an event (behaviour: Events).
//! It keeps the newest in memory and sends all of them to its followers.
//!
//! It decides nothing and suppresses nothing: the caller that records a failure has asked the failure log whether it is due. A follower
//! that is too slow loses events and learns how many; it delays no one. So is a history on disk, which [`HistoryLine`] leads to.

mod actor;
mod counts;
mod event;
mod messages;

use std::sync::Arc;

use actix::{Addr, ArbiterHandle};

use crate::seams::Clock;
use crate::supervision::guard::{self, OnRestart, Pace};
pub use actor::HistoryLine;
use actor::RecorderActor;
pub use counts::Counts;
pub use event::{Event, EventKind, InPass, Object, Peer, Stamped};
pub use messages::Subscription;
use messages::{Flush, Record, Subscribe};

/// Where to record. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    address: Option<Addr<RecorderActor>>,
    clock: Clock,
    counts: Arc<Counts>,
}

impl Recorder {
    /// Starts the actor on an arbiter.
    #[must_use]
    pub fn start(
        on: &ArbiterHandle,
        (pace, on_restart): (Pace, OnRestart),
        history: Option<HistoryLine>,
        clock: Clock,
    ) -> Self {
        let lost = history.as_ref().map(|line| Arc::clone(&line.lost)).unwrap_or_default();
        let counts = Arc::new(Counts { lost, ..Counts::default() });
        let count = Arc::clone(&counts);
        let address = guard::start(on, pace, on_restart, |_| RecorderActor::new(history, count));
        Self { address: Some(address), clock, counts }
    }

    /// Records nothing: for one-shot commands, whose report is their only output.
    #[must_use]
    pub fn none(clock: Clock) -> Self {
        Self { address: None, clock, counts: Arc::default() }
    }

    /// Records an event, as of now.
    pub fn record(&self, event: Event) {
        if let Some(address) = &self.address {
            address.do_send(Record { time: self.clock.now(), event });
        }
    }

    /// Ends once all that was recorded before is handed on, to the history on disk as well.
    pub async fn flush(&self) {
        if let Some(address) = &self.address {
            // While the recorder is being restarted nothing is on its way.
            let _ = address.send(Flush).await;
        }
    }

    /// How many events there were.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The newest `recent` events, and all that follow. `None` where nothing is recorded.
    pub async fn subscribe(&self, recent: usize) -> Option<Subscription> {
        self.address.as_ref()?.send(Subscribe { recent }).await.ok()
    }
}
