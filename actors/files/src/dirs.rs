//! The directories of cri-gc itself.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
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
        Self { state: state.dir.clone(), runtime: Some(state.runtime_dir.join(as_name(&state.dir))) }
    }
}

/// A path as one name, another one for each path, written as in a URL: `var%2Flib%2Fcri-gc`.
fn as_name(path: &Path) -> String {
    // The components, so that a `/` more or less makes no other name.
    let names: Vec<&[u8]> = path.iter().skip(1).map(OsStr::as_bytes).collect();
    let mut name = String::new();
    for byte in names.join(&b'/') {
        match byte {
            b'%' | b'/' | 0..=b' ' | 0x7f.. => name.push_str(&format!("%{byte:02X}")),
            byte => name.push(char::from(byte)),
        }
    }
    name
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_a_name_of_its_own() {
        let name = |path: &[u8]| as_name(Path::new(OsStr::from_bytes(path)));
        assert_eq!(name(b"/var/lib/cri-gc"), "var%2Flib%2Fcri-gc");
        assert_eq!(name(b"/var//lib/cri-gc/"), name(b"/var/lib/cri-gc"), "one directory");
        let paths: [&[u8]; 9] = [
            b"/a/b-c",
            b"/a-b/c",
            b"/a/b/c",
            b"/a%2Fb/c",
            b"/a/b%/c",
            b"/a/b/%c",
            b"/a\xff",
            b"/a\xfe",
            b"/a\xef\xbf\xbd",
        ];
        let names: std::collections::HashSet<String> = paths.iter().map(|path| name(path)).collect();
        assert_eq!(names.len(), paths.len(), "{names:?}");
        assert!(names.iter().all(|name| !name.contains('/')));
    }
}
