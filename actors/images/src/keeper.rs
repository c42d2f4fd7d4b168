//! The actor: keeps the records in memory, and writes them to the store.
//!
//! One commit is in progress at a time; what changes meanwhile is committed with the next. A pass is answered once its answer
//! is on the disk, or the disk had its time; a question is answered at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseActFuture, SpawnHandle,
    Supervised,
};
use cri_gc_policy::Image;
use slog::{Logger, error};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::home::Home;
use crate::messages::{Ages, AskAges, AskUsed, Flush, Note, Recall, Recalled, Remember};
use crate::records::Records;
use crate::refusals::Refusals;
use crate::store::fallback::{FallbackStore, Outcome, read_both};
use crate::store::{Opened, StoreError, path_in};
use cri_gc_files::dirs::Dirs;
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::failure_log::{FailureLog, First};
use cri_gc_kit::supervision::guard::Guarded;
use cri_gc_kit::supervision::outage_log;
use cri_gc_kit::workers::{WorkerGone, Workers};

/// The shortest time from the beginning of one commit to that of the next, unless a caller waits: each goes through all records, and a pass
/// that removes thousands of images changes them all the time.
const BETWEEN: Duration = Duration::from_millis(250);

/// How long the store may take, to be read or to be written. A full or slow disk takes a while, a dead one never answers.
const WITHIN: Duration = Duration::from_secs(10);

/// The actor. Use it through [`super::ImageRecords`].
pub struct Keeper {
    records: Records,
    refusals: Refusals,
    home: Home,
    /// Used by the worker alone, for one job at a time.
    store: Option<Arc<Mutex<FallbackStore>>>,
    worker: Workers,
    /// Whether the store was read, or could not be.
    loaded: watch::Sender<bool>,
    /// Nothing was remembered from before.
    is_new: bool,
    /// One is in progress; the timer for one that takes too long.
    committing: Option<SpawnHandle>,
    /// How many have been begun, and when the last one was.
    commits: u64,
    began: Option<Instant>,
    /// The next commit, where it is not time for it yet.
    later: Option<SpawnHandle>,
    /// The next commit reads the store first.
    is_unread: bool,
    /// Callers that wait for the next commit to end.
    waiting: Vec<oneshot::Sender<()>>,
    problem: Option<String>,
    /// The last commit was written to the copy.
    is_in_copy: bool,
    failures: FailureLog<Kept>,
    clock: Clock,
    log: Logger,
}

/// Where the records are kept while the state directory can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kept {
    InCopy,
    InMemory,
}

impl Keeper {
    pub(super) fn new(
        home: Home,
        worker: Workers,
        clock: Clock,
        log: Logger,
        loaded: watch::Sender<bool>,
    ) -> Self {
        let store = match &home {
            Home::Store(dirs, origin) => {
                let store = FallbackStore::new(dirs.clone(), origin.clone(), clock.boot_id().to_owned());
                Some(Arc::new(Mutex::new(store)))
            }
            Home::Memory | Home::Copy(..) => None,
        };
        Self {
            records: Records::new(clock.boot_id().to_owned()),
            refusals: Refusals::default(),
            loaded,
            is_new: true,
            home,
            store,
            worker,
            committing: None,
            commits: 0,
            began: None,
            later: None,
            is_unread: false,
            waiting: Vec::new(),
            problem: None,
            is_in_copy: false,
            failures: FailureLog::new(First::Error),
            clock,
            log,
        }
    }

    /// Reads what is remembered from before.
    fn load(&self) -> impl Future<Output = Result<Outcome, StoreError>> + use<> {
        let (worker, home, store) = (self.worker.clone(), self.home.clone(), self.store.clone());
        let boot_id = self.clock.boot_id().to_owned();
        async move {
            let read = worker.run_within(WITHIN, move || {
                let content = match (home, store) {
                    (_, Some(store)) => return lock(&store).open(),
                    (Home::Copy(dirs, origin), _) => read_both(&dirs, &origin, &boot_id)?,
                    (_, None) => return Ok(Outcome { opened: None, refused: None }),
                };
                Ok(Outcome { opened: Some(Opened { content, set_aside: None }), refused: None })
            });
            read.await?
        }
    }

