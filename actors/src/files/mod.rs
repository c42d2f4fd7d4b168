//! File-system work: scans and removals in the log directories, and the service's own socket and lock. The only module
//! that removes files.
//!
//! - [`Workers`]: plain threads that do what blocks; an actor's thread never does.
//! - [`tree`]: a log directory with all its content.
//! - [`logs`]: the log files of one container, and the legacy links to them.
//! - `own_change`: a removal leaves the modification time of the directory around it as it was.
//! - [`scan`]: what lies in the roots.
//! - [`socket`]: the admin socket. [`lock`]: the lock on the state directory. [`store`]: what is remembered of images there, and
//!   in the runtime directory while it can't be written.
//! - [`root`]: the confinement that all work in the log roots shares: everything is opened relative to a root that is held open, and
//!   the kernel is told to refuse symbolic links, `..` and mount points on the way (`openat2`).

pub mod links;
pub mod lock;
pub mod logs;
mod own_change;
pub mod root;
pub mod scan;
pub mod socket;
pub mod store;
pub mod tree;
mod workers;

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

pub use workers::{WorkerGone, Workers};

/// Makes a directory that only its owner may enter, with its parents, if it is not there yet.
fn make_private_dir(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made,
    }
}
