//! The event recorder: every removal, failure, recovery, reload, and loss or return of the runtime is an event (behaviour: Events).
//! It keeps the newest in memory and hands all of them to whoever follows.
//!
//! It decides nothing and thins nothing: whoever records a failure has asked the failure log whether it is due. A follower
//! that is too slow loses events and is told how many; nobody waits for it. A history on disk belongs here, behind
//! [`Recorder::record`].

mod actor;
mod event;

use actix::{Addr, ArbiterHandle};
use tokio::sync::broadcast::Receiver;

use crate::seams::Clock;
use crate::supervision::guard::{self, Fell, Pace};
use actor::{RecorderActor, Subscribe};
pub use event::{Event, EventKind, Object, Stamped};

/// Where to record. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    address: Option<Addr<RecorderActor>>,
    clock: Clock,
}

/// The past, as far as it is known, and what comes.
#[derive(Debug)]
pub struct Subscription {
    /// The newest events, oldest first.
    pub past: Vec<Stamped>,
    /// All that follow them without a gap; a receiver that lags is told how many it has lost.
    pub coming: Receiver<Stamped>,
}

impl Recorder {
    /// Starts the actor on an arbiter.
    #[must_use]
    pub fn start(on: &ArbiterHandle, pace: Pace, fell: Fell, clock: Clock) -> Self {
        Self { address: Some(guard::start(on, pace, fell, |_| RecorderActor::default())), clock }
    }

    /// Records nothing: for one-shot commands, whose report is all there is to tell.
    #[must_use]
    pub fn none(clock: Clock) -> Self {
        Self { address: None, clock }
    }

    /// Records an event, as of now.
    pub fn record(&self, event: Event) {
        if let Some(address) = &self.address {
            address.do_send(actor::Record { time: self.clock.now(), event });
        }
    }

    /// The newest `recent` events, and all that follow. `None` where nothing is recorded.
    pub async fn subscribe(&self, recent: usize) -> Option<Subscription> {
        self.address.as_ref()?.send(Subscribe { recent }).await.ok()
    }
}
