//! The pod-state actor: reads the source when it is time to, takes each question through its steps, and is the only one that
//! writes what is remembered.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ready, wrap_future};
use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseActFuture, SpawnHandle,
    Supervised,
};
use cri_gc_config::{PodSource, Pods, Settings, Unmanaged};
use slog::{debug, info, warn};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::absence;
use super::absence::Reading;
use super::error::{ErrorKind, ServerFailure, SourceError};
use super::judge::{Facts, Memory};
use super::kube_api::Api;
use super::kube_source;
use super::messages::{AskSource, Configure, Confirm, Followed, Judge, Resync, SourceState};
use super::sources::{Before, SourceChange, Sources};
use super::verdict::{Judgement, Verdict};
use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::seams::Moment;
use cri_gc_kit::supervision::failure_log::{FailureLog, First};
use cri_gc_kit::supervision::grace::{GRACE, Grace, Weight};
use cri_gc_kit::supervision::guard::Guarded;
use cri_gc_kit::supervision::outage_log;
use cri_gc_kit::workers::Workers;

/// How often the service reads the source `file`.
const READ_EVERY: Duration = Duration::from_secs(10);

/// Two readings by the service are at least this far apart, as those of a one-shot command are.
const APART: Duration = absence::APART.unsigned_abs();

/// Pause after the API server did not answer: callers that wait for a judgement would wait one after another.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// The actor. Use it through [`super::handle::PodStates`].
pub struct Provider {
    sources: Sources,
    configuration: Configure,
    memory: Memory,
    /// Counts how often the memory was dropped: answers to earlier questions are dropped.
    era: u64,
    /// When it began to remember: a clock that was set since makes all of it void.
    since: Moment,
    asking: Asking,
    /// What the last judgement saw of the runtime, for a source that is read again and again.
    before: Option<Rc<Before>>,
    /// Source `kube-api`: a newer list could prove more.
    list_wanted: Rc<Notify>,
    /// Follows the source `kube-api`.
    following: Option<SpawnHandle>,
    /// Whether the service reads the source, and when it last did.
    reading: bool,
    read_at: Option<Instant>,
    failures: FailureLog<ErrorKind>,
    /// For failures that may pass by themselves.
    grace: Grace,
    /// Why the source could not be read the last time.
    problem: Option<String>,
}

/// How single pods are queried, with the source `kube-api`. It is dropped with the memory.
#[derive(Default)]
struct Asking {
    api: Option<Api>,
    /// Held by one judgement at a time: the next one finds what was proved by then, and queries nothing twice.
    round: Arc<Mutex<()>>,
    /// The API server did not answer, for this reason; from then on it is asked again.
    again: Option<(Instant, String)>,
    /// Queries for pods failed for this reason, which may pass by itself.
    failed: Option<String>,
    grace: Grace,
}

impl Provider {
    pub(super) fn new(sources: Sources, configuration: Configure) -> Self {
        Self {
            since: sources.clock.moment(),
            sources,
            configuration,
            memory: Memory::default(),
            era: 0,
            asking: Asking::default(),
            before: None,
            list_wanted: Rc::default(),
            following: None,
            reading: false,
            read_at: None,
            failures: FailureLog::new(First::Error),
            grace: Grace::default(),
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
            self.reread(ctx);
            self.follow(ctx);
        }
    }
}

impl Supervised for Provider {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // What was remembered may be half written. That the clock was set is still true.
        self.memory.forget();
        self.start_era();
        self.reading = false;
        self.following = None;
    }
}

impl Handler<Resync> for Provider {
    type Result = ResponseActFuture<Self, Result<(), SourceError>>;

