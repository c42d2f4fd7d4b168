//! The actor of a loop: it makes passes when told and, in a service, by itself; never two at a time.
//!
//! It is guarded (`supervision::guard`): wherever it falls, it is restarted with its value, so nothing here may rest on
//! what it was doing. A pass under way is dropped with the fall; what it had sent to the runtime ends by itself.

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
use super::messages::{Declined, Finish, Handed, Link, News, Pause, Ping, Prepare, RunPass, Wake};
use super::pass::{Live, Pass};
use crate::report::{Counts, PassError, PassReport, Trigger};
use crate::tools::Tools;
use cri_gc_kit::generation::{Generation, Reconfigure};
use cri_gc_kit::seams::Chance;
use cri_gc_kit::supervision::backoff::Backoff;
use cri_gc_kit::supervision::guard::{self, Guarded, Pace};
use cri_gc_kit::supervision::threads::Lease;

/// How much of a period a pass may come earlier than the period says.
const SPREAD: f64 = 0.1;

/// The shortest and the longest pause before a pass after the runtime's return, where it was away again in the last such pass.
const RECOVERY_PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// Passes that may be asked for while one is under way.
const QUEUE: usize = 16;

/// The actor of a collector.
pub struct Collector<C: Collect> {
    logic: Rc<C>,
    tools: Tools,
    live: Rc<Live>,
    /// `None` in a one-shot command: passes are made when told only.
    service: Option<Service>,
    running: bool,
    /// Passes that were asked for while one was under way.
    asked: VecDeque<Asked>,
    /// Who waits for the loop to have come to rest.
    finished: Vec<oneshot::Sender<()>>,
    pub(super) timer: Option<Timer>,
    /// How often the timer and the lookout were armed. actix still runs a future that was cancelled in the poll in which it is due,
    /// so each knows its number, and does nothing unless it is the last.
    arms: u64,
    lookouts: u64,
    /// The wait for a runtime that was away in the last pass.
    awaiting: Option<SpawnHandle>,
    recoveries: Recoveries,
    /// The next look for a reason to begin a pass at once, or the one under way.
    lookout: Option<SpawnHandle>,
}

/// A runtime that goes away over each pass and comes back is not asked faster and faster.
struct Recoveries {
    backoff: Backoff,
    pause: Duration,
}

impl Recoveries {
    fn new() -> Self {
        Self { backoff: Backoff::new(RECOVERY_PAUSES.0, RECOVERY_PAUSES.1), pause: Duration::ZERO }
    }

    /// A pass has ended that was begun so, and found the runtime away or not.
    fn ended(&mut self, trigger: Trigger, was_away: bool) {
        if !was_away {
            *self = Self::new();
        } else if trigger == Trigger::Recovery {
            self.pause = self.backoff.pause();
        }
    }
}

/// When the next pass by itself is due.
pub(super) struct Timer {
    pub handle: SpawnHandle,
    armed: Instant,
    pause: Duration,
}

/// What a loop of the service has beside.
pub(super) struct Service {
    pub schedule: Schedule,
    pub link: Link,
}

/// How a loop of the service makes passes by itself.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// How soon after a start the first pass is made. After the pause that follows a fall it is made at once.
    pub first: Duration,
    /// Spreads the passes of many nodes.
    pub chance: Chance,
}

/// A pass that was asked for.
struct Asked {
    trigger: Trigger,
    run: RunPass,
    waiting: Option<oneshot::Sender<Result<PassReport, Declined>>>,
}

impl Asked {
    fn by(trigger: Trigger) -> Self {
        Self { trigger, run: RunPass::default(), waiting: None }
    }

    /// By the loop before this one in the chain, which has seen this.
    fn by_chain(seen: Option<Handed>) -> Self {
        Self { run: RunPass { seen, ..RunPass::default() }, ..Self::by(Trigger::Chain) }
    }
}

impl<C: Collect> Collector<C> {
    fn new(tools: Tools, live: Live, service: Option<Service>, logic: C) -> Self {
        Self {
            logic: Rc::new(logic),
            tools,
            live: Rc::new(live),
            service,
            running: false,
            asked: VecDeque::new(),
            finished: Vec::new(),
            timer: None,
            arms: 0,
            lookouts: 0,
            awaiting: None,
            recoveries: Recoveries::new(),
            lookout: None,
        }
    }