    fn loaded(&mut self, loaded: Result<Outcome, StoreError>) {
        let refused = match loaded {
            Ok(Outcome { opened, refused }) => {
                self.opened(opened);
                refused
            }
            Err(error) => Some(error),
        };
        if let Some(error) = refused {
            self.mark_unread();
            // Whether the copy can be written is seen by the first commit, which is logged.
            if self.has_copy() && !matches!(error, StoreError::Worker(_)) {
                self.problem = Some(format!("{} can't be used: {error}", self.home.describe()));
            } else {
                self.failed(&error.to_string(), Kept::InMemory);
            }
        }
        // Last: after a panic before this, the store is read again.
        self.loaded.send_replace(true);
    }

    fn opened(&mut self, opened: Option<Opened>) {
        let Some(Opened { content, set_aside }) = opened else { return };
        if let Some(set_aside) = set_aside {
            error!(self.log, "{}", set_aside);
        }
        self.is_new &= content.observed.is_none();
        self.records.load(content, self.clock.moment());
    }

    fn has_copy(&self) -> bool {
        matches!(&self.home, Home::Store(dirs, _) if dirs.runtime.is_some())
    }

    /// What the store holds is not known: it is read before it is written again, so that nothing in it is overwritten by less.
    fn mark_unread(&mut self) {
        self.is_unread = true;
        self.records.mark_unsaved();
    }

    /// Writes what the store does not have yet, and again if that has changed meanwhile.
    fn commit(&mut self, ctx: &mut Context<Self>) {
        let Some(store) = self.store.clone() else { return self.waiting.clear() };
        if self.committing.is_some() {
            return;
        }
        let pause = self.began.map_or(Duration::ZERO, |began| BETWEEN.saturating_sub(began.elapsed()));
        if self.waiting.is_empty() && !pause.is_zero() {
            if self.later.is_none() {
                let commit = |this: &mut Self, ctx: &mut Context<Self>| {
                    this.later = None;
                    this.commit(ctx);
                };
                self.later = Some(ctx.run_later(pause, commit));
            }
            return;
        }
        let Some(content) = self.records.unsaved() else { return self.waiting.clear() };
        self.began = Some(Instant::now());
        let is_unread = std::mem::take(&mut self.is_unread);
        let (worker, waiting) = (self.worker.clone(), std::mem::take(&mut self.waiting));
        // However long it takes: another one would only queue up behind it.
        let write = async move {
            let work = move || {
                let mut store = lock(&store);
                if is_unread {
                    store.close();
                }
                store.commit(content)
            };
            worker.run(work).await?
        };
        self.commits += 1;
        let number = self.commits;
        self.committing = Some(ctx.run_later(WITHIN, move |this, _ctx| {
            // actix still runs it in the poll in which the commit ends.
            if this.committing.is_none() || this.commits != number {
                return;
            }
            this.failed(&WorkerGone::Hung(WITHIN).to_string(), Kept::InMemory);
        }));
        ctx.spawn(wrap_future(write).map(move |written, this: &mut Self, ctx| {
            if let Some(late) = this.committing.take() {
                ctx.cancel_future(late);
            }
            let is_kept = this.committed(written);
            // The callers that wait for this commit are answered when these are dropped.
            drop(waiting);
            // After a failure the next change is the next attempt.
            if this.problem.is_none() || (is_kept && !this.waiting.is_empty()) {
                this.commit(ctx);
            } else {
                this.waiting.clear();
            }
        }));
    }

