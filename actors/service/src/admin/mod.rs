//! The admin actor and the socket that it is asked through (behaviour: Admin socket).
//!
//! ```text
//! client ──unix socket──> server (connections, who may call) ──> service (gRPC) ──message──> actor ──messages──> the others
//! ```
//!
//! It looks and hands on; it decides nothing and removes nothing. What it answers of a plan comes from the same plan that a
//! pass would make. It runs on a thread of its own: whatever clients do, no loop notices.
//!
//! - `actor`: the questions, and whom each is handed on to. `answers`: facts in the words of the API.
//! - `desk`: observations and plans, shared by all who ask at the same time.
//! - `confirming`: passes after a confirmation. `server`: listens, bounds the connections. `access`: who may call. `service`: the gRPC side.

mod access;
mod actor;
mod answers;
mod confirming;
mod desk;
mod server;
mod service;

use std::path::PathBuf;

use actix::ArbiterHandle;
use jiff::Timestamp;

use crate::configuration::Configuration;
pub use access::{AccessError, group_number};
use cri_gc_collectors::collector::LoopHandle;
use cri_gc_collectors::tools::Tools;
use cri_gc_files::socket::{self, SocketError};
use cri_gc_kit::seams::LogThreshold;
use cri_gc_kit::supervision::guard::{self, Pace};

/// What the admin actor asks, and what it knows by itself.
#[derive(Clone)]
pub struct Subjects {
    /// The gateway, the pod-state provider, the keeper of image records, the recorder, file workers of its own, the clock, the probe, the log.
    pub tools: Tools,
    /// The four loops, in the order of the chain.
    pub loops: [LoopHandle; 4],
    /// The settings in force.
    pub configuration: Configuration,
    /// From which level on is logged.
    pub threshold: LogThreshold,
    /// Version of the program.
    pub version: &'static str,
    /// When the service started.
    pub started_at: Timestamp,
}

/// The admin API, served.
pub struct Admin {
    path: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    stopped: tokio::sync::oneshot::Receiver<()>,
}

impl Admin {
    /// Makes the socket and serves on that arbiter. Beside root and this process's own user, members of `group` may call.
    ///
    /// # Errors
    /// The socket can't be made, or a live process has it.
    pub fn start(
        on: &ArbiterHandle,
        pace: Pace,
        path: PathBuf,
        group: Option<u32>,
        subjects: Subjects,
    ) -> Result<Self, SocketError> {
        let listener = socket::listen(&path, group)?;
        let fell = guard::say(subjects.tools.log.clone(), "admin", None);
        let log = subjects.tools.log.clone();
        let address = guard::start(on, pace, fell, move |_| actor::AdminActor::new(subjects));
        let access = access::Access::new(group);
        let (stop, told) = tokio::sync::oneshot::channel();
        let (tell, stopped) = tokio::sync::oneshot::channel();
        on.spawn(async move {
            server::serve(listener, access, address, told, log).await;
            let _ = tell.send(());
        });
        Ok(Self { path, stop: Some(stop), stopped })
    }

    /// Ends the calls that are under way and takes the socket away.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = self.stopped.await;
        socket::remove(&self.path);
    }
}
