//! What the admin actor asks, and what it knows by itself.

use std::path::PathBuf;

use cri_gc_collectors::collector::{LoopHandle, LoopState};
use cri_gc_collectors::tools::Tools;
use cri_gc_kit::seams::LogThreshold;
use jiff::Timestamp;
use tonic::Status;

use super::arguments;
use crate::configuration::{Configuration, ConfigurationState};
use crate::history::History;

/// What the admin actor asks, and what it knows by itself.
#[derive(Clone)]
pub struct Subjects {
    /// The gateway, the pod-state provider, the keeper of image records, the recorder, file workers of its own, the clock, the probe, the log.
    pub tools: Tools,
    /// The four loops, in the order of the chain.
    pub loops: [LoopHandle; 4],
    /// The settings in force.
    pub configuration: Configuration,
    /// The history of events on disk.
    pub history: History,
    /// Where the pauses are kept.
    pub state_dir: PathBuf,
    /// Why they could not be read at the start, if so.
    pub unread_pauses: Option<String>,
    /// From which level on is logged.
    pub threshold: LogThreshold,
    /// Version of the program.
    pub version: &'static str,
    /// When the service started.
    pub started_at: Timestamp,
}

impl Subjects {
    /// How the loops are, as far as their supervisors answer.
    pub(super) async fn states(&self) -> Vec<LoopState> {
        let states = futures_util::future::join_all(self.loops.iter().map(LoopHandle::state)).await;
        states.into_iter().flatten().collect()
    }

    /// Whether the actors answer that everything depends on.
    pub async fn is_alive(&self) -> bool {
        let supervisors = self.loops.iter().map(LoopHandle::is_supervised);
        let (runtime, source, supervisors) = futures_util::join!(
            self.tools.gateway.runtime(),
            self.tools.pods.source(),
            futures_util::future::join_all(supervisors)
        );
        runtime.is_some() && source.is_some() && supervisors.into_iter().all(|answers| answers)
    }

    /// The settings in force.
    pub(super) async fn settings(&self) -> Result<ConfigurationState, Status> {
        self.configuration.state().await.ok_or_else(|| restarting("configuration actor"))
    }

    /// The loops of these names, in the order of the chain; all of them if none is named.
    pub(super) fn named(&self, names: &[String]) -> Result<Vec<LoopHandle>, Status> {
        let meant = arguments::loops(names)?;
        Ok(self.loops.iter().filter(|known| meant.contains(&known.of)).cloned().collect())
    }
}

/// An actor does not answer for now.
pub(super) fn restarting(who: &str) -> Status {
    Status::unavailable(format!(
        "the {who} of cri-gc is being restarted after a panic; try again, and see the log"
    ))
}
