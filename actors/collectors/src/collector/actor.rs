//! The actor of a loop: it makes passes on request and, in a service, by itself; never two at a time.
//!
//! It is guarded (`supervision::guard`): wherever it panics, it is restarted with its value, so nothing here may rest on
//! what it was doing. A pass in progress is dropped by the panic; what it had sent to the runtime ends by itself.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, ResponseFuture, SpawnHandle,
    Supervised,
};
use cri_gc_config::{Mode, Settings};
use jiff::{SignedDuration, Timestamp};
use slog::warn;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::collect::Collect;
use super::messages::{Declined, Finish, Handed, Link, News, Pause, Ping, Prepare, RunPass};
use super::pass::{Live, Pass, SPREAD};
use super::stuck::{Stuck, StuckObject};
use crate::report::{PassError, PassReport, Trigger};
use crate::tools::Tools;
use cri_gc_kit::generation::{Generation, Reconfigure};
use cri_gc_kit::seams::Chance;
use cri_gc_kit::supervision::backoff::Backoff;
use cri_gc_kit::supervision::guard::{self, Guarded, Pace};
use cri_gc_kit::supervision::threads::Lease;

/// The shortest and the longest pause before a pass after the runtime's return, where the last such pass found it unreachable again.
const RECOVERY_PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// Passes that may be requested while one is in progress.
const QUEUE: usize = 16;

/// The actor of a collector.
pub struct Collector<C: Collect> {
    logic: Rc<C>,
    tools: Tools,
    live: Rc<Live>,
    stuck: Rc<Stuck>,
    /// `None` in a one-shot command: passes are made on request only.
    service: Option<Service>,
    is_running: bool,
    /// Passes that were requested while one was in progress.
    requested: VecDeque<Requested>,
    /// Callers that wait until the loop is idle.
    finished: Vec<oneshot::Sender<()>>,
    pub(super) timer: Latest,
    /// What the timer was set to; `None` where none is set.
    due: Option<Due>,
    /// The wait for a runtime that was unreachable in the last pass.
    recovery: Latest,
    recoveries: Recoveries,
    /// The next check for a reason to begin a pass at once, or the one in progress.
    pressure_check: Latest,
}

/// A future of an actor that each later one in its place replaces. actix still runs a future that was cancelled in the poll in
/// which it is due, so each has a number, and does nothing unless it is the latest.
#[derive(Default)]
pub(super) struct Latest {
    number: u64,
    pub handle: Option<SpawnHandle>,
}

/// A runtime that becomes unreachable in each pass and reachable again is not asked faster and faster.
struct Recoveries {
    backoff: Backoff,
    pause: Duration,
}

impl Recoveries {
    fn new() -> Self {
        Self { backoff: Backoff::new(RECOVERY_PAUSES.0, RECOVERY_PAUSES.1), pause: Duration::ZERO }
    }

    /// A pass has ended that was begun so, and that the runtime answered or not.
    fn ended(&mut self, trigger: Trigger, was_unanswered: bool) {
        if !was_unanswered {
            *self = Self::new();
        } else if trigger == Trigger::Recovery {
            self.pause = self.backoff.pause();
        }
    }
}

/// When the next pass by itself is due.
struct Due {
    set_at: Instant,
    pause: Duration,
}

/// What a loop of the service begins with.
pub(super) struct Begin {
    pub generation: Arc<Generation>,
    pub is_paused: bool,
    pub lease: Lease,
    pub stuck: Vec<Arc<StuckObject>>,
}

/// What only a loop of the service has.
pub(super) struct Service {
    pub schedule: Schedule,
    pub link: Link,
}

/// How a loop of the service makes passes by itself.
#[derive(Clone)]
pub struct Schedule {
    /// How soon after a start the first pass is made. After the pause that follows a crash it is made at once.
    pub first: Duration,
    /// Spreads the passes of many nodes.
    pub chance: Chance,
}

/// A pass that is requested, and its caller.
struct Requested {
    run: RunPass,
    waiting: Option<oneshot::Sender<Result<PassReport, Declined>>>,
}

