//! The admin actor and the socket that it is asked through (behaviour: Admin socket).
//!
//! ```text
//! client ──unix socket──> server (connections, who may call) ──> service (gRPC) ──message──> actor ──messages──> the others
//! ```
//!
//! It observes and passes on; it decides nothing and removes nothing. What it answers of a plan comes from the same plan that a
//! pass would make. It runs on a thread of its own: whatever clients do, no loop notices.
//!
//! - `server`: listens, bounds the connections. `access`: who may call what. `service`: the gRPC side, which hands each call to the
//!   `actor` (`messages`: how); `calls`: how each is answered, from the `subjects`, in the words of the API (`answers`). [`arguments`]: what is
//!   requested, as far as that can be said without asking.
//! - `desk`: observations and plans, shared by all who ask at the same time. `passes`: passes that a client requests.

mod access;
mod actor;
mod answers;
pub mod arguments;
mod calls;
mod desk;
mod handle;
mod messages;
mod passes;
mod server;
mod service;
mod subjects;

pub use access::{AccessError, Groups};
pub use answers::{pass, removal};
pub use handle::Admin;
pub use subjects::Subjects;
