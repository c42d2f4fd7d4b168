//! The gRPC side: hands each call to the admin actor, where a function of `calls` answers it. Nothing is done here.

use std::rc::Rc;
use std::sync::Arc;

use actix::Addr;
use cri_gc_kit::recorder::Peer;
use cri_gc_proto::admin as api;
use tokio::sync::{Semaphore, oneshot};
use tonic::{Request, Response, Status};

use super::access::{Caller, Method, check_right};
use super::actor::AdminActor;
use super::calls::{self, Updates};
use super::desk::Desk;
use super::messages::Begin;

/// The service.
pub struct AdminService {
    pub actor: Addr<AdminActor>,
    /// Places for clients of this socket that read the history.
    pub histories: Arc<Semaphore>,
}

/// Whether a call is answered to its end.
#[derive(PartialEq, Eq)]
enum Until {
    /// A question ends when its client gives up.
    GivenUp,
    /// An order is carried out whole, whether its client still waits or not.
    Done,
}

type Answer<T> = Result<Response<T>, Status>;

impl AdminService {
    /// Has a question answered.
    async fn ask<Q, A, F>(&self, method: Method, request: Request<Q>, by: fn(Rc<Desk>, Q) -> F) -> Answer<A>
    where
        Q: Send + 'static,
        A: Send + 'static,
        F: Future<Output = Result<A, Status>> + 'static,
    {
        check_right(&request, method)?;
        let question = request.into_inner();
        self.begin(Until::GivenUp, move |desk| by(desk, question)).await
    }

    /// Has an order carried out, by the process that gives it.
    async fn order<Q, A, F>(
        &self,
        method: Method,
        request: Request<Q>,
        by: fn(Rc<Desk>, Q, Option<Peer>) -> F,
    ) -> Answer<A>
    where
        Q: Send + 'static,
        A: Send + 'static,
        F: Future<Output = Result<A, Status>> + 'static,
    {
        check_right(&request, method)?;
        let peer = request.extensions().get::<Caller>().and_then(|caller| caller.peer);
        let order = request.into_inner();
        self.begin(Until::Done, move |desk| by(desk, order, peer)).await
    }

    async fn begin<A, F>(&self, until: Until, by: impl FnOnce(Rc<Desk>) -> F + Send + 'static) -> Answer<A>
    where
        A: Send + 'static,
        F: Future<Output = Result<A, Status>> + 'static,
    {
        let (mut answer, answered) = oneshot::channel();
        let call = move |desk| {
            actix_rt::spawn(async move {
                let answered = tokio::select! {
                    answered = by(desk) => answered,
                    () = answer.closed(), if until == Until::GivenUp => return,
                };
                // The client may be gone.
                let _ = answer.send(answered);
            });
        };
        let gone = || Status::unavailable("the admin actor was restarted during the call; try again");
        self.actor.send(Begin(Box::new(call))).await.map_err(|_| gone())?;
        // A client that gives up has this dropped, and with it what is done for the answer.
        answered.await.unwrap_or_else(|_| Err(gone())).map(Response::new)
    }
}

#[tonic::async_trait]
impl api::admin_server::Admin for AdminService {
    type RunNowStream = Updates<api::PassUpdate>;
    type FollowStream = Updates<api::Event>;
    type HistoryStream = Updates<api::Event>;

    async fn status(&self, request: Request<api::StatusRequest>) -> Answer<api::StatusResponse> {
        self.ask(Method::Status, request, calls::status).await
    }

    async fn plan(&self, request: Request<api::PlanRequest>) -> Answer<api::PlanResponse> {
        self.ask(Method::Plan, request, calls::plan).await
    }

    async fn explain(&self, request: Request<api::ExplainRequest>) -> Answer<api::ExplainResponse> {
        self.ask(Method::Explain, request, calls::explain).await
    }

    async fn config(&self, request: Request<api::ConfigRequest>) -> Answer<api::ConfigResponse> {
        self.ask(Method::Config, request, calls::config).await
    }

    async fn pause(&self, request: Request<api::PauseRequest>) -> Answer<api::PauseResponse> {
        self.order(Method::Pause, request, calls::pause).await
    }

    async fn resume(&self, request: Request<api::ResumeRequest>) -> Answer<api::ResumeResponse> {
        self.order(Method::Resume, request, calls::resume).await
    }

    async fn reload(&self, request: Request<api::ReloadRequest>) -> Answer<api::ReloadResponse> {
        self.order(Method::Reload, request, calls::reload).await
    }

    async fn set_log_level(
        &self,
        request: Request<api::SetLogLevelRequest>,
    ) -> Answer<api::SetLogLevelResponse> {
        self.order(Method::SetLogLevel, request, calls::set_log_level).await
    }

    async fn run_now(&self, request: Request<api::RunNowRequest>) -> Answer<Self::RunNowStream> {
        self.order(Method::RunNow, request, calls::run_now).await
    }

    async fn follow(&self, request: Request<api::FollowRequest>) -> Answer<Self::FollowStream> {
        self.ask(Method::Follow, request, calls::follow).await
    }

    async fn history(&self, request: Request<api::HistoryRequest>) -> Answer<Self::HistoryStream> {
        let busy = "other clients read the history already; try again in a few seconds";
        let place = Arc::clone(&self.histories).try_acquire_owned();
        let place = place.map_err(|_| Status::failed_precondition(busy))?;
        self.ask(Method::History, request.map(|asked| (asked, place)), calls::history).await
    }
}
