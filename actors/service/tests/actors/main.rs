//! The gateway, the pod-state provider and the four collectors, each with a thread of its own as in the service, against
//! the embedded runtime: real RPCs over a real socket, with faults, races and a modelled clock and disk.
//!
//! [`bed`] is what all tests stand on. A test that needs something to happen in between makes it happen by a hook of the
//! embedded runtime; none sleeps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code: failing loudly is its job"
)]

mod attacks;
mod attacks_images;
#[cfg(feature = "kubernetes")]
mod attacks_pods;
mod bed;
mod container_gc;
mod container_races;
mod gateway_calls;
mod gateway_lists;
mod image_gc;
mod image_loop;
mod image_meanwhile;
mod image_recall;
mod image_records;
mod image_removed;
mod image_use;
mod isolation;
mod kubernetes;
mod log_reaper;
mod long_lists;
mod own_changes;
mod plans;
mod pod_states;
mod safety;
mod sandbox_reaper;
mod whole_pods;
