//! Where every value of a loaded configuration came from: which layer, and in a file which line.

use std::collections::BTreeMap;

use crate::problem::{Origin, Source};
use crate::settings::{Settings, keys};

/// Where every value of a loaded configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    pub(crate) by_key: BTreeMap<&'static str, Source>,
}

impl Default for Origins {
    /// All values are the built-in defaults.
    fn default() -> Self {
        let settings = Settings::default();
        let sources = keys().map(|key| {
            let raw = (key.get)(&settings).to_string();
            (key.name, Source { origin: Origin::Default, position: None, raw })
        });
        Self { by_key: sources.collect() }
    }
}

impl Origins {
    /// The layer that the value of a dotted key (`image_gc.period`) came from; `None` if there is no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Origin> {
        self.source(key).map(|source| &source.origin)
    }

    pub(crate) fn source(&self, key: &str) -> Option<&Source> {
        self.by_key.get(key)
    }
}