impl Requested {
    /// Without a caller.
    fn by(trigger: Trigger) -> Self {
        Self { run: RunPass { trigger, brief: true, ..RunPass::default() }, waiting: None }
    }
}

impl<C: Collect> Collector<C> {
    fn new(tools: Tools, live: Live, stuck: Stuck, service: Option<Service>, logic: C) -> Self {
        Self {
            logic: Rc::new(logic),
            tools,
            live: Rc::new(live),
            stuck: Rc::new(stuck),
            service,
            is_running: false,
            requested: VecDeque::new(),
            finished: Vec::new(),
            timer: Latest::default(),
            due: None,
            recovery: Latest::default(),
            recoveries: Recoveries::new(),
            pressure_check: Latest::default(),
        }
    }

    /// Starts it for a one-shot command: it makes passes on request. `logic` is made on the arbiter's thread.
    pub fn start(
        on: &ArbiterHandle,
        tools: Tools,
        settings: Arc<Settings>,
        logic: impl FnOnce() -> C + Send + 'static,
    ) -> Addr<Self> {
        Self::start_in_arbiter(on, move |_| {
            let lease = Lease::default();
            let tools = Tools { gateway: tools.gateway.under(lease.clone()), ..tools };
            let live = Live::new(C::LOOP, Generation::only(settings), false, lease);
            Self::new(tools, live, Stuck::default(), None, logic())
        })
    }

    /// Starts it for the service: it makes passes by itself, and is restarted wherever it panics.
    pub(super) fn serve(
        on: &ArbiterHandle,
        tools: Tools,
        Begin { generation, is_paused, lease, stuck }: Begin,
        service: Service,
        logic: impl FnOnce() -> C + Send + 'static,
    ) -> Addr<Self> {
        let pace = Pace::from(&*generation.settings);
        let link = service.link.clone();
        let crashed =
            Box::new(move |why: &str, pause| link.report(News::Crashed { why: why.to_owned(), pause }));
        guard::start(on, pace, crashed, move |_| {
            let live = Live::new(C::LOOP, generation, is_paused, lease);
            Self::new(tools, live, Stuck::from(&*stuck), Some(service), logic())
        })
    }

    fn report(&self, news: News) {
        if let Some(service) = &self.service {
            service.link.report(news);
        }
    }

