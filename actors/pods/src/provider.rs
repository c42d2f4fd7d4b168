//! The actor: reads the source when it is time to, answers who asks, and keeps what the pure parts remember.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture,
    SpawnHandle, Supervised,
};
use cri_gc_config::{PodSource, Settings};
use slog::{Logger, debug, info, warn};
use tokio::time::Instant;

use super::absence;
use super::kube_source::{self, Followed, Follower, News};
use super::memory::Memory;
use super::reading::Reader;
use super::{
    AskNamed, AskPods, AskSource, Configure, Confirm, Judge, Resync, SourceState, SyncError, Verdict,
};
use cri_gc_gateway::Gateway;
use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::seams::{Clock, Moment};
use cri_gc_kit::supervision::failure_log::{FailureLog, First};
use cri_gc_kit::supervision::grace::{GRACE, Grace, Weight};
use cri_gc_kit::supervision::guard::Guarded;
use cri_gc_kit::supervision::telling;
use cri_gc_kit::workers::Workers;

/// How often the service reads the source `file` (behaviour: Pod sources).
const READ_EVERY: Duration = Duration::from_secs(10);

/// Two readings by the service are at least this far apart, as those of a one-shot command are (behaviour: Pod sources).
const APART: Duration = absence::APART.unsigned_abs();

/// The actor. Use it through [`super::PodStates`].
pub struct Provider {
    reader: Reader,
    configuration: Configure,
    memory: Rc<RefCell<Memory>>,
    /// When it began to remember: a clock that was set since makes all of it void.
    since: Moment,
    failures: FailureLog<u64>,
    /// For failures that may pass by themselves.
    grace: Grace,
    /// Whether the service reads the source, and when it last did.
    reading: bool,
    read_at: Option<Instant>,
    /// Who follows the source `kube-api`.
    following: Option<SpawnHandle>,
    /// How many there have been: only the last is listened to.
    follower: u64,
    /// Why the source could not be read the last time.
    problem: Option<String>,
}

impl Provider {
    pub(super) fn new(
        gateway: Gateway,
        files: Workers,
        clock: Clock,
        configuration: Configure,
        log: Logger,
    ) -> Self {
        let (failures, since) = (FailureLog::new(First::Error), clock.moment());
        Self {
            reader: Reader { gateway, files, clock, log },
            configuration,
            memory: Rc::default(),
            since,
            failures,
            grace: Grace::default(),
            reading: false,
            read_at: None,
            following: None,
            follower: 0,
            problem: None,
        }
    }
}

impl Actor for Provider {
    type Context = Context<Self>;
}

impl Guarded for Provider {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        if self.configuration.service {
            // The first reading at once: two are needed before anything is proved.
            ctx.notify(Reread);
            self.follow(ctx);
        }
    }
}

impl Supervised for Provider {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // What was remembered may have been half written when it fell. That the clock was set is still true.
        let memory = self.memory.try_borrow_mut().map(|mut memory| memory.anew()).unwrap_or_default();
        self.memory = Rc::new(RefCell::new(memory));
        self.reading = false;
        self.following = None;
    }
}

/// Read the source because it is time to.
#[derive(Message)]
#[rtype(result = "()")]
struct Reread;

impl Handler<Reread> for Provider {
    type Result = ();

    fn handle(&mut self, _reread: Reread, ctx: &mut Context<Self>) {
        ctx.notify_later(Reread, self.read_every());
        // Whoever follows the source tells how it is: nothing was read here that could say that it is back.
        if self.configuration.settings.pods.source == PodSource::KubeApi {
            self.start_over_if_the_clock_was_set(ctx);
            return;
        }
        // Two readings that end together are one: what both lack may have been missing for a moment only.
        let too_soon = self.read_at.is_some_and(|at| at.elapsed() < APART);
        if self.reading || too_soon {
            return;
        }
        self.reading = true;
        let reading = Handler::<Resync>::handle(self, Resync, ctx);
        let memory = Rc::clone(&self.memory);
        ctx.spawn(wrap_future(reading).map(move |read, this: &mut Self, _ctx| {
            this.reading = false;
            this.read_at = Some(Instant::now());
            // What was asked by other rules says nothing of the source that holds now.
            if Rc::ptr_eq(&memory, &this.memory) {
                this.tell(&read);
            }
        }));
    }
}

impl Handler<Followed> for Provider {
    type Result = ();

