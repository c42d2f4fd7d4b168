//! What a loop's supervisor knows of it: facts for `status`, `explain` and metrics.

use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::Mode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::stuck::StuckObject;
use super::totals::Totals;
use crate::report::{PassReport, Space};
use cri_gc_kit::generation::Generation;
use cri_gc_kit::words::{Kind, Loop, LoopSettings};

/// What a loop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Doing {
    /// It waits for its time.
    Waiting,
    /// A pass is in progress.
    Running,
    /// It removes nothing until it is resumed.
    Paused,
    /// The settings switch it off.
    Off,
    /// It crashed, and is restarted after a pause.
    Restarting,
    /// Its thread does not answer.
    Hung,
    /// It has shut down.
    Stopped,
}

impl Doing {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A pause of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; `None` if it does not.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

impl Paused {
    /// Both pauses: since the earlier time, until the later end.
    pub(super) fn joined_with(self, other: Self) -> Self {
        let until = self.until.zip(other.until).map(|(one, two)| one.max(two));
        Self { since: self.since.min(other.since), until }
    }
}

/// The state of a loop.
#[derive(Debug, Clone)]
pub struct LoopState {
    /// Which.
    pub of: Loop,
    /// What the settings let it do.
    pub mode: Mode,
    /// What it does.
    pub doing: Doing,
    /// Since when.
    pub since: Timestamp,
    /// How it is paused, if it is; a pass in progress then ends without further removals.
    pub paused: Option<Paused>,
    /// The generation of settings that it follows.
    pub generation: u64,
    /// How often it makes a pass.
    pub period: Duration,
    /// When the next one is due; `None` while none is planned.
    pub next_pass_at: Option<Timestamp>,
    /// The last one that ended: a [summary](PassReport::summary).
    pub last: Option<PassReport>,
    /// Passes since the service started.
    pub passes: u64,
    /// Objects that could not be removed; those that failed first come first.
    pub stuck: Vec<Arc<StuckObject>>,
    /// Objects removed since the service started.
    pub removed: u64,
    /// Bytes measurably freed since the service started.
    pub freed_bytes: u64,
    /// What all passes have done since the service started, by kind.
    pub totals: Totals,
    /// The image filesystems, as the last pass saw them that knew where they are; only for image GC.
    pub space: Space,
    /// Passes that failed since the last one without a failure.
    pub failures: u64,
    /// Since when they have.
    pub failing_since: Option<Timestamp>,
    /// How often it was restarted.
    pub restarts: u64,
    /// Why, the last time.
    pub last_restart: Option<String>,
}

impl LoopState {
    /// That of a loop which starts now.
    #[must_use]
    pub fn new(of: Loop, generation: &Generation, now: Timestamp) -> Self {
        let LoopSettings { mode, period, .. } = of.settings(&generation.settings);
        Self {
            of,
            mode,
            doing: Doing::Waiting,
            since: now,
            paused: None,
            generation: generation.number,
            period,
            next_pass_at: None,
            last: None,
            passes: 0,
            stuck: Vec::new(),
            removed: 0,
            freed_bytes: 0,
            totals: Totals::default(),
            space: Space::default(),
            failures: 0,
            failing_since: None,
            restarts: 0,
            last_restart: None,
        }
    }

    /// What it does with its plans: what the settings say, unless something else let its last pass only report.
    #[must_use]
    pub fn mode_in_effect(&self) -> Mode {
        match &self.last {
            Some(last) if self.mode == Mode::Enforce && last.report_only => Mode::Report,
            _ => self.mode,
        }
    }

    /// That object, if it could not be removed.
    #[must_use]
    pub fn stuck_object(&self, kind: Kind, id: &str) -> Option<&StuckObject> {
        let mut stuck = self.stuck.iter().map(Arc::as_ref);
        stuck.find(|object| object.removal.kind == kind && object.removal.id == id)
    }

    pub(super) fn now_does(&mut self, doing: Doing, now: Timestamp) {
        // A loop that has shut down does nothing else.
        if self.doing != doing && self.doing != Doing::Stopped {
            (self.doing, self.since) = (doing, now);
        }
    }

    pub(super) fn crashed(&mut self, why: String, now: Timestamp) {
        self.restarts += 1;
        self.last_restart = Some(why);
        self.now_does(Doing::Restarting, now);
    }

    pub(super) fn pass_ended(&mut self, report: &PassReport, now: Timestamp) {
        self.passes += 1;
        self.removed += report.counts.removed;
        self.freed_bytes += report.freed();
        self.totals.pass_ended(report, now);
        // A pass that the runtime did not answer says nothing of them.
        if !report.space.places.images.is_empty() {
            self.space = report.space.clone();
        }
        self.last = Some(report.summary());
    }
}
