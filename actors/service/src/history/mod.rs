//! The history: the newest events on disk, so that it is known after a restart what was removed, when and why, and after a crash all but
//! the last half second of it (behaviour: Events).
//!
//! A thread of its own writes them (`writer`); the recorder hands them to it by a channel and never waits. While the disk is full
//! or hangs the history loses events, which it says; no pass waits for it, and none fails by it. What a question answers is on
//! the disk. Nothing is decided here, and no event is made up.
//!
//! - `event`: the form of an event. `filter`: which events are meant. `store`: the file. `sums`: events in figures.
//!   `writer`: the thread. `messages`: what it is asked. Here: the handle.

pub mod event;
mod filter;
mod messages;
mod store;
mod sums;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;

use cri_gc_kit::line::{Line, line};
use cri_gc_kit::recorder::{HistoryLine, Recorder};
use cri_gc_kit::seams::Clock;
use cri_gc_proto::admin as api;
use crossbeam_channel::TrySendError;
use jiff::Timestamp;
use slog::Logger;
use tokio::sync::oneshot;

pub use filter::Filter;
use messages::Question;
pub use messages::{Counted, HistoryError};
use store::Store;
pub use sums::Sums;
use writer::{WAITING, Writer};

/// Questions that may wait for the disk. They come from clients, who give up.
const QUESTIONS: usize = 16;

/// Where to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    /// `None` where the settings switch it off.
    questions: Option<Line<Question>>,
}

impl History {
    /// That of a state directory, which keeps `most` events; and where the recorder sends them to.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(
        state_dir: &Path,
        most: u64,
        clock: Clock,
        log: Logger,
    ) -> io::Result<(Self, Option<HistoryLine>)> {
        if most == 0 {
            return Ok((Self { questions: None }, None));
        }
        let (events, coming) = line(WAITING);
        let (questions, asked) = line(QUESTIONS);
        let (known, last) = oneshot::channel();
        let lost = Arc::default();
        let writer = Writer::new(Store::of(state_dir, most), Arc::clone(&lost), clock, log);
        let work = move || writer.run(&coming, asked, known);
        std::thread::Builder::new().name("history".to_owned()).spawn(work)?;
        Ok((Self { questions: Some(questions) }, Some(HistoryLine { events, last, lost })))
    }

    /// The newest `limit` events that are meant, oldest first. All that `recorder` has got by now are among them.
    ///
    /// # Errors
    /// The history is off, or the disk does not answer.
    pub async fn newest(
        &self,
        recorder: &Recorder,
        filter: Filter,
        limit: usize,
    ) -> Result<Vec<api::Event>, HistoryError> {
        recorder.flush().await;
        let filter = Arc::new(filter);
        let (mut events, mut before) = (Vec::new(), u64::MAX);
        // In parts, so that writing never waits for long.
        while events.len() < limit {
            let wanted = limit - events.len();
            let page =
                self.ask(|answer| Question::Page { filter: Arc::clone(&filter), before, wanted, answer });
            let page = page.await?;
            events.extend(page.events);
            match page.rest_before {
                Some(rest) => before = rest,
                None => break,
            }
        }
        events.reverse();
        Ok(events)
    }

    /// What happened from then until then, `since` being later if the history does not reach back so far. All that `recorder`
    /// has got by now is counted.
    ///
    /// # Errors
    /// The history is off, or the disk does not answer.
    pub async fn sums(
        &self,
        recorder: &Recorder,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Counted, HistoryError> {
        recorder.flush().await;
        self.ask(|answer| Question::Sums { since, until, answer }).await
    }

    /// Ends once all that `recorder` has got by now is on the disk.
    ///
    /// # Errors
    /// It is not: the history is off, or the disk refuses.
    pub async fn flush(&self, recorder: &Recorder) -> Result<(), HistoryError> {
        recorder.flush().await;
        self.ask(|answer| Question::Flush { answer }).await
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, HistoryError>>) -> Question,
    ) -> Result<T, HistoryError> {
        let (answer, answered) = oneshot::channel();
        let gone = || HistoryError::Refused("the thread of the history has ended; see the log".to_owned());
        match self.questions.as_ref().ok_or(HistoryError::Off)?.try_send(question(answer)) {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(gone())),
            Err(TrySendError::Full(_)) => Err(HistoryError::Hangs),
            Err(TrySendError::Disconnected(_)) => Err(gone()),
        }
    }
}

#[cfg(test)]
mod tests;
