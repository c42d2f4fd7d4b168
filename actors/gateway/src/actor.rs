//! The gateway actor: it owns the connection, bounds what is in flight, gives each RPC a deadline and merges equal lists.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, AsyncContext, Context, Handler, MessageResult, ResponseFuture, Supervised};
use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::in_flight::Answer;
use cri_gc_kit::supervision::guard::Guarded;
use cri_gc_policy::Sandbox;
use ecow::EcoString;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::answers::ContainerFacts;
use crate::connection::{Clients, Sockets};
use crate::error::{CriError, CriResult, ErrorClass, REMOVE_IMAGE};
use crate::health::{Health, RuntimeState};
use crate::lanes::{Lane, Limits};
use crate::lists::{Listed, Listing, Lists};
use crate::messages::{AskKnownVolumes, AskRpcs, AskRuntime, AskStatuses, Call, Freshness, List, NamePods};
use crate::parts::{Lister, Memory};
use crate::rpc::Rpc;
use crate::rpcs::RpcTotals;

/// How long a removal waits for a place among those in flight. As many are requested at a time as there are places, so none waits
/// unless earlier ones are stuck, or the number was lowered meanwhile.
const LANE_WAIT: Duration = Duration::from_secs(1);

/// A removal whose check is older is not sent, whatever delayed it (a place, a gateway that was restarted): what was dead then may
/// run now.
const CHECKED_WITHIN: Duration = Duration::from_secs(5);

/// Pause between two attempts to reach a runtime that is unreachable (behaviour: Runtime).
const RECONNECT: Duration = Duration::from_secs(1);

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Methods of the image service.
const OF_IMAGES: [&str; 5] = ["ListImages", "StreamImages", "ImageStatus", "ImageFsInfo", REMOVE_IMAGE];

pub const CONTAINER_STATUS: &str = "ContainerStatus";

/// The actor. Use it through [`crate::Gateway`].
pub struct GatewayActor {
    /// Those of the start: the sockets of a running service do not change.
    sockets: Sockets,
    limits: Limits,
    /// The places of each lane that was used.
    lanes: HashMap<Lane, Arc<Semaphore>>,
    /// `None` before the actor has started, for tonic's channels belong to the thread's runtime.
    clients: Option<Clients>,
    health: Rc<Health>,
    lists: Lists,
    /// What is remembered for lists in parts.
    list_memory: Rc<RefCell<Memory>>,
    /// Image volumes of the containers whose status was requested for them; empty for one that has none. They never change for a container.
    image_volumes: Rc<RefCell<HashMap<EcoString, Vec<EcoString>>>>,
    rpcs: Rc<RefCell<RpcTotals>>,
}

impl GatewayActor {
    pub fn new(sockets: Sockets, limits: Limits, list_memory: Memory, health: Health) -> Self {
        Self {
            sockets,
            lanes: HashMap::new(),
            limits,
            clients: None,
            health: Rc::new(health),
            lists: Lists::default(),
            list_memory: Rc::new(RefCell::new(list_memory)),
            image_volumes: Rc::default(),
            rpcs: Rc::default(),
        }
    }

