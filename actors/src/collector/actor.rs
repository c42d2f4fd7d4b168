//! The actor of a loop: it makes passes when told and, in a service, by itself; never two at a time.
//!
//! It is guarded (`supervision::guard`): wherever it falls, it is restarted with its value, so nothing here may rest on
//! what it was doing. A pass under way is dropped with the fall; what it had sent to the runtime ends by itself.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, ResponseFuture, SpawnHandle,
    Supervised,
};
use cri_gc_config::{Mode, Settings};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::telling::Telling;
use super::{
    Busy, Collect, Finish, Live, Pass, PassError, PassReport, Progress, Reconfigure, RunPass, Schedule,
    Tools, Wake,
};
use crate::supervision::guard::{self, Pace};

/// How much of a period a pass may come earlier than the period says.
const SPREAD: f64 = 0.1;

/// The actor of a collector.
pub struct Collector<C: Collect> {
    pub(crate) logic: Rc<C>,
    pub(crate) tools: Tools,
    live: Rc<Live>,
    /// `None` in a one-shot command: passes are made when told only.
    schedule: Option<Schedule>,
    running: bool,
    /// Somebody asked for a pass while one was under way: another follows it.
    again: bool,
    /// Who waits for the loop to have come to rest. Once somebody does, no pass begins.
    finished: Vec<oneshot::Sender<()>>,
    timer: Option<SpawnHandle>,
    telling: Telling,
}

/// Who waits for the report of a pass.
type Waiting = Option<oneshot::Sender<PassReport>>;

impl<C: Collect + Unpin> Collector<C> {
    fn new(tools: Tools, settings: Arc<Settings>, schedule: Option<Schedule>, logic: C) -> Self {
        let telling = Telling::new(C::LOOP, C::FIRST_FAILURE, tools.log.clone());
        Self {
            logic: Rc::new(logic),
            tools,
            live: Rc::new(Live::new(settings)),
            schedule,
            running: false,
            again: false,
            finished: Vec::new(),
            timer: None,
            telling,
        }
    }

    /// Starts it for a one-shot command: it makes passes when told. `logic` is made on the arbiter's thread.
    pub fn start(
        on: &ArbiterHandle,
        tools: Tools,
        settings: Arc<Settings>,
        logic: impl FnOnce() -> C + Send + 'static,
    ) -> Addr<Self> {
        Self::start_in_arbiter(on, move |_| Self::new(tools, settings, None, logic()))
    }

    /// Starts it for the service: it makes passes by itself, and is restarted wherever it falls.
    pub fn serve(
        on: &ArbiterHandle,
        tools: Tools,
        settings: Arc<Settings>,
        schedule: Schedule,
        logic: impl FnOnce() -> C + Send + 'static,
    ) -> Addr<Self> {
        let supervision = &settings.supervision;
        let pace = Pace { min: supervision.restart_backoff_min, max: supervision.restart_backoff_max };
        let log = tools.log.clone();
        let fell = Box::new(move |why: &str, pause: Duration| {
            slog::error!(log, "the loop fell; it is restarted"; "loop" => C::LOOP.as_str(), "why" => why,
                "pause" => ?pause);
        });
        guard::start(on, pace, fell, move |_| Self::new(tools, settings, Some(schedule), logic()))
    }

    /// Makes a pass, unless one is under way.
    fn begin(
        &mut self,
        ctx: &mut Context<Self>,
        progress: Option<UnboundedSender<Progress>>,
        waiting: Waiting,
    ) {
        if !self.finished.is_empty() {
            return;
        }
        self.running = true;
        let pass = make_pass(Rc::clone(&self.logic), self.tools.clone(), Rc::clone(&self.live), progress);
        ctx.spawn(
            wrap_future(pass).map(move |report, this: &mut Self, ctx| this.ended(ctx, report, waiting)),
        );
    }

    fn ended(&mut self, ctx: &mut Context<Self>, report: PassReport, waiting: Waiting) {
        self.running = false;
        self.telling.of(&report, self.tools.clock.now());
        for next in self.schedule.iter().flat_map(|schedule| &schedule.next) {
            next.do_send(Wake);
        }
        if let Some(waiting) = waiting {
            // Whoever asked may be gone.
            let _ = waiting.send(report);
        }
        for finished in self.finished.drain(..) {
            let _ = finished.send(());
        }
        if std::mem::take(&mut self.again) {
            self.begin(ctx, None, None);
        }
    }

