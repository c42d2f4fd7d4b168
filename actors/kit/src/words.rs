//! The words that all actors share: which loop, which kind of object.

use std::fmt;

use cri_gc_config::{Mode, Settings};
use serde::Serialize;

/// The four loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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

impl Loop {
    /// All of them, in the order of the chain.
    pub const ALL: [Self; 4] = [Self::ContainerGc, Self::SandboxGc, Self::LogGc, Self::ImageGc];

    /// What the settings let it do.
    #[must_use]
    pub fn mode(self, settings: &Settings) -> Mode {
        match self {
            Self::ContainerGc => settings.container_gc.mode,
            Self::SandboxGc => settings.sandbox_gc.mode,
            Self::LogGc => settings.log_gc.mode,
            Self::ImageGc => settings.image_gc.mode,
        }
    }

    /// Its name, which is that of its section of the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContainerGc => "container_gc",
            Self::SandboxGc => "sandbox_gc",
            Self::LogGc => "log_gc",
            Self::ImageGc => "image_gc",
        }
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A container, with its log.
    Container,
    /// A pod sandbox.
    Sandbox,
    /// The log directory of a pod.
    LogDir,
    /// A legacy link to a log.
    LogLink,
    /// An image, with all its names.
    Image,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Sandbox => "sandbox",
            Self::LogDir => "log directory",
            Self::LogLink => "log link",
            Self::Image => "image",
        }
    }
}
