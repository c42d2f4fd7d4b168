//! A pass under way: what it may use, and the book it keeps. The book is outside the pass's own code, so that what was
//! done is told even if the pass is cut short.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use cri_gc_config::{Mode, Settings};
use cri_gc_policy::report::{Item, SectionReport};
use cri_gc_policy::{Decision, Reason};
use futures_util::StreamExt;
use jiff::SignedDuration;
use slog::{Logger, debug, info};
use tokio::sync::mpsc::UnboundedSender;

use super::messages::{Handed, RunPass};
use crate::observe::{self, PodView};
use crate::planning::Foreseen;
use crate::report::{Kept, Outcome, PassError, Progress, Removal, untried_removals};
use crate::tools::Tools;
use cri_gc_gateway::{CriError, CriResult, ErrorClass};
use cri_gc_kit::generation::Generation;
use cri_gc_kit::recorder::{Event, EventKind, Recorder};
use cri_gc_kit::seams::{Clock, Moment};
use cri_gc_kit::supervision::threads::Lease;
use cri_gc_kit::words::{Kind, Loop};

/// What the loop before this one in the chain has seen counts for this long: it comes right after that loop's pass, or not at all.
const SEEN_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// What holds from the next removal on, whatever a pass under way began with (behaviour: Reloading the configuration): a stop, a pause, and settings
/// that remove less. Shared by a loop and its pass, both on one thread.
#[derive(Debug)]
pub struct Live {
    of: Loop,
    generation: RefCell<Arc<Generation>>,
    paused: Cell<bool>,
    finishing: Cell<bool>,
    lease: Lease,
}

impl Live {
    pub(super) fn new(of: Loop, generation: Arc<Generation>, paused: bool, lease: Lease) -> Self {
        let live = Self {
            of,
            generation: RefCell::new(generation),
            paused: Cell::new(paused),
            finishing: Cell::new(false),
            lease,
        };
        live.settle_lease();
        live
    }

    pub(super) fn configure(&self, generation: Arc<Generation>) {
        self.generation.replace(generation);
        self.settle_lease();
    }

    pub(super) fn pause(&self, paused: bool) {
        self.paused.set(paused);
        self.settle_lease();
    }

    pub(super) fn finish(&self) {
        self.finishing.set(true);
        self.settle_lease();
    }

    /// What holds here holds for removals that wait in the gateway too.
    fn settle_lease(&self) {
        let reports = self.of.mode(&self.settings()) != Mode::Enforce;
        self.lease.suspend(self.paused.get() || self.finishing.get() || reports);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.get()
    }

    /// Whether no removal may be begun.
    fn is_halted(&self) -> bool {
        self.paused.get() || self.finishing.get() || self.lease.is_revoked()
    }

    /// The newest settings.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.generation.borrow().settings)
    }
}

/// A pass under way.
pub struct Pass {
    of: Loop,
    /// The settings that it follows to its end.
    pub settings: Arc<Settings>,
    /// What holds from the next removal on.
    pub live: Rc<Live>,
    /// What the passes of a dry run before it would have removed.
    pub foreseen: Arc<Foreseen>,
    clock: Clock,
    began: Moment,
    progress: Option<UnboundedSender<Progress>>,
    recorder: Recorder,
    log: Logger,
    pub(super) book: RefCell<Book>,
    away: Cell<bool>,
    /// What the loop before this one in the chain has seen, then what this pass has.
    seen: RefCell<Option<Handed>>,
}

/// What a pass has done so far.
#[derive(Default)]
pub(super) struct Book {
    pub(super) removals: Vec<Removal>,
    pub(super) follow: Vec<Removal>,
    pub(super) kept: Vec<Kept>,
    pub(super) errors: Vec<PassError>,
    /// The errors in words: each is reported once in a pass.
    reported: HashSet<String>,
    pub(super) notes: Vec<String>,
    pub(super) freed_bytes: u64,
    pub(super) report_only: bool,
}

/// An object to remove, as the pass names it.
#[derive(Debug, Clone)]
pub struct Target<T> {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Why it goes.
    pub reason: Reason,
    /// What else the removal needs.
    pub object: T,
}

impl<T> Target<T> {
    fn ended(&self, outcome: Outcome, bytes: u64) -> Removal {
        Removal {
            kind: self.kind,
            id: self.id.clone(),
            name: self.name.clone(),
            reason: self.reason.as_str().to_owned(),
            outcome,
            bytes,
        }
    }
}

/// How a removal ended, and the bytes that it brought.
pub type Removed = Result<(Outcome, u64), CriError>;

