//! The four collectors: what a pass is, when passes are made, and how each collector observes, plans, re-checks and removes.

pub mod collector;
pub mod container_gc;
pub mod image_gc;
pub mod log_reaper;
pub mod observe;
pub mod planning;
mod recent;
pub mod report;
pub mod sandbox_reaper;
pub mod tools;
mod unlisted;
pub mod usage;
pub mod whole;
