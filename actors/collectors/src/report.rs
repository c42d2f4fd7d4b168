//! What a pass did: every planned removal with its outcome, everything that was kept with its reason, and all errors.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use cri_gc_config::Mode;
use cri_gc_policy::report::{Item, sort_kept};
use cri_gc_policy::text::counted;
use cri_gc_policy::{Decision, FsProblem, Kind, Reason};
use ecow::EcoString;
use jiff::Timestamp;
use serde::Serialize;

use cri_gc_files::root::FileError;
use cri_gc_gateway::{CriError, FsPlaces};
use cri_gc_kit::recorder::{InPass, Object};
use cri_gc_kit::text::duration;
use cri_gc_kit::words::Loop;
use cri_gc_kit::workers::WorkerGone;

/// How an attempt to remove an object ended. Every removal is idempotent, so all but `Failed` are good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// It is gone.
    Removed,
    /// Another program removed it, or is removing it.
    AlreadyGone,
    /// The check right before the removal saw that it has to be kept.
    Refused {
        /// Why it is kept.
        because: String,
    },
    /// It could not be removed; it is tried again after a pause.
    Failed {
        /// What was said.
        error: String,
    },
    /// The loop only reports: it would be removed.
    WouldRemove,
}

impl Outcome {
    /// The word for how an attempt ended. What a loop only reports was no attempt.
    #[must_use]
    pub fn as_result(&self) -> Option<&'static str> {
        match self {
            Self::Removed => Some("removed"),
            Self::AlreadyGone => Some("already_gone"),
            Self::Refused { .. } => Some("refused"),
            Self::Failed { .. } => Some("failed"),
            Self::WouldRemove => None,
        }
    }

    /// The loop may remove nothing any more, or hung until now.
    #[must_use]
    pub fn halted() -> Self {
        Self::Refused { because: "halted".to_owned() }
    }

    /// The check right before the removal saw that it has to be kept.
    #[must_use]
    pub fn refused(because: Reason) -> Self {
        Self::Refused { because: because.as_str().to_owned() }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("removed"),
            Self::AlreadyGone => f.write_str("already removed"),
            Self::Refused { because } => write!(f, "kept: {because}"),
            Self::Failed { error } => write!(f, "failed: {error}"),
            Self::WouldRemove => f.write_str("would be removed"),
        }
    }
}

/// What began a pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Trigger {
    /// The loop was started, or restarted.
    Start,
    /// It was time.
    Period,
    /// The loop before it in the chain made a pass.
    Chain,
    /// A disk is over its threshold.
    Pressure,
    /// The runtime is reachable again, and the pass before failed because it was not.
    Recovery,
    /// A client has requested it.
    #[default]
    Admin,
}

impl Trigger {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One planned removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// What it is.
    pub kind: Kind,
    /// Its id (of a directory or link: its name).
    pub id: EcoString,
    /// What people call it: "namespace/pod/container", a tag.
    pub name: String,
    /// Why it was planned: a word of [`Reason`].
    pub reason: &'static str,
    /// How that ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Bytes: measured for logs, reported by the runtime for images (a hint), 0 where they are not known.
    pub bytes: u64,
    /// How often it was tried, where it could not be removed.
    #[serde(skip)]
    pub attempts: u64,
    /// UID of its pod; empty for what belongs to none.
    #[serde(skip)]
    pub pod_uid: EcoString,
}

impl Removal {
    /// The outcome for an object of a plan.
    #[must_use]
    pub fn new(kind: Kind, reason: Reason, Item { id, name, pod_uid, .. }: Item, outcome: Outcome) -> Self {
        Self { kind, id, name, reason: reason.as_str(), outcome, bytes: 0, attempts: 0, pod_uid }
    }

    /// The object, as an event names it.
    #[must_use]
    pub fn object(&self) -> Object {
        Object {
            kind: self.kind,
            id: self.id.to_string(),
            name: self.name.clone(),
            reason: self.reason.to_owned(),
            pod_uid: self.pod_uid.to_string(),
        }
    }
}

/// Something that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What it is.
    pub kind: Kind,
    /// Which, and why.
    #[serde(flatten)]
    pub item: Item,
}

/// What makes two failures the same: the step (or RPC method) and the code (behaviour: Failures and log levels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FailureKind {
    /// The step, or the RPC method.
    pub step: &'static str,
    /// The gRPC code, where there is one.
    pub code: Option<tonic::Code>,
}

