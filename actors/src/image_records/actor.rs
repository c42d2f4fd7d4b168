//! The actor: keeps the records in memory, and the store in step with them.
//!
//! One commit is under way at a time; what changes meanwhile goes with the next. Whoever looks at the images is answered
//! once what it is told is on the disk, or the disk had its time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseActFuture, SpawnHandle,
    Supervised,
};
use cri_gc_policy::Image;
use slog::{Logger, error};
use tokio::sync::oneshot;

use super::records::{Batch, Records};
use super::refusals::Refusals;
use super::{AskProblem, AskUsed, Forget, Home, Refused, Remember, Used};
use crate::files::store::{self, Opened, Store, StoreError};
use crate::files::{WorkerGone, Workers};
use crate::seams::Clock;
use crate::supervision::failure_log::{FailureLog, First};
use crate::supervision::telling;

/// How long the store may take, to be read or to be written. A full or slow disk takes a while, a dead one never answers.
const WITHIN: Duration = Duration::from_secs(10);

/// The actor. Use it through [`super::ImageRecords`].
pub struct Keeper {
    records: Records,
    refusals: Refusals,
    home: Home,
    /// Used by the worker alone, for one job at a time.
    store: Option<Arc<Mutex<Store>>>,
    worker: Workers,
    loaded: bool,
    /// One is under way; what is done should it take too long.
    committing: Option<SpawnHandle>,
    /// Who waits for the next commit to end.
    waiting: Vec<oneshot::Sender<()>>,
    problem: Option<String>,
    failures: FailureLog<()>,
    clock: Clock,
    log: Logger,
}

/// Why the store was of no use.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Worker(#[from] WorkerGone),
}

impl Keeper {
    pub(super) fn new(home: Home, worker: Workers, clock: Clock, log: Logger) -> Self {
        let store = match &home {
            Home::Store(dir, origin) => Some(Arc::new(Mutex::new(Store::of(dir, origin.clone())))),
            Home::Memory | Home::Copy(..) => None,
        };
        Self {
            records: Records::new(clock.boot_id().to_owned()),
            refusals: Refusals::default(),
            loaded: home == Home::Memory,
            home,
            store,
            worker,
            committing: None,
            waiting: Vec::new(),
            problem: None,
            failures: FailureLog::new(First::Error),
            clock,
            log,
        }
    }

    /// Reads what is remembered from before.
    fn load(&self) -> impl Future<Output = Result<Opened, Failure>> + use<> {
        let (worker, home, store) = (self.worker.clone(), self.home.clone(), self.store.clone());
        async move {
            let read = worker.run_within(WITHIN, move || match (home, store) {
                (_, Some(store)) => lock(&store).open(),
                (Home::Copy(dir, origin), _) => {
                    store::look(&dir, &origin).map(|content| Opened { content, set_aside: None })
                }
                (_, None) => Ok(Opened::default()),
            });
            Ok(read.await??)
        }
    }

    fn loaded(&mut self, opened: Result<Opened, Failure>) {
        match opened {
            Ok(opened) => self.opened(opened),
            Err(failure) => {
                // Should it be read at last, nothing in it is to be overwritten by what is known now.
                self.records.unsure();
                self.failed(&failure);
            }
        }
        // Last: should it fall before, it is to be read again.
        self.loaded = true;
    }

    fn opened(&mut self, Opened { content, set_aside }: Opened) {
        if let Some(set_aside) = set_aside {
            error!(self.log, "{}", set_aside);
        }
        self.records.load(content, self.clock.moment());
    }

    /// Writes what the store does not hold yet, and again if that has changed meanwhile.
    fn commit(&mut self, ctx: &mut Context<Self>) {
        let Some(store) = self.store.clone() else { return self.waiting.clear() };
        if self.committing.is_some() {
            return;
        }
        let Some(batch) = self.records.batch() else { return self.waiting.clear() };
        let (worker, waiting) = (self.worker.clone(), std::mem::take(&mut self.waiting));
        // However long it takes: another one would only queue up behind it.
        let write = async move {
            let work = move || {
                let opened = lock(&store).commit(batch.clone())?;
                Ok::<_, StoreError>((batch, opened))
            };
            Ok(worker.run(work).await??)
        };
        self.committing =
            Some(ctx.run_later(WITHIN, |this, _ctx| this.failed(&WorkerGone::Hung(WITHIN).into())));
        ctx.spawn(wrap_future(write).map(move |written, this: &mut Self, ctx| {
            if let Some(late) = this.committing.take() {
                ctx.cancel_future(late);
            }
            this.committed(written);
            // Whoever waited is told by that these are gone.
            drop(waiting);
            // After a failure the next change is the next try.
            if this.problem.is_none() {
                this.commit(ctx);
            } else {
                this.waiting.clear();
            }
        }));
    }

