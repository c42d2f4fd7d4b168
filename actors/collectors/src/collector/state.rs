//! What a loop's supervisor says of it: facts for `status`, `explain` and metrics.

use std::time::Duration;

use cri_gc_config::Mode;
use jiff::Timestamp;

use crate::report::PassReport;
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
    /// The last one that ended: a [summary](PassReport::summary).
    pub last: Option<PassReport>,
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
