//! A pass in progress: what it may use, and its report. The report is outside the pass's own code, so that what was done is
//! reported even if the pass is cut short.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use cri_gc_config::{Mode, Settings};
use cri_gc_policy::report::Item;
use cri_gc_policy::{Decision, Kind, Reason, Section};
use ecow::EcoString;
use jiff::SignedDuration;
use slog::{debug, info};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::messages::{Handed, RunPass};
use super::stuck::Stuck;
use crate::observe::{self, PodView};
use crate::planning::Foreseen;
use crate::report::{Outcome, PassError, PassReport, Progress, Removal, Space, Trigger, untried_removals};
use crate::tools::Tools;
use cri_gc_gateway::{CriError, CriResult, ErrorClass};
use cri_gc_kit::generation::Generation;
use cri_gc_kit::parallel;
use cri_gc_kit::recorder::{Event, EventKind};
use cri_gc_kit::seams::Moment;
use cri_gc_kit::supervision::threads::Lease;
use cri_gc_kit::words::Loop;

/// How much of a period a pass may come earlier than the period says.
pub(super) const SPREAD: f64 = 0.1;

/// What the loop before this one in the chain has seen counts for this long: it comes right after that loop's pass, or not at all.
const SEEN_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// What is in force from the next removal on, whatever a pass in progress began with (behaviour: Reloading the configuration): a
/// stop, a pause, and settings that remove less. Shared by a loop and its pass, both on one thread.
#[derive(Debug)]
pub struct Live {
    of: Loop,
    generation: RefCell<Arc<Generation>>,
    paused: Cell<bool>,
    finishing: Cell<bool>,
    /// Objects whose removal is in progress, with the checks before it.
    removing: Cell<usize>,
    /// Rung when one of these two changes.
    changed: Notify,
    lease: Lease,
}

impl Live {
    pub(super) fn new(of: Loop, generation: Arc<Generation>, paused: bool, lease: Lease) -> Self {
        let live = Self {
            of,
            generation: RefCell::new(generation),
            paused: Cell::new(paused),
            finishing: Cell::new(false),
            removing: Cell::new(0),
            changed: Notify::new(),
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
        self.changed.notify_waiters();
    }

    /// What is in force here is in force for removals that wait in the gateway too.
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

    /// Ends once the loop shuts down and no removal is in progress: what else a pass waits for, it needs no more.
    pub(super) async fn is_over(&self) {
        loop {
            let changed = self.changed.notified();
            if self.finishing.get() && self.removing.get() == 0 {
                return;
            }
            changed.await;
        }
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

/// A removal in progress.
pub struct Removing<'a>(&'a Live);

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        self.0.removing.update(|count| count - 1);
        self.0.changed.notify_waiters();
    }
}

/// A pass in progress.
pub struct Pass {
    of: Loop,
    /// What it uses.
    pub tools: Tools,
    /// The settings that it follows to its end.
    pub settings: Arc<Settings>,
    /// What is in force from the next removal on.
    pub live: Rc<Live>,
    /// What could not be removed before.
    stuck: Rc<Stuck>,
    /// What the passes of a dry run before it would have removed.
    pub foreseen: Arc<Foreseen>,
    began: Moment,
    progress: Option<UnboundedSender<Progress>>,
    /// What it has done so far.
    pub(super) report: RefCell<PassReport>,
    /// Its errors in words: each is reported once in a pass.
    reported: RefCell<HashSet<String>>,
    is_unreachable: Cell<bool>,
    /// Whether it has come as far as a plan.
    has_planned: Cell<bool>,
    /// Removals that were not begun because it was interrupted.
    untried: Cell<usize>,
    /// What the loop before this one in the chain has seen, then what this pass has.
    seen: RefCell<Option<Handed>>,
}

/// An object to remove, as the pass names it.
#[derive(Debug, Clone)]
pub struct Target<T> {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: EcoString,
    /// What people call it.
    pub name: String,
    /// Why it is removed.
    pub reason: Reason,
    /// UID of its pod; empty for what belongs to none.
    pub pod_uid: EcoString,
    /// What else the removal needs.
    pub object: T,
}