impl Pass {
    pub(super) fn new(
        of: Loop,
        live: Rc<Live>,
        RunPass { progress, foreseen, seen }: RunPass,
        tools: &Tools,
    ) -> Self {
        let (clock, recorder, log) = (tools.clock.clone(), tools.recorder.clone(), tools.log.clone());
        let (settings, began) = (live.settings(), clock.moment());
        let (book, away, seen) = (RefCell::default(), Cell::new(false), RefCell::new(seen));
        Self { of, settings, live, foreseen, clock, began, progress, recorder, log, book, away, seen }
    }

    /// Containers, sandboxes, log directories and the states of their pods: what the loop before this one in the chain has just seen,
    /// else what is observed now. What the pod-state provider says goes to the book.
    ///
    /// # Errors
    /// A list of the runtime failed.
    pub async fn pods(&self, tools: &Tools) -> CriResult<Arc<PodView>> {
        let now = self.clock.moment();
        let is_valid = |Handed { view, settings }: &Handed| {
            let age = now.boot().saturating_sub(view.listed_at.boot());
            let by_the_same = Arc::ptr_eq(settings, &self.settings);
            by_the_same && age <= SEEN_WITHIN && !now.was_set_since(&view.listed_at)
        };
        let view = match self.seen.take().filter(is_valid) {
            // A runtime that is unreachable by now is found so by the lists, rather than by removals that fail.
            Some(Handed { view, .. })
                if tools.gateway.runtime().await.is_some_and(|now| now.reachable != Some(false)) =>
            {
                view
            }
            _ => Arc::new(observe::remember_pods(tools, &self.settings).await?),
        };
        view.verdict.notes.iter().for_each(|note| self.note(note.clone()));
        view.verdict.report_only.iter().for_each(|why| self.only_report(why.clone()));
        let (settings, seen) = (Arc::clone(&self.settings), Arc::clone(&view));
        self.seen.replace(Some(Handed { view: seen, settings }));
        Ok(view)
    }

    /// What the next loop in the chain need not observe again; `None` where this pass has removed something, has tried to, or has
    /// failed: what it had sent at its deadline may be carried out later.
    pub(super) fn seen_for_next(&self) -> Option<Handed> {
        let untouched = |removal: &Removal| removal.outcome == Outcome::WouldRemove;
        let book = self.book.borrow();
        if book.errors.is_empty() && book.removals.iter().all(untouched) { self.seen.take() } else { None }
    }

    /// Whether this pass removes, or only says what it would remove.
    #[must_use]
    pub fn enforces(&self) -> bool {
        let newest = self.of.mode(&self.live.settings());
        self.mode() == Mode::Enforce && newest == Mode::Enforce && !self.book.borrow().report_only
    }

