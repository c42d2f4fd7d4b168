//! What the provider remembers from one question to the next. It begins anew when the clock was set, when other rules hold,
//! and when the provider fell.

use std::rc::Rc;

use jiff::Timestamp;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::Configure;
use super::SyncError;
use super::absence::{Absence, BRAKE_LETS_GO, Rules, Second, Sync};
use super::kube_source::Api;
use super::leftovers::Leftovers;
use super::runtime_source::{FinishTimes, RuntimeSource};
use super::standing::Chronicle;
use cri_gc_config::PodSource;
use cri_gc_kit::supervision::grace::{Grace, Weight};

/// What is remembered.
#[derive(Default)]
pub struct Memory {
    pub runtime: RuntimeSource,
    /// When containers finished that have ended, as far as that had to be asked.
    pub finished: FinishTimes,
    pub absence: Absence,
    pub chronicle: Chronicle,
    pub leftovers: Leftovers,
    /// How often the runtime had come back when it was last asked; `None` before the first question.
    pub returns: Option<u64>,
    /// Whether anybody has asked since.
    pub asked: bool,
    /// What the last verdict told beside.
    pub notes: Vec<String>,
    /// Source `kube-api`: by what single pods are asked for.
    pub api: Option<Api>,
    /// Held by the judgement under way.
    pub round: Rc<Mutex<()>>,
    /// Source `kube-api`: nobody answered, for this reason; from then on single pods are asked for again.
    pub ask_again: Option<(Instant, String)>,
    /// Source `kube-api`: single pods could not be asked for, for this reason, which may pass by itself.
    pub asking_failed: Option<String>,
    pub asking: Grace,
    /// Source `kube-api`: whoever follows is to make a new list.
    pub list_wanted: Rc<Notify>,
    /// When the clock was set last.
    pub clock_set: Option<Timestamp>,
    /// Source `kubelet`: since when it has listed nothing from the API server.
    pub only_static_since: Option<Timestamp>,
}

impl Memory {
    /// The memory that follows this one: nothing that was proved, but when the clock was set, and what was logged.
    pub fn anew(&mut self) -> Self {
        let leftovers = std::mem::take(&mut self.leftovers);
        Self { clock_set: self.clock_set, leftovers, ..Self::default() }
    }

    /// What a proof has to meet.
    pub fn rules(&self, configuration: &Configure) -> Rules {
        let pods = &configuration.settings.pods;
        Rules {
            max_staleness: pods.max_staleness,
            max_newly_deleted_percent: pods.max_newly_deleted_percent,
            confirmed: configuration.confirmed,
            second: if pods.source == PodSource::KubeApi { Second::Ask } else { Second::List },
            is_live: pods.source != PodSource::File,
            clock_set: self.clock_set,
        }
    }

    /// Single pods could be asked for, or could not for that reason. Gives back the reason once it has lasted.
    pub fn asked_for_pods(&mut self, failed: Option<String>, now: Timestamp) -> Option<String> {
        self.asking_failed = None;
        let Some(why) = failed else {
            self.asking.passed();
            return None;
        };
        match self.asking.weigh(true, now) {
            Weight::Failure { .. } => Some(why),
            Weight::MayPass { .. } => {
                self.asking_failed = Some(why);
                None
            }
        }
    }

    /// An administrator says that the pods which are missing now are deleted indeed. Gives back how many of them are held back
    /// for that.
    pub fn confirm(&mut self, now: Timestamp) -> usize {
        // A kubelet that lists no pod of the API server is believed. While the source fails otherwise, nothing is known.
        let since = self.only_static_since.as_mut();
        let doubted = since.filter(|since| now.duration_since(**since) < BRAKE_LETS_GO);
        let is_doubted = doubted.map(|since| *since = Timestamp::MIN).is_some();
        let missing: Vec<String> = self.chronicle.missing(is_doubted).collect();
        let held = if is_doubted { missing.len() } else { 0 };
        held.max(self.absence.confirm(missing))
    }

    /// A kubelet that has just started lists its static pods only. One that has no others is believed once it has said so for
    /// as long as the brake holds.
    ///
    /// # Errors
    /// It may have just started.
    pub fn trust(&mut self, sync: Sync, confirmed: bool, now: Timestamp) -> Result<Sync, SyncError> {
        if !sync.listing.only_static {
            self.only_static_since = None;
            return Ok(sync);
        }
        let since = *self.only_static_since.get_or_insert(now);
        if confirmed || now.duration_since(since) >= BRAKE_LETS_GO {
            return Ok(sync);
        }
        Err(SyncError::OnlyStatic { since })
    }
}
