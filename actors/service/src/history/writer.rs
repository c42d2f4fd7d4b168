//! The thread that writes the history and reads it. It waits for the disk as long as that takes, and nothing waits for it but
//! questions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cri_gc_files::database::DatabaseError;
use cri_gc_kit::recorder::{EventKind, Stamped};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::failure_log::{FailureLog, First};
use cri_gc_kit::supervision::outage_log;
use cri_gc_kit::supervision::panics::catch;
use cri_gc_policy::text::counted;
use cri_gc_proto::admin as api;
use crossbeam_channel::{Receiver, TryRecvError, after, never, select};
use jiff::Timestamp;
use slog::{Logger, error};
use tokio::sync::oneshot;

use super::event::event;
use super::messages::{Counted, HistoryError, Question};
use super::store::Store;

/// Events that may wait for the disk: those of a pass over a full node.
pub const WAITING: usize = 4096;

/// How soon a disk that has refused is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The shortest time between two writes, unless a question waits: each has the disk write all that it has, and removals wait for that.
const BETWEEN: Duration = Duration::from_millis(500);

/// The thread's own part.
pub struct Writer {
    store: Store,
    /// What has come and is not on the disk yet.
    waiting: VecDeque<api::Event>,
    /// How many events had no place there since it was last written.
    lost: u64,
    /// The same, since the service started.
    all_lost: Arc<AtomicU64>,
    /// When it was last written, or tried.
    written: Option<Instant>,
    failures: FailureLog<()>,
    clock: Clock,
    log: Logger,
}

impl Writer {
    pub fn new(store: Store, all_lost: Arc<AtomicU64>, clock: Clock, log: Logger) -> Self {
        let failures = FailureLog::new(First::Error);
        Self { store, waiting: VecDeque::new(), lost: 0, all_lost, written: None, failures, clock, log }
    }

