//! The CRI gateway: the one actor that speaks CRI (spec 8).
//!
//! It owns the connection, bounds the RPCs in flight, gives each a deadline, merges equal lists, and sorts errors by what
//! they mean. It decides nothing: whoever asks for a removal has planned and re-checked it.
//!
//! - [`calls`]: one struct for each RPC; [`messages`]: lists and limits; [`answers`]: what comes back.
//! - [`error`]: the classes of failures.
//! - `connection`: the socket clients; `convert`: wire types to facts; `actor`: the actor itself.
//!
//! Recovery from over-long lists (lists in parts, streaming lists) has its place in `actor`, behind the same messages.

mod actor;
pub mod answers;
pub mod calls;
mod connection;
mod convert;
pub mod error;
pub mod messages;

use std::sync::Arc;

use actix::{Actor, Addr, ArbiterHandle, Handler, Message};

use actor::GatewayActor;
pub use answers::{ContainerFacts, FsPlaces, RuntimeVersion};
use calls::CriCall;
pub use connection::{Clients, Sockets};
pub use error::{CriError, ErrorClass};
pub use messages::{CriResult, Freshness, Limits, ListAll, Listed};
use slog::Logger;

/// Where to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    address: Addr<GatewayActor>,
}

impl Gateway {
    /// Starts the actor on an arbiter. It connects with the first request.
    #[must_use]
    pub fn start(on: &ArbiterHandle, sockets: Sockets, limits: Limits, log: Logger) -> Self {
        Self { address: GatewayActor::start_in_arbiter(on, move |_| GatewayActor::new(sockets, limits, log)) }
    }

    /// Makes one RPC.
    ///
    /// # Errors
    /// What the runtime answered, sorted; nothing is tried twice.
    pub async fn call<C: CriCall>(&self, call: C) -> CriResult<C::Answer> {
        self.address
            .send(messages::Call(call))
            .await
            .unwrap_or_else(|_| Err(CriError::gateway_gone(C::METHOD)))
    }

    /// All objects of one kind.
    ///
    /// # Errors
    /// What the runtime answered, sorted. An answer is complete or an error.
    pub async fn list<T: Listed>(&self, freshness: Freshness) -> CriResult<Arc<Vec<T>>>
    where
        GatewayActor: Handler<ListAll<T>>,
        ListAll<T>: Message<Result = CriResult<Arc<Vec<T>>>> + Send,
    {
        let answer = self.address.send(ListAll::<T>::new(freshness)).await;
        answer.unwrap_or_else(|_| Err(CriError::gateway_gone("List")))
    }

    /// How often the runtime came back after it had been away. Whoever counts on having seen the node all the time asks
    /// this.
    pub async fn returns(&self) -> u64 {
        // A gateway that was restarted has seen nothing, which is as good as a return.
        self.address.send(messages::Returns).await.unwrap_or(u64::MAX)
    }

    /// Sends new limits; RPCs under way end under the old ones.
    pub fn set_limits(&self, limits: Limits) {
        self.address.do_send(limits);
    }
}
