//! Whether the runtime answers, as the last RPC saw it. A loss and a return are told here once each, for all loops; for
//! whoever traces, so is every RPC.

use std::cell::{Cell, RefCell};

use jiff::Timestamp;
use slog::{FnValue, Logger, error, info, trace, warn};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::Code;

use super::answers::RuntimeVersion;
use super::error::{CriError, ErrorClass};
use super::messages::CriResult;
use cri_gc_kit::recorder::{Event, EventKind, Recorder};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::failure_log::lasted as in_words;

/// What the service has beside a one-shot command: it waits for a runtime that is away.
#[derive(Clone, Debug)]
pub struct Waits {
    /// When it went and came.
    pub clock: Clock,
    /// Who is told.
    pub recorder: Recorder,
    /// What the operator knows it by.
    pub endpoint: String,
}

/// Whether the runtime answers.
pub struct Health {
    away: RefCell<Option<Away>>,
    /// When it was lost or came back last.
    changed: Cell<Option<Instant>>,
    /// Since when it has been reachable.
    since: Cell<Option<Timestamp>>,
    /// How often it came back.
    returns: Cell<u64>,
    /// Whether it has not answered in time since it last answered.
    late: Cell<bool>,
    /// Told each time that it answers again, after it was away or hung.
    answers: watch::Sender<()>,
    version: RefCell<Option<RuntimeVersion>>,
    waits: Option<Waits>,
    log: Logger,
    /// Rung when it is lost or late.
    pub lost: Notify,
}

struct Away {
    since: Option<Timestamp>,
    error: String,
}

/// How the runtime is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeState {
    /// Name and version; `None` while nobody has said them.
    pub version: Option<RuntimeVersion>,
    /// Whether it answers; `None` before the first answer.
    pub reachable: Option<bool>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What was said when it went away.
    pub error: Option<String>,
    /// How often it came back.
    pub returns: u64,
}

impl Health {
    /// `answers` is told each time that the runtime answers again.
    pub fn new(waits: Option<Waits>, answers: watch::Sender<()>, log: Logger) -> Self {
        Self {
            away: RefCell::default(),
            changed: Cell::default(),
            since: Cell::default(),
            returns: Cell::default(),
            late: Cell::default(),
            answers,
            version: RefCell::default(),
            waits,
            log,
            lost: Notify::new(),
        }
    }

    /// Takes note of how an RPC ended that began then. One that was sent before the last loss or return tells nothing new:
    /// its answer was under way.
    pub fn note<T>(&self, began: Instant, answer: &CriResult<T>) {
        if self.changed.get().is_some_and(|changed| began < changed) {
            return;
        }
        match answer {
            Err(error) if error.is_away() => self.is_lost(error),
            // It has not answered, but nothing says that it is gone.
            Err(error) if error.class == ErrorClass::DeadlineExceeded => {
                self.late.set(true);
                self.lost.notify_one();
            }
            Err(_) | Ok(_) => self.is_back(),
        }
    }

    /// One line for each RPC, also for one that failed: with `began` the order of what cri-gc saw and did can be compared
    /// with what others did. Nothing of it is worked out unless it is wanted.
    pub fn trace<T>(&self, (method, id): (&str, &str), began: Instant, answer: &CriResult<T>) {
        // The clock is read first, so that `began` is never told too late.
        let wall = |_: &slog::Record<'_>| {
            let now = self.waits.as_ref().map(|waits| waits.clock.now());
            now.and_then(|now| now.checked_sub(began.elapsed()).ok()).map(|began| format!("{began:.6}"))
        };
        trace!(self.log, "rpc"; "method" => method, "id" => id, "began" => FnValue(wall),
            "took_us" => FnValue(|_| u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)),
            "code" => ?answer.as_ref().err().map_or(Code::Ok, |error| error.code));
    }

    /// What it says it is.
    pub fn says(&self, version: RuntimeVersion) {
        self.version.replace(Some(version));
    }

    /// It has answered who asked whether it answers: one that was late does again.
    pub fn is_in_time(&self) {
        if self.late.replace(false) {
            self.answers.send_replace(());
        }
    }

    pub fn is_away(&self) -> bool {
        self.away.borrow().is_some()
    }

    /// What was seen of it has gaps: that is as good as a return.
    pub fn count_return(&self) {
        self.returns.set(self.returns.get() + 1);
    }

    pub fn state(&self) -> RuntimeState {
        let away = self.away.borrow();
        RuntimeState {
            version: self.version.borrow().clone(),
            reachable: match &*away {
                Some(_) => Some(false),
                None => self.since.get().map(|_| true),
            },
            since: away.as_ref().map_or(self.since.get(), |away| away.since),
            error: away.as_ref().map(|away| away.error.clone()),
            returns: self.returns.get(),
        }
    }

    fn is_lost(&self, error: &CriError) {
        let now = self.waits.as_ref().map(|waits| waits.clock.now());
        let mut away = self.away.borrow_mut();
        if let Some(away) = &mut *away {
            away.error = error.to_string();
            return;
        }
        self.changed.set(Some(Instant::now()));
        *away = Some(Away { since: now, error: error.to_string() });
        let Some(waits) = &self.waits else {
            return warn!(self.log, "the runtime is away"; "error" => %error);
        };
        let endpoint = &waits.endpoint;
        error!(self.log, "the runtime is away, and is waited for; check that it runs, and that runtime.endpoint names \
            its socket"; "endpoint" => endpoint, "error" => %error);
        waits.recorder.record(Event::new(EventKind::RuntimeLost, None, format!("{endpoint}: {error}")));
        self.lost.notify_one();
    }

    fn is_back(&self) {
        let now = self.waits.as_ref().map(|waits| waits.clock.now());
        let Some(away) = self.away.take() else {
            if self.since.get().is_none() {
                self.since.set(now);
            }
            return;
        };
        self.changed.set(Some(Instant::now()));
        self.count_return();
        self.late.set(false);
        self.answers.send_replace(());
        self.since.set(now);
        let lasted = now.zip(away.since).map(|(now, since)| in_words(now.duration_since(since)));
        info!(self.log, "the runtime is back"; "away_for" => lasted.as_deref());
        if let Some(waits) = &self.waits {
            let message = format!("after {}", lasted.unwrap_or_default());
            waits.recorder.record(Event::new(EventKind::RuntimeReturned, None, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slog::{Discard, o};

    use super::*;

    #[test]
    fn an_answer_that_was_under_way_tells_nothing_new() {
        let health = Health::new(None, watch::Sender::new(()), Logger::root(Discard, o!()));
        let gone = CriError::gateway_gone("Version");
        let away = || Err::<(), _>(CriError { class: ErrorClass::Unavailable, ..gone.clone() });
        let (before, later) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        health.note(later, &away());
        assert_eq!(health.state().reachable, Some(false));
        health.note(before, &Ok(()));
        assert_eq!(
            (health.state().reachable, health.state().returns),
            (Some(false), 0),
            "it was sent before the loss"
        );
        health.note(later, &Ok(()));
        assert_eq!((health.state().returns, health.is_away()), (1, false));
        health.note(before, &away());
        assert!(!health.is_away(), "it was sent before the return");
    }
}
