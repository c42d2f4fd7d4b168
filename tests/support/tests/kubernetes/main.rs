//! The servers of Kubernetes are what tests of cri-gc rest on: these tests speak to them as any HTTP client does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job"
)]

mod api;
mod client;
mod faults;
mod kubelet;
mod watches;
