//! The lock on the state directory: one service or sweep at a time works with it.
//!
//! It is a lock of the kernel on an open file, so it ends with its process, however that ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Name of the file that is locked.
const NAME: &str = "lock";

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A service, or a sweep, holds it.
    #[error("another cri-gc{} works with {}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .dir.display())]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The process, if it says which it is.
        pid: Option<u32>,
    },
    /// The operating system refuses.
    #[error("state.dir {} can't be used: {error}; run as root, or set state.dir to a directory that can be written", .dir.display())]
    Refused {
        /// The directory.
        dir: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

/// Takes the lock, for a service or a sweep. A directory that is missing is made, for its owner only.
///
/// # Errors
/// Another process holds it, or the directory can't be used.
pub fn hold(dir: &Path) -> Result<StateLock, LockError> {
    let refused = |error| LockError::Refused { dir: dir.to_owned(), error };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused)?;
    let path = dir.join(NAME);
    // Not emptied before it is held: what it says is who holds it.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut file = file.map_err(refused)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(LockError::Held { dir: dir.to_owned(), pid: holder(&mut file) });
        }
        Err(error) => return Err(refused(error.into())),
    }
    // For people only: the lock holds whatever the file says.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(StateLock { _file: file })
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_at_a_time_and_others_are_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("state");
        let lock = hold(&dir).unwrap();
        let told = |error: LockError| matches!(error, LockError::Held { pid: Some(pid), .. } if pid == std::process::id());
        assert!(told(hold(&dir).unwrap_err()));
        drop(lock);
        hold(&dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = hold(&file.join("state")).unwrap_err().to_string();
        assert!(error.contains("set state.dir"), "{error}");
    }
}
