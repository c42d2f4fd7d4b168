//! Paths, written as text whatever bytes they hold: `config show` must never fail. A path that was read from a
//! configuration is valid text anyhow.

use std::path::Path;

use serde::Serializer;

pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}
