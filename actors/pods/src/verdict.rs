//! What a judgement says: the verdict for the collector, and with it what the actor needs to know. Decided in `absence` and
//! `runtime_source`.

use std::collections::HashMap;

use cri_gc_policy::Pods;
use ecow::EcoString;
use jiff::Timestamp;

use super::standing::PodStanding;

/// When the containers that have ended did so, as far as asked; `None` is what the runtime does not know.
pub type FinishTimes = HashMap<EcoString, Option<Timestamp>>;

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

/// What a judgement leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// For the collector.
    pub verdict: Verdict,
    /// By which evidence, for every pod of which there is something, or that the source lists.
    pub standings: Vec<PodStanding>,
    /// What is to be logged of pods that are orphaned now and were not before.
    pub orphaned: Option<String>,
    /// Why pods could not be queried by name, if that is so.
    pub asking_failed: Option<String>,
    /// Whether a newer list could prove more.
    pub wants_list: bool,
}
