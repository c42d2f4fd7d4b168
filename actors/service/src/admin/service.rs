//! The gRPC side: each call becomes a message to the admin actor. Nothing is done here.

use std::pin::Pin;

use actix::{Addr, Handler, Message};
use cri_gc_proto::admin::admin_server::Admin;
use cri_gc_proto::admin::{
    ConfigRequest, ConfigResponse, Event, ExplainRequest, ExplainResponse, FollowRequest, PassUpdate,
    PauseRequest, PauseResponse, PlanRequest, PlanResponse, ReloadRequest, ReloadResponse, ResumeRequest,
    ResumeResponse, RunNowRequest, SetLogLevelRequest, SetLogLevelResponse, StatusRequest, StatusResponse,
};
use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::actor::AdminActor;
use super::messages::{Asked, Follow, RunLoops};

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers that may wait for a slow client.
const WAITING: usize = 64;

/// The service.
pub struct AdminService {
    actor: Addr<AdminActor>,
}

impl AdminService {
    pub fn new(actor: Addr<AdminActor>) -> Self {
        Self { actor }
    }

    async fn ask<Q, A>(&self, request: Request<Q>) -> Result<Response<A>, Status>
    where
        Q: Send + 'static,
        A: Send + 'static,
        Asked<Q, A>: Message<Result = ()>,
        AdminActor: Handler<Asked<Q, A>>,
    {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { question: request.into_inner(), answer };
        self.actor.send(asked).await.map_err(|_| gone())?;
        // A client who gives up has this dropped, and with it what is done for the answer.
        answered.await.unwrap_or_else(|_| Err(gone())).map(Response::new)
    }
}

fn gone() -> Status {
    Status::unavailable("the admin actor was restarted during the call; try again")
}

#[tonic::async_trait]
impl Admin for AdminService {
    type RunNowStream = Answers<PassUpdate>;
    type FollowStream = Answers<Event>;

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.ask(request).await
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        self.ask(request).await
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        self.ask(request).await
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        self.ask(request).await
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        self.ask(request).await
    }

    async fn config(&self, request: Request<ConfigRequest>) -> Result<Response<ConfigResponse>, Status> {
        self.ask(request).await
    }

    async fn reload(&self, request: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        self.ask(request).await
    }

    async fn set_log_level(
        &self,
        request: Request<SetLogLevelRequest>,
    ) -> Result<Response<SetLogLevelResponse>, Status> {
        self.ask(request).await
    }

    async fn run_now(&self, request: Request<RunNowRequest>) -> Result<Response<Self::RunNowStream>, Status> {
        let (updates, stream) = mpsc::channel(WAITING);
        let RunNowRequest { loops, confirm_deleted } = request.into_inner();
        let run = RunLoops { loops, confirm_deleted, updates };
        self.actor.send(run).await.unwrap_or_else(|_| Err(gone()))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let (events, stream) = mpsc::channel(WAITING);
        let recent = usize::try_from(request.into_inner().recent).unwrap_or(usize::MAX);
        self.actor.send(Follow { recent, events }).await.unwrap_or_else(|_| Err(gone()))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}
