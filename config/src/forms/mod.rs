//! How values are written: durations, sizes, numbers, endpoints, patterns, and text that may be left empty.
//!
//! Each module reads one form with an error that says what is wrong, and writes it back so that it reads again as the
//! same value. Ranges are not checked here but in `check`, where the origin of a value is known.

pub(crate) mod duration;
pub(crate) mod endpoint;
pub(crate) mod number;
pub(crate) mod optional;
pub(crate) mod path;
pub(crate) mod patterns;
pub(crate) mod size;

use serde::de;

/// What a reader of text says to values that are no text; the default messages of serde name Rust types.
pub(crate) fn not_text<E: de::Error>(found: impl std::fmt::Display, wanted: &str) -> E {
    E::custom(format_args!("`{found}` is not {wanted}"))
}
