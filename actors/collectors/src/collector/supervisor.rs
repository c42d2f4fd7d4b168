//! The supervisor of a loop: it starts the loop's actor on a thread of its own, keeps it running, forwards what it is asked,
//! reports its failures, and answers for it even while it hangs (behaviour: Passes and loops).
//!
//! A loop that panics is restarted on its own thread, with its value and its mailbox (`supervision::guard`). A loop whose
//! thread hangs does not answer a ping: its lease is revoked, so that it removes nothing if it ever continues, and another
//! is started on a new thread, with the settings and the pause that are in force now. The address of a loop is that of its
//! supervisor and never changes. The supervisor makes no pass, and asks nothing of the runtime.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message, Recipient,
    ResponseFuture, SpawnHandle, Supervised,
};
use cri_gc_config::Mode;
use slog::info;
use tokio::sync::watch;

use super::actor::{Begin, Collector, Schedule, Service};
use super::collect::Collect;
use super::messages::{AskState, Declined, Finish, Link, News, NewsOf, Pause, Ping, RunPass};
use super::pass_log::PassLog;
use super::state::{Doing, LoopState, Paused};
use super::stuck::StuckObject;
use crate::report::{PassReport, Trigger};
use crate::tools::Tools;
use cri_gc_kit::generation::{Generation, Reconfigure};
use cri_gc_kit::recorder::{Event, EventKind};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::guard::{self, Guarded, Pace};
use cri_gc_kit::supervision::threads::{Lease, Thread, Threads};
use cri_gc_kit::text::duration;
use cri_gc_kit::words::LoopSettings;

/// A loop that does not answer for this long is said to hang. It is restarted after `supervision.hang_timeout` only.
const SILENCE: Duration = Duration::from_secs(2);

/// How often a loop is pinged, in parts of the time that it may take to answer.
const PINGS: u32 = 4;

/// How often it is checked whether the time of a pause is over.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// While the service shuts down: a loop that does not answer for this long has no removal in progress that it could report.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// The supervisor of a collector.
pub struct Supervisor<C: Collect> {
    hire: Hire<C>,
    clock: Clock,
    standing: Lease,
    next: Next,
    generation: Arc<Generation>,
    stopping: bool,
    /// As it was at the start: it takes effect then only.
    hang_timeout: Duration,
    pub(super) current: Current<C>,
    /// Sends the number of the loop that runs now to the callers that wait for one that was replaced.
    replaced: watch::Sender<u64>,
    pinged: bool,
    /// Ends the pause in time.
    resuming: Option<SpawnHandle>,
    log: PassLog,
    /// What is known of the loop, most of it from its news.
    state: LoopState,
}

/// The loops that are woken after each pass: the chain of container, sandbox and log passes.
pub type Next = Vec<Recipient<RunPass>>;

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
    /// How it is paused from the start.
    pub paused: Option<Paused>,
    /// The supervisor's own clock.
    pub clock: Clock,
    /// The right of other loops to remove things in the name of this one, whatever thread it runs on: they may while it enforces, is
    /// not paused and does not stop.
    pub standing: Lease,
}

/// The loop as it runs now.
pub(super) struct Current<C: Collect> {
    number: u64,
    pub(super) address: Addr<Collector<C>>,
    thread: Thread,
    lease: Lease,
}