    /// Has `then` done with the result of `future`, unless another future takes its `place` or it is cancelled before.
    fn spawn<T: 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        place: fn(&mut Self) -> &mut Latest,
        future: impl Future<Output = T> + 'static,
        then: impl FnOnce(&mut Self, &mut Context<Self>, T) + 'static,
    ) {
        self.cancel(ctx, place);
        let number = place(self).number;
        let handle = ctx.spawn(wrap_future(future).map(move |result, this: &mut Self, ctx| {
            let latest = place(this);
            if latest.number == number {
                latest.handle = None;
                then(this, ctx, result);
            }
        }));
        place(self).handle = Some(handle);
    }

    fn cancel(&mut self, ctx: &mut Context<Self>, place: fn(&mut Self) -> &mut Latest) {
        let latest = place(self);
        latest.number += 1;
        if let Some(handle) = latest.handle.take() {
            ctx.cancel_future(handle);
        }
    }

    /// Makes a pass. There must be none in progress.
    fn begin(&mut self, ctx: &mut Context<Self>, Requested { run, waiting }: Requested) {
        let trigger = run.trigger;
        self.is_running = true;
        if trigger == Trigger::Chain {
            // Should the loop before this one fail, hang or be paused, this one makes its passes by itself. A loop that works wakes
            // this one before that: its period is shortened by chance, never lengthened.
            let pause = C::LOOP.settings(&self.live.settings()).period.mul_f64(1.0 + SPREAD);
            self.set_timer(ctx, pause, Trigger::Period);
        }
        self.report(News::Began { next: self.next_pass_at() });
        self.cancel(ctx, |this| &mut this.recovery);
        // From now on: it may be reachable again before the pass has ended that found it unreachable.
        let returned = self.tools.gateway.answers_again();
        let memory = (Rc::clone(&self.live), Rc::clone(&self.stuck));
        let pass = Pass::new(C::LOOP, memory, run, self.tools.clone());
        let pass = make_pass(Rc::clone(&self.logic), pass);
        ctx.spawn(wrap_future(pass).map(move |(report, seen), this: &mut Self, ctx| {
            let was_unanswered = report.errors.iter().any(PassError::is_unanswered);
            this.recoveries.ended(trigger, was_unanswered);
            this.ended(ctx, report, seen, waiting);
            if was_unanswered {
                this.pass_after_recovery(ctx, returned);
            }
        }));
    }

    fn ended(
        &mut self,
        ctx: &mut Context<Self>,
        report: PassReport,
        seen: Option<Handed>,
        waiting: Option<oneshot::Sender<Result<PassReport, Declined>>>,
    ) {
        self.is_running = false;
        if let Some(waiting) = waiting {
            // The caller may be gone.
            let _ = waiting.send(Ok(report.clone()));
        }
        self.report(News::Ended { report: Box::new(report), seen, stuck: self.stuck.all() });
        for finished in self.finished.drain(..) {
            let _ = finished.send(());
        }
        if let Some(requested) = self.requested.pop_front() {
            self.begin(ctx, requested);
        }
    }

    /// Begins that pass, or after the one in progress.
    fn begin_or_queue(&mut self, ctx: &mut Context<Self>, requested: Requested) {
        if self.is_running {
            self.requested.push_back(requested);
        } else {
            self.begin(ctx, requested);
        }
    }

    /// Begins a pass unless one is in progress, or none may begin.
    fn begin_if_idle(&mut self, ctx: &mut Context<Self>, trigger: Trigger) {
        if self.is_idle() {
            self.begin(ctx, Requested::by(trigger));
        }
    }

    /// A pass of the service as soon as the runtime answers again, unless another one begins before.
    fn pass_after_recovery(&mut self, ctx: &mut Context<Self>, returned: impl Future<Output = ()> + 'static) {
        if self.service.is_none() || self.is_running {
            return;
        }
        let pause = self.recoveries.pause;
        let ready = async move {
            returned.await;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        };
        let begin = |this: &mut Self, ctx: &mut Context<Self>, ()| this.begin_if_idle(ctx, Trigger::Recovery);
        self.spawn(ctx, |this| &mut this.recovery, ready, begin);
    }

    /// Makes sure that it makes passes by itself: a timer that is overdue by more than a thread may hang never rings, or the whole
    /// process was stopped.
    fn check_timer(&mut self, ctx: &mut Context<Self>) {
        if self.service.is_none() || self.live.is_finishing() {
            return;
        }
        let hang_timeout = self.live.settings().supervision.hang_timeout;
        let overdue = |due: &Due| due.set_at.elapsed() > due.pause.saturating_add(hang_timeout);
        if self.due.as_ref().is_none_or(overdue) {
            warn!(self.tools.log, "the timer of {} is late, starting the pass now", C::LOOP; "loop" => C::LOOP.as_str());
            self.plan(ctx, Duration::ZERO, Trigger::Period);
        }
    }

    fn is_idle(&self) -> bool {
        !self.is_running && self.may_pass().is_ok()
    }

    /// Whether a pass may begin.
    fn may_pass(&self) -> Result<(), Declined> {
        if self.live.is_finishing() {
            Err(Declined::Stopping(C::LOOP))
        } else if self.live.is_paused() {
            Err(Declined::Paused(C::LOOP))
        } else {
            Ok(())
        }
    }

    /// Answers the callers that wait for a pass which will not be made.
    fn decline_all(&mut self) {
        let Err(why) = self.may_pass() else { return };
        for waiting in self.requested.drain(..).filter_map(|requested| requested.waiting) {
            let _ = waiting.send(Err(why));
        }
    }

    /// A pass after `pause`, and one every period from then on, and reports that.
    fn plan(&mut self, ctx: &mut Context<Self>, pause: Duration, trigger: Trigger) {
        self.set_timer(ctx, pause, trigger);
        self.report(News::Planned { next: self.next_pass_at() });
    }

    /// When the next pass by itself is due. With a pause too long for the calendar, none is planned.
    fn next_pass_at(&self) -> Option<Timestamp> {
        let due = self.due.as_ref()?;
        let left = due.pause.saturating_sub(due.set_at.elapsed());
        self.tools.clock.now().checked_add(SignedDuration::try_from(left).ok()?).ok()
    }

    /// A pass after `pause`, and one every period from then on.
    fn set_timer(&mut self, ctx: &mut Context<Self>, pause: Duration, trigger: Trigger) {
        self.due = Some(Due { set_at: Instant::now(), pause });
        self.spawn(
            ctx,
            |this| &mut this.timer,
            tokio::time::sleep(pause),
            move |this, ctx, ()| {
                let pause = this.pause();
                // A pass that lasts longer than a period is not followed by another one at once.
                if this.is_idle() {
                    this.set_timer(ctx, pause, Trigger::Period);
                    this.begin(ctx, Requested::by(trigger));
                } else {
                    this.plan(ctx, pause, Trigger::Period);
                }
            },
        );
    }

    /// A check for a reason to pass at once, after the pause that the settings say and again and again from then on. None is made
    /// while a pass is in progress, which sees what there is to see.
    fn check_pressure_later(&mut self, ctx: &mut Context<Self>) {
        let Some(every) = C::pressure_check_every(&self.live.settings()) else {
            return self.cancel(ctx, |this| &mut this.pressure_check);
        };
        self.spawn(
            ctx,
            |this| &mut this.pressure_check,
            tokio::time::sleep(every),
            |this, ctx, ()| {
                if !this.is_idle() {
                    return this.check_pressure_later(ctx);
                }
                let (logic, tools, settings) =
                    (Rc::clone(&this.logic), this.tools.clone(), this.live.settings());
                let check = async move { logic.is_under_pressure(&tools, &settings).await };
                this.spawn(
                    ctx,
                    |this| &mut this.pressure_check,
                    check,
                    |this, ctx, is_under_pressure| {
                        if is_under_pressure {
                            this.begin_if_idle(ctx, Trigger::Pressure);
                        }
                        this.check_pressure_later(ctx);
                    },
                );
            },
        );
    }

    /// The period, a little shortened by chance, so that the nodes of a cluster do not all pass at the same moment.
    fn pause(&self) -> Duration {
        let chance = self.service.as_ref().map_or(0.0, |service| service.schedule.chance.draw());
        C::LOOP.settings(&self.live.settings()).period.mul_f64(1.0 - SPREAD * chance)
    }
}

