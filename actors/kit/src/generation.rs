//! Generations of settings, as every actor gets them.

use std::path::PathBuf;
use std::sync::Arc;

use actix::Message;
use cri_gc_config::{Loaded, Origins, Settings};
use jiff::Timestamp;

/// What had a configuration read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// The start of the program.
    Start,
    /// SIGHUP.
    Signal,
    /// The file has changed.
    File,
    /// The admin socket.
    Admin,
}

impl Cause {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Settings in force, and where they come from. It never changes; a reload makes another one.
#[derive(Debug, Clone)]
pub struct Generation {
    /// 1 at the start.
    pub number: u64,
    /// The settings, whole.
    pub settings: Arc<Settings>,
    /// When they were read.
    pub loaded_at: Timestamp,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// What had them read.
    pub cause: Cause,
    /// Where each value comes from.
    pub origins: Origins,
}

impl Generation {
    /// The first one.
    #[must_use]
    pub fn first(loaded: Loaded, now: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            number: 1,
            settings: Arc::new(loaded.settings),
            loaded_at: now,
            file: loaded.file,
            cause: Cause::Start,
            origins: loaded.origins,
        })
    }

    /// Settings that come from no layers: those of a one-shot command, or of a test.
    #[must_use]
    pub fn only(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            number: 1,
            settings,
            loaded_at: Timestamp::UNIX_EPOCH,
            file: None,
            cause: Cause::Start,
            origins: Origins::default(),
        })
    }
}

/// A new generation of settings.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Reconfigure(pub Arc<Generation>);
