//! What the four collectors share: the loop that makes passes, and what a pass is.
//!
//! A collector says only what is its own ([`Collect`]): how it observes, plans, re-checks and acts. When passes are made,
//! that they never overlap, their deadline, their report, and how loud their failures are told is written once, here.
//!
//! - `actor`: the loop. [`pass`]: a pass under way. [`report`]: what it did.
//! - `handle`: a loop, whichever of the four it is.
//! - `supervisor`: keeps a loop of the service going, and answers for it. [`state`]: what it says. `telling`: what is logged.

mod actor;
mod collect;
mod handle;
pub mod messages;
mod pass;
mod state;
mod supervisor;
mod telling;
#[cfg(test)]
mod tests;

pub use actor::{Collector, Schedule};
pub use collect::Collect;
pub use handle::LoopHandle;
pub use pass::{Live, Pass, Removed, Target};
pub use state::{Doing, LoopState};
pub use supervisor::{Base, Supervisor};