impl<T> Target<T> {
    /// That of a decision, made when its removal begins: the words for 100,000 take more memory than all that was observed. `None` if
    /// the decision is of no object.
    pub fn new(
        kind: Kind,
        decision: Decision,
        words: impl Fn(&[Decision]) -> Vec<Item>,
        object: T,
    ) -> Option<Self> {
        let Item { id, name, pod_uid, .. } = words(&[decision]).pop()?;
        Some(Self { kind, id, name, reason: decision.reason, pod_uid, object })
    }
}

/// How a removal ended, and the bytes that it freed.
pub type Removed = Result<(Outcome, u64), CriError>;

impl Pass {
    pub(super) fn new(
        of: Loop,
        (live, stuck): (Rc<Live>, Rc<Stuck>),
        RunPass { trigger, progress, foreseen, seen, brief }: RunPass,
        tools: Tools,
    ) -> Self {
        let (settings, began) = (live.settings(), tools.clock.moment());
        let report = PassReport::new(of, trigger, of.mode(&settings), began.wall());
        let report = PassReport { lists_objects: !brief, ..report };
        Self {
            of,
            tools,
            settings,
            live,
            stuck,
            foreseen,
            began,
            progress,
            report: RefCell::new(report),
            reported: RefCell::default(),
            is_unreachable: Cell::new(false),
            has_planned: Cell::new(false),
            untried: Cell::new(0),
            seen: RefCell::new(seen),
        }
    }

    /// Containers, sandboxes, log directories and the states of their pods: what the loop before this one in the chain has just seen,
    /// else what is observed now. What the pod-state provider says is reported.
    ///
    /// # Errors
    /// A list of the runtime failed.
    pub async fn pods(&self) -> CriResult<Arc<PodView>> {
        let tools = &self.tools;
        let now = tools.clock.moment();
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
        view.verdict.notes.iter().chain(&view.notes).for_each(|note| self.note(note.clone()));
        // By the loop that removes such things: one problem is no failure of every loop.
        for (_, error) in view.gaps.iter().filter(|(kind, _)| Loop::of(*kind) == self.of) {
            self.error(error.clone());
        }
        view.verdict.report_only.iter().for_each(|why| self.only_report(why.clone()));
        let (settings, seen) = (Arc::clone(&self.settings), Arc::clone(&view));
        self.seen.replace(Some(Handed { view: seen, settings }));
        Ok(view)
    }

    /// What the next loop in the chain need not observe again; `None` where this pass has removed something, has tried to, or has
    /// failed: what it had sent at its deadline may be carried out later.
    pub(super) fn seen_for_next(&self) -> Option<Handed> {
        let report = self.report.borrow();
        if report.errors.is_empty() && report.counts.attempted.is_empty() { self.seen.take() } else { None }
    }

    /// Whether this pass removes, or only says what it would remove.
    #[must_use]
    pub fn enforces(&self) -> bool {
        let newest = self.of.mode(&self.live.settings());
        self.mode() == Mode::Enforce && newest == Mode::Enforce && !self.report.borrow().report_only
    }

