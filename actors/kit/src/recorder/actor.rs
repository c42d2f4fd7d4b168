//! The actor: numbers the events, keeps the newest, and hands them on, to a history on disk as well.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Supervised};
use cri_gc_policy::text::counted;
use crossbeam_channel::TrySendError;
use jiff::Timestamp;
use tokio::sync::{broadcast, oneshot};

use super::counts::Counts;
use super::event::{Event, EventKind, Stamped};
use super::messages::{Flush, Record, Subscribe, Subscription};
use crate::line::Line;
use crate::supervision::guard::Guarded;

/// Events that are kept for later subscribers: a pass over a full node, about 300 bytes each.
const KEPT: usize = 1_000;

/// Events that a follower may lag behind before it loses some.
const LAG: usize = 1_024;

/// How long the numbering waits for a history on disk to say where it ends. A disk that hangs delays no event for longer.
const HISTORY_WITHIN: Duration = Duration::from_secs(2);

/// A history on disk, which gets every event.
pub struct HistoryLine {
    /// Where to. What does not fit because the disk hangs is missing from the history.
    pub events: Line<Stamped>,
    /// The number of its last event, once it was read.
    pub last: oneshot::Receiver<u64>,
    /// How many events are missing from it. It counts those of its own.
    pub lost: Arc<AtomicU64>,
}

/// The actor. Use it through [`super::Recorder`].
pub struct RecorderActor {
    counts: Arc<Counts>,
    sequence: u64,
    /// A history on disk that has not said yet where it ends.
    beginning: Option<oneshot::Receiver<u64>>,
    history: Option<Line<Stamped>>,
    /// How many events the history could not take since it last took one.
    lost: u64,
    kept: VecDeque<Stamped>,
    /// `None` until there is a follower.
    followers: Option<broadcast::Sender<Stamped>>,
}

impl RecorderActor {
    pub(super) fn new(history: Option<HistoryLine>, counts: Arc<Counts>) -> Self {
        let (history, beginning) = history.map(|line| (line.events, line.last)).unzip();
        Self { counts, sequence: 0, beginning, history, lost: 0, kept: VecDeque::new(), followers: None }
    }

    fn record(&mut self, time: Timestamp, event: Event) {
        self.sequence += 1;
        self.counts.add(event.kind);
        let stamped = Stamped { sequence: self.sequence, time, event: Arc::new(event) };
        if let Some(history) = &self.history {
            match history.try_send(stamped.clone()) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    self.lost += 1;
                    self.counts.lost.fetch_add(1, Ordering::Relaxed);
                }
                // Its thread has ended.
                Err(TrySendError::Disconnected(_)) => self.history = None,
            }
        }
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(stamped.clone());
        // It fails only where no follower is left; their places are freed then.
        if self.followers.as_ref().is_some_and(|followers| followers.send(stamped).is_err()) {
            self.followers = None;
        }
    }
}

impl Actor for RecorderActor {
    type Context = Context<Self>;
}

impl Supervised for RecorderActor {}

impl Guarded for RecorderActor {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        if let Some(last) = self.beginning.take() {
            let last = wrap_future(tokio::time::timeout(HISTORY_WITHIN, last));
            ctx.wait(last.map(|last, this: &mut Self, _ctx| {
                // One that can't be read in time numbers by itself what it gets later.
                if let Ok(Ok(last)) = last {
                    this.sequence = last;
                }
            }));
        }
    }
}

impl Handler<Record> for RecorderActor {
    type Result = ();

    fn handle(&mut self, Record { time, event }: Record, _ctx: &mut Context<Self>) {
        if self.lost > 0 && self.history.as_ref().is_some_and(|history| !history.is_full()) {
            let count = std::mem::take(&mut self.lost);
            let (lost, are) = (counted(count, "event"), if count == 1 { "is" } else { "are" });
            let message =
                format!("{lost} {are} missing from the history before this one: the disk did not answer");
            self.record(time, Event::new(EventKind::EventsLost, None, message));
        }
        self.record(time, event);
    }
}

impl Handler<Flush> for RecorderActor {
    type Result = ();

    fn handle(&mut self, _flush: Flush, _ctx: &mut Context<Self>) {}
}

impl Handler<Subscribe> for RecorderActor {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, Subscribe { recent }: Subscribe, _ctx: &mut Context<Self>) -> Self::Result {
        let followers = self.followers.get_or_insert_with(|| broadcast::channel(LAG).0);
        let past = self.kept.iter().skip(self.kept.len().saturating_sub(recent));
        MessageResult(Subscription { past: past.cloned().collect(), coming: followers.subscribe() })
    }
}