impl PassError {
    /// Whether the runtime cannot be reached at all. The gateway reports that, once for all loops.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Cri(error) | Self::Statuses { error, .. } | Self::Unlisted { error, .. } => {
                error.is_unreachable()
            }
            Self::Interrupted(_) => true,
            _ => false,
        }
    }

    /// Whether the runtime did not answer: it cannot be reached, or hangs.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Cri(error) | Self::Statuses { error, .. } => error.is_unanswered(),
            _ => self.is_unreachable(),
        }
    }

    /// What makes it the same failure as another one.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        let (step, code) = match self {
            Self::Cri(error) | Self::Statuses { error, .. } | Self::Unlisted { error, .. } => {
                (error.method, Some(error.code))
            }
            Self::File { step, .. } => (*step, None),
            Self::Disk(_) => ("InvalidDiskCapacity", None),
            Self::Deadline(_) => ("deadline", None),
            Self::FreeDiskSpaceFailed(_) => ("FreeDiskSpaceFailed", None),
            Self::ClockSet(_) => ("clock", None),
            Self::Interrupted(_) => ("interrupted", None),
            Self::Records | Self::Memory(_) => ("image records", None),
            Self::NoFileSystem => ("ImageFsInfo", None),
        };
        FailureKind { step, code }
    }
}

/// What failed in a pass, apart from single objects.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PassError {
    /// An RPC.
    #[error("{}{}", .0, .0.remedy())]
    Cri(#[from] CriError),
    /// Containers that a plan keeps because their status could not be read.
    #[error("the status of {} that would be removed could not be read, so the plan keeps {}: {error}",
        counted(*.unread, "container"),
        if *.unread == 1 { "it" } else { "them" })]
    Statuses {
        /// How many.
        unread: usize,
        /// What the runtime said of the first of them.
        error: CriError,
    },
    /// Objects that the runtime could not list.
    #[error(
        "{what} could not be listed, so nothing is removed that depends on them; raise the message limit of the runtime \
         (containerd: grpc.max_send_message_size) and runtime.max_message_size: {error}"
    )]
    Unlisted {
        /// Whose, and how many more.
        what: String,
        /// What the runtime said of the first of them.
        error: CriError,
    },
    /// A root of log directories could not be read.
    #[error("{step}: {error}")]
    File {
        /// What was being done.
        step: &'static str,
        /// What was said.
        error: String,
    },
    /// A filesystem could not be judged.
    #[error("{0}")]
    Disk(FsProblem),
    /// The pass took longer than it may.
    #[error(
        "the pass was stopped at its deadline of {}; the next pass continues",
        duration(*.0)
    )]
    Deadline(Duration),
    /// Everything that may be removed is removed, and it is not enough.
    #[error("{0}")]
    FreeDiskSpaceFailed(String),
    /// Removals that were not tried because the wall clock was set meanwhile.
    #[error(
        "the clock was set during the pass, so the ages in its plan may be wrong; {}",
        untried_removals(*.0)
    )]
    ClockSet(usize),
    /// Nothing is known of how old the images are.
    #[error(
        "the image records of cri-gc are being restarted after a panic, so no image is removed; the next pass tries again"
    )]
    Records,
    /// What is remembered of images can't be read or kept.
    #[error("{0}")]
    Memory(String),
    /// The runtime does not report where its images lie.
    #[error(
        "the runtime reports no image filesystem (ImageFsInfo is empty), so no image is removed to free space; its \
         statistics may not be ready yet. If this persists, check the snapshotter or storage of the runtime"
    )]
    NoFileSystem,
    /// Removals that were not tried because the runtime became unreachable.
    #[error("the runtime became unreachable during the pass; {}", untried_removals(*.0))]
    Interrupted(usize),
}

/// How many planned removals a pass has not tried.
pub fn untried_removals(count: usize) -> String {
    format!("{} {} not started", counted(count, "removal"), if count == 1 { "was" } else { "were" })
}

/// The result of a step that workers have done on files.
///
/// # Errors
/// The step failed, or no worker has done it in time.
pub fn files_done<T>(
    step: &'static str,
    place: &Path,
    done: Result<Result<T, FileError>, WorkerGone>,
) -> Result<T, PassError> {
    let error = match done {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error)) => error.to_string(),
        Err(gone) => format!("{}: {gone}", place.display()),
    };
    Err(PassError::File { step, error })
}

