//! The decisions of cri-gc: pure functions from an observation, a policy and its "now" to a plan.
//!
//! ```text
//! Observation (what was seen) ─┐
//!                              ├─ decide ──> Plan: every object once, `remove` or `keep`, with its Reason
//! Policy (what is wanted) ─────┘
//! ```
//!
//! Nothing here does I/O, reads a clock, or is async; a plan does nothing by itself. So the same code decides for a live
//! node, for a snapshot file, and for thousands of random nodes in the tests. The rules are those of docs/behaviour.md; each
//! module names its heading.

mod age;
pub mod containers;
mod decide;
pub mod explain;
pub mod follow;
pub mod images;
mod kind;
pub mod links;
pub mod log_dirs;
pub mod naming;
pub mod observation;
pub mod plan;
pub mod pods;
pub mod policy;
pub mod protect;
pub mod reason;
pub mod reference;
pub mod report;
pub mod sandboxes;
pub mod snapshot;
pub mod text;
pub mod usage;

pub use age::Now;
pub use decide::{Plan, complete, decide};
pub use follow::{Enforcing, Removed};
pub use images::{FsProblem, ImagePlan};
pub use kind::Kind;
pub use observation::{
    Absent, Container, ContainerState, FileSystem, FsStats, Image, Observation, Pod, PodState, Pods,
    Reclaiming, Sandbox, SandboxState,
};
pub use plan::{Decision, Detail, Section};
pub use pods::PodTable;
pub use policy::{ContainerPolicy, ImagePolicy, Policy, SandboxPolicy, Thresholds, Unmanaged};
pub use protect::{Pattern, PatternError};
pub use reason::Reason;
pub use report::PlanReport;
pub use snapshot::Snapshot;
pub use usage::Usage;
