//! All settings of cri-gc: their names, defaults, layers and checks.
//!
//! [`load`] merges four layers (later ones win): the built-in defaults, the configuration file, environment variables
//! `CRI_GC__SECTION__KEY`, and the overrides of the command line. It returns valid [`Settings`] together with where each
//! value came from, or a [`ConfigError`] that lists every problem at once. What this means for an operator is in
//! `docs/behaviour.md`, "Configuration".
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
//! Every setting is declared once, in `settings`. This crate must not read the process environment or the clock, nor any
//! file but the given one: the caller passes these in, so that a reload and a test see what they are given. It decides
//! nothing about objects; [`Settings::policy`] is what `cri-gc-policy` needs for that.

mod check;
mod choices;
mod endpoint;
mod env;
mod file;
mod form;
mod layer;
mod load;
mod nearest;
mod notes;
mod origins;
mod policy;
mod problem;
mod render;
mod settings;
#[cfg(test)]
mod tests;
mod units;
mod written;

pub use choices::{LogFormat, LogLevel, Mode, PodSource, Unmanaged};
pub use endpoint::Endpoint;
pub use file::{DEFAULT_PATH, FileSource};
pub use load::{Loaded, Sources, admin_socket, load};
pub use nearest::letters_apart;
pub use origins::Origins;
pub use problem::{ConfigError, Origin, Position, Problem};
pub use render::{changed_keys, render, render_value};
pub use settings::{
    Admin, ContainerGc, ENV_PREFIX, ImageGc, KubeApi, Kubelet, Log, LogGc, Metrics, Pods, Runtime, SandboxGc,
    Settings, State, Supervision, key_names, section_names,
};
pub use units::parse_duration;
