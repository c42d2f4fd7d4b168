//! The program as an operator meets it: bad input of every kind, the forms of the output, and `demo`.
//!
//! All of these run the real binary. [`program`]: how it is run. [`expected`]: tables are compared with the files in
//! `expected/`; `CRI_GC_UPDATE_EXPECTED=1` writes these files again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job"
)]

mod completions;
mod config_show;
mod configuration;
#[cfg(feature = "demo")]
mod demo;
mod df;
#[cfg(feature = "demo")]
mod docs;
mod endpoints;
mod expected;
mod fake;
mod hostile;
mod import_kubelet;
mod plans;
mod program;
mod recent;
mod service_answers;
mod service_streams;
mod service_unreachable;
mod snapshots;
mod strangers;
mod sweeps;
mod terminals;
mod usage;
mod watching;
