//! The protocol of the pod-state actor: all messages that it takes, and its answers.

use std::sync::Arc;

use actix::Message;
use cri_gc_config::{PodSource, Settings};
use jiff::Timestamp;

use super::error::SourceError;
use super::evidence::Seen;
use super::sources::SourceChange;
use super::standing::PodFacts;
use super::verdict::Verdict;

/// Judge the pods of which something was seen.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Verdict")]
pub struct Judge(pub Seen);

/// Read the source now. The sources that list pods need two good readings before they prove anything.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), SourceError>")]
pub struct Resync;

/// In which state is the source, and what is known by now?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SourceState")]
pub struct AskSource;

/// An administrator confirms that the pods which are missing, as of the last question, are deleted, however many they are.
/// The answer is how many of them the brake held.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "usize")]
pub struct Confirm;

/// From the task that follows the API server: what it found out.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Followed {
    /// Since when it follows: what was found out before other rules were in force is of no use.
    pub era: u64,
    /// What it found out.
    pub change: SourceChange,
}

/// The settings of the actor. New ones come by `Reconfigure`.
#[derive(Debug, Clone)]
pub struct Configure {
    /// The settings, whole.
    pub settings: Arc<Settings>,
    /// The administrator has confirmed that many pods are deleted at once.
    pub confirmed: bool,
    /// Whether this is the service, which watches all the time: it reads the source by itself, and counts the grace of the
    /// source `runtime` from when it began to watch. A one-shot command knows only what the objects say.
    pub service: bool,
}

/// The state of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// Which source it is.
    pub source: PodSource,
    /// Whether it can prove anything now.
    pub synced: bool,
    /// As of when its newest good list counts; `None` for a source that lists nothing, or before the first.
    pub synced_at: Option<Timestamp>,
    /// Why it could not be read last; `None` if it was.
    pub problem: Option<String>,
    /// What else an operator should know, as of the last question about pods.
    pub notes: Vec<String>,
    /// The images that pods name which are not finished, as far as the source says by now; `None` where it has not been read since it
    /// is in force.
    pub images: Option<Vec<String>>,
    /// What is known of each pod, as of the last question about pods.
    pub pods: Vec<PodFacts>,
}