    /// Starts it for a one-shot command: it makes passes when told. `logic` is made on the arbiter's thread.
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
            Self::new(tools, live, None, logic())
        })
    }

    /// Starts it for the service: it makes passes by itself, and is restarted wherever it falls.
    pub(super) fn serve(
        on: &ArbiterHandle,
        tools: Tools,
        (generation, paused, lease): (Arc<Generation>, bool, Lease),
        service: Service,
        logic: impl FnOnce() -> C + Send + 'static,
    ) -> Addr<Self> {
        let pace = Pace::from(&*generation.settings);
        let link = service.link.clone();
        let fell = Box::new(move |why: &str, pause| link.tell(News::Fell { why: why.to_owned(), pause }));
        guard::start(on, pace, fell, move |_| {
            let live = Live::new(C::LOOP, generation, paused, lease);
            Self::new(tools, live, Some(service), logic())
        })
    }

    fn tell(&self, news: News) {
        if let Some(service) = &self.service {
            service.link.tell(news);
        }
    }

    /// Makes a pass. There must be none under way.
    fn begin(&mut self, ctx: &mut Context<Self>, asked: Asked) {
        self.running = true;
        if asked.trigger == Trigger::Chain {
            // Should the loop before this one fail, hang or be paused, this one makes its passes by itself. The pass of the other
            // that is due by then comes a little earlier, whatever chance does to its period.
            let pause = C::period(&self.live.settings()).mul_f64(1.0 + SPREAD);
            self.arm(ctx, pause, Trigger::Period);
        }
        self.tell(News::Began { next: self.next_pass_at() });
        if let Some(awaiting) = self.awaiting.take() {
            ctx.cancel_future(awaiting);
        }
        // From now on: it may be back before the pass has ended that found it away.
        let returned = self.tools.gateway.answers_again();
        let pass = make_pass(
            Rc::clone(&self.logic),
            self.tools.clone(),
            Rc::clone(&self.live),
            asked.trigger,
            asked.run,
        );
        let (trigger, waiting) = (asked.trigger, asked.waiting);
        ctx.spawn(wrap_future(pass).map(move |(report, seen), this: &mut Self, ctx| {
            let was_away = report.errors.iter().any(PassError::is_unanswered);
            this.recoveries.ended(trigger, was_away);
            this.ended(ctx, report, seen, waiting);
            if was_away {
                this.pass_once(ctx, returned);
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
        self.running = false;
        if let Some(waiting) = waiting {
            // Whoever asked may be gone.
            let _ = waiting.send(Ok(report.clone()));
        }
        self.tell(News::Ended { report: Box::new(report), seen });
        for finished in self.finished.drain(..) {
            let _ = finished.send(());
        }
        if let Some(asked) = self.asked.pop_front() {
            self.begin(ctx, asked);
        }
    }

    /// A pass of the service as soon as the runtime answers again, unless another one begins before.
    fn pass_once(&mut self, ctx: &mut Context<Self>, returned: impl Future<Output = ()> + 'static) {
        if self.service.is_none() || self.running {
            return;
        }
        let pause = self.recoveries.pause;
        let ready = async move {
            returned.await;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        };
        self.awaiting = Some(ctx.spawn(wrap_future(ready).map(|(), this: &mut Self, ctx| {
            this.awaiting = None;
            if !this.running && this.may_pass().is_ok() {
                this.begin(ctx, Asked::by(Trigger::Recovery));
            }
        })));
    }

    /// Sees to it that it makes passes by itself: a timer that is overdue by more than a thread may hang was lost, or the whole
    /// process stood still.
    fn keep_time(&mut self, ctx: &mut Context<Self>) {
        if self.service.is_none() || self.live.is_finishing() {
            return;
        }
        let hang_timeout = self.live.settings().supervision.hang_timeout;
        let overdue = |timer: &Timer| timer.armed.elapsed() > timer.pause.saturating_add(hang_timeout);
        if self.timer.as_ref().is_none_or(overdue) {
            warn!(self.tools.log, "the timer of {} is late, starting the pass now", C::LOOP; "loop" => C::LOOP.as_str());
            self.plan(ctx, Duration::ZERO, Trigger::Period);
        }
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

    /// Nobody is to wait for what will not be.
    fn decline_all(&mut self) {
        let Err(why) = self.may_pass() else { return };
        for waiting in self.asked.drain(..).filter_map(|asked| asked.waiting) {
            let _ = waiting.send(Err(why));
        }
    }

    /// A pass after `pause`, and one every period from then on, and reports that.
    fn plan(&mut self, ctx: &mut Context<Self>, pause: Duration, trigger: Trigger) {
        self.arm(ctx, pause, trigger);
        self.tell(News::Planned { next: self.next_pass_at() });
    }

    /// When the next pass by itself is due. A pause too long for the calendar is as good as none planned.
    fn next_pass_at(&self) -> Option<Timestamp> {
        let timer = self.timer.as_ref()?;
        let left = timer.pause.saturating_sub(timer.armed.elapsed());
        self.tools.clock.now().checked_add(SignedDuration::try_from(left).ok()?).ok()
    }

    /// A pass after `pause`, and one every period from then on.
    fn arm(&mut self, ctx: &mut Context<Self>, pause: Duration, trigger: Trigger) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer.handle);
        }
        self.arms += 1;
        let number = self.arms;
        let handle = ctx.run_later(pause, move |this, ctx| {
            if this.arms != number {
                return;
            }
            this.timer = None;
            let pause = this.pause();
            // A pass that lasts longer than a period is not followed by another one at once.
            if !this.running && this.may_pass().is_ok() {
                this.arm(ctx, pause, Trigger::Period);
                this.begin(ctx, Asked::by(trigger));
            } else {
                this.plan(ctx, pause, Trigger::Period);
            }
        });
        self.timer = Some(Timer { handle, armed: Instant::now(), pause });
    }

    /// A look after the pause that the settings say, and again and again from then on. None is made while a pass is under
    /// way, which sees what there is to see.
    fn look_out(&mut self, ctx: &mut Context<Self>) {
        if let Some(lookout) = self.lookout.take() {
            ctx.cancel_future(lookout);
        }
        self.lookouts += 1;
        let number = self.lookouts;
        let Some(every) = C::look_out_every(&self.live.settings()) else { return };
        self.lookout = Some(ctx.run_later(every, move |this, ctx| {
            if this.lookouts != number {
                return;
            }
            this.lookout = None;
            if this.running || this.may_pass().is_err() {
                return this.look_out(ctx);
            }
            let (logic, tools, settings) = (Rc::clone(&this.logic), this.tools.clone(), this.live.settings());
            let look = wrap_future(async move { logic.look_out(&tools, &settings).await });
            this.lookout = Some(ctx.spawn(look.map(move |alarm, this: &mut Self, ctx| {
                if this.lookouts != number {
                    return;
                }
                this.lookout = None;
                if alarm && !this.running && this.may_pass().is_ok() {
                    this.begin(ctx, Asked::by(Trigger::Pressure));
                }
                this.look_out(ctx);
            })));
        }));
    }

    /// The period, a little shortened by chance, so that the nodes of a cluster do not all pass at the same moment.
    fn pause(&self) -> Duration {
        let chance = self.service.as_ref().map_or(0.0, |service| service.schedule.chance.draw());
        C::period(&self.live.settings()).mul_f64(1.0 - SPREAD * chance)
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
            self.look_out(ctx);
        }
    }
}

