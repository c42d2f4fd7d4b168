//! What the admin actor is asked: its whole protocol.

use actix::Message;
use cri_gc_proto::admin as api;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tonic::Status;

/// A question in the words of the API, and where its answer is waited for.
pub struct Asked<Q, A> {
    pub question: Q,
    pub answer: oneshot::Sender<Result<A, Status>>,
}

impl<Q: 'static, A: 'static> Message for Asked<Q, A> {
    type Result = ();
}

/// Make a pass of each of these loops, and say how it goes on.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Status>")]
pub struct RunLoops {
    pub loops: Vec<String>,
    pub confirm_deleted: bool,
    pub updates: Updates,
}

/// Where the client is told how passes go on.
pub(super) type Updates = Sender<Result<api::PassUpdate, Status>>;

/// Say what has happened, and what happens.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Status>")]
pub struct Follow {
    pub recent: usize,
    pub events: Sender<Result<api::Event, Status>>,
}
