//! The protocol of the recorder.

use actix::Message;
use jiff::Timestamp;
use tokio::sync::broadcast::Receiver;

use super::event::{Event, Stamped};

/// Record this.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Record {
    pub time: Timestamp,
    pub event: Event,
}

/// Answered once all that was recorded before is handed on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Flush;

/// The newest events, and all that follow.
#[derive(Debug, Message)]
#[rtype(result = "Subscription")]
pub struct Subscribe {
    pub recent: usize,
}

/// The past, as far as it is known, and what comes.
#[derive(Debug)]
pub struct Subscription {
    /// The newest events, oldest first.
    pub past: Vec<Stamped>,
    /// All that follow them without a gap; a receiver that lags learns how many it has lost.
    pub coming: Receiver<Stamped>,
}
