//! The supervisor of a loop: it starts the loop's actor on a thread of its own, keeps it going, hands on what it is asked,
//! tells its failures, and answers for it even while it hangs (behaviour: Passes and loops).
//!
//! A loop that panics comes back on its own thread, with its value and its mailbox (`supervision::guard`). A loop whose
//! thread hangs does not answer a ping: its lease is revoked, so that it removes nothing should it ever go on, and another
//! is started on a new thread, with the settings and the pause that hold now. The address of a loop is that of its
//! supervisor and never changes. The supervisor makes no pass, and asks nothing of the runtime.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message, Recipient,
    ResponseFuture, Supervised,
};
use cri_gc_config::Mode;
use jiff::Timestamp;
use tokio::sync::watch;

use super::actor::{Collector, Schedule, Service};
use super::collect::Collect;
use super::messages::{AskState, Declined, Finish, Link, News, NewsOf, Pause, Ping, RunPass, Wake};
use super::state::{Doing, LoopState};
use super::telling::Telling;
use crate::report::PassReport;
use crate::tools::Tools;
use cri_gc_kit::generation::{Generation, Reconfigure};
use cri_gc_kit::recorder::{Event, EventKind};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::guard::{self, Guarded, Pace};
use cri_gc_kit::supervision::threads::{Lease, Thread, Threads};
use cri_gc_kit::text::duration;

/// A loop that does not answer for this long is said to hang. It is started anew after `supervision.hang_timeout` only.
const SILENCE: Duration = Duration::from_secs(2);

/// How often a loop is pinged, in parts of the time that it may take to answer.
const PINGS: u32 = 4;

/// While the service comes to rest: a loop that does not answer for this long has no removal under way that it could tell.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// The supervisor of a collector.
pub struct Supervisor<C: Collect> {
    make: Arc<dyn Fn() -> C + Send + Sync>,
    threads: Threads,
    /// The loop's tools. Its clock is not asked here: it may be one that breaks the loop.
    tools: Tools,
    clock: Clock,
    schedule: Schedule,
    next: Next,
    generation: Arc<Generation>,
    /// Since when it is paused.
    paused: Option<Timestamp>,
    stopping: bool,
    /// As it was at the start: it takes effect then only.
    hang_timeout: Duration,
    pub(super) current: Current<C>,
    /// Tells the number of the loop that holds now, to whoever waits for one that was replaced.
    replaced: watch::Sender<u64>,
    pinged: bool,
    telling: Telling,
    facts: Facts,
}

/// Has one loop's passes woken another's: the chain of container, sandbox and log passes.
pub type Next = Vec<Recipient<Wake>>;

/// What the supervisors of a service have alike.
pub struct Base {
    /// Where the supervisor runs.
    pub on: ArbiterHandle,
    /// Where its loop gets its thread from.
    pub threads: Threads,
    /// The first generation of settings.
    pub generation: Arc<Generation>,
    /// When the loop makes passes.
    pub schedule: Schedule,
    /// The supervisor's own clock.
    pub clock: Clock,
}

/// The loop as it runs now.
pub(super) struct Current<C: Collect> {
    number: u64,
    pub(super) address: Addr<Collector<C>>,
    thread: Thread,
    lease: Lease,
}

/// What is known of the loop from its news.
struct Facts {
    doing: Doing,
    since: Timestamp,
    follows: u64,
    next_pass_at: Option<Timestamp>,
    last: Option<PassReport>,
    passes: u64,
    removed: u64,
    freed_bytes: u64,
    restarts: u64,
    last_restart: Option<String>,
}

