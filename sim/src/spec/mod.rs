//! What to put on a modelled node: plain descriptions, with defaults that are right for most tests. They do nothing by
//! themselves; [`crate::Node`] makes objects of them.

mod containers;
mod images;
mod pods;

pub use containers::{ContainerSpec, LogSpec};
pub use images::{ImageSpec, LayerSpec};
pub use pods::PodSpec;