    fn handle(&mut self, _resync: Resync, ctx: &mut Context<Self>) -> Self::Result {
        self.start_over_if_the_clock_was_set(ctx);
        let settings = Arc::clone(&self.configuration.settings);
        let is_read = match settings.pods.source {
            // The runtime is asked for each judgement.
            PodSource::Runtime => false,
            // The service follows it.
            PodSource::KubeApi => !self.configuration.service,
            PodSource::File | PodSource::Kubelet => true,
        };
        if !is_read {
            return Box::pin(ready(Ok(())));
        }
        let (era, sources, api) = (self.era, self.sources.clone(), self.asking.api.clone());
        let earlier = self.before.clone();
        let reading = wrap_future(async move { sources.read(&settings, api, earlier).await });
        Box::pin(reading.map(move |read: Result<(Reading, _), _>, this: &mut Self, _ctx| {
            if era != this.era {
                return read.map(drop);
            }
            let read = read.map(|(reading, api)| {
                this.asking.api = api;
                reading
            });
            this.memory.read(read, this.configuration.confirmed, this.sources.clock.now())
        }))
    }
}

impl Handler<Followed> for Provider {
    type Result = ();

    fn handle(&mut self, Followed { era, change }: Followed, ctx: &mut Context<Self>) {
        self.start_over_if_the_clock_was_set(ctx);
        if era != self.era {
            return;
        }
        match change {
            SourceChange::Listed(reading, api) => {
                self.memory.absence.listed(*reading);
                self.asking.api = Some(api);
            }
            SourceChange::Steady => self.log_reading(&Ok(())),
            SourceChange::Watched(changed) => self.memory.absence.watched(changed, self.sources.clock.now()),
            SourceChange::Lost(error) => {
                self.memory.absence.void_lists();
                self.log_reading(&Err(error));
            }
        }
    }
}

impl Handler<Judge> for Provider {
    type Result = ResponseActFuture<Self, Verdict>;

    fn handle(&mut self, Judge(seen): Judge, ctx: &mut Context<Self>) -> Self::Result {
        self.start_over_if_the_clock_was_set(ctx);
        let (era, began) = (self.era, self.sources.clock.moment());
        let (sources, configuration) = (self.sources.clone(), self.configuration.clone());
        let is_asking = configuration.settings.pods.source == PodSource::KubeApi;
        let round = is_asking.then(|| Arc::clone(&self.asking.round));
        let gathered = wrap_future(async move {
            let round = match round {
                Some(round) => Some(round.lock_owned().await),
                None => None,
            };
            (sources.gather(seen, &configuration).await, round)
        });
        let asked = gathered.then(move |(mut facts, round), this: &mut Self, _ctx| {
            if era == this.era {
                let rules = this.memory.rules(&this.configuration);
                this.memory.plan(&mut facts, &rules, this.sources.clock.now());
            }
            let (sources, settings) = (this.sources.clone(), Arc::clone(&this.configuration.settings));
            let (api, again) = (this.asking.api.clone(), this.asking.again.clone());
            let unreachable = again.filter(|(at, _)| Instant::now() < *at).map(|(_, error)| error);
            wrap_future(async move {
                let unreachable = sources.ask(&mut facts, &settings, api, unreachable).await;
                (facts, unreachable, round)
            })
        });
        Box::pin(asked.then(move |(facts, unreachable, round), this: &mut Self, ctx| {
            let verdict: Self::Result = if this.sources.clock.was_set_since(&began) {
                // By timestamps of the other clock nothing is known any more.
                Box::pin(ready(Verdict::nothing(
                    "the clock was set during the check; the next pass checks again",
                )))
            } else if era == this.era {
                Box::pin(ready(this.judge(facts, unreachable)))
            } else {
                // Other rules are in force: the facts are gathered again by these.
                this.handle(Judge(facts.seen), ctx)
            };
            drop(round);
            verdict
        }))
    }
}

