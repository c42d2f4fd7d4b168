//! The address of the pod-state actor.

use actix::{Addr, ArbiterHandle, Recipient};
use slog::Logger;

use super::actor::Provider;
use super::error::SourceError;
use super::evidence::Seen;
use super::messages::{AskSource, Configure, Confirm, Judge, Resync, SourceState};
use super::sources::Sources;
use super::verdict::Verdict;
use cri_gc_gateway::Gateway;
use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::guard::{self, Pace};
use cri_gc_kit::workers::Workers;

/// Where to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PodStates {
    address: Addr<Provider>,
}

impl PodStates {
    /// Starts the actor on an arbiter.
    #[must_use]
    pub fn start(
        on: &ArbiterHandle,
        gateway: Gateway,
        files: Workers,
        clock: Clock,
        configuration: Configure,
        log: Logger,
    ) -> Self {
        let pace = Pace::from(&*configuration.settings);
        let crashed = guard::log_restart(log.clone(), "pod-state provider", None);
        let sources = Sources { gateway, files, clock, log };
        let make = move |_: &mut _| Provider::new(sources, configuration);
        Self { address: guard::start(on, pace, crashed, make) }
    }

    /// The states of the pods of which something was seen. If the actor cannot answer, nothing is known.
    pub async fn judge(&self, seen: Seen) -> Verdict {
        let gone = "the pod tracking of cri-gc was restarted after a panic during the check; the next pass checks again";
        self.address.send(Judge(seen)).await.unwrap_or_else(|_| Verdict::nothing(gone))
    }

    /// Reads the source.
    ///
    /// # Errors
    /// Why it could not be read, or cannot be right. What it proved before is void.
    pub async fn resync(&self) -> Result<(), SourceError> {
        self.address.send(Resync).await.unwrap_or(Err(SourceError::Failed))
    }

    /// Confirms that the pods that the brake holds are deleted. `None` while the actor is being restarted.
    pub async fn confirm(&self) -> Option<usize> {
        self.address.send(Confirm).await.ok()
    }

    /// The state of the source, and what is known by now. `None` while the actor is being restarted.
    pub async fn source(&self) -> Option<SourceState> {
        self.address.send(AskSource).await.ok()
    }

    /// Where new settings are sent to.
    #[must_use]
    pub fn follower(&self) -> Recipient<Reconfigure> {
        self.address.clone().recipient()
    }
}
