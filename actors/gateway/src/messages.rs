//! What goes to the gateway and comes back from it. The calls themselves, one for each CRI method, are in
//! [`super::calls`].

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use cri_gc_config::Settings;
use cri_gc_policy::{Container, Image, Sandbox};
use tokio::time::Instant;

use super::answers::ContainerFacts;
use super::calls::{CriCall, Lane};
use super::error::CriError;
use super::health::RuntimeState;
use cri_gc_kit::supervision::threads::Lease;

/// Result of an RPC.
pub type CriResult<T> = Result<T, CriError>;

/// One RPC, to be carried out once.
#[derive(Debug, Message)]
#[rtype(result = "CriResult<C::Answer>")]
pub struct Call<C: CriCall> {
    /// What is sent.
    pub call: C,
    /// When it was asked for: what a removal rests on was looked at right before.
    pub asked: Instant,
    /// Of whoever asks.
    pub lease: Lease,
}

impl<C: CriCall> Call<C> {
    /// Whether it may still be sent. A question always may.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_go(&self) -> CriResult<()> {
        if C::LANE == Lane::Read {
            return Ok(());
        }
        if self.lease.is_revoked() {
            return Err(CriError::revoked(C::METHOD));
        }
        if self.lease.is_suspended() {
            return Err(CriError::suspended(C::METHOD));
        }
        match self.asked.elapsed() {
            waited if waited > CHECKED_WITHIN => Err(CriError::late(C::METHOD, waited)),
            _ => Ok(()),
        }
    }
}

/// A removal that could not be sent within this time, because earlier ones are not answered or the gateway was restarted, rests
/// on a look that is too old: what was dead then may run now.
const CHECKED_WITHIN: Duration = Duration::from_secs(5);

/// All objects of one kind. Equal requests in flight share an answer, if they may.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "CriResult<Arc<Vec<T>>>")]
pub struct ListAll<T: Listed> {
    /// Whether the answer may be shared.
    pub freshness: Freshness,
    kind: std::marker::PhantomData<T>,
}

impl<T: Listed> ListAll<T> {
    /// The request.
    #[must_use]
    pub fn new(freshness: Freshness) -> Self {
        Self { freshness, kind: std::marker::PhantomData }
    }
}

/// What is true of each of these containers now: thousands of equal questions cost less as one message.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<CriResult<ContainerFacts>>")]
pub struct AskStatuses {
    /// Whole ids.
    pub ids: Vec<String>,
    /// From then on none is asked any more.
    pub until: Instant,
}

/// What the gateway lists.
pub trait Listed: Send + Sync + Sized + Unpin + 'static {}
impl Listed for Container {}
impl Listed for Sandbox {}
impl Listed for Image {}

/// What bounds the RPCs. New settings bring new limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time that an RPC may take; stopping a container adds the time that the container is given.
    pub request_timeout: Duration,
    /// The largest answer that is accepted, in bytes.
    pub max_message_size: usize,
    /// Removals of containers in flight (their stops included).
    pub container_removals: usize,
    /// Removals of sandboxes in flight (their stops included).
    pub sandbox_removals: usize,
    /// Removals of images in flight.
    pub image_removals: usize,
}

impl From<&Settings> for Limits {
    fn from(settings: &Settings) -> Self {
        Self {
            request_timeout: settings.runtime.request_timeout,
            max_message_size: usize::try_from(settings.runtime.max_message_size).unwrap_or(usize::MAX),
            container_removals: settings.container_gc.parallel_removals.into(),
            sandbox_removals: settings.sandbox_gc.parallel_removals.into(),
            image_removals: settings.image_gc.parallel_removals.into(),
        }
    }
}

/// Whether an answer may be shared with somebody who asked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// An equal request in flight is joined: its answer may have been made a little before this request.
    Shared,
    /// The request goes out by itself, so that its answer shows what was so after it was asked for. A re-check right
    /// before a removal needs this.
    Fresh,
}

/// How the runtime is, as the last RPC saw it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "RuntimeState")]
pub struct AskRuntime;
