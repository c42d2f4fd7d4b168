//! The source `kube-api`: a list of the node's pods, and a watch that keeps it up to date.
//!
//! A one-shot command reads lists ([`read`]); the service follows ([`follow`]) in a task that reports whatever it finds out.
//! Any gap in what the watch says is a loss of the source: it starts over with a list. What a list proves is not decided here.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::Settings;
use futures_util::{FutureExt, StreamExt};
use slog::debug;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::absence::Reading;
use super::error::SourceError;
use super::kube_api::{Api, PodStore};
use super::sources::{SourceChange, Sources};
use cri_gc_kit::supervision::backoff::Backoff;

/// Lists that are wanted are so far apart, however much they are wanted: from, and to while nothing changes.
const LISTS_APART: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5 * 60));

/// Pauses after losses of the source, from and to: the API server has other nodes as well.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A watch that nothing comes from for longer is not trusted; bookmarks come about once a minute.
const LONGEST_SILENCE: Duration = Duration::from_secs(150);

/// Watches that end at once are begun again so far apart.
const WATCHES_APART: Duration = Duration::from_secs(1);

/// After this time without a failure, the next failure counts as the first one again.
const STEADY: Duration = Duration::from_secs(60);

/// One list.
///
/// # Errors
/// It could not be read whole, or is not that of this node.
pub async fn read(
    sources: &Sources,
    settings: &Settings,
    api: Option<Api>,
) -> Result<(Reading, Api), SourceError> {
    let api = match api {
        Some(api) => api,
        None => Api::connect(settings, &sources.files).await?,
    };
    let (reading, _) = list(sources, &api).await?;
    Ok((reading, api))
}

async fn list(sources: &Sources, api: &Api) -> Result<(Reading, PodStore), SourceError> {
    let before = sources.runtime().await?;
    api.check_node(sources.clock.boot_id()).await?;
    let at = sources.clock.now();
    let store = api.list().await?;
    let listing = store.listing();
    before.check(&listing)?;
    Ok((Reading { at, listing, objects: before.objects }, store))
}

/// Follows for as long as it is polled, and reports what it finds out. `wanted`: a newer list could prove more.
pub async fn follow(
    sources: Sources,
    settings: Arc<Settings>,
    wanted: Rc<Notify>,
    report: impl Fn(SourceChange),
) {
    let follower = Follower { sources, settings, wanted, report };
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        let began = Instant::now();
        let Err(lost) = follower.session().await;
        (follower.report)(SourceChange::Lost(lost));
        if began.elapsed() >= STEADY {
            backoff.reset();
        }
        sleep(follower.spread(backoff.pause())).await;
    }
}

struct Follower<F> {
    sources: Sources,
    settings: Arc<Settings>,
    wanted: Rc<Notify>,
    report: F,
}

impl<F: Fn(SourceChange)> Follower<F> {
    /// Not all nodes at the same moment: up to half as long again, the same for each node every time.
    fn spread(&self, pause: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.settings.node_name, self.sources.clock.boot_id()).hash(&mut hasher);
        let share = u32::try_from(hasher.finish() % 512).unwrap_or_default();
        pause + pause * share / 1024
    }

    /// How long nothing may come from the watch.
    fn silence(&self) -> Duration {
        // Before the source is stale, a list is read.
        (self.settings.pods.max_staleness / 2).clamp(WATCHES_APART, LONGEST_SILENCE)
    }

    /// Lists and watches until the source is unreachable.
    async fn session(&self) -> Result<Infallible, SourceError> {
        let log = &self.sources.log;
        let api = Api::connect(&self.settings, &self.sources.files).await?;
        let mut lists = Backoff::new(LISTS_APART.0, LISTS_APART.1);
        loop {
            let listed_at = Instant::now();
            let (reading, store) = list(&self.sources, &api).await?;
            // A list that was wanted by now is there.
            let _ = self.wanted.notified().now_or_never();
            debug!(log, "the pods of the node are listed"; "pods" => reading.listing.pods.len(), "node" => &api.node);
            (self.report)(SourceChange::Listed(Box::new(reading), api.clone()));
            let why = self.watch(&api, store, listed_at, &mut lists).await?;
            debug!(log, "the pods of the node are listed again"; "because" => why);
        }
    }

    /// Watches until a new list is due. Returns why it is.
    async fn watch(
        &self,
        api: &Api,
        mut store: PodStore,
        listed_at: Instant,
        lists: &mut Backoff,
    ) -> Result<&'static str, SourceError> {
        // A wish for a list waits. While nothing changes, a list that could not prove more will not soon.
        let mut earliest = listed_at + self.spread(lists.pause());
        let mut is_wanted = false;
        // Over all watches: one that ends and begins again says nothing of the pods.
        let mut answered = listed_at;
        // A list is no success where the watch is refused each time: the same failure would be logged as a first one for ever.
        let mut steady = std::pin::pin!(sleep(WATCHES_APART).fuse());
        loop {
            let began = Instant::now();
            let mut events = api.watch(&store.version).await?;
            loop {
                let next = timeout_at(answered + self.silence(), events.next());
                let event = tokio::select! {
                    event = next => event,
                    () = &mut steady => {
                        (self.report)(SourceChange::Steady);
                        continue;
                    }
                    () = self.wanted.notified(), if !is_wanted => {
                        is_wanted = true;
                        continue;
                    }
                    () = sleep_until(earliest), if is_wanted => return Ok("it could prove more"),
                };
                match event {
                    Ok(Some(event)) => {
                        let has_changed = store.apply(event?)?;
                        (self.report)(SourceChange::Watched(has_changed.then(|| store.listing())));
                        if has_changed {
                            lists.reset();
                            earliest = earliest.min(listed_at + self.spread(lists.pause()));
                        }
                        answered = Instant::now();
                    }
                    // It was ended, or cut off. Nothing is lost if it continues from the same version.
                    Ok(None) => break,
                    Err(_) => return Ok("nothing came from the watch for long"),
                }
            }
            sleep(WATCHES_APART.saturating_sub(began.elapsed())).await;
        }
    }
}
