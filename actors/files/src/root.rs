//! A directory that nothing may leave: everything below it is opened relative to it, by the kernel's own rules.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, open, openat2, unlinkat};
use rustix::io::Errno;

/// Why something below a root was not touched.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A mount point lies in it: what is behind is not cri-gc's to remove.
    #[error(
        "{0} is a mount point, so it is kept; unmount it (umount {0}), then a later pass removes the directory"
    )]
    MountPoint(PathBuf),
    /// The name or path would lead out of the root.
    #[error("not removed: {0} is outside {1}")]
    Outside(PathBuf, PathBuf),
    /// Directories nested deeper than any log directory is.
    #[error("{0} has too many nested directories; remove it by hand")]
    TooDeep(PathBuf),
    /// The kernel cannot confine a path to a directory.
    #[error(
        "openat2 is not available, so nothing can be removed safely: {0}; Linux before 5.6 does not know it, and a seccomp filter may \
         forbid it (RestrictSUIDSGID= of systemd does)"
    )]
    NoConfinement(io::Error),
    /// What the operating system says.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Io(PathBuf, io::Error),
}

impl FileError {
    /// What an error of the operating system means for the object at `place`.
    pub(crate) fn at(place: &Path) -> impl Fn(Errno) -> Self + '_ {
        move |error| match error {
            Errno::NOSYS => Self::NoConfinement(error.into()),
            Errno::XDEV => Self::MountPoint(place.to_owned()),
            error => Self::Io(place.to_owned(), error.into()),
        }
    }
}

/// An opened root.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    /// The same without links on the way, as a runtime may name it.
    real: Option<PathBuf>,
    directory: OwnedFd,
}

/// No symbolic link anywhere on the way, no way out, no other filesystem. A link in the last place is opened as itself, and only with
/// `O_PATH`: that is how links are removed.
const CONFINED: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

impl Root {
    /// Opens a root; `None` if there is no such directory. The root itself may be reached through links: the operator
    /// named it.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: &Path) -> Result<Option<Self>, FileError> {
        match open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(directory) => {
                let real = path.canonicalize().ok();
                Ok(Some(Self { path: path.to_owned(), real, directory }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(FileError::at(path)(error)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The part of an absolute `path` below this root; `None` if it is not below it, or is not written plainly (`..`).
    #[must_use]
    pub fn relative<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let by_its_name = path.strip_prefix(&self.path).ok();
        let inside = by_its_name.or_else(|| path.strip_prefix(self.real.as_ref()?).ok())?;
        let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
        (plain && !inside.as_os_str().is_empty()).then_some(inside)
    }

    /// Opens a directory below the root; `None` if it is not there.
    ///
    /// # Errors
    /// A link or a mount point on the way, a path that leaves the root, or what the operating system says.
    pub fn directory(&self, relative: &Path) -> Result<Option<OwnedFd>, FileError> {
        open_directory(self.directory.as_fd(), relative, &self.path.join(relative))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Opens a directory beneath `directory`, as [`open_beneath`] does.
pub(crate) fn open_directory(
    directory: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    place: &Path,
) -> Result<Option<OwnedFd>, FileError> {
    open_beneath(directory, name, OFlags::DIRECTORY | OFlags::RDONLY, place)
}

/// Opens something beneath `directory` without following a link or crossing a mount (see [`CONFINED`]); `None` if it is not there.
pub(crate) fn open_beneath(
    directory: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    flags: OFlags,
    place: &Path,
) -> Result<Option<OwnedFd>, FileError> {
    loop {
        match openat2(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), CONFINED) {
            Ok(opened) => return Ok(Some(opened)),
            Err(Errno::NOENT) => return Ok(None),
            // The kernel saw a rename or mount on the way and asks for another attempt.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(FileError::at(place)(error)),
        }
    }
}

/// Removes the entry `name` of a directory; whether it was there.
pub(crate) fn unlink(
    directory: impl AsFd,
    name: impl rustix::path::Arg,
    flags: AtFlags,
    place: &Path,
) -> Result<bool, FileError> {
    match unlinkat(directory, name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(FileError::at(place)(error)),
    }
}
