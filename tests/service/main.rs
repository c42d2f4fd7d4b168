//! The whole service, wired as the program wires it, against the embedded runtime: real RPCs over a real socket.
//!
//! All actors run on the test's own thread, and their time is driven ([`stage`]): nothing here sleeps in the hope that
//! something has happened by then, and no assertion is about how long the machine took. What needs threads of its own, for
//! a thread that hangs takes the time with it, runs in real time ([`hung`]).
//!
//! - [`stage`]: a node, the service on it, and its time. [`lines`]: what is logged, and what was to be.
//! - `kubernetes`, `pods_kubelet`: the service that asks an API server or a kubelet, which tests control.
//! - the others: what is shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job"
)]

mod chain;
mod halting;
mod hung;
mod isolation;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod lines;
mod metrics;
mod panics;
mod pods_kubelet;
mod pressure;
mod questions;
mod reload;
mod restarts;
mod runtime_unreachable;
mod stage;
mod stale;
mod stalls;
mod stuck;
mod watching;
