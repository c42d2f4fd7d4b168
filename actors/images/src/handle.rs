//! The handle to the keeper, for all loops and commands.

use std::time::Duration;

use actix::{Addr, ArbiterHandle};
use cri_gc_kit::seams::{Clock, Moment};
use cri_gc_kit::supervision::guard::{self, OnRestart, Pace};
use cri_gc_kit::workers::Workers;
use cri_gc_policy::Image;
use cri_gc_policy::images::ImageUse;
use jiff::Timestamp;
use slog::Logger;
use tokio::sync::watch;

use crate::home::Home;
use crate::keeper::Keeper;
use crate::messages::{Ages, AskAges, AskUsed, Flush, Note, Recall, Recalled, Remember};
use crate::records::Records;

/// How long a question waits for the store to be read at the start. It takes milliseconds, unless the disk hangs.
const LOADED_WITHIN: Duration = Duration::from_millis(500);

/// A handle to the keeper. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ImageRecords {
    keeper: Addr<Keeper>,
    /// Whether the keeper has read its store.
    loaded: watch::Receiver<bool>,
    /// What a question is answered with before, if it is not to wait for that.
    loading: Option<String>,
}

impl ImageRecords {
    /// Starts the keeper on an arbiter. Its worker is for the store alone: a disk that hangs blocks nothing else.
    pub fn start(
        on: &ArbiterHandle,
        (pace, on_restart): (Pace, OnRestart),
        home: Home,
        store: Workers,
        clock: Clock,
        log: Logger,
    ) -> Self {
        let (sender, loaded) = watch::channel(home == Home::Memory);
        let loading = match &home {
            Home::Store(..) => Some(format!(
                "{} are still being read; until then every image counts as first seen now",
                home.describe()
            )),
            // It is read for the question.
            Home::Memory | Home::Copy(..) => None,
        };
        let keeper =
            guard::start(on, pace, on_restart, move |_| Keeper::new(home, store, clock, log, sender));
        Self { keeper, loaded, loading }
    }

    /// Containers and specs of pods were seen that use images so.
    pub fn seen<'a, U: Into<ImageUse<'a>>>(&self, uses: impl IntoIterator<Item = U>, seen_at: Moment) {
        self.were_used(uses, seen_at.wall(), seen_at);
    }

    /// A container that used images so until then was removed.
    pub fn were_used<'a, U: Into<ImageUse<'a>>>(
        &self,
        uses: impl IntoIterator<Item = U>,
        until: Timestamp,
        seen_at: Moment,
    ) {
        let uses: Vec<_> = uses.into_iter().map(|used| (used.into().to_text(), until)).collect();
        if !uses.is_empty() {
            self.keeper.do_send(Note::Used { uses, seen_at });
        }
    }

    /// All images with what is remembered of them. `None` while the keeper is being restarted.
    pub async fn remember(&self, images: Vec<Image>, seen_at: Moment) -> Option<Vec<Image>> {
        self.keeper.send(Remember { images, seen_at }).await.ok()
    }

    /// All images with what is remembered of them, for a question: nothing is changed or written, and no commit is waited for.
    /// The references were seen used at that time. `None` while the keeper is being restarted.
    pub async fn recall(
        &self,
        mut images: Vec<Image>,
        uses: impl IntoIterator<Item = (String, Timestamp)>,
        seen_at: Moment,
    ) -> Option<Recalled> {
        let uses = uses.into_iter().collect::<Vec<_>>();
        if let Some(loading) = &self.loading {
            let mut loaded = self.loaded.clone();
            if tokio::time::timeout(LOADED_WITHIN, loaded.wait_for(|loaded| *loaded)).await.is_err() {
                Records::default().recall(&mut images, &uses, seen_at);
                return Some(Recalled { images, problem: Some(loading.clone()) });
            }
        }
        self.keeper.send(Recall { images, uses, seen_at }).await.ok()
    }

    /// Ends once all that was reported before is on the disk, or the disk had its time.
    pub async fn flush(&self) {
        // While the keeper is being restarted nothing is on its way.
        let _ = self.keeper.send(Flush).await;
    }

    /// The images of this id were removed, or may have been: should they be pulled again, they are new.
    pub fn forget(&self, id: &str) {
        self.keeper.do_send(Note::Removed { id: id.to_owned() });
    }

    /// The runtime has refused to remove the images of this id because something else uses them: they are not tried again before a
    /// pause that begins with `first` and doubles up to `longest`.
    pub fn refused(&self, id: &str, first: Duration, longest: Duration, at: Moment) {
        self.keeper.do_send(Note::Refused { id: id.to_owned(), first, longest, at });
    }

    /// The uses that a loop has reported later than that, as [`ImageUse::to_text`] writes them. `None` while the keeper is being restarted.
    pub async fn used_since(&self, since: Option<Timestamp>) -> Option<Vec<String>> {
        self.keeper.send(AskUsed { since }).await.ok()
    }

    /// Why the records would not survive a restart now; `None` if they would, or are not meant to.
    pub async fn problem(&self) -> Option<String> {
        let restarting = || {
            Some(
                "the image records of cri-gc are being restarted after a panic; try again, and see the log"
                    .to_owned(),
            )
        };
        self.ages().await.map_or_else(restarting, |ages| ages.problem)
    }

    /// What the ages of the images rest on. `None` while the keeper is being restarted.
    pub async fn ages(&self) -> Option<Ages> {
        self.keeper.send(AskAges).await.ok()
    }
}
