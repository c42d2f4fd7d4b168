//! File-system work: scans and removals in the log directories, and the service's own socket and lock. The only module
//! that removes files.
//!
//! - [`Workers`]: plain threads that do what blocks; an actor's thread never does.
//! - [`tree`]: a log directory with all its content.
//! - [`logs`]: the log files of one container, and the legacy links to them.
//! - `own_change`: a removal leaves the modification time of the directory around it as it was.
//! - [`scan`]: what lies in the roots.
//! - [`socket`]: the admin socket. [`lock`]: the lock on the state directory. [`store`]: what is remembered of images there.
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

pub use workers::{WorkerGone, Workers};
