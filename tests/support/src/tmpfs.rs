//! A filesystem of a chosen size that fills up for real, and the measure of one. Needs root.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::poll::try_until;

/// How long a process of another test may have files of this one open.
const BUSY_FOR: Duration = Duration::from_secs(10);

/// How large a tmpfs is.
#[derive(Debug, Clone, Copy)]
pub struct TmpfsSize {
    /// Its capacity in MiB.
    pub mib: u64,
    /// How many inodes it has; `None` is the kernel's choice (half the pages of memory).
    pub inodes: Option<u64>,
}

impl TmpfsSize {
    /// This number of MiB, as many inodes as the kernel gives.
    #[must_use]
    pub fn mib(mib: u64) -> Self {
        Self { mib, inodes: None }
    }
}

/// A mounted tmpfs; unmounted on drop.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one on an existing folder.
    ///
    /// # Errors
    /// What the kernel says, e.g. `PermissionDenied` without CAP_SYS_ADMIN.
    pub fn mount(path: &Path, size: TmpfsSize) -> io::Result<Self> {
        let mut data = format!("size={}m,mode=755", size.mib);
        if let Some(inodes) = size.inodes {
            data.push_str(&format!(",nr_inodes={inodes}"));
        }
        let data = CString::new(data)?;
        mount("cri-gc-test", path, "tmpfs", MountFlags::empty(), Some(data.as_c_str()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Makes it read-only for all users, root too, or writable again.
    ///
    /// # Errors
    /// What the kernel says, e.g. `ResourceBusy` while a file on it is open for writing. Between its fork and its exec, a process that
    /// another test starts has all files of this one open, so that is tried again for a while.
    pub fn set_read_only(&self, read_only: bool) -> io::Result<()> {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        let remount = || match mount_remount(&self.path, flags, c"") {
            Err(Errno::BUSY) => None,
            done => Some(done.map_err(io::Error::from)),
        };
        try_until(BUSY_FOR, remount).unwrap_or_else(|| Err(Errno::BUSY.into()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Mounts of containers that lie on it are gone by now; a failure shows as a folder that can't be removed.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// What statvfs says of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub capacity: u64,
    /// Bytes that an ordinary user could still write.
    pub available: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes free.
    pub inodes_free: u64,
}

/// Measures the filesystem that `path` lies on.
pub fn space(path: &Path) -> Space {
    let stat =
        rustix::fs::statvfs(path).unwrap_or_else(|error| panic!("statvfs {}: {error}", path.display()));
    Space {
        capacity: stat.f_blocks * stat.f_frsize,
        available: stat.f_bavail * stat.f_frsize,
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    }
}
