//! The node that `demo` sweeps, and the tale that it tells.
//!
//! - `node`: a realistic, full node on the embedded runtime: a real socket, real log files in a temporary folder, a
//!   modelled disk and clock. `tale`: what is printed.

mod node;
mod tale;

pub use node::{Demo, Tally};
pub use tale::Tale;