    /// Makes lists, of which each part is an RPC of its own.
    fn lister(&mut self, methods: [&'static str; 4]) -> Lister {
        let rpcs = methods.map(|method| (method, self.rpc(method, Lane::Read)));
        let rpc = move |method| {
            let known = rpcs.iter().find(|(known, _)| *known == method);
            known.map_or_else(|| Err(CriError::gateway_gone(method)), |(_, rpc)| rpc.clone())
        };
        Lister { memory: Rc::clone(&self.list_memory), rpc: Box::new(rpc) }
    }

    fn rpc(&mut self, method: &'static str, lane: Lane) -> CriResult<Rpc> {
        let clients = match &self.clients {
            Some(clients) => clients.clone(),
            None => {
                let clients = Clients::lazy(&self.sockets, self.limits.max_message_size)
                    .map_err(|e| CriError::from_status(method, &Status::unavailable(e.to_string())))?;
                self.clients.insert(clients).clone()
            }
        };
        let places = || Arc::new(Semaphore::new(self.limits.places(lane)));
        Ok(Rpc {
            method,
            clients,
            lane: Arc::clone(self.lanes.entry(lane).or_insert_with(places)),
            deadline: self.limits.request_timeout,
            health: Rc::clone(&self.health),
            rpcs: Rc::clone(&self.rpcs),
            is_noted: !OF_IMAGES.contains(&method)
                || self.sockets.runtime.image_endpoint().path() == self.sockets.runtime.endpoint.path(),
        })
    }
}

/// Asks the runtime for its version, and asks again while it is unreachable or does not answer in time.
async fn reach(rpc: Rpc) {
    let health = &rpc.health;
    loop {
        let answer = rpc.within("", ATTEMPT, rpc.clients.clone().version()).await;
        let is_late = matches!(&answer, Err(error) if error.class == ErrorClass::DeadlineExceeded);
        if let Ok(version) = answer {
            health.has_version(version);
        }
        if health.is_unreachable() || is_late {
            tokio::time::sleep(RECONNECT).await;
        } else {
            health.trouble.notified().await;
        }
    }
}

/// Whether a removal may still be sent; a question always may.
fn check_removal<T>(call: &Call<T>) -> CriResult<()> {
    if call.lane == Lane::Read {
        return Ok(());
    }
    let waited = call.checked.elapsed();
    let why = if call.lease.is_revoked() {
        "not sent: the loop hung and was restarted, so its checks before the removal are too old; the next pass checks again"
    } else if call.lease.is_suspended() {
        "not sent: the loop is paused, shuts down, or is in report mode"
    } else if waited > CHECKED_WITHIN {
        return Err(CriError::late(call.method, waited));
    } else {
        return Ok(());
    };
    Err(CriError::withheld(call.method, why))
}

impl Actor for GatewayActor {
    type Context = Context<Self>;
}

impl Guarded for GatewayActor {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        // It keeps its clients when new limits replace the others: an answer to this question is always small.
        if self.health.waits()
            && let Ok(rpc) = self.rpc("Version", Lane::Read)
        {
            ctx.spawn(wrap_future(reach(rpc)));
        }
    }
}

impl Supervised for GatewayActor {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        self.clients = None;
        self.lists = Lists::default();
        self.list_memory.borrow_mut().forget();
        self.health.count_return();
    }
}

// Every answer is a future that actix runs on the gateway's own thread: a caller who stops waiting does not cancel an RPC
// that has been sent.

impl<T: 'static> Handler<Call<T>> for GatewayActor {
    type Result = ResponseFuture<CriResult<T>>;

    fn handle(&mut self, call: Call<T>, _ctx: &mut Context<Self>) -> Self::Result {
        let (method, lane) = (call.method, call.lane);
        let rpc = self.rpc(method, lane);
        Box::pin(async move {
            if call.id.as_ref().is_some_and(String::is_empty) {
                return Err(CriError::empty_id(method));
            }
            let rpc = rpc?;
            let deadline = rpc.deadline.saturating_add(call.extra_time);
            // A removal rests on a check right before it, so it does not wait for long.
            let is_read = lane == Lane::Read;
            let place = rpc.place(if is_read { deadline } else { LANE_WAIT }).await;
            let _place = place.ok_or_else(|| match is_read {
                true => CriError::crowded(method, deadline),
                false => CriError::late(method, call.checked.elapsed()),
            })?;
            check_removal(&call)?;
            let sent = (call.send)(rpc.clients.clone());
            rpc.within(&call.id.unwrap_or_default(), deadline, sent).await
        })
    }
}

/// The answer of a list; one that panicked has none.
async fn answered<T: Listed>(answer: Answer<CriResult<Listing<T>>>) -> CriResult<Listing<T>> {
    answer.await.unwrap_or_else(|| Err(CriError::gateway_gone(T::METHOD)))
}