impl<C: Collect> Supervised for Collector<C> {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // The pass and the timer went with the fall, and so did whoever waited for the pass.
        self.running = false;
        self.asked.clear();
        self.finished.clear();
        self.timer = None;
        self.awaiting = None;
        self.lookout = None;
        if let Some(service) = &mut self.service {
            // The pause before was long enough.
            service.schedule.first = Duration::ZERO;
        }
    }
}

impl<C: Collect> Handler<Ping> for Collector<C> {
    type Result = ();

    fn handle(&mut self, _ping: Ping, ctx: &mut Context<Self>) {
        self.keep_time(ctx);
    }
}

impl<C: Collect> Handler<Reconfigure> for Collector<C> {
    type Result = ();

    fn handle(&mut self, Reconfigure(generation): Reconfigure, ctx: &mut Context<Self>) {
        let before = self.live.settings();
        let changed = C::period(&before) != C::period(&generation.settings);
        let looks_otherwise = C::look_out_every(&before) != C::look_out_every(&generation.settings);
        let number = generation.number;
        self.live.configure(generation);
        if self.timer.is_some() && changed {
            let pause = self.pause();
            self.plan(ctx, pause, Trigger::Period);
        }
        if self.timer.is_some() && looks_otherwise {
            self.look_out(ctx);
        }
        self.tell(News::Follows(number));
    }
}

