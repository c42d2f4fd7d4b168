//! The configuration while the service runs: generations of settings, and how a new one comes about (behaviour: Reloading the configuration).
//!
//! A generation never changes. A reload reads and checks the whole file first; a bad one is refused and changes nothing, a
//! good one becomes the next generation and goes to every actor as one message.
//!
//! - here: what a generation is, and the messages. `actor`: the reload. `watch`: whether the file has changed.

mod actor;
mod watch;

use std::sync::Arc;

use actix::{Addr, ArbiterHandle, Message, Recipient};
use cri_gc_config::{Settings, Sources};
use cri_gc_kit::generation::{Cause, Generation, Reconfigure};
use jiff::Timestamp;
use slog::Logger;

use actor::ConfigurationActor;
use cri_gc_kit::recorder::Recorder;
use cri_gc_kit::seams::{Clock, LogThreshold};
use cri_gc_kit::supervision::guard::{self, Fell, Pace};
use cri_gc_kit::workers::Workers;

/// Read the configuration anew.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Reloaded, Refused>")]
pub struct Reload(pub Cause);

/// A reload that took effect.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// What is in force now.
    pub state: ConfigurationState,
    /// Keys that have another value now.
    pub changed: Vec<&'static str>,
}

/// Why a reload changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the new configuration is refused, the old one holds: {0}")]
pub struct Refused(pub String);

/// What is in force?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ConfigurationState")]
pub struct AskConfiguration;

/// What is in force.
#[derive(Debug, Clone)]
pub struct ConfigurationState {
    /// The generation.
    pub generation: Arc<Generation>,
    /// Keys whose new values wait for a restart.
    pub waiting_for_restart: Vec<&'static str>,
    /// The newest reload that was refused since: why and when.
    pub refused: Option<(String, Timestamp)>,
    /// How often the file has been looked at.
    pub looks: u64,
}

/// What a reload needs.
pub struct Reading {
    /// The layers.
    pub sources: Sources,
    /// What this program cannot do although it is well written, if anything; such a configuration is refused.
    pub cannot: fn(&Settings) -> Option<String>,
    /// Who reads: files block.
    pub files: Workers,
    /// Keys that are read once, at the start: exact ones, or beginnings that end with a dot.
    pub at_start: &'static [&'static str],
}

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
        (pace, fell): (Pace, Fell),
        first: Arc<Generation>,
        reading: Reading,
        followers: Vec<Recipient<Reconfigure>>,
        threshold: LogThreshold,
        (clock, recorder, log): (Clock, Recorder, Logger),
    ) -> Self {
        let make = move |_: &mut _| {
            ConfigurationActor::new(first, reading, followers, threshold, clock, recorder, log)
        };
        Self { address: guard::start(on, pace, fell, make) }
    }

    /// Reads the configuration anew. Reloads are made one after another.
    ///
    /// # Errors
    /// Why the new one is refused; the old one holds.
    pub async fn reload(&self, cause: Cause) -> Result<Reloaded, Refused> {
        let gone =
            || Refused("the configuration actor was restarted during the reload; try again".to_owned());
        self.address.send(Reload(cause)).await.unwrap_or_else(|_| Err(gone()))
    }

    /// What is in force. `None` while the actor is being restarted.
    pub async fn state(&self) -> Option<ConfigurationState> {
        self.address.send(AskConfiguration).await.ok()
    }
}
