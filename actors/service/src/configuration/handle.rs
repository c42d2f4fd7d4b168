//! Where to ask the configuration actor.

use std::sync::Arc;

use actix::{Addr, ArbiterHandle, Recipient};
use cri_gc_kit::generation::{Cause, Generation, Reconfigure};
use cri_gc_kit::recorder::{Peer, Recorder};
use cri_gc_kit::seams::{Clock, LogThreshold};
use cri_gc_kit::supervision::guard::{self, OnRestart, Pace};
use slog::Logger;

use super::actor::ConfigurationActor;
use super::messages::{AskConfiguration, ConfigurationState, Reading, Refused, Reload, Reloaded};
use super::watch::Watch;

/// Where to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Configuration {
    address: Addr<ConfigurationActor>,
}

impl Configuration {
    /// Starts the actor on an arbiter. `followers` get every new generation.
    #[must_use]
    pub fn start(
        on: &ArbiterHandle,
        (pace, on_restart): (Pace, OnRestart),
        first: Arc<Generation>,
        reading: Reading,
        followers: Vec<Recipient<Reconfigure>>,
        threshold: LogThreshold,
        (clock, recorder, log): (Clock, Recorder, Logger),
    ) -> Self {
        let make = move |_: &mut _| ConfigurationActor {
            at_start: Arc::clone(&first.settings),
            current: first,
            refused: None,
            reading,
            watch: Watch::default(),
            checks: 0,
            followers,
            threshold,
            clock,
            recorder,
            log,
        };
        Self { address: guard::start(on, pace, on_restart, make) }
    }

    /// Reads the configuration again. Reloads are made one after another.
    ///
    /// # Errors
    /// Why the new one is refused; the old one remains in force.
    pub async fn reload(&self, cause: Cause, by: Option<Peer>) -> Result<Reloaded, Refused> {
        self.address.send(Reload { cause, by }).await.unwrap_or_else(|_| {
            Err(Refused("the configuration part of cri-gc was restarted after a panic during the reload; try again, and see the log".to_owned()))
        })
    }

    /// What is in force. `None` while the actor is being restarted.
    pub async fn state(&self) -> Option<ConfigurationState> {
        self.address.send(AskConfiguration).await.ok()
    }
}
