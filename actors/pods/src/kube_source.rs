//! The source `kube-api`: a list of the node's pods, and a watch that keeps it up to date.
//!
//! A one-shot command reads lists ([`read`]); the service follows ([`follow`]) in a task that the provider holds, and that
//! tells it whatever it finds out. Any gap in what it was told is a loss of the source: it begins anew with a list. What a
//! list proves is not decided here.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message};
use cri_gc_config::Settings;
use futures_util::{FutureExt, StreamExt};
use slog::debug;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::SyncError;
use super::absence::{Answer, Sync};
use super::listing::Listing;
use super::provider::Provider;
use super::reading::Reader;
pub use crate::kube_api::Api;
use crate::kube_api::{ApiError, Change, Listed, Store, is_before};
use cri_gc_kit::supervision::backoff::Backoff;

/// Lists that are wanted are so far apart, however much they are wanted: from, and to while nothing changes.
const LISTS_APART: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5 * 60));

/// Pauses after losses of the source, from and to: the API server has other nodes as well.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A watch that nothing comes from for longer is not trusted; bookmarks come about once a minute.
const LONGEST_SILENCE: Duration = Duration::from_secs(150);

/// Watches that end at once are begun again so far apart.
const WATCHES_APART: Duration = Duration::from_secs(1);

/// The source was good for so long: a loss is the first one again.
const STEADY: Duration = Duration::from_secs(60);

/// What a follower tells the provider.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Followed {
    /// Its number.
    pub by: u64,
    /// What it tells.
    pub news: News,
}

/// What there is to tell.
pub enum News {
    /// A complete list, from which on changes are told. Single pods can be asked for by the same client.
    Listed(Box<Sync>, Api),
    /// The list is followed: what went wrong before is over.
    Steady,
    /// The API server is there: what is listed now, if that has changed.
    Heard(Option<Listing>),
    /// The source is lost.
    Lost(SyncError),
}

/// What a follower needs.
pub struct Follower {
    pub number: u64,
    pub reader: Reader,
    pub settings: Arc<Settings>,
    /// A newer list is wanted.
    pub wanted: Rc<Notify>,
    pub provider: Addr<Provider>,
}

/// A client for the API server.
///
/// # Errors
/// There are no credentials.
pub async fn connect(reader: &Reader, settings: &Settings) -> Result<Api, SyncError> {
    Ok(Api::connect(settings, &reader.files).await?)
}

/// One list.
///
/// # Errors
/// It could not be read whole, or is not that of this node.
pub async fn read(reader: &Reader, api: &Api) -> Result<Sync, SyncError> {
    list(reader, api).await.map(|(sync, _)| sync)
}

async fn list(reader: &Reader, api: &Api) -> Result<(Sync, Listed), SyncError> {
    let seen = reader.runtime().await?;
    api.check_node(reader.clock.boot_id()).await?;
    let at = reader.clock.now();
    let listed = api.list().await?;
    let listing = listed.store.listing();
    seen.check(&listing)?;
    Ok((Sync { at, listing, objects: seen.objects }, listed))
}

/// Asks for a pod by its names.
pub async fn ask(reader: &Reader, api: &Api, uid: &str, names: &[(&str, &str)]) -> Answer {
    let at = reader.clock.now();
    match api.is_there(uid, names).await {
        Ok(true) => Answer::There,
        Ok(false) => Answer::Gone { at },
        Err(error) if error.is_away() => Answer::Away(error.to_string()),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// Follows for as long as the provider holds it.
pub async fn follow(follower: Follower) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        let began = Instant::now();
        let Err(lost) = follower.session().await;
        follower.tell(News::Lost(lost));
        if began.elapsed() >= STEADY {
            backoff.reset();
        }
        sleep(follower.spread(backoff.pause())).await;
    }
}

impl Follower {
    fn tell(&self, news: News) {
        self.provider.do_send(Followed { by: self.number, news });
    }

    /// Not all nodes at the same moment: up to half as long again, the same for each node every time.
    fn spread(&self, pause: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.settings.node_name, self.reader.clock.boot_id()).hash(&mut hasher);
        let share = u32::try_from(hasher.finish() % 512).unwrap_or_default();
        pause + pause * share / 1024
    }

    /// How long nothing may come from the watch.
    fn silence(&self) -> Duration {
        // Before the source is stale, a list is read.
        (self.settings.pods.max_staleness / 2).clamp(WATCHES_APART, LONGEST_SILENCE)
    }

    /// Lists and watches until the source is lost.
    async fn session(&self) -> Result<Infallible, SyncError> {
        let log = &self.reader.log;
        let api = connect(&self.reader, &self.settings).await?;
        let mut lists = Backoff::new(LISTS_APART.0, LISTS_APART.1);
        loop {
            let listed_at = Instant::now();
            let (sync, listed) = list(&self.reader, &api).await?;
            // Whoever wanted a list by now has it.
            let _ = self.wanted.notified().now_or_never();
            debug!(log, "the pods of the node are listed"; "pods" => sync.listing.pods.len(), "node" => api.node());
            self.tell(News::Listed(Box::new(sync), api.clone()));
            let why = self.watch(&api, listed, listed_at, &mut lists).await?;
            debug!(log, "the pods of the node are listed again"; "because" => why);
        }
    }

    /// Watches until a new list is due. Gives back why it is.
    async fn watch(
        &self,
        api: &Api,
        Listed { mut store, mut version }: Listed,
        listed_at: Instant,
        lists: &mut Backoff,
    ) -> Result<&'static str, SyncError> {
        // A wish for a list waits. While nothing changes, a list that could not prove more will not soon.
        let mut earliest = listed_at + self.spread(lists.pause());
        let mut is_wanted = false;
        // Over all watches: one that ends and begins again tells nothing of the pods.
        let mut heard = listed_at;
        // A list is no success where the watch is refused each time: the same failure would be told as a first one for ever.
        let mut steady = std::pin::pin!(sleep(WATCHES_APART).fuse());
        loop {
            let began = Instant::now();
            let mut changes = api.watch(&version).await?;
            loop {
                let next = timeout_at(heard + self.silence(), changes.next());
                let change = tokio::select! {
                    change = next => change,
                    () = &mut steady => {
                        self.tell(News::Steady);
                        continue;
                    }
                    () = self.wanted.notified(), if !is_wanted => {
                        is_wanted = true;
                        continue;
                    }
                    () = sleep_until(earliest), if is_wanted => return Ok("it could prove more"),
                };
                match change {
                    Ok(Some(change)) => {
                        if self.take(&mut store, &mut version, change?)? {
                            lists.reset();
                            earliest = earliest.min(listed_at + self.spread(lists.pause()));
                        }
                        heard = Instant::now();
                    }
                    // It was ended, or cut off. Nothing is lost if it goes on from the same version.
                    Ok(None) => break,
                    Err(_) => return Ok("nothing came from the watch for long"),
                }
            }
            sleep(WATCHES_APART.saturating_sub(began.elapsed())).await;
        }
    }

    /// Takes over a change, and says whether anything is different now.
    fn take(&self, store: &mut Store, version: &mut String, change: Change) -> Result<bool, SyncError> {
        let (reached, is_new) = store.apply(change)?;
        if let Some(reached) = reached {
            if is_before(&reached, version) {
                // It has lost what it told before: nothing of that holds any more.
                return Err(ApiError::Expired { what: "its versions went back" }.into());
            }
            *version = reached;
        }
        self.tell(News::Heard(is_new.then(|| store.listing())));
        Ok(is_new)
    }
}
