//! Where the records of a process are kept.

use cri_gc_config::Settings;
use cri_gc_files::dirs::Dirs;

use crate::store::{Origin, path_in};

/// Where the records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// Nowhere: they end with the process.
    Memory,
    /// In the store of these directories, which no other process uses meanwhile.
    Store(Dirs, Origin),
    /// They begin with those of the store of these directories, and nothing is written.
    Copy(Dirs, Origin),
}

impl Home {
    /// In the store of the settings.
    #[must_use]
    pub fn store(settings: &Settings) -> Self {
        Self::Store(Dirs::of(settings), Origin::here(settings))
    }

    /// A copy of that, for a command that only reads: it does not disturb a service that uses the store.
    #[must_use]
    pub fn copy(settings: &Settings) -> Self {
        Self::Copy(Dirs::of(settings), Origin::here(settings))
    }

    /// What is kept, and where.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Memory => "the image records".to_owned(),
            Self::Store(dirs, _) | Self::Copy(dirs, _) => {
                format!("the image records in {}", path_in(&dirs.state).display())
            }
        }
    }
}
