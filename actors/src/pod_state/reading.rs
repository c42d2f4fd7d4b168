//! Reads the sources that list pods: first what the runtime has, then the list, which is held against it.
//!
//! What a list proves is not decided here. Blocking work runs on the workers.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use cri_gc_config::Kubelet;
use cri_gc_policy::{Container, Sandbox, SandboxState};
use jiff::{SignedDuration, Timestamp};
use slog::Logger;

use super::SyncError;
use super::absence::Sync;
use super::kubelet;
use super::listing::Listing;
use crate::files::Workers;
use crate::gateway::{Freshness, Gateway};
use crate::seams::Clock;

/// How long a file system may take to answer: a network mount that hangs must not hold up who asks for pods.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A file may be this much ahead of the clock: file systems and clocks round differently.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(10);

/// What reading needs. Owned by each question, so that none holds the actor.
#[derive(Clone)]
pub struct Reader {
    pub gateway: Gateway,
    pub files: Workers,
    pub clock: Clock,
    pub log: Logger,
}

/// What the runtime had right before a list was asked for.
pub struct Before {
    /// UIDs of the pods that have a ready sandbox.
    pub ready: HashSet<String>,
    /// Ids of all containers and sandboxes.
    pub objects: HashSet<String>,
}

impl Before {
    /// A list that lacks every pod that runs, while some do, is not that of this node (spec 2, proof rule 3).
    ///
    /// # Errors
    /// It is such a list.
    pub fn check(&self, listing: &Listing) -> Result<(), SyncError> {
        if !self.ready.is_empty() && !self.ready.iter().any(|uid| listing.pods.contains_key(uid)) {
            return Err(SyncError::ListsNoneThatRun { ready: self.ready.len() });
        }
        Ok(())
    }
}

impl Reader {
    /// What the runtime has.
    pub async fn runtime(&self) -> Result<Before, SyncError> {
        let sandboxes = self.gateway.list::<Sandbox>(Freshness::Fresh).await?;
        let containers = self.gateway.list::<Container>(Freshness::Fresh).await?;
        let ready = sandboxes
            .iter()
            .filter(|sandbox| sandbox.state == SandboxState::Ready && !sandbox.pod_uid.is_empty())
            .map(|sandbox| sandbox.pod_uid.clone())
            .collect();
        let objects =
            sandboxes.iter().map(|s| s.id.clone()).chain(containers.iter().map(|c| c.id.clone())).collect();
        Ok(Before { ready, objects })
    }

    /// One sync of the source `file`.
    pub async fn file(&self, path: &Path) -> Result<Sync, SyncError> {
        let before = self.runtime().await?;
        let shown = path.display().to_string();
        let file = path.to_owned();
        let read = self.files.run_within(ANSWER_WITHIN, move || {
            // One descriptor for time and content, so that both are those of the same file, and a second look at the time
            // for one that is written to while it is read.
            let mut file = std::fs::File::open(&file)?;
            let changed = file.metadata()?.modified()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            if file.metadata()?.modified()? != changed {
                return Err(io::Error::other("it was written to while it was read"));
            }
            Ok((text, Timestamp::try_from(changed).map_err(io::Error::other)?))
        });
        let read: io::Result<(String, Timestamp)> =
            read.await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        let (text, at) = read.map_err(|error| SyncError::File { path: shown.clone(), error })?;
        let now = self.clock.now();
        if at.duration_since(now) > CLOCK_SLACK {
            return Err(SyncError::Future { path: shown, at });
        }
        let listing = Listing::parse(&text).map_err(|error| SyncError::Listing { path: shown, error })?;
        before.check(&listing)?;
        Ok(Sync { at: at.min(now), listing, objects: before.objects })
    }

    /// One sync of the source `kubelet`.
    pub async fn kubelet(&self, settings: &Kubelet) -> Result<Sync, SyncError> {
        let before = self.runtime().await?;
        let at = self.clock.now();
        let text = kubelet::ask(settings, &self.files).await?;
        let listing = Listing::of_kubelet(&text)
            .map_err(|error| SyncError::KubeletListing { url: settings.url.clone(), error })?;
        before.check(&listing)?;
        Ok(Sync { at, listing, objects: before.objects })
    }
}