impl<C: Collect> Handler<Pause> for Collector<C> {
    type Result = ();

    fn handle(&mut self, Pause(paused): Pause, ctx: &mut Context<Self>) {
        let was = self.live.is_paused();
        self.live.pause(paused);
        self.decline_all();
        if !was || paused || self.may_pass().is_err() {
            return;
        }
        let asked = Asked::by(Trigger::Admin);
        if self.running {
            // What the pause kept it from is left to the next one.
            self.asked.push_back(asked);
        } else {
            self.begin(ctx, asked);
        }
    }
}

impl<C: Collect> Handler<Finish> for Collector<C> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _finish: Finish, ctx: &mut Context<Self>) -> Self::Result {
        self.live.finish();
        self.decline_all();
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer.handle);
        }
        if !self.running {
            return Box::pin(std::future::ready(()));
        }
        let (tell, told) = oneshot::channel();
        self.finished.push(tell);
        Box::pin(async move {
            // A loop that fell has come to rest too.
            let _ = told.await;
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

impl<C: Collect> Handler<Wake> for Collector<C> {
    type Result = ();

    fn handle(&mut self, Wake { seen }: Wake, ctx: &mut Context<Self>) {
        if self.may_pass().is_err() {
            return;
        }
        if !self.running {
            self.begin(ctx, Asked::by_chain(seen));
        } else if self.asked.is_empty() {
            // Whatever follows the pass under way sees what there is to see.
            self.asked.push_back(Asked::by_chain(seen));
        }
    }
}

impl<C: Collect> Handler<RunPass> for Collector<C> {
    type Result = ResponseFuture<Result<PassReport, Declined>>;

    fn handle(&mut self, message: RunPass, ctx: &mut Context<Self>) -> Self::Result {
        let declined = self.may_pass().err();
        let busy = (self.asked.len() >= QUEUE).then_some(Declined::Busy(C::LOOP));
        if let Some(why) = declined.or(busy) {
            return Box::pin(std::future::ready(Err(why)));
        }
        let (tell, told) = oneshot::channel();
        let asked = Asked { trigger: Trigger::Admin, run: message, waiting: Some(tell) };
        if self.running {
            self.asked.push_back(asked);
        } else {
            self.begin(ctx, asked);
        }
        Box::pin(async move { told.await.unwrap_or(Err(Declined::Fell(C::LOOP))) })
    }
}

/// One pass under its deadline: what it did, and what it has seen, for the next loop in the chain.
async fn make_pass<C: Collect>(
    logic: Rc<C>,
    tools: Tools,
    live: Rc<Live>,
    trigger: Trigger,
    run: RunPass,
) -> (PassReport, Option<Handed>) {
    let started_at = tools.clock.now();
    let began = Instant::now();
    let pass = Pass::new(C::LOOP, live, run, &tools);
    if pass.mode() != Mode::Off {
        let deadline = C::deadline(&pass.settings);
        if tokio::time::timeout(deadline, logic.pass(&tools, &pass)).await.is_err() {
            pass.error(PassError::Deadline(deadline));
        }
    }
    let mode = if pass.mode() == Mode::Enforce && !pass.enforces() { Mode::Report } else { pass.mode() };
    let seen = pass.seen_for_next();
    let book = pass.book.into_inner();
    let mut report = PassReport {
        of: C::LOOP,
        trigger,
        mode,
        started_at,
        took: began.elapsed(),
        removals: book.removals,
        follow: book.follow,
        kept: book.kept,
        counts: Counts::default(),
        report_only: book.report_only,
        freed_bytes: book.freed_bytes,
        errors: book.errors,
        notes: book.notes,
    };
    report.count();
    (report, seen)
}
