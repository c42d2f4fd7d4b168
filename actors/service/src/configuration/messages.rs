//! What the configuration actor is asked, and what it answers.

use std::sync::Arc;

use actix::Message;
use cri_gc_config::{Settings, Sources};
use cri_gc_kit::generation::{Cause, Generation};
use cri_gc_kit::recorder::Peer;
use cri_gc_kit::workers::Workers;
use jiff::Timestamp;

/// Read the configuration again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Reloaded, Refused>")]
pub struct Reload {
    /// What asks for it.
    pub cause: Cause,
    /// Who has requested it; `None` where no client has.
    pub by: Option<Peer>,
}

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
#[error("reload refused, the previous configuration remains in force: {0}")]
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
    /// How often the file has been checked.
    pub checks: u64,
}

/// What a reload needs.
pub struct Reading {
    /// The layers.
    pub sources: Sources,
    /// What this program cannot do although it is valid, if anything; such a configuration is refused.
    pub cannot: fn(&Settings) -> Option<String>,
    /// Who reads: files block.
    pub files: Workers,
    /// Keys that are read once, at the start: exact ones, or beginnings that end with a dot.
    pub at_start: &'static [&'static str],
}
