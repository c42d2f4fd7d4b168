//! Where every value of a loaded configuration came from: which layer, and in a file which line.

use std::collections::BTreeMap;

use crate::problem::{Origin, Source};
use crate::settings;

/// Where every value of a loaded configuration came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    pub(crate) by_key: BTreeMap<&'static str, Source>,
}

impl Origins {
    /// The layer that the value of a dotted key (`image_gc.period`) came from; `None` if there is no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Origin> {
        let key = settings::find(key)?;
        Some(self.source(key.name).map_or(&Origin::Default, |source| &source.origin))
    }

    pub(crate) fn source(&self, key: &str) -> Option<&Source> {
        self.by_key.get(key)
    }
}
