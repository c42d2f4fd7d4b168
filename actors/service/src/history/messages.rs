//! What the thread of the history is asked, and what it answers. Events come by a channel of their own.

use std::sync::Arc;

use cri_gc_proto::admin as api;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::filter::Filter;
use super::sums::Sums;

/// What the history is asked.
pub enum Question {
    /// The newest events before that number that are meant, `wanted` at most.
    Page { filter: Arc<Filter>, before: u64, wanted: usize, answer: Answer<Page> },
    /// What happened from then until then.
    Sums { since: Timestamp, until: Timestamp, answer: Answer<Counted> },
    /// Write all that has come.
    Flush { answer: Answer<()> },
}

/// Where the answer goes.
pub type Answer<T> = oneshot::Sender<Result<T, HistoryError>>;

/// A part of what was asked for, newest first.
#[derive(Debug, Default)]
pub struct Page {
    /// The events that are meant.
    pub events: Vec<api::Event>,
    /// There may be more before this number.
    pub rest_before: Option<u64>,
}

/// What happened, in figures.
#[derive(Debug)]
pub struct Counted {
    /// The figures.
    pub sums: Sums,
    /// Why the newest events are not on the disk, if so. They are counted, less those that had no place in memory.
    pub problem: Option<HistoryError>,
}

/// Why the history can't answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The settings switch it off.
    #[error("there is no history: state.history_max_events is 0; set it, and restart cri-gc")]
    Off,
    /// The disk refuses.
    #[error("{0}")]
    Refused(String),
    /// Many questions wait already.
    #[error("the disk of state.dir does not answer; check the disk")]
    Hangs,
}
