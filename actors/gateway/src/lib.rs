//! The CRI gateway: the one actor that speaks CRI (behaviour: Runtime).
//!
//! It owns the connection, bounds the RPCs in flight, gives each a deadline, merges equal lists, and sorts errors by what
//! they mean. It decides nothing: whoever asks for a removal has planned and re-checked it.
//!
//! - [`calls`]: one struct for each RPC; [`messages`]: lists and limits; [`answers`]: what comes back.
//! - [`error`]: the classes of failures.
//! - `health`: whether the runtime answers; a loss and a return are told there, once for all loops.
//! - `image_volumes`: what containers have mounted of images, which no list reports.
//! - `connection`: the socket clients; `convert`: wire types to facts; `actor`: the actor itself.
//!
//! Recovery from over-long lists (lists in parts, streaming lists) has its place in `actor`, behind the same messages.

mod actor;
pub mod answers;
pub mod calls;
mod connection;
mod convert;
pub mod error;
mod health;
mod image_volumes;
pub mod messages;

use std::sync::Arc;

use actix::{Actor, Addr, ArbiterHandle, Handler, Message, Recipient};
use cri_gc_config::Settings;

use actor::GatewayActor;
pub use answers::{ContainerFacts, FsPlaces, RuntimeVersion};
use calls::CriCall;
pub use connection::{Clients, Sockets};
pub use error::{CriError, ErrorClass, innermost_io};
use health::Health;
pub use health::{RuntimeState, Waits};
pub use messages::{CriResult, Freshness, Limits, ListAll, Listed};
use slog::Logger;
use tokio::sync::watch;
use tokio::time::Instant;

use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::supervision::guard::{self, Pace};
use cri_gc_kit::supervision::threads::Lease;

/// Where to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    address: Addr<GatewayActor>,
    /// Of whoever asks: what was revoked may only look.
    lease: Lease,
    /// Told each time that the runtime answers again.
    answers: watch::Receiver<()>,
}

impl Gateway {
    /// Starts the actor on an arbiter, for a one-shot command. It connects with the first request.
    #[must_use]
    pub fn start(on: &ArbiterHandle, sockets: Sockets, limits: Limits, log: Logger) -> Self {
        let (told, answers) = watch::channel(());
        let make = move |_: &mut _| GatewayActor::new(sockets, limits, Health::new(None, told, log), false);
        Self { address: GatewayActor::start_in_arbiter(on, make), lease: Lease::default(), answers }
    }

    /// Starts it for the service: it waits for a runtime that is away, and is restarted wherever it falls.
    #[must_use]
    pub fn serve(on: &ArbiterHandle, settings: &Settings, waits: Waits, log: Logger) -> Self {
        let (sockets, limits) = (Sockets::from(settings), Limits::from(settings));
        let fell = guard::say(log.clone(), "gateway", None);
        let (told, answers) = watch::channel(());
        let health = move || Health::new(Some(waits), told, log);
        let make = move |_: &mut _| GatewayActor::new(sockets, limits, health(), true);
        let address = guard::start(on, Pace::from(settings), fell, make);
        Self { address, lease: Lease::default(), answers }
    }

    /// The same gateway, for whoever may remove things under that lease.
    #[must_use]
    pub fn under(&self, lease: Lease) -> Self {
        Self { lease, ..self.clone() }
    }

    /// Makes one RPC.
    ///
    /// # Errors
    /// What the runtime answered, sorted; nothing is tried twice.
    pub async fn call<C: CriCall>(&self, call: C) -> CriResult<C::Answer> {
        let call = messages::Call { call, asked: tokio::time::Instant::now(), lease: self.lease.clone() };
        self.address.send(call).await.unwrap_or_else(|_| Err(CriError::gateway_gone(C::METHOD)))
    }

    /// What is true of each of these containers now, in their order. From `until` on none is asked any more, nor once the
    /// runtime does not answer one of them in time.
    pub async fn statuses(&self, ids: Vec<String>, until: Instant) -> Vec<CriResult<ContainerFacts>> {
        let count = ids.len();
        let answers = self.address.send(messages::AskStatuses { ids, until }).await;
        answers.unwrap_or_else(|_| vec![Err(CriError::gateway_gone("ContainerStatus")); count])
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

    /// Ends once the runtime answers again after it was away or hung, counted from this call on.
    pub fn answers_again(&self) -> impl Future<Output = ()> + use<> {
        let mut answers = self.answers.clone();
        answers.mark_unchanged();
        async move {
            if answers.changed().await.is_err() {
                // The gateway is gone, and tells nothing any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// How often the runtime came back after it had been away. Whoever counts on having seen the node all the time asks
    /// this.
    pub async fn returns(&self) -> u64 {
        // A gateway that was restarted has seen nothing, which is as good as a return.
        self.runtime().await.map_or(u64::MAX, |runtime| runtime.returns)
    }

    /// How the runtime is. `None` while the gateway is being restarted.
    pub async fn runtime(&self) -> Option<RuntimeState> {
        self.address.send(messages::AskRuntime).await.ok()
    }

    /// Who is to be told of new settings; RPCs under way end under the old ones.
    #[must_use]
    pub fn follower(&self) -> Recipient<Reconfigure> {
        self.address.clone().recipient()
    }
}
