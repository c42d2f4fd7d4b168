//! The socket of the admin API: made so that no client without the right can ever connect, and taken over from a dead process.
//!
//! It is bound under another name, given its mode and group there, and then put in its place in one step, which replaces
//! the socket of a dead process as well. The socket of a live one, and anything that is no socket, is left alone.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A process listens on it.
    #[error(
        "another process answers at {0}; if it is a cri-gc, there can be only one at a time (stop it, or set admin.socket)"
    )]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0} exists and is not a socket; it is left alone (remove it, or set admin.socket)")]
    NoSocket(PathBuf),
    /// The operating system refuses.
    #[error(
        "the admin socket {path} can't be made: {error}; run as root, or set admin.socket to a path that can be written \
             and has at most 107 bytes"
    )]
    Refused {
        /// The path.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

/// Listens on `path`: for its owner, and for the group of that number, if one is given. A directory that is missing is
/// made.
///
/// # Errors
/// A process listens there, something else is there, or the operating system refuses.
pub fn listen(path: &Path, group: Option<u32>) -> Result<UnixListener, SocketError> {
    let refused = |error| SocketError::Refused { path: path.to_owned(), error };
    check_free(path)?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(refused)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // Left by one that was killed in between; a process that starts holds the lock of the state directory, so none uses it.
    match fs::symlink_metadata(&new) {
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(&new).map_err(refused)?,
        _ => {}
    }
    let listener = UnixListener::bind(&new).map_err(refused)?;
    let placed = || -> io::Result<()> {
        if let Some(group) = group {
            std::os::unix::fs::chown(&new, None, Some(group))?;
        }
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        fs::rename(&new, path)
    };
    match placed() {
        Ok(()) => Ok(listener),
        Err(error) => {
            // If it can't be removed, the next start does it.
            let _ = fs::remove_file(&new);
            Err(refused(error))
        }
    }
}

/// The socket next to that of `path` for those who may only read: `admin-read.sock` next to `admin.sock`. A file has one group, and two
/// groups may connect.
#[must_use]
pub fn reading(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-read");
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

/// Removes the socket, if no process listens on it any more.
pub fn remove(path: &Path) {
    if check_free(path).is_ok() {
        // One that is left is taken over by the next start.
        let _ = fs::remove_file(path);
    }
}

/// Whether nothing is there, or the socket of a dead process.
fn check_free(path: &Path) -> Result<(), SocketError> {
    let refused = |error| SocketError::Refused { path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(SocketError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        // No process listens: the one that made it is dead.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        // A full queue belongs to a live process.
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(SocketError::InUse(path.to_owned())),
        Err(error) => Err(refused(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_of_a_dead_process_is_taken_over_and_that_of_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub").join("admin.sock");
        let first = listen(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(listen(&path, None), Err(SocketError::InUse(_))));
        remove(&path);
        assert!(path.exists(), "a process listens on it");
        drop(first);
        assert!(path.exists(), "a killed process leaves its socket");
        let second = listen(&path, None).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(second);
        remove(&path);
        assert!(!path.exists());
    }

    #[test]
    fn who_may_only_read_has_a_socket_next_to_the_other() {
        for (path, expected) in [
            ("/run/cri-gc/admin.sock", "/run/cri-gc/admin-read.sock"),
            ("/run/x/socket", "/run/x/socket-read"),
        ] {
            assert_eq!(reading(Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&path, None), Err(SocketError::NoSocket(_))));
        remove(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(listen(&link, None), Err(SocketError::NoSocket(_))), "nor is a link followed");
    }

    #[test]
    fn what_a_killed_start_left_does_not_stop_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(UnixListener::bind(folder.path().join("admin.sock.new")).unwrap());
        listen(&path, None).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let error = listen(&folder.path().join("x".repeat(200)), None).unwrap_err().to_string();
        assert!(error.contains("set admin.socket to a path"), "{error}");
    }
}