impl<T: Listed> Handler<List<T>> for GatewayActor {
    type Result = ResponseFuture<CriResult<Listing<T>>>;

    fn handle(&mut self, List(freshness, _): List<T>, _ctx: &mut Context<Self>) -> Self::Result {
        if freshness == Freshness::Shared
            && let Some(joined) = T::pending(&mut self.lists).join()
        {
            return Box::pin(answered(joined));
        }
        let lister = self.lister([T::METHOD, T::STREAM, Sandbox::METHOD, Sandbox::STREAM]);
        let is_long = self.list_memory.borrow().may_be_long::<T>();
        let list = async move { lister.all::<T>().await };
        let pending = T::pending(&mut self.lists);
        // Many requests, and much memory: who needs a long list while one is made shares the next. Where the runtime does not answer,
        // it would not answer that either.
        let unanswered = |answer: &CriResult<_>| answer.as_ref().is_err_and(CriError::is_unanswered);
        let answer = if is_long { pending.follow(unanswered, list) } else { pending.begin(list) };
        Box::pin(answered(answer))
    }
}

impl Handler<NamePods> for GatewayActor {
    type Result = ();

    fn handle(&mut self, NamePods(uids): NamePods, _ctx: &mut Context<Self>) {
        self.list_memory.borrow_mut().name_pods(uids);
    }
}

impl Handler<AskStatuses> for GatewayActor {
    type Result = ResponseFuture<Vec<CriResult<ContainerFacts>>>;

    fn handle(&mut self, ask: AskStatuses, _ctx: &mut Context<Self>) -> Self::Result {
        let known = Rc::clone(&self.image_volumes);
        let rpc = self.rpc(CONTAINER_STATUS, Lane::Read);
        Box::pin(async move {
            // At once: the caller may give up, and the next one continues from here.
            let learn = |id: &str, facts: &ContainerFacts| {
                if ask.for_volumes {
                    known.borrow_mut().insert(id.into(), facts.image_volumes.clone());
                }
            };
            match rpc {
                Ok(rpc) => rpc.statuses(ask.ids, ask.until, learn).await,
                Err(error) => vec![Err(error); ask.ids.len()],
            }
        })
    }
}

impl Handler<AskKnownVolumes> for GatewayActor {
    type Result = MessageResult<AskKnownVolumes>;

    fn handle(&mut self, AskKnownVolumes(ids): AskKnownVolumes, _ctx: &mut Context<Self>) -> Self::Result {
        let mut known = self.image_volumes.borrow_mut();
        let listed = HashSet::<EcoString>::from_iter(ids);
        known.retain(|id, _| listed.contains(id));
        MessageResult(known.clone())
    }
}

impl Handler<Reconfigure> for GatewayActor {
    type Result = ();

    fn handle(&mut self, Reconfigure(generation): Reconfigure, _ctx: &mut Context<Self>) {
        let limits = Limits::from(&*generation.settings);
        if limits == self.limits {
            return;
        }
        // RPCs in flight keep the places of the old lanes, and end under them, as lists do.
        self.lists = Lists::default();
        self.lanes.clear();
        self.clients = None;
        self.list_memory.borrow_mut().forget();
        self.limits = limits;
    }
}

impl Handler<AskRuntime> for GatewayActor {
    type Result = MessageResult<AskRuntime>;

    fn handle(&mut self, _ask: AskRuntime, _ctx: &mut Context<Self>) -> Self::Result {
        let endpoint = self.sockets.runtime.endpoint.as_str().to_owned();
        MessageResult(RuntimeState { endpoint, ..self.health.state() })
    }
}

impl Handler<AskRpcs> for GatewayActor {
    type Result = MessageResult<AskRpcs>;

    fn handle(&mut self, _ask: AskRpcs, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.rpcs.borrow().all())
    }
}
