//! Where a value came from: which layer, and in a file which line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::Position;
use crate::keys;

/// The layer that a value came from; later layers win (in the order of the variants).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// The configuration file of this path.
    File(PathBuf),
    /// The environment variable of this name.
    Env(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Where every value of a loaded configuration came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    by_key: BTreeMap<&'static str, Source>,
}

/// What is known about the place of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    /// Where the value stands, if in a file.
    pub(crate) position: Option<Position>,
    /// The value as it was written there.
    pub(crate) raw: String,
}

impl Origins {
    /// The layer that the value of a dotted key (`image_gc.period`) came from; `None` if there is no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Origin> {
        let key = keys::find(key)?;
        Some(self.source(key.name).map_or(&Origin::Default, |source| &source.origin))
    }

    /// Line and column of the value of a dotted key, if it came from a file.
    #[must_use]
    pub fn position(&self, key: &str) -> Option<Position> {
        self.source(key)?.position
    }

    pub(crate) fn source(&self, key: &str) -> Option<&Source> {
        self.by_key.get(key)
    }

    pub(crate) fn set(&mut self, key: &'static str, source: Source) {
        self.by_key.insert(key, source);
    }
}
