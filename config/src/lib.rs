//! All settings of cri-gc: their names, defaults, layers and checks.
//!
//! [`load`] lays four layers over each other (later wins): the built-in defaults, the configuration file, environment
//! variables `CRI_GC__SECTION__KEY`, and the overrides of the command line. It returns [`Settings`] that are fit for
//! use together with where each value came from, or a [`ConfigError`] that lists every problem at once.
//!
//! ```
//! use cri_gc_config::{FileSource, Origin, Sources, load};
//!
//! let sources = Sources {
//!     file: FileSource::None,
//!     env: vec![("CRI_GC__IMAGE_GC__PERIOD".into(), "10m".into())],
//!     overrides: vec![("image_gc.mode".into(), "report".into())],
//! };
//! let loaded = load(&sources)?;
//! assert_eq!(loaded.settings.image_gc.period.as_secs(), 600);
//! assert_eq!(loaded.origins.get("image_gc.mode"), Some(&Origin::Flag));
//! # Ok::<(), cri_gc_config::ConfigError>(())
//! ```
//!
//! This crate must not read the process environment or the clock, nor any file but the given one: whoever starts the
//! program passes these in, so that a reload and a test see what they are given. It decides nothing about objects; what
//! a decision needs goes to `cri-gc-policy` by [`Settings::policy`].

mod check;
mod env;
mod error;
mod file;
mod forms;
mod keys;
mod layer;
mod load;
mod notes;
mod origin;
mod render;
mod settings;
mod suggest;
#[cfg(test)]
mod tests;

pub use env::ENV_PREFIX;
pub use error::{ConfigError, Position, Problem};
pub use file::{DEFAULT_PATH, FileSource};
pub use forms::endpoint::{Endpoint, EndpointError};
pub use keys::{key_names, section_names};
pub use load::{Loaded, Sources, load};
pub use origin::{Origin, Origins};
pub use render::{DEFAULT_TOML, changed_keys, render, render_value};
pub use settings::*;
pub use suggest::letters_apart;
