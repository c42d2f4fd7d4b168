//! A loop of the service, whichever of the four it is: for callers that treat them alike.

use actix::{Addr, Recipient};
use cri_gc_kit::recorder::Peer;
use cri_gc_kit::words::Loop;
use tokio::sync::mpsc::UnboundedSender;

use super::collect::Collect;
use super::messages::{AskState, Declined, Finish, Pause, Ping, RunPass};
use super::state::{LoopState, Paused};
use super::supervisor::Supervisor;
use crate::report::{PassReport, Progress};
use cri_gc_kit::generation::Reconfigure;

/// A loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LoopHandle {
    /// Which.
    pub of: Loop,
    run: Recipient<RunPass>,
    pause: Recipient<Pause>,
    ask: Recipient<AskState>,
    finish: Recipient<Finish>,
    ping: Recipient<Ping>,
    reconfigure: Recipient<Reconfigure>,
}

impl LoopHandle {
    /// The loop of that supervisor.
    #[must_use]
    pub fn new<C: Collect>(supervisor: &Addr<Supervisor<C>>) -> Self {
        Self {
            of: C::LOOP,
            run: supervisor.clone().recipient(),
            pause: supervisor.clone().recipient(),
            ask: supervisor.clone().recipient(),
            finish: supervisor.clone().recipient(),
            ping: supervisor.clone().recipient(),
            reconfigure: supervisor.clone().recipient(),
        }
    }

    /// Makes a pass now, after the one in progress. Its objects are reported as progress only.
    ///
    /// # Errors
    /// It is paused or stopping, or crashed during the pass.
    pub async fn run(&self, progress: Option<UnboundedSender<Progress>>) -> Result<PassReport, Declined> {
        let run = RunPass { progress, brief: true, ..RunPass::default() };
        self.run.send(run).await.unwrap_or(Err(Declined::Crashed(self.of)))
    }

    /// Pauses it, or with `None` resumes it, as that process has requested.
    pub async fn pause(&self, paused: Option<Paused>, by: Option<Peer>) {
        // A supervisor that crashes over this is restarted; its state shows whether it is paused.
        let _ = self.pause.send(Pause { paused, by }).await;
    }

    /// Its state. `None` while its supervisor is being restarted.
    pub async fn state(&self) -> Option<LoopState> {
        self.ask.send(AskState).await.ok()
    }

    /// Whether its supervisor answers, whatever the loop itself does.
    pub async fn is_supervised(&self) -> bool {
        self.ping.send(Ping).await.is_ok()
    }

    /// Shuts it down.
    pub async fn finish(&self) {
        // One that is gone has shut down.
        let _ = self.finish.send(Finish).await;
    }

    /// Where new settings are sent.
    #[must_use]
    pub fn follower(&self) -> Recipient<Reconfigure> {
        self.reconfigure.clone()
    }
}