impl<C: Collect> Supervisor<C> {
    /// Starts it on an arbiter, and the loop on a thread of its own. `make` makes the loop's own part, once for each thread:
    /// what has to outlive a thread is shared by what it makes. `next` are woken after each pass.
    pub fn start(
        Base { on, threads, generation, schedule, paused, clock, standing }: Base,
        tools: Tools,
        next: Next,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Addr<Self> {
        let pace = Pace::from(&*generation.settings);
        let crashed = guard::log_restart(tools.log.clone(), "supervisor", Some(C::LOOP));
        guard::start(&on, pace, crashed, move |ctx| {
            let log = PassLog::new(C::LOOP, C::FIRST_FAILURE, tools.log.clone(), tools.recorder.clone());
            let hire = Hire { threads, tools, schedule, make: Arc::new(make) };
            let in_force =
                InForce { generation: Arc::clone(&generation), is_paused: paused.is_some(), stuck: &[] };
            Self {
                state: LoopState { paused, ..LoopState::new(C::LOOP, &generation, clock.now()) },
                hang_timeout: generation.settings.supervision.hang_timeout,
                current: hire.hire(1, in_force, ctx.address().recipient()),
                clock,
                standing,
                hire,
                next,
                generation,
                stopping: false,
                replaced: watch::channel(1).0,
                pinged: false,
                resuming: None,
                log,
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
            let excused = this.state.doing == Doing::Restarting || this.current.number != number;
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
        self.log.crashed("hang", &why, Duration::ZERO, now);
        let in_force = InForce {
            generation: Arc::clone(&self.generation),
            is_paused: self.state.paused.is_some(),
            stuck: &self.state.stuck,
        };
        let next = self.hire.hire(self.current.number + 1, in_force, ctx.address().recipient());
        // Only now: should no thread be left for another one, this one may continue if it answers again.
        self.current.lease.revoke();
        let old = std::mem::replace(&mut self.current, next);
        old.thread.abandon();
        self.replaced.send_replace(self.current.number);
        self.state.crashed(why, now);
        self.state.generation = self.generation.number;
    }

    fn pause(&mut self, paused: Option<Paused>, event: Event, ctx: &mut Context<Self>) {
        self.state.paused = paused;
        self.enforce_pause(ctx);
        let (log, of) = (&self.hire.tools.log, C::LOOP.as_str());
        if paused.is_some() {
            info!(log, "paused"; "loop" => of);
        } else {
            info!(log, "resumed"; "loop" => of);
        }
        self.hire.tools.recorder.record(event);
    }

    /// Has the loop do what its pause says, from now on: a removal that waits in the gateway is not sent, even if the loop's thread
    /// does not answer.
    fn enforce_pause(&mut self, ctx: &mut Context<Self>) {
        let paused = self.state.paused;
        self.current.lease.pause(paused.is_some());
        self.current.address.do_send(Pause { paused, by: None });
        self.settle_standing();
        self.resume_in_time(ctx);
    }

    fn settle_standing(&self) {
        let enforces = self.state.mode == Mode::Enforce && self.state.paused.is_none() && !self.stopping;
        self.standing.suspend(!enforces);
    }

    /// Ends the pause once its time is over.
    fn resume_in_time(&mut self, ctx: &mut Context<Self>) {
        if let Some(before) = self.resuming.take() {
            ctx.cancel_future(before);
        }
        let Some(Paused { until: Some(until), .. }) = self.state.paused else { return };
        let left = Duration::try_from(until.duration_since(self.clock.now())).unwrap_or_default();
        // Again and again, for the clock may be set meanwhile.
        let wait = left.min(LOOK_AGAIN);
        self.resuming = Some(ctx.run_later(wait, move |this, ctx| {
            this.resuming = None;
            if this.clock.now() < until {
                this.resume_in_time(ctx);
            } else {
                let over = Event::new(EventKind::Resumed, Some(C::LOOP), "the time of the pause is over");
                this.pause(None, over, ctx);
            }
        }));
    }

    fn state(&self) -> LoopState {
        let mut state = self.state.clone();
        if state.doing == Doing::Waiting {
            match state.paused {
                Some(paused) => (state.doing, state.since) = (Doing::Paused, paused.since),
                None if state.mode == Mode::Off => state.doing = Doing::Off,
                None => {}
            }
        }
        if matches!(state.doing, Doing::Paused | Doing::Off | Doing::Stopped) {
            state.next_pass_at = None;
        }
        (state.failures, state.failing_since) = self.log.outage();
        state
    }
}

/// What a loop continues from: the settings and the pause that are in force, and what could not be removed.
struct InForce<'a> {
    generation: Arc<Generation>,
    is_paused: bool,
    stuck: &'a [Arc<StuckObject>],
}

/// What starting a loop takes.
struct Hire<C: Collect> {
    threads: Threads,
    /// The loop's tools. Their clock is not asked here: it may be one that breaks the loop.
    tools: Tools,
    schedule: Schedule,
    make: Arc<dyn Fn() -> C + Send + Sync>,
}

impl<C: Collect> Hire<C> {
    /// Starts a loop that continues from there.
    fn hire(&self, number: u64, in_force: InForce<'_>, news: Recipient<NewsOf>) -> Current<C> {
        let (thread, lease) = (self.threads.start(), Lease::default());
        let tools = Tools { gateway: self.tools.gateway.under(lease.clone()), ..self.tools.clone() };
        let service = Service { schedule: self.schedule.clone(), link: Link { number, to: news } };
        let (make, InForce { generation, is_paused, stuck }) = (Arc::clone(&self.make), in_force);
        lease.pause(is_paused);
        let begin = Begin { generation, is_paused, lease: lease.clone(), stuck: stuck.to_vec() };
        let address = Collector::serve(&thread.handle, tools, begin, service, move || make());
        Current { number, address, thread, lease }
    }
}

impl<C: Collect> Actor for Supervisor<C> {
    type Context = Context<Self>;
}

impl<C: Collect> Guarded for Supervisor<C> {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.hang_timeout / PINGS, Self::ping);
        // After a crash in the middle of it, too.
        self.enforce_pause(ctx);
    }
}

impl<C: Collect> Supervised for Supervisor<C> {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // The crash has dropped the ping in progress, and the timer.
        self.pinged = false;
        self.resuming = None;
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
                self.state.next_pass_at = next;
                if self.state.doing == Doing::Restarting {
                    self.state.now_does(Doing::Waiting, now);
                }
            }
            News::Began { next } => {
                self.state.next_pass_at = next;
                self.state.now_does(Doing::Running, now);
            }
            News::Ended { report, seen, stuck } => {
                self.state.now_does(Doing::Waiting, now);
                self.state.stuck = stuck;
                // A loop that is switched off has neither failed nor recovered.
                if report.mode != Mode::Off {
                    self.log.pass_ended(&report, now);
                    self.state.pass_ended(&report, now);
                }
                for next in &self.next {
                    next.do_send(RunPass {
                        trigger: Trigger::Chain,
                        seen: seen.clone(),
                        brief: true,
                        ..RunPass::default()
                    });
                }
            }
            News::Follows(generation) => self.state.generation = generation,
            News::Crashed { why, pause } => {
                self.log.crashed("panic", &why, pause, now);
                self.state.crashed(why, now);
            }
        }
    }
}