    fn handle(&mut self, Followed { by, news }: Followed, ctx: &mut Context<Self>) {
        self.start_over_if_the_clock_was_set(ctx);
        // What was told before other settings held, or before the clock was set, is of no use.
        if by != self.follower {
            return;
        }
        match news {
            News::Listed(sync, api) => {
                let memory = &mut *self.memory.borrow_mut();
                memory.absence.listed(*sync);
                memory.api = Some(api);
            }
            News::Steady => self.tell(&Ok(())),
            News::Heard(changed) => {
                let now = self.reader.clock.now();
                self.memory.borrow_mut().absence.heard(changed, now);
            }
            News::Lost(error) => {
                self.memory.borrow_mut().absence.failed();
                self.tell(&Err(error));
            }
        }
    }
}

impl Provider {
    /// How often the source is read that tells nothing by itself.
    fn read_every(&self) -> Duration {
        let pods = &self.configuration.settings.pods;
        if pods.source == PodSource::Kubelet { pods.kubelet.period.max(APART) } else { READ_EVERY }
    }

    /// Follows the source `kube-api`, and nobody else any more.
    fn follow(&mut self, ctx: &mut Context<Self>) {
        self.follower += 1;
        if let Some(before) = self.following.take() {
            ctx.cancel_future(before);
        }
        let settings = Arc::clone(&self.configuration.settings);
        if settings.pods.source == PodSource::KubeApi {
            let wanted = Rc::clone(&self.memory.borrow().list_wanted);
            let (mut reader, provider) = (self.reader.clone(), ctx.address());
            // Of its own: a program that tells a token may hang, and no other source is to wait for it.
            match Workers::start(1) {
                Ok(files) => reader.files = files,
                Err(error) => warn!(reader.log, "no thread is left for the credentials: {}", error),
            }
            let follower = Follower { number: self.follower, reader, settings, wanted, provider };
            self.following = Some(ctx.spawn(wrap_future(kube_source::follow(follower))));
        }
    }

    /// What was proved by times of a clock that was set since is not proved (behaviour: Clock changes).
    fn start_over_if_the_clock_was_set(&mut self, ctx: &mut Context<Self>) {
        let clock = &self.reader.clock;
        if clock.was_set_since(&self.since) {
            warn!(self.reader.log, "the clock was set; all proofs of deleted pods start over");
            let (now, mut memory) = (clock.now(), self.memory.borrow_mut().anew());
            memory.clock_set = Some(now);
            memory.runtime.watch_anew(now);
            memory.leftovers.count_from(now);
            self.since = clock.moment();
            self.begin_anew(memory, ctx);
        }
    }

    /// What is under way was asked by other rules, or by another clock: it still comes to the memory that it began with.
    fn begin_anew(&mut self, memory: Memory, ctx: &mut Context<Self>) {
        self.memory = Rc::new(RefCell::new(memory));
        if self.configuration.service {
            self.follow(ctx);
        }
    }

    /// Tells how a reading by itself went, less and less while it fails the same way.
    fn tell(&mut self, read: &Result<(), SyncError>) {
        let (now, log) = (self.reader.clock.now(), &self.reader.log);
        self.problem = read.as_ref().err().map(ToString::to_string);
        match read {
            Ok(()) => {
                let outage = self.failures.succeeded(now);
                if self.grace.passed() && outage.is_none() {
                    info!(log, "the pod source is ready");
                }
                telling::recovery(log, outage, "the pod source is back");
            }
            // The gateway has told it.
            Err(SyncError::Runtime(error)) if error.is_away() => {
                debug!(log, "the pod source failed: {}", error)
            }
            Err(error) if error.is_ordinary() => debug!(log, "the pod source begins anew: {}", error),
            Err(error) => match self.grace.weigh(error.may_pass(), now) {
                Weight::MayPass { is_first: true } => {
                    info!(
                        log,
                        "the pod source is not ready yet, which is a failure once it has lasted for {}s: {}",
                        GRACE.as_secs(),
                        error
                    );
                }
                Weight::MayPass { is_first: false } => {
                    debug!(log, "the pod source is not ready yet: {}", error);
                }
                Weight::Failure { since } => {
                    let line = self.failures.failed(error.kind(), since);
                    telling::failure(log, &line, &format!("the pod source failed: {error}"));
                }
            },
        }
    }
}

impl Handler<Reconfigure> for Provider {
    type Result = ();

    fn handle(&mut self, Reconfigure(generation): Reconfigure, ctx: &mut Context<Self>) {
        // All that a proof rests on. What was proved by another source, or by a shorter grace, proves nothing here.
        let rules = |settings: &Settings| {
            let pods = &settings.pods;
            (
                (pods.source, pods.file.clone(), pods.kubelet_root.clone()),
                (pods.runtime_grace, pods.max_staleness, pods.max_newly_deleted_percent),
                (pods.kubelet.clone(), pods.kube_api.clone()),
            )
        };
        let others = rules(&generation.settings) != rules(&self.configuration.settings);
        self.configuration.settings = Arc::clone(&generation.settings);
        if others {
            self.problem = None;
            self.grace = Grace::default();
            let memory = self.memory.borrow_mut().anew();
            self.begin_anew(memory, ctx);
        }
    }
}

