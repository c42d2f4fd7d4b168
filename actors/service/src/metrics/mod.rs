//! Metrics, probes and a page for people, over HTTP (behaviour: Metrics).
//!
//! ```text
//! Prometheus, kubelet, browser ──TCP──> server (limits, paths) ──> answers ──messages──> the actors
//!                                                                     └─> figures (/metrics), readiness (/readyz), page (/)
//! ```
//!
//! Nothing is pushed, and no figure is shared between threads: the actor that knows a figure is asked for it when metrics are read. It only
//! reads, asks nothing of the runtime, and waits for no actor for longer than `answers::WITHIN`. It runs on a thread of its own,
//! for a probe has to be answered while the admin thread makes a plan of a full node.
//!
//! - `listen`: the address. `server`: what a client may cost, and which path is answered by whom.
//! - `answers`: what the actors answer. `readiness`: whether the service is ready, and why not.
//! - `figures`: the answers as metrics, written by `sheet`. `page`: the answers for people, written by `html`.

mod answers;
mod figures;
mod html;
mod listen;
mod page;
mod readiness;
mod server;
mod sheet;

use std::net::SocketAddr;

use actix::ArbiterHandle;

use crate::admin::Subjects;
pub use listen::ListenError;

/// Listens on `address` (HOST:PORT) and serves on the arbiter that `on` starts. Returns the address that is listened on.
///
/// # Errors
/// The address can't be listened on.
pub fn start(
    address: &str,
    on: impl FnOnce() -> ArbiterHandle,
    subjects: Subjects,
) -> Result<SocketAddr, ListenError> {
    let (listener, address) = listen::listen(address)?;
    on().spawn_fn(move || {
        actix_rt::spawn(server::serve(listener, subjects));
    });
    Ok(address)
}
