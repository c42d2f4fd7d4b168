//! File-system work: scans and removals in the log directories. The only module that removes files.
//!
//! - [`Workers`]: plain threads that do what blocks; an actor's thread never does.
//! - [`tree`]: a log directory with all its content.
//! - [`logs`]: the log files of one container, and the legacy links to them.
//! - [`scan`]: what lies in the roots.
//! - [`root`]: the confinement that all of them share: everything is opened relative to a root that is held open, and
//!   the kernel is told to refuse symbolic links, `..` and mount points on the way (`openat2`).

pub mod links;
pub mod logs;
pub mod root;
pub mod scan;
pub mod tree;
mod workers;

pub use workers::{WorkerGone, Workers};
