//! What the four collectors share: the actor that makes a pass when told, and what a pass is.
//!
//! A collector says only what is its own ([`Collect`]): how it observes, plans, re-checks and acts. Passes that never
//! overlap, their deadline and their report are written once, here. The periods, the restarts and the failure log of the
//! long-running service belong here as well.
//!
//! - [`report`]: what a pass did. [`pass`]: a pass under way.

pub mod pass;
pub mod report;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, ArbiterHandle, Context, Handler, Message, ResponseFuture};
use cri_gc_config::{Mode, Settings};
use tokio::sync::mpsc::UnboundedSender;

pub use pass::{Pass, Progress, Removed, Target, Tools};
pub use report::{Kept, Kind, Loop, Outcome, PassError, PassReport, Removal};

/// What is one collector's own.
pub trait Collect: 'static {
    /// Which loop it is.
    const LOOP: Loop;

    /// How long a pass may take.
    fn deadline(settings: &Settings) -> Duration;

    /// One pass: observe, plan, re-check, act. It is not called again before it has ended.
    fn pass(&self, tools: &Tools, pass: &Pass) -> impl Future<Output = ()>;
}

/// Make a pass now.
#[derive(Debug, Message)]
#[rtype(result = "Result<PassReport, Busy>")]
pub struct RunPass {
    /// Who is told how it goes on.
    pub progress: Option<UnboundedSender<Progress>>,
}

/// A pass is under way already, or the collector was restarted during it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pass of {0} is under way already, or was cut short by a restart")]
pub struct Busy(pub Loop);

/// New settings, whole.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Reconfigure(pub Arc<Settings>);

/// The actor of a collector.
pub struct Collector<C: Collect> {
    pub(crate) logic: Rc<C>,
    pub(crate) tools: Tools,
    settings: Arc<Settings>,
    running: Rc<Cell<bool>>,
}

impl<C: Collect + Unpin> Collector<C> {
    /// Starts it on an arbiter. `logic` is made there, for it may hold what belongs to one thread.
    pub fn start(
        on: &ArbiterHandle,
        tools: Tools,
        settings: Arc<Settings>,
        logic: impl FnOnce() -> C + Send + 'static,
    ) -> Addr<Self> {
        Self::start_in_arbiter(on, move |_| Self {
            logic: Rc::new(logic()),
            tools,
            settings,
            running: Rc::default(),
        })
    }
}

impl<C: Collect> Collector<C> {
    /// The settings in force.
    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }
}

impl<C: Collect + Unpin> Actor for Collector<C> {
    type Context = Context<Self>;
}

impl<C: Collect + Unpin> Handler<Reconfigure> for Collector<C> {
    type Result = ();

    fn handle(&mut self, Reconfigure(settings): Reconfigure, _ctx: &mut Context<Self>) {
        self.settings = settings;
    }
}

/// Marks a pass as under way for as long as it lives, however it ends.
struct Running(Rc<Cell<bool>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<C: Collect + Unpin> Handler<RunPass> for Collector<C> {
    type Result = ResponseFuture<Result<PassReport, Busy>>;

    fn handle(&mut self, message: RunPass, _ctx: &mut Context<Self>) -> Self::Result {
        if self.running.replace(true) {
            return Box::pin(std::future::ready(Err(Busy(C::LOOP))));
        }
        let running = Running(Rc::clone(&self.running));
        let (logic, tools, settings) =
            (Rc::clone(&self.logic), self.tools.clone(), Arc::clone(&self.settings));
        Box::pin(async move {
            let _running = running;
            let started_at = tools.clock.now();
            let began = tokio::time::Instant::now();
            let pass = Pass::new(C::LOOP, settings, message.progress, tools.log.clone());
            if pass.mode() != Mode::Off {
                let deadline = C::deadline(&pass.settings);
                if tokio::time::timeout(deadline, logic.pass(&tools, &pass)).await.is_err() {
                    pass.error(PassError::Deadline(deadline));
                }
            }
            let mode =
                if pass.mode() == Mode::Enforce && !pass.enforces() { Mode::Report } else { pass.mode() };
            let book = pass.book.into_inner();
            Ok(PassReport {
                of: C::LOOP,
                mode,
                started_at,
                took: began.elapsed(),
                removals: book.removals,
                kept: book.kept,
                freed_bytes: book.freed_bytes,
                errors: book.errors,
                notes: book.notes,
            })
        })
    }
}
