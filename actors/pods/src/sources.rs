//! Reads the sources `file` and `kubelet`: first what the runtime has, then the list, which is compared with it.
//!
//! What a list proves is not decided here. Blocking work runs on the workers.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::Kubelet;
use cri_gc_policy::{Container, Sandbox, SandboxState};
use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};
use slog::Logger;

use super::absence::Reading;
use super::error::{ServerFailure, SourceError};
use super::evidence::Known;
use super::kube_api::Api;
use super::kubelet;
use super::listing::Listing;
use cri_gc_gateway::{Freshness, Gateway};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::workers::Workers;

/// How long a filesystem may take to answer: a network mount that hangs must not block callers that query pods.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A file may be this much ahead of the clock: filesystems and clocks round differently.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(10);

/// Largest file that is read, in bytes: what a kubelet may answer as well.
const LARGEST: u64 = 64 << 20;

/// The content of a file that is at most so large.
fn read_at_most(file: &mut impl Read, most: u64) -> io::Result<String> {
    let mut text = String::new();
    // One byte more shows that a file is larger. A pipe or a device has no size beforehand.
    let read = file.take(most.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > most {
        return Err(io::Error::other(format!(
            "it is larger than {} MiB; no node has that many pods",
            most >> 20
        )));
    }
    Ok(text)
}

/// What is asked: the runtime, and what the sources need. Owned by each question, so that none blocks the actor.
#[derive(Clone)]
pub struct Sources {
    pub gateway: Gateway,
    pub files: Workers,
    pub clock: Clock,
    pub log: Logger,
}

/// What is found out of a source that is followed.
#[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "no source is followed"))]
pub enum SourceChange {
    /// A complete list, from which on changes are watched. Single pods can be queried by the same client.
    Listed(Box<Reading>, Api),
    /// The list is followed: earlier failures are over.
    Steady,
    /// The API server answers: what is listed now, if that has changed.
    Watched(Option<Listing>),
    /// The source is unreachable.
    Lost(SourceError),
}

/// What the runtime had before a list was requested.
#[derive(Debug, Clone)]
pub struct Before {
    /// UIDs of the pods that have a ready sandbox.
    pub ready: HashSet<EcoString>,
    /// Ids of all containers and sandboxes.
    pub objects: Known<EcoString>,
}

impl Before {
    /// What these lists show.
    pub fn of(sandboxes: &[Arc<Sandbox>], containers: &[Arc<Container>]) -> Self {
        let is_ready =
            |sandbox: &&Arc<Sandbox>| sandbox.state == SandboxState::Ready && !sandbox.pod_uid.is_empty();
        let ids = sandboxes.iter().map(|s| &s.id).chain(containers.iter().map(|c| &c.id));
        Self {
            ready: sandboxes.iter().filter(is_ready).map(|sandbox| sandbox.pod_uid.clone()).collect(),
            objects: ids.cloned().collect(),
        }
    }

    /// A list from which every pod that runs is missing, while some do, is not that of this node.
    ///
    /// # Errors
    /// It is such a list.
    pub fn check(&self, listing: &Listing) -> Result<(), SourceError> {
        if !self.ready.is_empty() && !self.ready.iter().any(|uid| listing.pods.contains_key(uid)) {
            return Err(SourceError::ListsNoneThatRun { ready: self.ready.len() });
        }
        Ok(())
    }
}

impl Sources {
    /// What the runtime has. An object that can't be listed counts as one that came later, which proves nothing of its pod.
    pub async fn runtime(&self) -> Result<Before, SourceError> {
        let sandboxes = self.gateway.list_most::<Sandbox>(Freshness::Fresh).await?;
        // Those that are ready show whether the list is that of this node.
        if let Some(gap) = sandboxes.gaps.into_iter().find(|gap| gap.may_run) {
            return Err(gap.error.into());
        }
        let containers = self.gateway.list_most::<Container>(Freshness::Fresh).await?.objects;
        Ok(Before::of(&sandboxes.objects, &containers))
    }

    /// What was seen `earlier` serves as well: what has come since counts as newer than the list, and is kept until the next one. Where
    /// nothing ran by then, it shows nothing of whose list that is.
    async fn before(&self, earlier: Option<Rc<Before>>) -> Result<Rc<Before>, SourceError> {
        match earlier.filter(|earlier| !earlier.ready.is_empty()) {
            Some(earlier) => Ok(earlier),
            None => Ok(Rc::new(self.runtime().await?)),
        }
    }

    /// Whether the list is that of this node. What ran before may have ended.
    async fn check(&self, before: &Before, listing: &Listing) -> Result<(), SourceError> {
        match before.check(listing) {
            Ok(()) => Ok(()),
            Err(_) => self.runtime().await?.check(listing),
        }
    }

    /// One reading of the source `file`.
    pub async fn file(&self, path: &Path, earlier: Option<Rc<Before>>) -> Result<Reading, SourceError> {
        let before = self.before(earlier).await?;
        let shown = path.display().to_string();
        let file = path.to_owned();
        let read = self.files.run_within(ANSWER_WITHIN, move || {
            // One descriptor for time and content, so that both are those of the same file, and the time once more for one that is
            // written to while it is read.
            let mut file = std::fs::File::open(&file)?;
            let changed = file.metadata()?.modified()?;
            let text = read_at_most(&mut file, LARGEST)?;
            if file.metadata()?.modified()? != changed {
                return Err(io::Error::other("it was written to while it was read"));
            }
            // Parsed here as well: a large one would keep the actors waiting.
            Ok((Listing::parse(&text), Timestamp::try_from(changed).map_err(io::Error::other)?))
        });
        let read: io::Result<(Result<Listing, String>, Timestamp)> =
            read.await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        let (listing, at) = read.map_err(|error| SourceError::File { path: shown.clone(), error })?;
        let now = self.clock.now();
        if at.duration_since(now) > CLOCK_SLACK {
            return Err(SourceError::Future { path: shown, at });
        }
        let listing = listing.map_err(|why| SourceError::Listing { path: shown, why })?;
        self.check(&before, &listing).await?;
        Ok(Reading { at: at.min(now), listing, objects: before.objects.clone() })
    }

    /// One reading of the source `kubelet`.
    pub async fn kubelet(
        &self,
        settings: &Kubelet,
        earlier: Option<Rc<Before>>,
    ) -> Result<Reading, SourceError> {
        let before = self.before(earlier).await?;
        let at = self.clock.now();
        let text = kubelet::ask(settings, &self.files).await?;
        let parsed = self.files.run_within(ANSWER_WITHIN, move || Listing::of_kubelet(&text)).await;
        let listing = parsed.unwrap_or_else(|gone| Err(gone.to_string())).map_err(|why| {
            let text = format!(
                "the answer of the kubelet at {} is not a list of pods: {why}; pods.kubelet.url has to end in /pods",
                settings.url
            );
            SourceError::server(ServerFailure::Listing, text)
        })?;
        self.check(&before, &listing).await?;
        Ok(Reading { at, listing, objects: before.objects.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_a_bound() {
        let most = 1 << 20;
        let content = |size: usize| io::repeat(b'x').take(u64::try_from(size).unwrap());
        assert_eq!(read_at_most(&mut content(most), 1 << 20).unwrap().len(), most);
        let error = read_at_most(&mut content(most + 1), 1 << 20).unwrap_err();
        assert!(error.to_string().starts_with("it is larger than 1 MiB"), "{error}");
        assert!(read_at_most(&mut io::repeat(b'x'), 1 << 20).is_err(), "one without an end");
    }
}