impl<C: Collect> Supervisor<C> {
    /// Starts it on an arbiter, and the loop on a thread of its own. `make` makes the loop's own part, anew for each thread:
    /// what has to outlive a thread is shared by what it makes. `next` are woken after each pass.
    pub fn start(
        Base { on, threads, generation, schedule, clock }: Base,
        tools: Tools,
        next: Next,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Addr<Self> {
        let pace = Pace::from(&*generation.settings);
        let fell = guard::log_restart(tools.log.clone(), "supervisor", Some(C::LOOP));
        guard::start(&on, pace, fell, move |ctx| {
            let make: Arc<dyn Fn() -> C + Send + Sync> = Arc::new(make);
            let now = clock.now();
            let telling = Telling::new(C::LOOP, C::FIRST_FAILURE, tools.log.clone(), tools.recorder.clone());
            let hired = Hire { threads: &threads, tools: &tools, schedule: &schedule, make: &make };
            let current = hired.hire(1, (Arc::clone(&generation), false), ctx.address().recipient());
            Self {
                facts: Facts::new(now, generation.number),
                hang_timeout: generation.settings.supervision.hang_timeout,
                clock,
                make,
                threads,
                tools,
                schedule,
                next,
                generation,
                paused: None,
                stopping: false,
                current,
                replaced: watch::channel(1).0,
                pinged: false,
                telling,
            }
        })
    }

    /// Whether the loop is silent, by its own fault.
    fn ping(&mut self, ctx: &mut Context<Self>) {
        if self.pinged || self.stopping {
            return;
        }
        self.pinged = true;
        let (limit, number) = (self.hang_timeout, self.current.number);
        let answer = tokio::time::timeout(limit, self.current.address.send(Ping));
        ctx.spawn(wrap_future(answer).map(move |answer, this: &mut Self, ctx| {
            this.pinged = false;
            // In the pause before a restart it can't answer.
            let excused = this.facts.doing == Doing::Restarting || this.current.number != number;
            if !matches!(answer, Ok(Ok(()))) && !excused && !this.stopping {
                this.replace(ctx, limit);
            }
        }));
    }

    /// Gives the loop another thread.
    fn replace(&mut self, ctx: &mut Context<Self>, hung_for: Duration) {
        let now = self.clock.now();
        let why = format!(
            "its thread did not answer for {} (supervision.hang_timeout); it continues on a new thread",
            duration(hung_for)
        );
        self.telling.fell("hang", &why, Duration::ZERO, now);
        let hire =
            Hire { threads: &self.threads, tools: &self.tools, schedule: &self.schedule, make: &self.make };
        let holds = (Arc::clone(&self.generation), self.paused.is_some());
        let next = hire.hire(self.current.number + 1, holds, ctx.address().recipient());
        // Only now: should no thread be left for another one, this one may go on if it comes to.
        self.current.lease.revoke();
        let old = std::mem::replace(&mut self.current, next);
        old.thread.abandon();
        self.replaced.send_replace(self.current.number);
        self.facts.fell(why, now);
        self.facts.follows = self.generation.number;
    }

    fn state(&self) -> LoopState {
        let facts = &self.facts;
        let mode = C::LOOP.mode(&self.generation.settings);
        let (doing, since) = match (facts.doing, self.paused) {
            (Doing::Waiting, Some(since)) => (Doing::Paused, since),
            (Doing::Waiting, None) if mode == Mode::Off => (Doing::Off, facts.since),
            (doing, _) => (doing, facts.since),
        };
        let (failures, failing_since) = self.telling.outage();
        let idle = matches!(doing, Doing::Paused | Doing::Off | Doing::Stopped);
        LoopState {
            of: C::LOOP,
            mode,
            doing,
            since,
            paused_since: self.paused,
            generation: facts.follows,
            period: C::period(&self.generation.settings),
            next_pass_at: if idle { None } else { facts.next_pass_at },
            last: facts.last.clone(),
            passes: facts.passes,
            removed: facts.removed,
            freed_bytes: facts.freed_bytes,
            failures,
            failing_since,
            restarts: facts.restarts,
            last_restart: facts.last_restart.clone(),
        }
    }
}

/// What starting a loop takes.
struct Hire<'a, C: Collect> {
    threads: &'a Threads,
    tools: &'a Tools,
    schedule: &'a Schedule,
    make: &'a Arc<dyn Fn() -> C + Send + Sync>,
}

impl<C: Collect> Hire<'_, C> {
    fn hire(&self, number: u64, holds: (Arc<Generation>, bool), news: Recipient<NewsOf>) -> Current<C> {
        let (thread, lease) = (self.threads.start(), Lease::default());
        let tools = Tools { gateway: self.tools.gateway.under(lease.clone()), ..self.tools.clone() };
        let service = Service { schedule: self.schedule.clone(), link: Link { number, to: news } };
        let (make, (generation, paused)) = (Arc::clone(self.make), holds);
        let holds = (generation, paused, lease.clone());
        let address = Collector::serve(&thread.handle, tools, holds, service, move || make());
        Current { number, address, thread, lease }
    }
}

impl Facts {
    fn new(now: Timestamp, follows: u64) -> Self {
        Self {
            doing: Doing::Waiting,
            since: now,
            follows,
            next_pass_at: None,
            last: None,
            passes: 0,
            removed: 0,
            freed_bytes: 0,
            restarts: 0,
            last_restart: None,
        }
    }

    fn now_does(&mut self, doing: Doing, now: Timestamp) {
        // Once at rest it stays at rest.
        if self.doing != doing && self.doing != Doing::Stopped {
            (self.doing, self.since) = (doing, now);
        }
    }

    fn fell(&mut self, why: String, now: Timestamp) {
        self.restarts += 1;
        self.last_restart = Some(why);
        self.now_does(Doing::Restarting, now);
    }

    fn ended(&mut self, last: PassReport) {
        self.passes += 1;
        self.removed += last.counts.removed;
        self.freed_bytes += last.counts.freed_bytes;
        self.last = Some(last);
    }
}

impl<C: Collect> Actor for Supervisor<C> {
    type Context = Context<Self>;
}

