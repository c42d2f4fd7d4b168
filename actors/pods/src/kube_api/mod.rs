//! The Kubernetes API server, as far as a node's garbage collector needs it.
//!
//! - `client`: one request, one answer. `error`: what can go wrong.
//! - `pods`: the pods of this node, listed and watched; single pods and the node itself.
//! - `event`: an Event of the node.
//!
//! All of it is behind the cargo feature `kubernetes`.

mod client;
mod error;
mod event;
mod pods;

pub use client::Api;
pub use event::{NodeEvent, Severity};
pub use pods::{Pages, PodStore};
