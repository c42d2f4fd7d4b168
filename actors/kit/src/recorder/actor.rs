//! The actor: numbers the events, keeps the newest, and hands them on.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::{Actor, Context, Handler, MessageResult, Supervised};
use tokio::sync::broadcast;

use super::event::Stamped;
use super::messages::{Record, Subscribe, Subscription};
use crate::supervision::guard::Guarded;

/// Events that are kept for later subscribers: a pass over a full node, about 300 bytes each.
const KEPT: usize = 1_000;

/// Events that a follower may lag behind before it loses some.
const LAG: usize = 1_024;

/// The actor. Use it through [`super::Recorder`].
#[derive(Default)]
pub struct RecorderActor {
    sequence: u64,
    kept: VecDeque<Stamped>,
    /// `None` until there is a follower.
    followers: Option<broadcast::Sender<Stamped>>,
}

impl Actor for RecorderActor {
    type Context = Context<Self>;
}

impl Supervised for RecorderActor {}

impl Guarded for RecorderActor {}

impl Handler<Record> for RecorderActor {
    type Result = ();

    fn handle(&mut self, Record { time, event }: Record, _ctx: &mut Context<Self>) {
        self.sequence += 1;
        let stamped = Stamped { sequence: self.sequence, time, event: Arc::new(event) };
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

impl Handler<Subscribe> for RecorderActor {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, Subscribe { recent }: Subscribe, _ctx: &mut Context<Self>) -> Self::Result {
        let followers = self.followers.get_or_insert_with(|| broadcast::channel(LAG).0);
        let past = self.kept.iter().skip(self.kept.len().saturating_sub(recent));
        MessageResult(Subscription { past: past.cloned().collect(), coming: followers.subscribe() })
    }
}
