//! What keeps a service running: an actor that panics is restarted, and a failure that repeats is logged less and less.
//!
//! - [`guard`]: restarts an actor wherever it panics. [`backoff`]: pauses that double.
//! - [`grace`]: failures that pass by themselves. [`failure_log`]: log levels that back off. [`outage_log`]: writes the lines that are due by it. [`threads`]: where actors run, and what is left of a thread that hangs.
//! - [`panics`]: where a panic that was caught came from.

pub mod backoff;
pub mod failure_log;
pub mod grace;
pub mod guard;
pub mod outage_log;
pub mod panics;
pub mod threads;
