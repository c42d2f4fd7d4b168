//! The modelled node: sandboxes, containers, images, the disk and the log files, with the rules of containerd; [`crio`] has
//! what CRI-O does differently.
//!
//! The server and the tests act on the same [`Node`], through the same methods, under one lock; so a test can do
//! between two RPCs, or just before one, whatever could happen on a node. Nothing here speaks gRPC or knows of faults.

mod containers;
mod crio;
mod disk;
mod images;
mod logs;
mod names;
mod node;
mod objects;
mod pods;

pub use disk::{Disk, Usage, Volume};
pub(crate) use node::{Counted, Odd};
pub use node::{Node, Paths};
pub use objects::{Container, Image, ImageVolume, Sandbox};
