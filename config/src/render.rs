//! Settings written out: `config show`, the default configuration, and what changed between two generations.

use crate::Settings;
use crate::layer::{flatten, to_toml};

/// The default configuration with its explanations, as it is shipped.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// The settings as a TOML document with every key, which [`load`](crate::load) reads back as equal settings.
#[must_use]
pub fn render(settings: &Settings) -> String {
    to_toml(settings).to_string()
}

/// The value of one dotted key as TOML; `None` if there is no such key.
#[must_use]
pub fn render_value(settings: &Settings, key: &str) -> Option<String> {
    flatten(settings).get(key).map(ToString::to_string)
}

/// The dotted names of the keys whose values differ, in the order of the default configuration.
#[must_use]
pub fn changed_keys(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (old, new) = (flatten(old), flatten(new));
    crate::key_names().filter(|key| old.get(key) != new.get(key)).collect()
}
