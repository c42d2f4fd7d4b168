//! The actors of cri-gc: all that runs, all that speaks to the runtime, and all that removes files.
//!
//! ```text
//! container_gc   sandbox_reaper   log_reaper   image_gc        four collectors, each on an arbiter of its own,
//!       │               │             │           │            all of one shape (collector)
//!       ├───────────────┴──────┬──────┴───────────┤
//!       ▼                      ▼                  ▼
//!   pod_state ─────────────> gateway            files          whose pods live / the runtime / the log directories
//! ```
//!
//! A collector observes (`observe`), asks `cri-gc-policy` for a plan, re-checks each removal right before it, and reports.
//! Actors share no memory: what passes between them is messages that own their data. No actor blocks its thread; what
//! blocks runs on the workers of `files`. Nothing here reads a clock or measures a disk but through `seams`.

pub mod admin;
pub mod collector;
pub mod configuration;
pub mod container_gc;
pub mod files;
pub mod gateway;
mod http_body;
pub mod image_gc;
pub mod image_records;
mod in_flight;
#[cfg(feature = "kubernetes")]
pub mod kube_api;
pub mod log_reaper;
#[cfg(feature = "kubernetes")]
pub mod node_events;
pub mod observe;
pub mod planning;
pub mod pod_state;
pub mod recorder;
pub mod sandbox_reaper;
pub mod seams;
pub mod supervision;
pub mod whole;

/// The name of this machine.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// An error with all its causes, for the first alone says little.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut told: Vec<String> = Vec::new();
    for cause in chain.map(ToString::to_string) {
        // Many repeat their cause.
        if !told.iter().any(|known| known.contains(&cause)) {
            told.push(cause);
        }
    }
    told.join(": ")
}

#[cfg(test)]
fn test_note(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