impl<C: Collect> Actor for Collector<C> {
    type Context = Context<Self>;
}

impl<C: Collect> Guarded for Collector<C> {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        if let Some(first) = self.service.as_ref().map(|service| service.schedule.first)
            && !self.live.is_finishing()
        {
            self.plan(ctx, first, Trigger::Start);
            self.check_pressure_later(ctx);
        }
    }
}

impl<C: Collect> Supervised for Collector<C> {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // The restart has dropped the pass and all other futures; the callers that wait for a pass get an error.
        self.is_running = false;
        self.requested.clear();
        self.finished.clear();
        self.due = None;
        for dropped in [&mut self.timer, &mut self.recovery, &mut self.pressure_check] {
            dropped.handle = None;
        }
        if let Some(service) = &mut self.service {
            // The pause before was long enough.
            service.schedule.first = Duration::ZERO;
        }
    }
}

impl<C: Collect> Handler<Ping> for Collector<C> {
    type Result = ();

    fn handle(&mut self, _ping: Ping, ctx: &mut Context<Self>) {
        self.check_timer(ctx);
    }
}

impl<C: Collect> Handler<Reconfigure> for Collector<C> {
    type Result = ();

    fn handle(&mut self, Reconfigure(generation): Reconfigure, ctx: &mut Context<Self>) {
        let before = self.live.settings();
        let now = Arc::clone(&generation.settings);
        let number = generation.number;
        self.live.configure(generation);
        if self.due.is_some() && C::LOOP.settings(&before).period != C::LOOP.settings(&now).period {
            let pause = self.pause();
            self.plan(ctx, pause, Trigger::Period);
        }
        if self.due.is_some() && C::pressure_check_every(&before) != C::pressure_check_every(&now) {
            self.check_pressure_later(ctx);
        }
        self.report(News::Follows(number));
    }
}

