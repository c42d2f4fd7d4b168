//! What a loop's supervisor says of it: facts for `status`, `explain` and metrics.

use std::time::Duration;

use cri_gc_config::Mode;
use jiff::Timestamp;

use crate::report::{Outcome, PassReport, Removal, Trigger};
use cri_gc_kit::words::Loop;

/// What a loop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It waits for its time.
    Waiting,
    /// A pass is under way.
    Running,
    /// It was told to remove nothing for now.
    Paused,
    /// The settings switch it off.
    Off,
    /// It fell, and is started anew after a pause.
    Restarting,
    /// Its thread does not answer.
    Hung,
    /// It has come to rest.
    Stopped,
}

impl Doing {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Off => "off",
            Self::Restarting => "restarting",
            Self::Hung => "hung",
            Self::Stopped => "stopped",
        }
    }
}

/// How a loop is.
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
    /// Since when it is paused, if it is; a pass under way then ends without further removals.
    pub paused_since: Option<Timestamp>,
    /// The generation of settings that it follows.
    pub generation: u64,
    /// How often it makes a pass.
    pub period: Duration,
    /// When the next one is due; `None` while none is planned.
    pub next_pass_at: Option<Timestamp>,
    /// The last one that ended.
    pub last: Option<LastPass>,
    /// Passes since the service started.
    pub passes: u64,
    /// Objects removed since the service started.
    pub removed: u64,
    /// Bytes measurably freed since the service started.
    pub freed_bytes: u64,
    /// Passes that failed since the last good one.
    pub failures: u64,
    /// Since when they have.
    pub failing_since: Option<Timestamp>,
    /// How often it was started anew.
    pub restarts: u64,
    /// Why, the last time.
    pub last_restart: Option<String>,
}

/// What the last pass did, in figures.
#[derive(Debug, Clone)]
pub struct LastPass {
    /// What began it.
    pub trigger: Trigger,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What it could do; `report` also where something outside the settings made it so.
    pub mode: Mode,
    /// Objects removed.
    pub removed: u64,
    /// Objects that would go, were it to enforce.
    pub would_remove: u64,
    /// Objects that somebody else had removed.
    pub gone: u64,
    /// Objects that the re-check kept.
    pub refused: u64,
    /// Objects that could not be removed.
    pub failed: u64,
    /// Objects that the plan kept.
    pub kept: u64,
    /// Bytes measurably freed.
    pub freed_bytes: u64,
    /// All errors.
    pub errors: Vec<String>,
    /// What to know beside.
    pub notes: Vec<String>,
    /// The objects that could not be removed, the first of them.
    pub stuck: Vec<Removal>,
}

/// Stuck objects that are named one by one.
const NAMED: usize = 50;

impl LastPass {
    /// What that report says.
    #[must_use]
    pub fn new(trigger: Trigger, report: &PassReport) -> Self {
        let count = |which: fn(&Outcome) -> bool| report.count(which) as u64;
        Self {
            trigger,
            started_at: report.started_at,
            took: report.took,
            mode: report.mode,
            removed: count(|outcome| *outcome == Outcome::Removed),
            would_remove: count(|outcome| *outcome == Outcome::WouldRemove),
            gone: count(|outcome| *outcome == Outcome::AlreadyGone),
            refused: count(|outcome| matches!(outcome, Outcome::Refused { .. })),
            failed: count(|outcome| matches!(outcome, Outcome::Failed { .. })),
            kept: report.kept.len() as u64,
            freed_bytes: report.brought(),
            errors: report.errors.iter().map(ToString::to_string).collect(),
            notes: report.notes.clone(),
            stuck: report.failed().map(|(removal, _)| removal.clone()).take(NAMED).collect(),
        }
    }
}
