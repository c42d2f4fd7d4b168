//! A service that is none: it speaks the admin API on a unix socket, answers what a test says, and writes down what it was
//! asked.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use cri_gc_proto::admin::admin_server::{Admin, AdminServer};
use cri_gc_proto::admin::{
    ConfigRequest, ConfigResponse, Event, ExplainRequest, ExplainResponse, FollowRequest, HistoryRequest,
    PassUpdate, PauseRequest, PauseResponse, PlanRequest, PlanResponse, ReloadRequest, ReloadResponse,
    ResumeRequest, ResumeResponse, RunNowRequest, SetLogLevelRequest, SetLogLevelResponse, StatusRequest,
    StatusResponse,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::Notify;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::program::Bench;

/// What to answer; nothing: this call is not implemented.
pub type Canned<T> = Option<Result<T, Status>>;

/// What to answer to each call.
#[derive(Default)]
pub struct Answers {
    pub status: Canned<StatusResponse>,
    pub plan: Canned<PlanResponse>,
    pub explain: Canned<ExplainResponse>,
    pub pause: Canned<PauseResponse>,
    pub resume: Canned<ResumeResponse>,
    pub config: Canned<ConfigResponse>,
    pub reload: Canned<ReloadResponse>,
    pub set_log_level: Canned<SetLogLevelResponse>,
    pub run_now: Canned<Vec<Result<PassUpdate, Status>>>,
    pub follow: Canned<Vec<Result<Event, Status>>>,
    /// A stream remains open after its messages, without any more messages.
    pub stays_open: bool,
    /// At the first call the service dies.
    pub dies: bool,
}

/// The service.
pub struct Fake {
    pub socket: PathBuf,
    death: Arc<Notify>,
    calls: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start(bench: &Bench, answers: Answers) -> Self {
        let socket = bench.path("admin.sock");
        let (death, calls) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        let admin = Calls { answers, death: Arc::clone(&death), calls: Arc::clone(&calls) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async { tokio::net::UnixListener::bind(&socket).unwrap() });
        let end = Arc::clone(&death);
        let thread = std::thread::spawn(move || {
            let server = Server::builder().add_service(AdminServer::new(admin));
            runtime.block_on(async {
                tokio::select! {
                    served = server.serve_with_incoming(UnixListenerStream::new(listener)) => served.unwrap(),
                    () = end.notified() => {}
                }
            });
            // With the runtime every connection is closed, as when a process ends.
        });
        Self { socket, death, calls, thread: Some(thread) }
    }

    pub fn socket(&self) -> &str {
        super::program::text(&self.socket)
    }

    /// It dies, even with calls in progress.
    pub fn die(&self) {
        self.death.notify_one();
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.die();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

struct Calls {
    answers: Answers,
    death: Arc<Notify>,
    calls: Arc<Mutex<Vec<String>>>,
}

type Bits<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Calls {
    async fn note_call(&self, what: String) {
        self.calls.lock().unwrap().push(what);
        if self.answers.dies {
            self.death.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn answer<T: Clone>(&self, what: String, canned: &Canned<T>) -> Result<Response<T>, Status> {
        self.note_call(what).await;
        canned.clone().unwrap_or_else(|| Err(Status::unimplemented("not in this one"))).map(Response::new)
    }

    async fn send_stream<T: Clone + Send + 'static>(
        &self,
        what: String,
        canned: &Canned<Vec<Result<T, Status>>>,
    ) -> Result<Response<Bits<T>>, Status> {
        let bits = stream::iter(self.answer(what, canned).await?.into_inner());
        let bits: Bits<T> =
            if self.answers.stays_open { bits.chain(stream::pending()).boxed() } else { bits.boxed() };
        Ok(Response::new(bits))
    }
}

#[tonic::async_trait]
impl Admin for Calls {
    type RunNowStream = Bits<PassUpdate>;
    type FollowStream = Bits<Event>;
    type HistoryStream = Bits<Event>;

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.answer("status".to_owned(), &self.answers.status).await
    }

    async fn plan(&self, _: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        self.answer("plan".to_owned(), &self.answers.plan).await
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        self.answer(format!("explain {}", request.into_inner().object), &self.answers.explain).await
    }

    async fn run_now(&self, request: Request<RunNowRequest>) -> Result<Response<Bits<PassUpdate>>, Status> {
        let what = format!("run-now {}", request.into_inner().loops.join(","));
        self.send_stream(what, &self.answers.run_now).await
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        let PauseRequest { loops, for_seconds } = request.into_inner();
        let length = if for_seconds > 0.0 { format!(" for {for_seconds}") } else { String::new() };
        let what = format!("pause {}{length}", loops.join(","));
        self.answer(what, &self.answers.pause).await
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        let what = format!("resume {}", request.into_inner().loops.join(","));
        self.answer(what, &self.answers.resume).await
    }

    async fn config(&self, _: Request<ConfigRequest>) -> Result<Response<ConfigResponse>, Status> {
        self.answer("config".to_owned(), &self.answers.config).await
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        self.answer("reload".to_owned(), &self.answers.reload).await
    }

    async fn set_log_level(
        &self,
        request: Request<SetLogLevelRequest>,
    ) -> Result<Response<SetLogLevelResponse>, Status> {
        let what = format!("log-level {}", request.into_inner().level);
        self.answer(what, &self.answers.set_log_level).await
    }

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Bits<Event>>, Status> {
        let what = format!("follow {}", request.into_inner().recent);
        self.send_stream(what, &self.answers.follow).await
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Result<Response<Bits<Event>>, Status> {
        let what = format!("history {}", request.into_inner().limit);
        self.send_stream(what, &self.answers.follow).await
    }
}
