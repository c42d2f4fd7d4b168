//! The lock on the state directory: one service or sweep at a time uses it.
//!
//! It is a lock of the kernel on an open file, so it ends with its process, however that ends. Where the state directory can't be
//! made or locked (a full or read-only disk), the lock is in the runtime directory, where the records are then, too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use cri_gc_kit::workers::{WorkerGone, wait_within};

use crate::dirs::{Dirs, make_private_dir};

/// Name of the file that is locked.
const NAME: &str = "lock";

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct StateLock {
    /// That in the state directory, that in the runtime directory, or both.
    files: Vec<File>,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A service, or a sweep, holds it.
    #[error("another cri-gc{} uses {}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .dir.display())]
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

impl LockError {
    /// Whether the lock could not be taken and is certainly held by no process: there is no file to be held.
    #[must_use]
    pub fn is_held_by_no_process(&self) -> bool {
        let no_file = |dir: &Path| match dir.join(NAME).symlink_metadata() {
            Ok(_) => false,
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        // One that hangs is not asked again.
        matches!(self, Self::Refused { dir, error } if error.kind() != ErrorKind::TimedOut && no_file(dir))
    }
}

/// Takes the lock, for a service or a sweep. A directory that is missing is made, for its owner only.
///
/// # Errors
/// Another process holds it, or the directory can't be used.
pub fn hold(dir: &Path) -> Result<StateLock, LockError> {
    let refused = |error| LockError::Refused { dir: dir.to_owned(), error };
    make_private_dir(dir).map_err(refused)?;
    let path = dir.join(NAME);
    // Not emptied before it is held: what it says is who holds it.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = match file {
        // A file that can't be written can be locked.
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => File::open(&path).map_err(|_| error),
        file => file,
    };
    let mut file = file.map_err(refused)?;
    lock(dir, &mut file, FlockOperation::NonBlockingLockExclusive)?;
    // For people only: the lock is in force whatever the file says.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(StateLock { files: vec![file] })
}

/// How long the directories may take.
const WITHIN: Duration = Duration::from_secs(10);

/// [`hold_either`] for a process that has no actors yet. It waits for a filesystem that hangs, but not without end.
///
/// # Errors
/// The same, and that a directory did not answer in time.
pub fn hold_for_process(dirs: &Dirs) -> Result<StateLock, LockError> {
    let held = {
        let dirs = dirs.clone();
        wait_within(WITHIN, move || hold_either(&dirs))
    };
    held.unwrap_or_else(|error| {
        let kind = if matches!(error, WorkerGone::Hung(_)) { ErrorKind::TimedOut } else { ErrorKind::Other };
        Err(LockError::Refused { dir: dirs.state.clone(), error: io::Error::new(kind, error) })
    })
}

/// Takes the lock for records that are kept in these directories: that of the state directory, or that of the runtime
/// directory where no process can hold the other. The process that gets the one checks for a holder of the other, so that there is one
/// at a time also while the disk becomes full, or is cleared.
///
/// # Errors
/// Another process holds one of them, the state directory can't be used and the runtime directory can't either, or something else is in
/// the place of the state directory: that is no disk that will be writable again.
pub fn hold_either(dirs: &Dirs) -> Result<StateLock, LockError> {
    if fs::metadata(&dirs.state).is_ok_and(|found| !found.is_dir()) {
        let error = io::Error::new(ErrorKind::NotADirectory, "it exists and is not a directory");
        return Err(LockError::Refused { dir: dirs.state.clone(), error });
    }
    let Some(runtime) = &dirs.runtime else { return hold(&dirs.state) };
    let refused = match hold(&dirs.state) {
        Ok(lock) => {
            return match check(runtime) {
                Err(held @ LockError::Held { .. }) => Err(held),
                // There is none, or none that a holder uses.
                Ok(()) | Err(LockError::Refused { .. }) => Ok(lock),
            };
        }
        Err(refused) if refused.is_held_by_no_process() => refused,
        Err(error) => return Err(error),
    };
    let lock = match hold(runtime) {
        Ok(lock) => lock,
        Err(held @ LockError::Held { .. }) => return Err(held),
        Err(LockError::Refused { .. }) => return Err(refused),
    };
    match hold(&dirs.state) {
        Ok(other) => Ok(StateLock { files: lock.files.into_iter().chain(other.files).collect() }),
        Err(held @ LockError::Held { .. }) => Err(held),
        Err(LockError::Refused { .. }) => Ok(lock),
    }
}

/// Whether a process holds it; makes nothing. For a moment it holds a shared lock itself: it is for the holder of the other
/// directory only, so a process that is refused meanwhile is refused rightly.
fn check(dir: &Path) -> Result<(), LockError> {
    let refused = |error| LockError::Refused { dir: dir.to_owned(), error };
    let mut file = File::open(dir.join(NAME)).map_err(refused)?;
    lock(dir, &mut file, FlockOperation::NonBlockingLockShared)
}

/// Locks the file, or says who holds it.
fn lock(dir: &Path, file: &mut File, how: FlockOperation) -> Result<(), LockError> {
    flock(&*file, how).map_err(|error| match error {
        Errno::WOULDBLOCK => {
            let mut text = String::new();
            let read = file.read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            LockError::Held { dir: dir.to_owned(), pid }
        }
        error => LockError::Refused { dir: dir.to_owned(), error: error.into() },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cri_gc_test_support::{Tmpfs, TmpfsSize};

    use super::*;

    #[test]
    fn one_process_holds_it_at_a_time_and_others_learn_which() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("state");
        let lock = hold(&dir).unwrap();
        let is_ours = |error: LockError| matches!(error, LockError::Held { pid: Some(pid), .. } if pid == std::process::id());
        assert!(is_ours(hold(&dir).unwrap_err()));
        drop(lock);
        hold(&dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = hold(&file.join("state")).unwrap_err().to_string();
        assert!(error.contains("set state.dir"), "{error}");
    }
    /// Whether a process holds the lock for these directories.
    fn is_held(dirs: &Dirs) -> bool {
        match hold_either(dirs) {
            Ok(_) => false,
            Err(LockError::Held { pid, .. }) => pid == Some(std::process::id()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn where_the_state_directory_can_not_be_made_the_runtime_directory_is_locked_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        fs::write(&disk, "a file, in which no directory can be made").unwrap();
        let dirs = Dirs { state: disk.join("state"), runtime: Some(folder.path().join("run/state")) };
        let lock = hold_either(&dirs).unwrap();
        assert!(is_held(&dirs));
        // The disk can be written again: the process that takes the lock there finds the one that runs already.
        fs::remove_file(&disk).unwrap();
        assert!(is_held(&dirs));
        drop(lock);
        let lock = hold_either(&dirs).unwrap();
        assert!(disk.join("state/lock").exists() && is_held(&dirs));
        drop(lock);
        assert!(!is_held(&dirs));
    }

    #[test]
    fn a_file_in_the_place_of_the_state_directory_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let dirs =
            Dirs { state: folder.path().join("state"), runtime: Some(folder.path().join("run/state")) };
        fs::write(&dirs.state, "precious").unwrap();
        let error = hold_either(&dirs).unwrap_err().to_string();
        assert!(error.contains("/state can't be used: it exists and is not a directory; "), "{error}");
        assert!(!folder.path().join("run").exists());
        assert_eq!(fs::read_to_string(&dirs.state).unwrap(), "precious");
    }

    #[test]
    fn a_lock_that_may_be_held_is_not_replaced_by_that_in_the_runtime_directory() {
        let folder = tempfile::tempdir().unwrap();
        let dirs = Dirs { state: folder.path().join("state"), runtime: Some(folder.path().join("run")) };
        // It can't be opened for another reason than that there is none.
        fs::create_dir_all(dirs.state.join(NAME)).unwrap();
        assert!(matches!(hold_either(&dirs), Err(LockError::Refused { dir, .. }) if dir == dirs.state));
        assert!(!folder.path().join("run").exists());
    }

    #[test]
    fn the_lock_on_a_disk_that_is_read_only_or_full_is_held_by_one_process_at_a_time() {
        for was_there in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let disk = folder.path().join("disk");
            fs::create_dir(&disk).unwrap();
            let tmpfs = match Tmpfs::mount(&disk, TmpfsSize { mib: 1, inodes: Some(16) }) {
                Ok(tmpfs) => tmpfs,
                Err(error) => return println!("skipped: no tmpfs can be mounted here ({error})"),
            };
            let dirs = Dirs { state: disk.join("state"), runtime: Some(folder.path().join("run/state")) };
            if was_there {
                drop(hold_either(&dirs).unwrap());
            }
            tmpfs.set_read_only(true).unwrap();
            let lock = hold_either(&dirs).unwrap();
            assert_eq!(folder.path().join("run").exists(), !was_there);
            assert!(is_held(&dirs));
            tmpfs.set_read_only(false).unwrap();
            assert!(is_held(&dirs));
            drop(lock);
            // No inode is left.
            let mut files = (0..16).map(|number| disk.join(number.to_string()));
            while files.next().is_some_and(|file| fs::write(file, "").is_ok()) {}
            let lock = hold_either(&dirs).unwrap();
            assert!(is_held(&dirs));
            drop(lock);
        }
    }
}
