//! File-system work: scans and removals in the log directories, and the service's own socket and lock. The only crate
//! that removes files, except the store of image records.
//!
//! - [`tree`]: a log directory with all its content.
//! - [`logs`]: the log files of one container, and the legacy links to them.
//! - `entries`: the entries of a directory. `own_change`: a removal leaves the modification time of the directory around it as it was.
//! - [`scan`]: what lies in the roots.
//! - [`database`]: the file of a small database in the state directory. [`replace`](mod@replace): a small file that is replaced as a whole.
//! - [`socket`]: the admin socket. [`lock`]: the lock on the state directory.
//! - [`root`]: the confinement that all work in the log roots shares: everything is opened relative to a root that is held open, and
//!   the kernel has to refuse symbolic links, `..` and mount points on the way (`openat2`).

pub mod database;
pub mod dirs;
mod entries;
pub mod links;
pub mod lock;
pub mod logs;
mod own_change;
pub mod replace;
pub mod root;
pub mod scan;
pub mod socket;
pub mod tree;
