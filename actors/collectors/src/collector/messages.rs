//! The protocol of a loop and its supervisor: all messages that they get, and what they answer.

use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use cri_gc_config::Settings;
use cri_gc_kit::recorder::Peer;
use cri_gc_kit::words::Loop;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::state::{LoopState, Paused};
use super::stuck::StuckObject;
use crate::observe::PodView;
use crate::planning::Foreseen;
use crate::report::{PassReport, Progress, Trigger};

/// What one loop of the chain has seen, handed to the next. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handed {
    /// What it has seen.
    pub view: Arc<PodView>,
    /// By which settings: under others it may mean something else.
    pub settings: Arc<Settings>,
}

/// Make a pass now, and answer what it did. If one is in progress, another follows it: what it shows was seen after it was
/// requested. After a pass of the loop before it in the chain, any pass that follows is enough.
#[derive(Debug, Default, Message)]
#[rtype(result = "Result<PassReport, Declined>")]
pub struct RunPass {
    /// What asks for it.
    pub trigger: Trigger,
    /// Where its progress is reported.
    pub progress: Option<UnboundedSender<Progress>>,
    /// In a dry run: what the passes before it would have removed.
    pub foreseen: Arc<Foreseen>,
    /// No caller reads its objects: the report counts them, and lists what could not be removed.
    pub brief: bool,
    /// What the loop before this one in the chain has seen, where that need not be observed again. It is used only if it is of
    /// this moment.
    pub seen: Option<Handed>,
}

/// Why no pass is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// It is paused.
    #[error("{0} is paused; `cri-gc resume {0}` ends that")]
    Paused(Loop),
    /// The service is shutting down.
    #[error("{0} is shutting down")]
    Stopping(Loop),
    /// Too many are requested.
    #[error("too many passes of {0} are requested already; try again later")]
    Busy(Loop),
    /// It crashed during the pass.
    #[error("{0} panicked or hung during the pass and was restarted; see the log")]
    Crashed(Loop),
}

/// Do what the only pass of a one-shot command needs to have been done some time before it. Answered when it is done.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Prepare;

/// Shut down: begin no removal any more, let those in progress end, and answer then.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Finish;

/// Begin no pass and no removal any more, or continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Pause {
    /// How it is paused from now on; `None` if it continues.
    pub paused: Option<Paused>,
    /// Who has requested it.
    pub by: Option<Peer>,
}

/// What is the state? Answered by the supervisor of a loop, whatever the loop itself does.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "LoopState")]
pub struct AskState;

/// Does it answer? An actor that hangs does not.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct Ping;

/// What a loop reports to its supervisor.
#[derive(Debug)]
pub(super) enum News {
    /// When it will make its next pass by itself.
    Planned {
        /// `None` if that is too late for the calendar.
        next: Option<Timestamp>,
    },
    /// A pass has begun.
    Began {
        /// When it will make the next one by itself.
        next: Option<Timestamp>,
    },
    /// A pass has ended.
    Ended {
        /// What it did.
        report: Box<PassReport>,
        /// What the next loop in the chain can use.
        seen: Option<Handed>,
        /// What could not be removed until now.
        stuck: Vec<Arc<StuckObject>>,
    },
    /// It follows that generation of settings.
    Follows(u64),
    /// It crashed, and is restarted after that pause.
    Crashed { why: String, pause: Duration },
}

/// News of the loop of that number: those of one that was replaced are ignored.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct NewsOf(pub u64, pub News);

/// A loop's line to its supervisor.
#[derive(Clone)]
pub(super) struct Link {
    pub number: u64,
    pub to: Recipient<NewsOf>,
}

impl Link {
    pub fn report(&self, news: News) {
        self.to.do_send(NewsOf(self.number, news));
    }
}
