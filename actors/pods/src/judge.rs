//! What is remembered from one judgement to the next, and the judgement itself: a pure function of that and of the facts that
//! were gathered. Nothing here asks or waits, and nothing is remembered but in [`Memory::judge`], [`Memory::read`] and the
//! few calls of the actor between two judgements.

use ecow::EcoString;
use jiff::Timestamp;

use super::absence::{Absence, BRAKE_LETS_GO, Case, Kept, Questions, Reading, Rules};
use super::error::SourceError;
use super::evidence::{Seen, by_pod};
use super::leftovers::Leftovers;
use super::messages::Configure;
use super::runtime_source::RuntimeSource;
use super::standing::Chronicle;
use super::verdict::{FinishTimes, Judgement};

/// All that one judgement needs to know. What has to be asked by what is remembered is planned by [`Memory::plan`].
pub struct Facts {
    /// What the collector saw.
    pub seen: Seen,
    /// What the source says.
    pub found: Found,
}

/// What was found out by the source that the settings name.
pub enum Found {
    /// By the source `runtime`.
    Runtime {
        /// When it was asked.
        at: Timestamp,
        /// How often the runtime has been reachable again; `None` in a one-shot command.
        returns: Option<u64>,
        /// Why a kubelet is taken to be on this node, if it is.
        kubelet: Option<String>,
        /// Ended containers to ask for.
        to_ask: Vec<EcoString>,
        /// When they finished, as far as the runtime answered.
        finished: FinishTimes,
    },
    /// By a source that lists pods.
    Lists {
        /// The pods that a kubelet has a directory of.
        kept: Kept,
        /// The pods to ask for, and the answers.
        asked: Questions,
    },
}

/// What is remembered. It is dropped when the clock was set, when other rules are in force, and when the actor panicked.
#[derive(Default)]
pub struct Memory {
    pub runtime: RuntimeSource,
    pub absence: Absence,
    pub chronicle: Chronicle,
    pub leftovers: Leftovers,
    /// What the last verdict said to the operator; `None` before the first.
    pub notes: Option<Vec<String>>,
    /// When the clock was set last.
    pub clock_set: Option<Timestamp>,
    /// Source `kubelet`: since when it has listed nothing from the API server.
    only_static_since: Option<Timestamp>,
}

impl Memory {
    /// Forgets what was proved, but not when the clock was set, and what was logged.
    pub fn forget(&mut self) {
        let leftovers = std::mem::take(&mut self.leftovers);
        *self = Self { clock_set: self.clock_set, leftovers, ..Self::default() };
    }

    /// What was proved by timestamps of a clock that was set since is not proved.
    pub fn forget_before_clock_change(&mut self, now: Timestamp) {
        self.forget();
        self.clock_set = Some(now);
        self.runtime.watch_from(now);
        self.leftovers.count_from(now);
    }

    /// What a proof has to meet.
    pub fn rules(&self, configuration: &Configure) -> Rules {
        let pods = &configuration.settings.pods;
        Rules {
            max_staleness: pods.max_staleness,
            max_newly_deleted_percent: pods.max_newly_deleted_percent,
            runtime_grace: pods.runtime_grace,
            confirmed: configuration.confirmed,
            source: pods.source,
            clock_set: self.clock_set,
        }
    }

    /// Takes over a reading of the source, good or not.
    ///
    /// # Errors
    /// It is none, or cannot be believed.
    pub fn read(
        &mut self,
        mut read: Result<Reading, SourceError>,
        confirmed: bool,
        now: Timestamp,
    ) -> Result<(), SourceError> {
        if read.as_ref().is_ok_and(|reading| reading.listing.only_static) {
            // A kubelet that has just started lists its static pods only. One that has no others is believed once it has said
            // so for as long as the brake holds pods.
            let since = *self.only_static_since.get_or_insert(now);
            if !confirmed && now.duration_since(since) < BRAKE_LETS_GO {
                read = Err(SourceError::OnlyStatic { since });
            }
        } else {
            // One that could not be asked may start again meanwhile.
            self.only_static_since = None;
        }
        read.map(|reading| self.absence.read(reading)).inspect_err(|_| self.absence.void_lists())
    }

    /// An administrator says that the pods which are missing now are deleted. Returns how many of them the brake
    /// held.
    pub fn confirm(&mut self, now: Timestamp) -> usize {
        // A kubelet that lists no pod of the API server is believed. While the source fails for another reason, nothing is known.
        let since = self.only_static_since.as_mut();
        let doubted = since.filter(|since| now.duration_since(**since) < BRAKE_LETS_GO);
        let is_doubted = doubted.map(|since| *since = Timestamp::MIN).is_some();
        let missing: Vec<EcoString> = self.chronicle.missing(is_doubted).collect();
        let held = if is_doubted { missing.len() } else { 0 };
        held.max(self.absence.confirm(missing))
    }

    /// Adds to the facts what has to be asked before the judgement.
    pub fn plan(&self, facts: &mut Facts, rules: &Rules, now: Timestamp) {
        let evidence = by_pod(&facts.seen);
        match &mut facts.found {
            Found::Runtime { at, returns, to_ask, .. } => {
                *to_ask = self.runtime.questions(&evidence, *returns, rules.runtime_grace, *at);
            }
            Found::Lists { kept, asked } => {
                let case = Case { pods: &evidence, kept, rules, now };
                *asked = self.absence.questions(case);
            }
        }
    }

    /// Judges the pods of which something was seen.
    pub fn judge(&mut self, facts: Facts, rules: &Rules, now: Timestamp) -> Judgement {
        let evidence = by_pod(&facts.seen);
        let mut judged = match facts.found {
            Found::Runtime { at, returns, kubelet, finished, .. } => {
                self.runtime.note_returns(returns, at);
                let mut judged = self.runtime.judge(&evidence, &finished, rules.runtime_grace, at);
                judged.verdict.finished = finished;
                judged.verdict.report_only = kubelet;
                judged
            }
            Found::Lists { kept, asked } => {
                let case = Case { pods: &evidence, kept: &kept, rules, now };
                let mut judged = self.absence.judge(case, &asked);
                judged.verdict.images_unknown = (!self.absence.was_read()).then(|| {
                    "no image is removed: the pod source has not been read since the start, so it is not known which images pods use"
                        .to_owned()
                });
                judged
            }
        };
        judged.verdict.clock_set = self.clock_set;
        judged.orphaned = self.leftovers.note(&judged.standings, now);
        self.chronicle.note(&judged.standings, now);
        judged
    }
}