impl Handler<AskSource> for Provider {
    type Result = MessageResult<AskSource>;

    fn handle(&mut self, _ask: AskSource, _ctx: &mut Context<Self>) -> Self::Result {
        let pods = &self.configuration.settings.pods;
        let (memory, now) = (self.memory.borrow(), self.reader.clock.now());
        let leftovers = memory.leftovers.notes(now);
        let (synced, synced_at) = match pods.source {
            // The collectors' own lists are all there is to it.
            PodSource::Runtime => (memory.asked, None),
            _ => memory.absence.synced_at(&memory.rules(&self.configuration), now),
        };
        MessageResult(SourceState {
            source: pods.source,
            synced,
            synced_at,
            problem: self.problem.clone(),
            notes: memory.notes.iter().chain(&memory.asking_failed).cloned().chain(leftovers).collect(),
        })
    }
}

impl Handler<AskNamed> for Provider {
    type Result = MessageResult<AskNamed>;

    fn handle(&mut self, _ask: AskNamed, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.memory.borrow().absence.named())
    }
}

impl Handler<Judge> for Provider {
    type Result = ResponseFuture<Verdict>;

    fn handle(&mut self, Judge(seen): Judge, ctx: &mut Context<Self>) -> Self::Result {
        self.start_over_if_the_clock_was_set(ctx);
        let (reader, configuration, memory) =
            (self.reader.clone(), self.configuration.clone(), Rc::clone(&self.memory));
        Box::pin(async move {
            let mut verdict = match configuration.settings.pods.source {
                PodSource::Runtime => reader.judge_by_runtime(&seen, &configuration, &memory).await,
                _ => reader.judge_by_lists(&seen, &configuration, &memory).await,
            };
            let mut memory = memory.borrow_mut();
            memory.asked = true;
            verdict.clock_set = memory.clock_set;
            memory.notes = verdict.notes.iter().chain(&verdict.report_only).cloned().collect();
            verdict
        })
    }
}

impl Handler<Confirm> for Provider {
    type Result = MessageResult<Confirm>;

    fn handle(&mut self, _confirm: Confirm, _ctx: &mut Context<Self>) -> Self::Result {
        let pods = self.memory.borrow_mut().confirm(self.reader.clock.now());
        warn!(self.reader.log, "an administrator confirms that pods which vanished at once are deleted"; "pods" => pods);
        MessageResult(pods)
    }
}

impl Handler<AskPods> for Provider {
    type Result = MessageResult<AskPods>;

    fn handle(&mut self, _ask: AskPods, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.memory.borrow().chronicle.facts())
    }
}

impl Handler<Resync> for Provider {
    type Result = ResponseFuture<Result<(), SyncError>>;

    fn handle(&mut self, _resync: Resync, ctx: &mut Context<Self>) -> Self::Result {
        self.start_over_if_the_clock_was_set(ctx);
        let (reader, configuration, memory) =
            (self.reader.clone(), self.configuration.clone(), Rc::clone(&self.memory));
        Box::pin(async move {
            let settings = &*configuration.settings;
            let pods = &settings.pods;
            let sync = match (pods.source, &pods.file) {
                // The runtime is asked by the collectors themselves.
                (PodSource::Runtime, _) => return Ok(()),
                // The service follows it; it need not be read.
                (PodSource::KubeApi, _) if configuration.service => return Ok(()),
                (PodSource::File, Some(file)) => reader.file(file).await,
                (PodSource::File, None) => Err(SyncError::NoFile),
                (PodSource::Kubelet, _) => match reader.kubelet(&pods.kubelet).await {
                    Ok(sync) => {
                        let now = reader.clock.now();
                        memory.borrow_mut().trust(sync, configuration.confirmed, now)
                    }
                    Err(error) => {
                        // It may start again meanwhile.
                        memory.borrow_mut().only_static_since = None;
                        Err(error)
                    }
                },
                (PodSource::KubeApi, _) => {
                    let known = memory.borrow().api.clone();
                    let api = match known {
                        Some(api) => api,
                        None => kube_source::connect(&reader, settings).await?,
                    };
                    memory.borrow_mut().api = Some(api.clone());
                    kube_source::read(&reader, &api).await
                }
            };
            let absence = &mut memory.borrow_mut().absence;
            match sync {
                Ok(sync) => {
                    absence.synced(sync);
                    Ok(())
                }
                Err(error) => {
                    absence.failed();
                    Err(error)
                }
            }
        })
    }
}
