//! The protocol of the gateway: all that it is sent, and what it answers. The RPCs that are sent as [`Call`] are in
//! `calls`; new settings come as `Reconfigure`.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::time::Duration;

use actix::Message;
use cri_gc_kit::supervision::threads::Lease;
use ecow::EcoString;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;
use tonic::Status;

use crate::answers::ContainerFacts;
use crate::connection::Clients;
use crate::error::CriResult;
use crate::health::RuntimeState;
use crate::lanes::Lane;
use crate::lists::{Listed, Listing};
use crate::rpcs::RpcTotal;

/// One RPC, to be made once.
#[derive(Message)]
#[rtype(result = "CriResult<T>")]
pub struct Call<T: 'static> {
    /// Name of the CRI method.
    pub method: &'static str,
    pub lane: Lane,
    /// Whole id of the object that it is about; `None` where it is about none.
    pub id: Option<String>,
    /// What the object itself is given, on top of the deadline of the RPC.
    pub extra_time: Duration,
    pub send: Box<dyn FnOnce(Clients) -> LocalBoxFuture<'static, Result<T, Status>> + Send>,
    /// When the check was made that a removal rests on.
    pub checked: Instant,
    /// The caller's right to remove.
    pub lease: Lease,
}

/// All objects of one kind. Equal requests in flight share an answer, if they may.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "CriResult<Listing<T>>")]
pub struct List<T: Listed>(pub Freshness, pub PhantomData<T>);

/// These pods have, or had, something on this node: what can only be listed pod by pod is listed for them.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct NamePods(pub Vec<EcoString>);

/// Whether an answer may be shared with an earlier caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// An equal request in flight is joined: its answer may have been made a little before this request.
    Shared,
    /// The request is sent after this, so that its answer shows the state after it was requested. A re-check right before a removal
    /// needs this. Where lists take many requests, others that came meanwhile get the same answer.
    Fresh,
}

/// The state of each of these containers: thousands of equal questions cost less as one message.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<CriResult<ContainerFacts>>")]
pub struct AskStatuses {
    /// Whole ids.
    pub ids: Vec<EcoString>,
    /// From then on no more are sent.
    pub until: Option<Instant>,
    /// Whether their image volumes are remembered.
    pub for_volumes: bool,
}

/// What is remembered of the image volumes of the containers of these ids, which are all that exist: by id, empty for one that has
/// none.
#[derive(Debug, Message)]
#[rtype(result = "HashMap<EcoString, Vec<EcoString>>")]
pub struct AskKnownVolumes(pub Vec<EcoString>);

/// The state of the runtime, as the last RPC saw it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "RuntimeState")]
pub struct AskRuntime;

/// The RPCs that have ended since the start.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<RpcTotal>")]
pub struct AskRpcs;
