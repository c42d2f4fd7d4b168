//! Merges the layers, and checks the result.

use std::path::PathBuf;

use crate::check::check;
use crate::env;
use crate::file::{self, FileSource};
use crate::merged::Merged;
use crate::notes::notes;
use crate::origins::Origins;
use crate::problem::ConfigError;
use crate::settings::Settings;

/// Everything that settings may come from, besides the built-in defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// The configuration file.
    pub file: FileSource,
    /// The process environment; variables without [`ENV_PREFIX`](crate::ENV_PREFIX) are ignored. If a name occurs
    /// twice, the later one wins.
    pub env: Vec<(String, String)>,
    /// What flags set: a dotted key (`image_gc.mode`) and its value, written as in an environment variable. The later
    /// one of two wins.
    pub overrides: Vec<(String, String)>,
}

/// Valid settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The merged settings: of the right types, in their ranges, and fitting together.
    pub settings: Settings,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Where each value came from.
    pub origins: Origins,
    /// What an operator should know of it although it is valid: a sentence each.
    pub notes: Vec<String>,
}

/// Loads the settings: built-in defaults, then the file, then the environment, then the overrides; later layers win, and a
/// list replaces a list.
///
/// # Errors
/// A [`ConfigError`] with every problem that can be found: unknown keys and values of a wrong type in any layer (even
/// where a later layer sets the key as well), values of the merged settings that are out of range, and values that do
/// not fit together.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut merged = Merged::default();
    let file = file::read(&mut merged, &sources.file);
    env::environment(&mut merged, &sources.env);
    env::overrides(&mut merged, &sources.overrides);
    let Merged { settings, origins, mut problems } = merged;
    let file = match file {
        Ok(file) => {
            check(&settings, &origins, &mut problems);
            file
        }
        // What a broken file would have set is unknown, so nothing can be said about the merged settings.
        Err(broken) => {
            problems.splice(..0, broken.problems);
            None
        }
    };
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let notes = notes(&settings, &origins, &sources.env);
    Ok(Loaded { settings, file, origins, notes })
}