impl<C: Collect> Handler<Pause> for Collector<C> {
    type Result = ();

    fn handle(&mut self, Pause { paused, .. }: Pause, ctx: &mut Context<Self>) {
        let (was, paused) = (self.live.is_paused(), paused.is_some());
        self.live.pause(paused);
        self.decline_all();
        if was && !paused && self.may_pass().is_ok() {
            // What the pause kept a pass in progress from is left to the next one.
            self.begin_or_queue(ctx, Requested::by(Trigger::Admin));
        }
    }
}

impl<C: Collect> Handler<Finish> for Collector<C> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _finish: Finish, ctx: &mut Context<Self>) -> Self::Result {
        self.live.finish();
        self.decline_all();
        self.due = None;
        self.cancel(ctx, |this| &mut this.timer);
        if !self.is_running {
            return Box::pin(std::future::ready(()));
        }
        let (ended, has_ended) = oneshot::channel();
        self.finished.push(ended);
        Box::pin(async move {
            // A loop that crashed is idle too.
            let _ = has_ended.await;
        })
    }
}

impl<C: Collect> Handler<Prepare> for Collector<C> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _prepare: Prepare, _ctx: &mut Context<Self>) -> Self::Result {
        let (logic, tools, settings) = (Rc::clone(&self.logic), self.tools.clone(), self.live.settings());
        Box::pin(async move { logic.prepare(&tools, &settings).await })
    }
}

impl<C: Collect> Handler<RunPass> for Collector<C> {
    type Result = ResponseFuture<Result<PassReport, Declined>>;

    fn handle(&mut self, run: RunPass, ctx: &mut Context<Self>) -> Self::Result {
        // One in a chain sees in any pass that follows what there is to see.
        let most = if run.trigger == Trigger::Chain { 1 } else { QUEUE };
        let busy = (self.requested.len() >= most).then_some(Declined::Busy(C::LOOP));
        if let Some(why) = self.may_pass().err().or(busy) {
            return Box::pin(std::future::ready(Err(why)));
        }
        let (answer, answered) = oneshot::channel();
        self.begin_or_queue(ctx, Requested { run, waiting: Some(answer) });
        Box::pin(async move { answered.await.unwrap_or(Err(Declined::Crashed(C::LOOP))) })
    }
}

/// One pass under its deadline: what it did, and what it has seen, for the next loop in the chain.
async fn make_pass<C: Collect>(logic: Rc<C>, pass: Pass) -> (PassReport, Option<Handed>) {
    let began = Instant::now();
    if pass.mode() != Mode::Off {
        let deadline = C::LOOP.settings(&pass.settings).deadline;
        let made = tokio::select! {
            biased;
            made = tokio::time::timeout(deadline, logic.pass(&pass)) => {
                made.unwrap_or(Err(PassError::Deadline(deadline)))
            }
            () = pass.live.is_over() => Ok(()),
        };
        if let Err(error) = made {
            pass.error(error);
        }
        pass.report_untried();
    }
    let mode = if pass.mode() == Mode::Enforce && !pass.enforces() { Mode::Report } else { pass.mode() };
    let seen = pass.seen_for_next();
    (PassReport { mode, took: began.elapsed(), ..pass.report.into_inner() }, seen)
}