    /// The mode that the settings ask for.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.of.mode(&self.settings)
    }

    /// Something other than the settings forbids to remove in this pass.
    pub fn only_report(&self, why: String) {
        self.note(why);
        self.book.borrow_mut().report_only = true;
    }

    /// An error of a step. The later steps go on. The same error again, of a step that is repeated, is not reported again.
    pub fn error(&self, error: impl Into<PassError>) {
        let error = error.into();
        if !self.book.borrow_mut().reported.insert(error.to_string()) {
            return;
        }
        // How loud it is told is the failure log's matter, when the pass has ended.
        debug!(self.log, "step failed"; "loop" => self.of.as_str(), "error" => %error);
        self.book.borrow_mut().errors.push(error);
    }

    /// What an operator should know.
    pub fn note(&self, note: String) {
        let notes = &mut self.book.borrow_mut().notes;
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// What stays.
    pub fn kept(&self, kind: Kind, items: Vec<Item>) {
        debug!(self.log, "kept"; "loop" => self.of.as_str(), "kind" => kind.as_str(), "count" => items.len());
        self.book.borrow_mut().kept.extend(items.into_iter().map(|item| Kept { kind, item }));
    }

    /// What stays of that kind in the end, in place of what was said of it before.
    pub fn kept_after_all(&self, kind: Kind, items: Vec<Item>) {
        self.book.borrow_mut().kept.retain(|kept| kept.kind != kind);
        self.kept(kind, items);
    }

    /// Whether no further removal may be begun: the runtime went away, the loop was halted, or the clock was set, so that
    /// the ages that the plan rests on are not to be believed.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.away.get() || self.live.is_halted() || self.clock.was_set_since(&self.began)
    }

    /// Whether a removal that was begun by asking may still go on: asked again where something was waited for in between.
    #[must_use]
    pub fn may_remove(&self) -> bool {
        self.enforces() && !self.is_interrupted()
    }

    /// Bytes that were measurably freed.
    pub fn freed(&self, bytes: u64) {
        self.book.borrow_mut().freed_bytes = bytes;
    }

    /// So many are to be removed.
    pub fn planned(&self, count: usize) {
        self.tell(Progress::Planned(self.of, count));
    }

    /// Carries out what was decided on objects of one kind: takes down what is kept and what would follow, and removes the rest in its
    /// order, at most `parallel` at a time. `report` is the same decisions in words; `object` is what the removal needs.
    pub async fn carry_out<T>(
        &self,
        kind: Kind,
        report: SectionReport,
        decisions: &[Decision],
        object: impl Fn(usize) -> Option<T>,
        parallel: usize,
        remove: impl AsyncFn(&Target<T>) -> Removed,
    ) {
        let SectionReport { remove: items, follow, keep, .. } = report;
        self.kept(kind, keep);
        let followers = follow.into_iter().map(|item| Removal::new(kind, item, Outcome::WouldRemove));
        self.book.borrow_mut().follow.extend(followers);
        let targets: Vec<Target<T>> = decisions
            .iter()
            .zip(items)
            .filter_map(|(decision, item)| {
                let Item { id, name, .. } = item;
                Some(Target { kind, id, name, reason: decision.reason, object: object(decision.index)? })
            })
            .collect();
        self.planned(targets.len());
        self.attempt(targets, parallel, remove, |target, removed| self.record(&target, removed)).await;
    }

    fn tell(&self, progress: Progress) {
        if let Some(listener) = &self.progress {
            // A listener that went away does not disturb the pass.
            let _ = listener.send(progress);
        }
    }

    /// Removes the targets in their order, at most `parallel` at a time, or records that they would be removed. Once the runtime is
    /// unreachable, the rest is not tried: it would fail the same way. `ended` gets each target with its answer, and has it
    /// [recorded](Self::record) once its outcome is known.
    pub async fn attempt<T>(
        &self,
        targets: Vec<Target<T>>,
        parallel: usize,
        remove: impl AsyncFn(&Target<T>) -> Removed,
        ended: impl Fn(Target<T>, Removed),
    ) {
        let untried = Rc::new(Cell::new(0));
        futures_util::stream::iter(targets)
            .map(|target| {
                let (remove, ended, untried) = (&remove, &ended, Rc::clone(&untried));
                async move {
                    if !self.enforces() {
                        self.done(&target, Outcome::WouldRemove, 0);
                    } else if self.is_interrupted() {
                        untried.set(untried.get() + 1);
                    } else {
                        let removed = remove(&target).await;
                        ended(target, removed);
                    }
                }
            })
            .buffer_unordered(parallel.max(1))
            .collect::<()>()
            .await;
        match untried.get() {
            0 => {}
            untried if self.live.is_halted() => {
                self.note(format!(
                    "stopped by pause, report mode, shutdown or a restart of the loop: {}",
                    untried_removals(untried)
                ));
            }
            untried if self.clock.was_set_since(&self.began) => self.error(PassError::ClockSet(untried)),
            untried => self.error(PassError::Interrupted(untried)),
        }
    }

    /// Takes down how a removal ended.
    pub fn record<T>(&self, target: &Target<T>, removed: Removed) {
        match removed {
            Ok((outcome, bytes)) => self.done(target, outcome, bytes),
            Err(error) => match error.class {
                // Gone, or going by another hand.
                ErrorClass::NotFound | ErrorClass::AlreadyRemoving => {
                    self.done(target, Outcome::AlreadyGone, 0)
                }
                ErrorClass::Withheld => {
                    self.done(target, Outcome::Refused { because: error.message }, 0);
                }
                ErrorClass::Unavailable | ErrorClass::NoSocket => {
                    if !self.away.replace(true) {
                        self.error(error.clone());
                    }
                    self.done(target, Outcome::Failed { error: error.to_string() }, 0);
                }
                _ => self.done(target, Outcome::Failed { error: error.to_string() }, 0),
            },
        }
    }

    fn done<T>(&self, target: &Target<T>, outcome: Outcome, bytes: u64) {
        let removal = target.ended(outcome, bytes);
        let (kind, outcome) = (removal.kind.as_str(), removal.outcome.to_string());
        let what = slog::o!(
            "loop" => self.of.as_str(), "kind" => kind, "id" => removal.id.clone(), "name" => removal.name.clone(),
            "reason" => removal.reason.clone(), "bytes" => removal.bytes
        );
        match removal.outcome {
            Outcome::Removed => info!(self.log, "{}", outcome; what),
            _ => debug!(self.log, "{}", outcome; what),
        }
        if removal.outcome == Outcome::Removed {
            self.recorder.record(removed(self.of, &removal));
        }
        self.tell(Progress::Done(self.of, removal.clone()));
        self.book.borrow_mut().removals.push(removal);
    }
}

/// The event of a removal.
fn removed(of: Loop, removal: &Removal) -> Event {
    Event {
        object: Some(Box::new(removal.object())),
        bytes: removal.bytes,
        ..Event::new(EventKind::Removed, Some(of), "")
    }
}
