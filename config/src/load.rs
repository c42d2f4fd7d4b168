//! Merges the layers, and checks the result.

use std::path::PathBuf;

use config::Config;

use crate::check::check;
use crate::env;
use crate::file::{self, FileSource};
use crate::layer::Layer;
use crate::notes::notes;
use crate::origins::Origins;
use crate::problem::{ConfigError, Origin, Problem};
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
    let (env, overrides) = (env::environment(&sources.env), env::overrides(&sources.overrides));
    let (file, file_layer) = match file::read(&sources.file) {
        Ok(read) => read,
        // What a broken file would have set is unknown, so nothing can be said about the merged settings.
        Err(broken) => {
            return Err(ConfigError { problems: [broken, env.problems, overrides.problems].concat() });
        }
    };
    let layers = [Layer::defaults(), file_layer, env, overrides];
    let mut problems: Vec<_> = layers.iter().flat_map(|layer| layer.problems.clone()).collect();
    let origins = Origins { by_key: layers.iter().flat_map(Layer::sources).collect() };
    let settings = merged(layers)?;
    check(&settings, &origins, &mut problems);
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let notes = notes(&settings, &sources.env);
    Ok(Loaded { settings, file, origins, notes })
}

/// The admin socket as far as settings name it that may be invalid: for a client that looks for a service, which may still be running
/// with older settings. `None` if the operator named a file that can't be read.
#[must_use]
pub fn admin_socket(sources: &Sources) -> Option<PathBuf> {
    let file_layer = match (file::read(&sources.file), &sources.file) {
        (Ok((_, layer)), _) => layer,
        (Err(_), FileSource::Explicit(_)) => return None,
        (Err(_), FileSource::Default(_) | FileSource::None) => Layer::default(),
    };
    let (env, overrides) = (env::environment(&sources.env), env::overrides(&sources.overrides));
    Some(merged([Layer::defaults(), file_layer, env, overrides]).ok()?.admin.socket)
}

/// The values of all layers that can be read.
fn merged(layers: [Layer; 4]) -> Result<Settings, ConfigError> {
    let builder = layers.into_iter().fold(Config::builder(), |merged, layer| merged.add_source(layer));
    // Each layer can be read by itself, so an error here is one of cri-gc. It names the key.
    builder.build().and_then(Config::try_deserialize).map_err(|error| {
        let remedy = "report this as a bug of cri-gc";
        ConfigError { problems: vec![Problem::of(Origin::Default, None, error.to_string(), remedy)] }
    })
}