impl<C: Collect> Guarded for Supervisor<C> {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.hang_timeout / PINGS, Self::ping);
    }
}

impl<C: Collect> Supervised for Supervisor<C> {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // The ping under way went with the fall.
        self.pinged = false;
    }
}

impl<C: Collect> Handler<NewsOf> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, NewsOf(number, news): NewsOf, _ctx: &mut Context<Self>) {
        if number != self.current.number {
            return;
        }
        let now = self.clock.now();
        match news {
            News::Planned { next } => {
                self.facts.next_pass_at = next;
                if self.facts.doing == Doing::Restarting {
                    self.facts.now_does(Doing::Waiting, now);
                }
            }
            News::Began { next } => {
                self.facts.next_pass_at = next;
                self.facts.now_does(Doing::Running, now);
            }
            News::Ended { report, seen } => {
                self.facts.now_does(Doing::Waiting, now);
                // A loop that is switched off has neither failed nor recovered.
                if report.mode != Mode::Off {
                    self.telling.of(&report, now);
                    self.facts.ended(report.summary());
                }
                for next in &self.next {
                    next.do_send(Wake { seen: seen.clone() });
                }
            }
            News::Follows(generation) => self.facts.follows = generation,
            News::Fell { why, pause } => {
                self.telling.fell("panic", &why, pause, now);
                self.facts.fell(why, now);
            }
        }
    }
}

impl<C: Collect> Handler<Reconfigure> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, reconfigure: Reconfigure, _ctx: &mut Context<Self>) {
        self.generation = Arc::clone(&reconfigure.0);
        self.current.address.do_send(reconfigure);
    }
}

impl<C: Collect> Handler<Pause> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, Pause(paused): Pause, _ctx: &mut Context<Self>) {
        if paused == self.paused.is_some() {
            return;
        }
        self.paused = paused.then(|| self.clock.now());
        let kind = if paused { EventKind::Paused } else { EventKind::Resumed };
        slog::info!(self.tools.log, "{}", if paused { "paused" } else { "resumed" }; "loop" => C::LOOP.as_str());
        self.tools.recorder.record(Event::new(kind, Some(C::LOOP), ""));
        self.current.address.do_send(Pause(paused));
    }
}

impl<C: Collect> Handler<AskState> for Supervisor<C> {
    type Result = ResponseFuture<LoopState>;

    fn handle(&mut self, _ask: AskState, _ctx: &mut Context<Self>) -> Self::Result {
        let mut state = self.state();
        let ping = tokio::time::timeout(SILENCE, self.current.address.send(Ping));
        Box::pin(async move {
            // In the pause before a restart it can't answer.
            if state.doing != Doing::Restarting && ping.await.is_err() {
                state.doing = Doing::Hung;
            }
            state
        })
    }
}

impl<C: Collect> Handler<Ping> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, _ping: Ping, _ctx: &mut Context<Self>) {}
}

impl<C: Collect> Handler<Finish> for Supervisor<C> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _finish: Finish, ctx: &mut Context<Self>) -> Self::Result {
        self.stopping = true;
        let (address, lease, me) = (self.current.address.clone(), self.current.lease.clone(), ctx.address());
        Box::pin(async move {
            let hangs = async {
                while let Ok(Ok(())) = tokio::time::timeout(GIVEN_UP, address.send(Ping)).await {
                    tokio::time::sleep(GIVEN_UP).await;
                }
            };
            tokio::select! {
                // A loop that is gone is at rest.
                _ = address.send(Finish) => {}
                () = hangs => {
                    lease.revoke();
                    // Should it ever go on. The question above went with whoever asked it.
                    address.do_send(Finish);
                }
            }
            me.do_send(AtRest);
        })
    }
}

/// The loop has come to rest.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct AtRest;

impl<C: Collect> Handler<AtRest> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, _at_rest: AtRest, _ctx: &mut Context<Self>) {
        self.facts.now_does(Doing::Stopped, self.clock.now());
    }
}

impl<C: Collect> Handler<Wake> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, wake: Wake, _ctx: &mut Context<Self>) {
        self.current.address.do_send(wake);
    }
}

impl<C: Collect> Handler<RunPass> for Supervisor<C> {
    type Result = ResponseFuture<Result<PassReport, Declined>>;

    fn handle(&mut self, run: RunPass, _ctx: &mut Context<Self>) -> Self::Result {
        let pass = self.current.address.send(run);
        let mut replaced = self.replaced.subscribe();
        // It is none of the supervisor's own futures: the pass is reported also if the supervisor restarts meanwhile.
        Box::pin(async move {
            tokio::select! {
                report = pass => report.unwrap_or(Err(Declined::Fell(C::LOOP))),
                _ = replaced.changed() => Err(Declined::Fell(C::LOOP)),
            }
        })
    }
}
