//! The gateway actor: it owns the connection, bounds what is in flight, gives each RPC a deadline and merges equal lists.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, AsyncContext, Context, Handler, MessageResult, ResponseFuture, Supervised};
use cri_gc_policy::{Container, Image, Sandbox};
use cri_gc_proto::cri;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::Status;

use super::answers::ContainerFacts;
use super::calls::{ContainerStatus, CriCall, Lane, Version};
use super::connection::{Clients, Sockets};
use super::convert;
use super::error::{CriError, ErrorClass};
use super::health::Health;
use super::image_volumes::ImageVolumes;
use super::messages::{AskRuntime, AskStatuses, Call, CriResult, Freshness, Limits, ListAll};
use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::in_flight::InFlight;
use cri_gc_kit::supervision::guard::Guarded;

/// Questions in flight at a time, over all collectors. A runtime answers them from memory; more only queue up there.
const READS: usize = 32;

/// Of these, statuses that one question asks for: should all of them hang, the lists of the loops still get through.
const STATUSES: usize = 8;

/// How long a removal waits for its turn. As many are asked for at a time as there are turns, so none waits unless earlier
/// ones are stuck, or the number was lowered meanwhile.
const LANE_WAIT: Duration = Duration::from_secs(1);

/// Pause between two attempts to reach a runtime that is away (behaviour: Runtime).
const RECONNECT: Duration = Duration::from_secs(1);

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The list of one kind that may be joined.
type Pending<T> = InFlight<CriResult<Arc<Vec<T>>>>;

/// The actor. Use it through [`super::Gateway`].
pub struct GatewayActor {
    sockets: Sockets,
    limits: Limits,
    lanes: Lanes,
    /// `None` before the actor has started, for tonic's channels belong to the thread's runtime.
    clients: Option<Clients>,
    health: Rc<Health>,
    /// Whether a runtime that is away is waited for.
    waits: bool,
    containers: Pending<Container>,
    sandboxes: Pending<Sandbox>,
    images: Pending<Image>,
    /// Image volumes of the containers that were asked for them; empty for one that has none.
    pub(super) image_volumes: ImageVolumes,
}

/// The bounds on what is in flight.
struct Lanes {
    reads: Arc<Semaphore>,
    containers: Arc<Semaphore>,
    sandboxes: Arc<Semaphore>,
    images: Arc<Semaphore>,
}

impl Lanes {
    fn new(limits: &Limits) -> Self {
        let lane = |size: usize| Arc::new(Semaphore::new(size.max(1)));
        Self {
            reads: lane(READS),
            containers: lane(limits.container_removals),
            sandboxes: lane(limits.sandbox_removals),
            images: lane(limits.image_removals),
        }
    }

    fn get(&self, lane: Lane) -> Arc<Semaphore> {
        Arc::clone(match lane {
            Lane::Read => &self.reads,
            Lane::Containers => &self.containers,
            Lane::Sandboxes => &self.sandboxes,
            Lane::Images => &self.images,
        })
    }
}

impl GatewayActor {
    pub(super) fn new(sockets: Sockets, limits: Limits, health: Health, waits: bool) -> Self {
        Self {
            sockets,
            lanes: Lanes::new(&limits),
            limits,
            clients: None,
            health: Rc::new(health),
            waits,
            containers: Pending::default(),
            sandboxes: Pending::default(),
            images: Pending::default(),
            image_volumes: ImageVolumes::new(),
        }
    }

    fn clients(&mut self, method: &'static str) -> CriResult<Clients> {
        if let Some(clients) = &self.clients {
            return Ok(clients.clone());
        }
        let clients = Clients::lazy(&self.sockets, self.limits.max_message_size)
            .map_err(|e| CriError::from_status(method, &Status::unavailable(e.to_string())))?;
        self.clients = Some(clients.clone());
        Ok(clients)
    }

    /// Who is told of the answer to that method. An image service on a socket of its own may be away by itself, which
    /// tells nothing of the runtime.
    fn listener(&self, method: &str) -> Listener {
        let of_images = ["ListImages", "ImageStatus", "ImageFsInfo", "RemoveImage"].contains(&method);
        let notes = !of_images || self.sockets.images == self.sockets.runtime;
        Listener { health: Rc::clone(&self.health), notes }
    }