    /// A pass after `pause`, and one every period from then on.
    fn arm(&mut self, ctx: &mut Context<Self>, pause: Duration) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.run_later(pause, |this, ctx| {
            this.timer = None;
            // A pass that lasts longer than a period is not followed by another one at once.
            if !this.running {
                this.begin(ctx, None, None);
            }
            let pause = this.pause();
            this.arm(ctx, pause);
        }));
    }

    /// The period, a little shortened by chance, so that the nodes of a cluster do not all pass at the same moment.
    fn pause(&self) -> Duration {
        let chance = self.schedule.as_ref().map_or(0.0, |schedule| schedule.chance.draw());
        C::period(&self.live.settings()).mul_f64(1.0 - SPREAD * chance)
    }
}

impl<C: Collect> Collector<C> {
    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.live.settings()
    }
}

impl<C: Collect + Unpin> Actor for Collector<C> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(first) = self.schedule.as_ref().map(|schedule| schedule.first) {
            self.arm(ctx, first);
        }
    }
}

impl<C: Collect + Unpin> Supervised for Collector<C> {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // The pass and the timer went with the fall.
        self.running = false;
        self.again = false;
        self.timer = None;
    }
}

impl<C: Collect + Unpin> Handler<Reconfigure> for Collector<C> {
    type Result = ();

    fn handle(&mut self, Reconfigure(settings): Reconfigure, ctx: &mut Context<Self>) {
        let changed = C::period(&self.live.settings()) != C::period(&settings);
        self.live.configure(settings);
        if self.schedule.is_some() && changed {
            let pause = self.pause();
            self.arm(ctx, pause);
        }
    }
}

impl<C: Collect + Unpin> Handler<Finish> for Collector<C> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _finish: Finish, ctx: &mut Context<Self>) -> Self::Result {
        self.live.halt(true);
        self.again = false;
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.schedule = None;
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

impl<C: Collect + Unpin> Handler<Wake> for Collector<C> {
    type Result = ();

    fn handle(&mut self, _wake: Wake, ctx: &mut Context<Self>) {
        if self.running {
            self.again = true;
        } else {
            self.begin(ctx, None, None);
        }
    }
}

impl<C: Collect + Unpin> Handler<RunPass> for Collector<C> {
    type Result = ResponseFuture<Result<PassReport, Busy>>;

    fn handle(&mut self, message: RunPass, ctx: &mut Context<Self>) -> Self::Result {
        if self.running {
            return Box::pin(std::future::ready(Err(Busy(C::LOOP))));
        }
        let (tell, told) = oneshot::channel();
        self.begin(ctx, message.progress, Some(tell));
        Box::pin(async move { told.await.map_err(|_| Busy(C::LOOP)) })
    }
}

/// One pass under its deadline, and what it did.
async fn make_pass<C: Collect>(
    logic: Rc<C>,
    tools: Tools,
    live: Rc<Live>,
    progress: Option<UnboundedSender<Progress>>,
) -> PassReport {
    let started_at = tools.clock.now();
    let began = tokio::time::Instant::now();
    let pass = Pass::new(C::LOOP, live, progress, tools.clock.clone(), tools.log.clone());
    if pass.mode() != Mode::Off {
        let deadline = C::deadline(&pass.settings);
        if tokio::time::timeout(deadline, logic.pass(&tools, &pass)).await.is_err() {
            pass.error(PassError::Deadline(deadline));
        }
    }
    let mode = if pass.mode() == Mode::Enforce && !pass.enforces() { Mode::Report } else { pass.mode() };
    let book = pass.book.into_inner();
    PassReport {
        of: C::LOOP,
        mode,
        started_at,
        took: began.elapsed(),
        removals: book.removals,
        kept: book.kept,
        freed_bytes: book.freed_bytes,
        errors: book.errors,
        notes: book.notes,
    }
}
