//! The CRI gateway: the one actor that speaks CRI (behaviour: Runtime).
//!
//! It owns the connection, bounds the RPCs in flight, gives each a deadline, merges equal lists, and sorts errors by what
//! they mean. It decides nothing: the caller of a removal has planned and re-checked it.
//!
//! - `gateway`: what others call; `calls`: the RPCs among that. `messages`: the protocol. `actor`: the actor itself.
//! - `lists`: the complete lists; `shared`: what a list shares with the one before. `answers`: what is answered; [`convert`]: from the
//!   wire types to facts; `decode`: from bytes to these.
//! - `lanes`: what bounds the RPCs; `rpc`: what one needs while it is in flight; `connection`: the socket clients.
//! - `error`: the classes of failures. `health`: whether the runtime is reachable, logged once for all loops; `returns`: who waits for
//!   that. `rpcs`: RPCs counted for metrics.
//!
//! Recovery from over-long lists (lists in parts, streaming lists) has its place in `lists`, behind the same messages.

mod actor;
mod answers;
mod calls;
mod connection;
pub mod convert;
mod decode;
mod error;
mod gateway;
mod health;
mod lanes;
mod lists;
mod messages;
mod parts;
mod returns;
mod rpc;
mod rpcs;
mod shared;

pub use answers::{ContainerFacts, ContainerLayer, FsPlaces, Owner, RuntimeVersion, Sibling};
pub use connection::{Clients, Connect, InMemory};
pub use error::{CriError, CriResult, ErrorClass, NO_CRI, REMOVE_IMAGE, innermost_io};
pub use gateway::Gateway;
pub use health::{RuntimeState, Waits};
pub use lists::{Gap, Listed, Listing, read};
pub use messages::Freshness;
pub use rpcs::RpcTotal;
pub use shared::Object;
