//! The event recorder: every removal, failure, recovery, reload, and loss or return of the runtime is an event (behaviour: Events).
//! It keeps the newest in memory and hands all of them to whoever follows.
//!
//! It decides nothing and thins nothing: whoever records a failure has asked the failure log whether it is due. A follower
//! that is too slow loses events and is told how many; nobody waits for it. A history on disk belongs here, behind
//! [`Recorder::record`].

mod actor;
mod event;
mod messages;

use actix::{Addr, ArbiterHandle};

use crate::seams::Clock;
use crate::supervision::guard::{self, Fell, Pace};
use actor::RecorderActor;
pub use event::{Event, EventKind, Object, Stamped};
pub use messages::Subscription;
use messages::{Record, Subscribe};

/// Where to record. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    address: Option<Addr<RecorderActor>>,
    clock: Clock,
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
            address.do_send(Record { time: self.clock.now(), event });
        }
    }

    /// The newest `recent` events, and all that follow. `None` where nothing is recorded.
    pub async fn subscribe(&self, recent: usize) -> Option<Subscription> {
        self.address.as_ref()?.send(Subscribe { recent }).await.ok()
    }
}
