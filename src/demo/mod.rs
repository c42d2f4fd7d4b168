//! The command `demo`: an embedded node with a full disk, and what cri-gc does there.
//!
//! - [`node`]: the node, on the embedded runtime: a real socket, real log files in a temporary folder, a modelled disk and
//!   clock. [`churn`]: the pods that come and go on it. [`report`]: what a sweep of it prints.
//! - [`watch`]: the running service on the same node, and what can be broken.

pub mod churn;
pub mod node;
pub mod report;
pub mod watch;
