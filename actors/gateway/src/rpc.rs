//! What an RPC needs of the gateway: clients, a place in its lane, a deadline, and what takes note of its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ecow::EcoString;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::answers::ContainerFacts;
use crate::connection::Clients;
use crate::error::{CriError, CriResult, ErrorClass};
use crate::health::Health;
use crate::rpcs::RpcTotals;

/// Statuses that one question asks for at a time: if all of them hang, the lists of the loops still get a place.
const STATUSES: usize = 8;

/// Everything that RPCs of one method share. It lives as long as they do, whatever happens to the actor's settings.
#[derive(Clone)]
pub struct Rpc {
    pub method: &'static str,
    pub clients: Clients,
    pub lane: Arc<Semaphore>,
    pub deadline: Duration,
    pub health: Rc<Health>,
    pub rpcs: Rc<RefCell<RpcTotals>>,
    /// Whether an answer shows the state of the runtime: an image service on a socket of its own may be unreachable by itself.
    pub is_noted: bool,
}

impl Rpc {
    /// A place in the lane. `None` where earlier RPCs hold all of them until the limit.
    pub async fn place(&self, limit: Duration) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        tokio::time::timeout(limit, Arc::clone(&self.lane).acquire_owned()).await.ok()?.ok()
    }

    /// Runs an RPC on the object of that id under its deadline, and takes note of how it ended.
    pub async fn within<T>(
        &self,
        id: &str,
        deadline: Duration,
        sent: impl Future<Output = Result<T, Status>>,
    ) -> CriResult<T> {
        let began = Instant::now();
        let answer = match tokio::time::timeout(deadline, sent).await {
            Ok(answer) => answer.map_err(|status| CriError::from_status(self.method, &status)),
            Err(_elapsed) => Err(CriError::deadline(self.method, deadline)),
        };
        self.health.trace((self.method, id), began, &answer);
        let code = answer.as_ref().err().map_or(Code::Ok, |error| error.code);
        self.rpcs.borrow_mut().ended(self.method, code, began.elapsed());
        if self.is_noted {
            self.health.note(began, &answer);
        }
        answer
    }

    /// The state of each of these containers, in their order. From `until` on no more are sent, nor once the runtime answers none
    /// in time. One that hangs occupies its own place only. `learn` gets each answer as soon as it is there.
    pub async fn statuses(
        &self,
        ids: Vec<EcoString>,
        until: Option<Instant>,
        learn: impl Fn(&str, &ContainerFacts),
    ) -> Vec<CriResult<ContainerFacts>> {
        let began = Instant::now();
        let time_left =
            || until.map_or(self.deadline, |until| until.saturating_duration_since(Instant::now()));
        let (stopped, late) = (RefCell::new(None::<CriError>), Cell::new(0));
        let ask = async |id: EcoString| {
            if id.is_empty() {
                return Err(CriError::empty_id(self.method));
            }
            let left = time_left();
            let place = self.place(left).await;
            let _place = place.ok_or_else(|| CriError::crowded(self.method, left))?;
            if let Some(error) = stopped.borrow().clone() {
                return Err(error);
            }
            let left = time_left();
            if left.is_zero() {
                return Err(CriError::deadline(self.method, began.elapsed()));
            }
            let call = self.clients.clone().container_status(id.to_string());
            let answer = self.within(&id, self.deadline.min(left), call).await;
            match &answer {
                Ok(facts) => {
                    late.set(0);
                    learn(&id, facts);
                }
                Err(error) => {
                    late.set(match error.class {
                        ErrorClass::DeadlineExceeded => late.get() + 1,
                        _ if error.is_unreachable() => STATUSES,
                        _ => 0,
                    });
                    if late.get() >= STATUSES {
                        stopped.borrow_mut().get_or_insert_with(|| error.clone());
                    }
                }
            }
            answer
        };
        let ask = async |(position, id): (usize, EcoString)| (position, ask(id).await);
        let answers = futures_util::stream::iter(ids).enumerate().map(ask).buffer_unordered(STATUSES);
        let mut answers: Vec<_> = answers.collect().await;
        answers.sort_unstable_by_key(|(position, _)| *position);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}