impl Provider {
    /// Reads the source if it is time to, and again after a while.
    fn reread(&mut self, ctx: &mut Context<Self>) {
        let pods = &self.configuration.settings.pods;
        let (source, period) = (pods.source, pods.kubelet.period.max(APART));
        let pause = if source == PodSource::Kubelet { period } else { READ_EVERY };
        ctx.run_later(pause, Self::reread);
        // The task that follows the source reports its state: nothing was read here that could say that it is reachable.
        if source == PodSource::KubeApi {
            self.start_over_if_the_clock_was_set(ctx);
            return;
        }
        // Two readings that end together are one: what is missing from both may have been missing for a moment only.
        let too_soon = self.read_at.is_some_and(|at| at.elapsed() < APART);
        if self.reading || too_soon {
            return;
        }
        self.reading = true;
        let reading = Handler::<Resync>::handle(self, Resync, ctx);
        let era = self.era;
        ctx.spawn(reading.map(move |read, this: &mut Self, _ctx| {
            this.reading = false;
            this.read_at = Some(Instant::now());
            // What was asked by other rules says nothing of the source that is asked now.
            if era == this.era {
                this.log_reading(&read);
            }
        }));
    }

    /// The last step of a question: all is asked, and nothing else happens meanwhile.
    fn judge(&mut self, facts: Facts, unreachable: Option<String>) -> Verdict {
        let now = self.sources.clock.now();
        if let Some(error) = unreachable {
            self.asking.again = Some((Instant::now() + ASK_AGAIN, error));
        }
        let rules = self.memory.rules(&self.configuration);
        if matches!(rules.source, PodSource::File | PodSource::Kubelet) {
            self.before = Some(Rc::new(Before::of(&facts.seen.sandboxes, &facts.seen.containers)));
        }
        let Judgement { mut verdict, orphaned, asking_failed, wants_list, .. } =
            self.memory.judge(facts, &rules, now);
        if self.configuration.service {
            // Logged here, once for all loops.
            if let Some(orphaned) = orphaned {
                warn!(self.sources.log, "{}", orphaned);
            }
            self.asking.failed = None;
            match asking_failed.map(|why| (self.asking.grace.weigh(true, now), why)) {
                Some((Weight::Failure { .. }, why)) => verdict.notes.push(why),
                Some((Weight::MayPass { .. }, why)) => self.asking.failed = Some(why),
                None => _ = self.asking.grace.passed(),
            }
        } else {
            // A one-shot command reports what its only observation shows.
            verdict.notes.extend(asking_failed);
            verdict.notes.extend(self.memory.leftovers.notes(now));
        }
        if wants_list {
            self.list_wanted.notify_one();
        }
        self.memory.notes = Some(verdict.notes.iter().chain(&verdict.report_only).cloned().collect());
        verdict
    }

    /// Follows the source `kube-api`, and no other one any more.
    fn follow(&mut self, ctx: &mut Context<Self>) {
        if let Some(before) = self.following.take() {
            ctx.cancel_future(before);
        }
        let settings = Arc::clone(&self.configuration.settings);
        if settings.pods.source == PodSource::KubeApi {
            let (era, actor, mut sources) = (self.era, ctx.address(), self.sources.clone());
            // Of its own: a program that prints a token may hang, and no other source is to wait for it.
            match Workers::start(1) {
                Ok(files) => sources.files = files,
                Err(error) => warn!(
                    sources.log,
                    "could not start a thread to read the credentials of the API server: {}", error
                ),
            }
            let report = move |change| actor.do_send(Followed { era, change });
            let wanted = Rc::clone(&self.list_wanted);
            let following = kube_source::follow(sources, settings, wanted, report);
            self.following = Some(ctx.spawn(wrap_future(following)));
        }
    }

    /// What was proved by timestamps of a clock that was set since is not proved (behaviour: Clock changes).
    fn start_over_if_the_clock_was_set(&mut self, ctx: &mut Context<Self>) {
        let clock = &self.sources.clock;
        if clock.was_set_since(&self.since) {
            warn!(self.sources.log, "the clock was set: the confirmation of deleted pods starts again");
            self.memory.forget_before_clock_change(clock.now());
            self.since = clock.moment();
            self.start_over(ctx);
        }
    }

    /// The memory was dropped: what is being asked is asked by other rules, or by another clock.
    fn start_over(&mut self, ctx: &mut Context<Self>) {
        self.start_era();
        if self.configuration.service {
            self.follow(ctx);
        }
    }

    fn start_era(&mut self) {
        self.era += 1;
        self.asking = Asking::default();
    }

