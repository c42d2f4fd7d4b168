//! The directories of cri-gc itself.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cri_gc_config::Settings;

/// Where the records of a node are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// The state directory.
    pub state: PathBuf,
    /// The directory of the copy; `None` for no copy.
    pub runtime: Option<PathBuf>,
}

impl Dirs {
    /// Those of the settings. The copy has a directory of its own for each state directory: several services of one machine
    /// may share the runtime directory.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let state = &settings.state;
        let names: Vec<_> = state.dir.iter().skip(1).map(|name| name.to_string_lossy()).collect();
        Self { state: state.dir.clone(), runtime: Some(state.runtime_dir.join(names.join("-"))) }
    }
}

impl From<PathBuf> for Dirs {
    fn from(state: PathBuf) -> Self {
        Self { state, runtime: None }
    }
}

/// Makes a directory that only its owner may enter, with its parents, if it is not there yet.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made,
    }
}
