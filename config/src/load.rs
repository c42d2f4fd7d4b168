//! Lays the layers over each other, and checks what comes out.

use std::path::PathBuf;

use config::Config;

use crate::file::{self, FileSource, Outcome};
use crate::layer::Layer;
use crate::notes;
use crate::{ConfigError, Origin, Origins, Problem, Settings, check, env};

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

/// Settings that are fit for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The merged settings: of the right forms, in their ranges, and fitting together.
    pub settings: Settings,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Where each value came from.
    pub origins: Origins,
    /// What an operator should know of it although it is valid: a sentence each.
    pub notes: Vec<String>,
}

/// Loads the settings: built-in defaults, then the file, then the environment, then the overrides; later wins, and a
/// list replaces a list.
///
/// # Errors
/// A [`ConfigError`] with every problem that can be told: unknown keys and values of a wrong form in any layer (even
/// where a later layer sets the key as well), values of the merged settings that are out of range, and values that do
/// not fit together.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let file = file::read(&sources.file, &mut problems);
    let env = env::environment(&sources.env, &mut problems);
    let overrides = env::overrides(&sources.overrides, &mut problems);
    let (path, file) = match file {
        Outcome::Absent => (None, Layer::default()),
        Outcome::Layer(path, layer) => (Some(path), layer),
        // What a broken file would have set is unknown, so that nothing can be said about the whole.
        Outcome::Broken => return Err(ConfigError::new(problems)),
    };

    let mut origins = Origins::default();
    for (key, source) in [&file, &env, &overrides].into_iter().flat_map(Layer::sources) {
        origins.set(key, source.clone());
    }
    let settings = match merge([Layer::defaults(), file, env, overrides]) {
        Ok(settings) => settings,
        Err(problem) => {
            problems.push(*problem);
            return Err(ConfigError::new(problems));
        }
    };
    // Of a value that was refused only its default is left; what follows from that is no news to the operator.
    let refused: Vec<String> = problems.iter().filter_map(|problem| problem.key.clone()).collect();
    problems.extend(check::check(&settings, &origins, &refused));
    if problems.is_empty() {
        let notes = notes::notes(&settings, &origins, &sources.env);
        Ok(Loaded { settings, file: path, origins, notes })
    } else {
        Err(ConfigError::new(problems))
    }
}

/// The merged settings. Every layer is known to be readable by itself, so an error here is one of ours; it is told
/// like any other all the same.
fn merge(layers: [Layer; 4]) -> Result<Settings, Box<Problem>> {
    let problem = |error: config::ConfigError| {
        Box::new(Problem {
            origin: Origin::Default,
            position: None,
            key: None,
            value: None,
            what: error.to_string(),
            allowed: None,
            remedy: "please report this".to_owned(),
        })
    };
    let builder = layers.into_iter().fold(Config::builder(), |all, layer| all.add_source(layer));
    // Which key it is, the error says.
    builder.build().and_then(Config::try_deserialize).map_err(problem)
}
