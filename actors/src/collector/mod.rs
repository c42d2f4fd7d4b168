//! What the four collectors share: the loop that makes passes, and what a pass is.
//!
//! A collector says only what is its own ([`Collect`]): how it observes, plans, re-checks and acts. When passes are made,
//! that they never overlap, their deadline, their report, and how loud their failures are told is written once, here.
//!
//! - `actor`: the loop. [`pass`]: a pass under way. [`report`]: what it did. `telling`: what is logged of it.

mod actor;
pub mod pass;
pub mod report;
mod telling;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use cri_gc_config::Settings;
use tokio::sync::mpsc::UnboundedSender;

pub use actor::Collector;
pub use pass::{Live, Pass, Progress, Removed, Target, Tools};
pub use report::{FailureKind, Kept, Kind, Loop, Outcome, PassError, PassReport, Removal};

use crate::seams::Chance;
use crate::supervision::failure_log::First;

/// What is one collector's own.
pub trait Collect: 'static {
    /// Which loop it is.
    const LOOP: Loop;

    /// How its first failure is told.
    const FIRST_FAILURE: First = First::Error;

    /// How often it makes a pass by itself.
    fn period(settings: &Settings) -> Duration;

    /// How long a pass may take.
    fn deadline(settings: &Settings) -> Duration;

    /// One pass: observe, plan, re-check, act. It is not called again before it has ended.
    fn pass(&self, tools: &Tools, pass: &Pass) -> impl Future<Output = ()>;
}

/// Make a pass now, and say what it did.
#[derive(Debug, Message)]
#[rtype(result = "Result<PassReport, Busy>")]
pub struct RunPass {
    /// Who is told how it goes on.
    pub progress: Option<UnboundedSender<Progress>>,
}

/// A pass is under way already, or the collector fell during it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pass of {0} is under way already, or was cut short by a restart of the loop")]
pub struct Busy(pub Loop);

/// There may be something to do for you now: the loop before you in the chain has made a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Wake;

/// Come to rest: begin no removal any more, let those under way end, and answer then.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Finish;

/// New settings, whole.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Reconfigure(pub Arc<Settings>);

/// How a loop of the service makes passes by itself.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// How soon after a start, or a restart, the first pass is made.
    pub first: Duration,
    /// Spreads the passes of many nodes.
    pub chance: Chance,
    /// Who is woken after each pass.
    pub next: Vec<Recipient<Wake>>,
}
