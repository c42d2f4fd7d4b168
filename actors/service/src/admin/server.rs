//! Listens, and bounds what connections can cost: how many there are, how long one may be silent, and whether the client
//! still answers.

use std::io;
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::Addr;
use cri_gc_proto::admin::{DESCRIPTORS, admin_server::AdminServer};
use slog::{Logger, error, warn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::access::{Access, Caller, check};
use super::actor::AdminActor;
use super::service::AdminService;

/// How much the clients of one socket can have at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections. One more client is refused at once, rather than left to wait.
    connections: usize,
    /// Calls of one connection.
    streams: u32,
    /// Clients that read the history: what they asked for is in memory until they have read it.
    pub histories: usize,
}

impl Limits {
    /// Of those who may change everything.
    pub const CHANGE: Self = Self { connections: 512, streams: 32, histories: 2 };

    /// Of those who may only read: each answer that a client does not read takes memory, and they must leave places for the others.
    pub const READ: Self = Self { connections: 6, streams: 2, histories: 1 };
}

/// How long a new connection may say nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// How often a client is pinged, and how long it may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How long calls may continue after the stop.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// Serves on all of these sockets until `stop`.
pub async fn serve(
    listeners: Vec<(UnixListener, Limits)>,
    access: Access,
    actor: Addr<AdminActor>,
    stop: oneshot::Receiver<()>,
    log: Logger,
) {
    let listeners: io::Result<Vec<_>> = listeners
        .into_iter()
        .map(|(listener, limits)| Ok((tokio::net::UnixListener::from_std(listener)?, limits)))
        .collect();
    let listeners = match listeners {
        Ok(listeners) => listeners,
        Err(error) => {
            return error!(log, "`cri-gc status` and the other client commands do not work: the admin socket cannot be served"; "error" => %error);
        }
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AdminServer<AdminService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = match reflection {
        Ok(reflection) => Some(reflection),
        Err(error) => {
            warn!(log, "the admin socket is served without reflection"; "error" => %error);
            None
        }
    };
    let access = Arc::new(access);
    let (mut accepting, mut ends, mut servers) = (Vec::new(), Vec::new(), Vec::new());
    for (listener, limits) in listeners {
        let (send, connections) = mpsc::channel(1);
        accepting.push(tokio::spawn(accept(
            listener,
            limits.connections,
            Arc::clone(&access),
            send,
            log.clone(),
        )));
        let (accepted, none_accepted) = oneshot::channel::<()>();
        ends.push(accepted);
        let admin =
            AdminService { actor: actor.clone(), histories: Arc::new(Semaphore::new(limits.histories)) };
        let server = Server::builder()
            .max_concurrent_streams(Some(limits.streams))
            .http2_keepalive_interval(Some(KEEPALIVE.0))
            .http2_keepalive_timeout(Some(KEEPALIVE.1))
            .layer(InterceptorLayer::new(check))
            .add_service(AdminServer::new(admin))
            .add_service(health_service.clone())
            .add_optional_service(reflection.clone())
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), async {
                let _ = none_accepted.await;
            });
        servers.push(server);
    }
    let stopping = async {
        let _ = stop.await;
        accepting.iter().for_each(JoinHandle::abort);
        // Only then are the listeners closed.
        futures_util::future::join_all(accepting).await;
        drop(ends);
        // A client that follows events would never end by itself.
        sleep(LAST_CALLS).await;
    };
    tokio::select! {
        served = futures_util::future::try_join_all(servers) => if let Err(error) = served {
            error!(log, "`cri-gc status` and the other client commands do not work any more: the admin socket failed"; "error" => %error);
        },
        () = stopping => {}
    }
}

/// Accepts connections, as many as there may be. Ends with the server.
async fn accept(
    listener: tokio::net::UnixListener,
    places: usize,
    access: Arc<Access>,
    send: mpsc::Sender<io::Result<Connection>>,
    log: Logger,
) {
    let places = Arc::new(Semaphore::new(places));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // E.g. no file descriptor is left: that passes.
                warn!(log, "could not accept a connection to the admin socket, retrying in 1s"; "error" => %error);
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let caller = access.judge(stream.peer_cred());
        let connection =
            Connection { stream, caller, silence: Some(Box::pin(sleep(SILENCE))), _place: place };
        if send.send(Ok(connection)).await.is_err() {
            // The server has ended.
            return;
        }
    }
}

/// A connection of a known peer, which has its place until it ends.
struct Connection {
    stream: UnixStream,
    caller: Caller,
    /// Runs until the first byte has come.
    silence: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.silence = None;
        } else if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
