//! Tests of the crate as a whole: what an operator writes, and what comes out of it.

mod defaults;
mod documents;
mod env;
mod file;
mod fit;
mod layers;
mod places;
mod ranges;
mod round_trip;

use std::path::PathBuf;

use crate::{ConfigError, FileSource, Loaded, Problem, Sources, load};

/// A configuration file that lives as long as the test.
pub(crate) struct ConfigFile {
    dir: tempfile::TempDir,
}

impl ConfigFile {
    pub(crate) fn new(text: impl AsRef<[u8]>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    pub(crate) fn source(&self) -> FileSource {
        FileSource::Explicit(self.path())
    }
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Loads a file with this text and nothing else.
pub(crate) fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    load(&Sources { file: ConfigFile::new(text).source(), ..Sources::default() })
}

/// Loads these variables and nothing else.
pub(crate) fn load_env(env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    load(&Sources { env: pairs(env), ..Sources::default() })
}

/// The problems of a configuration that must be refused.
pub(crate) fn problems(result: Result<Loaded, ConfigError>) -> Vec<Problem> {
    result.expect_err("the configuration must be refused").problems
}

/// The only problem of a configuration that must be refused.
pub(crate) fn problem(result: Result<Loaded, ConfigError>) -> Problem {
    let problems = problems(result);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}

/// The message without the path of the temporary file, after checking that it comes first.
pub(crate) fn file_message(file: &ConfigFile) -> String {
    let error = load(&Sources { file: file.source(), ..Sources::default() }).unwrap_err();
    let path = file.path().display().to_string();
    let message = error.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for line in message.lines() {
        assert!(line.starts_with(&path), "names no file: {line}");
    }
    message.replace(&path, "FILE")
}