/// What is reported while a pass is in progress.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The plan is made: the number of its removals.
    Planned(Loop, usize),
    /// One of them is done.
    Done(Loop, Removal),
}

/// What a pass did.
#[derive(Debug, Clone, Serialize)]
pub struct PassReport {
    /// Which loop.
    #[serde(rename = "loop")]
    pub of: Loop,
    /// What began it.
    #[serde(skip)]
    pub trigger: Trigger,
    /// What the loop may do; `report` also where something outside the settings made it so (see `notes`).
    pub mode: Mode,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in seconds.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// Whether it lists all objects. Where no caller reads them, `removals` has only what could not be removed, and `follow` and `kept` are
    /// empty.
    #[serde(skip)]
    pub lists_objects: bool,
    /// What was to be removed, in the order in which it was done.
    pub removals: Vec<Removal>,
    /// What would be removed after what the passes before this one would have removed, and after `removals`; only in a dry
    /// run, and left out where there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub follow: Vec<Removal>,
    /// What is kept.
    pub kept: Vec<Kept>,
    /// How many objects ended how.
    #[serde(skip)]
    pub counts: Counts,
    /// Whether something outside the settings let it only report.
    #[serde(skip)]
    pub report_only: bool,
    /// Bytes by which the image filesystems became emptier, measured; only for image GC.
    pub freed_bytes: u64,
    /// What a pass of image GC saw of its filesystems.
    #[serde(skip)]
    pub space: Space,
    /// All errors of the pass, those of single objects left out.
    #[serde(serialize_with = "texts")]
    pub errors: Vec<PassError>,
    /// What an operator should know besides errors.
    pub notes: Vec<String>,
}

/// How many objects of a pass ended how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Removed.
    pub removed: u64,
    /// Would be removed if the loop enforced, after others of this pass or of passes before it too.
    pub would_remove: u64,
    /// Already removed by another program.
    pub gone: u64,
    /// Kept by the check right before the removal.
    pub refused: u64,
    /// Could not be removed.
    pub failed: u64,
    /// Not tried: they could not be removed before, and their pause is not over.
    pub postponed: u64,
    /// Kept by the plan, for each reason.
    pub kept_for: BTreeMap<&'static str, u64>,
    /// What was attempted, for each reason and [result](Outcome::as_result).
    pub attempted: BTreeMap<(&'static str, &'static str), u64>,
    /// Bytes of what was removed: the sizes of the files for logs, what the runtime reports for images.
    pub removed_bytes: u64,
}

impl Counts {
    /// Counts the end of a removal.
    fn add(&mut self, Removal { reason, outcome, bytes, .. }: &Removal) {
        *match outcome {
            Outcome::Removed => &mut self.removed,
            Outcome::WouldRemove => &mut self.would_remove,
            Outcome::AlreadyGone => &mut self.gone,
            Outcome::Refused { .. } => &mut self.refused,
            Outcome::Failed { .. } => &mut self.failed,
        } += 1;
        if let Some(result) = outcome.as_result() {
            *self.attempted.entry((reason, result)).or_default() += 1;
        }
        if *outcome == Outcome::Removed {
            self.removed_bytes = self.removed_bytes.saturating_add(*bytes);
        }
    }
}

/// What a pass of image GC saw of its filesystems.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Space {
    /// Where images and containers lie.
    pub places: FsPlaces,
    /// Bytes that had to be freed to reach the low threshold.
    pub wanted_bytes: u64,
    /// What is missing of these after the pass.
    pub missing_bytes: u64,
}