impl<C: Collect> Handler<Reconfigure> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, reconfigure: Reconfigure, _ctx: &mut Context<Self>) {
        self.generation = Arc::clone(&reconfigure.0);
        let LoopSettings { mode, period, .. } = C::LOOP.settings(&self.generation.settings);
        (self.state.mode, self.state.period) = (mode, period);
        self.settle_standing();
        self.current.address.do_send(reconfigure);
    }
}

impl<C: Collect> Handler<Pause> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, Pause { paused, by }: Pause, ctx: &mut Context<Self>) {
        // One that is paused already is so since then, and no pause makes another one shorter.
        let paused = paused.map(|new| self.state.paused.map_or(new, |before| before.joined_with(new)));
        if paused != self.state.paused {
            let (kind, message) = match paused {
                Some(Paused { until: Some(until), .. }) => (EventKind::Paused, format!("until {until:.0}")),
                Some(_) => (EventKind::Paused, String::new()),
                None => (EventKind::Resumed, String::new()),
            };
            self.pause(paused, Event::new(kind, Some(C::LOOP), message).by(by), ctx);
        }
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
        self.settle_standing();
        let (address, lease, me) = (self.current.address.clone(), self.current.lease.clone(), ctx.address());
        Box::pin(async move {
            let hangs = async {
                while let Ok(Ok(())) = tokio::time::timeout(GIVEN_UP, address.send(Ping)).await {
                    tokio::time::sleep(GIVEN_UP).await;
                }
            };
            tokio::select! {
                biased;
                // A loop that is gone has shut down.
                _ = address.send(Finish) => {}
                () = hangs => {
                    lease.revoke();
                    // Should it ever continue. The request above is dropped with its future.
                    address.do_send(Finish);
                }
            }
            me.do_send(HasStopped);
        })
    }
}

/// The loop has shut down.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct HasStopped;

impl<C: Collect> Handler<HasStopped> for Supervisor<C> {
    type Result = ();

    fn handle(&mut self, _stopped: HasStopped, _ctx: &mut Context<Self>) {
        self.state.now_does(Doing::Stopped, self.clock.now());
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
                biased;
                report = pass => report.unwrap_or(Err(Declined::Crashed(C::LOOP))),
                _ = replaced.changed() => Err(Declined::Crashed(C::LOOP)),
            }
        })
    }
}