    /// Logs the result of a reading by itself, less and less often while it fails the same way.
    fn log_reading(&mut self, read: &Result<(), SourceError>) {
        let (now, log) = (self.sources.clock.now(), &self.sources.log);
        let source = self.configuration.settings.pods.source.as_str();
        self.problem = read.as_ref().err().map(ToString::to_string);
        match read {
            Ok(()) => {
                let outage = self.failures.succeeded(now);
                if self.grace.passed() && outage.is_none() {
                    info!(log, "pod source {} synced", source);
                }
                outage_log::recovery(log, outage, &format!("pod source {source} synced again"));
            }
            // The gateway has logged it.
            Err(SourceError::Runtime(error)) if error.is_unreachable() => {
                debug!(log, "pod source {} failed: {}", source, error)
            }
            Err(error @ SourceError::Server { failure: ServerFailure::Expired, .. }) => {
                debug!(log, "pod source {}: {}", source, error)
            }
            Err(error) => match self.grace.weigh(error.may_pass(), now) {
                Weight::MayPass { is_first: true } => {
                    info!(
                        log,
                        "pod source {} not ready yet, an error after {}: {}",
                        source,
                        cri_gc_kit::text::duration(GRACE),
                        error
                    );
                }
                Weight::MayPass { is_first: false } => {
                    debug!(log, "pod source {} not ready yet: {}", source, error);
                }
                Weight::Failure { since } => {
                    let line = self.failures.failed(error.kind(), since);
                    let text = format!("pod source {source} failed, so no pod counts as deleted: {error}");
                    outage_log::failure(log, &line, &text);
                }
            },
        }
    }
}

impl Handler<Reconfigure> for Provider {
    type Result = ();

    fn handle(&mut self, Reconfigure(generation): Reconfigure, ctx: &mut Context<Self>) {
        // What was proved by another source, or by a shorter grace, proves nothing by these. What is done with objects is no evidence.
        let evidence = |settings: &Settings| Pods {
            unmanaged: Unmanaged::default(),
            runtime_beside_kubelet: false,
            ..settings.pods.clone()
        };
        let has_other_rules = evidence(&generation.settings) != evidence(&self.configuration.settings);
        self.configuration.settings = Arc::clone(&generation.settings);
        if has_other_rules {
            self.problem = None;
            self.grace = Grace::default();
            self.memory.forget();
            self.start_over(ctx);
        }
    }
}

impl Handler<AskSource> for Provider {
    type Result = MessageResult<AskSource>;

    fn handle(&mut self, _ask: AskSource, _ctx: &mut Context<Self>) -> Self::Result {
        let pods = &self.configuration.settings.pods;
        let (memory, now) = (&self.memory, self.sources.clock.now());
        let leftovers = memory.leftovers.notes(now);
        let (synced, synced_at) = match pods.source {
            // It lists nothing but what collectors list.
            PodSource::Runtime => (memory.notes.is_some(), None),
            _ => memory.absence.synced_at(&memory.rules(&self.configuration), now),
        };
        MessageResult(SourceState {
            source: pods.source,
            synced,
            synced_at,
            problem: self.problem.clone(),
            notes: memory
                .notes
                .iter()
                .flatten()
                .chain(&self.asking.failed)
                .cloned()
                .chain(leftovers)
                .collect(),
            images: (pods.source == PodSource::Runtime || memory.absence.was_read())
                .then(|| memory.absence.named()),
            pods: memory.chronicle.facts(),
        })
    }
}

impl Handler<Confirm> for Provider {
    type Result = MessageResult<Confirm>;

    fn handle(&mut self, _confirm: Confirm, _ctx: &mut Context<Self>) -> Self::Result {
        let pods = self.memory.confirm(self.sources.clock.now());
        if pods > 0 {
            let counted = cri_gc_policy::text::counted(pods, "missing pod");
            warn!(self.sources.log, "an operator confirmed that {} may count as deleted (--confirm-deleted)", counted; "pods" => pods);
        }
        MessageResult(pods)
    }
}