impl PassReport {
    /// That of a pass which begins, and has done nothing yet.
    pub(crate) fn new(of: Loop, trigger: Trigger, mode: Mode, started_at: Timestamp) -> Self {
        Self {
            of,
            trigger,
            mode,
            started_at,
            took: Duration::ZERO,
            lists_objects: true,
            removals: Vec::new(),
            follow: Vec::new(),
            kept: Vec::new(),
            counts: Counts::default(),
            report_only: false,
            freed_bytes: 0,
            space: Space::default(),
            errors: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds how a removal ended.
    pub(crate) fn removal(&mut self, removal: Removal) {
        self.counts.add(&removal);
        if self.lists_objects || matches!(removal.outcome, Outcome::Failed { .. }) {
            self.removals.push(removal);
        }
    }

    /// Adds what is removed after others.
    pub(crate) fn follow(
        &mut self,
        kind: Kind,
        decisions: &[Decision],
        words: impl Fn(&[Decision]) -> Vec<Item>,
    ) {
        self.counts.would_remove += decisions.len() as u64;
        if self.lists_objects {
            let removal = |(decision, item): (&Decision, Item)| {
                Removal::new(kind, decision.reason, item, Outcome::WouldRemove)
            };
            self.follow.extend(decisions.iter().zip(words(decisions)).map(removal));
        }
    }

    /// Adds what is kept.
    pub(crate) fn kept(
        &mut self,
        kind: Kind,
        decisions: &[Decision],
        words: impl Fn(&[Decision]) -> Vec<Item>,
    ) {
        for decision in decisions {
            *self.counts.kept_for.entry(decision.reason.as_str()).or_default() += 1;
        }
        if self.lists_objects {
            let mut items = words(decisions);
            sort_kept(&mut items);
            self.kept.extend(items.into_iter().map(|item| Kept { kind, item }));
        }
    }

    /// Forgets what was said to be kept.
    pub(crate) fn forget_kept(&mut self) {
        self.kept.clear();
        self.counts.kept_for.clear();
    }

    /// Bytes that were freed: measured for images, the sizes of the files for logs.
    #[must_use]
    pub fn freed(&self) -> u64 {
        match self.of {
            Loop::ImageGc => self.freed_bytes,
            _ => self.counts.removed_bytes,
        }
    }

    /// The same report without the objects: what is remembered of a pass.
    #[must_use]
    pub fn summary(&self) -> Self {
        Self {
            lists_objects: false,
            removals: Vec::new(),
            follow: Vec::new(),
            kept: Vec::new(),
            counts: self.counts.clone(),
            space: Space::default(),
            errors: self.errors.clone(),
            notes: self.notes.clone(),
            ..*self
        }
    }

    /// The pass, as an event names it.
    #[must_use]
    pub fn in_pass(&self) -> InPass {
        InPass { trigger: self.trigger.as_str(), began: self.started_at }
    }

    /// The objects that could not be removed, with why.
    pub fn failed(&self) -> impl Iterator<Item = (&Removal, &str)> {
        self.removals.iter().filter_map(|removal| match &removal.outcome {
            Outcome::Failed { error } => Some((removal, error.as_str())),
            _ => None,
        })
    }

    /// Whether nothing has failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.errors.is_empty() && self.counts.failed == 0
    }
}

fn seconds<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(took.as_secs_f64())
}

fn texts<S: serde::Serializer>(errors: &[PassError], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(errors.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_objects_counts_the_same_and_lists_what_failed() {
        let report = |lists_objects| {
            let report = PassReport::new(Loop::LogGc, Trigger::Period, Mode::Enforce, Timestamp::UNIX_EPOCH);
            let mut report = PassReport { lists_objects, ..report };
            let words = |decisions: &[Decision]| vec![Item::default(); decisions.len()];
            let decisions = |reason| [Decision::new(0, reason), Decision::new(1, reason)];
            report.kept(Kind::LogDir, &decisions(Reason::PodActive), words);
            report.follow(Kind::LogDir, &decisions(Reason::PodDeleted), words);
            let failed = Outcome::Failed { error: "busy".to_owned() };
            for outcome in [Outcome::Removed, Outcome::AlreadyGone, Outcome::WouldRemove, failed] {
                let removal = Removal::new(Kind::LogDir, Reason::PodDeleted, Item::default(), outcome);
                report.removal(Removal { bytes: 7, ..removal });
            }
            report
        };
        let (whole, brief) = (report(true), report(false));
        assert_eq!(whole.counts, brief.counts);
        assert_eq!((brief.counts.removed, brief.counts.would_remove, brief.freed()), (1, 3, 7));
        assert_eq!(brief.counts.kept_for, BTreeMap::from([("pod_active", 2)]));
        assert_eq!((whole.removals.len(), whole.follow.len(), whole.kept.len()), (4, 2, 2));
        assert_eq!((brief.removals.len(), brief.follow.len(), brief.kept.len()), (1, 0, 0));
        assert_eq!(brief.failed().count(), 1);
    }
}
