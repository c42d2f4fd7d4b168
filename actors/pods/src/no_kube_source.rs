//! The source `kube-api` of a program that was built without the cargo feature `kubernetes`: there is none.
//!
//! It has the face of `kube_source`, and says so.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Addr, Message};
use cri_gc_config::Settings;
use tokio::sync::Notify;

use super::SyncError;
use super::absence::{Answer, Sync};
use super::listing::Listing;
use super::provider::Provider;
use super::reading::Reader;

/// There is no client.
#[derive(Clone)]
pub struct Api(Infallible);

/// Nothing is ever told.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Followed {
    pub by: u64,
    pub news: News,
}

/// What there would be to tell.
pub enum News {
    #[expect(dead_code, reason = "the face of the source that is not here")]
    Listed(Box<Sync>, Api),
    #[expect(dead_code, reason = "the face of the source that is not here")]
    Steady,
    #[expect(dead_code, reason = "the face of the source that is not here")]
    Heard(Option<Listing>),
    Lost(SyncError),
}

/// What a follower would need.
pub struct Follower {
    pub number: u64,
    #[expect(dead_code, reason = "the face of the source that is not here")]
    pub reader: Reader,
    #[expect(dead_code, reason = "the face of the source that is not here")]
    pub settings: Arc<Settings>,
    #[expect(dead_code, reason = "the face of the source that is not here")]
    pub wanted: Rc<Notify>,
    pub provider: Addr<Provider>,
}

#[expect(clippy::unused_async, reason = "the face of the source that is not here")]
pub async fn connect(_reader: &Reader, _settings: &Settings) -> Result<Api, SyncError> {
    Err(SyncError::NotBuiltIn)
}

#[expect(clippy::unused_async, reason = "the face of the source that is not here")]
pub async fn read(_reader: &Reader, api: &Api) -> Result<Sync, SyncError> {
    match api.0 {}
}

#[expect(clippy::unused_async, reason = "the face of the source that is not here")]
pub async fn ask(_reader: &Reader, api: &Api, _uid: &str, _names: &[(&str, &str)]) -> Answer {
    match api.0 {}
}

#[expect(clippy::unused_async, reason = "the face of the source that is not here")]
pub async fn follow(follower: Follower) {
    let news = News::Lost(SyncError::NotBuiltIn);
    follower.provider.do_send(Followed { by: follower.number, news });
}
