//! The node of `demo`, and what is shown of it.
//!
//! - `node`: a realistic, full node on the embedded runtime: a real socket, real log files in a temporary folder, a
//!   modelled disk and clock. `tale`: what is printed.
//! - [`watch`]: the same node under churn, with the whole service at work on it, and what breaks that.

mod node;
mod tale;
pub mod watch;

pub use node::{Demo, Tally};
pub use tale::Tale;