    /// A list, joined to one in flight if it may be.
    fn list<T: 'static>(
        &mut self,
        method: &'static str,
        freshness: Freshness,
        pending: fn(&mut Self) -> &mut Pending<T>,
        send: impl AsyncFnOnce(Clients) -> Result<Vec<T>, Status> + 'static,
    ) -> ResponseFuture<CriResult<Arc<Vec<T>>>> {
        if freshness == Freshness::Shared
            && let Some(joined) = pending(self).join()
        {
            return Box::pin(joined);
        }
        let clients = match self.clients(method) {
            Ok(clients) => clients,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let lane = self.lanes.get(Lane::Read);
        let deadline = self.limits.request_timeout;
        let listener = self.listener(method);
        let list = async move {
            let place = a_place(lane, deadline).await;
            let _place = place.ok_or_else(|| CriError::crowded(method, deadline))?;
            within((method, ""), deadline, &listener, send(clients)).await.map(Arc::new)
        };
        Box::pin(pending(self).begin(list))
    }
}

/// Who is told how an RPC ended.
struct Listener {
    health: Rc<Health>,
    /// Whether the answer tells how the runtime is.
    notes: bool,
}

/// A place in a lane. `None` where earlier RPCs hold them all for so long.
async fn a_place(lane: Arc<Semaphore>, limit: Duration) -> Option<OwnedSemaphorePermit> {
    // It is never closed.
    tokio::time::timeout(limit, lane.acquire_owned()).await.ok()?.ok()
}

/// Runs an RPC (its method, and the id of its object) under its deadline, and tells how it ended.
async fn within<T>(
    (method, id): (&'static str, &str),
    deadline: Duration,
    Listener { health, notes }: &Listener,
    rpc: impl Future<Output = Result<T, Status>>,
) -> CriResult<T> {
    let began = Instant::now();
    let answer = match tokio::time::timeout(deadline, rpc).await {
        Ok(answer) => answer.map_err(|status| CriError::from_status(method, &status)),
        Err(_elapsed) => Err(CriError::deadline(method, deadline)),
    };
    health.trace((method, id), began, &answer);
    if *notes {
        health.note(began, &answer);
    }
    answer
}

/// Asks the runtime what it is, and asks again while it is away or does not answer in time.
async fn reach(clients: Clients, health: Rc<Health>) {
    let listener = Listener { health: Rc::clone(&health), notes: true };
    loop {
        let hello = Version {}.send(clients.clone());
        let answer = within((Version::METHOD, ""), ATTEMPT, &listener, hello).await;
        let is_late = matches!(&answer, Err(error) if error.class == ErrorClass::DeadlineExceeded);
        if let Ok(version) = answer {
            health.says(version);
            health.is_in_time();
        }
        if health.is_away() || is_late {
            tokio::time::sleep(RECONNECT).await;
        } else {
            health.lost.notified().await;
        }
    }
}

impl Actor for GatewayActor {
    type Context = Context<Self>;
}

impl Guarded for GatewayActor {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        // Clients of its own, which new limits do not replace: an answer to this question is always small.
        if self.waits
            && let Ok(clients) = Clients::lazy(&self.sockets, self.limits.max_message_size)
        {
            ctx.spawn(wrap_future(reach(clients, Rc::clone(&self.health))));
        }
    }
}

impl Supervised for GatewayActor {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        self.clients = None;
        (self.containers, self.sandboxes, self.images) = Default::default();
        self.health.count_return();
    }
}

// Every answer is a future that actix runs on the gateway's own thread: a caller who stops waiting does not cancel an RPC
// that has been sent.

impl<C: CriCall> Handler<Call<C>> for GatewayActor {
    type Result = ResponseFuture<CriResult<C::Answer>>;

    fn handle(&mut self, asked: Call<C>, _ctx: &mut Context<Self>) -> Self::Result {
        if asked.call.id().is_some_and(str::is_empty) {
            return Box::pin(std::future::ready(Err(CriError::empty_id(C::METHOD))));
        }
        let clients = match self.clients(C::METHOD) {
            Ok(clients) => clients,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let lane = self.lanes.get(C::LANE);
        let deadline = self.limits.request_timeout.saturating_add(asked.call.extra_time());
        let listener = self.listener(C::METHOD);
        Box::pin(async move {
            // A removal rests on a look right before it, so it does not wait for long.
            let is_read = C::LANE == Lane::Read;
            let place = a_place(lane, if is_read { deadline } else { LANE_WAIT }).await;
            let _place = place.ok_or_else(|| match is_read {
                true => CriError::crowded(C::METHOD, deadline),
                false => CriError::late(C::METHOD, asked.asked.elapsed()),
            })?;
            asked.may_go()?;
            let id = asked.call.id().unwrap_or_default().to_owned();
            within((C::METHOD, &id), deadline, &listener, asked.call.send(clients)).await
        })
    }
}

impl Handler<AskStatuses> for GatewayActor {
    type Result = ResponseFuture<Vec<CriResult<ContainerFacts>>>;

