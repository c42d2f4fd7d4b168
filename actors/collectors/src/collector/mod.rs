//! What the four collectors share: the loop that makes passes, and what a pass is.
//!
//! A collector says only what is its own ([`Collect`]): how it observes, plans, re-checks and acts. When passes are made,
//! that they never overlap, their deadline, their report, and how loud their failures are told is written once, here.
//!
//! - `actor`: the loop. [`pass`]: a pass under way. [`report`]: what it did.
//! - `handle`: a loop, whichever of the four it is.
//! - `supervisor`: keeps a loop of the service going, and answers for it. [`state`]: what it says. `telling`: what is logged.

mod actor;
mod handle;
pub mod pass;
pub mod report;
pub mod state;
mod supervisor;
mod telling;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use cri_gc_config::Settings;
use cri_gc_kit::words::Loop;
use tokio::sync::mpsc::UnboundedSender;

pub use actor::Collector;
pub use handle::LoopHandle;
pub use pass::{Live, Pass, Progress, Removed, Target, Tools};
pub use report::{FailureKind, Kept, Outcome, PassError, PassReport, Removal};
pub use state::{Doing, LastPass, LoopState};
pub use supervisor::{Base, Relay, Supervisor};

use crate::planning::Foreseen;
use cri_gc_kit::seams::Chance;
use cri_gc_kit::supervision::failure_log::First;

/// What is one collector's own.
pub trait Collect: Unpin + 'static {
    /// Which loop it is.
    const LOOP: Loop;

    /// How its first failure is told.
    const FIRST_FAILURE: First = First::Error;

    /// How often it makes a pass by itself.
    fn period(settings: &Settings) -> Duration;

    /// How long a pass may take.
    fn deadline(settings: &Settings) -> Duration;

    /// How often it looks, between passes, whether there is a reason to begin one at once; `None` is never.
    fn look_out_every(_settings: &Settings) -> Option<Duration> {
        None
    }

    /// Such a look. The runtime is asked nothing.
    fn look_out(&self, _tools: &Tools, _settings: &Settings) -> impl Future<Output = bool> {
        std::future::ready(false)
    }

    /// One pass: observe, plan, re-check, act. It is not called again before it has ended.
    fn pass(&self, tools: &Tools, pass: &Pass) -> impl Future<Output = ()>;
}

/// Make a pass now, and say what it did. If one is under way, another follows it: what it shows was seen after it was asked
/// for.
#[derive(Debug, Default, Message)]
#[rtype(result = "Result<PassReport, Declined>")]
pub struct RunPass {
    /// Who is told how it goes on.
    pub progress: Option<UnboundedSender<Progress>>,
    /// In a dry run: what the passes before it would have removed.
    pub foreseen: Arc<Foreseen>,
}

/// Why no pass is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// It is paused.
    #[error("{0} is paused; `cri-gc resume {0}` ends that")]
    Paused(Loop),
    /// The service is coming to rest.
    #[error("{0} is coming to rest")]
    Stopping(Loop),
    /// Too many have asked.
    #[error("too many passes of {0} are asked for already")]
    Busy(Loop),
    /// It fell during the pass.
    #[error("the pass of {0} was cut short by a restart of the loop; see the log")]
    Fell(Loop),
}

/// What began a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The loop was started, or started anew.
    Start,
    /// It was time.
    Period,
    /// The loop before it in the chain made a pass.
    Chain,
    /// A disk is over its threshold.
    Pressure,
    /// The runtime is reachable again, and the pass before failed because it was not.
    Recovery,
    /// Somebody asked for it.
    Admin,
}

impl Trigger {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Period => "period",
            Self::Chain => "chain",
            Self::Pressure => "pressure",
            Self::Recovery => "recovery",
            Self::Admin => "admin",
        }
    }
}

/// There may be something to do for you now: the loop before you in the chain has made a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Wake;

/// Come to rest: begin no removal any more, let those under way end, and answer then.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Finish;

/// Begin no pass and no removal any more (true), or go on (false).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Pause(pub bool);

/// How is it? Answered by the supervisor of a loop, however the loop itself is.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "LoopState")]
pub struct AskState;

/// How a loop of the service makes passes by itself.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// How soon after a start the first pass is made. After the pause that follows a fall it is made at once.
    pub first: Duration,
    /// Spreads the passes of many nodes.
    pub chance: Chance,
}

/// Has one loop's passes woken another's: the chain of container, sandbox and log passes.
pub type Next = Vec<Recipient<Wake>>;
