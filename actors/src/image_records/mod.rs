//! The keeper of image records: remembers when each image was first seen and last used, over restarts and crashes (spec 6).
//!
//! Every loop tells it which images the containers that it saw use, so that short-lived jobs count; whoever looks at the
//! images ([`ImageRecords::remember`]) gets them back with what is remembered. What it tells is on the disk before, unless
//! the disk fails: then it goes on from memory, says so, and tries again. It asks the runtime nothing and decides nothing.
//!
//! - [`records`]: what is remembered, pure. `refusals`: which images the runtime refused to remove. `actor`: who keeps it. The store is `files::store`.

mod actor;
pub mod records;
mod refusals;

use std::path::PathBuf;
use std::time::Duration;

use actix::{Addr, ArbiterHandle, Message};
use cri_gc_config::Settings;
use cri_gc_policy::Image;
use cri_gc_policy::images::ImageUse;
use jiff::Timestamp;
use slog::Logger;

use crate::files::Workers;
pub use crate::files::store::Origin;
use crate::seams::{Clock, Moment};
use crate::supervision::guard::{self, Fell, Pace};
use actor::Keeper;

/// Where the records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// Nowhere: they end with the process.
    Memory,
    /// In the store of this state directory, of which nobody else makes use meanwhile.
    Store(PathBuf, Origin),
    /// They begin with those of the store of this state directory, and nothing is written.
    Copy(PathBuf, Origin),
}

impl Home {
    /// In the store of the settings.
    #[must_use]
    pub fn store(settings: &Settings) -> Self {
        Self::Store(settings.state.dir.clone(), Origin::here(settings))
    }

    /// A copy of that: whoever only looks disturbs nobody who works with it.
    #[must_use]
    pub fn copy(settings: &Settings) -> Self {
        Self::Copy(settings.state.dir.clone(), Origin::here(settings))
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

/// A handle to the keeper. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ImageRecords(Addr<Keeper>);

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
        Self(guard::start(on, pace, fell, move |_| Keeper::new(home, store, clock, log)))
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
        self.0.do_send(Used { uses, seen_at });
    }

    /// All images with what is remembered of them. `None` while the keeper is being restarted.
    pub async fn remember(&self, images: Vec<Image>, seen_at: Moment) -> Option<Vec<Image>> {
        self.0.send(Remember { images, seen_at }).await.ok()
    }

    /// The images of this id were removed, or may have been: should they be pulled again, they are new.
    pub fn forget(&self, id: &str) {
        self.0.do_send(Forget { id: id.to_owned() });
    }

    /// The runtime has refused to remove the images of this id because something else uses them: they are not tried again before a
    /// pause that begins with `first` and doubles up to `longest`.
    pub fn refused(&self, id: &str, first: Duration, longest: Duration, at: Moment) {
        self.0.do_send(Refused { id: id.to_owned(), first, longest, at });
    }

    /// The uses that a loop has reported later than that, as [`ImageUse::to_text`] writes them. `None` while that can't be told.
    pub async fn used_since(&self, since: Option<Timestamp>) -> Option<Vec<String>> {
        self.0.send(AskUsed { since }).await.ok()
    }

    /// Why the records would not survive a restart now; `None` if they would, or are not meant to.
    pub async fn problem(&self) -> Option<String> {
        self.0
            .send(AskProblem)
            .await
            .unwrap_or_else(|_| Some("the keeper of the image records is being restarted".to_owned()))
    }
}
