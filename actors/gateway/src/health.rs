//! Whether the runtime is reachable, as the last RPC saw it. That it became unreachable or reachable is logged here once each, for all
//! loops; at level trace, so is every RPC.

use std::cell::{Cell, RefCell};

use cri_gc_kit::recorder::{Event, EventKind, Recorder};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::text::duration;
use jiff::Timestamp;
use slog::{FnValue, Logger, error, info, trace, warn};
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::Code;

use crate::answers::RuntimeVersion;
use crate::error::{CriError, CriResult, ErrorClass};
use crate::returns::Returns;

/// What the service has in addition to a one-shot command: it retries while the runtime is unreachable.
#[derive(Clone)]
pub struct Waits {
    /// The time of losses and returns.
    pub clock: Clock,
    /// Where they are recorded.
    pub recorder: Recorder,
    /// The runtime's endpoint, as the operator writes it.
    pub endpoint: String,
}

/// The state of the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeState {
    /// Its socket, as the settings named it when the service started.
    pub endpoint: String,
    /// Name and version; `None` before the first answer that has them.
    pub version: Option<RuntimeVersion>,
    /// Whether it answers; `None` before the first answer.
    pub reachable: Option<bool>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The error of an unreachable one.
    pub error: Option<String>,
    /// It is connected, but has left an RPC unanswered, and has not answered with its version since.
    pub hangs: bool,
}

/// Whether the runtime answers.
pub struct Health {
    state: RefCell<RuntimeState>,
    /// When it became unreachable or reachable last.
    changed: Cell<Option<Instant>>,
    /// Whether an RPC was not answered in time, and the version has not been answered since. Other answers do not end that: a runtime
    /// that hangs in one RPC may answer another.
    hangs: Cell<bool>,
    /// How often it became reachable again. Receivers are woken when it answers again, after it was unreachable or hung.
    returns: Returns,
    waits: Option<Waits>,
    log: Logger,
    /// Notified when it becomes unreachable or hangs.
    pub trouble: Notify,
}

impl Health {
    /// `returns` counts how often the runtime became reachable again.
    pub fn new(waits: Option<Waits>, returns: Returns, log: Logger) -> Self {
        Self {
            state: RefCell::default(),
            changed: Cell::default(),
            hangs: Cell::default(),
            returns,
            waits,
            log,
            trouble: Notify::new(),
        }
    }

    /// Whether an unreachable runtime is tried again by itself.
    pub fn waits(&self) -> bool {
        self.waits.is_some()
    }

    /// Takes note of how an RPC ended that began then. One that was sent before the last loss or return says nothing new:
    /// its answer was on its way.
    pub fn note<T>(&self, began: Instant, answer: &CriResult<T>) {
        if self.changed.get().is_some_and(|changed| began < changed) {
            return;
        }
        match answer {
            Err(error) if error.is_unreachable() => self.note_unreachable(error),
            // It has not answered, but nothing says that it has ended.
            Err(error) if error.class == ErrorClass::DeadlineExceeded => {
                self.hangs.set(true);
                self.trouble.notify_one();
            }
            Err(_) | Ok(_) => self.note_reachable(),
        }
    }

    /// One line for each RPC, also for one that failed: with `began` the order of what cri-gc saw and did can be compared
    /// with what others did. The fields are only computed if the line is logged.
    pub fn trace<T>(&self, (method, id): (&str, &str), began: Instant, answer: &CriResult<T>) {
        // The clock is read first, so that `began` is never too late.
        let wall = |_: &slog::Record<'_>| {
            let began = self.now().and_then(|now| now.checked_sub(began.elapsed()).ok());
            began.map(|began| format!("{began:.6}"))
        };
        trace!(self.log, "rpc"; "method" => method, "id" => id, "began" => FnValue(wall),
            "took_us" => FnValue(|_| u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)),
            "code" => ?answer.as_ref().err().map_or(Code::Ok, |error| error.code));
    }

    /// It has answered with its version: if it hung, it answers in time again.
    pub fn has_version(&self, version: RuntimeVersion) {
        self.state.borrow_mut().version = Some(version);
        if self.hangs.replace(false) {
            // It hung, which is no gap in what was seen.
            self.returns.ring();
        }
    }

    pub fn is_unreachable(&self) -> bool {
        self.state.borrow().reachable == Some(false)
    }

    /// What was seen of it has gaps, as after a return.
    pub fn count_return(&self) {
        self.returns.count_silently();
    }

    pub fn state(&self) -> RuntimeState {
        RuntimeState { hangs: self.hangs.get(), ..self.state.borrow().clone() }
    }

    fn now(&self) -> Option<Timestamp> {
        self.waits.as_ref().map(|waits| waits.clock.now())
    }

    fn note_unreachable(&self, error: &CriError) {
        // The clock first: if it panics, nothing has changed.
        let now = self.now();
        let mut state = self.state.borrow_mut();
        state.error = Some(error.to_string());
        if state.reachable.replace(false) == Some(false) {
            return;
        }
        state.since = now;
        self.changed.set(Some(Instant::now()));
        let Some(waits) = &self.waits else {
            return warn!(self.log, "container runtime unreachable"; "error" => %error);
        };
        let endpoint = &waits.endpoint;
        error!(self.log, "container runtime unreachable at {endpoint}, retrying every second; check that it runs, and that \
            runtime.endpoint names its socket"; "error" => %error);
        waits.recorder.record(Event::new(EventKind::RuntimeLost, None, format!("{endpoint}: {error}")));
        self.trouble.notify_one();
    }

    fn note_reachable(&self) {
        let now = self.now();
        let mut state = self.state.borrow_mut();
        let before = state.reachable.replace(true);
        if before == Some(true) {
            return;
        }
        let since = std::mem::replace(&mut state.since, now);
        if before.is_none() {
            return;
        }
        state.error = None;
        self.changed.set(Some(Instant::now()));
        self.hangs.set(false);
        self.returns.count_silently();
        self.returns.ring();
        let lasted = now.zip(since).map(|(now, since)| duration(now.duration_since(since)));
        let endpoint = self.waits.as_ref().map(|waits| waits.endpoint.as_str());
        info!(self.log, "container runtime reachable again"; "unreachable_for" => lasted.as_deref(), "endpoint" => endpoint);
        if let Some(waits) = &self.waits {
            let message = format!("{} after {}", waits.endpoint, lasted.unwrap_or_default());
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
    fn an_answer_that_was_in_flight_changes_nothing() {
        let health = Health::new(None, Returns::default(), Logger::root(Discard, o!()));
        let gone = CriError::gateway_gone("Version");
        let unreachable = || Err::<(), _>(CriError { class: ErrorClass::Unavailable, ..gone.clone() });
        let (before, later) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        health.note(later, &unreachable());
        assert_eq!(health.state().reachable, Some(false));
        health.note(before, &Ok(()));
        assert_eq!(
            (health.state().reachable, health.returns.get()),
            (Some(false), 0),
            "it was sent before the loss"
        );
        health.note(later, &Ok(()));
        assert_eq!((health.returns.get(), health.is_unreachable()), (1, false));
        health.note(before, &unreachable());
        assert!(!health.is_unreachable(), "it was sent before the return");
    }
}