    /// Writes and answers until the recorder is gone. `known` gets the number of the last event.
    pub fn run(
        mut self,
        events: &Receiver<Stamped>,
        mut questions: Receiver<Question>,
        known: oneshot::Sender<u64>,
    ) {
        let last = self.open().and_then(|()| self.store.last());
        match self.log_result(last) {
            // The recorder may have stopped waiting for it.
            Ok(last) => _ = known.send(last).ok(),
            // It need not wait any longer.
            Err(_) => drop(known),
        }
        // A panic ends what was being done, and no more.
        while let Err(panic) = catch(|| self.serve(events, &mut questions)) {
            error!(self.log, "the history continues after a panic; report it: {}", panic);
            match events.try_recv() {
                Ok(event) => self.take(&event),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn serve(&mut self, events: &Receiver<Stamped>, questions: &mut Receiver<Question>) {
        loop {
            let is_refused = self.failures.since().is_some();
            let pause = if is_refused { AGAIN } else { self.pause() };
            let again = if self.waiting.is_empty() { never() } else { after(pause) };
            select! {
                recv(events) -> event => {
                    let is_last = event.is_err();
                    event.iter().for_each(|event| self.take(event));
                    let is_full = !is_refused && self.waiting.len() >= WAITING / 2;
                    if is_last || is_full || self.pause().is_zero() {
                        // The result is logged.
                        drop(self.write(events));
                    }
                    if is_last {
                        return;
                    }
                },
                recv(questions) -> question => match question {
                    Ok(question) => self.answer(events, question),
                    Err(_) => *questions = never(),
                },
                // The result is logged.
                recv(again) -> _again => drop(self.write(events)),
            }
        }
    }

    /// How long until it may be written.
    fn pause(&self) -> Duration {
        self.written.map_or(Duration::ZERO, |written| BETWEEN.saturating_sub(written.elapsed()))
    }

    fn take(&mut self, recorded: &Stamped) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
            self.lost += 1;
            self.all_lost.fetch_add(1, Ordering::Relaxed);
        }
        self.waiting.push_back(event(recorded));
    }

    fn answer(&mut self, events: &Receiver<Stamped>, question: Question) {
        // Clients give up; and what a question answers is on the disk.
        match question {
            Question::Flush { answer } => drop(answer.send(self.write(events))),
            Question::Page { answer, .. } if answer.is_closed() => {}
            Question::Page { filter, before, wanted, answer } => {
                drop(answer.send(self.read(events, |store| store.page(&filter, before, wanted))));
            }
            Question::Sums { answer, .. } if answer.is_closed() => {}
            Question::Sums { since, until, answer } => {
                drop(answer.send(self.sums(events, since, until)));
            }
        }
    }

    /// The figures of all that has come, on the disk or not.
    fn sums(
        &mut self,
        events: &Receiver<Stamped>,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Counted, HistoryError> {
        let problem = self.write(events).err();
        let loss = self.loss();
        let sums = self.open().and_then(|()| {
            let waiting = loss.iter().chain(&self.waiting);
            self.store.sums(since, until, waiting)
        });
        match sums {
            Ok(sums) => Ok(Counted { sums, problem }),
            Err(error) => Err(problem.unwrap_or_else(|| self.refused(&error))),
        }
    }

    /// Reads what is on the disk, after all that has come.
    fn read<T>(
        &mut self,
        events: &Receiver<Stamped>,
        read: impl FnOnce(&mut Store) -> Result<T, DatabaseError>,
    ) -> Result<T, HistoryError> {
        // What can't be written may be readable.
        let written = self.write(events);
        let read = self.open().and_then(|()| read(&mut self.store));
        read.map_err(|error| written.err().unwrap_or_else(|| self.refused(&error)))
    }

    /// Writes all that has come.
    fn write(&mut self, events: &Receiver<Stamped>) -> Result<(), HistoryError> {
        while let Ok(event) = events.try_recv() {
            self.take(&event);
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let loss = self.loss();
        let written = self.open().and_then(|()| self.store.add(loss.iter().chain(&self.waiting)));
        self.written = Some(Instant::now());
        self.log_result(written)?;
        self.waiting.clear();
        self.lost = 0;
        Ok(())
    }

    /// What had no place is reported before what had, with the number of the last one that had none.
    fn loss(&self) -> Option<api::Event> {
        let first = self.waiting.front().filter(|_| self.lost > 0)?;
        let lost = counted(self.lost, "event");
        let are = if self.lost == 1 { "is" } else { "are" };
        Some(api::Event {
            sequence: first.sequence.saturating_sub(1),
            time: first.time.clone(),
            kind: EventKind::EventsLost.as_str().to_owned(),
            message: format!("{lost} {are} missing from the history before this one: the disk refused them"),
            ..api::Event::default()
        })
    }

    fn open(&mut self) -> Result<(), DatabaseError> {
        if let Some(set_aside) = self.store.open()? {
            error!(self.log, "{}", set_aside);
        }
        Ok(())
    }

    fn log_result<T>(&mut self, result: Result<T, DatabaseError>) -> Result<T, HistoryError> {
        match result {
            Ok(done) if self.failures.since().is_none() => Ok(done),
            Ok(done) => {
                let text = match self.lost {
                    0 => "the history is on the disk again".to_owned(),
                    lost => format!("the history is on the disk again, {} lost", counted(lost, "event")),
                };
                outage_log::recovery(&self.log, self.failures.succeeded(self.clock.now()), &text);
                Ok(done)
            }
            Err(error) => {
                let refused = self.refused(&error);
                let line = self.failures.failed((), self.clock.now());
                outage_log::failure(&self.log, &line, &refused.to_string());
                Err(refused)
            }
        }
    }

    fn refused(&self, error: &DatabaseError) -> HistoryError {
        HistoryError::Refused(format!(
            "the history in {} can't be used: {error}; until that is fixed, events are kept in memory, at most {WAITING}. \
             Free space in state.dir, or make it writable",
            self.store.path().display()
        ))
    }
}
