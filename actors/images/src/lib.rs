//! The keeper of image records: remembers when each image was first seen and last used, over restarts and crashes (behaviour: Image ages).
//!
//! Every pass tells it which images the containers that it saw use, so that short-lived jobs count; image GC
//! ([`ImageRecords::remember`]) gets its images back with what is remembered. What it tells is on the disk before, or in the
//! runtime directory where that is refused, unless both fail: then it goes on from memory, says so, and tries again. A question
//! ([`ImageRecords::recall`]) changes nothing and waits for no disk. It asks the runtime nothing and decides nothing.
//!
//! - [`records`]: what is remembered, pure; `merging`: what two know of the same images. `refusals`: which images the runtime
//!   refused to remove. `actor`: who keeps it. The store is `files::store`.

mod actor;
mod merging;
pub mod records;
mod refusals;
pub mod store;

use std::time::Duration;

use actix::{Addr, ArbiterHandle, Message};
use cri_gc_config::Settings;
use cri_gc_policy::Image;
use cri_gc_policy::images::ImageUse;
use jiff::Timestamp;
use slog::Logger;
use tokio::sync::watch;

pub use crate::store::Origin;
use crate::store::path_in;
use actor::Keeper;
use cri_gc_files::dirs::Dirs;
use cri_gc_kit::seams::{Clock, Moment};
use cri_gc_kit::supervision::guard::{self, Fell, Pace};
use cri_gc_kit::workers::Workers;
use records::Records;

/// Where the records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// Nowhere: they end with the process.
    Memory,
    /// In the store of these directories, which no other process uses meanwhile.
    Store(Dirs, Origin),
    /// They begin with those of the store of these directories, and nothing is written.
    Copy(Dirs, Origin),
}

impl Home {
    /// In the store of the settings.
    #[must_use]
    pub fn store(settings: &Settings) -> Self {
        Self::Store(Dirs::of(settings), Origin::here(settings))
    }

    /// A copy of that: whoever only looks disturbs nobody who works with it.
    #[must_use]
    pub fn copy(settings: &Settings) -> Self {
        Self::Copy(Dirs::of(settings), Origin::here(settings))
    }
}

/// These references were seen used, each last at that time.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
struct Used {
    uses: Vec<(String, Timestamp)>,
    seen_at: Moment,
}

/// These are all images. Say what is remembered of them.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<Image>")]
struct Remember {
    images: Vec<Image>,
    seen_at: Moment,
}

/// A question: these are all images, and these references were seen used. What is remembered of them?
#[derive(Debug, Clone, Message)]
#[rtype(result = "Recalled")]
struct Recall {
    images: Vec<Image>,
    uses: Vec<(String, Timestamp)>,
    seen_at: Moment,
}

/// What a question gets back.
#[derive(Debug, Clone)]
pub struct Recalled {
    /// All images with what is remembered of them. One that is not known counts as first seen now.
    pub images: Vec<Image>,
    /// Why that may not be all, or would not survive a restart.
    pub problem: Option<String>,
}

/// Is all on the disk that was told before? Answered once it is, or the disk had its time.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct Flush;

/// The images of this id were removed, or may have been.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
struct Forget {
    id: String,
}

/// Which uses of images were reported since the last look at all of them, later than that?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<String>")]
struct AskUsed {
    since: Option<Timestamp>,
}

/// The runtime has refused to remove the images of this id, because something else uses them.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
struct Refused {
    id: String,
    first: Duration,
    longest: Duration,
    at: Moment,
}

/// How is the store?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<String>")]
struct AskProblem;

/// What do the ages of the images rest on?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Ages")]
struct AskAges;

/// What the ages of the images rest on.
#[derive(Debug, Clone)]
pub struct Ages {
    /// Nothing was remembered from before this process, so that every image counts as first seen by it.
    pub are_new: bool,
    /// Why they end with this process; `None` if they are kept, or are not meant to be.
    pub lost: Option<String>,
}

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
    /// Starts the keeper on an arbiter. Its worker is for the store alone: a disk that hangs holds up nothing else.
    pub fn start(
        on: &ArbiterHandle,
        (pace, fell): (Pace, Fell),
        home: Home,
        store: Workers,
        clock: Clock,
        log: Logger,
    ) -> Self {
        let (tell, loaded) = watch::channel(home == Home::Memory);
        let loading = match &home {
            Home::Store(dirs, _) => Some(format!(
                "the image records in {} are still being read; until then every image counts as first seen now",
                path_in(&dirs.state).display()
            )),
            // It is read for the question.
            Home::Memory | Home::Copy(..) => None,
        };
        let keeper = guard::start(on, pace, fell, move |_| Keeper::new(home, store, clock, log, tell));
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
        let uses = uses.into_iter().map(|used| (used.into().to_text(), until)).collect();
        self.keeper.do_send(Used { uses, seen_at });
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

    /// Ends once all is on the disk that was told before, or the disk had its time.
    pub async fn flush(&self) {
        // While the keeper is being restarted nothing is on its way.
        let _ = self.keeper.send(Flush).await;
    }

    /// The images of this id were removed, or may have been: should they be pulled again, they are new.
    pub fn forget(&self, id: &str) {
        self.keeper.do_send(Forget { id: id.to_owned() });
    }

    /// The runtime has refused to remove the images of this id because something else uses them: they are not tried again before a
    /// pause that begins with `first` and doubles up to `longest`.
    pub fn refused(&self, id: &str, first: Duration, longest: Duration, at: Moment) {
        self.keeper.do_send(Refused { id: id.to_owned(), first, longest, at });
    }

    /// The uses that a loop has reported later than that, as [`ImageUse::to_text`] writes them. `None` while that can't be told.
    pub async fn used_since(&self, since: Option<Timestamp>) -> Option<Vec<String>> {
        self.keeper.send(AskUsed { since }).await.ok()
    }

    /// Why the records would not survive a restart now; `None` if they would, or are not meant to.
    pub async fn problem(&self) -> Option<String> {
        self.keeper
            .send(AskProblem)
            .await
            .unwrap_or_else(|_| Some("the keeper of the image records is being restarted".to_owned()))
    }
    /// What the ages of the images rest on. `None` while the keeper is being restarted.
    pub async fn ages(&self) -> Option<Ages> {
        self.keeper.send(AskAges).await.ok()
    }
}