    fn handle(&mut self, AskStatuses { ids, until }: AskStatuses, _ctx: &mut Context<Self>) -> Self::Result {
        const METHOD: &str = ContainerStatus::METHOD;
        let clients = match self.clients(METHOD) {
            Ok(clients) => clients,
            Err(error) => return Box::pin(std::future::ready(vec![Err(error); ids.len()])),
        };
        let (lane, listener) = (self.lanes.get(Lane::Read), self.listener(METHOD));
        let deadline = self.limits.request_timeout;
        Box::pin(async move {
            let began = Instant::now();
            // Where the runtime answers none in time, no more are asked. One that hangs holds up nothing but its place.
            let (stopped, late) = (RefCell::new(None::<CriError>), Cell::new(0));
            let ask = async |id: String| {
                if id.is_empty() {
                    return Err(CriError::empty_id(METHOD));
                }
                let left = until.saturating_duration_since(Instant::now());
                let place = a_place(Arc::clone(&lane), left).await;
                let _place = place.ok_or_else(|| CriError::crowded(METHOD, left))?;
                if let Some(error) = stopped.borrow().clone() {
                    return Err(error);
                }
                if Instant::now() >= until {
                    return Err(CriError::deadline(METHOD, began.elapsed()));
                }
                let call = ContainerStatus { id: id.clone() }.send(clients.clone());
                let left = until.saturating_duration_since(Instant::now());
                let answer = within((METHOD, &id), deadline.min(left), &listener, call).await;
                match &answer {
                    Err(error) if error.class == ErrorClass::DeadlineExceeded => late.set(late.get() + 1),
                    Err(error) if error.is_away() => late.set(STATUSES),
                    _ => late.set(0),
                }
                if let Err(error) = &answer
                    && late.get() >= STATUSES
                {
                    stopped.borrow_mut().get_or_insert_with(|| error.clone());
                }
                answer
            };
            let ask = async |(position, id): (usize, String)| (position, ask(id).await);
            let answers = futures_util::stream::iter(ids).enumerate().map(ask).buffer_unordered(STATUSES);
            let mut answers: Vec<_> = answers.collect().await;
            answers.sort_unstable_by_key(|(position, _)| *position);
            answers.into_iter().map(|(_, answer)| answer).collect()
        })
    }
}

impl Handler<ListAll<Container>> for GatewayActor {
    type Result = ResponseFuture<CriResult<Arc<Vec<Container>>>>;

    fn handle(&mut self, message: ListAll<Container>, _ctx: &mut Context<Self>) -> Self::Result {
        self.list(
            "ListContainers",
            message.freshness,
            |this| &mut this.containers,
            async |mut clients| {
                let answer = clients
                    .runtime
                    .list_containers(cri::ListContainersRequest::default())
                    .await?
                    .into_inner();
                Ok(convert::containers(answer.containers))
            },
        )
    }
}

impl Handler<ListAll<Sandbox>> for GatewayActor {
    type Result = ResponseFuture<CriResult<Arc<Vec<Sandbox>>>>;

    fn handle(&mut self, message: ListAll<Sandbox>, _ctx: &mut Context<Self>) -> Self::Result {
        self.list(
            "ListPodSandbox",
            message.freshness,
            |this| &mut this.sandboxes,
            async |mut clients| {
                let answer = clients
                    .runtime
                    .list_pod_sandbox(cri::ListPodSandboxRequest::default())
                    .await?
                    .into_inner();
                Ok(convert::sandboxes(answer.items))
            },
        )
    }
}

impl Handler<ListAll<Image>> for GatewayActor {
    type Result = ResponseFuture<CriResult<Arc<Vec<Image>>>>;

    fn handle(&mut self, message: ListAll<Image>, _ctx: &mut Context<Self>) -> Self::Result {
        self.list(
            "ListImages",
            message.freshness,
            |this| &mut this.images,
            async |mut clients| {
                let answer =
                    clients.images.list_images(cri::ListImagesRequest::default()).await?.into_inner();
                Ok(convert::images(answer.images))
            },
        )
    }
}

impl Handler<Reconfigure> for GatewayActor {
    type Result = ();

    fn handle(&mut self, Reconfigure(generation): Reconfigure, _ctx: &mut Context<Self>) {
        let limits = Limits::from(&*generation.settings);
        if limits == self.limits {
            return;
        }
        // What is under way keeps the permits of the old lanes, and ends under them.
        self.lanes = Lanes::new(&limits);
        self.clients = None;
        self.limits = limits;
    }
}

impl Handler<AskRuntime> for GatewayActor {
    type Result = MessageResult<AskRuntime>;

    fn handle(&mut self, _ask: AskRuntime, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.health.state())
    }
}
