//! The words that all actors share: which loop, which kind of object.

use std::time::Duration;

use cri_gc_config::{Mode, Settings};
pub use cri_gc_policy::Kind;
use serde::Serialize;

/// The four loops. Their names are those of their sections of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, strum::Display, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Loop {
    /// Dead containers (behaviour: Dead containers).
    ContainerGc,
    /// Sandboxes (behaviour: Sandboxes).
    SandboxGc,
    /// Log directories and legacy links (behaviour: Log directories).
    LogGc,
    /// Images (behaviour: Images).
    ImageGc,
}

/// What the sections of all loops set alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopSettings {
    /// What the loop may do.
    pub mode: Mode,
    /// How often it makes a pass by itself.
    pub period: Duration,
    /// How long a pass may take.
    pub deadline: Duration,
}

impl Loop {
    /// All of them, in the order of the chain.
    pub const ALL: [Self; 4] = [Self::ContainerGc, Self::SandboxGc, Self::LogGc, Self::ImageGc];

    /// The loop that removes objects of that kind.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Container => Self::ContainerGc,
            Kind::Sandbox => Self::SandboxGc,
            Kind::LogDir | Kind::LogLink => Self::LogGc,
            Kind::Image => Self::ImageGc,
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(self, all: &Settings) -> LoopSettings {
        let Settings { container_gc, sandbox_gc, log_gc, image_gc, .. } = all;
        let (mode, period, deadline) = match self {
            Self::ContainerGc => (container_gc.mode, container_gc.period, container_gc.deadline),
            Self::SandboxGc => (sandbox_gc.mode, sandbox_gc.period, sandbox_gc.deadline),
            Self::LogGc => (log_gc.mode, log_gc.period, log_gc.deadline),
            Self::ImageGc => (image_gc.mode, image_gc.period, image_gc.deadline),
        };
        LoopSettings { mode, period, deadline }
    }

    /// What the settings let it do.
    #[must_use]
    pub fn mode(self, settings: &Settings) -> Mode {
        self.settings(settings).mode
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
