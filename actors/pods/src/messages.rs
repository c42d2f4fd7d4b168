//! The protocol of the pod-state actor: all messages that it takes, and its answers.

use std::sync::Arc;

use actix::Message;
use cri_gc_config::{PodSource, Settings};
use cri_gc_policy::Pods;
use jiff::Timestamp;

use super::error::SourceError;
use super::evidence::Seen;
use super::runtime_source::FinishTimes;
use super::sources::SourceChange;
use super::standing::PodFacts;

/// Judge the pods of which something was seen.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Verdict")]
pub struct Judge(pub Seen);

/// Read the source now. The sources that list pods need two good readings before they prove anything.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), SourceError>")]
pub struct Resync;

/// Which images do pods name that are not finished, as far as the source says by now?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<String>")]
pub struct AskNamed;

/// What is known of each pod, as of the last question?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<PodFacts>")]
pub struct AskPods;

/// In which state is the source?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SourceState")]
pub struct AskSource;

/// An administrator confirms that the pods which are missing, as of the last question, are deleted, however many they are.
/// The answer is how many of them were held back.
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

/// The states of the pods of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The states.
    pub pods: Pods,
    /// Why containers, sandboxes and log directories may only be reported, not removed; `None` if they may.
    pub report_only: Option<String>,
    /// Why it is not known which images pods name; `None` if it is.
    pub images_unknown: Option<String>,
    /// What else an operator should know.
    pub notes: Vec<String>,
    /// When the clock was set last, if that was seen.
    pub clock_set: Option<Timestamp>,
    /// When containers finished that have ended, as far as the runtime was asked for this verdict: what an earlier one read
    /// may no longer be readable.
    pub finished: FinishTimes,
}

impl Verdict {
    /// Nothing is known, for that reason; not even which images pods name, so no image is removed either.
    pub(crate) fn nothing(why: &str) -> Self {
        let images = "no image is removed: it is not known which images pods use";
        Self { images_unknown: Some(images.to_owned()), notes: vec![why.to_owned()], ..Self::default() }
    }
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
}
