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

/// Connections at a time of each socket: those who may only read leave places for the others. One more client is refused at once, rather than left to wait.
const CONNECTIONS: usize = 512;

/// Calls at a time of one connection.
const STREAMS: u32 = 32;

/// How long a new connection may say nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// How often a client is pinged, and how long it may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How long calls may continue after the stop.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// Serves on all of these sockets until `stop`.
pub async fn serve(
    listeners: Vec<UnixListener>,
    access: Access,
    actor: Addr<AdminActor>,
    stop: oneshot::Receiver<()>,
    log: Logger,
) {
    let listeners: io::Result<Vec<_>> =
        listeners.into_iter().map(tokio::net::UnixListener::from_std).collect();
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
    let (send, connections) = mpsc::channel(1);
    let access = Arc::new(access);
    let accept = |listener| tokio::spawn(accept(listener, Arc::clone(&access), send.clone(), log.clone()));
    let accepting: Vec<_> = listeners.into_iter().map(accept).collect();
    // The tasks have their own.
    drop(send);
    let (accepted, none_accepted) = oneshot::channel();
    let server = Server::builder()
        .max_concurrent_streams(Some(STREAMS))
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .layer(InterceptorLayer::new(check))
        .add_service(AdminServer::new(AdminService { actor }))
        .add_service(health_service)
        .add_optional_service(reflection)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), async {
            let _ = none_accepted.await;
        });
    let stopping = async {
        let _ = stop.await;
        accepting.iter().for_each(JoinHandle::abort);
        // Only then are the listeners closed.
        futures_util::future::join_all(accepting).await;
        let _ = accepted.send(());
        // A client that follows events would never end by itself.
        sleep(LAST_CALLS).await;
    };
    tokio::select! {
        served = server => if let Err(error) = served {
            error!(log, "`cri-gc status` and the other client commands do not work any more: the admin socket failed"; "error" => %error);
        },
        () = stopping => {}
    }
}

/// Accepts connections, as many as there may be. Ends with the server.
async fn accept(
    listener: tokio::net::UnixListener,
    access: Arc<Access>,
    send: mpsc::Sender<io::Result<Connection>>,
    log: Logger,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
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
