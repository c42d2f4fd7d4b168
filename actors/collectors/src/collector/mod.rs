//! What the four collectors share: the loop that makes passes, and what a pass is.
//!
//! A collector says only what is its own ([`Collect`]): how it observes, plans, re-checks and acts. When passes are made,
//! that they never overlap, their deadline, their report, and at which level their failures are logged is written once, here.
//!
//! - `collect`: what is one collector's own. [`messages`]: the protocol of a loop and its supervisor. `actor`: the loop.
//! - `pass`: a pass in progress. `stuck`: what could not be removed, from one pass to the next. `handle`: a loop, whichever of the four it is.
//! - `supervisor`: keeps a loop of the service running, and answers for it. `state`: what it answers, with `totals`. `pass_log`: what is logged.

mod actor;
mod collect;
mod handle;
pub mod messages;
mod pass;
mod pass_log;
mod state;
mod stuck;
mod supervisor;
#[cfg(test)]
mod tests;
mod totals;

pub use actor::{Collector, Schedule};
pub use collect::Collect;
pub use handle::LoopHandle;
pub use pass::{Live, Pass, Removed, Target};
pub use state::{Doing, LoopState, Paused};
pub use stuck::StuckObject;
pub use supervisor::{Base, Supervisor};
pub use totals::Totals;