    /// Ends with the next commit, or when there is nothing to commit; a disk that hangs is not waited for.
    fn next_commit(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = ()> + use<> {
        let (sender, ended) = oneshot::channel::<()>();
        // While the disk hangs, callers that gave up are not kept.
        self.waiting.retain(|waiting| !waiting.is_closed());
        self.waiting.push(sender);
        self.commit(ctx);
        async move {
            // It is never sent on, only dropped.
            let _ = tokio::time::timeout(WITHIN, ended).await;
        }
    }

    /// Whether the records are in the store, or in its copy.
    fn committed(&mut self, written: Result<Outcome, StoreError>) -> bool {
        let (kept, why) = match written {
            Ok(Outcome { opened, refused }) => {
                self.opened(opened);
                match refused {
                    None => {
                        self.succeeded();
                        return true;
                    }
                    Some(refused) => (Kept::InCopy, refused.to_string()),
                }
            }
            Err(failure) => (Kept::InMemory, failure.to_string()),
        };
        self.mark_unread();
        self.failed(&why, kept);
        kept == Kept::InCopy
    }

    fn failed(&mut self, why: &str, kept: Kept) {
        let what = self.home.describe();
        let text = match (kept, &self.home) {
            (Kept::InCopy, Home::Store(Dirs { runtime: Some(runtime), .. }, _)) => format!(
                "{what} can't be written: {why}; they are kept in {}, where a reboot deletes them. Free space in state.dir, or make \
                 it writable; they move back by themselves",
                path_in(runtime).display()
            ),
            _ => format!(
                "{what} can't be used: {why}; until that is fixed, ages and uses of images are kept in memory only, and a restart loses them"
            ),
        };
        let line = self.failures.failed(kept, self.clock.now());
        // A command that only reads reports itself what it could not read.
        if self.store.is_some() {
            outage_log::failure(&self.log, &line, &text);
        }
        self.problem = Some(text);
        self.is_in_copy = kept == Kept::InCopy;
    }

    fn succeeded(&mut self) {
        self.problem = None;
        let outage = self.failures.succeeded(self.clock.now());
        outage_log::recovery(&self.log, outage, "the image records are on the disk again");
    }
}

/// A panic within a job leaves a store that is opened again, or an intact one.
fn lock(store: &Mutex<FallbackStore>) -> std::sync::MutexGuard<'_, FallbackStore> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Guarded for Keeper {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        if !*self.loaded.borrow() {
            // No pass is answered before: without what was remembered every image would be new.
            ctx.wait(wrap_future(self.load()).map(|loaded, this: &mut Self, _ctx| this.loaded(loaded)));
        }
    }
}

impl Supervised for Keeper {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // The result of the commit in progress is not known, nor what it read.
        if self.committing.take().is_some() {
            self.mark_unread();
        }
        self.waiting.clear();
        self.later = None;
    }
}

impl Handler<Note> for Keeper {
    type Result = ();

    fn handle(&mut self, note: Note, ctx: &mut Context<Self>) {
        match note {
            Note::Used { uses, seen_at } => self.records.used(uses, seen_at),
            Note::Removed { id } => {
                self.records.forget(&id);
                self.refusals.forget(&id);
            }
            Note::Refused { id, first, longest, at } => return self.refusals.refused(id, first, longest, at),
        }
        self.commit(ctx);
    }
}

impl Handler<Remember> for Keeper {
    type Result = ResponseActFuture<Self, Vec<Image>>;

    fn handle(
        &mut self,
        Remember { mut images, seen_at }: Remember,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        // After a failure the store may be read by now: what it holds is older than what this list would say.
        let known = self.problem.is_some().then(|| self.next_commit(ctx));
        let known = wrap_future(async move {
            if let Some(known) = known {
                known.await;
            }
        });
        Box::pin(known.then(move |(), this: &mut Self, ctx| {
            this.records.list(&mut images, seen_at);
            this.refusals.retain(&images.iter().map(|image| image.id.as_str()).collect());
            this.refusals.fill_in(&mut images, seen_at);
            let stored = this.next_commit(ctx);
            wrap_future(async move {
                stored.await;
                images
            })
        }))
    }
}

impl Handler<Recall> for Keeper {
    type Result = MessageResult<Recall>;

    fn handle(
        &mut self,
        Recall { mut images, uses, seen_at }: Recall,
        _ctx: &mut Context<Self>,
    ) -> Self::Result {
        self.records.recall(&mut images, &uses, seen_at);
        self.refusals.fill_in(&mut images, seen_at);
        MessageResult(Recalled { images, problem: self.problem.clone() })
    }
}

impl Handler<Flush> for Keeper {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _flush: Flush, ctx: &mut Context<Self>) -> Self::Result {
        Box::pin(wrap_future(self.next_commit(ctx)))
    }
}

impl Handler<AskUsed> for Keeper {
    type Result = MessageResult<AskUsed>;

    fn handle(&mut self, AskUsed { since }: AskUsed, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.records.used_since(since))
    }
}

impl Handler<AskAges> for Keeper {
    type Result = MessageResult<AskAges>;

    fn handle(&mut self, _ask: AskAges, _ctx: &mut Context<Self>) -> Self::Result {
        let lost = self.problem.clone().filter(|_| self.store.is_some() && !self.is_in_copy);
        MessageResult(Ages { are_new: self.is_new, problem: self.problem.clone(), lost })
    }
}