    /// The mode that the settings ask for.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.of.mode(&self.settings)
    }

    /// Something other than the settings forbids to remove in this pass.
    pub fn only_report(&self, why: String) {
        self.note(why);
        self.report.borrow_mut().report_only = true;
    }

    /// An error of a step. The later steps are made all the same. The same error again, of a step that is repeated, is not reported again.
    pub fn error(&self, error: impl Into<PassError>) {
        let error = error.into();
        if !self.reported.borrow_mut().insert(error.to_string()) {
            return;
        }
        // At which level it is logged is decided by the failure log, when the pass has ended.
        debug!(self.tools.log, "step failed"; "loop" => self.of.as_str(), "error" => %error);
        self.report.borrow_mut().errors.push(error);
    }

    /// What an operator should know.
    pub fn note(&self, note: String) {
        let notes = &mut self.report.borrow_mut().notes;
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// What is kept of that kind, and how that is put into words.
    pub fn kept(&self, kind: Kind, keep: &[Decision], words: impl Fn(&[Decision]) -> Vec<Item>) {
        debug!(self.tools.log, "kept"; "loop" => self.of.as_str(), "kind" => kind.as_str(), "count" => keep.len());
        self.has_planned.set(true);
        self.report.borrow_mut().kept(kind, keep, words);
    }

    /// What is kept in the end, in place of what was said before.
    pub fn kept_after_all(&self, kind: Kind, keep: &[Decision], words: impl Fn(&[Decision]) -> Vec<Item>) {
        self.report.borrow_mut().forget_kept();
        self.kept(kind, keep, words);
    }

    /// Whether no further removal may be begun: the runtime became unreachable, the loop was halted, or the clock was set, so
    /// that the ages that the plan rests on may be wrong.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.is_unreachable.get() || self.live.is_halted() || self.tools.clock.was_set_since(&self.began)
    }

    /// Whether a removal may continue: checked again after each wait since its first check.
    #[must_use]
    pub fn may_remove(&self) -> bool {
        self.enforces() && !self.is_interrupted()
    }

    /// Bytes that were measurably freed.
    pub fn freed(&self, bytes: u64) {
        self.report.borrow_mut().freed_bytes = bytes;
    }

    /// What it sees of the image filesystems, to be filled in.
    pub fn space(&self) -> RefMut<'_, Space> {
        RefMut::map(self.report.borrow_mut(), |report| &mut report.space)
    }

    /// Reports how many objects will be removed.
    pub fn planned(&self, count: usize) {
        self.send(Progress::Planned(self.of, count));
    }

    /// Carries out what was decided on objects of one kind: reports what is kept and what would follow, and removes the rest in its
    /// order, at most `parallel` at a time. `words` puts decisions into words; `object` is what the removal needs.
    pub async fn carry_out<T>(
        &self,
        kind: Kind,
        section: &Section,
        words: impl Fn(&[Decision]) -> Vec<Item>,
        object: impl Fn(usize) -> Option<T>,
        parallel: usize,
        remove: impl AsyncFn(&Target<T>) -> Removed,
    ) {
        self.decided(kind, section, &words);
        self.planned(section.remove.len());
        let target = |decision: &Decision| Target::new(kind, *decision, &words, object(decision.index)?);
        let targets = section.remove.iter().filter_map(target);
        self.attempt(targets, parallel, remove, |target, removed| self.record(&target, removed)).await;
    }

    /// Reports what is kept, and what would follow.
    pub fn decided(&self, kind: Kind, section: &Section, words: impl Fn(&[Decision]) -> Vec<Item>) {
        self.kept(kind, &section.keep, &words);
        self.report.borrow_mut().follow(kind, &section.follow, &words);
    }

    fn send(&self, progress: Progress) {
        if let Some(listener) = &self.progress {
            // A listener that is gone does not disturb the pass.
            let _ = listener.send(progress);
        }
    }

    /// Removes the targets in their order, at most `parallel` at a time, or records that they would be removed. Once the runtime is
    /// unreachable, the rest is not tried: it would fail the same way. `ended` gets each target with its answer, and has it
    /// [recorded](Self::record) once its outcome is known.
    pub async fn attempt<T>(
        &self,
        targets: impl IntoIterator<Item = Target<T>>,
        parallel: usize,
        remove: impl AsyncFn(&Target<T>) -> Removed,
        ended: impl Fn(Target<T>, Removed),
    ) {
        parallel::for_each(targets, parallel, async |target| {
            if !self.enforces() {
                self.done(&target, Outcome::WouldRemove, 0);
            } else if self.is_interrupted() {
                self.untried.set(self.untried.get() + 1);
            } else if self.is_postponed(&target) {
                self.report.borrow_mut().counts.postponed += 1;
            } else {
                let removing = self.removing();
                let removed = remove(&target).await;
                ended(target, removed);
                drop(removing);
            }
        })
        .await;
    }

    /// A removal is in progress until what this returns is dropped: a loop that shuts down waits for it.
    pub fn removing(&self) -> Removing<'_> {
        self.live.removing.update(|count| count + 1);
        Removing(&self.live)
    }

    /// Whether it could not be removed before, and it is too early to try again. An operator who requests a pass has it tried.
    fn is_postponed<T>(&self, target: &Target<T>) -> bool {
        let is_requested = self.report.borrow().trigger == Trigger::Admin;
        !is_requested && self.stuck.waits(target.kind, &target.id, self.began)
    }

    /// These are all objects of that kind that there are: what could not be removed and is gone is forgotten.
    pub fn there_are<'a>(&self, kind: Kind, ids: impl Iterator<Item = &'a str>) {
        self.stuck.forget_others(kind, ids);
    }

    /// Reports what was not tried, and why: the last thing that a pass does.
    pub(super) fn report_untried(&self) {
        if self.may_remove() && self.has_planned.get() && self.untried.get() == 0 {
            self.stuck.forget_untried(self.began);
        }
        match self.untried.get() {
            0 => {}
            untried if self.live.is_halted() => {
                self.note(format!(
                    "stopped by pause, shutdown or a restart of the loop: {}",
                    untried_removals(untried)
                ));
            }
            untried if self.tools.clock.was_set_since(&self.began) => {
                self.error(PassError::ClockSet(untried))
            }
            untried => self.error(PassError::Interrupted(untried)),
        }
    }

    /// Reports how a removal ended.
    pub fn record<T>(&self, target: &Target<T>, removed: Removed) {
        match removed {
            Ok((outcome, bytes)) => self.done(target, outcome, bytes),
            Err(error) => {
                let outcome = match error.class {
                    // Removed by another program, or about to be.
                    ErrorClass::NotFound | ErrorClass::AlreadyRemoving => Outcome::AlreadyGone,
                    ErrorClass::Withheld => Outcome::Refused { because: error.message },
                    class => {
                        let failed = Outcome::Failed { error: error.to_string() };
                        let is_unreachable = matches!(class, ErrorClass::Unavailable | ErrorClass::NoSocket);
                        if is_unreachable && !self.is_unreachable.replace(true) {
                            self.error(error);
                        }
                        failed
                    }
                };
                self.done(target, outcome, 0);
            }
        }
    }

    fn done<T>(&self, target: &Target<T>, outcome: Outcome, bytes: u64) {
        let mut removal = Removal {
            kind: target.kind,
            id: target.id.clone(),
            name: target.name.clone(),
            reason: target.reason.as_str(),
            outcome,
            bytes,
            attempts: 0,
            pod_uid: target.pod_uid.clone(),
        };
        match &removal.outcome {
            Outcome::Failed { .. } if !self.is_unreachable.get() => {
                let settings = self.live.settings();
                // A period may be shortened by chance.
                let first = self.of.settings(&settings).period.mul_f64(1.0 - SPREAD);
                let bounds = (first, settings.supervision.stuck_backoff_max);
                removal.attempts = self.stuck.failed(removal.clone(), self.began, bounds);
            }
            Outcome::Removed | Outcome::AlreadyGone => self.stuck.forget(target.kind, &target.id),
            Outcome::Failed { .. } | Outcome::WouldRemove | Outcome::Refused { .. } => {}
        }
        let (kind, outcome) = (removal.kind.as_str(), removal.outcome.to_string());
        let what = slog::o!(
            "loop" => self.of.as_str(), "kind" => kind, "id" => removal.id.to_string(), "name" => removal.name.clone(),
            "reason" => removal.reason, "bytes" => removal.bytes
        );
        if removal.outcome == Outcome::Removed {
            info!(self.tools.log, "removed"; what);
            let object = Some(Box::new(removal.object()));
            let event = Event::new(EventKind::Removed, Some(self.of), "");
            let pass = Some(self.report.borrow().in_pass());
            self.tools.recorder.record(Event { object, bytes: removal.bytes, pass, ..event });
        } else {
            debug!(self.tools.log, "{}", outcome; what);
        }
        if self.progress.is_some() {
            self.send(Progress::Done(self.of, removal.clone()));
        }
        self.report.borrow_mut().removal(removal);
    }
}