    /// Ends with the next commit, or when there is nothing to commit; a disk that hangs is not waited for.
    fn next_commit(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = ()> + use<> {
        let (tell, told) = oneshot::channel::<()>();
        self.waiting.push(tell);
        self.commit(ctx);
        async move {
            // It is never sent on, only dropped.
            let _ = tokio::time::timeout(WITHIN, told).await;
        }
    }

    fn committed(&mut self, written: Result<(Batch, Option<Opened>), Failure>) {
        match written {
            Ok((batch, opened)) => {
                self.records.stored(&batch);
                if let Some(opened) = opened {
                    self.opened(opened);
                }
                self.succeeded();
            }
            Err(failure) => {
                self.records.unsure();
                self.failed(&failure);
            }
        }
    }

    fn failed(&mut self, failure: &Failure) {
        let what = match &self.home {
            Home::Memory => "the image records".to_owned(),
            Home::Store(dir, _) | Home::Copy(dir, _) => {
                format!("the image records in {}", store::path_in(dir).display())
            }
        };
        let text = format!(
            "{what} can't be used: {failure}; ages and uses of images are remembered in memory only until that is mended"
        );
        let line = self.failures.failed((), self.clock.now());
        // Whoever only looks says himself what he could not see.
        if self.store.is_some() {
            telling::failure(&self.log, &line, &text);
        }
        self.problem = Some(text);
    }

    fn succeeded(&mut self) {
        self.problem = None;
        let outage = self.failures.succeeded(self.clock.now());
        telling::recovery(&self.log, outage, "the image records are on the disk again");
    }
}

/// A panic within a job leaves a store that is opened anew, or one that is as good as ever.
fn lock(store: &Mutex<Store>) -> std::sync::MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if !self.loaded {
            // Nothing is answered before: without what was remembered every image would be new.
            ctx.wait(wrap_future(self.load()).map(|opened, this: &mut Self, _ctx| this.loaded(opened)));
        }
    }
}

impl Supervised for Keeper {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // What became of the commit under way is not known.
        if self.committing.take().is_some() {
            self.records.unsure();
        }
        self.waiting.clear();
    }
}

impl Handler<Used> for Keeper {
    type Result = ();

    fn handle(&mut self, Used { uses, seen_at }: Used, ctx: &mut Context<Self>) {
        self.records.used(uses, seen_at);
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
        // After a failure the store may be read by now: what it holds is older than what this look would say.
        let known = self.problem.is_some().then(|| self.next_commit(ctx));
        let known = wrap_future(async move {
            if let Some(known) = known {
                known.await;
            }
        });
        Box::pin(known.then(move |(), this: &mut Self, ctx| {
            this.records.look(&mut images, seen_at);
            this.refusals.retain(&images.iter().map(|image| image.id.as_str()).collect());
            for image in &mut images {
                image.in_use_elsewhere = this.refusals.is_waiting(&image.id, seen_at);
            }
            let stored = this.next_commit(ctx);
            wrap_future(async move {
                stored.await;
                images
            })
        }))
    }
}

impl Handler<Forget> for Keeper {
    type Result = ();

    fn handle(&mut self, Forget { id }: Forget, ctx: &mut Context<Self>) {
        self.records.forget(&id);
        self.refusals.forget(&id);
        self.commit(ctx);
    }
}

impl Handler<Refused> for Keeper {
    type Result = ();

    fn handle(&mut self, Refused { id, first, longest, at }: Refused, _ctx: &mut Context<Self>) {
        self.refusals.refused(id, first, longest, at);
    }
}

impl Handler<AskUsed> for Keeper {
    type Result = MessageResult<AskUsed>;

    fn handle(&mut self, AskUsed { since }: AskUsed, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.records.used_since(since))
    }
}

impl Handler<AskProblem> for Keeper {
    type Result = MessageResult<AskProblem>;

    fn handle(&mut self, _ask: AskProblem, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.problem.clone())
    }
}
